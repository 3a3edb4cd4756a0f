"""Checks of assignment 6, second half: the area under the margin, and the verdict."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from .chance import dice
from .judging import by_key, named
from .part import Part


def _area_cases(seed: int) -> list[tuple]:
    made = []
    for number, (n, steps) in enumerate([(1, 5), (4, 9), (3, 4), (2, 6)]):
        rng = dice(seed, 60 + number)
        n, steps = n + seed % 2, steps + seed % 3
        margins = (
            4 * torch.rand(n, 1, generator=rng) + 1 - torch.rand(n, steps, generator=rng).cumsum(1)
        )
        margins[:, 0] = margins[:, 0].abs() + 1
        margins[:, 2] = margins[:, 0] * 1.3  # it may rise, too
        if number == 1:
            margins[1, 0] = -2.0
            margins[2, 0] = 0.0
        if number == 3:
            margins[:, 0] = -margins[:, 0].abs()
        made.append((margins,))
    return made


def _area(margins: Tensor) -> dict[str, Any]:
    areas = []
    for row in margins.double():
        if row[0] > 0:
            areas.append(torch.trapezoid(row / row[0]).item() / (len(row) - 1))
    return {"area": sum(areas) / len(areas) if areas else None, "images": len(areas)}


def _area_says(key: str, got: Any, margins: Tensor) -> str:
    if key == "images":
        return (
            f"you counted {got}, of {len(margins)} images; only those count whose margin begins"
            " above 0."
        )
    rows, right = margins.double(), margins[margins[:, 0] > 0].double()
    relative = right / right[:, :1]
    way = right.shape[1] - 1
    together = right.mean(0) / right[:, 0].mean()
    known = [
        (relative.mean(),
         "this is the plain mean. The first and the last value count half (trapezoids)."),
        (torch.trapezoid(relative).mean(),
         "from the first step to the last the way is 1: divide by the number of intervals."),
        (torch.trapezoid(right / right.amax(1, True)).mean() / way,
         "divide by the first margin, not by the largest: the curve begins at 1."),
        (torch.trapezoid(right).mean() / way, "divide every margin by that of its own first step."),
        (torch.trapezoid(together) / way,
         "make each image's margins relative first, then take the mean over the images."),
        (torch.trapezoid(rows / rows[:, :1]).mean() / way,
         "images whose margin begins at 0 or below are in it: leave them out."),
    ]  # fmt: skip
    nan = "" if got == got else "it is NaN. Are images with a margin of 0 left out?"
    return named(got, known, 1e-4) or nan


AREA = Part(
    name="ex06_area",
    title="The area under the relative margin",
    points=2,
    answer="relative_area",
    cases=_area_cases,
    reference=_area,
    judge=by_key(_area, _area_says),
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
        made.append(({letters[i]: kinds[k] for i, k in enumerate(order)}, limit))
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


def _verdict_says(key: str, got: Any, scores: dict, limit: float) -> str:
    right = _verdict(scores, limit)
    if key == "best":
        for out in ("ignores the network", "ignores the question"):
            if got in right[out]:
                return f"{got} has fine figures, but it {out}: it is out."
        if got not in scores:
            return f"there is no method {got!r}."
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
    got = [name for name in got if type(name) is str]
    if sorted(got) == right[key]:
        return "these are the right names: sort them, and name nothing else."
    column = "randomised" if key == "ignores the network" else "other Q"
    for name in got:
        if name in scores and scores[name][column] < -limit:
            return (
                f"{name} has {scores[name][column]:.2f}: the map turned over, so it did notice."
                " Mind the sign."
            )
        if key != "ignores the network" and name in right["ignores the network"]:
            return f"{name} ignores even the network; each method stands in one list at most."
        if name in scores and scores[name][column] <= limit:
            return f"{name} has {scores[name][column]:.2f}, which is not above {limit}."
    missing = [name for name in right[key] if name not in got]
    return f"{', '.join(missing)} should be in it." if missing else ""


VERDICT = Part(
    name="ex06_verdict",
    title="The verdict",
    points=3,
    answer="verdict",
    cases=_verdict_cases,
    reference=_verdict,
    judge=by_key(_verdict, _verdict_says),
)
