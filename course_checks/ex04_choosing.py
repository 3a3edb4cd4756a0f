"""Checks of assignment 4, second half: which Q to ask, and what to ask a wrong answer."""

from typing import Any

import torch
from scipy.stats import spearmanr
from torch import Tensor

from .chance import dice
from .judging import by_key, shown
from .part import Part, close

WEAK = 0.1  # strength below which a map is next to nothing, as in lecture 4


def contrasts(logits: Tensor, maps: Tensor) -> Tensor:
    """S_CE(Q) of every Q: classes x h x w."""
    pairs = maps[None] - maps[:, None]  # [Q, c]
    return (logits.softmax(dim=0)[None, :, None, None] * pairs).sum(dim=1)


def scene(rng: torch.Generator, classes: int, h: int, w: int, wanted: dict[int, Tensor]):
    """Logits and class maps in which S_CE(Q) is what is wanted for some Q, and random for the rest.

    Class 2 is predicted, class 4 the runner-up, class 1 the third.

    Args:
        wanted: Q -> h x w, for any Q but 2. Then S^Q = M - S_CE(Q), where M is the mean of
            all class maps by probability.
    """
    logits = 0.3 * torch.randn(classes, generator=rng)
    logits[2], logits[4], logits[1] = 4.0, 3.2, 2.8
    maps = torch.randn(classes, h, w, generator=rng) * 0.2
    maps[2] += torch.rand(h, w, generator=rng) * 2
    if wanted:
        p, rows = logits.softmax(dim=0), list(wanted)
        targets = torch.stack(list(wanted.values()))
        others = torch.ones(classes).index_fill(0, torch.tensor(rows), 0)
        mean = torch.einsum("c,cij->ij", p * others, maps) - torch.einsum(
            "q,qij->ij", p[rows], targets
        )
        mean = mean / (p * others).sum()
        maps[rows] = mean - targets
    return logits, maps


def _weak_map(rng: torch.Generator, h: int, w: int, places: int, peak: float) -> Tensor:
    """Negative nearly everywhere; `places` of it reach half of the peak."""
    values = -0.5 - torch.rand(h * w, generator=rng)
    chosen = torch.randperm(h * w, generator=rng)[: places + 1]
    values[chosen[:places]] = peak * (0.6 + 0.35 * torch.rand(places, generator=rng))
    values[chosen[0]] = peak
    values[chosen[places]] = 0.3 * peak  # positive, but below half
    return values.view(h, w)


def _which_cases(seed: int) -> list[tuple]:
    made = []
    for number, (h, w) in enumerate([(6, 6), (5, 7), (7, 4), (6, 5)]):
        rng = dice(seed, 30 + number)
        classes, h = 12 + 2 * number + seed % 3, h + seed % 2
        wanted = {}
        logits, maps = scene(rng, classes, h, w, {})
        grad = maps[2]
        if number != 1:  # in the second case no map is weak: the answer is -1
            spread = 5 + number
            wanted = {7: _weak_map(rng, h, w, spread, 0.05), 9: _weak_map(rng, h, w, spread, 0.09)}
            wanted |= {5: _weak_map(rng, h, w, 2, 0.01), 8: -0.1 - torch.rand(h, w, generator=rng)}
        if number == 2:
            wanted[4] = _weak_map(
                rng, h, w, spread + 3, 0.06
            )  # the near Q is the unreadable one, too
        # closest of all to Grad-CAM, but too probable to be far
        wanted |= {1: 0.9 * grad, 10: 0.9 * grad + 0.1 * torch.randn(h, w, generator=rng)}
        logits, maps = scene(dice(seed, 30 + number), classes, h, w, wanted)
        order = torch.randperm(classes, generator=rng)
        made.append((logits[order], maps[order]))
    return made


def facts(logits: Tensor, maps: Tensor, every: Tensor | None = None) -> dict[str, Any]:
    """What the choice rests on (P, probabilities, rank correlations, strengths), and the choice.

    `every`: the contrast map of each Q, classes x h x w; those of cross-entropy if left out.
    """
    p, predicted = logits.softmax(dim=0), int(logits.argmax())
    every, grad = contrasts(logits, maps) if every is None else every, maps[predicted]
    rho = [float(spearmanr(s.flatten(), grad.flatten()).statistic) for s in every]
    peaks = every.flatten(1).amax(dim=1)
    strength = (peaks.clamp(min=0) / grad.max()).tolist()
    half = [int((s >= peak / 2).sum()) if peak > 0 else 0 for s, peak in zip(every, peaks)]
    rivals = [q for q in range(len(p)) if q != predicted]
    far = [q for q in rivals if p[q] < 1 / len(p)]
    weak = [q for q in rivals if 0 < strength[q] < WEAK]
    choice = {
        "near": max(rivals, key=lambda q: p[q]),
        "far": max(far, key=lambda q: rho[q], default=-1),
        "unreadable": max(weak, key=lambda q: half[q], default=-1),
    }
    return {
        "P": predicted,
        "p": p.tolist(),
        "rho": rho,
        "strength": strength,
        "half": half,
    } | choice


def _choice(logits: Tensor, maps: Tensor) -> dict[str, int]:
    known = facts(logits, maps)
    return {key: known[key] for key in ("near", "far", "unreadable")}


def _choice_says(key: str, q: int, logits: Tensor, maps: Tensor) -> str:
    known = facts(logits, maps)
    right, classes = known[key], len(logits)
    if not -1 <= q < classes:
        return f"there is no class {q} among {classes}."
    differences = maps[known["P"]] - maps
    differences[known["P"]] = maps[known["P"]]  # in place of 0, which has no rank correlation
    confused = key != "near" and q == facts(logits, maps, differences)[key]
    hint = " So it is with the maps S^P - S^Q; the task is about those of cross-entropy." * confused
    if q == -1:
        return f"you found none, but class {right} meets the conditions.{hint}"
    if confused:
        return f"class {q} is not the one.{hint}"
    if q == known["P"]:
        return f"class {q} is P itself, the predicted class. Q has to be another one."
    if right == -1:
        return f"no class meets the conditions here, so the answer is -1; you have {q}."
    if key == "near":
        return f"class {q} has probability {known['p'][q]:.3f}; class {right} has more."
    if key == "far" and known["p"][q] >= 1 / classes:
        return f"class {q} has probability {known['p'][q]:.3f}, which is not below 1 / {classes}."
    if key == "far":
        least = min((c for c in range(classes)), key=lambda c: known["rho"][c])
        hint = " You may have looked for the lowest one, or forgotten a sign." if q == least else ""
        return (
            f"the contrast map of class {q} has rank correlation {known['rho'][q]:.2f} with"
            f" Grad-CAM; that of class {right} has {known['rho'][right]:.2f}.{hint}"
        )
    return _weak_says(q, right, known)


def _weak_says(q: int, right: int, known: dict[str, Any]) -> str:
    if known["strength"][q] == 0:
        return f"the map of class {q} has no positive part: nothing would be drawn at all."
    if known["strength"][q] >= WEAK:
        return f"class {q} has strength {known['strength'][q]:.2f}, which is not below {WEAK}."
    if known["half"][q] == known["half"][right]:
        return f"classes {right} and {q} are tied; the lower number wins."
    weakest = min((s, c) for c, s in enumerate(known["strength"]) if s > 0)[1]
    hint = " It is the weakest map, but not the most spread out." if q == weakest else ""
    return (
        f"in the map of class {q}, {known['half'][q]} places reach half of its maximum; in that of"
        f" class {right} it is {known['half'][right]}.{hint}"
    )


WHICH = Part(
    name="ex04_which",
    title="A near, a far and an unreadable Q",
    points=4,
    answer="choose_contrasts",
    cases=_which_cases,
    reference=_choice,
    judge=by_key(_choice, _choice_says),
)


def _error_cases(seed: int) -> list[tuple]:
    return [
        _error_case(seed, number, *size)
        for number, size in enumerate([(5, 5), (4, 6), (3, 7), (6, 4)])
    ]


def _error_case(seed: int, number: int, h: int, w: int) -> tuple:
    rng = dice(seed, 50 + number)
    classes, w = 6 + number + seed % 3, w + seed % 2
    logits = torch.randn(classes, generator=rng)
    order = logits.argsort(descending=True).tolist()
    while True:
        maps, truth = torch.randn(classes, h, w, generator=rng), order[2]
        if number == 1:  # nothing speaks for the truth
            maps[order[0]] = maps[truth] + 0.1 + torch.rand(h, w, generator=rng)
        if number == 3:  # no error at all
            truth = order[0]
        right = _error(logits, maps, truth)
        places = [right[key] for key in ("for error", "for truth") if right[key]]
        if all(row != column for row, column in places):  # else a swap of the two is not seen
            return logits, maps, truth


def _place(values: Tensor) -> list[int] | None:
    """Row and column of the largest value, if it is positive."""
    if not (values > 0).any():
        return None
    return [int(i) for i in torch.unravel_index(values.argmax(), values.shape)]


def _error(logits: Tensor, maps: Tensor, truth: int) -> dict[str, Any]:
    predicted = int(logits.argmax())
    difference = maps[predicted] - maps[truth]
    return {
        "predicted": predicted,
        "map": difference,
        "for error": _place(difference),
        "for truth": _place(-difference),
    }


def _error_says(key: str, got: Any, logits: Tensor, maps: Tensor, truth: int) -> str:
    right = _error(logits, maps, truth)
    known = right[key]
    if key == "predicted":
        return f"the largest logit belongs to class {known}, not to class {got}."
    if key == "map":
        wrong = {
            "P and Q are swapped: this map is positive where the evidence speaks for the truth.": (
                -known
            ),
            "keep the negative evidence: it is the other half of the answer.": known.relu(),
            "this is the cross-entropy contrast. Between two named classes, take S^P - S^Q.": (
                contrasts(logits, maps)[truth]
            ),
        }
        named = (says for says, values in wrong.items() if close(got, values, 1e-4))
        return next(named, "the numbers are not those of S^P - S^Q, with Q the true class.")
    if close(got[::-1], known, 0):
        return f"a place is [row, column]; {shown(got)} looks like [column, row]."
    if close(got, right["for truth" if key == "for error" else "for error"], 0):
        return f"{shown(got)} is the strongest place for the other class."
    return f"expected {known}, got {shown(got)}."


ERROR = Part(
    name="ex04_error",
    title="Why not the truth?",
    points=3,
    answer="explain_error",
    cases=_error_cases,
    reference=_error,
    judge=by_key(_error, _error_says),
)
