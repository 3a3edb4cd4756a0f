"""How good is an explanation? Measures with their directions and their sources.

Maps and masks may be numpy arrays or torch tensors; a map may carry negative values, and only its
positive part counts as evidence. A measure that has no answer (an empty map, a constant ranking)
returns NaN rather than a number that would flatter or blame; `average` leaves NaN out and says of
how many.
"""

import math
import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.ndimage import distance_transform_edt
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional as F

from .errors import ClassError, a_kind_of
from .methods.classes import class_indices, names_for
from .methods.diagnosis import diagnosed
from .methods.maps import as_mask
from .methods.output import Picker, the_output
from .methods.running import call, undisturbed
from .methods.scores import check_classes, class_logits, warn_of_probabilities

LEAST_MARGIN = 1.0  # logits: P is then e times as probable as Q
BATCH = 4  # pictures put to the network at once: on a CPU, 16 take a third longer and more memory


def pointing_game(evidence: ArrayLike, mask: ArrayLike, tolerance: float = 0.0) -> float:
    """Does the map's highest point fall on the part? Higher is better; 1.0 (hit) or 0.0 (miss).

    Zhang et al., Top-down neural attention by excitation backprop, IJCV 2018 (there within
    15 pixels). Average it over many images.

    Args:
        evidence: H x W map; if several points share its maximum, the game is the share of them that
            hit.
        mask: H x W booleans, True on the part.
        tolerance: how far from the part still counts, in pixels (Euclidean).

    Returns:
        1.0, 0.0 or, with ties, a share in between; NaN if the map has no positive point or the mask
        none.

    Raises:
        ValueError: the shapes differ, or the tolerance is negative.
    """
    evidence, mask = _pair(evidence, mask)
    if not tolerance >= 0:  # of NaN nothing is true
        raise ValueError(f"tolerance={tolerance} is not 0 or more pixels.")
    if evidence.max() <= 0 or not mask.any():
        return float("nan")
    near = distance_transform_edt(~mask) <= tolerance
    return float(near[evidence == evidence.max()].mean())


def energy_inside(evidence: ArrayLike, part: ArrayLike, thing: ArrayLike | None = None) -> float:
    """Share of the positive evidence that lies on the part. Higher is better; in [0, 1].

    The energy-based pointing game of Wang et al., Score-CAM, CVPR-W 2020.

    Args:
        evidence: H x W map.
        part: H x W booleans: where the evidence belongs.
        thing: H x W booleans: count only the evidence on this object, as in "of all that falls on
            the bird, how much falls on the bill?"; None counts the whole map.

    Returns:
        Sum of the positive evidence on `part` (and `thing`) over the sum on `thing`; NaN if that is
        0.

    Raises:
        ValueError: the shapes differ.
    """
    evidence, part = _pair(evidence, part)
    positive = np.maximum(evidence, 0)
    if thing is not None:
        positive = np.where(_pair(evidence, thing)[1], positive, 0)
    total = positive.sum()
    return float(positive[part].sum() / total) if total > 0 else float("nan")


def grid_pointing_game(evidence: ArrayLike, cell: tuple[int, int], cells: int = 2) -> float:
    """Share of the positive evidence that lies in the right cell of a mosaic. Higher is better.

    The localisation metric of Boehle, Fritz and Schiele, Convolutional Dynamic Alignment Networks,
    CVPR 2021: several images of different classes are put together into one, and the map of one
    class should stay in its own cell. Evidence spread evenly scores 1 / cells**2 (chance, 0.25 for
    2 x 2).

    Args:
        evidence: H x W map of the mosaic, H and W divisible by `cells`.
        cell: (row, column) of the class's image, counted from 0 at the top left.
        cells: images along each side.

    Returns:
        A share in [0, 1]; NaN if the map has no positive evidence.

    Raises:
        ValueError: no such cell, or a map that the cells do not divide evenly.
    """
    if not isinstance(cells, Integral) or cells < 1:
        raise ValueError(f"cells={cells!r} is the number of images along each side: 1, 2, ...")
    evidence = _array(evidence)
    height, width = evidence.shape
    if height % cells or width % cells:
        raise ValueError(
            f"A map of {height} x {width} cannot be cut into {cells} x {cells} equal cells."
        )
    try:
        row, column = map(operator.index, cell)
    except (TypeError, ValueError):
        raise ValueError(f"A cell is (row, column), such as (0, 1), not {cell!r}.") from None
    if not (0 <= row < cells and 0 <= column < cells):
        raise ValueError(f"There is no cell {cell} in a mosaic of {cells} x {cells}; count from 0.")
    right = np.zeros((height, width), bool)
    h, w = height // cells, width // cells
    right[row * h : (row + 1) * h, column * w : (column + 1) * w] = True
    return energy_inside(evidence, right)


def part_ranking(attributed: Sequence[float], importance: Sequence[float]) -> float:
    """Does the map rank the parts as interventions rank them? Spearman's rho; higher is better, in
    [-1, 1].

    The "single deletion" protocol of Hesse, Schaub-Meyer and Roth, FunnyBirds, ICCV 2023,
    with a part *replaced* by the other species' part instead of removed, and the margin instead of
    one logit.

    Args:
        attributed: per part, the evidence that the map puts on it (see `part_evidence`).
        importance: per part, how much y_P - y_Q falls when that part is replaced by Q's, in the
            same order.

    Returns:
        Spearman's rank correlation (ties share their rank); NaN if either ranking is constant.

    Raises:
        ValueError: different lengths, or fewer than two parts.
    """
    attributed, importance = as_floats(attributed), as_floats(importance)
    if attributed.shape != importance.shape or attributed.ndim != 1 or attributed.size < 2:
        raise ValueError(
            f"Two rankings of the same two or more parts are needed, not of {attributed.shape} and "
            f"{importance.shape}."
        )
    if np.ptp(attributed) == 0 or np.ptp(importance) == 0:
        return float("nan")
    return float(spearmanr(attributed, importance).statistic)


def part_evidence(evidence: ArrayLike, masks: dict[str, ArrayLike]) -> dict[str, float]:
    """The positive evidence on each part: dict from part to the sum of the map over its H x W mask.

    Neither higher nor lower is better: this is what `part_ranking` compares with the interventions.
    """
    if not isinstance(masks, Mapping):
        raise TypeError(f"masks is a dict from part to mask, not {a_kind_of(masks)}.")
    sums = {}
    for part, mask in masks.items():
        values, mask = _pair(evidence, mask)
        sums[part] = float(np.maximum(values, 0)[mask].sum())
    return sums


class Deletion(NamedTuple):
    """What deleting a map's region did to the margin, beside deleting random regions. In logits.

    Attributes:
        fall: how far y_P - y_Q fell; higher is better, if it is above `random`.
        random: the mean fall for random regions of equal area and shape.
        spread: the standard deviation of those falls.
        before, after: the margin y_P - y_Q, with the whole picture and with the region deleted.
    """

    fall: float
    random: float
    spread: float
    before: float
    after: float

    def __str__(self) -> str:
        if math.isnan(self.fall):
            return "The map is empty: no pixel was deleted, so that no margin falls."
        return (
            f"The margin falls by {self.fall:+.2f} logits, from {self.before:+.2f} to "
            f"{self.after:+.2f}; at random regions of equal area by {self.random:+.2f} "
            f"(standard deviation {self.spread:.2f})."
        )


def margin_between(
    model: Callable[[Tensor], Any], p: int | str, q: int | str, output: Picker | None = None
) -> Callable[[Tensor], Tensor]:
    """The margin y_P - y_Q of a network, as a function from N x 3 x H x W to N numbers.

    Args:
        model: a network from N x 3 x H x W to N x classes; it runs in evaluation mode. One logit
            is read as the classes 0 ("no") and 1 ("yes"), and `logits` are looked for in a dict or
            an object, as in `GradCAM`. Signals and volumes are pictures, too.
        p, q: P and Q, by number or name.
        output: a function from what the network returns to the logits, as in `GradCAM`.

    Raises:
        TypeError: `model` is no network, nor another function.
        (the function that is returned) ClassError: no such class, or several in place of one, or
        the output is not N x classes. ImageError: the network does not read such pictures.
    """
    if not callable(model):
        raise TypeError(f"margin_between takes a network, not {a_kind_of(model)}.")

    def margin(pictures: Tensor) -> Tensor:
        categories, network = None, isinstance(model, torch.nn.Module)
        if network:
            with undisturbed(model), diagnosed(model, pictures, None, output):
                found = the_output(model, call(model, pictures), output)
        else:
            found = output(model(pictures)) if output else model(pictures)
        check_classes(found)
        if network:
            warn_of_probabilities(model, found)
            categories = names_for(model, found)
        y = class_logits(found)
        pair = [class_indices(c, 1, y.shape[1], categories) for c in (p, q)]
        if pair[0].numel() + pair[1].numel() > 2:
            raise ClassError("A margin is between two classes: one P and one Q.")
        return y[:, int(pair[0])] - y[:, int(pair[1])]

    return margin


def contrastive_deletion(
    margin: Callable[[Tensor], Tensor], x: Tensor, evidence: ArrayLike, share: float = 0.1,
    blank: Tensor | None = None, regions: int = 20, seed: int = 0,
) -> Deletion:  # fmt: skip
    """How far does y_P - y_Q fall when the map's top pixels are removed? Higher is better.

    Read the fall beside that of random regions: the same region, moved to `regions` other places
    (what leaves the picture at one edge comes in at the other). A map that says where the margin
    comes from makes it fall by more than `random` and a few `spread`. The fall is in logits, so
    that it holds for a near Q, too, where the margin is next to 0 and no share of it means
    anything.

    Deletion is by Petsiuk, Das and Saenko, RISE, BMVC 2018; deleting for the margin between two
    classes rather than for one class follows Wang and Wang, NeurIPS 2022.

    Args:
        margin: N x 3 x H x W -> N numbers, y_P - y_Q; see `margin_between`.
        x: 3 x H x W, one picture as the network reads it; of signals C x L, of volumes
            C x D x H x W.
        evidence: H x W map (L, D x H x W); its highest pixels go (of those that tie, in reading
            order), positive ones only.
        share: of all pixels, in (0, 1]; fewer go where fewer are positive.
        blank: what removed pixels become, broadcastable to x; None: a strong blur of x, which
            leaves no hole with sharp edges for the network to see. Of whole numbers, but for
            bytes, it must be given.
        regions: how many random regions, at least 2.
        seed: of the random places.

    Returns:
        A `Deletion`; its `fall`, `random`, `spread` and `after` are NaN if the map is empty.

    Raises:
        ValueError: the map's size is not the picture's, `share` or `regions` is out of range,
            `blank` does not fit the picture or is missing, or a margin is no finite number.

    >>> print(contrastive_deletion(margin_between(network, p, q), x[0], answer.maps[0, 0]))
    """
    if not 0 < share <= 1 or not isinstance(regions, Integral) or regions < 2:
        raise ValueError(
            f"share={share} must be in (0, 1] and regions={regions} a whole number from 2."
        )
    order, rank = _ranked(x, evidence)
    mask = (rank < max(1, round(share * rank.numel()))) & torch.from_numpy(order > 0)
    masks = [torch.zeros_like(mask), mask]
    generator = np.random.default_rng(seed)
    for _ in range(regions):
        steps = [int(generator.integers(side)) for side in mask.shape]
        masks.append(mask.roll(steps, dims=list(range(mask.dim()))))
    before, after, *others = _margins(margin, x, masks, blank)
    if not mask.any():
        return Deletion(math.nan, math.nan, math.nan, before, math.nan)
    falls = before - np.array(others)
    return Deletion(
        before - after, float(falls.mean()), float(falls.std(ddof=1)), before, after
    )  # fmt: skip


def relative_deletion(
    margin: Callable[[Tensor], Tensor], x: Tensor, evidence: ArrayLike, steps: int = 16,
    until: float = 0.25, blank: Tensor | None = None,
) -> tuple[float, np.ndarray]:  # fmt: skip
    """How fast does y_P - y_Q fall, as a share of itself, under deletion? Lower is better.

    The margin is divided by its value before anything is removed, so that pictures can be averaged.
    That holds only where the margin is well above 0, at least `LEAST_MARGIN` logits. For a nearer Q
    the share explodes (-82 and +106 were seen): `contrastive_deletion` holds there, too.

    Args:
        margin, x, evidence, blank: as for `contrastive_deletion`; also pixels that are not positive
            are removed, when their turn comes.
        steps: number of removals.
        until: share of the pixels removed in the end, in (0, 1].

    Returns:
        (area, curve): the mean of the relative margin over the curve (trapezoids), and the curve
        itself, steps + 1 values that begin with 1. The area is 1 if removing changes nothing; it
        may fall below 0. Both are NaN, with a warning, if the margin begins below `LEAST_MARGIN`.

    Raises:
        ValueError: the map's size is not the picture's, `steps` or `until` is out of range, or a
            margin is no finite number.
    """
    if not isinstance(steps, Integral) or steps < 1 or not 0 < until <= 1:
        raise ValueError(
            f"steps={steps} must be a whole number from 1 and until={until} in (0, 1]."
        )
    _, rank = _ranked(x, evidence)
    removed = torch.linspace(0, until, steps + 1) * rank.numel()
    values = np.array(_margins(margin, x, [rank < n.round() for n in removed], blank))
    if values[0] < LEAST_MARGIN:
        warnings.warn(
            f"The margin y_P - y_Q begins below {LEAST_MARGIN:g} logit: as a share of it the fall "
            "means nothing, and is NaN here. Use contrastive_deletion, which answers in logits.",
            stacklevel=2,
        )
        return math.nan, np.full(steps + 1, np.nan)
    curve = values / values[0]
    return float((curve[1:] + curve[:-1]).mean() / 2), curve


def _ranked(x: Tensor, evidence: ArrayLike) -> tuple[np.ndarray, Tensor]:
    """The map as an array, and the rank of each pixel, H x W, 0 the highest."""
    if not isinstance(x, Tensor) or x.dim() not in (2, 3, 4):
        got = " x ".join(map(str, x.shape)) if isinstance(x, Tensor) else a_kind_of(x)
        such = "as x[0] of a batch" if isinstance(x, Tensor) else "as torch.from_numpy(x) makes"
        raise ValueError(f"x is {got}; one picture, a tensor C x H x W, is needed, {such}.")
    values = _array(evidence, (1, 2, 3))
    if values.ndim != x.dim() - 1:
        got = " x ".join(map(str, x.shape))
        one = " Of a batch give one, such as x[0]." * (values.shape == x.shape[2:])
        raise ValueError(
            f"x is {got}, and the map {values.shape}: one picture C x H x W and its map H x W are "
            f"needed (of signals C x L and L, of volumes C x D x H x W and D x H x W).{one}"
        )
    if values.shape != tuple(x.shape[1:]):
        raise ValueError(
            f"A map of {values.shape} cannot order the pixels of {tuple(x.shape[1:])}: bring it "
            "to the picture's size first, as an Explanation's .maps are."
        )
    rank = np.empty(values.size, int)
    rank[np.argsort(-values, axis=None, kind="stable")] = np.arange(values.size)
    return values, torch.from_numpy(rank).view(values.shape)


def _margins(
    margin: Callable[[Tensor], Tensor], x: Tensor, masks: list[Tensor], blank: Tensor | None
) -> list[float]:
    """The margin of the picture with each mask's pixels blanked, in batches that memory bears."""
    blank = _blurred(x) if blank is None else _filling(blank, x)
    found: list[float] = []
    with torch.no_grad():
        # even batches, so that none is of one picture: a squeeze() would take its axis away
        for some in np.array_split(np.arange(len(masks)), -(-len(masks) // BATCH)):
            pictures = torch.stack([torch.where(masks[i].to(x.device), blank, x) for i in some])
            found += _numbers_of(margin(pictures), len(some))
    if not np.isfinite(found).all():
        raise ValueError(
            "The margin of a picture is NaN or infinite: look at the picture's values and at the "
            "network's weights, and try float32 if the network runs in half precision."
        )
    return found


def _numbers_of(margins: Any, count: int) -> list[float]:
    """What a margin gave for so many pictures, as a list."""
    try:
        numbers = torch.as_tensor(margins)
        got = " x ".join(map(str, numbers.shape)) or "one"
    except (TypeError, ValueError, RuntimeError):
        numbers, got = torch.empty(0), a_kind_of(margins)
    if numbers.numel() != count:
        raise ValueError(
            f"A margin is one number for each of {count} pictures, but it gave {got}: "
            "margin_between(model, p, q) makes one of a network."
        )
    return numbers.double().flatten().tolist()


def _filling(blank: Any, x: Tensor) -> Tensor:
    """What removed pixels become, as a tensor beside x."""
    try:
        blank = torch.as_tensor(blank).to(x)
        if torch.broadcast_shapes(blank.shape, x.shape) == x.shape:
            return blank
    except (TypeError, ValueError, RuntimeError):
        pass
    got = " x ".join(map(str, getattr(blank, "shape", [repr(blank)])))
    raise ValueError(
        f"blank is {got}; give one number, a picture of x's size, or a colour, C x 1 x 1: "
        "torch.tensor(colour)[:, None, None]."
    )


def as_floats(values: Any) -> np.ndarray:
    """A list, an array or a tensor of numbers as an array of floats."""
    if isinstance(values, Tensor):
        return values.detach().cpu().double().numpy()
    try:
        return np.asarray(values, float)
    except (TypeError, ValueError):
        cure = " Of a dict: list(d.values())." * isinstance(values, Mapping)
        kind = type(values).__name__
        raise TypeError(f"A list of numbers is needed, which this {kind} is not.{cure}") from None


def average(values: Sequence[float]) -> tuple[float, int]:
    """The mean of the values that are not NaN, and how many they are. (NaN, 0) if there are
    none."""
    if isinstance(values, (list, tuple)) and any(isinstance(one, Deletion) for one in values):
        raise TypeError("A Deletion is five numbers: average one of them, [d.fall for d in ...].")
    values = as_floats(values)
    known = values[~np.isnan(values)]
    return (float(known.mean()), known.size) if known.size else (float("nan"), 0)


def _blurred(x: Tensor) -> Tensor:
    """Every pixel the mean of a window a quarter of the picture wide, clipped at the edge."""
    if x.dtype == torch.uint8:
        return _blurred(x.float()).round().to(x)
    if not x.is_floating_point():
        raise ValueError(
            f"x holds {x.dtype} values, which a blur may turn into other classes or words: say "
            "what removed pixels become, blank=0, say."
        )
    reach = max(x.shape[-1] // 8, 1)
    for axis in range(1, x.dim()):  # a box's mean is the mean of means, side by side
        rows = x.movedim(axis, -1)
        flat = rows.reshape(1, -1, rows.shape[-1])
        mean = F.avg_pool1d(flat, 2 * reach + 1, 1, reach, count_include_pad=False)
        x = mean.reshape(rows.shape).movedim(-1, axis)
    return x


def _array(values: ArrayLike, sides: Sequence[int] = (2,), what: str = "map") -> np.ndarray:
    """A map as an H x W float array; as one of several numbers of sides, where they are given."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().double().numpy()  # numpy knows no bfloat16
    if hasattr(values, "maps"):  # an Explanation
        raise TypeError("A measure reads one map, not a whole Explanation: give its .maps[0, 0].")
    values = np.asarray(values, float)
    if values.ndim not in sides or not values.size:
        kind = "one map, H x W," if what == "map" else "a mask, H x W,"
        raise ValueError(
            f"A measure reads {kind} not an array of shape {values.shape}.{_way_to_one(values)}"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"The {what} holds NaN or infinity: no measure can read it.")
    return values


def _way_to_one(values: np.ndarray) -> str:
    """How an array of other axes becomes H x W, in words."""
    if not values.size or values.ndim < 1:
        return ""
    if values.squeeze().ndim == 2:
        return " .squeeze() takes the other axes away."
    if values.ndim == 4:
        return " Pick one of several: maps[0, 0]."
    if values.ndim == 3:
        return (
            " Pick one of several: maps[0]. A volume's map and mask can be read as one row: "
            ".reshape(1, -1) of both."
        )
    return " A signal's map and mask are one row: .reshape(1, -1) of both." * (values.ndim == 1)


def _pair(evidence: ArrayLike, mask: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    swapped = str(getattr(evidence, "dtype", "")).endswith("bool")
    evidence, mask = _array(evidence), _array(mask, what="mask")
    try:
        mask = as_mask(mask)
    except ValueError as error:  # also a map in the mask's place
        order = "The map stands first, then the mask"
        said = f"{order}: here the map is one of booleans." if swapped else f"{error} ({order}.)"
        raise ValueError(said) from None
    if evidence.shape != mask.shape:
        raise ValueError(
            f"The map is {evidence.shape} and the mask {mask.shape}; "
            "bring the map to the picture's size first."
        )
    return evidence, mask
