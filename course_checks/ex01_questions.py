"""Checks of ex01_questions: who asks what, reading predictions, choosing P and Q, the taxonomy."""

import torch
from torch import Tensor

from .ex01_keys import judge_asked, judge_taxonomy
from .ex01_predictions import (
    CHOOSE_MISTAKES,
    TOP_MISTAKES,
    cases_choose,
    cases_top,
    choice,
    draw,
    top,
)
from .part import Case, Mistake, Part

# --- is it a question that this network can be asked? ---------------------------------------------


def _cases_sensible(seed: int) -> list[Case]:
    return [_sensible_case(seed, n, 6 + (seed + n) % 4) for n in (8, 9, 10)]


def _sensible_case(seed: int, n: int, classes: int) -> Case:
    """One image for each way in which a question may fail, in an order that depends on the seed."""
    logits, names = draw(seed, n, classes)
    order = logits.argsort(dim=1, descending=True).tolist()
    first, second, third, last = ([names[row[at]] for row in order] for at in (0, 1, 2, -1))
    logits[4, order[4][2]] = logits[4, order[4][1]]  # these two are equally probable
    logits[7] -= 20  # all of them below 0
    questions = [
        (first[0], last[0]), (third[1], third[1]), (second[2], "dahlia"), (last[3], first[3]),
        (second[4], third[4]), ("dahlia", last[5]), ("peony", "peony"), (second[7], last[7]),
    ]  # fmt: skip
    questions += [(second[i], last[i]) for i in range(8, n)]
    turn = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()
    p, q = ([questions[i][k] for i in turn] for k in (0, 1))
    return logits[turn], names, p, q


def _sensible(logits: Tensor, categories: list[str], p: list[str], q: list[str]) -> list[str]:
    return [
        _one_sensible(dict(zip(categories, row)), *pq)
        for row, pq in zip(logits.tolist(), zip(p, q))
    ]


def _one_sensible(logit: dict[str, float], p: str, q: str, ties: bool = False) -> str:
    if p not in logit or q not in logit:
        return "no such class"
    if p == q:
        return "same class"
    preferred = logit[p] >= logit[q] if ties else logit[p] > logit[q]
    return "sensible" if preferred else "P is not preferred"


def _with(change):
    """A wrong way: `change` turns (row of logits by name, P, Q) into one answer."""

    def makes(logits, categories, p, q):
        rows = (dict(zip(categories, row)) for row in logits.tolist())
        return [change(row, *pq) for row, pq in zip(rows, zip(p, q))]

    return makes


def _same_last(row: dict, p: str, q: str) -> str:
    return "P is not preferred" if p == q and p in row else _one_sensible(row, p, q)


def _same_first(row: dict, p: str, q: str) -> str:
    return "same class" if p == q else _one_sensible(row, p, q)


def _only_predicted(row: dict, p: str, q: str) -> str:
    said = _one_sensible(row, p, q)
    return "P is not preferred" if said == "sensible" and row[p] < max(row.values()) else said


def _only_positive(row: dict, p: str, q: str) -> str:
    said = _one_sensible(row, p, q)
    return "P is not preferred" if said == "sensible" and row[p] <= 0 else said


def _one_known(row: dict, p: str, q: str, asked: str) -> str:
    """Only one of the two names is looked up; what is unknown counts as never believed."""
    if asked not in row:
        return "no such class"
    return _one_sensible({p: -torch.inf, q: -torch.inf} | row, p, q)


_SENSIBLE_MISTAKES = (
    Mistake(
        "P and Q have changed places: it is Q that must be the less probable one.",
        _with(lambda row, p, q: _one_sensible(row, q, p)),
    ),
    Mistake(
        "where P and Q are the same, say 'same class': a comparison with itself fails before any "
        "probability is looked at.",
        _with(_same_last),
        share=0.5,
    ),
    Mistake(
        "ask first whether the network knows the words: 'peony' is no class of it, so that 'peony, "
        "rather than peony' is 'no such class'.",
        _with(_same_first),
        share=0.5,
    ),
    Mistake(
        "where P and Q are equally probable, the network does not prefer P: `>`, not `>=`.",
        _with(lambda row, p, q: _one_sensible(row, p, q, ties=True)),
        share=0.5,
    ),
    Mistake(
        "only P was looked up among the names. Q may be unknown, too.",
        _with(lambda row, p, q: _one_known(row, p, q, p)),
        share=0.5,
    ),
    Mistake(
        "only Q was looked up among the names. P may be unknown, too.",
        _with(lambda row, p, q: _one_known(row, p, q, q)),
        share=0.5,
    ),
    Mistake(
        "every image was judged by the logits of the first one: image n has row n.",
        lambda y, names, p, q: _sensible(y[:1].expand_as(y), names, p, q),
    ),
    Mistake(
        "you compare the places of the two names in `categories`. Compare their logits.",
        lambda y, names, p, q: _sensible(-torch.arange(len(names)).expand_as(y), names, p, q),
    ),
    Mistake(
        "P need not be the predicted class. 'Why the second, rather than the last?' is a fair "
        "question: compare P with Q only.",
        _with(_only_predicted),
        share=0.3,
    ),
    Mistake(
        "a logit below 0 is no refusal: P is preferred wherever its logit is larger than Q's.",
        _with(_only_positive),
        share=0.3,
    ),
)


def _once(seed: int) -> list[Case]:
    return [()]


_UNKNOWN = (
    "A name that the network does not know must get the answer 'no such class', before you look "
    "for its number."
)

PARTS = (
    Part(
        name="ex01_asked",
        title="who asks what",
        points=4,
        answer="who_asks_what",
        draws=_once,
        marker=judge_asked,
        expects="Six of the eight name a P, and three of those a Q as well.",
    ),
    Part(
        name="ex01_top",
        title="reading predictions",
        points=3,
        answer="most_probable",
        draws=cases_top,
        reference=top,
        mistakes=TOP_MISTAKES,
        tolerance=1e-5,
        failures=(
            ("k not in range", "k may be as large as the number of classes, not larger."),
            ("out of range", "k may be as large as the number of classes."),
        ),
    ),
    Part(
        name="ex01_choose",
        title="choosing P and Q",
        points=3,
        answer="choose_p_and_q",
        draws=cases_choose,
        reference=lambda logits, categories: choice(logits, categories, (0, 1, -1)),
        mistakes=CHOOSE_MISTAKES,
    ),
    Part(
        name="ex01_sensible",
        visible=-2,
        title="is the contrast sensible?",
        points=3,
        answer="is_sensible",
        draws=_cases_sensible,
        reference=_sensible,
        mistakes=_SENSIBLE_MISTAKES,
        failures=(("is not in list", _UNKNOWN), ("KeyError", _UNKNOWN)),
    ),
    Part(
        name="ex01_taxonomy",
        title="seventeen methods",
        points=2,
        answer="label_methods",
        draws=_once,
        marker=judge_taxonomy,
        expects="3 indirect, 6 direct, 8 targeted, as the lecture has it.",
    ),
)
