"""What the contrast explorer knows, draws and says: all but the controls (no ipywidgets here)."""

import html
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import isnan

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ..errors import ImageError, closest
from ..figures import on_scale
from ..figures.overlays import outlined, overlay, overlay_colours, strongest
from ..figures.picture import figure_html, jpeg
from ..measures import energy_inside
from ..methods.cams import ContrastCAM, CounterfactualCAM, Explanation, GradCAM
from ..methods.classes import class_name, names_for
from ..methods.forward_pass import ForwardPass
from ..methods.inputs import beside_weights
from ..methods.layers import find_layer
from ..methods.maps import upsample
from ..methods.scores import check_classes
from ..methods.strength import WEAK, strength_in_words
from ..networks.preprocess import check_read, shown

SIDE = 224  # pixels of a panel on the page, at most

# (photo's name, P's name, Q's name) -> H x W, True on the answer, as the network sees the photo;
# None where nobody knows
Truth = Callable[[str, str, str], np.ndarray | Tensor | None]


@dataclass(frozen=True, eq=False)
class Scene:
    """A photo before a network: the one forward pass that every question is answered from.

    Attributes:
        name: the photo's.
        classifier: the network, with `.preprocess` and, if its classes have names, `.categories`.
        x: the photo as the network reads it, 1 x 3 x H x W.
        forward_pass: the one that is kept.
        pixels: the photo as the network saw it, H x W x 3 floats in [0, 1].
        regions: name -> H x W, True inside: parts of the photo whose places are known.
        fine: the photo drawn finer than the network saw it, to be shown in its place; None without.
        sigmoid: whether each class has its own probability, as for `ContrastCAM`.
    """

    name: str
    classifier: nn.Module
    x: Tensor
    forward_pass: ForwardPass
    pixels: np.ndarray
    regions: dict[str, Tensor]
    fine: np.ndarray | None = None
    sigmoid: bool = False

    @property
    def shown(self) -> np.ndarray:
        """The photo as it is shown: H' x W' x 3 floats in [0, 1]."""
        return self.pixels if self.fine is None else self.fine

    @cached_property
    def p(self) -> Tensor:
        """The probability of each class."""
        return self.forward_pass.probabilities(self.sigmoid)[0].flatten().cpu()

    @cached_property
    def order(self) -> list[int]:
        """The classes, the most probable first."""
        return self.p.argsort(descending=True).tolist()

    @cached_property
    def names(self) -> list[str]:
        """What the classes are called."""
        categories = names_for(self.classifier, self.forward_pass.logits)
        return [class_name(index, categories) for index in range(len(self.p))]

    def found(self, text: str) -> list[tuple[str, int]]:
        """The classes whose names contain a text, the most probable first.

        Returns:
            Pairs of (name and probability, number).
        """
        names, text = self.names, text.strip().lower()
        rows = [i for i in self.order if text in names[i].lower()]
        return [(f"{names[i]}   {in_digits(self.p[i])}", i) for i in rows]

    def ask(self, p: int, q: list[int], loss: str) -> list[Explanation]:
        """Why P?, What if P's evidence were absent?, and Why P, rather than each Q?"""
        model, layer = self.classifier, self.forward_pass.layer
        return [
            GradCAM(model, layer)(self.forward_pass, why=p),
            CounterfactualCAM(model, layer)(self.forward_pass, why=p),
            ContrastCAM(model, layer, loss=loss, sigmoid=self.sigmoid)(
                self.forward_pass, why=p, rather_than=q
            ),
        ]


def scene_of(
    name: str,
    photo: Image.Image,
    classifier: nn.Module,
    layer: str | None = None,
    boxes: dict[str, tuple] | None = None,
    sigmoid: bool = False,
) -> Scene:
    """Run the network on the photo once.

    Args:
        layer: by name; None for the network's own.
        boxes: name -> (left, top, right, bottom) of known regions, in pixels of the whole photo.

    Raises:
        LayerError, ImageError: the layer cannot be used, the network answers NaN, or it has no
            `.preprocess`.
        ClassError: the network does not answer with two classes or more, or one logit.
        TypeError: it is no network.
    """
    target = find_layer(classifier, layer)  # what is no network has no preprocess, either
    preprocess = getattr(classifier, "preprocess", None)
    if not callable(preprocess):
        kind = type(classifier).__name__
        raise ImageError(
            f"This {kind} does not say how a photo becomes what it reads. Set its preprocess to a "
            "function from a PIL photo to 3 x H x W floats, such as model.preprocess = "
            "course_utils.networks.preprocess.Preprocess(256, 224, mean, std), with the mean and "
            "std it was trained with; and model.categories to the names of its classes."
        )
    read = preprocess(photo)
    check_read(read)
    x = beside_weights(read[None], classifier)
    forward_pass = ForwardPass(classifier, x, target)
    logits = forward_pass.logits
    check_classes(logits)
    masks = getattr(preprocess, "region_mask", None)
    known = boxes if masks is not None else None
    regions = {region: masks(box, photo.size) for region, box in (known or {}).items()}
    pixels = shown(preprocess, x[0]).numpy()
    return Scene(name, classifier, x, forward_pass, pixels, regions, sigmoid=sigmoid)


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
    """A probability with three digits after the point; a smaller one as a power of ten."""
    p = float(p)
    return f"{p:.3f}" if p >= 0.001 or p == 0 else f"{p:.0e}".replace("e-0", "e-")


def panels(
    scene: Scene,
    answers: list[Explanation],
    opacity: float,
    masks: list[Tensor | None],
    scale: str = "own",
) -> str:
    """The photo and its maps side by side, as HTML.

    Args:
        opacity: of the maps, 0 to 1.
        masks: the known answer for each contrast, or None; drawn as an outline.
        scale: "own", each map on its own; "shared", all on Grad-CAM's: weak maps look weak.
    """
    first = masks[0]
    told = f"The photo {scene.name}, as the network saw it."
    saw = "What the network saw"
    if scene.fine is not None:
        height, width = scene.pixels.shape[:2]
        saw += f", in {width} x {height} pixels; drawn finer here"
    drawn = [_panel(scene.shown, first, told, saw)]
    maps = torch.cat([answer.maps for answer in answers], dim=1)
    maps = on_scale(maps, torch.cat([answer.strength for answer in answers], dim=1), scale)[0].cpu()
    rows = [row for answer in answers for row in zip(answer.questions[0], answer.strength[0])]
    maps = upsample(maps, scene.shown.shape[:2]).clamp(0, 1)
    for (question, strength), values, mask in zip(rows, maps, [first, first, *masks]):
        caption = f"{question} ({strength_in_words(float(strength))})"
        if strength == 0:
            caption = f"{question} The map is empty: no positive evidence."
        told = f"{question} The map over the photo {scene.name}. {strongest(values)}"
        drawn.append(_panel(overlay(scene.shown, values, opacity), mask, told, caption))
    flow = "display:flex;flex-wrap:wrap;gap:0.5em 0.8em;line-height:1.4"
    return f"<div style='{flow}'>{''.join(drawn)}</div>" + _legend(opacity, first is not None)


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


def _legend(opacity: float, outline: bool) -> str:
    colours = overlay_colours(opacity)(np.linspace(0, 1, 9), bytes=True)[:, :3].tolist()
    gradient = ",".join("rgb({},{},{})".format(*colour) for colour in colours)
    bar = (
        f"display:inline-block;width:8em;height:0.8em;background:linear-gradient(90deg,{gradient})"
    )
    words = " White outline: the known answer to the contrast." if outline else ""
    return f"<p style='margin:0.3em 0'>Evidence: none <span style='{bar}'></span> most.{words}</p>"


def status_line(
    scene: Scene, p: int, q: list[int], loss: str, answers: list[Explanation], mask: Tensor | None
) -> str:
    """The answer as sentences of HTML: probabilities, strengths, and shares of known regions.

    Args:
        q: one or more Q, each named once.
        mask: the known answer to the first contrast; None where nobody knows, or it is hidden.
    """
    names, top = scene.names, scene.order[0]
    shown = [("P", p), *(("Q", i) for i in q)]
    words = [
        f"The network says <b>{html.escape(names[top])}</b> ({_percent(scene.p[top])}).",
        ", ".join(f"p({r} = {html.escape(names[i])}) = {in_digits(scene.p[i])}" for r, i in shown)
        + ".",
    ]
    if p in q and loss == "cross_entropy":
        words.append("With Q = P the question is: why not P with 100 % confidence?")
    elif p in q:
        words.append("With Q = P the difference of the logits is 0, and so is the map.")
    for answer in answers[1:]:  # the first is Grad-CAM itself
        words += map(_strength, answer.questions[0], answer.strength[0].tolist())
    if answers[0].empty[0, 0]:
        words.append(_strength(answers[0].questions[0][0], 0))
    return " ".join(words + _shares(scene, answers[-1].maps[0, 0], mask))


def _percent(p: float | Tensor) -> str:
    if 0.995 < p < 1:  # as a report says it
        return "more than 99%"
    return "less than 1%" if p < 0.005 else f"{float(p):.0%}"


def _strength(question: str, strength: float) -> str:
    """How strong the map is, in a sentence."""
    question = f"“{html.escape(question)}”"
    if strength == 0:
        return f"{question} has an empty map: no positive evidence."
    verb = "is" if strength < WEAK else "has"  # of an unknown one (NaN): "has strength unknown"
    return f"{question} {verb} {strength_in_words(strength)}."


def _shares(scene: Scene, values: Tensor, mask: Tensor | None) -> list[str]:
    regions = scene.regions | ({"known answer": mask} if mask is not None else {})
    shares = []
    for region, inside in regions.items():
        lies, covers = energy_inside(values, inside), float(inside.float().mean())
        # an empty map's share is NaN, and every map lies in the whole picture
        if not isnan(lies) and covers < 0.99:
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
