"""A photo cut into square patches, and the patches' maps laid back in their places."""

from dataclasses import dataclass
from numbers import Integral

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ImageError

SIDE = 32  # pixels, as in Bosse et al. (IEEE TIP 2018)
SMALLEST = 64  # pixels: the least height and width of a photo


@dataclass(frozen=True)
class Patches:
    """All patches of one photo.

    Attributes:
        pixels: P x 3 x 32 x 32, row by row.
        tops, lefts: where the rows and columns of patches begin, in pixels; P = rows * columns.
        size: (H, W) of the photo.
    """

    pixels: Tensor
    tops: list[int]
    lefts: list[int]
    size: tuple[int, int]

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns)."""
        return len(self.tops), len(self.lefts)


def _starts(length: int, step: int) -> list[int]:
    """0, step, 2 step ... and one that ends at the edge."""
    return [*range(0, length - SIDE, step), length - SIDE]


def cut(pixels: Tensor, step: int = SIDE) -> Patches:
    """Cut 3 x H x W pixels into patches that begin every `step` pixels and cover all of it.

    Raises:
        ImageError: a side is shorter than 64 pixels.
        ValueError: a step at which patches leave gaps, or that is no whole number from 1.
    """
    if not isinstance(step, Integral) or not 1 <= step <= SIDE:
        raise ValueError(
            f"step={step!r}: patches of {SIDE} x {SIDE} pixels begin every 1 to {SIDE} pixels, a "
            "whole number; a larger step would leave gaps."
        )
    height, width = pixels.shape[-2:]
    if min(height, width) < SMALLEST:
        raise ImageError(
            f"The photo is {width} x {height} pixels; quality is scored on photos of at least "
            f"{SMALLEST} x {SMALLEST}."
        )
    tops, lefts = _starts(height, step), _starts(width, step)
    pieces = [pixels[:, y : y + SIDE, x : x + SIDE] for y in tops for x in lefts]
    return Patches(torch.stack(pieces), tops, lefts, (height, width))


def lay_back(maps: Tensor, patches: Patches) -> Tensor:
    """Maps of the patches, P x K x h x w -> K x H x W; where patches overlap, their average.

    Every place of a map fills its own 32/h x 32/w pixels. A patch counts for more in its middle
    than at its edge (a triangle), where it knows least of what is around.
    """
    # the nearest place's value, also of a grid that does not divide 32, such as 7 x 7
    enlarged = F.interpolate(maps, (SIDE, SIDE), mode="nearest-exact")
    middle = torch.arange(SIDE, dtype=maps.dtype, device=maps.device) - (SIDE - 1) / 2
    triangle = SIDE / 2 + 0.5 - middle.abs()
    window = triangle[:, None] * triangle
    total = maps.new_zeros(maps.shape[1], *patches.size)
    count = maps.new_zeros(patches.size)
    corners = [(y, x) for y in patches.tops for x in patches.lefts]
    for (y, x), patch in zip(corners, enlarged):
        total[:, y : y + SIDE, x : x + SIDE] += patch * window
        count[y : y + SIDE, x : x + SIDE] += window
    return total / count
