"""The observer's game: which of two pictures differs less from the reference?"""

import html
import io
from collections.abc import Callable, Mapping
from itertools import combinations

import ipywidgets as w
import numpy as np
from PIL import Image

from ..errors import a_kind_of
from ..figures.picture import figure_html
from ..networks.pictures import as_rgb
from ..quality.distort import picture_of
from ..quality.paired_comparison import Observer, Votes
from .panel import Panel, answering

SMALL = 200  # pixels: up to this width two pictures fit side by side at twice their size


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
        sides: what shows the pictures of the pair, left and right.
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
        if not isinstance(pictures, Mapping):
            raise TypeError(
                "pictures is a dict, name -> distorted picture, not "
                f"{a_kind_of(pictures)}: dict(enumerate(pictures)) numbers them."
            )
        pictures = {str(name): picture for name, picture in pictures.items()}
        if len(pictures) < 2:
            raise ValueError("A choice needs two pictures or more.")
        self._shown = {name: _png(picture) for name, picture in pictures.items()}
        self._observer, self._rng = observer, np.random.default_rng(seed)
        # pixel for pixel: the browser's own enlargement would smooth what is to be compared
        reference = as_rgb(picture_of(reference))
        width = reference.width * (2 if reference.width <= SMALL else 1)
        self._exactly = f"width:{width}px;max-width:none;image-rendering:pixelated"
        self.left = self._button("Left differs less", self._choose_left)
        self.right = self._button("Right differs less", self._choose_right)
        self.finish = self._button("A simulated observer finishes", self._let_finish)
        self.again = self._button("Begin again", self._begin_again)
        self.sides, self.result = (w.HTML(), w.HTML()), w.HTML()
        told = "The reference, which is not distorted."
        expected = w.HTML(self._figure(_png(reference), told, "The reference"))
        pairs = zip(self.sides, (self.left, self.right))
        # beside one another where there is room for three, as on a slide; else the reference below
        three = [*(w.VBox(pair) for pair in pairs), expected]
        above = w.Box(three, layout=w.Layout(flex_flow="row wrap"))
        others = w.Box([self.finish, self.again], layout=w.Layout(flex_flow="row wrap"))
        self.arrange([above, others], self.result)
        self.quiet = False
        self._begin()

    def _figure(self, picture: bytes, alt: str, caption: str) -> str:
        return figure_html(picture, alt, caption, "overflow-x:auto", self._exactly)

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
            # the button that had the focus is disabled: the keyboard goes on here
            self.again.focus()
            return
        number = total - len(self._pairs)
        self.say(f"Pair {number} of {total}. Which one differs less from the reference?")
        for shown, name, side in zip(self.sides, self.pair, ("left", "right")):
            told = f"The picture on the {side}; how it is distorted is told at the end."
            shown.value = self._figure(self._shown[name], told, side.capitalize())

    def _table(self) -> str:
        """Names, wins and strengths, the best first, as an HTML table."""
        wins, strengths = self.votes.wins, self.votes.strengths
        best = sorted(wins, key=lambda name: (-wins[name], -strengths[name]))
        rows = [("picture", "wins", "strength u (Bradley-Terry)")]
        rows += [
            (html.escape(name), f"{wins[name]} of {len(wins) - 1}", f"{strengths[name]:+.1f}")
            for name in best
        ]
        return f"<table>{''.join(map(_row, rows, ['th'] + ['td'] * len(best)))}</table>"


def _row(cells: tuple[str, ...], tag: str) -> str:
    style = "padding:0.2em 1em 0.2em 0;text-align:left"
    return "<tr>" + "".join(f"<{tag} style='{style}'>{cell}</{tag}>" for cell in cells) + "</tr>"


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    as_rgb(picture_of(picture)).save(buffer, "png")  # without loss: losses are what is judged
    return buffer.getvalue()
