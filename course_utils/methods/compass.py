"""How a layer's grid lies on the image: measured, as a network may turn or mirror what it is given.

Along each axis, the first half of the image is replaced by another image's. The places of the grid
that become the other image's, rather than stay, are those that see this half.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise, permutations, product
from math import nan
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ..networks.families import is_of_a_library
from .backward import random_like
from .graph import nodes_and_leaves, stand_of
from .grids import Fold
from .head import call_unwritten, copies, ordinary, undisturbed
from .inputs import (
    Inputs,
    each_tensor,
    first_convolution,
    image_axes,
    images_of,
    one_image,
    size_of,
)

# Of networks with random weights, up to 0.1 was measured across axes that they do not exchange (0.2
# where 0.7 lay along them), and 0.4 where all places see everything
CLEAR, SURE = 0.15, 0.5
MANY = 6  # convolutions on the way to a layer that are looked at: what they are given is kept


class Lie(NamedTuple):
    """How a grid lies on the image.

    Attributes:
        axes: for each axis of the image, the axis of the grid that follows it.
        mirrored: the axes of the image that the grid follows backwards.
        blind: the axes of the grid that follow none of the image's, although others do: they are
            mixed, or no places.
        clear: whether that was seen; else it is taken for granted.
    """

    axes: tuple[int, ...]
    mirrored: tuple[int, ...] = ()
    blind: tuple[int, ...] = ()
    clear: bool = True

    @property
    def straight(self) -> bool:
        return self.axes == (*range(len(self.axes)),) and not self.mirrored

    def straighten(self, fold: Fold) -> Fold:
        """The same reading of a layer's output, but as the image lies."""
        if self.straight:
            return fold
        order, back = (0, 1, *(2 + j for j in self.axes)), [2 + i for i in self.mirrored]
        if not back:
            return lambda a: fold(a).permute(order)
        return lambda a: fold(a).permute(order).flip(back)

    def in_words(self) -> str:
        """What the network does to the image, and what follows; "" if nothing."""
        if not self.clear and self.blind:
            return f"; its places were not seen to follow the image's along {self._blind_sides}"
        if not self.clear:
            return "; whether its places lie as those of the image could not be seen"
        if self.straight:
            return ""
        moved = self._sides([i for i, j in enumerate(self.axes) if i != j])
        reversed_ = self._sides(self.mirrored)
        does = [f"exchanges {moved}"] * bool(moved) + [f"reverses {reversed_}"] * bool(reversed_)
        return f"; up to there the network {' and '.join(does)}, which the map undoes"

    def warning(self, name: str) -> str:
        """What is wrong with a layer that has channels where it should have places."""
        return (
            f"'{name}' has no places along the image's {self._blind_sides}: the network has moved "
            "an earlier layer's channels to that axis, and there the map shows them. Believe its "
            "other axis only, or name an earlier layer; if you named this one, leave layer= out to "
            "have another found."
        )

    @property
    def _blind_sides(self) -> str:
        return self._sides([i for i, j in enumerate(self.axes) if j in self.blind])

    def _sides(self, axes: Iterable[int]) -> str:
        n = len(self.axes)
        names = ["time"] if n == 1 else ["depth", "height", "width"][3 - n :]
        return " and ".join(names[i] for i in axes)


_known: WeakKeyDictionary[nn.Module, dict[tuple, Lie]] = WeakKeyDictionary()


def lie_of(model: nn.Module, x: Inputs, name: str, fold: Fold, turned: bool = False) -> Lie:
    """How the grid of a layer lies on the image; measured once for each layer.

    Networks of torchvision, timm and the course are known to take the image as it is. So is taken
    what is not clear, as where little is left of the places, and networks that refuse the other
    images.

    Args:
        x: what the network is given.
        name: the layer.
        fold: reads its output as N x C x h x w.
        turned: whether the shapes show that height and width are exchanged.
    """
    lengths = size_of(images_of(x), model)
    sides = range(len(lengths))
    expected = Lie(tuple(reversed(sides) if turned else sides))
    inner = to_measure(model)
    if inner is None:
        return expected
    known = _known.setdefault(inner, {})
    upright = tuple((a > b) - (a < b) for a, b in pairwise(lengths))  # some turn these only
    key = name, id(model.get_submodule(name)), upright, turned, _switches(inner)
    sized = *key, images_of(x).shape[1:]  # another size may be clearer
    if key not in known and sized not in known:
        lie = _measured(model, x, name, fold, expected)
        known[key if lie.clear else sized] = lie
    return known.get(key) or known[sized]


def _switches(model: nn.Module) -> tuple[bool | str, ...]:
    """What may switch a network to turning its images: flags and words among its own attributes."""
    own = (m for m in model.modules() if not type(m).__module__.startswith("torch."))
    each = (item for module in own for item in vars(module).items())
    return tuple(
        value for key, value in each if key != "training" and isinstance(value, bool | str)
    )


def to_measure(model: nn.Module) -> nn.Module | None:
    """The network in wrappers of this package, which hand on what they are given, and are made anew
    for a question; None for one of torchvision, timm or the course, which take images as they are.
    """
    while type(model).__module__.startswith(f"{__package__}."):
        inner = getattr(model, "network", None)
        if not isinstance(inner, nn.Module):
            break
        model = inner
    return None if is_of_a_library(model, "course_utils") else model


def _measured(model: nn.Module, x: Inputs, name: str, fold: Fold, expected: Lie) -> Lie:
    """How the grid lies.

    As what the first convolution is given, where that shows it: there each place sees its own spot
    of the image only. Where that or the layer says otherwise than the shapes, it is measured
    several times, and what the convolutions on the way to it are given, as the first may stand in
    another branch, and the network may turn what lies between them.
    """
    first: list[nn.Module] = [m for m in [first_convolution(model)] if m is not None]
    start = _measure(model, x, name, fold, first, seed=0)
    if start is None:
        return expected._replace(clear=False)
    entered, followed = start
    shown, found = _read(entered[0]) if entered else None, expected
    if shown not in (None, expected) or not _agrees(followed, expected):
        again = _measured_again(model, x, name, fold, first, shown, followed)
        found = again or expected._replace(clear=False)
    with undisturbed(model), torch.inference_mode(False), torch.no_grad():
        # what the network's own code keeps of a pass is of these images
        call_unwritten(model, copies(model), ordinary(x))
    return found


def _measured_again(
    model: nn.Module, x: Inputs, name: str, fold: Fold, first: list[nn.Module],
    shown: Lie | None, followed: Tensor,
) -> Lie | None:  # fmt: skip
    """How the grid lies; None where that is not clear.

    Args:
        first: the first convolution, if there is one.
        shown: how what it is given lies; None where that is not clear.
        followed: what `_follow` measured of the layer already.
    """
    way = _way_to(model, x, name)
    again = [_measure(model, x, name, fold, list(way), seed) for seed in (1, 2, 3)]
    more = [one for one in again if one is not None]
    own = _read(torch.stack([followed, *(each for _, each in more)]).mean(dim=0))
    before = [_read(torch.stack(each).mean(dim=0)) for each in zip(*(e for e, _ in more))]
    shown = _last_of(way, before) if way else shown
    found = own or shown
    if found is None:
        return None
    if found.mirrored:
        told = [m for m, lie in zip(way, before) if lie == found] or first * (found != own)
        if not _ends_first(_measure(model, x, name, fold, told[:1], seed=4, part=1 / 6), found):
            return None
    if found.blind:  # usual of a layer whose places see all of an image that came in straight
        return found._replace(clear=shown is not None and not shown.blind)
    return found


def _last_of(way: dict[nn.Module, set[nn.Module]], lies: list[Lie | None]) -> Lie | None:
    """What the last convolution that shows it is given; None if one beside it shows otherwise.

    Args:
        way: as `_way_to` gives it.
        lies: how what each of them is given lies.
    """
    known = {module: lie for module, lie in zip(way, lies) if lie is not None}
    if not known:
        return None
    last = [*known][-1]
    beside = [lie for module, lie in known.items() if module not in way[last]]
    return known[last] if all(lie == known[last] for lie in beside) else None


def _way_to(model: nn.Module, x: Inputs, name: str) -> dict[nn.Module, set[nn.Module]]:
    """Convolutions that a layer's output comes from, as they run, each with those it comes from.

    Not more than a few, evenly chosen. Empty where the network's code cuts the graph.
    """
    starts, ends = dict[nn.Module, Tensor](), list[Tensor]()

    def mark(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        each = [t if t.requires_grad else t.detach().requires_grad_() for t in inputs[:1]]
        marked = tuple(t.clone() for t in each)  # nothing where it is called by keywords
        starts.update((module, t) for t in marked if module not in starts)
        return (*marked, *inputs[1:])

    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Conv3d)]
    with undisturbed(model), torch.inference_mode(False), torch.enable_grad():
        handles = [module.register_forward_pre_hook(mark) for module in convolutions]
        layer = model.get_submodule(name)
        handles.append(layer.register_forward_hook(lambda _m, _i, value: ends.append(value)))
        try:
            call_unwritten(model, copies(model), one_image(ordinary(x)))
        except Exception:  # noqa: BLE001 - as where it takes batches of one size only
            return {}
        finally:
            for handle in handles:
                handle.remove()
    reached = nodes_and_leaves(ends[0]) if ends else set()
    way = [module for module, start in starts.items() if stand_of(start) in reached]
    way = way[:: -(-len(way) // MANY) or 1]
    behind = {module: nodes_and_leaves(starts[module]) for module in way}
    return {m: {other for other in way if stand_of(starts[other]) in behind[m]} for m in way}


def _agrees(followed: Tensor, lie: Lie) -> bool:
    """Whether a grid visibly follows the image's axes as it lies."""
    signs = [-1 if i in lie.mirrored else 1 for i in range(len(followed))]
    along = [sign * row[j] for sign, row, j in zip(signs, followed.nan_to_num(1), lie.axes)]
    return bool(min(along) >= CLEAR) and _closest(followed.nan_to_num(1)) == lie.axes


def _closest(followed: Tensor) -> tuple[int, ...]:
    """For each axis of the image, the grid's axis that follows it, so that all do the most."""
    far, sides = followed.abs(), range(len(followed))
    return max(permutations(sides), key=lambda axes: sum(far[i, axes[i]] for i in sides))


def _ends_first(measured: tuple[list[Tensor], Tensor] | None, lie: Lie) -> bool:
    """Whether the image's first sixth stands at the end of the axes that seem to be mirrored.

    Where the halves are exchanged, as fftshift does, it stands in the middle.
    """
    if measured is None:
        return False
    entered, followed = measured
    shown = (entered[0] if entered else followed).nan_to_num(0)
    return all(bool(shown[i, lie.axes[i]] <= -CLEAR) for i in lie.mirrored)


def _read(followed: Tensor) -> Lie | None:
    """How a grid lies that follows the image's axes so far; None where it does not surely.

    Args:
        followed: image axes x grid axes, as `_follow` gives it.
    """
    sides, most = range(len(followed)), followed.abs().nan_to_num(0).amax(dim=0)
    blind = (most < CLEAR) & (most.max() >= SURE)
    single = followed.isnan().all(dim=0)
    far = followed.nan_to_num(0)
    far = far.where(far.abs() >= CLEAR, 0)  # what is blind stays where it is
    best = _closest(far)
    sure = (abs(far[i][j]) >= SURE or blind[j] or single[j] for i, j in enumerate(best))
    if single.all() or not all(sure):
        return None
    mirrored = tuple(i for i in sides if far[i][best[i]] <= -SURE)
    return Lie(best, mirrored, tuple((blind & ~single).nonzero().flatten().tolist()))


def _measure(
    model: nn.Module, x: Inputs, name: str, fold: Fold, entries: Sequence[nn.Module], seed: int,
    part: float = 1 / 2,
) -> tuple[list[Tensor], Tensor] | None:  # fmt: skip
    """As `_follow`, with random images, else with the own numbers, shuffled; None if both fail.

    Some networks take numbers of their range only, such as pixels from 0 to 255, and some take
    batches of one size only.
    """
    for make, inputs in product((other_images, _shuffled), (one_image(x), x)):
        try:
            return _follow(model, inputs, name, fold, partial(make, seed=seed), entries, part)
        except Exception:  # noqa: BLE001, S112 - a network may refuse images in its own way
            continue
    return None


def _follow(
    model: nn.Module,
    x: Inputs,
    name: str,
    fold: Fold,
    make: Callable[[Tensor], Tensor],
    entries: Sequence[nn.Module],
    part: float,
) -> tuple[list[Tensor], Tensor]:
    """How far each axis of a grid follows each of the image's, -1 to 1: image axes x grid axes.

    1: the grid's first places see the image's first part, and its last ones do not. 0: both see as
    much of it. NaN: there is one place only.

    Returns:
        That of what each of the entries, convolutions, is given (NaN where that is no grid); of
        the layer.
    """
    x = ordinary(x)
    images, axes = images_of(x), image_axes(images_of(x), model)
    other = make(images)
    mixed = [_first_of(other, images, axis, part) for axis in axes]

    def with_images(new: Tensor) -> Inputs:
        return each_tensor(x, lambda t: new if t is images else t)

    every = list(map(with_images, (images, other, *mixed)))
    entered, grids = _grids(model, every, name, fold, entries)
    if not len(grids) == len(every):
        raise ValueError(f"'{name}' does not run once whatever the images show.")
    return [_at_entry(entered[module], len(every)) for module in entries], _along(grids)


def _at_entry(entered: list[Tensor], passes: int) -> Tensor:
    """As `_along`, of what a convolution was given; the mean if it runs several times in a pass."""
    times, axes = len(entered) // passes, passes - 2
    if not times or len(entered) % passes or entered[0].dim() != axes + 2:
        return torch.full((axes, axes), nan, dtype=torch.float64, device="cpu")
    return torch.stack([_along(entered[i::times]) for i in range(times)]).mean(dim=0)


def _along(grids: list[Tensor]) -> Tensor:
    """As `_follow`, of the grids with the images, with others, and with half of these each."""
    own, others, *halves = grids
    rows = []
    for half in halves:
        from_own, from_others = ((half - grid).square().sum(dim=1) for grid in (own, others))
        seen = from_own / (from_own + from_others)  # 1 where it became the other's, 0 where not
        rows.append([_first_less_last(seen, 1 + j) for j in range(len(halves))])
    return torch.tensor(rows, dtype=torch.float64, device="cpu")


def _first_less_last(seen: Tensor, axis: int) -> float:
    """The outer thirds are compared: places in the middle see both halves.

    Of the places that see something of the image: what it was padded with does not.
    """
    if seen.shape[axis] < 2:
        return nan
    others = [a for a in range(seen.dim()) if a != axis]
    seen = seen.index_select(axis, (~seen.isnan()).sum(dim=others).nonzero().flatten())
    n = seen.shape[axis]
    if not n:
        return 0.0
    few = max(1, n // 3)
    return float(seen.narrow(axis, 0, few).nanmean() - seen.narrow(axis, n - few, few).nanmean())


def _grids(
    model: nn.Module, every: list[Inputs], name: str, fold: Fold, entries: Sequence[nn.Module]
) -> tuple[dict[nn.Module, list[Tensor]], list[Tensor]]:
    """What convolutions are given, and the layer's grids, for several inputs."""
    entered = {module: list[Tensor]() for module in entries}
    grids = list[Tensor]()

    def enter(module: nn.Module, inputs: tuple[Tensor]) -> None:
        entered[module].extend(given.detach().float().clone() for given in inputs[:1])

    def keep(_module: nn.Module, _inputs: object, value: Tensor) -> None:
        grids.append(fold(value.detach().float()).clone())

    with undisturbed(model), torch.inference_mode(False), torch.no_grad():
        handles = [model.get_submodule(name).register_forward_hook(keep)]
        handles += [module.register_forward_pre_hook(enter) for module in entries]
        try:
            for x in every:
                call_unwritten(model, copies(model), x)
        finally:
            for handle in handles:
                handle.remove()
    return entered, grids


def _first_of(other: Tensor, images: Tensor, axis: int, part: float) -> Tensor:
    """The images with their first part along an axis taken from others."""
    length = images.shape[axis]
    there = torch.arange(length, device=images.device) < length * part
    return torch.where(there.reshape(-1, *[1] * (images.dim() - axis - 1)), other, images)


def other_images(images: Tensor, seed: int = 0) -> Tensor:
    """Random images, of the same mean and spread if these have one."""
    spread = images.float().std() if images.numel() > 1 else images.new_zeros(())
    return images.mean() + random_like(images, seed) * (spread if spread > 0 else 1)


def _shuffled(images: Tensor, seed: int = 0) -> Tensor:
    """The images' own numbers, each at another place."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(images.numel(), generator=generator).to(images.device)
    return images.flatten()[order].reshape(images.shape)
