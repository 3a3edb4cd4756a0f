"""The assignments: generated as committed, solvable, and judged as their makers mean it to be."""

import re
import subprocess
import sys
from functools import cache
from itertools import combinations
from pathlib import Path

import pytest
import torch
from exercise_notebooks import (
    Assignment,
    execute,
    functions,
    graded,
    in_a_process_of_its_own,
    is_text,
    run,
)
from test_notebooks import NOTEBOOK_SECONDS, code_cells, run_under_nbval

import course_checks as checks
from course_checks import ASSIGNMENTS
from course_checks.answers import Failure, to_bytes
from course_checks.comparing import ready
from course_checks.drawing import VISIBLE
from course_checks.known import known
from course_checks.networks import built
from course_checks.part import Part, Verdict, call
from course_checks.report import Check, filled, judge, marks, passed, sentence, without_luck
from course_utils import GradCAM

ROOT = Path(__file__).resolve().parent.parent
ALL = [Assignment(name) for name in ASSIGNMENTS]
WRITTEN = [one for one in ALL if one.is_written()]
SEEDS = (1, 2, 7, 20261123)  # of hidden cases; each must be fair to a right solution
each_assignment = pytest.mark.parametrize("assignment", WRITTEN, ids=lambda one: one.name)
each_part = pytest.mark.parametrize(
    ("assignment", "part"),
    [pytest.param(one, part, id=part.name) for one in WRITTEN for part in one.parts],
)
each_wrong = pytest.mark.parametrize(
    ("assignment", "wrong"),
    [
        pytest.param(one, wrong, id=f"{wrong.part}-{number}")
        for one in WRITTEN
        for number, wrong in enumerate(one.wrong, 1)
    ],
)


@cache
def solved(assignment: Assignment) -> dict:
    """The names of the solution notebook, run once."""
    return run(assignment.cells())


def test_every_assignment_has_its_solution_its_checks_and_its_wrong_submissions():
    assert [one.name for one in WRITTEN] == list(ASSIGNMENTS)


def test_there_is_no_solution_of_another_name():
    folders = {path.name for path in (ROOT / "solutions").iterdir() if path.is_dir()}
    assert folders <= set(ASSIGNMENTS)


def test_no_module_takes_the_name_of_a_check():
    """It would hide the check as soon as it is imported: `checks.ex05_trap` would be the module."""
    modules = {path.stem for path in (ROOT / "course_checks").glob("*.py")}
    assert not modules & {part.name for one in WRITTEN for part in one.parts}


# --- generated ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """exercises/ as solutions/ generate it now."""
    folder = tmp_path_factory.mktemp("generated")
    command = [sys.executable, "tools/make_exercises.py", "--into", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_exercises_are_those_that_the_solutions_generate(generated):
    fresh = {path.relative_to(generated): path for path in generated.rglob("*.ipynb")}
    there = ROOT / "exercises"
    committed = {path.relative_to(there): path for path in there.rglob("*.ipynb")}
    committed = {
        name: path for name, path in committed.items() if ".ipynb_checkpoints" not in name.parts
    }
    assert set(fresh) == set(committed), "run `make exercises`"
    old = [str(name) for name in fresh if fresh[name].read_bytes() != committed[name].read_bytes()]
    assert not old, f"run `make exercises`: {', '.join(old)} differ"


def test_a_second_file_beside_a_solution_is_refused(tmp_path):
    (tmp_path / "ex99").mkdir()
    for name in ("ex99.ipynb", "notes.txt"):
        (tmp_path / "ex99" / name).touch()
    command = [
        sys.executable,
        "tools/make_exercises.py",
        "--solutions",
        tmp_path,
        "--into",
        tmp_path / "out",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0 and "notes.txt" in done.stderr and not (tmp_path / "out").exists()


# --- what a notebook holds ------------------------------------------------------------------------


@each_assignment
def test_an_assignment_is_worth_twenty_points_three_to_five_of_them_for_words(assignment):
    words = sum(graded(cell)["points"] for cell in assignment.cells() if is_text(cell))
    code = sum(part.points for part in assignment.parts)
    assert words + code == 20 and 3 <= words <= 5


@each_assignment
def test_every_graded_cell_belongs_to_a_part_or_is_an_answer_in_words(assignment):
    names = {part.name for part in assignment.parts}
    known = names | {f"{name}_check" for name in names}
    cells = [cell for cell in assignment.cells() if graded(cell)]
    ids = [graded(cell)["grade_id"] for cell in cells]
    assert len(set(ids)) == len(ids)
    asked = [c for c in cells if graded(c)["grade"] or graded(c)["solution"]]
    assert {graded(c)["grade_id"] for c in asked if not is_text(c)} == known
    assert all(graded(c)["grade"] and graded(c)["points"] > 0 for c in cells if is_text(c))


@each_assignment
def test_the_learners_notebook_shows_no_solution(assignment):
    for cell in assignment.cells(assignment.released):
        mark = graded(cell)
        assert "SOLUTION" not in cell["source"]
        if mark.get("solution"):
            assert ("YOUR ANSWER HERE" if is_text(cell) else "raise NotImplementedError()") in cell[
                "source"
            ]


@each_part
def test_a_part_is_one_answer_and_one_check_of_the_right_points(assignment, part):
    answer, check = assignment.cell(part.name), assignment.cell(f"{part.name}_check")
    wanted = {"schema_version": 3, "grade": False, "solution": True, "locked": False, "task": False}
    assert {key: graded(answer)[key] for key in wanted} == wanted
    assert "### BEGIN SOLUTION" in answer["source"]
    if not part.is_value:
        assert functions(answer["source"]) == [part.answer]
    wanted |= {"grade": True, "solution": False, "locked": True, "points": part.points}
    assert {key: graded(check)[key] for key in wanted} == wanted
    assert check["source"] == f"checks.{part.name}({part.answer})"


@each_part
def test_a_part_is_introduced_with_two_hints_and_its_points(assignment, part):
    cells = assignment.cells()
    at = next(n for n, cell in enumerate(cells) if graded(cell).get("grade_id") == part.name)
    before = max(n for n in range(at) if cells[n]["cell_type"] == "code") + 1
    text = "\n".join(cell["source"] for cell in cells[before:at])
    assert text.count("<details>") == text.count("</details>")
    assert text.count("<details><summary>Hint") >= 2
    assert f"{part.points:g} points" in text or f"{part.points:g} point" in text
    assert "min" in text


# --- cases and marks ------------------------------------------------------------------------------


@each_part
def test_the_hidden_cases_are_others_and_the_same_for_the_same_seed(assignment, part):
    def drawn(seed):
        return [to_bytes(list(case)) for case in part.cases(seed)]

    if part.cases(VISIBLE) == [()]:  # a value, or a function of nothing that returns one
        assert part.cases(SEEDS[0]) == [()]
        return
    assert len(drawn(SEEDS[0])) >= 3
    assert drawn(SEEDS[0]) == drawn(SEEDS[0])
    assert not set(drawn(SEEDS[0])) & set(drawn(VISIBLE))
    assert set(drawn(SEEDS[0])) != set(drawn(SEEDS[1]))


@each_part
def test_the_solution_gets_full_marks(assignment, part):
    for seed in (VISIBLE, *range(1, 21), SEEDS[-1]):
        verdicts = judge(part, solved(assignment).get(part.answer), seed)
        assert marks(part, verdicts) == part.points, (seed, sentence(part, verdicts))


@each_part
def test_an_untouched_exercise_gets_nothing_and_is_told_so(assignment, part):
    names = run(assignment.cells(assignment.released))
    for seed in (VISIBLE, SEEDS[0]):
        verdicts = judge(part, names.get(part.answer), seed)
        assert marks(part, verdicts) == 0
        assert "not attempted yet" in sentence(part, verdicts)


CONSTANTS = (0, 1, -1, 3, 0.5, -5, 0.7)
ANYTHING = (0, 1, -1, 0.0, 0.5, True, False, None, "", "T", [], {}, [0, 0], torch.zeros(()))


@each_part
def test_one_answer_to_all_cases_earns_nothing(assignment, part):
    """Be it the right answer to a case that the notebook shows."""
    known = [part.right(case) for case in part.cases(VISIBLE)] if part.reference else []
    for seed in (VISIBLE, *SEEDS):
        cases = part.cases(seed)
        for one in (*ANYTHING, *(known if len(cases) > 1 else [])):
            verdicts = [part.verdict(one, case) for case in cases]
            assert marks(part, without_luck(part, verdicts, cases)) == 0, (seed, one)


def test_one_label_for_nearly_all_and_one_kind_for_nearly_all_earn_nothing():
    asked, *_, taxonomy = Assignment("ex01_questions").parts
    for part, words in ((taxonomy, "IDT"), (asked, [["contrast"], ["why"], ["none"]])):
        right = solved(Assignment("ex01_questions"))[part.answer]()
        first, *others = right
        for word in words:
            nearly = dict.fromkeys(others, word) | {first: right[first]}
            assert marks(part, judge(part, lambda nearly=nearly: nearly, 1)) == 0


@pytest.mark.parametrize(
    "part",
    [part for one in WRITTEN for part in one.parts if part.reference and not part.is_value],
    ids=lambda part: part.name,
)
def test_a_constant_earns_nothing(part):
    """It is even told of which shape and kind the answer is, and where there is none."""
    for seed in (VISIBLE, *SEEDS):
        cases = part.cases(seed)
        for number in CONSTANTS:
            verdicts = [part.verdict(filled(part.right(case), number), case) for case in cases]
            assert marks(part, without_luck(part, verdicts, cases)) == 0, (seed, number)


@pytest.mark.parametrize(
    "part",
    [part for one in WRITTEN for part in one.parts if part.reference and not part.is_value],
    ids=lambda part: part.name,
)
def test_the_right_answers_of_another_seed_in_the_order_of_the_calls_earn_next_to_nothing(part):
    """Some answers are short, such as a class number, and may be met by chance."""
    known = [part.right(case) for case in part.cases(VISIBLE)]
    earned = []
    for seed in range(1, 9):
        cases = part.cases(seed)
        verdicts = [part.verdict(one, case) for one, case in zip(known, cases)]
        earned.append(marks(part, without_luck(part, verdicts, cases)))
    assert sum(earned) / len(earned) <= part.points / 8, earned


@each_part
def test_a_part_knows_three_mistakes_and_is_tried_with_three_wrong_submissions(assignment, part):
    assert part.marker is not None or len(part.mistakes) >= 3
    mine = [wrong for wrong in assignment.wrong if wrong.part == part.name]
    assert len({wrong.edit for wrong in mine}) >= 3


@each_part
def test_no_two_known_mistakes_are_one_answer_in_the_notebook(assignment, part):
    """Else who makes one of them is told the other."""
    cases = part.cases(VISIBLE) if part.reference else []
    made = [[answer for _, answer in known(part, case).mistakes()] for case in cases]
    for (n, one), (m, other) in combinations(enumerate(part.mistakes if made else ()), 2):
        pairs = [(answers[n], answers[m]) for answers in made]
        stops = any(isinstance(answer, Failure) for pair in pairs for answer in pair)
        if one.says != other.says and not stops:
            assert not all(part.is_close(*map(ready, pair)) for pair in pairs), (one, other)


@each_wrong
def test_a_wrong_submission_gets_its_marks_and_its_message(assignment, wrong):
    part = next(part for part in assignment.parts if part.name == wrong.part)
    source = wrong.made_of(assignment.cell(wrong.part)["source"])
    names = dict(solved(assignment))
    execute(source, names)
    hidden = judge(part, names.get(part.answer), SEEDS[0])
    assert (marks(part, hidden), wrong.says) == (wrong.marks, said(part, hidden, wrong.says))
    shown = judge(part, names.get(part.answer), VISIBLE)
    expected = wrong.visible or wrong.says
    assert expected == said(part, shown, expected)


def said(part, verdicts, words: str) -> str:
    """The words if the message holds them, else the message."""
    message = sentence(part, verdicts)
    return words if words in message else message


# --- what the look cells ask ----------------------------------------------------------------------

ADD = Part("ex00_add", "add", 2, "add", lambda seed: [(seed, 1), (seed, 2)], lambda a, b: a + b)


def test_a_part_is_solved_once_its_check_passed_and_no_longer_when_it_fails_again(capsys):
    check = Check(ADD)
    assert not passed(ADD)
    check(lambda a, b: a + b)
    assert passed(ADD) and "✓" in capsys.readouterr().out
    check(lambda a, b: a + 1)
    assert not passed(ADD)


def test_solved_knows_the_parts_names():
    with pytest.raises(AttributeError, match="no check"):
        checks.solved("ex00_nothing")


def test_a_cell_that_waits_says_for_which_part(capsys, monkeypatch):
    monkeypatch.setattr("course_checks.report._passed", {"ex01_top"})
    assert checks.solved("ex01_top") and not capsys.readouterr().out
    assert not checks.solved("ex01_asked")
    assert "waits until the check of ex01_asked says 'right'" in capsys.readouterr().out


def test_code_that_works_in_place_changes_its_own_copy_only():
    case = ({"a": [1, 2]}, torch.zeros(2))

    def spoil(scores, numbers):
        scores.pop("a").clear()
        numbers += 1

    call(spoil, case)
    assert case[0] == {"a": [1, 2]} and not case[1].any()


def test_true_and_false_in_place_of_numbers_are_a_wrong_answer():
    half = Part("ex00_half", "half", 1, "half", lambda seed: [()], lambda: torch.tensor([0.5, 1.0]))
    verdict = half.verdict(torch.tensor([True, True]), ())
    assert verdict.share == 0 and "at [0] you have 1, and 0.5 is right" in verdict.says


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        ((torch.tensor([0.5, 1.0]),), r"list of 1. The tensor is in a list or tuple: .* `\[0\]`"),
        ((torch.zeros(2), torch.zeros(2)), "list of 2. Answer with one torch tensor"),
        (torch.zeros(2, 3).max(dim=1), r"return values and places: take `\[0\]`"),
        (torch.zeros(3), r"got a tensor of shape \(3,\).$"),
    ],
    ids=["a tuple, as torch.autograd.grad gives it", "several", "max", "another shape"],
)
def test_a_tensor_that_comes_in_a_tuple_is_told_how_to_come_out(answer, advice):
    half = Part("ex00_half", "half", 1, "half", lambda seed: [()], lambda: torch.tensor([0.5, 1.0]))
    assert re.search(advice, half.verdict(answer, ()).says)


def test_the_sentence_counts_what_is_right_in_part():
    three = [Verdict(0.6, "wrong sign"), Verdict(1.0), Verdict(0.0, "no")]
    assert "(1 of 3 cases right, 1 in part): case 1: wrong sign" in sentence(ADD, three)
    assert "(1 of 3 cases right): case 1: no" in sentence(ADD, [three[2], three[1], three[2]])


# --- they run -------------------------------------------------------------------------------------


@pytest.mark.timeout(NOTEBOOK_SECONDS + 30)
@each_assignment
def test_every_code_cell_of_a_solution_runs_to_the_end(assignment, tmp_path):
    result = run_under_nbval(assignment.source, tmp_path / "report.xml")
    expected = {"passed": code_cells(assignment.source), "failed": 0, "skipped": 0}
    assert {key: result[key] for key in expected} == expected, result["output"]


@each_assignment
def test_every_code_cell_of_an_untouched_exercise_runs_to_the_end(assignment):
    """But for the answers, which raise NotImplementedError when somebody calls them."""
    run = in_a_process_of_its_own(assignment.code(assignment.released))
    assert run == ["no error"] * code_cells(assignment.released)


def test_a_cell_that_stops_is_seen():
    assert in_a_process_of_its_own(["a = 1", "a / 0", "a +"]) == [
        "no error",
        "ZeroDivisionError",
        "SyntaxError",
    ]


@each_assignment
def test_every_cell_that_uses_an_answer_asks_first_whether_it_is_solved(assignment):
    answers = re.compile("|".join(rf"\b{part.answer}\b" for part in assignment.parts))
    for cell in assignment.cells():
        if cell["cell_type"] == "code" and not graded(cell) and answers.search(cell["source"]):
            assert "checks.solved(" in cell["source"], cell["source"]


def test_exercise_2_judges_by_the_maps_that_the_course_draws():
    """The reference is written out by hand, since it is asked often."""
    pipeline = next(part for part in checks.parts("ex02_gradcam") if part.name == "ex02_pipeline")
    for case in pipeline.cases(1):
        model, names, x, c = built(case)
        drawn = [GradCAM(model, name)(x, why=torch.tensor(c)).maps[:, 0] for name in names]
        torch.testing.assert_close(pipeline.reference(model, names, x, c), torch.stack(drawn, 1))
