"""Checks of assignment 5, second half: laying patches back, drawing on one scale, finding a fault."""

from typing import Any

import torch
from torch import Tensor

from .chance import dice
from .part import Mistake, Part, Verdict

NOTHING = "nowhere"  # the answer where no fault is to be found (None means: not attempted)


def _lay_cases(seed: int) -> list[tuple]:
    made = []
    settings = [
        ((1, 4), [0, 4], [0, 4, 8], [8, 12]),  # side by side
        ((2, 4), [0, 2, 4], [0, 2], [8, 6]),  # overlapping
        ((3, 3), [0, 2], [0, 3, 5], [5, 8]),  # unevenly
        ((2, 4), [1], [0, 5], [6, 10]),  # some pixels are covered by none
    ]
    for number, ((k, side), tops, lefts, size) in enumerate(settings):
        rng, k = dice(seed, 40 + number), k + seed % 3
        corners = [[top, left] for top in tops for left in lefts]
        maps = torch.randn(len(corners), k, side, side, generator=rng) + 1
        made.append((maps, corners, size))
    return made


def _sum_and_count(
    maps: Tensor, corners: list[list[int]], size: list[int]
) -> tuple[Tensor, Tensor]:
    (_, k, h, w), (height, width) = maps.shape, size
    total, count = torch.zeros(k, height, width), torch.zeros(height, width)
    for (top, left), patch in zip(corners, maps):
        total[:, top : top + h, left : left + w] += patch
        count[top : top + h, left : left + w] += 1
    return total, count


def _laid_back(maps, corners, size):
    total, count = _sum_and_count(maps, corners, size)
    return total / count.clamp(min=1)


def _last_wins(maps, corners, size):
    whole = torch.zeros(maps.shape[1], *size)
    for (top, left), patch in zip(corners, maps):
        whole[:, top : top + patch.shape[1], left : left + patch.shape[2]] = patch
    return whole


LAY_BACK = Part(
    name="ex05_lay_back",
    title="Patches laid back in their places",
    points=2,
    answer="lay_back",
    cases=_lay_cases,
    reference=_laid_back,
    axes="K, H, W",
    mistakes=(
        Mistake(
            "where patches overlap you have their sum. Count how many lie on each pixel, and divide.",
            lambda *case: _sum_and_count(*case)[0],
        ),
        Mistake(
            "the last patch covers those below it. Where patches overlap, average them.",
            _last_wins,
        ),
        Mistake(
            "the last patch covers those below it: add (+=), then divide.",
            lambda *case: _last_wins(*case) / _sum_and_count(*case)[1].clamp(min=1),
        ),
        Mistake(
            "the whole picture is divided by the number of patches: divide each pixel by the number of "
            "patches that lie on it.",
            lambda maps, corners, size: _sum_and_count(maps, corners, size)[0] / len(maps),
        ),
        Mistake(
            "rows and columns have changed places: a corner is (top, left), and top counts rows.",
            lambda maps, corners, size: _swapped(maps, corners, size),
        ),
    ),
    failures=(
        (
            "must match the size",
            "Does the slice have the size of a patch, and do rows (top) and columns (left) stand in "
            "the right order?",
        ),
        ("size of tensor", "A corner is (top, left): rows first. The slice is as large as a patch."),
    ),
)  # fmt: skip


def _swapped(maps, corners, size):
    room = max(size) + maps.shape[-1]
    whole = _laid_back(maps, [corner[::-1] for corner in corners], [room, room])
    return whole[:, : size[0], : size[1]]


def _picture_cases(seed: int) -> list[tuple]:
    made = []
    for number, (k, h, w) in enumerate([(1, 3, 4), (3, 4, 5), (2, 2, 2), (4, 5, 3)]):
        rng = dice(seed, 50 + number)
        evidence = torch.randn(k, h + seed % 2, w, generator=rng) * (number + 1)
        if number == 1:
            evidence[0] *= 0.1  # a weak map has to look weak
        if number in (0, 1):
            evidence[-1, 0, 0] = -evidence.abs().max() - 1  # the largest magnitude is negative
        if number == 2:
            evidence = torch.zeros_like(evidence)
        made.append((evidence,))
    return made


def _colours(values: Tensor) -> Tensor:
    """-1 blue, 0 white, 1 red."""
    fade, low = 1 - values.abs(), values < 0
    red, blue = torch.where(low, fade, 1.0), torch.where(low, 1.0, fade)
    return torch.stack([red, fade, blue], dim=-1)


def _drawn(evidence: Tensor) -> Tensor:
    largest = evidence.abs().max()
    return _colours(evidence / largest if largest > 0 else evidence)


def _own_scales(evidence):
    return _colours(evidence / evidence.abs().amax(dim=(1, 2), keepdim=True).clamp(min=1e-12))


def _stretched(evidence):
    low, high = evidence.min(), evidence.max()
    return _colours(2 * (evidence - low) / (high - low).clamp(min=1e-12) - 1)


def _largest_positive(evidence):
    v = evidence / evidence.max().clamp(min=1e-12)
    return torch.stack([1 + v.clamp(max=0), 1 - v.abs(), 1 - v.clamp(min=0)], dim=-1)


PICTURE = Part(
    name="ex05_picture",
    title="Signed, on one scale, zero in white",
    points=2,
    answer="signed_picture",
    cases=_picture_cases,
    reference=_drawn,
    axes="K, H, W, 3",
    mistakes=(
        Mistake(
            "each map is divided by its own maximum, so that weak ones look strong: one scale for all.",
            _own_scales,
        ),
        Mistake(
            "zero is not white. Stretching from the smallest to the largest value moves it: divide by "
            "the largest magnitude instead.",
            _stretched,
        ),
        Mistake(
            "the scale is the largest positive value. Negative evidence may be larger: take magnitudes.",
            _largest_positive,
        ),
        Mistake(
            "the scale is the largest positive value. Negative evidence may be larger: take magnitudes.",
            lambda evidence: _largest_positive(evidence).clamp(0, 1),
        ),
        Mistake(
            "the colours are turned round: red holds the score up, blue pulls it down.",
            lambda evidence: _drawn(-evidence),
        ),
        Mistake("the blue is missing: negative evidence was cut off.", lambda e: _drawn(e.relu())),
    ),
)


def _find_cases(seed: int) -> list[tuple]:
    made = []
    for number, (h, w, height, width) in enumerate(
        [(8, 10, 3, 2), (6, 9, 2, 4), (7, 7, 3, 3), (5, 8, 2, 2)]
    ):
        rng = dice(seed, 60 + number)
        evidence = 0.2 * torch.randn(h + seed % 2, w, generator=rng)
        if number < 3:
            top = int(torch.randint(1, h - height, (1,), generator=rng))
            left = int(torch.randint(1, w - width, (1,), generator=rng))
            left += left == top  # so that rows and columns cannot be mistaken for each other
            evidence[top : top + height, left : left + width] -= 0.8
            evidence[0, w - 1] = -2.5  # one deep pixel is no fault
            evidence[top, left] += 6  # a place that holds the score up must not hide its neighbours
        else:
            evidence = evidence.abs()
        made.append((evidence, height, width))
    return made


def _windows(values: Tensor, height: int, width: int) -> Tensor:
    """The sum over each window."""
    return values.unfold(0, height, 1).unfold(1, width, 1).sum(dim=(2, 3))


def _corner(sums: Tensor) -> list[int]:
    return list(divmod(int(sums.argmax()), sums.shape[1]))


def _right_corner(evidence: Tensor, height: int, width: int) -> list[int] | None:
    pulls = (-evidence).clamp(min=0)
    return _corner(_windows(pulls, height, width)) if pulls.any() else None


def _judge(answer: Any, evidence: Tensor, height: int, width: int) -> Verdict:
    right = _right_corner(evidence, height, width)
    if right is None or answer == NOTHING:
        says = f'nothing pulls the score down here, so the answer is "{NOTHING}".'
        says = (
            says
            if right is None
            else f'"{NOTHING}" is for maps without negative evidence; here is some.'
        )
        return Verdict(1.0) if right is None and answer == NOTHING else Verdict(0.0, says)
    if type(answer) is Tensor and answer.numel() == 2:
        answer = answer.flatten().tolist()
    if type(answer) is not list or [type(x) for x in answer] != [int, int]:
        return Verdict(0.0, "return [top, left], two whole numbers.")
    if answer == right:
        return Verdict(1.0)
    known = [
        (right[::-1], "rows and columns have changed places: [top, left]."),
        (_corner(_windows(evidence.relu(), height, width)),
         "this window holds the score up. The fault is where the evidence is negative."),
        (_corner(_windows(-evidence, height, width)),
         "positive evidence in a window must not make up for a fault in it: ReLU first, then the sum."),
        (_corner(-evidence),
         "this is the one lowest pixel. A fault fills a window: add up the evidence in each."),
        ([right[0] + height // 2, right[1] + width // 2], "this is the window's middle: give its corner."),
    ]  # fmt: skip
    says = next((words for wrong, words in known if answer == wrong), "")
    return Verdict(0.0, says or f"not there: you have {answer}, and a window elsewhere holds more.")


FIND = Part(
    name="ex05_find",
    title="Find the hidden fault",
    points=3,
    answer="find_fault",
    cases=_find_cases,
    judge=_judge,
)
