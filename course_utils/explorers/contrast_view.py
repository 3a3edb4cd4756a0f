"""What the contrast explorer knows, draws and says: all of it but the controls (no ipywidgets here)."""

import html
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ..errors import ClassError, closest
from ..figures.overlays import outlined, overlay, overlay_colours, strongest
from ..figures.picture import figure_html, jpeg
from ..measures import energy_inside
from ..methods.cams import ContrastCAM, CounterfactualCAM, Explanation, GradCAM
from ..methods.classes import class_name
from ..methods.forward_pass import ForwardPass

SIDE = 224  # pixels of a panel on the page, at most

# (photo's name, P's name, Q's name) -> H x W, True on the answer, as the network sees the photo; or None
Truth = Callable[[str, str, str], np.ndarray | Tensor | None]


@dataclass(frozen=True, eq=False)
class Scene:
    """A photo before a network: the one forward pass that every question is answered from.

    Attributes:
        name: the photo's.
        classifier: the network, with `.preprocess` and, if it has names for its classes, `.categories`.
        forward_pass: the one that is kept.
        pixels: the photo as the network saw it, H x W x 3 floats in [0, 1].
        regions: name -> H x W, True inside: parts of the photo whose places are known.
    """

    name: str
    classifier: nn.Module
    forward_pass: ForwardPass
    pixels: np.ndarray
    regions: dict[str, Tensor]

    @cached_property
    def p(self) -> Tensor:
        """The probability of each class."""
        return self.forward_pass.probabilities()[0].cpu()

    @cached_property
    def order(self) -> list[int]:
        """The classes, the most probable first."""
        return self.p.argsort(descending=True).tolist()

    @cached_property
    def names(self) -> list[str]:
        """What the classes are called."""
        categories = getattr(self.classifier, "categories", None)
        return [class_name(index, categories) for index in range(len(self.p))]

    def found(self, text: str) -> list[tuple[str, int]]:
        """The classes whose names contain a text, as (name and probability, number), most probable first."""
        names, text = self.names, text.strip().lower()
        rows = [i for i in self.order if text in names[i].lower()]
        return [(f"{names[i]}   {in_digits(self.p[i])}", i) for i in rows]

    def ask(self, p: int, q: list[int], loss: str) -> list[Explanation]:
        """Why P?, What if P's evidence were absent?, and Why P, rather than each Q?"""
        model, layer = self.classifier, self.forward_pass.layer
        return [
            GradCAM(model, layer)(self.forward_pass, why=p),
            CounterfactualCAM(model, layer)(self.forward_pass, why=p),
            ContrastCAM(model, layer, loss=loss)(self.forward_pass, why=p, rather_than=q),
        ]


def scene_of(
    name: str,
    photo: Image.Image,
    classifier: nn.Module,
    layer: str | None = None,
    boxes: dict[str, tuple] | None = None,
) -> Scene:
    """Run the network on the photo once.

    Args:
        layer: by name; None for the network's own.
        boxes: name -> (left, top, right, bottom) of known regions, in pixels of the whole photo.

    Raises:
        LayerError, ImageError: the layer cannot be used, or the network answers NaN.
        ClassError: the network has fewer than two classes.
    """
    x = classifier.preprocess(photo)[None]
    seen = ForwardPass(classifier, x, layer)
    if seen.logits.dim() != 2 or seen.logits.shape[1] < 2:
        raise ClassError("The network must give two classes or more: Q is another one than P.")
    regions = {
        region: classifier.preprocess.region_mask(box, photo.size)
        for region, box in (boxes or {}).items()
    }
    return Scene(name, classifier, seen, classifier.preprocess.show(x[0]).numpy(), regions)


def known_answer(scene: Scene, truth: Truth | None, p: int, q: int) -> Tensor | None:
    """Where the true answer to "Why P, rather than Q?" lies, H x W; None where nobody knows.

    Raises:
        ValueError: what `truth` gave is no mask of the picture that the network saw.
    """
    mask = truth(scene.name, scene.names[p], scene.names[q]) if truth is not None else None
    if mask is None:
        return None
    mask = torch.as_tensor(mask)
    if mask.dtype != torch.bool or tuple(mask.shape) != scene.forward_pass.size:
        raise ValueError(
            f"truth('{scene.name}', '{scene.names[p]}', '{scene.names[q]}') gave {mask.dtype} of "
            f"{tuple(mask.shape)}; an answer is a mask of bool, {scene.forward_pass.size}, or None."
        )
    return mask


def in_digits(p: float | Tensor) -> str:
    """A probability with three digits after the point; a smaller one as a power of ten, never as 0."""
    p = float(p)
    return f"{p:.3f}" if p >= 0.001 or p == 0 else f"{p:.0e}".replace("e-0", "e-")


def panels(
    scene: Scene, answers: list[Explanation], strength: float, masks: list[Tensor | None]
) -> str:
    """The photo and its maps side by side, as HTML.

    Args:
        masks: the known answer for each contrast, or None; drawn as an outline.
    """
    first = masks[0]
    told = f"The photo {scene.name}, as the network saw it."
    drawn = [_panel(scene.pixels, first, told, "What the network saw")]
    for answer, outlines in zip(answers, ([first], [first], masks)):
        for question, values, mask in zip(answer.questions[0], answer.maps[0].cpu(), outlines):
            empty = "" if bool((values > 0).any()) else " The map is empty: no positive evidence."
            told = f"{question} The map over the photo {scene.name}. {strongest(values)}"
            pixels = overlay(scene.pixels, values, strength)
            drawn.append(_panel(pixels, mask, told, question + empty))
    flow = "display:flex;flex-wrap:wrap;gap:0.5em 0.8em;line-height:1.4"
    return f"<div style='{flow}'>{''.join(drawn)}</div>" + _legend(strength, first is not None)


def _panel(pixels: np.ndarray, mask: Tensor | None, alt: str, caption: str) -> str:
    picture = Image.fromarray((pixels * 255).round().astype("uint8"))
    if picture.height < SIDE:  # a small picture is enlarged first: the outline stays fine
        times = -(-SIDE // picture.height)
        picture = picture.resize((picture.width * times, picture.height * times))
    if mask is not None:
        large = Image.fromarray(mask.cpu().numpy()).resize(picture.size, Image.Resampling.NEAREST)
        picture = Image.fromarray((outlined(picture, np.asarray(large)) * 255).astype("uint8"))
        alt += " The known answer is outlined."
    style = f"flex:1 1 130px;max-width:{SIDE}px"  # five beside one another, two on a phone
    return figure_html(jpeg(picture), alt, caption, style, "width:100%", "jpeg")


def _legend(strength: float, outline: bool) -> str:
    colours = overlay_colours(strength)(np.linspace(0, 1, 9), bytes=True)[:, :3].tolist()
    gradient = ",".join("rgb({},{},{})".format(*colour) for colour in colours)
    bar = (
        f"display:inline-block;width:8em;height:0.8em;background:linear-gradient(90deg,{gradient})"
    )
    words = " White outline: the known answer to the contrast." if outline else ""
    return f"<p style='margin:0.3em 0'>Evidence: none <span style='{bar}'></span> most.{words}</p>"


def status_line(
    scene: Scene, p: int, q: list[int], loss: str, answers: list[Explanation], mask: Tensor | None
) -> str:
    """The answer as a few sentences of HTML: probabilities, empty maps, and shares of known regions.

    Args:
        q: one or more Q, each named once.
        mask: the known answer to the first contrast; None where nobody knows, or it is hidden.
    """
    names, top = scene.names, scene.order[0]
    shown = [("P", p), *(("Q", i) for i in q)]
    words = [
        f"The network says <b>{html.escape(names[top])}</b> ({float(scene.p[top]):.0%}).",
        ", ".join(f"p({r} = {html.escape(names[i])}) = {in_digits(scene.p[i])}" for r, i in shown)
        + ".",
    ]
    if p in q and loss == "cross_entropy":
        words.append("With Q = P the question is: why not P with 100 % confidence?")
    elif p in q:
        words.append("With Q = P the difference of the logits is 0, and so is the map.")
    for answer in answers:
        for question, empty in zip(answer.questions[0], answer.empty[0].tolist()):
            if empty:
                words.append(f"“{html.escape(question)}” has an empty map: no positive evidence.")
    return " ".join(words + _shares(scene, answers[-1].maps[0, 0], mask))


def _shares(scene: Scene, values: Tensor, mask: Tensor | None) -> list[str]:
    regions = scene.regions | ({"known answer": mask} if mask is not None else {})
    shares = []
    for region, inside in regions.items():
        lies, covers = energy_inside(values, inside), float(inside.float().mean())
        if (
            lies == lies and covers < 0.99
        ):  # an empty map's share is NaN; all maps lie in the whole picture
            shares.append(f"{lies:.0%} in the {html.escape(region)} ({covers:.0%} of the picture)")
    return ["Of the first contrast's map, " + ", ".join(shares) + "."] if shares else []


def search_in_words(text: str, found: int, names: list[str]) -> str:
    """What a search found, as HTML; nothing for an empty search."""
    text = text.strip()
    if not text:
        return ""
    near = closest(text, names) if not found else ""
    count = f"{found} class names contain" if found > 1 else "One class name contains"
    return html.escape(f"{count if found else 'No class name contains'} “{text}”.{near}")
