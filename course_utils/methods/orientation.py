"""How a layer's grid lies on the image: a network may turn or mirror what it is given."""

from collections.abc import Iterable, Sequence
from itertools import chain, pairwise, permutations
from math import nan
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..networks.families import is_of_a_library
from .graph import node_of, nodes_and_leaves
from .grids import Fold
from .inputs import (
    CONVOLUTIONS,
    Inputs,
    convolutions_of,
    images_of,
    names_of_sides,
    one_image,
    size_of,
)
from .memory import Memory, settings
from .receptive_fields import Layer, Measured, image_read_instead, measure
from .running import call_on_copies, hooked, rerun, undisturbed

# Of networks with random weights, up to 0.1 was measured across axes that they do not exchange (0.2
# where 0.7 lay along them), and 0.4 where all places see everything
CLEAR, SURE = 0.15, 0.5
WHOLE = 0.9  # where one view is joined to another of a third of its strength, 0.8 was measured
OUT_OF_ORDER = 0.25  # half of what is measured where the places' order is random
MANY = 6  # convolutions on the way to a layer that are looked at: what they are given is kept

SEVERAL = (
    "; before it the network looks at views of the image that lie otherwise than one another, one "
    "mirrored or turned, say: where it joins them, the map lies as the strongest one"
)


class Orientation(NamedTuple):
    """How a grid lies on the image."""

    axes: tuple[int, ...]  # for each axis of the image, the axis of the grid that follows it
    mirrored: tuple[int, ...] = ()  # the axes of the image that the grid follows backwards
    # the axes of the grid that follow none of the image's, although others do: mixed, or no places
    unrelated: tuple[int, ...] = ()
    clear: bool = True  # whether that was seen; else it is taken for granted
    several: bool = False  # whether it may join views of the image that lie otherwise
    instead: str = ""  # the other image among the inputs that the layer reads, as code

    @property
    def aligned(self) -> bool:
        return self.axes == (*range(len(self.axes)),) and not self.mirrored

    def align(self, fold: Fold) -> Fold:
        """The same reading of a layer's output, but as the image lies."""
        if self.aligned:
            return fold
        order, back = (0, 1, *(2 + j for j in self.axes)), [2 + i for i in self.mirrored]
        return lambda a: fold(a).permute(order).flip(back)

    def in_words(self) -> str:
        """What the network does to the image, and what follows; "" if nothing."""
        return self._turned() + SEVERAL * self.several

    def _turned(self) -> str:
        if not self.clear and self.unrelated:
            return f"; its places were not seen to follow the image's along {self._unrelated_sides}"
        if not self.clear:
            return "; whether its places lie as those of the image could not be seen"
        if self.aligned:
            return ""
        moved = self._sides([i for i, j in enumerate(self.axes) if i != j])
        reversed_ = self._sides(self.mirrored)
        does = [f"exchanges {moved}"] * bool(moved) + [f"reverses {reversed_}"] * bool(reversed_)
        return f"; up to there the network {' and '.join(does)}, which the map undoes"

    def warning(self, name: str) -> str:
        """What is wrong with a layer that has channels where it should have places."""
        return (
            f"'{name}' has no places along the image's {self._unrelated_sides}: the network has "
            "moved an earlier layer's channels to that axis, and there the map shows them. Believe "
            "its other axis only, or name an earlier layer; if you named this one, leave layer= "
            "out to have another found."
        )

    @property
    def _unrelated_sides(self) -> str:
        return self._sides([i for i, j in enumerate(self.axes) if j in self.unrelated])

    def _sides(self, axes: Iterable[int]) -> str:
        names = names_of_sides(len(self.axes))
        return " and ".join(names[i] for i in axes)


_known = Memory[Orientation]()


def orientation_of(
    model: nn.Module, x: Inputs, name: str, fold: Fold, turned: bool = False, other: bool = False
) -> Orientation:
    """How the grid of a layer lies on the image; measured once for each layer.

    Networks of torchvision, timm and the course are known to take the image as it is. So is taken
    what is not clear, as where little is left of the places, and networks that refuse the other
    images.

    Args:
        x: what the network is given.
        name: the layer.
        fold: reads its output as N x C x h x w.
        turned: whether the shapes show that height and width are exchanged.
        other: whether the fold takes another axis for the channels than the shape lets expect.
    """
    lengths = size_of(images_of(x), model)
    sides = range(len(lengths))
    expected = Orientation(tuple(reversed(sides) if turned else sides))
    inner = unknown_network(model)
    if inner is None:
        return expected
    upright = tuple((a > b) - (a < b) for a, b in pairwise(lengths))  # some turn these only
    key = name, upright, turned, other
    sized = *key, images_of(x).shape[1:]  # another size may be clearer
    now = settings(inner)
    orientation = _known.recall(inner, now, key, sized)
    if orientation is None:
        layer = Layer(model, x, name, fold)
        orientation = _measured(layer, expected)
        if not orientation.clear:
            orientation = orientation._replace(instead=image_read_instead(layer))
        _known.keep(inner, now, key if orientation.clear else sized, orientation)
    return orientation


def other_axis_order(
    model: nn.Module, x: Inputs, name: str, first: bool, turned: bool
) -> tuple[Fold, Orientation] | None:
    """How a layer is read, and lies, if its channels stand at the other end, as they may where only
    one side of the image was made smaller; None where that is not clear.

    Args:
        first: whether they were taken to stand first.
        turned: as for `orientation_of`.
    """
    fold: Fold = (lambda a: a.movedim(-1, 1)) if first else (lambda a: a)
    orientation = orientation_of(model, x, name, fold, turned, other=True)
    return (fold, orientation) if orientation.clear and not orientation.unrelated else None


def unknown_network(model: nn.Module) -> nn.Module | None:
    """The network in wrappers of this package, which hand on what they are given, and are made anew
    for a question; None for one of torchvision, timm or the course, which take images as they are.
    """
    while type(model).__module__.startswith(f"{__package__}.") and hasattr(model, "network"):
        model = model.get_submodule("network")
    return None if is_of_a_library(model, "course_utils") else model


def _measured(layer: Layer, expected: Orientation) -> Orientation:
    """How the grid lies: as the shapes say, where neither the layer nor what the convolutions that
    read the image are given says otherwise; there each place sees its own spot of the image only.
    """
    entries = convolutions_of(images_of(layer.x), layer.model)
    start = measure(layer, entries, seed=0)
    if start is None:
        return expected._replace(clear=False)
    entered, seen = start
    shown, found = {_shown([call]) for calls in entered for call in calls} - {None}, expected
    plain = shown <= {expected} and _agrees(seen, expected.axes)
    if not plain or _out_of_order([seen], expected.axes):
        again = _measured_again(layer, expected, entries, start)
        found = again if again.unrelated or not plain else expected  # by chance, of few channels
    rerun(layer.model, layer.x)
    return found


def _measured_again(
    layer: Layer, expected: Orientation, entries: list[nn.Module], start: Measured
) -> Orientation:
    """How the grid lies, measured several times: as seen at the layer, else at the last convolution
    before it that shows it. The first one may stand in another branch, and the network may turn
    what lies between them.

    Args:
        entries: the convolutions that read the image.
        start: what was measured of them, and of the layer, already.
    """
    way = convolutions_before(layer.model, layer.x, layer.name)
    again = [measure(layer, list(way), seed) for seed in (1, 2, 3)]
    more = [one for one in again if one is not None]
    every = [start[1], *(seen for _, seen in more)]
    own, alignment = _shown(every), _mean_alignment(every)
    before = [_shown_in(each) for each in zip(*(entered for entered, _ in more))]
    if not way:  # where the network's code cuts the graph, the first that is registered
        way, before = {module: set() for module in entries[:1]}, [_shown_in(start[0][:1])]
    shown, several = _last_of(way, before)
    found, unclear = own or shown, expected._replace(clear=False)
    every_one = [one for one in (found, *chain.from_iterable(before)) if one is not None]
    disordered = [one.unrelated for one in every_one if not one.clear]
    if disordered or found is None:
        return unclear._replace(unrelated=(*disordered, ())[0])
    if found.mirrored:
        told = [m for m, each in zip(way, before) if found in each] or entries[:1] * (found != own)
        if not _ends_first(measure(layer, told[:1], seed=4, part=1 / 6), found):
            return unclear
    if found.unrelated:  # usual of a layer whose places see all of an image that came in straight
        found = found._replace(clear=shown is not None and not shown.unrelated)
    return found._replace(several=several and bool(alignment.abs().amax(dim=1).min() < WHOLE))


def _shown_in(measured: Sequence[list[Tensor]]) -> set[Orientation]:
    """The orientations of a convolution's input, as far as they are seen, in each call of a pass.

    Args:
        measured: of each time it was measured, each call.
    """
    return {shown for call in zip(*measured) if (shown := _shown(call)) is not None}


def _last_of(
    way: dict[nn.Module, set[nn.Module]], shown: list[set[Orientation]]
) -> tuple[Orientation | None, bool]:
    """The orientation at the last convolution that shows one, None where another branch beside it
    shows another; whether any two branches do.

    Args:
        way: as `convolutions_before` gives it.
        shown: the orientations at each of them.
    """
    known = {module: seen for module, seen in zip(way, shown) if seen}
    several, last = False, set[Orientation]()
    for module, seen in known.items():
        beside = [known[m] for m in known if m not in way[module] and module not in way[m]]
        last = seen.union(*beside)
        several |= len(last) > 1
    return last.pop() if len(last) == 1 else None, several


def convolutions_before(
    model: nn.Module, x: Inputs, name: str, among: Sequence[nn.Module] = ()
) -> dict[nn.Module, set[nn.Module]]:
    """Convolutions that a layer's output comes from, as they run, each with those it comes from.

    Not more than a few, evenly chosen. Empty where the network's code cuts the graph.

    Args:
        among: the convolutions that are looked at; all of them by default.
    """
    starts, ends = dict[nn.Module, Tensor](), list[Tensor]()

    def mark(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        each = [t if t.requires_grad else t.detach().requires_grad_() for t in inputs[:1]]
        marked = tuple(t.clone() for t in each)  # nothing where it is called by keywords
        starts.update((module, t) for t in marked if module not in starts)
        return (*marked, *inputs[1:])

    among = among or [m for m in model.modules() if isinstance(m, CONVOLUTIONS)]
    with undisturbed(model), torch.inference_mode(False), torch.enable_grad():
        handles = [module.register_forward_pre_hook(mark) for module in among]
        layer = model.get_submodule(name)
        handles.append(layer.register_forward_hook(lambda _m, _i, value: ends.append(value)))
        try:
            with hooked(handles):
                call_on_copies(model, one_image(x))
        except Exception:  # noqa: BLE001 - as where it takes batches of one size only
            return {}
    reached = nodes_and_leaves(ends[0]) if ends else set()
    way = [module for module, start in starts.items() if node_of(start) in reached]
    way = way[:: -(-len(way) // MANY) or 1]
    behind = {module: nodes_and_leaves(starts[module]) for module in way}
    return {m: {other for other in way if node_of(starts[other]) in behind[m]} for m in way}


def _agrees(seen: Tensor, axes: tuple[int, ...]) -> bool:
    """Whether these axes of a grid visibly follow the image's, forwards, and no others do more."""
    alignment = _alignment(seen).nan_to_num(1)
    along = [row[j] for row, j in zip(alignment, axes)]
    return bool(min(along) >= CLEAR) and _closest(alignment) == axes


def _out_of_order(measured: Sequence[Tensor], axes: Sequence[int]) -> tuple[int, ...]:
    """The axes of a grid along which places that see the image's first half stand among those that
    do not, each time it was measured.

    So they are in a picture of quadrants (wavelets, space to depth), in one that is rolled on or
    warped, and of tokens that stand window by window.

    Args:
        axes: for each axis of the image, the axis of the grid that follows it the most.
    """
    # of a size that changes, the first one's
    each = torch.stack([seen for seen in measured if seen.shape == measured[0].shape])
    mean = each.nanmean(dim=0)
    sharp = torch.minimum(mean, 1 - mean).nanmean() < CLEAR / 3
    disordered = []
    for i, axis in enumerate(axes):
        rows = each[:, i].movedim(2 + axis, 1).flatten(2)  # times x along the axis x others
        along = rows.nanmean(dim=(0, 2))
        rows, along = rows[:, ~along.isnan()], along[~along.isnan()]  # not what it was padded with
        ordered = along.sort(descending=bool(len(along) and along[0] > along[-1])).values
        off = (rows - ordered[:, None]).nan_to_num(0)
        common = off.square()
        if len(off) > 1:  # products of one time and another: what is there by chance cancels
            common = (off.sum(dim=0).square() - common.sum(dim=0)) / (len(off) * (len(off) - 1))
        if len(along) > 3 and common.mean() >= (OUT_OF_ORDER / 2 if sharp else OUT_OF_ORDER) ** 2:
            disordered.append(axis)
    return tuple(disordered)


def _shown(measured: Sequence[Tensor]) -> Orientation | None:
    """As `_read`; not clear where the places are seen to stand in another order."""
    alignment = _mean_alignment(measured)
    orientation, axes = _read(alignment), _closest(alignment.nan_to_num(0))
    disordered = _out_of_order(measured, axes if orientation is None else orientation.axes)
    return Orientation(axes, unrelated=disordered, clear=False) if disordered else orientation


def _mean_alignment(measured: Sequence[Tensor]) -> Tensor:
    """The mean of `_alignment`, of what was measured several times."""
    return torch.stack([_alignment(seen) for seen in measured]).mean(dim=0)


def _closest(alignment: Tensor) -> tuple[int, ...]:
    """For each axis of the image, the grid's axis that follows it, so that all do the most."""
    far, sides = alignment.abs(), range(len(alignment))
    return max(permutations(sides), key=lambda axes: sum(far[i, axes[i]] for i in sides))


def _ends_first(measured: Measured | None, orientation: Orientation) -> bool:
    """Whether the image's first sixth stands at the end of the axes that seem to be mirrored.

    Where the halves are exchanged, as fftshift does, it stands in the middle.
    """
    if measured is None:
        return False
    entered, seen = measured
    each = [_alignment(one).nan_to_num(0) for one in (entered[0] if entered else [seen])]
    ends = [(i, orientation.axes[i]) for i in orientation.mirrored]
    return any(all(bool(one[end] <= -CLEAR) for end in ends) for one in each)


def _read(alignment: Tensor) -> Orientation | None:
    """How a grid lies that follows the image's axes so far; None where it does not surely.

    Args:
        alignment: image axes x grid axes, as `_alignment` gives it.
    """
    sides, most = range(len(alignment)), alignment.abs().nan_to_num(0).amax(dim=0)
    unrelated = (most < CLEAR) & (most.max() >= SURE)
    single = alignment.isnan().all(dim=0)
    far = alignment.nan_to_num(0)
    far = far.where(far.abs() >= CLEAR, 0)  # what is unrelated stays where it is
    best = _closest(far)
    sure = (abs(far[i][j]) >= SURE or unrelated[j] or single[j] for i, j in enumerate(best))
    if single.all() or not all(sure):
        return None
    mirrored = tuple(i for i in sides if far[i][best[i]] <= -SURE)
    return Orientation(best, mirrored, tuple((unrelated & ~single).nonzero().flatten().tolist()))


def _alignment(seen: Tensor) -> Tensor:
    """How far each axis of a grid follows each of the image's, -1 to 1: image axes x grid axes.

    1: the grid's first places see the image's first part, and its last ones do not. 0: both see as
    much of it. NaN: there is one place only.
    """
    rows = [[_first_less_last(one, 1 + j) for j in range(len(seen))] for one in seen]
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
