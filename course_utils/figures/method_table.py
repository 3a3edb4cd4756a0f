"""The table of methods, with what each one answered about a picture, as HTML."""

import base64
from collections.abc import Callable, Sequence
from html import escape

import numpy as np
from PIL import Image

from .overlays import as_pixels, overlay
from .picture import jpeg

SIDE = 112  # pixels of a thumbnail
# A widget sets its lines twice as wide as a page does: the height of a line is said here.
_CELL = (
    "line-height:1.4;text-align:left;vertical-align:top;padding:6px;white-space:normal;"
    "min-width:{}em"
)


def answer_pictures(answer, picture) -> list[tuple[np.ndarray, str]]:
    """What is to be seen of an answer: its first map over the picture, or its own pictures.

    Args:
        answer: a method's `Answer`.
        picture: H x W x 3 in [0, 1], what the network saw.

    Returns:
        (H x W x 3, title); empty for an answer that is a number.
    """
    if answer.maps is not None:
        return [(overlay(picture, answer.maps[0, 0]), answer.titles[0])]
    return [(as_pixels(pixels), title) for pixels, title in answer.pictures]


def thumbnail(pixels: np.ndarray, alt: str) -> str:
    """A small picture as an HTML image."""
    small = Image.fromarray((as_pixels(pixels) * 255).astype("uint8")).resize((SIDE, SIDE))
    data = base64.b64encode(jpeg(small)).decode()
    style = f"width:{SIDE}px;max-width:none;margin:0"
    return f'<img alt="{escape(alt)}" style="{style}" src="data:image/jpeg;base64,{data}">'


class MethodTable:
    """Rows of the taxonomy with their answers; scrolls sideways on a narrow page.

    Args:
        methods: rows of `METHODS`.
        answers: method's name -> its answers, one for each head.
        picture: H x W x 3 in [0, 1], what the network saw.
        heads: what the answers are about, such as "About the cat".
        caption: what the table shows.
        words: says something about an answer's map, to be written below it.
        costs: method's name -> what it took here.
    """

    def __init__(
        self, methods: Sequence, answers: dict, picture, heads: Sequence[str], caption: str,
        words: Callable | None = None, costs: dict | None = None,
    ):  # fmt: skip
        self.methods, self.answers, self.picture = methods, answers, picture
        self.heads, self.caption = list(heads), caption
        self.words, self.costs = words or (lambda answer: ""), costs or {}

    def _shown(self, method, answer) -> str:
        pictures = answer_pictures(answer, self.picture)
        words = self.words(answer) if answer.maps is not None else ""
        images = [thumbnail(p, f"{method.name}, {title}. {words}") for p, title in pictures]
        return "".join(images) + "<br>" + escape(" ".join(filter(None, [words, answer.said])))

    def _row(self, method) -> str:
        paper = f'<a href="https://arxiv.org/abs/{method.arxiv}">{escape(method.paper)}</a>'
        name = f'<b>{method.name}</b><br><span style="font-weight:normal">{paper}</span>'
        here = f"<br>(here: {self.costs[method.name]})" if method.name in self.costs else ""
        known = [method.label, escape(method.question), method.needs, method.cost + here]
        found = self.answers[method.name]
        wide = f' colspan="{len(self.heads)}"' if len(found) == 1 else ""
        cells = [f'<td style="{_CELL.format(0)}">{cell}</td>' for cell in known]
        cells += [
            f'<td{wide} style="{_CELL.format(0)}">{self._shown(method, one)}</td>' for one in found
        ]
        return f'<tr><th scope="row" style="{_CELL.format(0)}">{name}</th>{"".join(cells)}</tr>'

    def _repr_html_(self) -> str:
        widths = {
            "Method": 8,
            "Label": 4.5,
            "The question it answers": 9,
            "Needs": 5.5,
            "Cost": 7.5,
        }
        widths |= {head: 8 for head in self.heads}
        heads = [f'<th scope="col" style="{_CELL.format(w)}">{h}</th>' for h, w in widths.items()]
        caption = f'<caption style="text-align:left;white-space:normal">{self.caption}</caption>'
        head = f"{caption}<thead><tr>{''.join(heads)}</tr></thead>"
        body = f"<tbody>{''.join(map(self._row, self.methods))}</tbody>"
        table = f'<table style="display:table;width:auto;max-width:none">{head}{body}</table>'
        region = f'tabindex="0" role="region" aria-label="{escape(self.caption)}"'
        return f'<div style="overflow-x:auto" {region}>{table}</div>'
