"""Scores from choices between pairs of pictures, as TID2013's were made, and the Bradley-Terry
model.

Ponomarenko et al., "Image database TID2013", Signal Processing: Image Communication 30, 2015.
"""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from ..errors import closest

Observer = Callable[[str, str], str]  # two pictures' names -> the name of the chosen one


class Votes:
    """Choices between pairs of pictures, counted.

    Attributes:
        names: the n pictures' names.
        won: n x n counts; won[i, j] says how often i was chosen over j.
    """

    def __init__(self, names: list[str]):
        self.names = list(names)
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"Two pictures have one name, so that no vote tells which: {names}.")
        self.won = torch.zeros(len(names), len(names), dtype=torch.float64)

    def add(self, chosen: str, other: str) -> None:
        """Count one choice; both names must be known, and two different ones."""
        if chosen == other:
            raise ValueError(f"'{chosen}' cannot be compared with itself.")
        for name in (chosen, other):
            if name not in self.names:
                raise ValueError(f"No picture is called '{name}'.{closest(name, self.names)}")
        self.won[self.names.index(chosen), self.names.index(other)] += 1

    @property
    def wins(self) -> dict[str, int]:
        """How many comparisons each picture has won."""
        return dict(zip(self.names, map(int, self.won.sum(dim=1).tolist())))

    @property
    def strengths(self) -> dict[str, float]:
        """`bradley_terry` of the counts, by name."""
        return dict(zip(self.names, bradley_terry(self.won).tolist()))


def bradley_terry(won: Tensor, prior: float = 0.5, steps: int = 2000) -> Tensor:
    """Strengths u under which the counted choices are most probable, if P(i over j) = sigmoid(u_i -
    u_j).

    R. A. Bradley, M. E. Terry, Biometrika 39, 1952; computed by the iteration of D. R. Hunter,
    "MM algorithms for generalized Bradley-Terry models", Annals of Statistics 32, 2004.

    Args:
        won: n x n counts, won[i, j] of i over j.
        prior: that many further wins for either side of every pair. With 0, a picture that never
            lost would be infinitely strong.
        steps: of the iteration.

    Returns:
        n strengths in logits, their mean 0; higher is better.

    Raises:
        ValueError: no n x n counts, or strengths that would be infinite.
    """
    won = torch.as_tensor(won, dtype=torch.float64)
    if won.dim() != 2 or won.shape[0] != won.shape[1] or not (won >= 0).all() or prior < 0:
        raise ValueError(
            f"Counts are n x n numbers from 0, how often i was chosen over j, not "
            f"{' x '.join(map(str, won.shape))} from {won.min():g}."
        )
    off = 1 - torch.eye(len(won), dtype=torch.float64)
    counts = (won + prior) * off
    met, wins = counts + counts.T, counts.sum(dim=1)
    if len(won) > 1 and not (wins * counts.sum(dim=0) > 0).all():
        raise ValueError(
            "A picture has won or lost every comparison, so that its strength is infinite: give a "
            "prior above 0."
        )
    strength = torch.ones(len(won), dtype=torch.float64)
    for _ in range(steps):
        strength = wins / (met / (strength[:, None] + strength)).sum(dim=1)
        strength = strength / strength.log().mean().exp()
    return strength.log()


def simulated_observer(quality: dict[str, float], seed: int = 0) -> Observer:
    """An observer who knows each picture's quality u, and errs as Bradley and Terry say.

    Args:
        quality: name -> u in logits: a picture better by 1 is chosen in 73 % of all cases.
        seed: of the errors.
    """
    rng = np.random.default_rng(seed)

    def choose(left: str, right: str) -> str:
        return left if rng.random() < 1 / (1 + np.exp(quality[right] - quality[left])) else right

    return choose


def poll(names: list[str], observers: list[Observer]) -> Votes:
    """Let every observer choose from every pair of pictures once."""
    votes = Votes(names)
    for observer in observers:
        for pair in combinations(names, 2):
            chosen = observer(*pair)
            votes.add(chosen, *(set(pair) - {chosen}))
    return votes
