"""Which part of the image a network looks at: it may cut its images, or pad them, by itself.

A map is drawn over the whole image. Where the first convolution is given a part of it, or more than
it, the map does not lie where it belongs.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .graph import graph_nodes
from .grids import Fold
from .inputs import (
    Inputs,
    convolutions_of,
    first_convolution,
    image_axes,
    images_of,
    names_of_sides,
    one_image,
    with_images,
)
from .memory import Memory, settings
from .orientation import convolutions_before, unknown_network
from .running import call_on_copies, hooked, ordinary, rerun, undisturbed
from .tensors import random_like

LEAST = 0.04  # of a side: what is cut off less moves a map by less than one of 25 places
VIEWS = 16  # channels that are looked at one by one: few networks stack more views of an image
CALLS = 4  # of a convolution in one pass that are looked at
PROBES = (0.1, 0.3, 0.5, 0.7, 0.9)  # places of the input whose place in the image is measured


class FieldOfView(NamedTuple):
    """What a network looks at, as a part of the image."""

    # where it begins and ends along each axis of the image, which is 0 to 1; beyond lies padding
    ends: tuple[tuple[float, float], ...] = ()
    sampled: bool = False  # at places that the network computes, as by a spatial transformer
    joined: tuple["FieldOfView", ...] = ()  # where branches or channels look at different parts

    @property
    def differs(self) -> bool:
        """Whether it is not the image."""
        return self.sampled or bool(self.joined) or any(ends != (0, 1) for ends in self.ends)

    def like(self, other: "FieldOfView") -> bool:
        """Whether another is the same, as nearly as it is measured."""
        pairs = zip(sum(self.ends, ()), sum(other.ends, ()))
        return self.sampled == other.sampled and all(abs(a - b) < LEAST for a, b in pairs)

    def in_words(self) -> str:
        if self.joined:
            return " and, beside it, at ".join(view.in_words() for view in self.joined)
        if self.sampled:
            return "what it samples from x (grid_sample)"
        parts = (f"{round(100 * a)} to {round(100 * b)} %" for a, b in self.ends)
        names = names_of_sides(len(self.ends))
        return ", ".join(f"{part} of its {name}" for part, name in zip(parts, names))

    def warning(self, model: nn.Module) -> str:
        does = "moves the places of" if self.sampled else "cuts, pads or shifts"
        cure = (
            "Name a layer of one branch, if there is one"
            if self.joined
            else "Do that to x first, and ask the part of the network behind that step"
        )
        return (
            f"This {type(model).__name__} {does} x itself: it looks at {self.in_words()}. A map is "
            f"drawn over 0 to 100 % of x, so it does not lie where it belongs. {cure}."
        )


Entered = list[tuple[str, FieldOfView]]  # what convolutions are given, by their names

_known = Memory[Entered]()
_known_at = Memory[FieldOfView]()


def fields_of_view(model: nn.Module, x: Inputs) -> Entered:
    """The part of the image that each convolution is given which reads the image, measured once for
    each size.

    Empty for a library's own network, and where it is not clear.
    """
    inner = unknown_network(model)
    if inner is None:
        return []
    now, shape = settings(inner), images_of(x).shape[1:]
    found = _known.recall(inner, now, shape)
    if found is None:
        try:
            found = _measured(model, inner, one_image(ordinary(x)))
        except Exception:  # noqa: BLE001 - as where it takes batches of one size only
            found = []
        _known.keep(inner, now, shape, found)
    return found


def field_of_view_at(
    model: nn.Module, x: Inputs, name: str, fold: Fold, views: Entered
) -> FieldOfView:
    """The part of the image that a layer looks at; empty where it is not clear.

    Where the convolutions that read the image are given different parts of it, those count that the
    layer comes from; of a network without convolutions the layer itself is measured.

    Args:
        name: the layer.
        fold: reads its output as N x C x h x w, as the image lies.
        views: as `fields_of_view` gives them.
    """
    inner, every = unknown_network(model), [view for _, view in views]
    alike = bool(every) and all(map(every[0].like, every))
    if inner is None or alike or not every and first_convolution(model) is not None:
        return every[0] if every else FieldOfView()
    now, key = settings(inner), (name, images_of(x).shape[1:])
    found = _known_at.recall(inner, now, key)
    if found is None:
        try:
            if every:
                found = _at_branches(model, inner, x, name, views)
            else:
                found = _at_layer(model, x, name, fold)
        except Exception:  # noqa: BLE001
            found = FieldOfView()
        rerun(model, x)
        _known_at.keep(inner, now, key, found)
    return found


def _at_branches(
    model: nn.Module, inner: nn.Module, x: Inputs, name: str, views: Entered
) -> FieldOfView:
    """What the convolutions are given that a layer comes from, the last ones of each branch."""
    entries = [(inner.get_submodule(entry), view) for entry, view in views]
    way = convolutions_before(model, x, name, [entry for entry, _ in entries])
    passed = {before for entry in way for before in way[entry] - {entry}}
    read = [view for entry, view in entries if entry in way.keys() - passed]
    different = [f for i, f in enumerate(read) if not any(map(f.like, read[:i]))]
    if len(different) > 1:
        return FieldOfView(joined=tuple(different))
    return (*different, FieldOfView())[0]


def _measured(model: nn.Module, inner: nn.Module, x: Inputs) -> Entered:
    """What each convolution is given that may read the image, by its name in the inner network."""
    images = images_of(x)
    if not images.is_floating_point() and images.dtype != torch.uint8:
        return []
    floats = images.float() if images.dtype == torch.uint8 else images  # bytes take no gradient
    axes, seen = image_axes(images, model), floats.detach().requires_grad_()
    entries = convolutions_of(images, model)
    given: list[tuple[Any, Tensor]] = []

    def enter(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        there = (t for t in inputs[:1] if t.dim() == len(axes) + 2 and len(t) == len(seen))
        if sum(before is module for before, _ in given) < CALLS:
            given.extend((module, t) for t in there)

    if not entries:
        return []
    dynamo = "torch._dynamo" in sys.modules  # what is compiled calls no hooks
    with undisturbed(model), torch.inference_mode(False), torch.enable_grad():
        # made in here, as it holds from when it is made, and `undisturbed` makes one, too
        eager = torch.compiler.set_stance("force_eager") if dynamo else nullcontext()
        handles = [module.register_forward_pre_hook(enter) for module in entries]
        # what was given until it fails, if it does, is known
        with eager, suppress(Exception), hooked(handles):
            call_on_copies(model, with_images(x, seen))
    names = {module: name for name, module in inner.named_modules()}  # wrappers are made anew
    return [(names[m], view) for m, t in given for view in _views(m, t, seen, axes)]


def _views(
    convolution: nn.Module, given: Tensor, seen: Tensor, axes: Sequence[int]
) -> list[FieldOfView]:
    """The view of what a convolution is given, or, where its channels hold several views, of each.

    Arguments as for `_view`.
    """
    lost = partial(_lost, convolution)
    whole = _view(given, seen, axes, lost)
    if whole is None and 1 < given.shape[1] <= VIEWS:
        each = [_view(channel, seen, axes, lost) for channel in given.split(1, dim=1)]
        return [view for view in each if view is not None]
    return [] if whole is None else [whole]


def _at_layer(model: nn.Module, x: Inputs, name: str, fold: Fold) -> FieldOfView:
    """What the places of a layer look at more than the others do."""
    x = one_image(ordinary(x))
    images, kept = images_of(x), list[Tensor]()
    axes, seen = image_axes(images, model), images.detach().requires_grad_()
    if len(axes) < 2:  # places of a sequence look back along it
        return FieldOfView()
    with undisturbed(model), torch.inference_mode(False), torch.enable_grad():
        layer = model.get_submodule(name)
        handle = layer.register_forward_hook(lambda _m, _x, value: kept.append(fold(value)))
        with hooked([handle]):
            call_on_copies(model, with_images(x, seen))
    return _view(kept[0], seen, axes, blurred=True) or FieldOfView()


def _view(
    given: Tensor, seen: Tensor, axes: Sequence[int],
    lost: Callable[[int], float] = lambda side: 0, blurred: bool = False,
) -> FieldOfView | None:  # fmt: skip
    """Where a picture begins and ends in the image; None where it is no straight, sharp picture of
    the image, also turned or mirrored.

    Args:
        given: the picture, N x C x its sides.
        seen: the image that it was made of.
        axes: of the image.
        lost: how many places at each end of a side count for nothing.
        blurred: whether its places may look at the rest of the image, too.
    """
    samplers = (node for node in graph_nodes(given) if node.name().startswith("GridSampler"))
    if any(node.next_functions[1][0] is not None for node in samplers):  # at computed places
        return FieldOfView(sampled=True)
    found = dict[int, tuple[float, float]]()
    for side in range(len(axes)):
        lines = _lines(given, seen, side, axes, blurred)
        i, line = next(((i, lines[i]) for i in (side, *lines) if i in lines), (-1, (0.0, 0.0)))
        if i in found or i < 0:
            return None
        # half a place: as [::2] shifts
        slack = LEAST + (lost(side) + 0.5) * (line[1] - line[0]) / given.shape[2 + side]
        begin, end = (
            there if abs(there - at) > slack else at for there, at in zip(line, (0.0, 1.0))
        )
        found[i] = begin, end
    return FieldOfView(tuple(found[i] for i in range(len(axes))))


def _lines(
    given: Tensor, seen: Tensor, side: int, axes: Sequence[int], blurred: bool
) -> dict[int, tuple[float, float]]:
    """Where a side of a picture begins and ends along the sides of the image that it follows.

    Arguments as for `_view`.
    """
    length, weights, places = given.shape[2 + side], list[Tensor](), list[float]()
    for place in sorted({int(length * part) for part in PROBES}):
        v = torch.zeros_like(given)
        v.select(2 + side, place).copy_(random_like(v.select(2 + side, place)))
        torch.autograd.backward(given, v, retain_graph=True, inputs=[seen])
        assert seen.grad is not None
        weight, seen.grad = seen.grad.float().square(), None
        if weight.any():  # what pads the image has no place in it
            weights.append(weight / weight.sum())
            places.append((place + 0.5) / length)
    found = dict[int, tuple[float, float]]()
    for i, axis in enumerate(axes):
        others = [a for a in range(seen.dim()) if a != axis]
        along = torch.stack([weight.sum(dim=others) for weight in weights]) if weights else None
        if along is not None and (line := _line(places, along, 0.5 / length if blurred else 0)):
            found[i] = line
    return found


def _line(places: Sequence[float], seen: Tensor, half: float) -> tuple[float, float] | None:
    """Where a side begins and ends along one of the image; None where it does not follow it.

    Args:
        places: along the side of the picture.
        seen: how much each of them sees of the image, places x the length of its side.
        half: a half of a place where they see the rest, too; then what none of the others sees as
            much counts. 0: they see nothing else.
    """
    if half and len(seen) > 1:
        most, next_most = seen.topk(2, dim=0).values
        seen = (seen - torch.where(seen == most, next_most, most)).clamp(min=0)
    if not seen.sum(dim=1).all():
        return None
    seen = seen / seen.sum(dim=1, keepdim=True)
    where = (torch.arange(seen.shape[1], device=seen.device) + 0.5) / seen.shape[1]
    centres = (seen * where).sum(dim=1, keepdim=True)
    if (seen * (where - centres).square()).sum(dim=1).max() > (LEAST + half) ** 2:
        return None
    points = [*zip(places, centres.flatten().tolist())]
    # what is padded with the image reflected shows other places at its ends
    return _straight(points) or _straight(points[1:-1])


def _lost(convolution: Any, side: int) -> float:
    """Of how many places at each end of what it is given a convolution has no output."""
    reach = convolution.dilation[side] * (convolution.kernel_size[side] - 1) + 1
    padding = convolution.padding
    padded = {"same": reach, "valid": 0}[padding] if isinstance(padding, str) else padding[side]
    return max(0, (reach - convolution.stride[side]) / 2 - padded)


def _straight(points: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Between what ends the line through points (place, place in the image) lies; None where they
    are less than two, or lie on none that rises or falls.
    """
    if len(points) < 2:
        return None
    there, centres = np.array(points).T
    slope, begin = np.polyfit(there, centres, 1)
    off = np.abs(centres - begin - slope * there).max()
    ends = sorted((float(begin), float(begin + slope)))
    return (ends[0], ends[1]) if abs(slope) > LEAST / 4 and off < LEAST / 2 else None
