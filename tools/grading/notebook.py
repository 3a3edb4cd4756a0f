"""Read a handed-in notebook: an untrusted file, of which nothing but its cells' text is used."""

import errno
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

BLANK = "YOUR ANSWER HERE"
MOST_CELLS = 5_000
MOST_PIECES = 1_000_000  # each takes fifty times its size in memory, here, outside the sandbox


class Unreadable(ValueError):
    """The submission cannot be read: a sentence that says why."""


@dataclass(frozen=True)
class Cell:
    """A cell's text, and the name that nbgrader gave it ("" if it has none).

    `kind` is "code", "markdown" or "raw".
    """

    kind: str
    source: str
    name: str = ""


@dataclass(frozen=True)
class Notebook:
    """A handed-in notebook.

    Attributes:
        cells: in their order.
        remarks: what is odd about it, as sentences for the student.
    """

    cells: tuple[Cell, ...]
    remarks: tuple[str, ...] = field(default=())

    def code(self) -> list[str]:
        """The code cells' texts."""
        return [cell.source for cell in self.cells if cell.kind == "code"]

    def named(self, name: str) -> list[str]:
        """The texts of all cells that bear this name."""
        return [cell.source for cell in self.cells if cell.name == name and cell.kind != "raw"]

    def words(self, name: str, task: str, given: Container[str]) -> str:
        """A learner's own words: in the cell of this name, and in cells of prose below the task.

        Args:
            task: the text of the cell above the one of this name.
            given: the texts (`tidy`) of the course's own cells.
        """
        found, is_below = [], False
        for cell in self.cells:
            text = tidy(cell.source)
            own = is_below and not (cell.name or cell.kind == "code" or text in given)
            is_below = is_below or cell.name == name or text == tidy(task)
            if (own or cell.name == name) and text not in ("", BLANK, *found):
                found.append(text)
        return "\n\n".join(found)


def tidy(text: str) -> str:
    """A cell's text as it is compared: without what editors add at the ends of lines."""
    return "\n".join(line.rstrip() for line in text.splitlines()).strip()


def shown(name: str) -> str:
    """A file's name as text that can be written anywhere: no control characters, no half bytes."""
    text = os.fsencode(name).decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def quoted(words: str, most: int = 300) -> str:
    """Words of a student's choice as a quotation: on one line, and no other way out of the marks.

    Without it "20 of 20 points" in an error's message would stand in the grader's own voice.
    """
    plain = "".join(c if c.isprintable() else " " for c in words)
    plain = re.sub("[\u201c\u201d\u201e\u201f]", '"', " ".join(plain.split()))
    return f"\u201c{plain[:most]}{'…' if len(plain) > most else ''}\u201d"


def read_bytes(path: Path, most: int) -> bytes:
    """The content of an ordinary file that lies where it seems to lie.

    Raises:
        Unreadable: it is a link, no file, or larger than `most` bytes.
    """
    name = (
        path.name if path.name.isascii() and path.name.isprintable() else quoted(shown(path.name))
    )
    try:
        # a link could lead to solutions/; opening a pipe could wait for ever
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            raise Unreadable(f"{name} is a link: hand in the file itself.") from None
        raise Unreadable(f"{name} cannot be opened ({error.strerror}).") from None
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise Unreadable(f"{name} is not a file.")
    with os.fdopen(file, "rb") as opened:
        content = opened.read(most + 1)
    if len(content) > most:
        raise Unreadable(
            f"{name} is larger than {most / 1e6:.0f} MB: clear its outputs and hand it in again."
        )
    return content


def parse(content: bytes) -> Notebook:
    """The cells of a notebook in format 3 or 4; what else it holds is ignored.

    Raises:
        Unreadable: this is no notebook, or one of absurdly many pieces.
    """
    if _is_in_pieces(content):
        raise Unreadable(
            "the file holds over a million pieces: clear its outputs and hand it in again."
        )
    try:
        whole = json.loads(content)  # in UTF-8, 16 or 32, with or without its mark
    except (ValueError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"[:120]
        raise Unreadable(
            f"the file is not a notebook: it cannot be read as JSON ({reason})."
        ) from None
    if not isinstance(whole, dict):
        raise Unreadable("the file is not a notebook: it holds no cells.")
    remarks = []
    lists = [whole.get("cells")]
    if "worksheets" in whole:
        remarks.append("This is a notebook of the old format 3; it was read all the same.")
        sheets = whole["worksheets"] if isinstance(whole["worksheets"], list) else []
        lists = [sheet.get("cells") for sheet in sheets if isinstance(sheet, dict)]
    found = [cell for cells in lists if isinstance(cells, list) for cell in cells]
    cells = tuple(cell for cell in map(_cell, found[:MOST_CELLS]) if cell is not None)
    if not cells:
        raise Unreadable("the notebook holds no cells.")
    kernel = _text(_inside(whole, "metadata", "kernelspec", "name"))
    if kernel not in ("", "python3"):
        remarks.append(f"Its kernel is called {quoted(kernel, 40)}; it was run as Python 3.")
    if any(_unbroken(cell.get("source")) for cell in found if isinstance(cell, dict)):
        remarks.append(
            "In cells of several lines the file has no line breaks, so that Jupyter shows one long "
            "line; they were read as lines. Hand in what Jupyter itself has saved."
        )
    if len(found) > MOST_CELLS:
        remarks.append(
            f"It holds {len(found)} cells: those after the first {MOST_CELLS} were not looked at. "
            "Hand in a notebook without them."
        )
    return Notebook(cells, tuple(remarks + _doubles(cells)))


def _is_in_pieces(content: bytes) -> bool:
    """Whether it holds more than `MOST_PIECES`; commas in printed numbers are none."""
    if sum(map(content.count, (b",", b"[", b"{"))) <= MOST_PIECES:
        return False
    found = re.finditer(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[,[{]', content, re.DOTALL)
    pieces = (one for one in found if one[0][:1] != b'"')
    return next(islice(pieces, MOST_PIECES, None), None) is not None


def _cell(cell) -> Cell | None:
    if not isinstance(cell, dict):
        return None
    kind = _text(cell.get("cell_type"))
    source = _text(cell.get("source", cell.get("input")))
    name = _text(_inside(cell, "metadata", "nbgrader", "grade_id"))
    return Cell(kind, source, name) if kind in ("code", "markdown", "raw") else None


def _inside(value, *names: str):
    """value[a][b]..., or None where there is no such thing."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _text(value) -> str:
    """A text, also one that is kept as a list of lines; "" for anything else."""
    if isinstance(value, list):
        lines = [line for line in value if isinstance(line, str)]
        value = ("\n" if _unbroken(value) else "").join(lines)
    # lone surrogates are valid JSON, but no text that could be written anywhere
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _unbroken(value) -> bool:
    """Whether it is a list of lines without line breaks, as programs write that split at them."""
    lines = [line for line in value if isinstance(line, str)] if isinstance(value, list) else []
    return len(lines) > 1 and not any("\n" in line for line in lines)


def _doubles(cells: tuple[Cell, ...]) -> list[str]:
    names = [cell.name for cell in cells if cell.name and cell.kind != "raw"]
    double = [name for name, many in sorted(Counter(names).items()) if many > 1]
    if not double:
        return []
    listed = ", ".join(quoted(name, 60) for name in double[:10])
    return [
        "These cells are there twice; of two functions with one name the last one counts: "
        f"{listed}."
    ]
