"""Cases, right answers and known mistakes of ex03_counterfactual: the map and its two
identities.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.methods.maps import upsample

from .chance import normal
from .part import Case, Mistake

random = partial(normal, 49979687, 29)

# --- evidence against -----------------------------------------------------------------------------


def cases_against(seed: int) -> list[Case]:
    """A single image; a batch; an image in which nothing speaks against the class, beside
    another.
    """
    more = seed % 3
    empty, rising = random(seed, 2, 4, 3, 5 + more).abs(), random(seed + 1, 2, 4, 3, 5 + more)
    rising[seed % 2] = rising[seed % 2].abs()
    return [
        (random(seed, 1, 6, 4 + more, 5).abs(), random(seed + 1, 1, 6, 4 + more, 5)),
        (random(seed, 3, 5, 3, 4 + more).abs(), random(seed + 1, 3, 5, 3, 4 + more)),
        (empty, rising),
    ]


def signed(A: Tensor, gradient: Tensor) -> Tensor:
    """S by a product of matrices, in double precision."""
    n, channels, h, w = A.shape
    alpha = gradient.double().sum((2, 3)) / (h * w)
    return (alpha[:, None] @ A.double().reshape(n, channels, h * w)).reshape(n, h, w).float()


def against(A: Tensor, gradient: Tensor) -> Tensor:
    return signed(A, gradient).clamp(max=0).abs()


def _share_of_maximum(values: Tensor) -> Tensor:
    largest = values.amax((1, 2), keepdim=True)
    return values / largest.where(largest > 0, 1)


AGAINST_MISTAKES = (
    Mistake(
        "this is S itself, with its sign: negate before the ReLU, and keep what is positive.",
        signed,
    ),
    Mistake(
        "this is Grad-CAM, what speaks *for* the class: you forgot to negate.",
        lambda A, g: signed(A, g).relu(),
    ),
    Mistake(
        "everything is zero: you negated *after* the ReLU had thrown the negative places away. "
        "Negate the weights, or the sum, before it.",
        lambda A, g: -signed(A, g).relu(),
    ),
    Mistake(
        "everything is zero. After a ReLU nothing negative is left to be found, so negate "
        "before it; "
        "and pool by the mean, as a maximum over the places is hardly ever negative.",
        lambda A, g: torch.zeros_like(A[:, 0]),
    ),
    Mistake(
        "the ReLU is missing: places that speak for the class are still there, as negative values.",
        lambda A, g: -signed(A, g),
        share=0.5,
    ),
    Mistake(
        'this is 1 minus Grad-CAM: bright wherever nothing is said for the class. "Absent" '
        "does not "
        "mean the rest of the picture: negate the gradient, not the finished map.",
        lambda A, g: 1 - _share_of_maximum(signed(A, g).relu()),
    ),
    Mistake(
        "you divided by the maximum. That belongs to the drawing, and hides how much there is.",
        lambda A, g: _share_of_maximum(against(A, g)),
        share=0.5,
    ),
    Mistake(
        "you multiplied the gradient with A place by place. It has to be pooled first: one "
        "weight for "
        "each channel, the mean over its places.",
        lambda A, g: (-g * A).sum(1).relu(),
    ),
    Mistake(
        "this is the absolute value: places that speak for the class are bright, too.",
        lambda A, g: signed(A, g).abs(),
    ),
    Mistake(
        "this is Grad-CAM turned upside down. Where *nothing* is said for the class, nothing "
        "need be "
        "said against it: negate the gradient, not the finished map.",
        lambda A, g: signed(A, g).relu().amax((1, 2), keepdim=True) - signed(A, g).relu(),
    ),
    Mistake(
        "you kept only the channels that speak against the class. The others must be able to "
        "outweigh them: sum all channels, then ReLU.",
        lambda A, g: torch.einsum("nk,nkij->nij", (-g.mean((2, 3))).relu(), A),
    ),
    Mistake(
        "you cut the gradient at zero before taking its mean over the places.",
        lambda A, g: torch.einsum("nk,nkij->nij", (-g).relu().mean((2, 3)), A),
    ),
    Mistake(
        "the weight is the *mean* over the places; this is their sum.",
        lambda A, g: against(A, g) * A[0, 0].numel(),
        share=0.5,
    ),
)


# --- the two identities ---------------------------------------------------------------------------


def cases_violations(seed: int) -> list[Case]:
    """Maps that keep both identities, maps that break the second, the first, and both."""
    more = seed % 4
    S, one = (_in_steps(random(seed, *shape)) for shape in ((2, 4, 5 + more), (1, 3 + more, 6)))
    other = _in_steps(random(seed + 3, 2, 5, 3 + more))
    some = [_in_steps(random(seed + k, 3, 4 + more, 4)) for k in (0, 1, 2)]
    return [
        (S.relu(), (-S).relu(), S),
        _one_bad_place(other, seed),
        (one.relu() + 0.25, (-one).relu() + 0.25, one),
        _gaps_of_both_signs(some[0].relu(), some[1].relu(), some[2]),
    ]


def _one_bad_place(S: Tensor, seed: int) -> Case:
    """In each image too much is said against at one place, where S is negative already."""
    against = (-S).relu()
    lowest = S.flatten(1).argmin(dim=1, keepdim=True)
    amount = (1 + (seed % 7) + torch.arange(len(S))[:, None]) / 8
    return S.relu(), against.flatten(1).scatter_add(1, lowest, amount).view_as(S), S


def _gaps_of_both_signs(map_for: Tensor, map_against: Tensor, S: Tensor) -> Case:
    """The second image's largest gap is a positive one, the others' negative: elsewhere the two
    maps are exchanged."""
    gap = map_for - map_against - S
    positive = gap.amax((1, 2)) > -gap.amin((1, 2))
    turn = (positive != torch.tensor([False, True, False]))[:, None, None]
    return (
        torch.where(turn, map_against, map_for),
        torch.where(turn, map_for, map_against),
        torch.where(turn, -S, S),
    )


def _in_steps(values: Tensor) -> Tensor:
    """Rounded to 64ths, so that sums and differences are exact and a gap of 0 is 0."""
    return (64 * values).round() / 64


def violations(map_for: Tensor, map_against: Tensor, S: Tensor) -> list[Tensor]:
    """Place by place, in plain Python."""
    products, gaps = [], []
    for f, a, s in zip(*(m.flatten(1).double().tolist() for m in (map_for, map_against, S))):
        products.append(max(p * q for p, q in zip(f, a)))
        gaps.append(max(abs(p - q - r) for p, q, r in zip(f, a, s)))
    return [torch.tensor(products), torch.tensor(gaps)]


def _measured(f: Tensor, a: Tensor, S: Tensor, measure, gap: Tensor | None = None) -> list[Tensor]:
    return [
        measure((f * a).flatten(1)),
        measure((f - a - S).abs().flatten(1) if gap is None else gap.flatten(1)),
    ]


def _largest(values: Tensor) -> Tensor:
    return values.amax(1)


VIOLATION_MISTAKES = (
    Mistake(
        "this is the mean. One place that breaks the rule is hidden by many that keep it: "
        "take the "
        "largest.",
        lambda f, a, S: _measured(f, a, S, lambda v: v.mean(1)),
    ),
    Mistake(
        "the second measure is a mean. One place that breaks the rule is hidden by many that "
        "keep it: "
        "take the largest.",
        lambda f, a, S: [violations(f, a, S)[0], (f - a - S).abs().mean((1, 2))],
        share=0.5,
    ),
    Mistake(
        "this is the sum over the places: take the largest, or a larger map looks worse than a "
        "small one.",
        lambda f, a, S: _measured(f, a, S, lambda v: v.sum(1)),
    ),
    Mistake(
        "the second measure has lost its negative half: a gap of -3 is a large one. Absolute "
        "value "
        "first, then the largest.",
        lambda f, a, S: _measured(f, a, S, _largest, f - a - S),
        share=0.5,
    ),
    Mistake(
        "the second measure has lost half of its gaps: those of the other sign count, too. "
        "Absolute value first, then the largest.",
        lambda f, a, S: _measured(f, a, S, _largest, S - f + a),
        share=0.5,
    ),
    Mistake(
        "in the second measure you added the two maps. What speaks against is *taken off*: "
        "for - against.",
        lambda f, a, S: _measured(f, a, S, _largest, (f + a - S).abs()),
        share=0.5,
    ),
    Mistake(
        "in the second measure for and against have changed places.",
        lambda f, a, S: _measured(f, a, S, _largest, (a - f - S).abs()),
        share=0.5,
    ),
    Mistake(
        "the first measure is the larger map, not the product of the two.",
        lambda f, a, S: [_largest(torch.maximum(f, a).flatten(1)), violations(f, a, S)[1]],
        share=0.5,
    ),
    Mistake(
        "the first measure is the smaller of the two values; the identity is about their product.",
        lambda f, a, S: [_largest(torch.minimum(f, a).flatten(1)), violations(f, a, S)[1]],
        share=0.5,
    ),
    Mistake(
        "this counts the places that break the rule. Tell how *far* the worst one breaks it.",
        lambda f, a, S: [
            (f * a > 0).flatten(1).sum(1).float(),
            (f - a != S).flatten(1).sum(1).float(),
        ],
    ),
    Mistake(
        "the second measure compares the maps' sum with |S|. The identity is about S itself: "
        "for - against - S.",
        lambda f, a, S: _measured(f, a, S, _largest, (f + a - S.abs()).abs()),
        share=0.5,
    ),
    Mistake(
        "the first measure is of the first image only: each image has its own largest product.",
        lambda f, a, S: [violations(f, a, S)[0][:1].expand(len(f)), violations(f, a, S)[1]],
    ),
    Mistake(
        "you gave one number for the whole batch. Each image is measured by itself: N numbers.",
        lambda f, a, S: [v.max() for v in violations(f, a, S)],
        share=0.3,
    ),
    Mistake(
        "both measures are right, but in the other order.",
        lambda f, a, S: violations(f, a, S)[::-1],
        share=0.5,
    ),
)


# --- from two pictures back to S ------------------------------------------------------------------


def cases_rebuild(seed: int) -> list[Case]:
    """A single map; a batch; and one whose second picture is empty (its largest value is 0)."""
    more = seed % 4
    full = random(seed, 2, 3, 4 + more) + 0.1
    full[seed % 2] = full[seed % 2].abs()
    return [
        _pictures(S) for S in (random(seed, 1, 4, 3 + more), random(seed, 3, 3 + more, 5), full)
    ]


def _pictures(S: Tensor) -> Case:
    case: list[Tensor] = []
    for part in (S.relu(), (-S).relu()):
        largest = part.amax((1, 2))
        case += [part / largest.where(largest > 0, 1)[:, None, None], largest]
    return tuple(case)


def rebuild(
    drawn_for: Tensor, largest_for: Tensor, drawn_against: Tensor, largest_against: Tensor
) -> Tensor:
    """Map by map, in double precision."""
    rows = zip(
        drawn_for.double(), largest_for.tolist(), drawn_against.double(), largest_against.tolist()
    )
    return torch.stack([f * m - a * n for f, m, a, n in rows]).float()


def _scaled(values: Tensor, largest: Tensor) -> Tensor:
    return values * largest[:, None, None]


REBUILD_MISTAKES = (
    Mistake(
        "each picture was divided by its own maximum. Multiply by it again before you "
        "subtract, or "
        "a whisper counts as much as a shout.",
        lambda f, m, a, n: f - a,
    ),
    Mistake(
        "what speaks against comes out positive. Take it off, and keep its sign.",
        lambda f, m, a, n: _scaled(f, m) + _scaled(a, n),
    ),
    Mistake(
        "for and against have changed places: your map has the wrong sign.",
        lambda f, m, a, n: _scaled(a, n) - _scaled(f, m),
    ),
    Mistake(
        "you used the maximum of what speaks for on both pictures: each has its own.",
        lambda f, m, a, n: _scaled(f - a, m),
    ),
    Mistake("the maxima have changed places.", lambda f, m, a, n: _scaled(f, n) - _scaled(a, m)),
    Mistake(
        "you used the first image's maxima for all images.",
        lambda f, m, a, n: _scaled(f, m[:1].expand_as(m)) - _scaled(a, n[:1].expand_as(n)),
    ),
)


# --- the control ----------------------------------------------------------------------------------


def cases_control(seed: int) -> list[Case]:
    """Evidence of both signs, all of it below 1; a batch on two scales; no evidence at all.

    The largest evidence lies inside the grid, where enlarging lowers a peak.
    """
    more = seed % 3
    batch = random(seed, 2, 4, 3 + more) * torch.tensor([1.0, 6.0])[:, None, None]
    return [
        (_peak_inside(random(seed, 1, 3, 4 + more)) / 8, (16, 22)),
        (_peak_inside(batch), (21 + more, 16)),
        (torch.zeros(2, 3, 2 + more), (9, 8)),
    ]


def _peak_inside(S: Tensor) -> Tensor:
    made = S.clone()
    made[:, 1, 1] = -1.3 * S.abs().amax((1, 2))
    return made


def _turned(large: Tensor) -> Tensor:
    largest = large.amax((1, 2), keepdim=True)
    return 1 - large / largest.where(largest > 0, 1)


def _largest_or_one(large: Tensor) -> Tensor:
    largest = large.amax((1, 2), keepdim=True)
    return largest.where(largest > 0, 1)


def control(S: Tensor, size: tuple[int, int]) -> Tensor:
    return _turned(upsample(S.double(), size).abs()).float()


def _by_small_maximum(S: Tensor, size, maximum) -> Tensor:
    """Divided by the largest value before enlarging."""
    largest = maximum(S)
    return 1 - upsample(S, size).abs() / largest.where(largest > 0, 1)


def _enlarged_by(S: Tensor, size, **how) -> Tensor:
    return _turned(F.interpolate(S[:, None], size=tuple(size), **how)[:, 0].abs())


def _batch_scale(S: Tensor, size) -> Tensor:
    large = upsample(S, size).abs()
    return 1 - large / (large.max() if large.max() > 0 else 1)


CONTROL_MISTAKES = (
    Mistake(
        "you took the absolute value before enlarging. Between a place for and a place "
        "against, the "
        "enlarged evidence passes through zero: enlarge "
        "with the sign, then take the absolute value.",
        lambda S, size: _turned(upsample(S.abs(), size)),
        share=0.5,
    ),
    Mistake(
        "this is bright where *much* is said. Turn it round: 1 where nothing is said.",
        lambda S, size: 1 - control(S, size),
        share=0.3,
    ),
    Mistake(
        "you cut the negative places off, so that evidence against looks like none at all. "
        "Use the "
        "absolute value of S.",
        lambda S, size: _turned(upsample(S, size).relu()),
    ),
    Mistake(
        "you cut the negative places off before enlarging, so that evidence against looks "
        "like none "
        "at all. Enlarge with the sign, then take the absolute value.",
        lambda S, size: _turned(upsample(S.relu(), size)),
    ),
    Mistake(
        "negative places come out above 1: use the absolute value of S.",
        lambda S, size: _turned(upsample(S, size)),
    ),
    Mistake(
        "you divided by one maximum for the whole batch: each image has its own.",
        _batch_scale,
        share=0.5,
    ),
    Mistake(
        "you divided by the largest |S| of the *small* map. Enlarging lowers the peaks: "
        "divide by the "
        "largest absolute value of the enlarged map, "
        "so that its strongest pixel comes out as 0.",
        lambda S, size: _by_small_maximum(S, size, lambda m: m.abs().amax((1, 2), keepdim=True)),
        share=0.5,
    ),
    Mistake(
        "you divided by the largest value with its sign. The largest *absolute* value is meant.",
        lambda S, size: 1 - upsample(S, size).abs() / _largest_or_one(upsample(S, size)),
    ),
    Mistake(
        "this is `align_corners=True`, which stretches the grid to the picture's edge. "
        "`align_corners=False`.",
        lambda S, size: _enlarged_by(S, size, mode="bilinear", align_corners=True),
        share=0.5,
    ),
    Mistake(
        "these are blocks: the nearest place, repeated. Enlarge bilinearly.",
        lambda S, size: _enlarged_by(S, size, mode="nearest"),
        share=0.5,
    ),
    Mistake(
        "this is bicubic: it swings beyond the values that are there. Enlarge bilinearly.",
        lambda S, size: _enlarged_by(S, size, mode="bicubic", align_corners=False),
    ),
    Mistake(
        "evidence below 1 was not divided: only a largest value of 0 is left as it is.",
        lambda S, size: (
            1 - (large := upsample(S, size).abs()) / large.amax((1, 2), keepdim=True).clamp(min=1)
        ),
    ),
    Mistake(
        "you squared the evidence; its absolute value is meant.",
        lambda S, size: _turned(upsample(S, size).square()),
    ),
    Mistake(
        "the division is missing: the place where most is said must come out as 0.",
        lambda S, size: 1 - upsample(S, size).abs(),
    ),
)
