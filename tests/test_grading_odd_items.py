"""What may lie among hand-ins, or come from a spreadsheet: one odd item never stops a class."""

import csv
import fcntl
import io
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import grade
import pytest
import torch
from grading import batch, by_hand
from grading.assignment import Assignment, Text
from grading.by_hand import ByHand, read, update
from grading.collect import Submission, collect
from grading.grader import Asked, Grader, verdict_on
from grading.inside import frames
from grading.limits import Limits
from grading.notebook import parse
from grading.table import safe, table, to_csv
from grading.watch import Run

from course_checks.answers import to_bytes
from course_checks.part import Part, Verdict

NAME = "ex04_contrast"
ASSIGNMENT = Assignment("ex99_tiny", (), (Text("ex99_why", 5, "", ""), Text("ex99_how", 3, "", "")))


def handed_in(folder: Path, *students: str) -> Path:
    for student in students:
        (folder / student / NAME).mkdir(parents=True)
        (folder / student / NAME / f"{NAME}.ipynb").write_text("{}")
    return folder


def collected(folder: Path) -> dict[str, Submission]:
    found = {one.student: one for one in collect(folder, NAME, 10_000)}
    assert all(
        one.digest() for one in found.values()
    )  # what is asked of every one before any is graded
    return found


def test_a_folder_with_the_notebooks_name(tmp_path):
    (handed_in(tmp_path, "ann") / "bert" / NAME / f"{NAME}.ipynb").mkdir(parents=True)
    found = collected(tmp_path)
    assert found["ann"].content == b"{}" and found["bert"].trouble == f"{NAME}.ipynb is not a file."


def test_a_file_name_with_half_a_character_and_a_line_break(tmp_path):
    place = handed_in(tmp_path, "ann") / "bert" / NAME
    place.mkdir(parents=True)
    os.mkfifo(os.fsencode(place) + b"/\xff\n.ipynb")
    assert collected(tmp_path)["bert"].trouble == "“\ufffd\ufffd.ipynb” is not a file."


def test_a_folder_that_may_not_be_entered(tmp_path, monkeypatch):
    handed_in(tmp_path, "ann", "bert")
    locked, real, there = tmp_path / "bert" / NAME, os.scandir, os.path.lexists

    def refused(path="."):  # as it is for anybody but root
        if Path(path) == locked:
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refused)
    monkeypatch.setattr(
        os.path, "lexists", lambda path: Path(path).parent != locked and there(path)
    )
    found = collected(tmp_path)
    assert (
        found["ann"].content == b"{}"
        and "cannot be read (Permission denied)" in found["bert"].trouble
    )


def test_a_child_that_is_killed_from_outside_costs_one_grade():
    students = [Submission(name, name, b"") for name in ("ann", "bert", "cleo")]

    def work(one):
        if one.student == "bert":
            os.kill(os.getpid(), signal.SIGKILL)

    said = dict(batch._spread(work, students, 2, 60))
    assert said == {"ann": "", "bert": "its process ended with -9", "cleo": ""}


def test_a_second_run_changes_no_seed(tmp_path, capsys):
    folder = tmp_path / "grades" / NAME
    folder.mkdir(parents=True)
    (folder / "seed.txt").write_text("77\n")
    handed_in(tmp_path / "submitted", "ann")
    with (tmp_path / "grades" / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        words = [f"--{name}={tmp_path / name}" for name in ("submitted", "grades", "feedback")]
        assert grade.main([NAME, *words, "--seed=5"]) == 1
    assert "Another `make grade` is at work" in capsys.readouterr().err
    assert (folder / "seed.txt").read_text() == "77\n"


def test_a_place_where_nothing_can_be_written_is_a_sentence(tmp_path, capsys):
    (tmp_path / "grades").write_text("a file")
    handed_in(tmp_path / "submitted", "ann")
    assert (
        grade.main(
            [NAME, f"--submitted={tmp_path / 'submitted'}", f"--grades={tmp_path / 'grades'}"]
        )
        == 1
    )
    assert str(tmp_path / "grades") in capsys.readouterr().err


# --- tables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "=1",
        " =1",
        "x;=cmd|'/C calc'!A0",
        "a,b\n=1;",
        "a\t-1",
        "@x",
        "＝1",
        "\t=1",
        "|x",
        "%x",
        "a;\n+1",
    ],
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_no_cell_begins_a_formula_whatever_a_spreadsheet_splits_at(text, delimiter):
    cells = [
        cell
        for row in csv.reader(io.StringIO(to_csv([["ann", text]])), delimiter=delimiter)
        for cell in row
    ]
    lines = [line for cell in cells for line in cell.splitlines()]
    assert not [line for line in lines if line.strip().startswith(tuple("=+-@|%＝＋－＠"))]


@pytest.mark.parametrize("text", ["good; but late", "a - b", "it's 50 % of 3", "two\nlines"])
def test_ordinary_words_stay_as_they_are(text):
    assert safe(text) == text


def grades(*keys: str) -> list[dict]:
    return [
        {"key": key, "student": key, "texts": {"ex99_why": "words", "ex99_how": ""}} for key in keys
    ]


def written(path: Path, *keys: str) -> list[dict]:
    update(path, grades(*keys), ASSIGNMENT, read(path, ASSIGNMENT))
    return list(csv.DictReader(path.open(encoding="utf-8", newline="")))


@pytest.fixture
def marked(tmp_path):
    """A file with a mark and a comment for Ann; and its text."""
    path = tmp_path / "by_hand.csv"
    rows = written(path, "ann", "bert")
    rows[0] |= {"ex99_why": "2.5", "comment": "Schön; but late"}
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, rows[0])
        out.writeheader()
        out.writerows(rows)
    return path, path.read_text(encoding="utf-8")


def as_saved(text: str, delimiter: str, encoding: str) -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(csv.reader(io.StringIO(text)))
    return out.getvalue().encode(encoding)


@pytest.mark.parametrize(
    ("delimiter", "encoding"),
    [(",", "utf-8"), (";", "utf-8-sig"), (";", "cp1252"), ("\t", "utf-8"), ("\t", "utf-16")],
)
def test_marks_come_back_from_any_spreadsheet(marked, delimiter, encoding):
    path, text = marked
    path.write_bytes(as_saved(text, delimiter, encoding))
    found = read(path, ASSIGNMENT)
    assert found.marks == {("ann", "ex99_why"): 2.5} and found.comments["ann"] == "Schön; but late"


@pytest.mark.parametrize(
    "content", ["", "student,ex99_why,ex99_how\nann,2,\n", "key,student,ex99_why\nann,ann,2\n"]
)
def test_a_file_without_its_columns_is_left_as_it_is(tmp_path, content):
    path = tmp_path / "by_hand.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match="has no column .*Nothing was written"):
        read(path, ASSIGNMENT)
    assert path.read_text() == content


@pytest.mark.parametrize(
    "cell, mark",
    [("0", 0), ("5", 5), ("2,5", 2.5), ("-0.5", None), ("5.01", None), ("nan", None), ("?", None)],
)
def test_a_mark_by_hand_lies_between_nothing_and_the_texts_points(tmp_path, cell, mark):
    path = tmp_path / "by_hand.csv"
    path.write_text(f'key,ex99_why,ex99_how\nann,"{cell}",\n')
    found = read(path, ASSIGNMENT)
    assert found.marks == ({} if mark is None else {("ann", "ex99_why"): mark})
    said = [f"by_hand.csv, line 2: '{cell}' is no mark from 0 to 5."]
    assert found.complaints == (said if mark is None else [])


def test_the_total_is_the_parts_and_the_hand_marks_and_empty_while_one_is_missing():
    """ann: 1.25 + 2.5 and 4 + 1; bo has one mark, and wrote nothing else; cy's is missing."""
    parts = [{"name": "a", "marks": 1.25}, {"name": "b", "marks": 2.5}]
    rest = dict(parts=parts, trouble="", remarks=[])
    texts = {"ann": ("words", "more"), "bo": ("words", ""), "cy": ("words", "more")}
    graded = [
        dict(key=key, student=key, texts=dict(zip(("ex99_why", "ex99_how"), both)), **rest)
        for key, both in texts.items()
    ]
    marks = ByHand({("ann", "ex99_why"): 4, ("ann", "ex99_how"): 1, ("bo", "ex99_why"): 0.5})
    marks.marks["cy", "ex99_how"] = 3
    two = tuple(Part(name, name, 4, name, lambda seed: []) for name in "ab")
    made = table(graded, replace(ASSIGNMENT, parts=two), marks)
    rows = [row.split(",") for row in made.splitlines()]
    head = "student a b automatic ex99_why ex99_how|by hand|total (of 16)|remarks"
    assert rows[0] == [*head.split("|")[0].split(), *head.split("|")[1:]]
    assert rows[1:] == [
        ["ann", "1.25", "2.5", "3.75", "4", "1", "5", "8.75", ""],
        ["bo", "1.25", "2.5", "3.75", "0.5", "0", "0.5", "4.25", ""],
        ["cy", "1.25", "2.5", "3.75", "", "3", "", "", ""],
    ]


def test_rows_that_a_spreadsheet_left_empty_are_nobodys(tmp_path):
    path = tmp_path / "by_hand.csv"
    path.write_text("key,ex99_why,ex99_how\nann,1,2\n,,\n,,\n")
    assert read(path, ASSIGNMENT).complaints == []


def test_a_mark_for_an_answer_that_seems_empty_counts():
    found = ByHand({("ann", "ex99_why"): 2, ("ann", "ex99_how"): 1.5})
    assert found.of(grades("ann")[0], ASSIGNMENT) == 3.5


def test_answers_that_were_handed_in_anew_are_complained_about_until_they_are_read(marked):
    path, _ = marked
    anew = [{**one, "texts": {"ex99_why": "other words", "ex99_how": ""}} for one in grades("ann")]
    for _ in range(2):
        found = read(path, ASSIGNMENT)
        update(path, anew, ASSIGNMENT, found)
        assert "ann has handed in other answers than those that you marked" in found.complaints[0]
    rows = list(csv.DictReader(path.open(newline="", encoding="utf-8")))
    rows[0][by_hand.READ] = ""
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, rows[0])
        out.writeheader()
        out.writerows(rows)
    found = read(path, ASSIGNMENT)
    update(path, anew, ASSIGNMENT, found)
    assert found.complaints == [] and found.marks == {("ann", "ex99_why"): 2.5}


def test_marks_of_nobody_are_complained_about_and_kept(tmp_path):
    path = tmp_path / "by_hand.csv"
    path.write_text("key,student,ex99_why,ex99_how,comment,answers\n123456,123456,4,,,\n")
    found = read(path, ASSIGNMENT)
    update(path, grades("0123456"), ASSIGNMENT, found)
    assert "marks for '123456', who handed in nothing" in found.complaints[0]
    assert read(path, ASSIGNMENT).marks == {("123456", "ex99_why"): 4.0}


def test_what_is_replaced_is_kept_and_a_second_time_nothing_is_replaced(marked):
    path, text = marked
    written(path, "ann", "bert", "cleo")
    kept = list((path.parent / "ex99_tiny" / "earlier").iterdir())
    assert [one.read_text(encoding="utf-8") for one in kept] == [text]
    written(path, "ann", "bert", "cleo")
    assert list((path.parent / "ex99_tiny" / "earlier").iterdir()) == kept


def test_a_very_long_comment_is_read(marked):
    path, text = marked
    path.write_text(text.replace("but late", "x" * 200_000), encoding="utf-8")
    assert len(read(path, ASSIGNMENT).comments["ann"]) > 200_000


def test_no_digest_looks_like_a_number(tmp_path):
    rows = written(tmp_path / "by_hand.csv", *(f"s{n}" for n in range(30)))
    assert all(row[by_hand.READ].startswith("a") for row in rows)


# --- answers from inside ------------------------------------------------------------------------


def doubles(seed: int) -> list[tuple]:
    return [(torch.tensor([1.5, n]),) for n in (2.5, 3.5, 4.5, 5.5)]


@pytest.fixture
def asked():
    """Four numbers to be doubled, for four marks; nobody has answered yet."""
    part = Part("ex99_double", "double", 4, "double", doubles, lambda x: 2 * x)
    cell = {"cell_type": "code", "source": "x = 1", "metadata": {}}
    grader = Grader(replace(ASSIGNMENT, parts=(part,)), None, Limits(), 1)
    return Asked(grader, parse(json.dumps({"cells": [cell]}).encode()))


def answered(asked: Asked, *numbers: int, factor: float = 2, first: int = 0) -> bool:
    """Whether the run came to its end; `numbers` are cases."""
    cases = asked.cases[0]
    sent = [(frames.ANSWER, 0, n, to_bytes(factor * cases[n][0])) for n in numbers]
    return asked._keep(Run([*sent, (frames.END, 0, 0, b"")]), first)


def test_each_case_is_worth_the_same_and_one_without_an_answer_nothing(asked):
    assert answered(asked, 0, 1, 2)
    assert asked.marked(0)["marks"] == 3
    assert "no answer came" in asked.marked(0)["message"]


def test_of_two_answers_to_one_case_the_first_counts(asked):
    answered(asked, 0, 1, factor=3)
    answered(asked, 0, 1, 2, 3)
    assert asked.marked(0)["marks"] == 2


def test_answers_to_parts_before_the_one_that_is_asked_now_do_not_count(asked):
    answered(asked, 0, 1, 2, 3, first=1)
    assert asked.marked(0)["marks"] == 0


@pytest.mark.parametrize("share, kept", [(5.0, 0), (-1.0, 0), (float("nan"), 0), (0.5, 0.5)])
def test_a_share_beyond_the_whole_is_none(share, kept):
    part = Part("ex99_any", "any", 4, "any", doubles, marker=lambda answer, x: Verdict(share, "!"))
    assert verdict_on(part, to_bytes(1.5), doubles(1)[0]).share == kept
