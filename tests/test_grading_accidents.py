"""Around grading: a key pressed, a run killed, a full disk, a row twice, a large class."""

import csv
import errno
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import collect as collect_command
import pytest
from grading import command, scratch, store
from grading.assignment import Assignment, Text
from grading.by_hand import read, update
from grading.notebook import quoted
from grading.store import Store
from grading.table import safe, to_csv
from measure_grading import KINDS, hand_in_class
from tiny_assignment import NAME, POINTS, TEXT, Class, notebook

ROOT = Path(__file__).resolve().parent.parent
ASSIGNMENT = Assignment("ex99_tiny", (), (Text("ex99_why", 5, "", ""), Text("ex99_how", 3, "", "")))
pytestmark = pytest.mark.timeout(600)


# --- stopped ------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("library", ["libtorch_cpu", "/numpy/"])
def test_ctrl_c_during_the_imports_is_a_sentence(key, library):
    run = subprocess.Popen(
        [
            sys.executable,
            str(ROOT / "tools" / "grade.py"),
            "ex01_questions",
            "--submitted",
            "/none",
        ],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    while run.poll() is None and library not in Path(f"/proc/{run.pid}/maps").read_text():
        time.sleep(0.01)
    run.send_signal(key)
    said = run.communicate(timeout=60)[1]
    assert run.returncode == 130 and said.startswith("Interrupted") and "Traceback" not in said


def test_what_a_killed_run_leaves_is_swept_by_the_next_and_nobody_elses(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = (
        "from grading import scratch; import os\n"
        "print(scratch.make().path, flush=True); os.kill(os.getpid(), 9)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT / "tools")},
        capture_output=True,
        text=True,
    )
    left = Path(run.stdout.strip())
    assert left.is_dir() and left.parent == tmp_path
    alive = scratch.make()  # sweeps, too: but what is alive stays
    assert not left.exists() and alive.path.is_dir()
    others = tmp_path / "grading-of-somebody"
    others.mkdir()
    with scratch.folder() as mine:
        assert mine.is_dir() and alive.path.is_dir() and others.is_dir()
    assert not mine.exists()
    os.close(alive.lock)
    assert scratch.sweep() == [alive.path]


def test_a_full_disk_says_which_file_and_which_students(tmp_path, bubblewrap):
    """The grades lie on a disk of two pages; only root can make such a disk."""
    course = Class(tmp_path)
    for student in ("ann", "bo"):
        course.hand_in(student, notebook())
    course.grades.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k,mode=777", "none", str(course.grades)]
    inner = f"{shlex.join(mount)} && {shlex.join(course.command('--seed=3'))}"
    if os.getuid() != 0:
        pytest.skip("only root can make a small disk")
    run = subprocess.run(
        ["unshare", "-m", "sh", "-c", inner],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1 and "Traceback" not in run.stderr
    assert "cannot be written: No space left on device" in run.stderr
    assert "ann was not graded" in run.stderr or "bo was not graded" in run.stderr


def test_pages_that_do_not_fit_name_their_students(tmp_path, monkeypatch, capsys):
    real = os.fsync

    def full(handle):
        if "feedback" in os.readlink(f"/proc/self/fd/{handle}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    options = command._options(
        [NAME, f"--grades={tmp_path}/grades", f"--feedback={tmp_path}/feedback"]
    )
    grades = [
        {"student": name, "key": name, "trouble": "", "remarks": [], "parts": [], "texts": {}}
        for name in ("ann", "bo")
    ]
    monkeypatch.setattr(store.os, "fsync", full)
    marks = read(tmp_path / "none.csv", ASSIGNMENT)
    said = command._pages(options, ASSIGNMENT, grades, marks, {})
    assert said == [
        "No space left on device. The pages of these students are missing: ann, bo."
    ] or ("cannot be written: No space left" in said[0] and "ann, bo" in said[0])


def test_a_file_that_cannot_be_written_is_named_and_the_old_one_stays(tmp_path, monkeypatch):
    path = tmp_path / "grade.json"
    store.write(path, "old")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=f"{path} cannot be written: No space left on device"):
        store.write(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


# --- marks by hand, tables ----------------------------------------------------------------------


def grades(*keys: str) -> list[dict]:
    return [
        {"key": key, "student": key, "texts": {"ex99_why": "words", "ex99_how": ""}} for key in keys
    ]


def test_two_rows_of_one_student_are_reported_and_none_counts_or_is_lost(tmp_path):
    path = tmp_path / "by_hand.csv"
    head = "key,student,ex99_why,ex99_how,comment,answers\n"
    path.write_text(f"{head}ann,ann,4,1,,\nbo,bo,2,2,,\nann,ann,3,1,,\n")
    found = read(path, ASSIGNMENT)
    assert "more than one row for 'ann' (rows 2, 4)" in found.complaints[0]
    assert found.marks == {("bo", "ex99_why"): 2, ("bo", "ex99_how"): 2}
    update(path, grades("ann", "bo"), ASSIGNMENT, found)
    rows = [row for row in csv.DictReader(path.open()) if row["key"] == "ann"]
    assert sorted(row["ex99_why"] for row in rows) == ["3", "4"]


def test_two_rows_with_the_same_marks_count_once_and_are_reported(tmp_path):
    path = tmp_path / "by_hand.csv"
    path.write_text("key,student,ex99_why,ex99_how\nann,ann,4,1\nann,ann,4,1\n")
    found = read(path, ASSIGNMENT)
    assert found.marks["ann", "ex99_why"] == 4 and "take all but one away" in found.complaints[0]


@pytest.mark.parametrize(
    "text",
    ['x;"=1+1"', 'x\t"=1"', 'x\n"=1"', 'a,b;"=1"', "\"=1", "x;'=1", 'x; " =1', "x\r=1", "x\x0b=1",
     "\x00=1", "\u202e=1", "x;\u200b=1", "x;\x1b=1", 'x;"";"=1"', "x\u2028=1", "x;\ufeff=1"],
)  # fmt: skip
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_no_quote_and_no_hidden_character_lets_a_formula_through(text, delimiter):
    made = to_csv([["ann", text, "end"]])
    cells = [c for row in csv.reader(io.StringIO(made), delimiter=delimiter) for c in row]
    lines = [line.strip().strip("\"'").strip() for cell in cells for line in cell.splitlines()]
    starts = [cell.lstrip().lstrip('"') for cell in cells for cell in cell.split("\n")]
    assert not [one for one in starts if one.startswith(tuple("=+-@|%"))], (made, lines)
    assert all(c.isprintable() or c in "\n\t" for c in made)


def test_what_is_made_safe_once_stays_as_it_is():
    for text in ("=1", 'x;"=1', "a\n=1", "good"):
        assert safe(safe(text)) == safe(text)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("20 of 20 points", "“20 of 20 points”"),
        ("a”. Right. “b", '“a". Right. "b”'),
        ("two\nlines\x00\u202e\x1b[31m", "“two lines [31m”"),
        ("x" * 400, "“" + "x" * 300 + "…”"),
    ],
)
def test_words_from_inside_cannot_leave_their_quotation(words, said):
    assert quoted(words) == said


# --- commands -----------------------------------------------------------------------------------


def test_collect_grade_and_back_to_the_lms_by_the_commands(tmp_path, bubblewrap, capsys):
    course = Class(tmp_path)
    export = tmp_path / "export"
    for place, content in {
        "Ann Lee_101_assignsubmission_file_": json.dumps(notebook()),
        "Bo_102_assignsubmission_file_": json.dumps(notebook(text="YOUR ANSWER HERE")),
    }.items():
        (export / place).mkdir(parents=True)
        (export / place / "my work.ipynb").write_text(content)
    collected = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "tiny_assignment.py"), "collect", NAME, str(export),
         "--submitted", str(course.submitted)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert collected.returncode == 0 and "2 hand-ins" in collected.stdout, collected.stderr
    sheet = (
        "Identifier,Full name,Grade,Maximum Grade,Last modified (grade)\n"
        "Participant 101,Ann Lee,,20.00,-\nParticipant 102,Bo,,20.00,-\n"
    )
    (tmp_path / "sheet.csv").write_text(sheet)
    run = course.grade("--seed=3", f"--roster={tmp_path / 'sheet.csv'}")
    assert run.returncode == 0, run.stderr
    filled = (course.grades / f"{NAME}_roster.csv").read_text()
    # Ann's words wait for a mark; Bo wrote none, and needs none
    assert filled == sheet.replace("102,Bo,,", f"102,Bo,{sum(POINTS.values())},")
    assert "2 graded in" in run.stdout and "the most memory at one time" in run.stdout
    assert (course.feedback / f"{NAME}_feedback.zip").exists()
    assert TEXT in (course.grades / f"{NAME}_by_hand.csv").read_text()


def test_collect_says_in_a_sentence_what_is_wrong(tmp_path, capsys):
    assert collect_command.main(["ex04_contrast", str(tmp_path / "none.zip")]) == 1
    assert "There is no" in capsys.readouterr().err
    assert collect_command.main(["ex44_none", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "There is no assignment" in said and "ex01_questions, ex02_gradcam" in said


def test_a_class_without_hand_ins_ends_with_1_and_writes_nothing(tmp_path):
    (tmp_path / "submitted" / "ann").mkdir(parents=True)
    options = [f"--{name}={tmp_path / name}" for name in ("submitted", "grades", "feedback")]
    assert command.main(["ex04_contrast", *options]) == 1
    assert not (tmp_path / "grades").exists() and not (tmp_path / "feedback").exists()


def test_a_part_and_a_whole_run_do_not_work_at_the_same_time(tmp_path):
    with command._alone(tmp_path, (1, 2)), command._alone(tmp_path, (2, 2)):
        with pytest.raises(command.Busy):
            with command._alone(tmp_path):
                pass
        with pytest.raises(command.Busy):
            with command._alone(tmp_path, (1, 2)):
                pass
    with command._alone(tmp_path), pytest.raises(command.Busy):
        with command._alone(tmp_path, (1, 2)):
            pass


def test_a_class_of_copies_of_twelve_kinds_is_graded_in_one_run(tmp_path, bubblewrap):
    course = Class(tmp_path)
    hand_in_class(course.submitted, len(KINDS), NAME, notebook())
    run = course.grade("--seed=3", "--limit", "cell_seconds=2")
    assert run.returncode == 0 and "Traceback" not in run.stderr, run.stderr
    assert len(KINDS) == 12 and len(Store(course.grades / NAME).all()) == 12
    assert "12 graded in" in run.stdout
