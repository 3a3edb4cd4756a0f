"""Checks of ex06_judge: the area under the margin, and the verdict."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .chance import dice
from .known import remembering
from .part import Mistake, Part


def _area_cases(seed: int) -> list[tuple]:
    """All images count; some do not; all do again; none does."""
    made = []
    for number, (n, steps) in enumerate([(2, 5), (5, 9), (4, 4), (2, 6)]):
        rng = dice(seed, 60 + number)
        n, steps = n + seed % 2, steps + seed % 3
        margins = (
            4 * torch.rand(n, 1, generator=rng) + 1 - torch.rand(n, steps, generator=rng).cumsum(1)
        )
        margins[:, 0] = margins[:, 0].abs() + 1
        margins[:, 2] = margins[:, 0] * (1.2 + 0.2 * torch.rand((), generator=rng))  # it may rise
        margins[0, -1] = -1.0 - torch.rand((), generator=rng)  # Q overtakes P
        if number == 1:
            margins[1, 0] = -2.0
            margins[2, 0] = 0.0
        if number == 3:
            margins[:, 0] = -margins[:, 0].abs()
        made.append((margins,))
    return made


@remembering
def _area(margins: Tensor) -> dict[str, Any]:
    areas = []
    for row in margins.double():
        if row[0] > 0:
            areas.append(torch.trapezoid(row / row[0]).item() / (len(row) - 1))
    return {"area": sum(areas) / len(areas) if areas else None, "images": len(areas)}


def _of_kept(area: Callable[[Tensor], Tensor]) -> Callable[[Tensor], dict[str, Any]]:
    """The answer with another area of the margins that count, N x steps -> a number."""

    def makes(margins: Tensor) -> dict[str, Any]:
        right, kept = _area(margins), margins[margins[:, 0] > 0].double()
        return right | {"area": float(area(kept)) if right["images"] else None}

    return makes


def _under(curves: Tensor) -> Tensor:
    """The mean area under curves whose way from the first step to the last is 1."""
    return torch.trapezoid(curves).mean() / (curves.shape[1] - 1)


def _relative(margins: Tensor) -> Tensor:
    return margins / margins[:, :1]


def _all_images(margins: Tensor) -> dict[str, Any]:
    return {"area": float(_under(_relative(margins.double()))), "images": len(margins)}


def _with_zero(margins: Tensor) -> dict[str, Any]:
    """A margin of 0 is let in."""
    kept = margins[margins[:, 0] >= 0].double()
    return {"area": float(_under(_relative(kept))) if len(kept) else None, "images": len(kept)}


_LEFT_OUT = "only those images count whose margin begins above 0."
AREA_MISTAKES = (
    Mistake("this is the plain mean. The first and the last value count half (trapezoids).",
            _of_kept(lambda kept: _relative(kept).mean())),
    Mistake("these are rectangles, by each interval's first value. Take trapezoids: the mean of "
            "both.",
            _of_kept(lambda kept: _relative(kept)[:, :-1].mean())),
    Mistake("these are rectangles, by each interval's last value. Take trapezoids: the mean of "
            "both.",
            _of_kept(lambda kept: _relative(kept)[:, 1:].mean())),
    Mistake("from the first step to the last the way is 1: divide by the number of intervals.",
            _of_kept(lambda kept: torch.trapezoid(_relative(kept)).mean())),
    Mistake("you divide by the number of steps. There is one interval less than steps.",
            _of_kept(lambda kept: torch.trapezoid(_relative(kept)).mean() / kept.shape[1])),
    Mistake("divide by the first margin, not by the largest: the curve begins at 1.",
            _of_kept(lambda kept: _under(kept / kept.amax(1, True)))),
    Mistake("divide every margin by that of its own first step.", _of_kept(_under)),
    Mistake("make each image's margins relative first, then take the mean over the images.",
            _of_kept(lambda kept: _under((kept.mean(0) / kept[:, 0].mean())[None]))),
    Mistake("a margin below 0 counts as it is: Q has overtaken P, and the area may fall below 0.",
            _of_kept(lambda kept: _under(_relative(kept).clamp(min=0)))),
    Mistake("a margin below 0 counts as it is, with its sign.",
            _of_kept(lambda kept: _under(_relative(kept).abs()))),
    Mistake("the area under the curve is wanted, not the one above it.",
            _of_kept(lambda kept: 1 - _under(_relative(kept)))),
    Mistake("this is the sum over the images. Take their mean.",
            _of_kept(lambda kept: _under(_relative(kept)) * len(kept))),
    Mistake("this is the area of the first image only. Take the mean over all that count.",
            _of_kept(lambda kept: _under(_relative(kept[:1])))),
    Mistake(_LEFT_OUT, _all_images),
    Mistake(_LEFT_OUT, _with_zero),
    Mistake(_LEFT_OUT, lambda margins: _area(margins) | {"images": len(margins)}),
    Mistake("this is the number of steps. Count the images.",
            lambda margins: _area(margins) | {"images": margins.shape[1]}),
)  # fmt: skip


AREA = Part(
    name="ex06_area",
    visible=-1,
    title="The area under the relative margin",
    points=2,
    answer="relative_area",
    draws=_area_cases,
    reference=_area,
    mistakes=AREA_MISTAKES,
)


def _row(rng: torch.Generator, randomised: float, other: float, **fixed: float) -> dict[str, float]:
    pointing, area = (round(float(torch.rand((), generator=rng)), 3) for _ in range(2))
    row = {"pointing": pointing, "area": area, "randomised": randomised, "other Q": other}
    return {name: float(value) for name, value in (row | fixed).items()}


def _verdict_cases(seed: int) -> list[tuple]:
    made = []
    for number in range(5):
        rng = dice(seed, 80 + number)
        limit = round(0.6 + 0.3 * float(torch.rand((), generator=rng)), 2)
        above, below = limit + 0.05, limit - 0.1
        row = partial(_row, rng)
        kinds = [
            row(1.0, 1.0, pointing=1.0, area=0.01),  # a fake with the best figures of all
            row(0.1, 1.0, pointing=0.95, area=0.02),  # blind for the question
            row(below, below, pointing=0.6, area=0.3),
            row(-0.97, -0.95, pointing=0.9, area=0.25),  # turned over: it has noticed
        ]
        if number == 1:  # two that point equally well
            kinds += [
                row(0.0, 0.3, pointing=0.9, area=0.1),
                row(0.2, limit, pointing=0.9, area=0.2),
            ]
        elif number == 2:  # nobody is left
            kinds = [row(above, 0.1, pointing=0.99), row(0.0, above), row(1.0, 0.0)]
        elif number == 3:
            kinds = [row(above, above), *kinds[1:], row(limit, -0.2, pointing=0.97, area=0.5)]
        letters = [chr(ord("A") + (i + seed) % 20) for i in range(len(kinds))]
        order = torch.randperm(len(kinds), generator=rng).tolist()
        rows = [(letters[i], kinds[k]) for i, k in enumerate(order)]
        turn = torch.randperm(len(rows), generator=rng).tolist()  # the names come unsorted
        made.append(({rows[i][0]: rows[i][1] for i in turn}, limit))
    return made


def _verdict(scores: dict[str, dict[str, float]], limit: float) -> dict[str, Any]:
    network = sorted(name for name, row in scores.items() if row["randomised"] > limit)
    rest = {name: row for name, row in scores.items() if name not in network}
    question = sorted(name for name, row in rest.items() if row["other Q"] > limit)
    left = [
        (-row["pointing"], row["area"], name) for name, row in rest.items() if name not in question
    ]
    best = min(left)[2] if left else None
    return {"ignores the network": network, "ignores the question": question, "best": best}


_LISTS = ("ignores the network", "ignores the question")


def _ruled(
    above: Callable[[float, float], bool] = lambda value, limit: value > limit,
    key: Callable[[dict], tuple] = lambda row: (-row["pointing"], row["area"]),
    apart: bool = True,
    best_of_all: bool = False,
) -> Callable[..., dict[str, Any]]:
    """The verdict with one rule changed.

    Args:
        above: (similarity, limit) -> whether the map stayed the same.
        key: the figures of a method -> what the best has the least of.
        apart: a method stands in one list at most.
        best_of_all: who is out may win all the same.
    """

    def makes(scores: dict, limit: float) -> dict[str, Any]:
        network = sorted(n for n, row in scores.items() if above(row["randomised"], limit))
        question = sorted(
            n
            for n, row in scores.items()
            if above(row["other Q"], limit) and not (apart and n in network)
        )
        left = [n for n in scores if best_of_all or n not in network + question]
        best = min(left, key=lambda n: key(scores[n]), default=None)
        return {"ignores the network": network, "ignores the question": question, "best": best}

    return makes


def _unsorted(scores: dict, limit: float) -> dict[str, Any]:
    right = _verdict(scores, limit)
    return right | {key: [name for name in scores if name in right[key]] for key in _LISTS}


_SIGN = "a map that turned over did notice something: mind the sign of the similarity."
VERDICT_MISTAKES = (  # of "best" alone first: what is wrong with a list is seen in the list
    Mistake("the best hits most often: you took the one with the fewest hits.",
            _ruled(key=lambda row: (row["pointing"], row["area"]))),
    Mistake("of those that hit equally often, the smaller area wins (deletion: lower is better).",
            _ruled(key=lambda row: (-row["pointing"], -row["area"]))),
    Mistake("of those that hit equally often, the smaller area wins (deletion: lower is better).",
            _ruled(key=lambda row: (-row["pointing"],))),
    Mistake("hits come first. The area decides only between methods that hit equally often.",
            _ruled(key=lambda row: (row["area"], -row["pointing"]))),
    Mistake(_SIGN, _ruled(above=lambda value, limit: abs(value) > limit)),
    Mistake("a method whose similarity *is* the limit is not above it.",
            _ruled(above=lambda value, limit: value >= limit)),
    Mistake("these are the methods that did notice: those *above* the limit did not.",
            _ruled(above=lambda value, limit: value < limit)),
    Mistake("who ignores even the network is out already: each method stands in one list at most.",
            _ruled(apart=False)),
    Mistake("the right names, but not sorted.", _unsorted),
    Mistake("it has fine figures, but it is out by rule 1 or 2.", _ruled(best_of_all=True)),
    Mistake("the two lists have changed places.",
            lambda scores, limit: (found := _verdict(scores, limit)) | {
                "ignores the network": found["ignores the question"],
                "ignores the question": found["ignores the network"]}),
)  # fmt: skip


def _verdict_says(key: str, got: Any, scores: dict, limit: float) -> str:
    right = _verdict(scores, limit)
    if key == "best":
        if got not in scores:
            return f"there is no method {got!r}."
        for out in _LISTS:
            if got in right[out]:
                return f"{got} has fine figures, but it {out}: it is out."
        mine, best = scores[got], scores[right["best"]]
        if mine["pointing"] == best["pointing"]:
            return (
                f"{got} and {right['best']} point equally well; the smaller area wins (deletion:"
                " lower is better)."
            )
        return (
            f"{got} points in {mine['pointing']:.0%}, {right['best']} in {best['pointing']:.0%} of"
            " the cases."
        )
    return _list_says(key, [name for name in got if type(name) is str], scores, limit, right)


def _list_says(key: str, got: list[str], scores: dict, limit: float, right: dict) -> str:
    if sorted(got) == right[key]:
        return "these are the right names: sort them, and name nothing else."
    column = "randomised" if key == "ignores the network" else "other Q"
    for name in got:
        if name in scores and scores[name][column] < -limit:
            return f"{name} has {scores[name][column]:.2f}: {_SIGN}"
        if key != "ignores the network" and name in right["ignores the network"]:
            return f"{name} ignores even the network; each method stands in one list at most."
        if name in scores and scores[name][column] <= limit:
            return f"{name} has {scores[name][column]:.2f}, which is not above {limit}."
    missing = [name for name in right[key] if name not in got]
    return f"{', '.join(missing)} should be in it." if missing else ""


VERDICT = Part(
    name="ex06_verdict",
    visible=-3,
    title="The verdict",
    points=3,
    answer="verdict",
    draws=_verdict_cases,
    reference=_verdict,
    mistakes=VERDICT_MISTAKES,
    explains=_verdict_says,
    failures=(("empty sequence", "Can it be that no method is left? Then the best is None."),),
)
