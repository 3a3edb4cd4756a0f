"""Checks of ex04_contrast: which Q to ask, and what to ask a wrong answer."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from scipy.ndimage import label
from torch import Tensor

from .chance import dice
from .comparing import shown
from .known import remembering
from .part import Mistake, Part

WEAK = 0.1  # strength below which a map is next to nothing, as in lecture 4


@remembering
def contrasts(logits: Tensor, maps: Tensor) -> Tensor:
    """S_CE(Q) of every Q: classes x h x w."""
    pairs = maps[None] - maps[:, None]  # [Q, c]
    return (logits.softmax(dim=0)[None, :, None, None] * pairs).sum(dim=1)


def scene(rng: torch.Generator, classes: int, h: int, w: int, wanted: dict[int, Tensor]):
    """Logits and class maps in which S_CE(Q) is what is wanted for some Q, and random for the rest.

    Class 2 is predicted, class 4 the runner-up, class 1 the third.

    Args:
        wanted: Q -> h x w. Then S^Q = M - S_CE(Q), where M is the mean of all class maps by
            probability. Of 2 it is M that is made to fit, by the map of 4, which has none then.
    """
    logits = 0.3 * torch.randn(classes, generator=rng)
    logits[2], logits[4], logits[1], logits[0] = 4.0, 3.2, 2.8, -2.0
    logits[10] = 1.5  # below the mean probability, 1 / classes, but above most
    logits[17] = logits[18] = -1.0
    maps = torch.randn(classes, h, w, generator=rng) * 0.2
    maps[2] += torch.rand(h, w, generator=rng) * 2 - 0.9
    if wanted:
        p, rows = logits.softmax(dim=0), [q for q in wanted if q != 2]
        targets = torch.stack([wanted[q] for q in rows])
        others = torch.ones(classes).index_fill(0, torch.tensor(rows), 0)
        mean = torch.einsum("c,cij->ij", p * others, maps) - torch.einsum(
            "q,qij->ij", p[rows], targets
        )
        mean = mean / (p * others).sum()
        if 2 in wanted:
            change = maps[2] + wanted[2] - mean
            maps[4] += change * (p * others).sum() / p[4]
            mean = mean + change
        maps[rows] = mean - targets
    return logits, maps


def _weak_map(
    rng: torch.Generator, h: int, w: int, peak: float, half: int, low: int = 1, apart: bool = False
) -> Tensor:
    """Negative nearly everywhere; `half` places reach half of the peak, `low` more are positive.

    Args:
        apart: the places that reach half of the peak lie in as many pieces; else in one.
    """
    values = -0.5 - torch.rand(h * w, generator=rng)
    order = torch.randperm(h * w, generator=rng)
    if apart:  # no two of every second place in every second row touch
        grid = torch.arange(h * w).view(h, w)[::2, ::2].flatten()
        chosen = grid[torch.randperm(len(grid), generator=rng)[:half]]
    else:
        start = int(torch.randint(h * w - half, (1,), generator=rng))
        chosen = torch.arange(start, start + half)
    rest = order[~torch.isin(order, chosen)]
    values[chosen] = peak * (0.6 + 0.35 * torch.rand(half, generator=rng))
    values[chosen[0]] = peak
    values[rest[:low]] = peak * (0.1 + 0.3 * torch.rand(low, generator=rng))
    return values.view(h, w)


def _bent(values: Tensor) -> Tensor:
    """Of the same ranks, but less like them by its values."""
    return torch.where(values > 0, 3 * values, values / 2)


def _which_cases(seed: int) -> list[tuple]:
    return [
        _which_case(seed, number, *size)
        for number, size in enumerate([(6, 6), (5, 7), (7, 4), (6, 5)])
    ]


def _which_case(seed: int, number: int, h: int, w: int) -> tuple:
    """Several Q that come second for one reason each; in case 1 no map is weak (the answer is
    -1), but one is empty.
    """
    rng = dice(seed, 30 + number)
    classes, h = 20 + 2 * number + seed % 3, h + seed % 2
    _, maps = scene(rng, classes, h, w, {})
    grad, noise = maps[2], torch.randn(3, h, w, generator=rng)
    wanted = {
        1: 0.9 * grad,  # closest of all to Grad-CAM, but too probable to be far
        6: -0.9 * grad,  # turned over
        10: _bent(grad + 0.05 * noise[0]),  # far
        17: _bent(grad + 0.1 * noise[1]),  # second, and less probable
        18: 0.9 * grad + 0.15 * noise[2],  # closer by its values
        11: torch.where(grad > 0, grad, -torch.rand(h, w, generator=rng)),  # only drawn alike
        8: -0.02 - 0.05 * torch.rand(h, w, generator=rng),  # nothing positive
    }
    wanted |= _weak_maps(rng, grad, number)
    logits, maps = scene(dice(seed, 30 + number), classes, h, w, wanted)
    order = torch.randperm(classes, generator=rng).tolist()
    places = sorted(map(order.index, (19, 4, 7, 9)))
    for place, q in zip(places, (19, 4, 7, 9)):  # the answer is never the first weak one
        order[place] = q
    return logits[order], 3 * maps[order]  # so that a peak is not a strength by itself


def _weak_maps(rng: torch.Generator, grad: Tensor, number: int) -> dict[int, Tensor]:
    """The maps of case `number` that are weak, or nearly; strengths are of Grad-CAM's map."""
    (h, w), spread, wanted = grad.shape, 5 + number, {}

    def weak(strength: float, half: int, **how) -> Tensor:
        return _weak_map(rng, h, w, strength * grad.max().item(), half, **how)

    if number != 1:
        wanted |= {
            7: weak(0.08, spread),
            9: weak(0.04, spread),
            3: weak(0.07, 2, low=spread + 5),  # pale in more places
            5: _weak_map(rng, h, w, 0.02, 3, apart=True),  # in more pieces
            12: _weak_map(rng, h, w, 0.01, 2),  # weaker
            0: weak(0.095, 3),  # stronger
            14: _weak_map(rng, h, w, 0.025, 4),  # the largest of those whose peak is below 0.1
            15: weak(0.05, 1),  # smaller
            16: -0.5 - torch.rand(h, w, generator=rng),  # the lowest: and of a large size
            19: weak(0.035, 4),  # the first
        }
    if number == 2:  # the near Q is the unreadable one, too
        wanted[4] = weak(0.06, spread + 3)
    if number == 0:  # P's own map is weak, too, and pale in more places
        wanted[2] = weak(0.06, spread + 3)
    wanted[13] = weak(0.12, 9 + number)  # pale in the most places, but not weak
    return wanted


@dataclass(frozen=True)
class _Rules:
    """The three choices, with one of their rules changed.

    `strength`, `spread` and `rho`: (K contrast maps, Grad-CAM's map) -> K numbers.
    """

    maps: Callable[[Tensor, Tensor], Tensor]
    strength: Callable[[Tensor, Tensor], Tensor]
    spread: Callable[[Tensor, Tensor], Tensor]
    rho: Callable[[Tensor, Tensor], Tensor]
    every_p: bool = False  # for far, whatever its probability
    every_strength: bool = False  # for unreadable, however strong
    with_p: bool = False  # P takes part
    last: bool = False  # of equals the higher number wins

    def choose(self, logits: Tensor, maps: Tensor) -> dict[str, int]:
        every, grad = self.maps(logits, maps), _of_predicted(logits, maps)
        who = logits, self.with_p, self.last
        return {
            "near": _near(*who),
            "far": _far(*who, self.rho, every, grad, self.every_p),
            "unreadable": _unreadable(
                *who, self.strength, self.spread, every, grad, self.every_strength
            ),
        }


# each choice is remembered: a changed rule changes one of them


@remembering
def _near(logits: Tensor, with_p: bool, last: bool) -> int:
    p, rivals = _rivals(logits, with_p)
    return _best(p, rivals, last)


@remembering
def _far(logits: Tensor, with_p: bool, last: bool, rho, every, grad, every_p: bool) -> int:
    p, rivals = _rivals(logits, with_p)
    return _best(rho(every, grad), rivals & ((p < 1 / len(p)) | every_p), last)


@remembering
def _unreadable(
    logits: Tensor, with_p: bool, last: bool, strength, spread, every, grad, every_strength: bool
) -> int:
    sizes = strength(every, grad)
    weak = ((sizes > 0) & (sizes < WEAK)) | every_strength
    return _best(spread(every, grad), _rivals(logits, with_p)[1] & weak, last)


@remembering
def _rivals(logits: Tensor, with_p: bool) -> tuple[Tensor, Tensor]:
    """The probabilities, and who may be Q."""
    rivals = torch.ones(len(logits), dtype=torch.bool)
    rivals[logits.argmax()] = with_p
    return logits.softmax(dim=0), rivals


def _best(score: Tensor, allowed: Tensor, last: bool) -> int:
    """The number of the largest score among those that are allowed; -1 if there are none."""
    found = {q: s for q, (s, may) in enumerate(zip(score.tolist(), allowed.tolist())) if may}
    best = [q for q in found if found[q] == max(found.values())]
    return best[-1 if last else 0] if best else -1


@remembering
def _of_predicted(logits: Tensor, maps: Tensor) -> Tensor:
    return maps[logits.argmax()]


def _ranks(maps: Tensor) -> Tensor:
    """The ranks of each map's places, without their mean, at length 1 (0 for a flat map)."""
    flat = maps.flatten(1).double()
    above = flat[:, :, None] - flat[:, None, :]
    ranks = above.sign().sum(dim=2)  # by how many it is higher, less by how many it is lower
    return F.normalize(ranks - ranks.mean(dim=1, keepdim=True), dim=1)


@remembering
def _rank(s: Tensor, grad: Tensor) -> Tensor:
    """Spearman's rho with Grad-CAM's map; 0 where a map is the same everywhere."""
    ranks = _ranks(torch.cat([s, grad[None]]))
    return (ranks[:-1] @ ranks[-1]).round(decimals=9)


def _of_values(s: Tensor, grad: Tensor, mean: bool) -> Tensor:
    """Pearson's correlation with Grad-CAM's map; without the `mean` taken off, the cosine."""
    flat = torch.cat([s, grad[None]]).flatten(1).double()
    flat = F.normalize(flat - mean * flat.mean(dim=1, keepdim=True), dim=1)
    return flat[:-1] @ flat[-1]


@remembering
def _strength(s: Tensor, grad: Tensor) -> Tensor:
    return s.amax((1, 2)).clamp(min=0) / grad.max()


@remembering
def _at_half(s: Tensor, grad: Tensor) -> Tensor:
    """Places with at least half of the map's own maximum."""
    return _reaching(s, s.amax((1, 2)) / 2) * (s.amax((1, 2)) > 0)


def _reaching(s: Tensor, least: Tensor) -> Tensor:
    return (s >= least[:, None, None]).flatten(1).sum(1)


def _pieces(s: Tensor, grad: Tensor) -> Tensor:
    """In how many pieces the places lie that reach half of the maximum."""
    reached = s >= s.amax((1, 2), keepdim=True) / 2
    return torch.tensor([label(one.numpy())[1] for one in reached])


RULES = _Rules(contrasts, _strength, _at_half, _rank)


def _changed(**rules) -> Callable[..., dict[str, int]]:
    return replace(RULES, **rules).choose


def _far_below(most: float, logits: Tensor, maps: Tensor) -> int:
    p, rivals = _rivals(logits, False)
    rho = _rank(contrasts(logits, maps), _of_predicted(logits, maps))
    return _best(rho, rivals & (p < most), False)


def _differences(logits: Tensor, maps: Tensor) -> Tensor:
    return maps[logits.argmax()] - maps


WHICH_MISTAKES = (
    Mistake(
        "this is the choice by the maps S^P - S^Q; the task is about those of cross-entropy.",
        _changed(maps=_differences),
    ),
    Mistake(
        "nothing is positive in its map, so that nothing would be drawn: its strength is not "
        "above 0.",
        _changed(strength=lambda s, grad: _strength(s, grad).clamp(min=WEAK / 1000)),
    ),
    Mistake(
        "it is the weakest map of all. Its strength must be above 0, and the most spread out wins.",
        _changed(every_strength=True, spread=lambda s, grad: -s.amax((1, 2))),
    ),
    Mistake(
        "the strength is the largest value of the map *with its sign*: you took absolute values.",
        _changed(
            strength=lambda s, grad: s.abs().amax((1, 2)) / grad.max(),
            spread=lambda s, grad: _reaching(s.abs(), s.abs().amax((1, 2)) / 2),
        ),
    ),
    Mistake(
        "a strength is the map's peak *over Grad-CAM's peak*: you compared the peak itself.",
        _changed(strength=lambda s, grad: _strength(s, grad) * grad.max()),
    ),
    Mistake(
        "you counted all positive places. Those count that reach *half* of the map's own maximum.",
        _changed(spread=lambda s, grad: (s > 0).flatten(1).sum(1)),
    ),
    Mistake(
        "you counted the places that reach half of Grad-CAM's maximum, which no weak map does. "
        "Those count that reach half of the map's *own* maximum.",
        _changed(spread=lambda s, grad: _reaching(s, grad.max().expand(len(s)) / 2)),
    ),
    Mistake(
        "you counted *pieces*, as the lecture does. Here places are counted.",
        _changed(spread=_pieces),
    ),
    Mistake(
        "it is the weakest map, but not the most spread out.",
        _changed(spread=lambda s, grad: -_strength(s, grad)),
    ),
    Mistake(
        "it is the strongest of the weak maps, not the most spread out.", _changed(spread=_strength)
    ),
    Mistake(
        "it is the most concentrated of the weak maps. The most spread out is wanted.",
        _changed(spread=lambda s, grad: -_at_half(s, grad)),
    ),
    Mistake(
        "strong maps take part, too: its strength is not below 0.1.", _changed(every_strength=True)
    ),
    Mistake(
        "you compared the maps after the ReLU. The rank correlation is that of the *signed* maps.",
        _changed(rho=lambda s, grad: _rank(s.relu(), grad.relu())),
    ),
    Mistake(
        "you compared the maps after the ReLU. The rank correlation is that of the *signed* maps.",
        _changed(rho=lambda s, grad: _rank(s.relu(), grad)),
    ),
    Mistake(
        "you compared the maps' values. Compare their *ranks*: `rank_correlation` does.",
        _changed(rho=lambda s, grad: _of_values(s, grad, mean=True)),
    ),
    Mistake(
        "you compared the maps' values. Compare their *ranks*: `rank_correlation` does.",
        _changed(rho=lambda s, grad: _of_values(s, grad, mean=False)),
    ),
    Mistake(
        "you looked for the lowest rank correlation, or for the largest size: the *highest* is "
        "wanted, and a map that is turned over is not alike.",
        _changed(rho=lambda s, grad: -_rank(s, grad)),
    ),
    Mistake(
        "a far Q has a probability below 1 / classes; this one has more.", _changed(every_p=True)
    ),
    Mistake(
        "a far Q has a probability below 1 / classes; you took a smaller bound.",
        lambda logits, maps: RULES.choose(logits, maps) | {"far": _far_below(0.01, logits, maps)},
    ),
    Mistake(
        "this is P itself, the predicted class. Q has to be another one.", _changed(with_p=True)
    ),
    Mistake("of two that are equally good, the lower number wins.", _changed(last=True)),
    Mistake(
        "a map is weak if its strength is below 0.1; you took a smaller bound.",
        _changed(strength=lambda s, grad: 2 * _strength(s, grad)),
    ),
    Mistake(
        "your contrast maps are negated: S_CE(Q) is what all believe in, *minus* S^Q.",
        _changed(maps=lambda logits, maps: -contrasts(logits, maps)),
    ),
    Mistake(
        "this is the least probable class. Far is told by the map, among all that are improbable.",
        lambda logits, maps: RULES.choose(logits, maps) | {"far": int(logits.argmin())},
    ),
    Mistake(
        "this is the second *highest number*, not the second in the order of probability.",
        lambda logits, maps: RULES.choose(logits, maps) | {"near": int(logits.argsort()[0])},
    ),
)


def _choice_says(key: str, q: int, logits: Tensor, maps: Tensor) -> str:
    """What is wrong with a choice that no mistake has named."""
    p, P = logits.softmax(dim=0).tolist(), int(logits.argmax())
    every, grad, right = contrasts(logits, maps), maps[P], RULES.choose(logits, maps)[key]
    if not -1 <= q < len(p):
        return f"there is no class {q} among {len(p)}."
    if q == -1:
        return f"you found none, but class {right} meets the conditions."
    if right == -1:
        return f"no class meets the conditions here, so the answer is -1; you have {q}."
    if q == P:
        return f"class {q} is P itself, the predicted class. Q has to be another one."
    if key == "near":
        return f"class {q} has probability {p[q]:.3f}; class {right} has more."
    if key == "far" and p[q] >= 1 / len(p):
        return f"class {q} has probability {p[q]:.3f}, which is not below 1 / {len(p)}."
    if key == "far":
        rho = _rank(every[[q, right]], grad).tolist()
        return (
            f"the contrast map of class {q} has rank correlation {rho[0]:.2f} with Grad-CAM; that "
            f"of class {right} has {rho[1]:.2f}."
        )
    return _weak_says(q, right, every, grad)


def _weak_says(q: int, right: int, every: Tensor, grad: Tensor) -> str:
    two = every[[q, right]]
    strength, places = _strength(two, grad)[0].item(), _at_half(two, grad).tolist()
    if strength == 0:
        return f"the map of class {q} has no positive part: nothing would be drawn at all."
    if strength >= WEAK:
        return f"class {q} has strength {strength:.2f}, which is not below {WEAK}."
    if places[0] == places[1]:
        return f"classes {right} and {q} are tied; the lower number wins."
    return (
        f"in the map of class {q}, {places[0]} places reach half of its maximum; in that of class"
        f" {right} it is {places[1]}."
    )


WHICH = Part(
    name="ex04_which",
    visible=-11,
    title="A near, a far and an unreadable Q",
    points=4,
    answer="choose_contrasts",
    draws=_which_cases,
    reference=RULES.choose,
    mistakes=WHICH_MISTAKES,
    explains=_choice_says,
)


def _error_cases(seed: int) -> list[tuple]:
    return [
        _error_case(seed, number, *size)
        for number, size in enumerate([(5, 4), (4, 6), (3, 7), (6, 4)])
    ]


def _error_case(seed: int, number: int, h: int, w: int) -> tuple:
    """An error; one in which nothing speaks for the truth; another error; and no error at all."""
    rng = dice(seed, 50 + number)
    classes, w = 6 + number + seed % 3, w + 3 * (seed % 2)
    logits = torch.randn(classes, generator=rng)
    order = logits.argsort(descending=True).tolist()
    truth = order[0 if number == 3 else 2]
    while True:  # many at once: few have places that show all mistakes
        tried = torch.randn(32, classes, h, w, generator=rng)
        if number == 1:
            more = torch.rand(len(tried), h, w, generator=rng)
            tried[:, order[0]] = tried[:, truth] + 0.1 + more
        if number == 3:
            return logits, tried[0], truth
        differ = _places_differ(tried, order[0], truth, logits.softmax(dim=0))
        if differ.any():
            return logits, tried[int(differ.nonzero()[0])].clone(), truth


def _places_differ(tried: Tensor, p: int, truth: int, shares: Tensor) -> Tensor:
    """Of which class maps the places of the right map are not those of any other, nor their own
    mirror.
    """
    (h, w), for_p, for_q = tried.shape[2:], tried[:, p], tried[:, truth]
    right, other = for_p - for_q, torch.einsum("c,tcij->tij", shares, tried) - for_q
    differ = torch.ones(len(tried), dtype=torch.bool)
    for sign, alone in ((1, for_p), (-1, for_q)):
        at, there = _highest(sign * right)
        row, column = at // w, at % w
        mixed_up = (at // h == row) & (at % h == column)
        fails = (row == column) | mixed_up
        for maps in (alone, sign * other, sign * for_p, -sign * right):
            same, too = _highest(maps)
            fails |= (same == at) & too
        differ &= ~(there & fails)
    return differ


def _highest(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Of each map the number of its largest place, and whether it is positive."""
    value, at = maps.flatten(1).max(dim=1)
    return at, value > 0


def _place(values: Tensor) -> list[int] | None:
    """Row and column of the largest value, if it is positive."""
    row, column = divmod(int(values.argmax()), values.shape[1])
    return [row, column] if values[row, column] > 0 else None


@remembering
def _error(logits: Tensor, maps: Tensor, truth: int) -> dict[str, Any]:
    predicted = int(logits.argmax())
    difference = maps[predicted] - maps[truth]
    return {
        "predicted": predicted,
        "map": difference,
        "for error": _place(difference),
        "for truth": _place(-difference),
    }


def _with_map(logits: Tensor, maps: Tensor, truth: int, difference: Tensor, **more) -> dict:
    """The answer that follows from another map."""
    found = {"map": difference, "for error": _place(difference), "for truth": _place(-difference)}
    return _error(logits, maps, truth) | found | more


def _places(change: Callable[[list[int], Tensor], list[int]]) -> Callable[..., dict[str, Any]]:
    """The answer with its two places changed."""

    def makes(logits: Tensor, maps: Tensor, truth: int) -> dict[str, Any]:
        right = _error(logits, maps, truth)
        changed = {
            key: right[key] and change(right[key], maps) for key in ("for error", "for truth")
        }
        return right | changed

    return makes


def _by_height(place: list[int], maps: Tensor) -> list[int]:
    """The reading-order number split by the number of rows."""
    h, w = maps.shape[1:]
    return list(divmod(place[0] * w + place[1], h))


def _difference(logits: Tensor, maps: Tensor, truth: int) -> Tensor:
    return maps[logits.argmax()] - maps[truth]


def _never_none(logits: Tensor, maps: Tensor, truth: int) -> dict[str, Any]:
    right = _error(logits, maps, truth)
    w = maps.shape[2]
    peaks = {
        "for error": list(divmod(int(right["map"].argmax()), w)),
        "for truth": list(divmod(int(right["map"].argmin()), w)),
    }
    return right | {key: peaks[key] if right[key] is None else right[key] for key in peaks}


ERROR_MISTAKES = (
    Mistake(
        "P and Q are swapped: this map is positive where the evidence speaks for the truth.",
        lambda y, maps, truth: _with_map(y, maps, truth, -_difference(y, maps, truth)),
    ),
    Mistake(
        "keep the negative evidence: it is the other half of the answer.",
        lambda y, maps, truth: _with_map(y, maps, truth, _difference(y, maps, truth).relu()),
    ),
    Mistake(
        "the sizes are taken, so that nothing speaks for the truth: keep the sign.",
        lambda y, maps, truth: _with_map(y, maps, truth, _difference(y, maps, truth).abs()),
    ),
    Mistake(
        "this is the cross-entropy contrast. Between two named classes, take S^P - S^Q.",
        lambda y, maps, truth: _with_map(y, maps, truth, contrasts(y, maps)[truth]),
    ),
    Mistake(
        "this is Grad-CAM's map of P alone. The question names the truth as well: S^P - S^Q.",
        lambda y, maps, truth: _with_map(y, maps, truth, maps[y.argmax()]),
    ),
    Mistake(
        "a place is [row, column]; this looks like [column, row].",
        _places(lambda place, maps: place[::-1]),
    ),
    Mistake(
        "split the number by the length of a row, which is the *width* w, not h.",
        _places(_by_height),
    ),
    Mistake(
        "this is the strongest place of S^P alone. Take it from the difference of the two maps.",
        lambda y, maps, truth: (
            _error(y, maps, truth)
            | {"for error": _place(maps[y.argmax()]), "for truth": _place(maps[truth])}
        ),
    ),
    Mistake("no place of the map speaks for this class, so it is None.", _never_none),
    Mistake(
        'this is the truth. "predicted" is what the network says: the largest logit.',
        lambda y, maps, truth: _error(y, maps, truth) | {"predicted": truth},
    ),
)


def _error_says(key: str, got: Any, logits: Tensor, maps: Tensor, truth: int) -> str:
    right = _error(logits, maps, truth)
    if key == "predicted":
        return f"the largest logit belongs to class {right[key]}, not to class {got}."
    if key == "map":
        return "the numbers are not those of S^P - S^Q, with Q the true class."
    if got == right["for truth" if key == "for error" else "for error"]:
        return f"{shown(got)} is the strongest place for the other class."
    return f"expected {right[key]}, got {shown(got)}."


ERROR = Part(
    name="ex04_error",
    visible=-2,
    title="Why not the truth?",
    points=3,
    answer="explain_error",
    draws=_error_cases,
    reference=_error,
    mistakes=ERROR_MISTAKES,
    explains=_error_says,
)
