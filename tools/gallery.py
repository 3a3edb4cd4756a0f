"""Small copies of all pictures of the lectures, as files: for the gallery and the index's cards."""

import base64
import io
import re
from dataclasses import dataclass
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup
from PIL import Image

WIDTH = 720  # of a small copy, in pixels: twice as wide as it is shown
LEAST = 120  # pixels: what is smaller is a thumbnail or an icon, no picture
DATA = re.compile(r"^data:image/(png|jpeg|webp);base64,")


@dataclass(frozen=True)
class Shown:
    """A picture that a lecture shows.

    Attributes:
        cell: the id of the cell below which it stands.
        alt, caption: its words.
        image: the picture itself.
        card: whether it shall stand on the lecture's card.
    """

    cell: str
    alt: str
    caption: str
    image: Image.Image
    card: bool = False


def pictures(notebook: nbformat.NotebookNode) -> list[Shown]:
    """The pictures of a notebook that was run, in its order: figures, not tables or panels."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            html = output.get("data", {}).get("text/html", "")
            soup = BeautifulSoup(html if "<figure" in html else "", "html.parser")
            for figure in soup.find_all("figure"):
                image = figure.find("img", src=DATA)
                if image and not figure.find_parent(class_="panel"):
                    found.append(_shown(cell, figure, image))
    return [one for one in found if min(one.image.size) >= LEAST]


def _shown(cell: nbformat.NotebookNode, figure, image) -> Shown:
    data = base64.b64decode(DATA.sub("", image["src"]))
    pieces = figure.find_parent(class_="parts")  # the last of them has the words for all
    caption = figure.find("figcaption") or (pieces and pieces.find("figcaption"))
    words = caption.get_text(" ", strip=True) if caption else ""
    card = "card" in cell.metadata.get("tags", [])
    picture = Image.open(io.BytesIO(data))
    return Shown(cell.get("id", ""), image.get("alt", ""), words, picture, card)


def save_small(shown: Shown, path: Path) -> tuple[int, int]:
    """Write a small copy as WebP; its width and height in pixels."""
    small = shown.image.convert("RGB")
    small.thumbnail((WIDTH, 2 * WIDTH), Image.Resampling.LANCZOS)
    path.parent.mkdir(parents=True, exist_ok=True)
    small.save(path, "webp", quality=82, method=4)
    return small.size


def card_picture(shown: list[Shown]) -> int | None:
    """Which of a lecture's pictures stands on its card.

    The one of the cell that is tagged `card`, else the first wide one, or the first.
    """
    wide = [n for n, one in enumerate(shown) if one.image.width > 1.3 * one.image.height]
    chosen = [n for n, one in enumerate(shown) if one.card]
    return next(iter(chosen or wide or range(len(shown))), None)
