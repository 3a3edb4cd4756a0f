"""A slider for q: "why this score, rather than q?", drawn anew at each step, on one scale."""

import html
from numbers import Real

import ipywidgets as w
import numpy as np
from PIL import Image
from torch import Tensor

from ..errors import ImageError, a_kind_of
from ..figures.overlays import SIGNED, as_pixels, signed_overlay
from ..figures.picture import figure_html, jpeg
from ..quality.assessor import Assessor, QualityExplanation
from ..quality.distort import picture_of
from ..quality.figures import strongest_in_words
from .panel import LABEL, Panel, answering, dropdown, grid

Comparison = tuple[
    Image.Image, Image.Image | None
]  # the distorted photo, and its reference if there is one


class QualityExplorer(Panel):
    """Move q, and watch which places are better than q, and which are worse.

    The evidence is linear in q, so two answers give them all: E(q) = (1 - q) E(0) + q E(1). Moving
    the slider runs no network.

    Args:
        assessor: see `quality.load_assessor`.
        scenes: name -> (distorted photo, reference or None); the first is shown first.
        q: where the slider begins, in [0, 1].
        step: pixels between patches, see `Assessor.explain`.

    Attributes:
        slider, scene: the controls.
        answer: the `QualityExplanation` for q = 0 and q = 1, from which all others come.
        evidence: H x W, the signed evidence for the present q.
        largest: the largest magnitude over all q, which is drawn as full red or blue.
        out: where an error in a callback is shown.
    """

    def __init__(
        self, assessor: Assessor, scenes: dict[str, Comparison], q: float = 1.0, step: int = 16
    ):
        super().__init__()
        if not isinstance(assessor, Assessor):
            kind, cure = a_kind_of(assessor), "load_assessor(), or Assessor(network) of your own"
            raise TypeError(f"The explorer asks an Assessor, {cure}, not {kind}.")
        if not isinstance(q, (Real, Tensor)) or not 0 <= q <= 1:
            raise ValueError(f"q={q!r} must be a score from 0 (worst) to 1 (best).")
        self._assessor, self._scenes, self._step = assessor, _pairs(scenes), step
        self._kept: dict[str, QualityExplanation] = {}
        self.slider = w.FloatSlider(
            description="rather than q =", value=q, min=0, max=1, step=0.05, readout_format=".2f",
            layout=w.Layout(width="auto"), style=LABEL,
        )  # fmt: skip
        self.scene = dropdown("Photo", list(self._scenes), next(iter(self._scenes)))
        self.pictures = w.HTML()
        self.arrange([grid([self.scene, self.slider])], self.pictures)
        self._assess()
        self.scene.observe(self._run_again, "value")
        self.slider.observe(self._ask_again, "value")
        self.quiet = False

    # --- callbacks ----------------------------------------------------------------------------

    @answering
    def _run_again(self, change) -> None:
        try:
            self._assess()
        except ImageError as reason:  # said in words; the old choice stays
            self.set(self.scene, change.old)
            self.say(f"<b>{html.escape(f'{change.new}: {reason}')}</b>")

    @answering
    def _ask_again(self, _change) -> None:
        self._redraw()

    # --- the answer ---------------------------------------------------------------------------

    def _assess(self) -> None:
        name = self.scene.value
        if name not in self._kept:
            self._kept[name] = self._assessor.explain(*self._scenes[name], (0, 1), self._step)
        self.answer = self._kept[name]
        self.largest = float(self.answer.evidence.abs().max())  # linear in q: largest at an end
        self._redraw()

    def _redraw(self) -> None:
        q, (lowest, highest) = self.slider.value, self.answer.evidence
        self.evidence: Tensor = (1 - q) * lowest + q * highest
        values = self.evidence / self.largest if self.largest > 0 else self.evidence
        photo = self._scenes[self.scene.value][0]
        question = f"Why {self.answer.score:.2f}, rather than {q:.2f}?"
        told = strongest_in_words(values)
        panels = [
            _panel(
                as_pixels(photo),
                f"The photo {self.scene.value}.",
                f"Scored {self.answer.score:.2f}",
            ),
            _panel(signed_overlay(photo, values), f"{question} {told}", question),
        ]
        row = "".join(panels)
        self.pictures.value = (
            f"<div style='display:flex;flex-wrap:wrap;gap:0.8em'>{row}</div>{_legend()}"
        )
        self.say(f"<b>{question}</b> {html.escape(told)}")


def _pairs(scenes: dict) -> dict[str, Comparison]:
    """The scenes, each as two pictures; of one that `distort` made, its picture."""
    if not scenes:
        raise ValueError("scenes is empty: give at least one name -> (distorted, reference).")
    try:
        scenes = dict(scenes)
    except (TypeError, ValueError):
        kind = a_kind_of(scenes)
        raise TypeError(f"scenes is a dict, name -> (distorted, reference), not {kind}.") from None
    pairs = {}
    for name, scene in scenes.items():
        if not isinstance(scene, (tuple, list)) or len(scene) not in (1, 2):
            raise TypeError("Each of scenes is a name -> (distorted, reference), two pictures.")
        photo, reference = [*scene, None][:2]
        pairs[str(name)] = (picture_of(photo), reference)
    return pairs


def _panel(pixels: np.ndarray, alt: str, caption: str) -> str:
    picture = Image.fromarray((pixels * 255).round().astype("uint8"))
    return figure_html(
        jpeg(picture), alt, caption, "flex:1 1 16em;max-width:32em", "width:100%", "jpeg"
    )


def _legend() -> str:
    colours = SIGNED(np.linspace(0, 1, 9), bytes=True)[:, :3].tolist()
    stops = ", ".join(f"rgb({r},{g},{b})" for r, g, b in colours)
    return (
        "<div style='display:flex;gap:0.6em;align-items:center;flex-wrap:wrap'>"
        "<span>pulls the score down</span>"
        "<span style='flex:0 0 10em;height:0.8em;background:linear-gradient(to right, "
        f"{stops})'></span><span>holds it up; white: as good as q</span></div>"
    )
