"""Signals and volumes as pictures: a signal as a strip, a volume by the slice with a map's peak."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import a_kind_of

FLAT = 6  # a strip is so many times as long as high
_AXES = {1: "C x L", 3: "C x D x H x W"}


def peak_slice(values: Tensor) -> int:
    """Which slice of a D x H x W map has its largest magnitude; of an empty map the middle one."""
    sizes = values.abs().flatten(1).amax(dim=1)
    return int(sizes.argmax()) if sizes.max() > 0 else len(sizes) // 2


def said(title: str, at: int, count: int) -> str:
    """A title with the number of the slice that is shown, counted from 1."""
    return f"{title} (slice {at + 1} of {count})".strip()


def flattened(values: Tensor, title: str) -> tuple[Tensor, str]:
    """One map of a signal, an image or a volume as H x W, and its title."""
    if values.dim() == 1:
        return values.expand(-(-len(values) // FLAT), -1), title
    if values.dim() == 3:
        at = peak_slice(values)
        return values[at], said(title, at, len(values))
    return values, title


def panels_of(
    image: Any, maps: Tensor, titles: Sequence[str], outlines: Sequence
) -> tuple[list, Tensor, list[str], list, str]:
    """What one image's panels show.

    Args:
        image: the image as the network saw it; a signal C x L or L, a volume C x D x H x W or
            D x H x W, of any range.
        maps: K x ..., at the image's size.
        titles, outlines: K of each.

    Returns:
        K + 1 pictures, the first for the image alone; the maps, K x H x W; titles and outlines;
        of a volume, which slice the first picture is.

    Raises:
        ValueError: the image is not of the maps' size.
    """
    sides = maps.dim() - 1
    if sides not in _AXES:
        return [image] * (len(maps) + 1), maps, list(titles), list(outlines), ""
    values = _grey_levels(image, maps.shape[1:])
    shown, words = zip(*map(flattened, maps, titles))
    if sides == 1:
        rows = values.repeat_interleave(-(-len(shown[0]) // len(values)), dim=0)
        strips = [one[:1].expand(len(rows), -1) for one in shown]
        return [rows] * (len(maps) + 1), torch.stack(strips), list(words), list(outlines), ""
    at = [peak_slice(one) for one in maps]
    planes = values.movedim(0, -1) if len(values) == 3 else values.mean(dim=0)
    masks = [
        None if m is None else torch.as_tensor(m, device="cpu")[d] for m, d in zip(outlines, at)
    ]
    pictures, which = [planes[d] for d in (at[0], *at)], said("", at[0], len(planes))
    return pictures, torch.stack(shown), list(words), masks, which


def _grey_levels(image: Any, size: torch.Size) -> Tensor:
    """C x ... numbers of any range, from 0 to 1."""
    if not isinstance(image, (Tensor, np.ndarray, list, tuple)):
        axes = _AXES[len(size)]
        raise TypeError(
            f"The image is given as the network saw it, {axes}, not {a_kind_of(image)}."
        )
    values = torch.as_tensor(image, device="cpu").detach().float()
    values = values[None] if values.shape == size else values
    if values.shape[1:] != size:
        got, wanted = (" x ".join(map(str, shape)) for shape in (values.shape, size))
        axes = _AXES[len(size)]
        raise ValueError(
            f"The maps are {wanted} and the image {got}: give it as the network saw it, {axes}."
        )
    low, high = values.aminmax()
    return (values - low) / (high - low).clamp_min(1e-12)
