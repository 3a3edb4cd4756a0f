"""How TID2013's scores were made, to be played: which of two pictures differs less from the reference?

Ponomarenko et al., "Image database TID2013", Signal Processing: Image Communication 30, 2015.
"""

import html
import io
from collections.abc import Callable
from itertools import combinations

import ipywidgets as w
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..figures.picture import figure_html
from .panel import Panel, answering

Observer = Callable[[str, str], str]  # two pictures' names -> the name of the chosen one
_HALF = "flex:1 1 12em;max-width:24em"


class Votes:
    """Choices between pairs of pictures, counted.

    Attributes:
        names: the n pictures' names.
        won: n x n counts; won[i, j] says how often i was chosen over j.
    """

    def __init__(self, names: list[str]):
        self.names = list(names)
        self.won = torch.zeros(len(names), len(names), dtype=torch.float64)

    def add(self, chosen: str, other: str) -> None:
        """Count one choice; both names must be known, and two different ones."""
        if chosen == other:
            raise ValueError(f"'{chosen}' cannot be compared with itself.")
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
    """Strengths u under which the counted choices are most probable, if P(i over j) = sigmoid(u_i - u_j).

    R. A. Bradley, M. E. Terry, Biometrika 39, 1952; computed by the iteration of D. R. Hunter,
    "MM algorithms for generalized Bradley-Terry models", Annals of Statistics 32, 2004.

    Args:
        won: n x n counts, won[i, j] of i over j.
        prior: that many further wins for either side of every pair. With 0, a picture that never
            lost would be infinitely strong.
        steps: of the iteration.

    Returns:
        n strengths in logits, their mean 0; higher is better.
    """
    off = 1 - torch.eye(len(won), dtype=torch.float64)
    counts = (won.double() + prior) * off
    met, wins = counts + counts.T, counts.sum(dim=1)
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


class Duel(Panel):
    """Play the observer: of two pictures, choose the one that differs less from the reference.

    The pictures' names are told at the end, with their wins and strengths.

    Args:
        reference: the undistorted picture (PIL).
        pictures: name -> distorted picture; two or more.
        observer: finishes for you, if asked to; see `simulated_observer`.
        seed: of the order of the pairs, and of who stands on the left.

    Attributes:
        votes: the choices so far.
        pair: the names of the pictures on show, left and right; None at the end.
        left, right, finish, again: the buttons; `.click()` presses one.
        out: where an error in a callback is shown.
    """

    def __init__(
        self,
        reference: Image.Image,
        pictures: dict[str, Image.Image],
        observer: Observer,
        seed: int = 0,
    ):
        super().__init__()
        if len(pictures) < 2:
            raise ValueError("A choice needs two pictures or more.")
        self._shown = {name: _png(picture) for name, picture in pictures.items()}
        self._observer, self._rng = observer, np.random.default_rng(seed)
        told = "The reference, which is not distorted."
        self._expected = figure_html(_png(reference), told, "The reference", _HALF, "width:100%")
        self.left = self._button("Left differs less", self._choose_left)
        self.right = self._button("Right differs less", self._choose_right)
        self.finish = self._button("A simulated observer finishes", self._let_finish)
        self.again = self._button("Begin again", self._begin_again)
        buttons = w.Box(
            [self.left, self.right, self.finish, self.again], layout=w.Layout(flex_flow="row wrap")
        )
        self.pictures, self.result = w.HTML(), w.HTML()
        self.arrange([self.pictures, buttons], self.result)
        self.quiet = False
        self._begin()

    def _button(self, words: str, callback: Callable) -> w.Button:
        button = w.Button(description=words, layout=w.Layout(width="auto"))
        button.on_click(lambda _: callback(None))
        return button

    # --- callbacks ----------------------------------------------------------------------------

    @answering
    def _choose_left(self, _change) -> None:
        self._count(0)

    @answering
    def _choose_right(self, _change) -> None:
        self._count(1)

    @answering
    def _let_finish(self, _change) -> None:
        while self.pair:
            self._count(self.pair.index(self._observer(*self.pair)), quick=True)
        self._show()

    @answering
    def _begin_again(self, _change) -> None:
        self._begin()

    # --- the game -----------------------------------------------------------------------------

    def _begin(self) -> None:
        self.votes = Votes(list(self._shown))
        pairs = list(combinations(self._shown, 2))
        order = self._rng.permutation(len(pairs))
        swapped = self._rng.random(len(pairs)) < 0.5
        self._pairs = [pairs[i][::-1] if swap else pairs[i] for i, swap in zip(order, swapped)]
        self._next()
        self._show()

    def _next(self) -> None:
        self.pair: tuple[str, str] | None = self._pairs.pop() if self._pairs else None

    def _count(self, side: int, quick: bool = False) -> None:
        if self.pair is None:  # pressed once more at the end
            return
        self.votes.add(self.pair[side], self.pair[1 - side])
        self._next()
        if not quick:
            self._show()

    def _show(self) -> None:
        over = self.pair is None
        for button in (self.left, self.right, self.finish):
            button.disabled = over
        self.result.value = self._table() if over else ""
        total = len(self._shown) * (len(self._shown) - 1) // 2
        if over:
            self.say("All pairs are compared. A picture's score is the number of its wins.")
            return
        self.say(
            f"Pair {total - len(self._pairs)} of {total}. Which one differs less from the reference?"
        )
        sides = [
            figure_html(
                self._shown[name],
                f"The picture on the {side}; how it is distorted is told at the end.",
                side.capitalize(),
                _HALF,
                "width:100%",
            )
            for name, side in zip(self.pair, ("left", "right"))
        ]
        row = "".join([sides[0], self._expected, sides[1]])
        self.pictures.value = f"<div style='display:flex;flex-wrap:wrap;gap:0.8em'>{row}</div>"

    def _table(self) -> str:
        """Names, wins and strengths, the best first, as an HTML table."""
        wins, strengths = self.votes.wins, self.votes.strengths
        best = sorted(wins, key=lambda name: (-wins[name], -strengths[name]))
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{wins[name]} of {len(wins) - 1}</td>"
            f"<td>{strengths[name]:+.1f}</td></tr>"
            for name in best
        )
        head = "<tr><th>picture</th><th>wins</th><th>strength u (Bradley-Terry)</th></tr>"
        return f"<table>{head}{rows}</table>"


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "png")  # without loss: losses are what is judged
    return buffer.getvalue()
