"""Checks of assignment 5, the trap: one question to the whole photo, and a measurement of it."""

import torch
from torch import Tensor

from .chance import dice
from .part import Mistake, Part


def _trap_cases(seed: int) -> list[tuple]:
    made = []
    shapes = [(4, 6), (5, 5), (3, 7), (4, 4)]
    for number, (h, w) in enumerate(shapes):
        rng = dice(seed, 10 + number)
        evidence = torch.randn(h + seed % 2, w, generator=rng)
        s = 0.3 + 0.4 * float(torch.rand(1, generator=rng).round(decimals=2))
        q = torch.rand(3 + number, generator=rng).round(decimals=2).tolist()
        if number == 1:
            evidence = -evidence.abs()  # nothing positive for q < s
        if number == 2:
            q[1] = s  # nothing at all
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


def _on_one_scale(evidence, s, q):
    maps = (torch.tensor([2 * (s - one) for one in q])[:, None, None] * evidence).relu()
    return maps / maps.max().clamp(min=1e-12)


TRAP = Part(
    name="ex05_trap",
    title="One question to the whole photo",
    points=3,
    answer="global_maps",
    cases=_trap_cases,
    reference=_global_maps,
    axes="K, h, w",
    mistakes=(
        Mistake(
            "the sign is turned round: v = dJ/ds of J = (s - q)^2 is 2 (s - q), and it is not negated.",
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
            "the maps are not divided by their maxima.",
            lambda e, s, q: (torch.tensor([2 * (s - x) for x in q])[:, None, None] * e).relu(),
        ),
        Mistake(
            "the negative part is still there: ReLU first, then the division.",
            lambda e, s, q: torch.stack(
                [_cam(2 * (s - x) * e) - _cam(-2 * (s - x) * e) for x in q]
            ),
        ),
    ),
)


def _proof_cases(seed: int) -> list[tuple]:
    made = []
    for number, (k, h, w) in enumerate([(4, 3, 5), (5, 4, 4), (3, 2, 6), (6, 3, 3)]):
        rng = dice(seed, 20 + number)
        maps = torch.rand(k + seed % 2, h, w, generator=rng)
        q = (torch.arange(k + seed % 2) / 10 + 0.1).tolist()
        s = 0.05 if number == 0 else 0.25  # in the first case no q lies below
        if number == 2:
            maps, q = maps[:2], [0.1, 0.9]  # one on each side: nothing to compare
        if number == 3:
            q[2] = s  # neither side
            maps[2] = -5  # would be the largest difference
        if number == 1:
            maps = maps[:1].expand_as(maps).clone()
            maps[-1, 0, 0] -= 0.7  # the difference that matters is negative
        order = torch.randperm(len(q), generator=rng).tolist()
        made.append((maps[order], s, [q[i] for i in order]))
    return made


def _groups(s: float, q: list[float]) -> list[list[int]]:
    return [[k for k, x in enumerate(q) if x < s], [k for k, x in enumerate(q) if x > s]]


def _largest_difference(maps: Tensor, s: float, q: list[float]) -> float:
    spread = [
        (maps[side].amax(dim=0) - maps[side].amin(dim=0)).max().item()
        for side in _groups(s, q)
        if side
    ]
    return max(spread, default=0.0)


def _from_first(maps, s, q):
    gaps = [(maps[side] - maps[side[0]]).max().item() for side in _groups(s, q) if side]
    return max(gaps, default=0.0)


PROOF = Part(
    name="ex05_proof",
    title="The trap, measured",
    points=2,
    answer="largest_difference",
    cases=_proof_cases,
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
            "maps from different sides of s are compared, too. The claim is about two q on the same "
            "side; q = s belongs to neither.",
            lambda maps, s, q: (maps.amax(dim=0) - maps.amin(dim=0)).max().item(),
        ),
        Mistake(
            "a difference may be negative: take its size before the maximum.", _from_first
        ),
    ),
    failures=(("amax", "Can it be that no q lies on one side of s? Then there is nothing to compare."),),
)  # fmt: skip
