"""The contrast explorer: choose a photo, P and Q, and see the answers side by side.

Only ipywidgets' core controls are used, so that it runs in JupyterLab without extensions.
"""

import html
import io

import ipywidgets as w
import numpy as np
from PIL import Image
from torch import Tensor, nn

from .cams import ContrastCAM, CounterfactualCAM, Explanation, GradCAM
from .classifiers import OFFLINE, load_classifier
from .engine import ForwardPass
from .errors import WeightsError
from .figures import figure_html, overlay, where
from .layers import main_layers
from .photos import PHOTOS, available_photos, load_photo

NONE = -1  # the value of an unused "and Q" list
ONLINE = ("resnet50", "vgg16", "mobilenet_v3_small")  # offered; their weights need a connection once
STRENGTHS = {"faint": 0.35, "medium": 0.6, "strong": 0.85, "map only": 1.0}


def _dropdown(label: str, options, value=None) -> w.Dropdown:
    wide = w.Layout(width="auto", min_width="17em", flex="1 1 17em")
    return w.Dropdown(
        description=label, options=options, value=value, layout=wide, style={"description_width": "7em"}
    )


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray((pixels * 255).round().astype("uint8")).save(buffer, "png", compress_level=1)
    return buffer.getvalue()


class ContrastExplorer(w.VBox):
    """Why P, rather than Q? on a photo, a network, a layer and classes of your choice.

    The forward pass is kept: a new P, Q, loss or strength costs only the head of the network.

    Args:
        photo: the first photo's name.
        network: the first network's name.
        why: P by name; default, the predicted class.
        rather_than: up to three Q by name; default, the runner-up.
        photos: further photos by name (PIL), offered before the course's own.
        classifier: a network to use in place of the named ones.

    Attributes:
        answers: the `Explanation`s on show: Why P?, What if absent?, and the contrasts.
        out: where an unforeseen error in a callback would be shown.
    """

    def __init__(
        self,
        photo: str = "chelsea",
        network: str = "efficientnet_lite0",
        why: str | None = None,
        rather_than: list[str] | None = None,
        photos: dict[str, Image.Image] | None = None,
        classifier: nn.Module | None = None,
    ):
        self._own: dict[str, Image.Image] = dict(photos or {})
        self._given, self._quiet = classifier, True
        self.out = w.Output()
        self._make_controls(photo, network)
        super().__init__([self._controls, self.status, self.pictures, self.out])
        self._open(self.network.value, self.photo.value)
        self._start_classes(why, rather_than)
        self._listen()
        self._redraw()

    # --- controls ---------------------------------------------------------------------------

    def _make_controls(self, photo: str, network: str) -> None:
        names = [*self._own, *available_photos()]
        networks = ["(given)"] if self._given is not None else [*OFFLINE, *ONLINE]
        self.photo = _dropdown("Photo", names, photo if photo in names else names[0])
        self.upload = w.FileUpload(accept="image/*", description="Your own photo")
        self.network = _dropdown("Network", networks, network if network in networks else networks[0])
        self.layer = _dropdown("Layer", [])
        self.search = w.Text(
            description="Search", placeholder="part of a class name", continuous_update=True,
            layout=w.Layout(width="auto", min_width="17em", flex="1 1 17em"),
            style={"description_width": "7em"},
        )  # fmt: skip
        self.why = _dropdown("Why P", [])
        self.rather_than = [_dropdown(label, []) for label in ("rather than Q", "and Q2", "and Q3")]
        self.loss = _dropdown("Loss", list(ContrastCAM.losses), "cross_entropy")
        self.strength = _dropdown("Overlay", list(STRENGTHS.items()), STRENGTHS["medium"])
        self.status, self.pictures = w.HTML(), w.HTML()
        rows = [
            [self.photo, self.network, self.layer, self.upload],
            [self.search, self.why, *self.rather_than],
            [self.loss, self.strength],
        ]
        wrap = w.Layout(flex_flow="row wrap", align_items="center")
        self._controls = w.VBox([w.Box(row, layout=wrap) for row in rows])

    def _listen(self) -> None:
        for control in (self.photo, self.network, self.layer):
            control.observe(self._look_again, "value")
        for control in (self.why, *self.rather_than, self.loss, self.strength):
            control.observe(self._ask_again, "value")
        self.search.observe(self._search, "value")
        self.upload.observe(self._add_upload, "value")
        self._quiet = False

    # --- callbacks: each body inside `with self.out`, where an error can be seen -----------------

    def _look_again(self, change) -> None:
        with self.out:
            if self._quiet:
                return
            self.out.clear_output()
            try:
                self._open(self.network.value, self.photo.value, self.layer.value, change.owner)
            except (WeightsError, ValueError, OSError) as reason:  # said in words; the old choice stays
                self._set(change.owner, change.old)
                self._say(f"<b>{html.escape(str(reason))}</b>")
                return
            self._redraw()

    def _ask_again(self, _change) -> None:
        with self.out:
            if not self._quiet:
                self.out.clear_output()
                self._redraw()

    def _search(self, _change) -> None:
        with self.out:
            self.out.clear_output()
            self._fill_classes()
            self._redraw()

    def _add_upload(self, change) -> None:
        with self.out:
            self.out.clear_output()
            for file in change.new:
                try:
                    self._own[file["name"]] = load_photo(file["content"])
                except (ValueError, OSError) as reason:
                    self._say(f"<b>{html.escape(file['name'])}: {html.escape(str(reason))}</b>")
                    return
                name = file["name"]
                self._set(self.photo, self.photo.value, [*self._own, *available_photos()])
                self.photo.value = name

    def _set(self, control, value, options=None) -> None:
        """Change a control without asking anew."""
        before, self._quiet = self._quiet, True
        if options is not None:
            control.options = options
        control.value = value
        self._quiet = before

    # --- state --------------------------------------------------------------------------------

    def _open(self, network: str, photo: str, layer: str | None = None, changed=None) -> None:
        """Run the network once; everything asked afterwards reads the pass that is kept."""
        if changed is None or changed is self.network:
            self.classifier = self._given if self._given is not None else load_classifier(network)
            layer = self.classifier.layer
        image = self._own.get(photo) or load_photo(photo)
        x = self.classifier.preprocess(image)[None]
        seen = ForwardPass(self.classifier, x, layer)
        self._seen, self._image, self._name = seen, image, photo
        self._pixels = self.classifier.preprocess.show(x[0]).numpy()
        self._set(self.layer, layer, main_layers(self.classifier))
        self._p = seen.probabilities()[0]
        self._order = self._p.argsort(descending=True).tolist()
        if changed is not None:
            self._set(self.search, "")
            self._fill_classes(predicted=changed is not self.layer)

    def _start_classes(self, why: str | None, rather_than: list[str] | None) -> None:
        names = self.classifier.categories
        wanted = [names.index(q) for q in (rather_than or [names[self._order[1]]])][:3]
        self._fill_classes(predicted=True)
        if why is not None:
            self._set(self.why, names.index(why))
        for control, q in zip(self.rather_than, wanted + [NONE] * (3 - len(wanted))):
            self._set(control, q)

    def _fill_classes(self, predicted: bool = False) -> None:
        """The class lists, most probable first, narrowed by the search; a choice made stays."""
        text = self.search.value.strip().lower()
        names = self.classifier.categories
        rows = [(f"{names[i]}   {self._p[i]:.3f}", i) for i in self._order]
        found = [row for row in rows if text in names[row[1]].lower()]
        top = self._order[0], self._order[1], NONE, NONE
        for n, control in enumerate((self.why, *self.rather_than)):
            chosen = top[n] if predicted or control.value is None else control.value
            options = found + [row for row in rows if row[1] == chosen and row not in found]
            self._set(control, chosen, options + [("(none)", NONE)] * (n > 1))
        self._found = len(found)

    # --- the answer ---------------------------------------------------------------------------

    def _redraw(self) -> None:
        p = self.why.value
        q = list(dict.fromkeys(c.value for c in self.rather_than if c.value != NONE))
        model, layer = self.classifier, self._seen.layer
        self.answers: list[Explanation] = [
            GradCAM(model, layer)(self._seen, why=p),
            CounterfactualCAM(model, layer)(self._seen, why=p),
            ContrastCAM(model, layer, loss=self.loss.value)(self._seen, why=p, rather_than=q),
        ]
        panels = [figure_html(_png(self._pixels), f"The photo {self._name}, as the network saw it.",
                              "What the network saw", "width:224px")]  # fmt: skip
        for answer in self.answers:
            for question, values in zip(answer.questions[0], answer.maps[0]):
                panels.append(self._panel(question, values))
        self.pictures.value = (
            "<div style='display:flex;flex-wrap:wrap;gap:0.8em'>" + "".join(panels) + "</div>"
        )
        self._say(self._in_words(p, q))

    def _panel(self, question: str, values: Tensor) -> str:
        pixels = overlay(self._pixels, values, self.strength.value)
        empty = "" if bool((values > 0).any()) else " Nothing to draw: no positive evidence."
        return figure_html(_png(pixels), f"{question} {where(values).capitalize()}.", question + empty, "width:224px")

    def _in_words(self, p: int, q: list[int]) -> str:
        names = self.classifier.categories
        top = self._order[0]
        words = [f"The network says <b>{html.escape(names[top])}</b> ({self._p[top]:.0%})."]
        shown = [("P", p), *(("Q", i) for i in q)]
        words.append(", ".join(f"p({role} = {html.escape(names[i])}) = {self._p[i]:.3f}" for role, i in shown) + ".")
        known = PHOTOS.get(self._name)
        if known is not None and self._name not in self._own and known.regions:
            values, shares = self.answers[-1].maps[0, 0], []
            for region, box in known.regions.items():
                mask = self.classifier.preprocess.region_mask(box, self._image.size)
                shares.append(f"{float((values * mask).sum() / values.sum().clamp(min=1e-12)):.0%} in the {region}")
            words.append("Of the first contrast's map, " + ", ".join(shares) + ".")
        if self.search.value.strip():
            words.append(f"{self._found} class names contain “{html.escape(self.search.value.strip())}”.")
        return " ".join(words)

    def _say(self, words: str) -> None:
        self.status.value = f"<div role='status' class='explorer-status'>{words}</div>"
