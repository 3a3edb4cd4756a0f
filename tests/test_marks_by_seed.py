"""Wrong work gets the same marks from every seed, and never all of them."""

import pytest
import torch
from measure_marks import shares_by_seed

from course_checks import ASSIGNMENTS, parts
from course_checks.drawing import VISIBLE
from course_checks.part import Mistake, Part, call
from course_checks.report import LUCK, judge, marks, sentence

COMPARED = [part for name in ASSIGNMENTS for part in parts(name) if part.reference]
SEEDS = range(1, 201)
# dear cases: passes through a network, or many comparisons; `tools/measure_marks.py` has 200 of all
FEWER = dict.fromkeys(("ex02_capture", "ex02_pipeline", "ex03_change", "ex04_which"), 10)
FEWER |= dict.fromkeys(("ex02_map", "ex03_delete", "ex03_violations", "ex04_error"), 40)
FEWER |= dict.fromkeys(("ex04_vector", "ex05_proof", "ex05_patches"), 40)
FEWER |= dict.fromkeys(("ex06_pointing", "ex06_deletion", "ex06_alike"), 40)


@pytest.mark.parametrize("part", COMPARED, ids=lambda part: part.name)
def test_no_known_mistake_gets_full_marks_or_swings_by_more_than_a_tenth(part):
    """On 200 seeds; of the dear parts on fewer (`tools/measure_marks.py` has 200 of all)."""
    shown, found = shares_by_seed(part, SEEDS[: FEWER.get(part.name)])
    full = [m.says for m, share in zip(part.mistakes, shown) if share > 0.999]
    assert not full, f"the notebook's check passes these: {full}"
    for seed, shares in found.items():
        for mistake, before, now in zip(part.mistakes, shown, shares):
            assert abs(now - before) <= 0.1 and now < 0.999, (seed, mistake.says)


@pytest.mark.parametrize("part", COMPARED, ids=lambda part: part.name)
def test_a_known_mistake_is_judged_as_it_is_worth(part):
    """By the way that learners' answers take, on one hidden seed."""
    for number, mistake in enumerate(part.mistakes):
        assert marks(part, judge(part, mistake.makes, 1)) < part.points, mistake.says
        for case in part.cases(1):
            verdict = part.verdict(call(mistake.makes, case), case)
            assert verdict.share == part.worths(case)[number][0], mistake.says


# --- how the cases are drawn ----------------------------------------------------------------------


def _rows(seed: int) -> list[tuple]:
    """Three numbers each; in a third of the draws the largest is the first, which hides a
    mistake.
    """
    dice = torch.Generator().manual_seed(seed % 1009)
    return [(torch.randperm(9, generator=dice)[:3].float(),) for _ in range(4)]


LARGEST = Part(
    name="ex99_largest",
    title="the largest",
    points=4,
    answer="largest",
    draws=_rows,
    reference=lambda row: row.max().item(),
    mistakes=(Mistake("this is the first.", lambda row: row[0].item()),),
)


def test_cases_that_would_hide_a_mistake_are_drawn_again():
    got = {marks(LARGEST, judge(LARGEST, lambda row: row[0].item(), seed)) for seed in SEEDS}
    plain = {
        sum(row.argmax().item() == 0 for (row,) in _rows(seed)) for seed in SEEDS
    }  # what it would be without drawing again
    assert len(got) == 1 and len(plain) > 3


def test_the_order_of_the_hidden_cases_is_another_for_another_seed():
    sized = Part(
        name="ex99_size",
        title="size",
        points=4,
        answer="size",
        draws=lambda seed: [(torch.zeros(n),) for n in range(1, 5)],
        reference=lambda row: len(row),
    )
    orders = {tuple(len(row) for (row,) in sized.cases(seed)) for seed in SEEDS}
    assert len(orders) > 15 and {tuple(sorted(order)) for order in orders} == {(1, 2, 3, 4)}
    assert [len(row) for (row,) in sized.cases(VISIBLE)] == [1, 2, 3, 4]


# --- what is said ---------------------------------------------------------------------------------

SUMS = Part(
    name="ex99_sums",
    title="sums",
    points=3,
    answer="sums",
    draws=lambda seed: [
        (torch.zeros(3),),
        (torch.tensor([2.0, 2.0]),),
        (torch.tensor([1.0, 4.0]),),
    ],
    reference=lambda row: {"sum": row.sum().item(), "product": row.prod().item()},
    mistakes=(
        Mistake("this is the square.", lambda row: {"sum": row.square().sum().item()}),
        Mistake("this is the mean.", lambda row: {"sum": row.mean().item()}),
        Mistake("this is twice the mean of two.", lambda row: {"sum": row[0].item()}),
    ),
)


def test_a_dictionary_is_judged_by_key_and_the_key_is_named():
    verdicts = judge(SUMS, lambda row: {"sum": row.mean().item(), "product": row.prod().item()})
    assert marks(SUMS, verdicts) == 1.5  # "product" in all cases; "sum" is right by luck only
    assert '"sum": this is the mean.' in sentence(SUMS, verdicts)


def test_of_several_names_the_one_that_fits_the_other_cases_is_told():
    """In the second case the mean is the first number, too; in the third it is not."""
    verdicts = judge(SUMS, lambda row: {"sum": row[0].item(), "product": row.prod().item()})
    assert "twice the mean of two" in sentence(SUMS, verdicts)


def test_the_diagnosis_stands_before_the_easy_case():
    relu = Part(
        name="ex99_relu",
        title="relu",
        points=2,
        answer="relu",
        draws=lambda seed: [(torch.tensor([-1.0, -2.0]),), (torch.tensor([1.0, -2.0]),)],
        reference=lambda row: row.relu(),
        mistakes=(Mistake("this is zero everywhere.", torch.zeros_like),),
    )
    said = sentence(relu, judge(relu, torch.zeros_like))
    assert "this is zero everywhere" in said and LUCK not in said


def test_a_row_of_whole_numbers_may_come_as_a_tensor():
    pair = Part("ex99_pair", "pair", 1, "pair", lambda seed: [()], lambda: [1, 2])
    assert pair.verdict(torch.tensor([1, 2]), ()).share == 1
