"""Wrong work gets the same marks from every seed, and never all of them."""

from dataclasses import replace

import pytest
import torch
from measure_marks import shares_by_seed

from course_checks import ASSIGNMENTS, parts
from course_checks.drawing import VISIBLE
from course_checks.networks import Network
from course_checks.part import Mistake, Part, call
from course_checks.report import CONSTANT, LUCK, judge, marks, sentence

COMPARED = [part for name in ASSIGNMENTS for part in parts(name) if part.reference]
SEEDS = range(1, 201)


@pytest.mark.parametrize("part", COMPARED, ids=lambda part: part.name)
def test_no_known_mistake_gets_full_marks_or_swings_by_more_than_a_tenth(part):
    shown, found = shares_by_seed(part, SEEDS)
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


# --- what is kept of a case -----------------------------------------------------------------------


def _guarded(makes) -> Part:
    """A part whose first mistake does something to the network or the tensor that all are given."""
    mistakes = Mistake("this is the mistake.", makes), Mistake("this is 1.", lambda net, x: 1.0)
    cases = [(Network("small"), torch.zeros(2))]
    return Part("ex99_kept", "kept", 1, "kept", lambda s: cases, lambda net, x: 2.0, mistakes)


def _leaves_a_hook(net, x):
    net.features.register_forward_hook(lambda *_: None)
    return 0.0


@pytest.mark.parametrize("makes", [_leaves_a_hook, lambda net, x: x.add_(1).sum().item()])
def test_a_mistake_that_would_spoil_the_case_for_the_next_one_is_refused(makes):
    part = _guarded(makes)
    with pytest.raises(RuntimeError, match="ex99_kept: .* left a hook behind, or wrote into"):
        part.worths(part.cases(VISIBLE)[0])


def test_what_is_kept_of_a_case_is_never_told_of_another_one_at_its_address():
    part = Part("ex99_mean", "mean", 1, "mean", lambda s: [()], lambda row: row.mean().item())
    addresses = set()
    for number in range(400):
        case = (torch.full((2,), float(number)),)
        assert part.right(case) == number
        addresses.add(id(case))
        del case
    assert len(addresses) < 400  # some were used again


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


def test_a_constant_is_no_mistake_that_it_meets_in_one_case():
    """2 is the mean of the first row, and not of the second."""
    rows = [(torch.tensor([2.0, 2.0]),), (torch.tensor([1.0, 4.0]),)]
    part = replace(SUMS, draws=lambda seed: rows)

    def said(sum_of) -> str:
        return sentence(part, judge(part, lambda row: {"sum": sum_of(row), "product": 0}))

    assert CONSTANT in said(lambda row: 2) and "mean" not in said(lambda row: 2)
    assert "this is the mean." in said(lambda row: row.mean().item())


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
