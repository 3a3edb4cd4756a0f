"""Which cases a seed draws: those that show a mistake just as the visible cases show it.

Cases are random, and a random case may hide a mistake: the two answers agree by chance. So each
hidden case is drawn again until every known mistake is worth in it what it is worth in the visible
case of its kind. Then a wrong answer gets the same marks from every seed, and what passes in the
notebook passes at grading. The order of the hidden cases depends on the seed, so that no answer can
be given by counting the calls.
"""

from functools import lru_cache
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from .part import Case, Part

VISIBLE = 0  # asks for the cases that the notebook's check uses
_TRIES = 300
_STEP = 1_000_003  # from the seed of one try to that of the next


@lru_cache(maxsize=4096)
def drawn(part: "Part", seed: int) -> tuple["Case", ...]:
    """The cases of a seed, in the order in which they are asked.

    Raises:
        RuntimeError: some kind of case never shows the mistakes that its visible case shows.
    """
    visible = part.draws(part.visible)
    if seed == VISIBLE or len(visible) < 2:
        return tuple(visible if seed == VISIBLE else part.draws(seed))
    found: dict[int, Case] = {}
    for attempt in range(_TRIES):
        for kind, case in enumerate(part.draws(seed + _STEP * attempt)):
            if kind not in found and part.shows(case, _wanted(part)[kind]):
                found[kind] = case
        if len(found) == len(visible):
            order = torch.randperm(len(found), generator=torch.Generator().manual_seed(seed))
            return tuple(found[kind] for kind in order.tolist())
    missing = sorted(set(range(len(visible))) - set(found))
    raise RuntimeError(f"{part.name}: seed {seed} draws no case like the visible ones {missing}.")


@lru_cache(maxsize=256)
def _wanted(part: "Part") -> tuple:
    """What each known mistake is worth in each visible case."""
    return tuple(map(part.worths, part.draws(part.visible)))
