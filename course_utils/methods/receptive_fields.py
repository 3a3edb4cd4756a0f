"""What the places of a layer see of the image: its first half, along each axis, or the other.

The first half of the image is replaced by another image's. The places that become the other
image's, rather than stay, are those that see this half.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .grids import Fold
from .inputs import (
    Inputs,
    each_tensor,
    image_axes,
    images_of,
    one_image,
    tensors_in,
    with_images,
)
from .running import call_on_copies, hooked, ordinary, rerun, undisturbed
from .tensors import alike, other_images, shuffled


class Layer(NamedTuple):
    """A layer of a network: what the network is given, and how the layer's output is read."""

    model: nn.Module
    x: Inputs
    name: str
    fold: Fold


# what the places of each convolution's input see, in each call of a pass; what the layer's see
Measured = tuple[list[list[Tensor]], Tensor]


def measure(
    layer: Layer, entries: Sequence[nn.Module], seed: int, part: float = 1 / 2
) -> Measured | None:
    """What each place of a layer sees of the image's first part, along each axis of the image.

    Of random images, else of the own numbers, shuffled: some networks take numbers of their range
    only, such as pixels from 0 to 255, and some take batches of one size only.

    Args:
        entries: convolutions, the places of whose inputs are measured, too.
        seed: of the other image.
        part: how much of it is put in place, as a share of a side.

    Returns:
        As `_shares` gives it: for each of the entries, of each call in a pass (none where its input
        is no grid); of the layer. None if the network takes none of these images.
    """
    for make, x in product((other_images, shuffled), (one_image(layer.x), layer.x)):
        try:
            return _measure_with(layer._replace(x=x), partial(make, seed=seed), entries, part)
        except Exception:  # noqa: BLE001, S112 - a network may refuse images in its own way
            continue
    return None


def image_read_instead(layer: Layer) -> str:
    """Which other image among the inputs a layer reads, as code; "" where it reads the first.

    The map is drawn over the first, `images_of`.
    """
    x, images = layer.x, images_of(layer.x)

    def reads(image: Tensor) -> bool:
        changed = each_tensor(x, lambda t: shuffled(t) if t is image else t)
        _, (own, other) = _grids(layer, [x, changed], [])
        return not alike(own, other)

    kind = images.dim(), images.dtype
    others = [t for t in tensors_in(x, "x") if t[1] is not images]
    others = [(code, t) for code, t in others if (t.dim(), t.dtype) == kind]
    if not others:
        return ""
    try:
        found = "" if reads(images) else next((c for c, image in others if reads(image)), "")
    except Exception:  # noqa: BLE001 - a network may refuse images in its own way
        return ""
    rerun(layer.model, x)
    return found


def _measure_with(
    layer: Layer, make: Callable[[Tensor], Tensor], entries: Sequence[nn.Module], part: float
) -> Measured:
    """As `measure`, with the other images that are made."""
    x = ordinary(layer.x)
    images = images_of(x)
    other = make(images)
    mixed = [_first_of(other, images, axis, part) for axis in image_axes(images, layer.model)]
    every = [with_images(x, new) for new in (images, other, *mixed)]
    entered, grids = _grids(layer, every, entries)
    if len(grids) != len(every):
        raise ValueError(f"'{layer.name}' does not run once whatever the images show.")
    return [_at_entry(entered[m], len(every), len(grids[0])) for m in entries], _shares(grids)


def _at_entry(entered: list[Tensor], passes: int, images: int) -> list[Tensor]:
    """As `_shares`, of what a convolution was given in each call of a pass."""
    times, axes = len(entered) // passes, passes - 2
    if len(entered) % passes or any(t.dim() != axes + 2 or len(t) != images for t in entered):
        return []
    return [_shares(entered[i::times]) for i in range(times)]


def _shares(grids: list[Tensor]) -> Tensor:
    """What each place sees of the images' first part, of the grids with the images, with others,
    and with this part of others: image axes x N x the grid's sides.

    1 where it became the other's, 0 where it did not, NaN where it sees nothing of the image.
    """
    own, others, *halves = grids
    rows = []
    for half in halves:
        from_own, from_others = ((half - grid).square().sum(dim=1) for grid in (own, others))
        rows.append(from_own / (from_own + from_others))
    return torch.stack(rows).to("cpu", torch.float64)


def _grids(
    layer: Layer, every: list[Inputs], entries: Sequence[nn.Module]
) -> tuple[dict[nn.Module, list[Tensor]], list[Tensor]]:
    """What convolutions are given, and the layer's grids, for several inputs."""
    entered = {module: list[Tensor]() for module in entries}
    model, grids = layer.model, list[Tensor]()

    def enter(module: nn.Module, inputs: tuple[Tensor]) -> None:
        entered[module].extend(given.detach().float().clone() for given in inputs[:1])

    def keep(_module: nn.Module, _inputs: object, value: Tensor) -> None:
        grids.append(layer.fold(value.detach().float()).clone())

    with undisturbed(model), torch.inference_mode(False), torch.no_grad():
        handles = [model.get_submodule(layer.name).register_forward_hook(keep)]
        handles += [module.register_forward_pre_hook(enter) for module in entries]
        with hooked(handles):
            for x in every:
                call_on_copies(model, x)
    return entered, grids


def _first_of(other: Tensor, images: Tensor, axis: int, part: float) -> Tensor:
    """The images with their first part along an axis taken from others."""
    length = images.shape[axis]
    there = torch.arange(length, device=images.device) < length * part
    return torch.where(there.reshape(-1, *[1] * (images.dim() - axis - 1)), other, images)
