"""Checks of ex05_image_quality, the trap: one question to the whole photo, and a measurement of
it.
"""

from itertools import combinations

import torch
from torch import Tensor

from .chance import dice
from .known import remembering
from .part import Mistake, Part

_APART = 0.015  # the least distance of a random q from s: in single precision 0.01 may be 0.00999


def _trap_cases(seed: int) -> list[tuple]:
    """Evidence of both signs; nothing positive below s; q = s among others; both signs again."""
    made = []
    shapes = [(4, 6), (5, 5), (3, 7), (4, 4)]
    for number, (h, w) in enumerate(shapes):
        rng = dice(seed, 10 + number)
        evidence = torch.randn(h + seed % 2, w, generator=rng)
        s = round(0.3 + 0.4 * float(torch.rand(1, generator=rng)), 2)
        q = [round(one, 2) for one in torch.rand(4 + number, generator=rng).tolist()]
        q = [one for one in q if abs(one - s) > _APART]
        if number == 1:
            evidence = -evidence.abs()
        if number == 2:
            q.insert(1, s)
        made.append((evidence, s, [0.0, *q, 1.0]))
    return made


def _cam(evidence: Tensor) -> Tensor:
    positive = evidence.clamp(min=0)
    return positive / positive.max() if positive.max() > 0 else positive


def _global_maps(evidence: Tensor, s: float, q: list[float]) -> Tensor:
    """By the proof rather than the formula: Grad-CAM, Counterfactual-CAM, or nothing."""
    grad, counter = _cam(evidence), _cam(-evidence)
    drawn = [grad if one < s else counter if one > s else torch.zeros_like(grad) for one in q]
    return torch.stack(drawn)


def _min_max(values: Tensor) -> Tensor:
    values = values - values.min()
    return values / values.max() if values.max() > 0 else values


def _by_largest(values: Tensor) -> Tensor:
    """Divided by the largest value, without a ReLU."""
    return values / values.max() if values.max() > 0 else values


_NO_RELU = "the negative part is still there: ReLU first, then the division."


def _on_one_scale(evidence, s, q):
    maps = (torch.tensor([2 * (s - one) for one in q])[:, None, None] * evidence).relu()
    return maps / maps.max().clamp(min=1e-12)


TRAP = Part(
    name="ex05_trap",
    visible=-1,
    title="One question to the whole photo",
    points=3,
    answer="global_maps",
    draws=_trap_cases,
    reference=_global_maps,
    axes="K, h, w",
    failures=(("'float' and 'list'", "q is a list: make a tensor of it, `torch.tensor(q)`."),),
    mistakes=(
        Mistake(
            "the sign is turned round: v = dJ/ds of J = "
            "(s - q)^2 is 2 (s - q), and it is not negated.",
            lambda e, s, q: _global_maps(-e, s, q),
        ),
        Mistake(
            "the ReLU came before the factor. For q > s the factor is negative, and what was "
            "negative evidence becomes positive.",
            lambda e, s, q: _global_maps(e.relu(), s, q),
        ),
        Mistake(
            "all maps are divided by one number. That is the cure's way; the published one divides "
            "each map by its own maximum, and you are to show what comes of it.",
            _on_one_scale,
        ),
        Mistake(
            "the maps are made of absolute values. Keep the sign until the ReLU.",
            lambda e, s, q: _global_maps(e.abs(), s, q),
        ),
        Mistake(
            "the negative places are drawn as if they were positive: ReLU, not the absolute value.",
            lambda e, s, q: torch.stack(
                [_cam((s - x) * e.abs()) + _cam((x - s) * e.abs()) for x in q]
            ),
        ),
        Mistake(
            "the loss (s - q)^2 stands where its derivative belongs, which alone has a sign.",
            lambda e, s, q: torch.stack([_cam((s - x) ** 2 * e) for x in q]),
        ),
        Mistake(
            "the smallest value was shifted to 0: divide by the maximum only, after the ReLU.",
            lambda e, s, q: torch.stack([_min_max((s - x) * e) for x in q]),
        ),
        Mistake(
            "the smallest value was shifted to 0: divide by the maximum only, after the ReLU.",
            lambda e, s, q: torch.stack([_min_max(((s - x) * e).relu()) for x in q]),
        ),
        Mistake(
            "all q get the map of the first one. Each has its own factor.",
            lambda e, s, q: _global_maps(e, s, q[:1] * len(q)),
        ),
        Mistake(
            "a map whose largest value lies below 1 was not divided by it: only 0 is left so.",
            lambda e, s, q: torch.stack(
                [(one := (2 * (s - x) * e).relu()) / one.max().clamp(min=1) for x in q]
            ),
        ),
        Mistake(
            "the maps are not divided by their maxima.",
            lambda e, s, q: (torch.tensor([2 * (s - x) for x in q])[:, None, None] * e).relu(),
        ),
        Mistake(
            _NO_RELU,
            lambda e, s, q: torch.stack(
                [_cam(2 * (s - x) * e) - _cam(-2 * (s - x) * e) for x in q]
            ),
        ),
        Mistake(
            _NO_RELU,
            lambda e, s, q: torch.stack([_by_largest(2 * (s - x) * e) for x in q]),
        ),
    ),
)


def _proof_cases(seed: int) -> list[tuple]:
    sizes = [(4, 3, 5), (6, 4, 4), (6, 2, 6), (2, 3, 4), (6, 3, 3)]
    return [_proof_case(seed, number, *size) for number, size in enumerate(sizes)]


def _proof_case(seed: int, number: int, k: int, h: int, w: int) -> tuple:
    """All q above s; maps of which one differs; two on each side; nothing to compare; a q = s.

    The two maps that differ most are placed so that each known mistake shows, or does not.
    """
    rng = dice(seed, 20 + number)
    k = k + seed % 2 * (number < 3)
    maps = 0.1 + 0.8 * torch.rand(k, h, w, generator=rng)
    q = [round(0.1 * one + 0.1, 1) for one in range(k)]
    s = 0.05 if number == 0 else 0.25  # in the first case no q lies below
    if number == 3:
        q = [0.1, 0.9]  # one on each side: nothing to compare
    if number == 4:
        q[2] = s  # neither side
    q = [q[i] for i in torch.randperm(k, generator=rng).tolist()]
    below, above = _groups(s, q)
    if number == 0:  # from the first map it is far to the higher one alone
        maps = 0.15 + 0.2 * maps
        _set_apart(maps, above[3], above[1], rng)
    if number == 1:  # the difference that matters is negative
        maps = maps[:1].expand_as(maps).clone()
        maps[above[1], 0, 0] -= 0.5 + 0.4 * float(torch.rand((), generator=rng))
    if number == 2:  # on either side, the upper one worse
        maps[below] *= 0.5
        _set_apart(maps, above[0], above[-1], rng)
    if number == 4:
        maps[q.index(s)] -= 3 + float(torch.rand((), generator=rng))  # would differ most
        _set_apart(maps, below[0], below[1], rng)
    return maps, s, q


def _set_apart(maps: Tensor, high: int, low: int, rng: torch.Generator) -> None:
    """At one place these two maps differ more than any others do."""
    at = int(torch.randint(maps[0].numel(), (), generator=rng))
    up, down = (0.07 * torch.rand(2, generator=rng)).tolist()
    maps[high].view(-1)[at], maps[low].view(-1)[at] = 0.92 + up, 0.01 + down


def _groups(s: float, q: list[float]) -> list[list[int]]:
    return [[k for k, x in enumerate(q) if x < s], [k for k, x in enumerate(q) if x > s]]


def _largest_difference(maps: Tensor, s: float, q: list[float]) -> float:
    spread = [
        (maps[side].amax(dim=0) - maps[side].amin(dim=0)).max().item()
        for side in _groups(s, q)
        if side
    ]
    return max(spread, default=0.0)


def _over_pairs(which, measure=lambda gaps: gaps.abs().amax(1), of_sides=max):
    """The largest measure over some pairs of a side, instead of over all.

    Args:
        which: how many maps a side has -> pairs of their numbers.
        measure: the differences, pairs x places -> one number for each pair.
        of_sides: of the numbers of both sides, the one that counts.
    """

    def makes(maps: Tensor, s: float, q: list[float]) -> float:
        sides = _gaps(which, maps, s, q)
        return of_sides([float(measure(gaps).max()) if len(gaps) else 0.0 for gaps in sides])

    return makes


@remembering
def _gaps(which, maps: Tensor, s: float, q: list[float]) -> list[Tensor]:
    """The differences of the pairs of either side, each pairs x places."""
    found = []
    for side in _groups(s, q):
        pairs = [(side[a], side[b]) for a, b in which(len(side))]
        gaps = [(maps[b] - maps[a]).flatten() for a, b in pairs]
        found.append(torch.stack(gaps) if gaps else torch.empty(0))
    return found


def _from_first(many: int) -> list[tuple[int, int]]:
    return [(0, one) for one in range(1, many)]


def _neighbours(many: int) -> list[tuple[int, int]]:
    return [(one - 1, one) for one in range(1, many)]


def _all_pairs(many: int) -> list[tuple[int, int]]:
    return list(combinations(range(many), 2))


def _upwards(gaps: Tensor) -> Tensor:
    return gaps.amax(1)


_NO_SIZE = "a difference may be negative: take its size before the maximum."
_FIRST = "you compared each map with the first one of its side only. Any two are meant."
_BESIDE = "you compared neighbours only. Any two maps of one side are meant."
_ONE_SIDE = "only one side of s was measured. The larger of the two sides counts."
_MEAN = "this is a mean. One place that differs is hidden by many that agree: take the largest."

PROOF = Part(
    name="ex05_proof",
    visible=-8,
    title="The trap, measured",
    points=2,
    answer="largest_difference",
    draws=_proof_cases,
    reference=_largest_difference,
    mistakes=(
        Mistake(
            "q = s belongs to no side: its map is empty, and says nothing about the claim.",
            lambda maps, s, q: _largest_difference(maps, s - 1e-6, q),
        ),
        Mistake(
            "q = s belongs to no side: its map is empty, and says nothing about the claim.",
            lambda maps, s, q: _largest_difference(maps, s + 1e-6, q),
        ),
        Mistake(
            "maps from different sides of s are compared, too. The claim is about two q on the "
            "same side; q = s belongs to neither.",
            lambda maps, s, q: (maps.amax(dim=0) - maps.amin(dim=0)).max().item(),
        ),
        Mistake(_FIRST, _over_pairs(_from_first)),
        Mistake(_NO_SIZE, _over_pairs(_from_first, lambda gaps: _upwards(gaps).clamp(min=0))),
        Mistake(_NO_SIZE, _over_pairs(_from_first, _upwards)),
        Mistake(_NO_SIZE, _over_pairs(_all_pairs, lambda gaps: _upwards(gaps).clamp(min=0))),
        Mistake(_NO_SIZE, _over_pairs(_all_pairs, _upwards)),
        Mistake(_NO_SIZE, _over_pairs(_all_pairs, lambda gaps: _upwards(-gaps))),
        Mistake(_NO_SIZE, _over_pairs(_neighbours, lambda gaps: _upwards(gaps).clamp(min=0))),
        Mistake(_BESIDE, _over_pairs(_neighbours)),
        Mistake(_ONE_SIDE, _over_pairs(_all_pairs, of_sides=min)),
        Mistake(_ONE_SIDE, _over_pairs(_all_pairs, of_sides=lambda found: found[0])),
        Mistake(_ONE_SIDE, _over_pairs(_all_pairs, of_sides=lambda found: found[1])),
        Mistake(
            "the two sides are added. The larger of them counts.",
            _over_pairs(_all_pairs, of_sides=sum),
        ),
        Mistake(_MEAN, _over_pairs(_all_pairs, lambda gaps: gaps.abs().mean(1))),
    ),
    failures=(
        ("amax", "Can it be that no q lies on one side of s? Then there is nothing to compare."),
    ),
)
