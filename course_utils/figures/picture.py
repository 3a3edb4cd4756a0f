"""A finished picture with the words that belong to it, as HTML that carries both to the page."""

import base64
import html
import io
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from ..errors import a_kind_of
from .panels import defaults, say_missing

SHARP = 144  # dots per inch of the PNG, drawn on the page at 96


class Picture:
    """A finished figure with the words that belong to it.

    Args:
        figure: a matplotlib figure.
        alt: what the picture shows, for those who do not see it.
        caption: what to look for in it.
        parts: the same in pieces, which stand on a page one below the other: each fits a slide.

    Raises:
        ValueError: no alt text. TypeError: no figure.
    """

    def __init__(
        self, figure: Figure, alt: str, caption: str = "", parts: Sequence["Picture"] = ()
    ):
        if not isinstance(figure, Figure):
            kind = type(figure).__name__
            raise TypeError(
                f"A Picture holds a matplotlib figure, such as axes.figure, not {kind}."
            )
        if not isinstance(alt, str) or not alt.strip():
            raise ValueError("A picture needs alt text: say in a sentence what it shows.")
        self.figure, self.alt, self.caption, self.parts = figure, alt, caption, tuple(parts)

    def png(self) -> bytes:
        """The picture as a PNG file's content."""
        return self._drawn("png")

    def save(self, path: str | bytes | os.PathLike) -> None:
        """Write the picture to a file, in the format that its name ends in: .png, .pdf, .svg, .jpg.

        Raises:
            ValueError: matplotlib writes no such format (with those it does).
            FileNotFoundError: there is no such folder.
            OSError: the path is no file's, but a folder's or a pipe's, or cannot be written.
            TypeError: no path, such as an open file.
        """
        if not isinstance(path, (str, bytes, os.PathLike)):
            raise TypeError(
                f"A picture is saved by a path whose name ends in .png, .pdf, .svg or .jpg, not to "
                f"{a_kind_of(path)}. .png() gives the content of a PNG file."
            )
        path = Path(os.path.expanduser(os.fsdecode(path)))
        kinds = self.figure.canvas.get_supported_filetypes()
        kind = path.suffix.lower().removeprefix(".")
        if kind not in kinds:
            raise ValueError(
                f"'{path.name}' names no format of a picture: end it in .png, .pdf, .svg or .jpg "
                f"(also possible: {', '.join(sorted(kinds))})."
            )
        if not path.parent.is_dir():
            raise FileNotFoundError(
                f"There is no folder '{path.parent}' to save '{path.name}' in: make it first."
            )
        if path.exists() and not path.is_file():  # who writes into a pipe waits for a reader
            raise OSError(f"'{path}' is a folder, a pipe or a device: give the path of a file.")
        path.write_bytes(self._drawn(kind))

    def _drawn(self, kind: str) -> bytes:
        buffer = io.BytesIO()
        with defaults(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for text in self.figure.findobj(Text):
                text.set_usetex(False)  # of a chart that was made outside of `figures`
            self.figure.savefig(buffer, format=kind, dpi=SHARP, facecolor="white")
        _say(caught)
        return buffer.getvalue()

    def __repr__(self) -> str:
        return f"Picture: {self.alt}"

    def _repr_html_(self) -> str:
        if self.parts:
            return f"<div class='parts'>{''.join(part._repr_html_() for part in self.parts)}</div>"
        width = round(96 * self.figure.get_figwidth())
        # on a phone it is scrolled sideways, rather than shrunk until its words cannot be read
        image = f"width:{width}px;min-width:min({width}px, 32em)"
        return figure_html(self.png(), self.alt, self.caption, "overflow-x:auto", image)


def _say(caught: Sequence[warnings.WarningMessage]) -> None:
    """What matplotlib warned of; of all missing letters together, in one sentence."""
    missing = ""
    for one in caught:
        found = re.match(r"Glyph (\d+) .*missing from font", str(one.message))
        if found is None:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
        elif (letter := chr(int(found[1]))) not in missing:
            missing += letter
    if missing:
        say_missing(missing)


def jpeg(picture: Image.Image) -> bytes:
    """A picture for a widget, as a JPEG file's content: small enough to be sent at every step."""
    buffer = io.BytesIO()
    picture.save(buffer, "jpeg", quality=92, subsampling=0)
    return buffer.getvalue()


def figure_html(
    picture: bytes, alt: str, caption: str = "", style: str = "", image: str = "", kind: str = "png"
) -> str:
    """A picture as an HTML figure whose alt text and caption reach the page.

    Args:
        picture: the content of a file of that kind, "png" or "jpeg".
        style, image: CSS for the figure, and for the picture in it.
    """
    data = base64.b64encode(picture).decode()
    words = (
        f"<figcaption style='max-width:60em'>{html.escape(caption)}</figcaption>" if caption else ""
    )
    return (
        f"<figure style='margin:0.5em 0;{style}'><img alt=\"{html.escape(alt, quote=True)}\" "
        f"style='max-width:100%;height:auto;{image}' "
        f"src='data:image/{kind};base64,{data}'>{words}</figure>"
    )
