"""`make grade`: marks, broken hand-ins, marks by hand, and that nothing is ever lost."""

import csv
import html
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from exercise_notebooks import Assignment
from grading import feedback, sandbox, stage, watch
from grading.assignment import Assignment as Asked
from grading.assignment import load
from grading.by_hand import read
from grading.collect import Submission, file_key
from grading.grader import Grader, GraderError
from grading.inside import frames
from grading.limits import Limits
from grading.notebook import Unreadable, parse
from grading.store import Store, write
from tiny_assignment import NAME, POINTS, RIGHT, TEXT, Class, notebook, untouched

from course_checks import ASSIGNMENTS
from course_checks.part import Part

MEAN, BEST, CAM = POINTS
NONE = dict.fromkeys(POINTS, 0)
pytestmark = pytest.mark.timeout(900)  # the first of these tests waits for the whole class
ROOT = Path(__file__).resolve().parent.parent


# --- a class ------------------------------------------------------------------------------------


def without(name: str) -> dict:
    """A hand-in without a cell."""
    made = notebook()
    made["cells"] = [
        c for c in made["cells"] if c["metadata"].get("nbgrader", {}).get("grade_id") != name
    ]
    return made


def twice(name: str, code: str) -> dict:
    """A hand-in in which a cell is there again, with other code."""
    made = notebook()
    cell = next(
        c for c in made["cells"] if c["metadata"].get("nbgrader", {}).get("grade_id") == name
    )
    made["cells"].insert(made["cells"].index(cell) + 1, cell | {"source": code})
    return made


def old_format() -> dict:
    """Format 3: worksheets, and `input` rather than `source`."""
    cells = [c | {"input": c["source"], "language": "python"} for c in notebook()["cells"]]
    for cell in cells:
        if cell["cell_type"] == "code":
            del cell["source"]
    return {
        "metadata": {"name": ""},
        "nbformat": 3,
        "nbformat_minor": 0,
        "worksheets": [{"cells": cells}],
    }


def with_kernel(name, answers: dict | None = None, before: str = "") -> dict:
    return notebook(answers, before) | {"metadata": {"kernelspec": {"name": name}}}


MAGICS = "%matplotlib inline\n%time 1\n!ls\nawait __import__('asyncio').sleep(0)\n"
MAGICS += "torch.set_default_dtype(torch.float64)\ntorch.set_grad_enabled(False)"


def of_another_assignment() -> dict:
    made = json.loads(json.dumps(notebook()).replace("ex99", "ex98"))
    return json.loads(json.dumps(made).replace("def ", "def other_"))


# student -> (hand-in, marks, words that must be said)
HAND_INS = {
    "ann": (notebook(text="A mean is *fair*."), POINTS, ""),
    "ben": (
        notebook({MEAN: RIGHT[MEAN].replace(".mean(", ".sum(")}),
        POINTS | {MEAN: 3},
        "you summed",
    ),
    "cyd": (untouched(), NONE, "not attempted yet"),
    "raises": (
        notebook(
            {
                BEST: "def best_row(x):\n    return x[99]",
                MEAN: "def row_means(x):\n    return 0\n" + RIGHT[MEAN],
            }
        ),
        POINTS | {BEST: 0},  # of two functions in one cell the last one counts
        "IndexError",
    ),
    "syntax-and-sometimes": (
        notebook(
            {
                BEST: "def best_row(x)\n    return",
                MEAN: "def row_means(x):\n    return x.mean(1) if len(x) == 2 else x",
            }
        ),
        POINTS | {BEST: 0, MEAN: 1.5},
        ("SyntaxError", "of 4 cases right"),
    ),
    "no-cell": (without(BEST), POINTS | {BEST: 0}, "does not define `best_row`"),
    "two-cells": (
        twice(MEAN, "def row_means(x):\n    return 0"),
        POINTS | {MEAN: 0},
        "there twice",
    ),
    "a-value": (
        with_kernel("r", {MEAN: "row_means = 5"}),
        POINTS | {MEAN: 0},
        ("not a function", "kernel is called “r”"),
    ),
    "old-format": (old_format(), POINTS, "old format 3"),
    "other-assignment": (of_another_assignment(), NONE, "notebook of ex98"),
    "names-taken-later": (
        notebook(
            {
                MEAN: "def divided(x): return x / x.shape[1]\ndef row_means(x):\n"
                "    return list(divided(x.sum(1, keepdim=True).expand_as(x))[:, 0])"
            },
            after="best_row = best_row(torch.ones(2, 2))\nlist = [1]\ntorch = divided = None",
        ),
        POINTS,
        "",
    ),
    "odd-but-right": (
        b"\xef\xbb\xbf"
        + json.dumps(with_kernel({"a": 1}, before=MAGICS)).encode(),  # with a byte order mark
        POINTS,
        "",
    ),
    "empty": (b"", NONE, "not a notebook"),
    "not-json": ("{'cells': 1}", NONE, "not a notebook"),
    "deep-json": ("[" * 100_000, NONE, "not a notebook"),
    "bytes": (bytes(range(256)) * 9, NONE, "not a notebook"),
    "a-list": ("[]", NONE, "not a notebook"),
    "no-cells": ('{"cells": {"a": 1}}', NONE, "holds no cells"),
    "odd-cells": (
        '{"cells": [1, null, {"cell_type": {"code": 1}}], "metadata": 7}',
        NONE,
        "holds no cells",
    ),
    "large": (b"[" + b" " * 300_000 + b"]", NONE, "larger than"),
}


def play(folder: Path) -> dict:
    """A class is graded: once, again, with marks by hand, and after a bad second hand-in."""
    course = Class(folder)
    for student, (content, _, _) in HAND_INS.items():
        course.hand_in(student, content)
    course.hand_in("renamed", notebook()).rename(
        course.place("renamed").with_name("my work (1).ipynb")
    )
    course.hand_in("two-files", notebook()).rename(course.place("two-files").with_name("a.ipynb"))
    course.place("two-files").with_name("b.ipynb").write_text("{}")
    course.place("no-file").parent.mkdir(parents=True)
    (course.submitted / "no-folder").mkdir()
    (course.submitted / "list of students.txt").write_text("not a student")
    options = ("--seed=7", "--limit", "notebook=200_000")
    first = course.grade(*options)
    made = snapshot(course)
    again = course.grade(*options)
    made_again = snapshot(course)
    mark_by_hand(course, {"ann": "4,5", "ben": "6", "raises": "x"})
    marked = course.grade(*options)
    pages = {
        name: (course.feedback / name / f"{NAME}.html").read_text()
        for name in ("ann", "ben", "cyd")
    }
    table = (course.grades / f"{NAME}.csv").read_text()
    course.hand_in("ann", "oh no")
    course.place("cyd").unlink()
    later = course.grade(*options)
    return {
        "folder": str(folder),
        "runs": [[run.returncode, run.stdout, run.stderr] for run in (first, again, marked, later)],
        "first": made,
        "again": made_again,
        "pages": pages,
        "table": table,
    }


def snapshot(course: Class) -> dict[str, list]:
    """Content and time of everything that grading made."""
    made = [
        path
        for place in (course.grades, course.feedback)
        for path in place.rglob("*")
        if path.is_file()
    ]
    return {
        str(p.relative_to(course.folder)): [
            p.read_bytes().decode("utf-8", "surrogateescape"),
            p.stat().st_mtime_ns,
        ]
        for p in made
    }


def mark_by_hand(course: Class, marks: dict[str, str]) -> None:
    """Fill the file in as a spreadsheet with a decimal comma saves it."""
    path = course.grades / f"{NAME}_by_hand.csv"
    rows = list(csv.DictReader(path.open(newline="")))
    for row in rows:
        row[TEXT] = marks.get(row["key"], row[TEXT])
        row["comment"] = "Well said <b>!" if row["key"] == "ann" else ""
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        out = csv.DictWriter(file, rows[0], delimiter=";")
        out.writeheader()
        out.writerows(rows)


@pytest.fixture(scope="session")
def played(once, bubblewrap):
    return once("class", play)


def first_grade(played: dict, student: str) -> dict:
    return json.loads(played["first"][f"grades/{NAME}/{student}.json"][0])


@pytest.mark.parametrize("student", HAND_INS)
def test_a_hand_in_gets_its_marks_and_is_told_why(played, student):
    _, marks, words = HAND_INS[student]
    grade = first_grade(played, student)
    said = " ".join(
        [grade["trouble"], *grade["remarks"], *(part["message"] for part in grade["parts"])]
    )
    assert {part["name"]: part["marks"] for part in grade["parts"]} == marks, said
    page = re.sub("</?code>", "`", played["first"][f"feedback/{student}/{NAME}.html"][0])
    page = html.unescape(page)
    for one in [words] if isinstance(words, str) else words:
        assert one in said and one in page, said


@pytest.mark.parametrize(
    ("student", "words", "marks"),
    [
        ("renamed", "my work (1).ipynb” rather than", POINTS),
        ("two-files", "there are 2 notebooks", NONE),
        ("no-file", "the folder is empty", NONE),
        ("no-folder", "nothing was handed in", NONE),
    ],
)
def test_a_hand_in_at_another_place_is_found_or_reported(played, student, words, marks):
    grade = first_grade(played, student)
    assert words in " ".join([grade["trouble"], *grade["remarks"]])
    assert {part["name"]: part["marks"] for part in grade["parts"]} == marks


def test_no_run_fails_or_shows_a_traceback(played):
    for code, out, error in played["runs"]:
        assert code == 0 and "Traceback" not in out + error, error


def test_grading_again_changes_nothing_and_runs_nothing(played):
    assert played["again"] == played["first"]
    assert "are graded already" in played["runs"][1][1]


def rows(played: dict) -> dict[str, dict]:
    return {row["student"]: row for row in csv.DictReader(played["table"].splitlines())}


def test_the_table_has_a_column_for_each_part_and_the_sums(played):
    ben = rows(played)["ben"]
    assert [ben[name] for name in (*POINTS, "automatic")] == ["3", "4", "5", "12"]
    assert len(rows(played)) == len(HAND_INS) + 4


def test_marks_by_hand_are_read_checked_and_added(played):
    table, complaints = rows(played), played["runs"][2][2]
    total = "total (of 20)"
    assert (table["ann"]["by hand"], table["ann"][total]) == ("4.5", "19.5")
    assert table["ben"][total] == table["raises"][total] == "" and table["cyd"][total] == "0"
    assert "'6' is no mark from 0 to 5" in complaints and "'x' is no mark" in complaints


def test_a_page_shows_marks_message_code_and_words(played):
    ann, ben = played["pages"]["ann"], html.unescape(played["pages"]["ben"])
    assert (
        "19.5 of 20 points" in ann and "A mean is *fair*." in ann and "Well said &lt;b&gt;!" in ann
    )
    assert "12 points so far" in ben and "x.sum(1)" in ben and "you summed" in ben


def test_a_bad_second_hand_in_keeps_the_earlier_grade_and_what_was_handed_in_before(played):
    course = Class(Path(played["folder"]))
    assert course.marks("ann") == NONE and "JSON" in course.grades_of("ann")["trouble"]
    kept = [
        json.loads(p.read_text()) for p in (course.grades / NAME / "earlier").glob("ann-*.json")
    ]
    assert [part["marks"] for grade in kept for part in grade["parts"]] == [6, 4, 5]
    assert len(list((course.grades / NAME / "earlier").glob("*.json"))) == 2  # ann's and cyd's
    assert "ann has handed in other answers than those that you marked" in played["runs"][3][2]


def test_the_page_of_texts_shows_task_model_and_answers(played):
    page = played["first"][f"grades/{NAME}_texts.html"][0]
    assert (
        "Five points for a reason." in page
        and "A mean is fair." in page
        and "A mean is *fair*." in page
    )
    assert "BEGIN SOLUTION" not in page


def test_an_interrupted_run_goes_on_where_it_was(tmp_path, bubblewrap):
    course = Class(tmp_path)
    for student in ("a", "b", "c"):
        course.hand_in(student, notebook())
    course.hand_in("b", notebook(before="import time\ntime.sleep(50)"))
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    run = subprocess.Popen(
        course.command("--seed=3"),
        env=env,
        text=True,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    wait_for(lambda: len(list((course.grades / NAME).glob("[ac].json"))) == 2)
    before = {path.name: path.stat().st_mtime_ns for path in (course.grades / NAME).glob("*.json")}
    run.send_signal(signal.SIGTERM)
    assert "goes on from there" in run.communicate(timeout=120)[1] and run.returncode == 1
    course.hand_in("b", notebook())
    assert course.grade().returncode == 0 and course.marks("b") == POINTS
    assert {name: (course.grades / NAME / name).stat().st_mtime_ns for name in before} == before
    assert not [path for path in course.grades.rglob(".part-*")]


def wait_for(question, seconds: float = 400) -> None:
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


# --- the real assignments, in the real sandbox --------------------------------------------------

WRITTEN = [name for name in ASSIGNMENTS if Assignment(name).is_written()]


@pytest.fixture(scope="session")
def staged(tmp_path_factory, bubblewrap):
    return stage.stage(tmp_path_factory.mktemp("sandbox") / "stage")


@pytest.mark.parametrize("kind", ["source", "released"])
@pytest.mark.parametrize("name", WRITTEN)
def test_in_the_sandbox_a_solution_gets_all_marks_and_an_untouched_exercise_none(
    name, kind, staged
):
    path = getattr(Assignment(name), kind)
    grader = Grader(load(name, ROOT / "solutions"), sandbox.Sandbox(staged), Limits(), seed=3)
    grade = grader.grade(Submission("s", "s", path.read_bytes()))
    wanted = {part.name: part.points if kind == "source" else 0 for part in grader.assignment.parts}
    said = [grade["remarks"], [part["message"] for part in grade["parts"]]]
    assert {part["name"]: part["marks"] for part in grade["parts"]} == wanted, said
    assert grade["remarks"] == []
    assert all(grade["texts"].values()) if kind == "source" else not any(grade["texts"].values())


def test_what_is_asked_is_not_in_the_sandbox(staged):
    text = "\n".join(path.read_text() for path in (staged / "course_utils").rglob("*.py"))
    for asked in (
        'Part("ex',
        "class ForwardPass",
        "class ContrastCAM",
        "def pointing_game",
        "Mistake(",
    ):
        assert asked not in text
    assert "def load_photo" in text


# --- its pieces ---------------------------------------------------------------------------------


def watched(code: str, **limits) -> watch.Run:
    """Run a little Python under the watch alone, without walls; it says first that it is up."""
    pipe, fd = os.pipe()
    up = f"import sys, os, time\nfd = {fd}\nos.write(fd, b'r' + bytes(8))\n"
    command = [sys.executable, "-S", "-c", up + code]
    return watch.run(command, fd, pipe, {}, Path("/"), Limits(**limits))


@pytest.mark.parametrize(
    ("code", "limits", "words"),
    [
        ("time.sleep(60)", {"seconds": 0.5}, "longer than"),
        ("a = bytearray(os.urandom(1)) * 300_000_000\ntime.sleep(60)", {"memory": 10**8}, "memory"),
        (
            "for _ in range(5):\n  if os.fork() == 0: time.sleep(60)\ntime.sleep(60)",
            {"tasks": 4},
            "processes",
        ),
        ("while True: os.write(fd, b'q' + bytes(8))", {"answers": 10**6}, "answers fill more"),
        ("os.write(fd, b'?' * 99)\ntime.sleep(60)", {}, "what is none"),
    ],
)
def test_the_watch_ends_what_uses_too_much(code, limits, words):
    started = time.monotonic()
    assert words in watched(code, **limits).ended
    assert time.monotonic() - started < 20


def test_nothing_is_left_of_what_was_ended():
    marker = "time.sleep(61.25)"
    watched(f"if os.fork() == 0: {marker}\n{marker}", seconds=0.5)
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert marker not in left


def test_what_was_written_before_the_end_is_kept():
    run = watched("os.write(fd, b'a' + bytes([0, 1, 0, 2, 0, 0, 0, 1]) + b'x')\nos._exit(3)")
    assert (run.frames[1:], run.ended) == ([(frames.ANSWER, 1, 2, b"x")], "")


def test_what_does_not_come_up_is_ended_and_is_the_graders_fault(monkeypatch, tmp_path):
    monkeypatch.setattr(
        sandbox.Sandbox,
        "command",
        lambda *_: [sys.executable, "-S", "-c", "import time; time.sleep(99)"],
    )
    part = Part("ex00_one", "one", 1, "one", lambda seed: [(seed,)], lambda n: n)
    grader = Grader(
        Asked("ex", (part,), ()), sandbox.Sandbox(tmp_path / "stage"), Limits(start=0.5), seed=3
    )
    with pytest.raises(GraderError, match="longer than"):
        grader.grade(Submission("s", "s", json.dumps(notebook()).encode()))


def test_a_frame_comes_in_pieces():
    pipe, fd = os.pipe()
    frames.write(fd, frames.ANSWER, 3, 4, b"content")
    whole, buffer, found = os.read(pipe, 100), bytearray(), []
    for at in range(len(whole)):
        buffer += whole[at : at + 1]
        found.append(frames.take(buffer, 100))
    assert found[:-1] == [None] * (len(whole) - 1) and found[-1] == (
        frames.ANSWER,
        3,
        4,
        b"content",
    )
    with pytest.raises(frames.FrameError):
        frames.take(bytearray(whole), 3)


def test_without_bubblewrap_nothing_is_graded_and_a_sentence_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(sandbox.NoSandbox, match="apt install bubblewrap(.|\n)*UNSAFE=1"):
        sandbox.check(sandbox.Sandbox(tmp_path))


def test_a_bubblewrap_that_cannot_start_is_refused_with_its_own_words(monkeypatch, tmp_path):
    broken = tmp_path / "bwrap"
    broken.write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n"
    )
    broken.chmod(0o755)
    sandbox._base.cache_clear()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(sandbox.NoSandbox, match="No permissions to create new namespace"):
        sandbox.check(sandbox.Sandbox(tmp_path))
    sandbox._base.cache_clear()


def test_unsafe_is_said_loudly_and_graded_again_once_there_are_walls(tmp_path, bubblewrap):
    course = Class(tmp_path)
    course.hand_in("ann", notebook())
    refused = course.grade(PATH="/nowhere")
    assert refused.returncode == 1 and "Nothing was graded" in refused.stderr
    assert not list((course.grades / NAME).glob("*.json"))
    unsafe = course.grade("--unsafe", PATH="/nowhere")
    assert (
        unsafe.returncode == 0 and "!!! UNSAFE" in unsafe.stderr and course.marks("ann") == POINTS
    )
    assert course.grades_of("ann")["walled"] is False
    assert course.grade().returncode == 0 and course.grades_of("ann")["walled"] is True


def test_an_installed_course_and_captum_are_hidden_in_the_sandbox(monkeypatch, tmp_path):
    for name in ("course_utils", "captum", "numpy"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    hidden = sandbox._without_answers.__wrapped__()
    hidden = list(dict.fromkeys(path for path in hidden if path.startswith("/")))
    assert hidden == [f"{tmp_path}/captum", f"{tmp_path}/course_utils"]


def test_a_student_name_makes_a_safe_file_name_of_its_own():
    names = [
        "Ann",
        "ann lee",
        "ann-lee",
        "a/b".replace("/", "\\"),
        "..",
        "",
        "é",
        "e",
        "nul",
        "x" * 300,
        "=1",
    ]
    keys = [file_key(name) for name in names]
    assert len({key.lower() for key in keys}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9][\w.@~-]{0,99}", key, re.ASCII) for key in keys)
    assert file_key("Ann") == "Ann"


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "grade.json"
    write(path, "old")
    monkeypatch.setattr(os, "fsync", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_grade_that_somebody_broke_is_kept_aside(tmp_path):
    store = Store(tmp_path / "ex")
    store.path("ann").write_text('{"student": "ann", "marks')
    assert store.get("ann") is None and store.all() == []
    assert (
        (tmp_path / "ex" / "earlier" / "ann-unreadable.json").read_text().startswith('{"student"')
    )


def test_the_seed_is_secret_at_first_and_then_stays(tmp_path):
    first, other = Store(tmp_path / "a").seed(None), Store(tmp_path / "b").seed(None)
    assert first != other and Store(tmp_path / "a").seed(None) == first
    assert Store(tmp_path / "a").seed(9) == Store(tmp_path / "a").seed(None) == 9
    with pytest.raises(ValueError, match="learners see"):
        Store(tmp_path / "a").seed(0)


def test_hand_marks_of_students_who_are_gone_stay(tmp_path):
    assignment = load(WRITTEN[0], ROOT / "solutions")
    text = assignment.texts[0].name
    path = tmp_path / "by_hand.csv"
    path.write_text(f"key,student,{text},comment\n'-rf~1,'-rf,2,'=1+1\n")
    assert read(path, assignment).marks == {("-rf~1", text): 2.0}


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"7", b'"x"', b"{}", b'{"cells": []}', b"\xff\xfe{}"]
)
def test_what_is_no_notebook_is_unreadable(content):
    with pytest.raises(Unreadable):
        parse(content)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_notebook_is_read_in_each_unicode(encoding):
    text = json.dumps({"cells": [{"cell_type": "code", "source": "größe"}]}, ensure_ascii=False)
    assert parse(text.encode(encoding)).code() == ["größe"]


def test_commas_in_what_a_cell_printed_are_no_pieces():
    cell = {"cell_type": "code", "source": "1", "outputs": [{"text": '\\"1, [' * 600_000}]}
    assert parse(json.dumps({"cells": [cell]}).encode()).code() == ["1"]


def test_lines_without_line_breaks_are_lines_and_it_is_said():
    def read(*lines):
        return parse(json.dumps({"cells": [{"cell_type": "code", "source": lines}]}).encode())

    split = read("def half(x):", "    return x / 2")
    assert split.code() == ["def half(x):\n    return x / 2"]
    assert "no line breaks" in split.remarks[0]
    for whole in (read("def half(x):\n", "    return x / 2"), read("x = 1")):
        assert not whole.remarks and "\n\n" not in whole.code()[0]


TASK, GIVEN = "## 6. In your own words  \r\n\n*(5 points)*", {"## Where you are", "## A title"}


def written(*cells: tuple[str, str, str]) -> str:
    """What is found as words of somebody whose notebook holds these cells below the task."""
    around = ("markdown", "notes of my own", ""), ("markdown", "## A title", "")
    all_cells = (*around, ("markdown", "## 6. In your own words\n\n*(5 points)*", ""), *cells)
    made = [
        {"cell_type": kind, "source": text, "metadata": {"nbgrader": {"grade_id": name}}}
        for kind, text, name in (*all_cells, ("markdown", "## Where you are\n", ""))
    ]
    return parse(json.dumps({"cells": made}).encode()).words("ex99_why", TASK, GIVEN)


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([("markdown", "mine", "ex99_why")], "mine"),
        ([("markdown", "YOUR ANSWER HERE", "ex99_why")], ""),
        ([("markdown", "YOUR ANSWER HERE\n", "ex99_why"), ("markdown", "mine", "")], "mine"),
        ([("markdown", "one", "ex99_why"), ("markdown", "two", "")], "one\n\ntwo"),
        ([("markdown", "in its place", "")], "in its place"),
        ([("raw", "mine", "ex99_why")], "mine"),
        ([("code", "'mine'", "ex99_why"), ("code", "print(1)", "")], "'mine'"),
        ([("markdown", "mine", "ex99_why"), ("raw", "mine", "ex99_why")], "mine"),
        ([], ""),
    ],
)
def test_words_are_found_in_their_cell_and_in_cells_of_ones_own_below_the_task(cells, words):
    assert written(*cells) == words


def test_an_untouched_exercise_holds_no_words_and_a_solution_its_model_answer():
    for name in ASSIGNMENTS:
        assignment = load(name, ROOT / "solutions")
        (text,) = assignment.texts
        for folder, holds in (("exercises", False), ("solutions", True)):
            notebook = parse((ROOT / folder / name / f"{name}.ipynb").read_bytes())
            words = notebook.words(text.name, text.task, assignment.given)
            assert (text.model in words) if holds else not words


@pytest.mark.parametrize("piece", [b"[],", b"1,", b"{},"])
def test_a_file_of_a_million_pieces_is_not_taken_to_pieces(piece, monkeypatch):
    monkeypatch.setattr(json, "loads", lambda _: 1 / 0)
    with pytest.raises(Unreadable, match="over a million pieces"):
        parse(b'{"cells": [' + piece * 1_100_000 + b"0]}")


def test_a_page_sets_code_between_backticks_and_nothing_else_as_code():
    assert feedback.prose("`a < b` is <b>wrong</b>, and ` is a tick") == (
        "<code>a &lt; b</code> is &lt;b&gt;wrong&lt;/b&gt;, and ` is a tick"
    )
