"""Cases, right answers and known mistakes of ex02_gradcam: from weights to the drawn map."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.methods.maps import positive_maps, upsample

from .chance import normal
from .part import Case, Mistake

_random = partial(normal, 15485863, 31)

# --- weights --------------------------------------------------------------------------------------


def cases_weights(seed: int) -> list[Case]:
    more = seed % 4
    shapes = (1, 4, 5, 7 + more), (3, 6 + more, 2, 4), (2, 5, 1, 6 + more)
    return [(_random(seed, *shape) * 0.1,) for shape in shapes]


def weights(gradient: Tensor) -> Tensor:
    return torch.from_numpy(gradient.double().numpy().mean(axis=(2, 3))).float()


WEIGHT_MISTAKES = (
    Mistake(
        "this is the *maximum* over the places. The weight is the mean: every place has a say.",
        lambda g: g.amax((2, 3)),
    ),
    Mistake(
        "this is the *sum* over the places. Divide by their number, or the weights grow with "
        "the "
        "size of the layer.",
        lambda g: g.sum((2, 3)),
        share=0.5,
    ),
    Mistake(
        "you averaged over the channels and kept the places: expected one number for each "
        "image "
        "and channel, (N, C).",
        lambda g: g.mean(1),
    ),
    Mistake(
        "the axis of the images is missing: (N, C) is expected for one image, too. `[0]` takes the "
        "first image, and a bare `squeeze()` drops every axis of length 1.",
        lambda g: g.mean((2, 3)).squeeze(),
    ),
    Mistake(
        "you averaged over the batch as well. Each image has weights of its own: (N, C).",
        lambda g: g.mean((0, 2, 3)),
    ),
    Mistake("only one of the two directions of the grid is averaged away.", lambda g: g.mean(3)),
    Mistake(
        "a weight may be negative: such a channel speaks against c. Keep the sign.",
        lambda g: g.abs().mean((2, 3)),
    ),
    Mistake(
        "you cut the negative gradients off before averaging; that is another method. Keep them.",
        lambda g: g.relu().mean((2, 3)),
    ),
    Mistake("a weight may be negative: no ReLU here.", lambda g: g.mean((2, 3)).relu()),
    Mistake(
        "the numbers are right. Drop the two axes of length 1: expected (N, C).",
        lambda g: g.mean((2, 3), keepdim=True),
        share=0.5,
    ),
)


# --- the weighted sum -----------------------------------------------------------------------------


def cases_evidence(seed: int) -> list[Case]:
    """The last layer has negative activations, as layers without a ReLU have."""
    more = seed % 3
    shapes = (1, 5 + more, 4, 6), (3, 4, 5 + more, 5 + more), (2, 1, 3, 2 + more)
    cases = [(_random(seed, *shape).abs(), _random(seed + 1, *shape[:2])) for shape in shapes]
    return [*cases, (_random(seed + 2, 2, 4, 3, 3 + more), _random(seed + 1, 2, 4))]


def evidence(A: Tensor, alpha: Tensor) -> Tensor:
    """As a product of matrices, in double precision."""
    n, channels, h, w = A.shape
    rows = alpha.double()[:, None] @ A.double().reshape(n, channels, h * w)
    return rows.reshape(n, h, w).float()


def _terms(A: Tensor, alpha: Tensor) -> Tensor:
    return alpha[:, :, None, None] * A


EVIDENCE_MISTAKES = (
    Mistake(
        "no ReLU yet: S is the *signed* map. The negative places are needed in exercise 3.",
        lambda A, alpha: evidence(A, alpha).relu(),
        share=0.5,
    ),
    Mistake(
        "you cut each channel's share at zero *before* the sum. Channels that speak against c "
        "must "
        "be able to lower the sum.",
        lambda A, alpha: _terms(A, alpha).relu().sum(1),
    ),
    Mistake(
        "this is the *mean* over the channels. Sum them: only the sum adds up to the logit.",
        lambda A, alpha: _terms(A, alpha).mean(1),
        share=0.5,
    ),
    Mistake(
        "the weights are missing: the sum of the feature maps belongs to no class.",
        lambda A, alpha: A.sum(1),
    ),
    Mistake(
        "the negative activations are gone: not every layer ends with a ReLU. Multiply A as it is.",
        lambda A, alpha: evidence(A.relu(), alpha),
    ),
    Mistake("the weights have lost their sign.", lambda A, alpha: evidence(A, alpha.abs())),
    Mistake(
        "you summed over the images as well: each has a map of its own.",
        lambda A, alpha: evidence(A, alpha).sum(0),
    ),
    Mistake(
        "you used the first image's weights for all images.",
        lambda A, alpha: evidence(A, alpha[:1].expand_as(alpha)),
    ),
    Mistake(
        "these are the weighted feature maps; they still have to be summed over the channels.",
        _terms,
        share=0.3,
    ),
)


# --- from the small map to the drawn one ----------------------------------------------------------


def cases_map(seed: int) -> list[Case]:
    """A batch with a faint map, all of it below 1, and an empty one; a single map; one without any
    evidence; one that is positive everywhere."""
    more = seed % 3
    batch = _random(seed, 3, 4, 5 + more) * torch.tensor([1.0, 5.0, 0.2])[:, None, None]
    batch[seed % 2] = -batch[seed % 2].abs()
    none = torch.zeros(1, 2 + more, 3)
    two = _random(seed, 2, 7, 7)
    two[1] = two[1].abs() + 0.5
    return [
        (_random(seed, 1, 3, 3 + more), (24, 24)),
        (batch, (32, 40 + 3 * more)),
        (none, (12, 18)),
        (two, (30 + more, 52)),
    ]


def _divided(large: Tensor) -> Tensor:
    largest = large.amax((1, 2), keepdim=True)
    return torch.where(largest > 0, large / largest.where(largest > 0, 1), 0)


def _enlarged(S: Tensor, size, **how) -> Tensor:
    return F.interpolate(S.relu()[:, None], size=tuple(size), **how)[:, 0]


def _min_max(S: Tensor, size) -> Tensor:
    large = upsample(S, size)
    low, high = large.amin((1, 2), keepdim=True), large.amax((1, 2), keepdim=True)
    return (large - low) / (high - low).where(high > low, 1)


def _batch_max(S: Tensor, size) -> Tensor:
    large = upsample(S.relu(), size)
    return large / large.max() if large.max() > 0 else large


MAP_FAILURES = (
    (
        "spatial dimensions",
        "`F.interpolate` reads the axes as images, channels, height, width. Lend the maps an axis "
        "of length 1 for the channels: `S[:, None]`, and take it away afterwards: `[:, 0]`.",
    ),
    (
        "got 3D input",
        "`F.interpolate` wants images, channels, height, "
        "width: lend the maps an axis for the channels.",
    ),
)
MAP_MISTAKES = (
    Mistake(
        "you enlarged first and cut at zero afterwards: then negative places eat their "
        "positive "
        "neighbours. ReLU first.",
        lambda S, size: _divided(upsample(S, size).relu()),
    ),
    Mistake(
        "this is `align_corners=True`, which stretches the grid so that its outer places lie "
        "on the "
        "picture's edge. Each place covers an equal "
        "part of the picture: `align_corners=False`.",
        lambda S, size: _divided(_enlarged(S, size, mode="bilinear", align_corners=True)),
        share=0.5,
    ),
    Mistake(
        "these are blocks: the nearest place, repeated. Enlarge bilinearly.",
        lambda S, size: _divided(_enlarged(S, size, mode="nearest")),
        share=0.5,
    ),
    Mistake(
        "this is bicubic: it swings below zero beside a peak. Enlarge bilinearly.",
        lambda S, size: _divided(_enlarged(S, size, mode="bicubic", align_corners=False)),
    ),
    Mistake(
        "you divided by one maximum for the whole batch: a strong map makes its neighbour "
        "pale. Each "
        "map has its own.",
        _batch_max,
        share=0.5,
    ),
    Mistake(
        "you divided by the maximum of the *small* map; enlarging lowers the peaks. Divide last.",
        lambda S, size: upsample(_divided(S.relu()), size),
        share=0.5,
    ),
    Mistake(
        "the division is missing: a map's largest value must be 1.",
        lambda S, size: upsample(S.relu(), size),
        share=0.5,
    ),
    Mistake(
        "a map whose largest value lies below 1 was not divided by it: only 0 is left as it is.",
        lambda S, size: (
            (large := upsample(S.relu(), size)) / large.amax((1, 2), keepdim=True).clamp(min=1)
        ),
        share=0.5,
    ),
    Mistake(
        "the smallest value was shifted to 0: a map without evidence for c would then be "
        "bright "
        "somewhere. Cut at zero instead.",
        _min_max,
    ),
    Mistake(
        "the smallest value was shifted to 0: a map that is positive everywhere would then "
        "have a dark "
        "place. Divide by the maximum only.",
        lambda S, size: _min_max(S.relu(), size),
    ),
    Mistake(
        "places that speak against c look as if they spoke for it: ReLU, not the absolute value.",
        lambda S, size: positive_maps(S.abs(), size),
    ),
    Mistake(
        "the negative places are still there: ReLU.", lambda S, size: _divided(upsample(S, size))
    ),
    Mistake(
        "height and width have changed places: size is (H, W).",
        lambda S, size: positive_maps(S, size[::-1]),
    ),
    Mistake(
        "the numbers are right; drop the axis of length 1: expected (N, H, W).",
        lambda S, size: positive_maps(S, size)[:, None],
        share=0.5,
    ),
)
