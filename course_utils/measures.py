"""How good is an explanation? Measures with their directions and their sources.

Maps and masks may be numpy arrays or torch tensors; a map may carry negative values, and only its
positive part counts as evidence. A measure that has no answer (an empty map, a constant ranking)
returns NaN rather than a number that would flatter or blame; `average` leaves NaN out and says of
how many.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.ndimage import distance_transform_edt
from scipy.stats import spearmanr
from torch import Tensor


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
    if tolerance < 0:
        raise ValueError(f"tolerance={tolerance} is negative; give pixels, 0 or more.")
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
    evidence = _array(evidence)
    height, width = evidence.shape
    if height % cells or width % cells:
        raise ValueError(
            f"A map of {height} x {width} cannot be cut into {cells} x {cells} equal cells."
        )
    row, column = cell
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
    attributed, importance = np.asarray(attributed, float), np.asarray(importance, float)
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
    sums = {}
    for part, mask in masks.items():
        values, mask = _pair(evidence, mask)
        sums[part] = float(np.maximum(values, 0)[mask].sum())
    return sums


def contrastive_deletion(
    margin: Callable[[Tensor], Tensor], x: Tensor, evidence: ArrayLike, steps: int = 16,
    until: float = 0.25, blank: Tensor | None = None,
) -> tuple[float, np.ndarray]:  # fmt: skip
    """How fast does y_P - y_Q fall as the map's top pixels are removed? Lower is better.

    Deletion is by Petsiuk, Das and Saenko, RISE, BMVC 2018; deleting for the margin between
    two classes rather than for one class follows Wang and Wang, NeurIPS 2022. The margin is divided
    by its value before anything is removed, so that pictures can be averaged.

    Args:
        margin: N x 3 x H x W -> N numbers, y_P - y_Q.
        x: 3 x H x W, one picture as the network reads it.
        evidence: H x W map; its highest pixels go first (those that tie, in reading order).
        steps: number of removals.
        until: share of the pixels removed in the end, in (0, 1].
        blank: what removed pixels become, broadcastable to x; None: a strong blur of x, which
            leaves no hole with sharp edges for the network to see.

    Returns:
        (area, curve): the mean of the relative margin over the curve (trapezoids), and the curve
        itself, steps + 1 values that begin with 1. The area is 1 if removing changes nothing; it
        may fall below 0.
        Both are NaN if the margin is not positive to begin with: Q is preferred, there is nothing
            to delete.

    Raises:
        ValueError: the map's size is not the picture's, or `steps` or `until` is out of range.
    """
    order = _array(evidence)
    if order.shape != tuple(x.shape[-2:]):
        raise ValueError(
            f"A map of {order.shape} cannot order the pixels of {tuple(x.shape[-2:])}."
        )
    if steps < 1 or not 0 < until <= 1:
        raise ValueError(f"steps={steps} must be at least 1 and until={until} in (0, 1].")
    if blank is None:
        blank = _blurred(x)
    rank = np.empty(order.size, int)
    rank[np.argsort(-order, axis=None, kind="stable")] = np.arange(order.size)
    rank = torch.from_numpy(rank).view(order.shape)
    removed = torch.linspace(0, until, steps + 1) * order.size
    with torch.no_grad():
        pictures = torch.stack([torch.where(rank < n.round(), blank, x) for n in removed])
        values = margin(pictures).double().cpu().numpy()
    if values[0] <= 0:
        return float("nan"), np.full(steps + 1, np.nan)
    curve = values / values[0]
    return float((curve[1:] + curve[:-1]).mean() / 2), curve


def average(values: Sequence[float]) -> tuple[float, int]:
    """The mean of the values that are not NaN, and how many they are. (NaN, 0) if there are
    none."""
    values = np.asarray(values, float)
    known = values[~np.isnan(values)]
    return (float(known.mean()), known.size) if known.size else (float("nan"), 0)


def _blurred(x: Tensor) -> Tensor:
    """Every pixel the mean of a window a quarter of the picture wide, clipped at the edge."""
    reach = max(x.shape[-1] // 8, 1)
    return torch.nn.functional.avg_pool2d(
        x[None], 2 * reach + 1, stride=1, padding=reach, count_include_pad=False
    )[0]


def _array(values: ArrayLike) -> np.ndarray:
    """A map as an H x W float array."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    values = np.asarray(values, float)
    if values.ndim != 2:
        raise ValueError(f"A measure reads one map, H x W, not an array of shape {values.shape}.")
    if np.isnan(values).any():
        raise ValueError("The map holds NaN: no measure can read it.")
    return values


def _pair(evidence: ArrayLike, mask: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    evidence, mask = _array(evidence), _array(mask) > 0
    if evidence.shape != mask.shape:
        raise ValueError(
            f"The map is {evidence.shape} and the mask {mask.shape}; bring the map to the picture's size first."
        )
    return evidence, mask
