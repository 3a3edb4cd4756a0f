"""How a layer's output is read as a grid of places (spatial positions), N x C x h x w."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from math import log, prod
from typing import Any, NamedTuple

from torch import Tensor, nn

from ..errors import LayerError, a_kind_of
from ..networks.families import hands_on_channels_last, is_of_a_library, stated
from .inputs import first_convolution, in_words, places_in_words

Fold = Callable[[Tensor], Tensor]
MOST_PREFIX_TOKENS = 16  # class token, distillation token, registers: no network has more


class Seen(NamedTuple):
    """What was seen of a layer, and of those before it, when the network was watched."""

    grids: Iterable[Sequence[int]] = ()  # those of earlier layers, the nearest first
    image_tokens: Mapping[int, Sequence[int]] = {}  # which tokens are the image's, by their number
    # whether the layer's axes are N x C x ..., or, False, N x ... x C; None where nothing tells
    channels_first: bool | None = None
    tokens: Iterable[int] = ()  # how many earlier layers gave
    flat: tuple[int, ...] = ()  # the channels and the places of the grid before

    def exchanged(self) -> "Seen":
        """The same, of tokens that stand column by column."""
        return self._replace(grids=[grid[::-1] for grid in self.grids])


def grid_fold(
    model: nn.Module,
    name: str,
    output: Tensor,
    size: Sequence[int],
    seen: Callable[[], Seen] = Seen,
    kind: bool | None = None,
) -> Fold:
    """How to read the layer's output (and gradients of its shape) as N x C x h x w.

    Channels first pass through; channels last (Swin, inside ConvNeXt) are moved; the tokens of a
    ViT lose the class token and are folded back to the grid of patches.

    Args:
        model, name: the network, and the layer's name for messages.
        output: what the layer returned, N x ... .
        size: (H, W) of the image; (L,) of a signal, (D, H, W) of a volume.
        seen: gives what was seen when the network was watched; asked only where the shape alone
            does not tell.
        kind: whether layers of this kind give channels first, as `roles.channels_first` says.

    Raises:
        LayerError: the output has no places, or cannot be told apart into places and channels.
    """
    fold = find_fold(model, output.shape, size, seen, kind)
    if fold is not None and prod(fold(output).shape[2:]) != 1:
        return fold
    single = len(output.shape) == len(size) + 2 and 1 in (
        prod(output.shape[2:]),
        prod(output.shape[1:-1]),
    )
    shape = " x ".join(map(str, output.shape))
    wanted = f"N x C x {places_in_words(len(size))}"
    if output.dim() == 2:
        raise LayerError(
            f"'{name}' gives {shape}: no height and width are left of the image, so no map can be "
            "drawn. Choose a layer that still has them."
        )
    if fold is None and not single:
        raise LayerError(
            f"'{name}' gives {shape}, which is not {wanted} for {in_words(size)}. Choose a layer "
            "with such an output, or pass reshape_transform=, a function from this output to "
            f"{wanted}."
        )
    raise LayerError(
        f"'{name}' gives {shape}: a single place is left of the image. Pass a larger image, "
        "or choose an earlier layer."
    )


def find_fold(
    model: nn.Module,
    shape: Sequence[int],
    size: Sequence[int],
    seen: Callable[[], Seen] = Seen,
    kind: bool | None = None,
    n: int | None = None,
) -> Fold | None:
    """As `grid_fold`; None where an output of this shape is no grid.

    Args:
        n: number of images, of which an output T x N x C is known; None: N stands first.
    """
    if kind is not True and tokens_first(shape, n):
        batch_first = (shape[1], shape[0], shape[2])
        fold = find_fold(model, batch_first, size, seen, kind)
        return None if fold is None else lambda a: fold(a.transpose(0, 1))
    if len(size) == 3 and size[0] == 1 and len(shape) == 4:  # one frame, or slices as channels
        flat = find_fold(model, shape, size[1:], lambda: seen()._replace(grids=[]), kind, n)
        return None if flat is None else lambda a: flat(a).unsqueeze(2)
    if len(size) == 3 and kind is None and _frames_first(model, shape, size):
        return lambda a: a.movedim(2, 1)
    if len(shape) == len(size) + 2 > 3:
        order = _channels_first(model, shape, size, seen, kind)
        if order is not None and (order or not _are_pairs(model, shape, seen)):
            return (lambda a: a) if order else (lambda a: a.movedim(-1, 1))
    if len(shape) != 3:
        return None
    seen = cache(seen)  # asked several times
    order = _channels_first_of_three(model, shape, size, seen, kind)
    if order and len(size) == 1:  # a row that is much longer lies along another axis of x
        return (lambda a: a) if shape[2] <= 2 * size[0] else None
    if order:
        grids = [tuple(grid) for grid in seen().grids if len(grid) == len(size)]
        whole = next((grid for grid in grids if prod(grid) == shape[2]), None)
        return None if whole is None else lambda a: a.unflatten(2, whole)
    if _lacks_channels(model, shape, size, seen):
        return lambda a: a.unsqueeze(1)
    # N x C x 1 is pooled, and no C tokens of one channel
    found = _token_grid(model, shape[1], size, seen) if shape[1] > 0 and shape[2] > 1 else None
    if found is None:
        return None
    places, grid = found
    here = slice(places[0], places[-1] + 1) if _is_row(places) else list(places)
    return lambda a: a[:, here].unflatten(1, grid).movedim(-1, 1)


def tokens_first(shape: Sequence[int], n: int | None) -> bool:
    """Whether an output is T x N x C, as nn.TransformerEncoder gives it unless told otherwise."""
    return len(shape) == 3 and shape[1] == n != shape[0]


def skew(grid: Sequence[int], image: Sequence[int]) -> float:
    """How far h x w is from a shrunken H x W: |log| of the ratio of the strides along the sides."""
    strides = [log(whole / part) for whole, part in zip(image, grid)]
    return max(strides) - min(strides)


def _frames_first(model: nn.Module, shape: Sequence[int], size: Sequence[int]) -> bool:
    """Whether N x . x . x h x w is N x T x C x h x w, as 2-D layers leave a video's frames."""
    frames = len(shape) == 5 and shape[1] == size[0] != shape[2]
    return frames and isinstance(first_convolution(model), nn.Conv2d)


def _channels_first(
    model: nn.Module, shape: Sequence[int], size: Sequence[int], seen: Callable[[], Seen],
    kind: bool | None,
) -> bool | None:  # fmt: skip
    """Whether N x . x . x . is N x C x h x w or N x h x w x C; None when it is neither.

    Where the layer's kind does not tell, both can look possible (56 x 56 x 96): the reading with
    the more equal strides is taken, unless another was seen. As small grids are rounded, strides
    that differ by less than a quarter pass for channels first, PyTorch's rule, except in the
    families known for the other order. The stride along a volume's depth is its own: its height and
    width are compared.
    """
    if kind:  # also where the network itself stretches the image to a square
        return True
    first, last = (skew(grid[-2:], size[-2:]) for grid in (shape[2:], shape[1:-1]))
    if kind is None and first < last:
        return True
    known = _order_seen(seen) if kind is None else kind
    if len(size) == 2 and last >= log(2):
        return known or None
    if known is not None:
        return known
    deeper = len(size) == 3 and shape[2] > size[0]  # than the volume: no depth
    alike = first == last or (first < 0.25 and not deeper)
    return alike and not hands_on_channels_last(model)


def _are_pairs(model: nn.Module, shape: Sequence[int], seen: Callable[[], Seen]) -> bool:
    """Whether N x T x T x C are pairs of places, as in a relation network: T is how many the last
    grid of another size had."""
    t = shape[1]
    if len(shape) != 4 or t != shape[2] or is_of_a_library(model):
        return False
    return prod(next((grid for grid in seen().grids if tuple(grid) != (t, t)), ())) == t


def _order_seen(seen: Callable[[], Seen]) -> bool | None:
    """Which order was seen; None, too, where a network does not bear to be watched."""
    try:
        return seen().channels_first
    except Exception:
        return None


def _channels_first_of_three(
    model: nn.Module, shape: Sequence[int], size: Sequence[int], seen: Callable[[], Seen],
    kind: bool | None,
) -> bool:  # fmt: skip
    """Whether N x . x . is N x C x T, places in a row as nn.Conv1d reads them, or N x T x C."""
    if kind or len(size) == 2 and _is_flat(model, shape, seen):
        return True
    if kind is not None:
        return kind
    if len(size) > 1 and _prefix_tokens(model) is not None:
        return False
    known = seen().channels_first
    if known is not None or len(size) > 1:
        return bool(known)
    lengths = {grid[0] for grid in seen().grids if len(grid) == 1} or {size[0]}
    if shape[2] not in lengths and {shape[1], shape[1] - 1} & lengths:  # a class token
        return False
    # only padding makes a signal longer
    return shape[2] <= size[0] or shape[1] > size[0] or shape[2] in lengths


def _is_flat(model: nn.Module, shape: Sequence[int], seen: Callable[[], Seen]) -> bool:
    """Whether N x . x . is N x C x hw of the grid before, whose places a linear layer may mix."""
    if shape[1] == shape[2] or is_of_a_library(model) or _prefix_tokens(model) is not None:
        return False
    return tuple(shape[1:]) == seen().flat


def _lacks_channels(
    model: nn.Module, shape: Sequence[int], size: Sequence[int], seen: Callable[[], Seen]
) -> bool:
    """Whether N x . x . is N x h x w, a grid whose only channel was taken away, and no tokens.

    Then the grid before has these sides, and none as many places as there would be tokens.
    """
    sides = tuple(shape[1:])
    if len(size) != 2 or min(sides) < 2 or skew(sides, size) >= log(2) or is_of_a_library(model):
        return False
    grids = [tuple(grid) for grid in seen().grids]
    return grids[:1] == [sides] and sides[0] not in map(prod, grids)


def _prefix_tokens(model: nn.Module) -> int | None:
    """How many tokens stand before the image's: class token, registers. None when unknown."""
    known = stated(model, "num_prefix_tokens")  # timm's name for it
    class_token = stated(model, "class_token")  # torchvision's
    if known is None and isinstance(class_token, Tensor):
        known = class_token.shape[-2] if class_token.dim() > 1 else 1  # 1 x T x C, T x C or C
    return known if isinstance(known, int) else None


def _of_the_images_shape(tokens: int, size: Sequence[int]) -> tuple[int, ...] | None:
    """h x w for so many tokens, in the proportions of an H x W image; of a cube, a cube."""
    if len(size) == 3 and len(set(size)) == 1:
        side = round(max(0, tokens) ** (1 / 3))
        return (side,) * 3 if side**3 == tokens > 1 else None
    if len(size) != 2:
        return None
    h = round((max(0, tokens) * size[0] / size[1]) ** 0.5)
    if h > 0 and tokens % h == 0 and skew((h, tokens // h), size) < log(2):
        return h, tokens // h
    return None


def _is_row(places: Sequence[int]) -> bool:
    """Whether tokens stand one behind the other."""
    return places[-1] - places[0] < len(places)


def _token_grid(
    model: nn.Module, tokens: int, size: Sequence[int], seen: Callable[[], Seen]
) -> tuple[Sequence[int], tuple[int, ...]] | None:
    """Which tokens are the image's, and their grid.

    A ViT itself says the first, and its grid has the image's proportions. In a wrapper, which may
    resize the image, the grid is that of the patches: the output of an earlier layer. Where class
    token, queries or text may stand behind or between, it was seen which tokens are the image's.
    """
    own = _prefix_tokens(model)
    grid = None if own is None else _of_the_images_shape(tokens - own, size)
    if own is not None and grid is not None and is_of_a_library(model):
        return range(own, tokens), grid
    watched = seen()
    placed = watched.image_tokens
    if placed.get(tokens) == []:
        return None
    if own is not None and grid is not None:
        return range(own, tokens), grid
    known = next((n for n in map(_prefix_tokens, model.modules()) if n is not None), None)
    image = placed.get(tokens, range(tokens))
    grids = [tuple(grid) for grid in watched.grids if len(grid) == len(size) and min(grid) > 1]
    if len(size) == 1 and not grids:  # nothing shortens a sequence
        grids = [tuple(size)]
    whole = next((grid for grid in grids if prod(grid) == len(image)), None)
    if whole is not None and tokens in placed:
        return image, whole
    image = image if _is_row(image) else range(tokens)
    start, stop = image[0], image[-1] + 1
    left = _behind_others(tokens, grids, start, tokens in placed) if stop == tokens else []
    most = 0 if placed.get(tokens) == range(tokens) else MOST_PREFIX_TOKENS
    fits = [pair for pair in left if pair[0] == known]
    fits = fits or [pair for pair in left if 0 <= pair[0] <= most]
    if fits:
        prefix, grid = min(fits, key=lambda pair: pair[0])
        return range(prefix, tokens), grid
    prefixes = [0, 1][: 1 + most] if known is None else [known]
    if len(image) < tokens:
        prefixes = [start] if known in (None, start) else []
    for prefix in prefixes:
        grid = _of_the_images_shape(stop - prefix, size)
        if grid is None or (grids and not _joined(grid, grids[0], watched.tokens)):
            continue  # as of columns, queries and text, of which any number may look like a square
        if known is not None or skew(grid, size) < 0.1:
            return range(prefix, stop), grid
    return None


def _behind_others(
    tokens: int, grids: Sequence[tuple[int, ...]], least: int, seen: bool
) -> list[tuple[int, tuple[int, ...]]]:
    """Grids that may stand last among so many tokens, each with the number of those before it.

    As many as a second grid has are that grid's, as of coarser patches, unless they were seen to be
    none of the image's.
    """
    counts = [] if seen else [prod(grid) for grid in grids]
    before = [(tokens - prod(grid), grid) for grid in grids]
    return [pair for pair in before if pair[0] >= least and pair[0] not in counts]


def _joined(grid: Sequence[int], earlier: Sequence[int], counts: Iterable[int]) -> bool:
    """Whether a grid is what is left of an earlier one whose places were joined 2 x 2 (Swin).

    Rows or columns of the earlier one, joined or not, are as many as its side at most: a grid of no
    more places was joined once, or several times as the numbers of tokens between the two show.
    """
    for m in (2, 4, 8, 16, 32) if len(grid) == 2 else ():  # not known of volumes
        if all(part in (side // m, -(-side // m)) for part, side in zip(grid, earlier)):
            least, most = prod(2 * side - 1 for side in grid), 4 * prod(grid)
            once = m == 2 or prod(grid) > max(earlier)
            return once or any(least <= count <= most for count in counts)
    return False


def own_grid(reshape_transform: Callable[[Tensor], Tensor], leaf: Tensor) -> Tensor:
    """What a function of the caller's makes of the layer's output; `check_grid` looks at its shape.

    Raises:
        TypeError: the function failed.
        LayerError: it gave no tensor of floats, or a single place.
    """
    shape = " x ".join(map(str, leaf.shape))
    try:
        grid: Any = reshape_transform(leaf)
    except Exception as error:
        raise TypeError(
            f"reshape_transform= failed: {type(error).__name__}: {error}. It is called with the "
            f"layer's output alone, {shape} here."
        ) from error
    if not isinstance(grid, Tensor) or not grid.is_floating_point():
        what = f"a tensor of {grid.dtype}" if isinstance(grid, Tensor) else a_kind_of(grid)
        raise LayerError(f"reshape_transform= gave {what}, not a tensor N x C x h x w of floats.")
    if grid.dim() > 2 and prod(grid.shape[2:]) == 1:
        raise LayerError(
            f"reshape_transform= gave {' x '.join(map(str, grid.shape))}, a single place, of the "
            f"layer's {shape}: no map can be drawn. Keep the places apart, do not average them."
        )
    return grid


def check_grid(
    activations: Tensor, name: str, answer: Sequence[int], axes: int = 2, images: int = 1
) -> None:
    """Raise a LayerError unless the layer's output, read as a grid, is N x C x h x w.

    Args:
        answer: the shape of the network's output.
        images: how many there are in x.
    """
    n, exchanged = answer[0], "y.T" if len(answer) < 3 else "y.transpose(0, 1)"
    if activations.dim() == axes + 2 and len(activations) == images != n:
        bag = (
            " If the images are a bag with one answer, ask it of each: output=lambda y: "
            f"torch.cat([y] * {images}), whose evidence is {images} times as large."
        )
        boxes = (
            " If rows are of boxes, ask of one image with its boxes, and of one row at a time, the "
            "first by output=lambda y: y[:1]."
        )
        raise LayerError(
            f"The network gave {n} row{'s' * (n > 1)} for "
            f"{'one image' if images == 1 else f'{images} images'}, and must give one for each. If "
            "squeeze() or an index took the batch's axis away, give it back: output=lambda y: "
            f"y[None], of one image. If classes, or times, stand first: {exchanged}."
            f"{bag * (n == 1)}{boxes * (n > images)}"
        )
    if activations.dim() != axes + 2 or len(activations) != n:
        shape = " x ".join(map(str, activations.shape)) or "a single number"
        wanted = f"N x C x {places_in_words(axes)}"
        raise LayerError(
            f"'{name}', read as a grid, is {shape}, not {wanted} with N = {n} as in the output. "
            "Choose another layer, or pass reshape_transform= that gives such a grid."
            + " A layer that ran for some images only has no map of the others: ask about those "
            "images alone, or at a layer before."
            * (activations.dim() > 0 and len(activations) < n == images)
        )
