"""The contrast explorer: choose a photo, P and Q, and see the answers side by side.

Only ipywidgets' core controls are used, so that it runs in JupyterLab without extensions.
"""

import html
from collections.abc import Mapping
from dataclasses import replace

import ipywidgets as w
from PIL import Image
from torch import nn

from ..errors import ImageError, LayerError, WeightsError
from ..figures.overlays import STRENGTH, as_pixels
from ..methods.as_classes import AsClasses
from ..methods.cams import ContrastCAM, Explanation
from ..methods.classes import class_indices
from ..methods.layers import main_layers
from ..methods.output import Picker
from ..networks.birds import VARIANTS as BIRDS
from ..networks.classifiers import OFFLINE, load_classifier
from ..networks.pictures import as_rgb, is_picture
from ..photos import ALIASES, OPTIONAL_PHOTOS, PHOTOS, available_photos, load_photo
from . import contrast_view
from .methods import MethodChooser
from .panel import Panel, answering, dropdown, grid, text, upload

NONE = -1  # the value of an unused "and Q" list
ONLINE = ("resnet50", "vgg16", "mobilenet_v3_small")  # offered; their weights are fetched once
OPACITIES = {"faint": 0.4, "medium": STRENGTH, "strong": 0.9, "full": 1.0}
EXPECTED = (WeightsError, LayerError, ImageError, OSError)  # said in words; the old choice stays


def _named(photo: object, photos: Mapping[str, Image.Image] | None) -> dict[str, Image.Image]:
    """The pictures of one's own by their names, or a TypeError that shows how they are given."""
    if isinstance(photo, nn.Module):
        raise TypeError("A network of your own is given as ContrastExplorer(classifier=model).")
    try:
        named = None if is_picture(photo) else dict(photos or {})
    except (TypeError, ValueError):
        named = None
    if named is None:
        raise TypeError(
            "A photo is chosen by its name; pictures of your own are given with theirs: "
            "ContrastExplorer(photos={'mine': picture})."
        )
    return {n: p if isinstance(p, Image.Image) else as_rgb(p) for n, p in named.items()}


class ContrastExplorer(Panel):
    """Why P, rather than Q? on a photo, a network, a layer and classes of your choice.

    The forward pass is kept: a new P, Q, loss, scale or overlay costs only the head of the network.

    Args:
        photo: the first photo's name; default, the first of `photos`, or "chelsea".
        network: the first network's name; of drawn birds, the others of birds can then be chosen.
        why: P by name or number; default, the predicted class.
        rather_than: up to three Q; default, the most probable class besides P.
        photos: further photos by name (PIL), offered before the course's own.
        classifier: a network to use in place of the named ones. It needs `.preprocess`, a function
            from a PIL photo to 3 x H x W floats; its `.categories`, names, are used if it has any.
        truth: the known answers, a function of (photo's name, P's name, Q's name) that gives H x W
            bools as the network sees the photo, or None; only `photos` are then offered.
        fine: finer drawings of some of `photos`, by name: shown in their place, never asked about.
        sigmoid: whether each class has its own probability (a multi-label network), as for
            `ContrastCAM`.
        output: of `classifier`, a function from what it returns to the logits, as for `GradCAM`.

    Attributes:
        answers: the `Explanation`s on show: Why P?, What if absent?, and the contrasts.
        scene: the photo, the network and the forward pass behind them.
        other: the chooser of any other method, asked about the same photo, P and first Q.
        out: where an unforeseen error in a callback is shown.

    Raises:
        ClassError, ValueError, OSError, WeightsError: no such class (with the closest names), more
            than three Q, no such photo or network, or one that cannot be had.
    """

    def __init__(
        self,
        photo: str | None = None,
        network: str = "efficientnet_lite0",
        why: str | int | None = None,
        rather_than: list[str | int] | str | int | None = None,
        photos: dict[str, Image.Image] | None = None,
        classifier: nn.Module | None = None,
        truth: contrast_view.Truth | None = None,
        fine: dict[str, Image.Image] | None = None,
        sigmoid: bool = False,
        output: Picker | None = None,
    ):
        super().__init__()
        self._own = _named(photo, photos)
        self._given, self._truth, self._fine = classifier, truth, dict(fine or {})
        self._sigmoid = sigmoid
        if output is not None and classifier is not None:
            self._given = AsClasses(classifier, output)
        photo = photo or next(iter(self._own), "chelsea")
        photo = photo if photo in self._own else ALIASES.get(photo, photo)
        self._make_controls(photo, network)
        self._open(photo, network, None)
        self._fill_classes(predicted=True)
        self._choose(why, rather_than)
        self._redraw()
        self._listen()

    # --- controls ---------------------------------------------------------------------------

    def _names(self) -> list[str]:
        known = [] if self._truth is not None else available_photos()
        return list(dict.fromkeys([*self._own, *known]))

    def _make_controls(self, photo: str, network: str) -> None:
        networks = [(n, n) for n in OFFLINE] + [(f"{n} (fetched once)", n) for n in ONLINE]
        if network in BIRDS:
            networks = [(n, n) for n in BIRDS]
        if self._given is not None:
            own = self._given.network if isinstance(self._given, AsClasses) else self._given
            networks = [(f"{type(own).__name__} (given)", network)]
        elif network not in dict(networks).values():
            networks.append((network, network))
        names = self._names()
        self.photo = dropdown("Photo", names if photo in names else [photo, *names], photo)
        self.upload = upload("Your own photo", "image/*")
        self.network = dropdown("Network", networks, network)
        self.layer = dropdown("Layer")
        self.search = text("Search", "part of a class name")
        self.why = dropdown("Why P")
        self.rather_than = [dropdown(label) for label in ("rather than Q", "and Q2", "and Q3")]
        self.loss = dropdown("Loss", list(ContrastCAM.losses), "cross_entropy")
        scales = [("each map's own", "own"), ("Grad-CAM's, for all", "shared")]
        self.scale = dropdown("Scale", scales, "own")
        self.overlay = dropdown("Overlay", list(OPACITIES.items()), STRENGTH)
        self.known = dropdown("Known answer", [("hidden", False), ("shown", True)], False)
        scene = [self.photo, self.upload, self.network, self.layer]
        classes = [self.search, self.why, *self.rather_than]
        drawing = [self.loss, self.scale, self.overlay] + [self.known] * (self._truth is not None)
        self.pictures = w.HTML()
        self.arrange([grid(scene), grid(classes + drawing)], self.pictures)
        self.other = MethodChooser(lambda: (self.scene, self.why.value, self.rather_than[0].value))
        at = self.children.index(self.pictures) + 1
        self.children = [*self.children[:at], self.other, *self.children[at:]]

    def _listen(self) -> None:
        for control in (self.photo, self.network, self.layer):
            control.observe(self._run_again, "value")
        for control in (
            self.why,
            *self.rather_than,
            self.loss,
            self.scale,
            self.overlay,
            self.known,
        ):
            control.observe(self._ask_again, "value")
        self.search.observe(self._search, "value")
        self.upload.observe(self._add_upload, "value")
        self.quiet = False

    # --- callbacks ----------------------------------------------------------------------------

    @answering
    def _run_again(self, change) -> None:
        control = change.owner
        layer = None if control is self.network else self.layer.value
        names = self.scene.names
        if control is self.network:
            self.say(f"Loading {change.new} ...")
        try:
            self._open(self.photo.value, self.network.value, layer)
        except EXPECTED as reason:
            self.set(control, change.old)
            self.say(f"<b>{html.escape(str(reason))}</b>")
            return
        self._fill_classes(predicted=control is self.photo or self.scene.names != names)
        self._redraw()

    @answering
    def _ask_again(self, _change) -> None:
        self._redraw()

    @answering
    def _search(self, _change) -> None:
        self._fill_classes()
        self.say(self._words)

    @answering
    def _add_upload(self, change) -> None:
        for file in change.new:
            name = file["name"]
            self.say(f"Reading {html.escape(name)} ...")
            try:
                photo = load_photo(file["content"])
            except (ValueError, OSError) as reason:
                self.say(f"<b>{html.escape(name)}: {html.escape(str(reason))}</b>")
                return
            self._own[name] = photo
            self._fine.pop(name, None)
            self._open(name, self.network.value, self.layer.value)
            self.set(self.photo, name, self._names())
            self._fill_classes(predicted=True)
            self._redraw()

    # --- state --------------------------------------------------------------------------------

    def _open(self, photo: str, network: str, layer: str | None) -> None:
        """Run the network once; nothing changes unless all of it succeeds."""
        scene = getattr(self, "scene", None)
        if self._given is not None:
            classifier = self._given
        elif scene is not None and network == self._network:
            classifier = scene.classifier
        else:
            classifier = load_classifier(network)
        photos = PHOTOS | OPTIONAL_PHOTOS
        known = photos[photo].regions if photo in photos and photo not in self._own else None
        image = self._own[photo] if photo in self._own else load_photo(photo)
        scene = contrast_view.scene_of(photo, image, classifier, layer, known, self._sigmoid)
        fine = as_pixels(self._fine[photo]) if photo in self._fine else None
        self.scene = replace(scene, fine=fine)
        self.classifier, self._network = classifier, network
        layers = main_layers(classifier)
        kept = self.scene.forward_pass.layer
        self.set(self.layer, kept, layers if kept in layers else [*layers, kept])

    def _choose(self, why, rather_than) -> None:
        """The classes asked for at the start, by name or number."""

        def numbers(which) -> list[int]:
            return class_indices(which, 1, len(self.scene.p), self.scene.names)[0].tolist()

        if why is not None:
            p, *others = numbers(why)
            if others:
                raise ValueError(f"The explorer shows one P, but {1 + len(others)} were named.")
            self.set(self.why, p)
        runner_up = [next(i for i in self.scene.order if i != self.why.value)]
        q = runner_up if rather_than is None else numbers(rather_than)
        if len(q) > len(self.rather_than):
            raise ValueError(f"The explorer shows up to three Q, but {len(q)} were named.")
        for control, value in zip(self.rather_than, q + [NONE] * 2):
            self.set(control, value)

    def _fill_classes(self, predicted: bool = False) -> None:
        """The class lists, most probable first, narrowed by the search; a choice made stays."""
        if predicted:
            self.set(self.search, "")
        every, found = self.scene.found(""), self.scene.found(self.search.value)
        here = {value for _, value in found}
        start = [*self.scene.order[:2], NONE, NONE]
        for n, control in enumerate((self.why, *self.rather_than)):
            chosen = start[n] if predicted else control.value
            kept = [row for row in every if row[1] == chosen and chosen not in here]
            self.set(control, chosen, kept + found + [("(none)", NONE)] * (n > 1))
        self._found = len(found)

    # --- the answer ---------------------------------------------------------------------------

    def _redraw(self) -> None:
        p, wanted = self.why.value, [c.value for c in self.rather_than if c.value != NONE]
        q, scene, loss = list(dict.fromkeys(wanted)), self.scene, self.loss.value
        self.answers: list[Explanation] = scene.ask(p, q, loss)
        truth = self._truth if self.known.value else None
        masks = [contrast_view.known_answer(scene, truth, p, one) for one in q]
        self.pictures.value = contrast_view.panels(
            scene, self.answers, self.overlay.value, masks, self.scale.value
        )
        self._words = contrast_view.status_line(scene, p, q, loss, self.answers, masks[0])
        if len(q) < len(wanted):
            self._words += " A Q that was chosen twice is shown once."
        if truth is not None and masks[0] is None:
            self._words += " The answer to the first contrast is not known."
        self.say(self._words)
        self.other.outdated()

    def say(self, words: str) -> None:
        found = contrast_view.search_in_words(self.search.value, self._found, self.scene.names)
        super().say(f"{words} {found}".strip())
