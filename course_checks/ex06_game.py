"""Checks of ex06_judge: the pointing game."""

import math

import numpy as np
import torch
from torch import Tensor

from course_utils import measures

from .chance import dice
from .known import remembering
from .part import Mistake, Part


def _pointing_cases(seed: int) -> list[tuple]:
    made = []
    for number, (n, h, w, tolerance) in enumerate(
        [(4, 18, 24, 2.0), (5, 18, 30, 5.0), (3, 26, 16, 0.0), (4, 22, 28, 5.0)]
    ):
        rng = dice(seed, number)
        n, h, w = n + seed % 2, h + seed % 3, w + seed % 2
        turn = int(torch.randint(4, (), generator=rng))  # which image is a hit
        maps = 0.4 * torch.randn(n, h, w, generator=rng)
        masks = torch.zeros(n, h, w, dtype=torch.bool)
        for i in range(n):
            row, column = (int(torch.randint(6, size - 6, (), generator=rng)) for size in (h, w))
            # a part 7 wide has its middle more than 5 from a peak that is 2 beside it
            masks[i, row : row + 2, column : column + (7 if number == 1 else 3)] = True
            # 3 and 4 away is exactly 5 by Pythagoras; 4 and 4 away is nearly 5.7
            away = [(0, 0), (-3, -4), (-4, -4), (0, -2)][(i + turn) % 4]
            maps[i, row + away[0], column + away[1]] = 3.0
            if number in (0, 2):
                maps[i, row, column] = -9.0 if away != (0, 0) else 3.0
        if number == 2:
            maps[0] = -maps[0].abs() - 0.1  # empty: no positive point
            maps[0][masks[0]] = -0.05  # the highest
        if number == 3:
            masks[1] = False  # the part is hidden
            maps[0] = 0.0
            masks[0, 0, 0] = True
        made.append((maps, masks, tolerance))
    return made


@remembering
def _pointing(maps: Tensor, masks: Tensor, tolerance: float) -> Tensor:
    """The course's measure; an image without an answer is a miss."""
    hits = [measures.pointing_game(m, k, tolerance) for m, k in zip(maps, masks)]
    return torch.tensor([0.0 if math.isnan(hit) else hit for hit in hits])


def _wrong_pointing(distance, strict=False, empty=False, peak=np.argmax, width=1):
    """A pointing game with one thing changed.

    Args:
        distance: steps along rows and columns, places x 2 -> places (both numpy, as `peak` is).
        strict: a hit has to be nearer than the tolerance.
        empty: a map without a positive point plays all the same.
        peak: map -> where its finger is, counted in reading order.
        width: the axis that is taken for a row's length.
    """

    def makes(maps: Tensor, masks: Tensor, tolerance: float) -> Tensor:
        hits = []
        for one, part in zip(maps.numpy(), _places(masks)):
            if not len(part) or (one.max() <= 0 and not empty):
                hits.append(0.0)
                continue
            place = divmod(int(peak(one)), one.shape[width])
            least = distance(part - np.array(place, float)).min()
            hits.append(float(least < tolerance if strict else least <= tolerance))
        return torch.tensor(hits)

    return makes


@remembering
def _places(masks: Tensor) -> list[np.ndarray]:
    """Row and column of each pixel of the parts."""
    return [np.argwhere(mask) for mask in masks.numpy()]


def _straight(steps: np.ndarray) -> np.ndarray:
    return np.sqrt((steps**2).sum(axis=1))


def _any_positive(maps: Tensor, masks: Tensor, tolerance: float) -> Tensor:
    return ((maps > 0) & masks).flatten(1).any(dim=1).float()


def _hit_without_part(maps: Tensor, masks: Tensor, tolerance: float) -> Tensor:
    return torch.where(masks.flatten(1).any(dim=1), _pointing(maps, masks, tolerance), 1.0)


_MIXED_UP = (
    "rows and columns are mixed up: in reading order, a row has as many places as the map is wide;"
    " and a place is (row, column), as `nonzero` gives it."
)

POINTING = Part(
    name="ex06_pointing",
    visible=-1,
    title="The pointing game",
    points=3,
    answer="pointing_game",
    draws=_pointing_cases,
    reference=_pointing,
    axes="N",
    mistakes=(
        Mistake(
            "a map without a positive point counts as if it had pointed somewhere. An empty map is"
            " a miss.",
            _wrong_pointing(_straight, empty=True),
            share=0.5,
        ),
        Mistake(
            "you seem to look at the largest absolute value. Evidence against is no pointing"
            " finger: take the largest value.",
            _wrong_pointing(_straight, peak=lambda one: np.abs(one).argmax()),
        ),
        Mistake(
            "you leave the tolerance aside. A finger that is so near to the part is a hit, too.",
            lambda maps, masks, _: _pointing(maps, masks, 0.0),
            share=0.25,
        ),
        Mistake(
            "the finger is on the *lowest* value here. Take the largest.",
            _wrong_pointing(_straight, peak=np.argmin),
        ),
        Mistake(
            "your distance is the sum of rows and columns, the way a taxi drives. Take the straight"
            " line.",
            _wrong_pointing(lambda steps: np.abs(steps).sum(axis=1)),
            share=0.25,
        ),
        Mistake(
            "your distance is squared. Take the root, or compare with the squared tolerance.",
            _wrong_pointing(lambda steps: (steps**2).sum(axis=1)),
            share=0.25,
        ),
        Mistake(
            "an image without a part counts as a hit here. There is nothing to hit: a miss.",
            _hit_without_part,
            share=0.5,
        ),
        Mistake(
            "you measure the distance along rows and columns apart, so that your tolerance is a"
            " square. Straight-line distance is asked for (Pythagoras).",
            _wrong_pointing(lambda steps: np.abs(steps).max(axis=1)),
            share=0.25,
        ),
        Mistake(
            "a peak that is exactly the tolerance away (or, with tolerance 0, on the part) is a"
            " hit, too.",
            _wrong_pointing(_straight, strict=True),
            share=0.25,
        ),
        Mistake(
            "any positive place on the part counts as a hit "
            "here. Only the *highest* point is the finger.",
            _any_positive,
        ),
        Mistake(
            "you measure the distance to the part's middle. The nearest True pixel counts.",
            _wrong_pointing(lambda steps: _straight(steps.mean(axis=0, keepdims=True))),
            share=0.25,
        ),
        Mistake(
            _MIXED_UP,
            _wrong_pointing(_straight, width=0),
        ),
        Mistake(
            _MIXED_UP,
            lambda maps, masks, tolerance: _wrong_pointing(_straight)(maps, masks.mT, tolerance),
        ),
        Mistake(
            "one number for the whole batch? Give one for every image, 1 for a hit and 0 for a"
            " miss.",
            lambda *case: _pointing(*case).mean(),
        ),
    ),
)
