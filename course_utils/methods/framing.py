"""Which part of the image a network looks at: it may cut its images, or pad them, by itself.

A map is drawn over the whole image. Where the first convolution is given a part of it, or more than
it, the map does not lie where it belongs.
"""

import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from .backward import random_like
from .compass import to_measure
from .graph import graph_nodes
from .head import call_unwritten, copies, ordinary, undisturbed
from .inputs import Inputs, each_tensor, image_axes, images_of, one_image

LEAST = 0.04  # of a side: what is cut off less moves a map by less than one of 25 places
PROBES = (0.1, 0.3, 0.5, 0.7, 0.9)  # places of the input whose place in the image is measured


class Frame(NamedTuple):
    """Where what a network looks at begins and ends along each axis of the image, which is 0 to 1.

    Attributes:
        ends: these; below 0 and above 1 lies what the network pads the image with.
        sampled: whether it is sampled from the image at places that the network computes, as by a
            spatial transformer.
    """

    ends: tuple[tuple[float, float], ...] = ()
    sampled: bool = False

    @property
    def askew(self) -> bool:
        """Whether it is not the image."""
        return self.sampled or any(ends != (0, 1) for ends in self.ends)

    def like(self, other: "Frame") -> bool:
        """Whether another is the same, as nearly as it is measured."""
        pairs = zip(sum(self.ends, ()), sum(other.ends, ()))
        return all(abs(one - two) < LEAST for one, two in pairs)

    def in_words(self) -> str:
        if self.sampled:
            return "what it samples from x (grid_sample)"
        n = len(self.ends)
        names = ["time"] if n == 1 else ["depth", "height", "width"][3 - n :]
        parts = (f"{round(100 * a)} to {round(100 * b)} %" for a, b in self.ends)
        return ", ".join(f"{part} of its {name}" for part, name in zip(parts, names))

    def warning(self, model: nn.Module) -> str:
        does = "moves the places of" if self.sampled else "cuts, pads or shifts"
        return (
            f"This {type(model).__name__} {does} x itself: it looks at {self.in_words()}. A map is "
            "drawn over 0 to 100 % of x, so it does not lie where it belongs. Do that to x first, "
            "and ask the part of the network behind that step."
        )


_known: WeakKeyDictionary[nn.Module, dict[torch.Size, Frame]] = WeakKeyDictionary()


class _Enough(Exception):
    """All that is measured was seen: the rest of the network need not run."""


def frame_of(model: nn.Module, x: Inputs) -> Frame:
    """The part of the image that a network looks at, measured once for each size.

    Empty for a library's own network, and where it is not clear, as where no convolution reads the
    image, or several read different parts of it.
    """
    inner = to_measure(model)
    if inner is None:
        return Frame()
    known, shape = _known.setdefault(inner, {}), images_of(x).shape[1:]
    if shape not in known:
        try:
            found = _measured(model, one_image(ordinary(x)))
        except Exception:  # noqa: BLE001 - as where it takes batches of one size only
            found = []
        known[shape] = found[0] if found and all(map(found[0].like, found)) else Frame()
    return known[shape]


def _measured(model: nn.Module, x: Inputs) -> list[Frame]:
    """What each convolution is given that reads as many channels as the image has, or 1 or 3."""
    images, axes = images_of(x), image_axes(images_of(x), model)
    if not images.is_floating_point():
        return []
    seen = images.detach().requires_grad_()
    channels = {1, 3, *(images.shape[a] for a in range(1, images.dim()) if a not in axes)}
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    entries = [m for m in model.modules() if isinstance(m, kinds) and m.in_channels in channels]
    given: list[tuple[Any, Tensor]] = []

    def enter(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        there = (t for t in inputs[:1] if t.dim() == len(axes) + 2 and len(t) == len(seen))
        given.extend((module, t) for t in there)
        if {entry for entry, _ in given} == set(entries):
            raise _Enough

    with undisturbed(model), torch.inference_mode(False), torch.enable_grad(), ExitStack() as hooks:
        if "torch._dynamo" in sys.modules:  # what is compiled calls no hooks
            hooks.enter_context(torch.compiler.set_stance("force_eager"))
        for module in entries:
            hooks.callback(module.register_forward_pre_hook(enter).remove)
        if entries:
            # a clone: the network's code may change its images in place
            inputs = each_tensor(x, lambda t: seen.clone() if t is images else t)
            with suppress(_Enough):
                call_unwritten(model, copies(model), inputs)
    if any(_moves(node) for _, t in given for node in graph_nodes(t)):
        return [Frame(sampled=True)]
    every = [[_ends(m, t, seen, i, axis) for i, axis in enumerate(axes)] for m, t in given]
    return [Frame(tuple(end for end in ends if end)) for ends in every if all(ends)]


def _moves(node: Any) -> bool:
    """Whether an operation samples an image at places that are computed."""
    return node.name().startswith("GridSampler") and node.next_functions[1][0] is not None


def _ends(
    convolution: Any, given: Tensor, seen: Tensor, side: int, of_image: int
) -> tuple[float, float] | None:
    """Where a convolution's input begins and ends in the image; None where it shows no straight,
    sharp picture of the image.

    Padding that the convolution takes off again does not count.

    Args:
        given: what the convolution is given.
        seen: the image.
        side, of_image: along which of its sides, and along which axis of the image.
    """
    axis = 2 + side
    length, sides = given.shape[axis], [a for a in range(seen.dim()) if a != of_image]
    where = (torch.arange(seen.shape[of_image], device=seen.device) + 0.5) / seen.shape[of_image]
    points = []
    for place in sorted({int(length * part) for part in PROBES}):
        v = torch.zeros_like(given)
        v.select(axis, place).copy_(random_like(v.select(axis, place)))
        torch.autograd.backward(given, v, retain_graph=True, inputs=[seen])
        assert seen.grad is not None
        weight, seen.grad = seen.grad.float().square().sum(dim=sides), None
        if weight.any():  # what pads the image has no place in it
            weight = weight / weight.sum()
            centre = float((weight * where).sum())
            spread = float((weight * (where - centre).square()).sum()) ** 0.5
            points.append(((place + 0.5) / length, centre, spread))
    if any(spread > LEAST for *_, spread in points):
        return None
    # what is padded with the image reflected shows other places at its ends
    ends = _straight(points) or _straight(points[1:-1])
    if ends is None:
        return None
    unit = (ends[1] - ends[0]) / length
    slack = LEAST + (_lost(convolution, side) + 0.5) * unit  # half a place: as [::2] shifts
    begin, end = (there if abs(there - at) > slack else at for there, at in zip(ends, (0.0, 1.0)))
    return begin, end


def _lost(convolution: Any, side: int) -> float:
    """Of how many places at each end of what it is given a convolution has no output."""
    reach = convolution.dilation[side] * (convolution.kernel_size[side] - 1) + 1
    padding = convolution.padding
    padded = {"same": reach, "valid": 0}[padding] if isinstance(padding, str) else padding[side]
    return max(0, (reach - convolution.stride[side]) / 2 - padded)


def _straight(points: Sequence[tuple[float, float, float]]) -> tuple[float, float] | None:
    """Where 0 and 1 lie on the line through points (place, place in the image); None where they
    are less than two, or lie on none that rises.
    """
    if len(points) < 2:
        return None
    there, centres, _ = np.array(points).T
    slope, begin = np.polyfit(there, centres, 1)
    off = np.abs(centres - begin - slope * there).max()
    return (float(begin), float(begin + slope)) if slope > 0 and off < LEAST / 2 else None
