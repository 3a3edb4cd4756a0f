"""Write marks into the LMS's own export: one column changes, and every other byte stays.

Canvas's gradebook and Moodle's grading worksheet are CSV files that the LMS takes back as they
came. A CSV library would write them anew, with other quotes and line ends. So the cells' places in
the text are found, and only the marks are put there.
"""

import codecs
import csv
import io
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from .assignment import Assignment
from .by_hand import ByHand
from .collect import is_called, listed
from .notebook import quoted
from .table import automatic_marks

CANVAS, MOODLE = {"Student", "ID"}, {"Identifier", "Grade", "Last modified (grade)"}
LOGINS = ("SIS Login ID", "SIS User ID", "Email address", "Email", "ID number", "Username", "Login")


class NoRoster(ValueError):
    """This file is no export that can be filled: a sentence that says what is missing."""


@dataclass
class Cell:
    """A cell: its value, and where it stands in the text."""

    value: str
    start: int
    end: int


@dataclass
class Filled:
    """The export with marks in it.

    Attributes:
        content: the file's bytes.
        filled: how many students have a mark in it now.
        said: sentences about who was not found, and what does not fit.
    """

    content: bytes
    filled: int = 0
    said: list[str] = field(default_factory=list)


def fill(
    path: Path, grades: list[dict], assignment: Assignment, marks: ByHand, origins: dict
) -> Filled:
    """Fill an LMS's export.

    Args:
        origins: student's folder -> what the LMS calls the student, see `lms.origins`.

    Raises:
        NoRoster: it is neither of the two exports, or has no column for the assignment.
        OSError: it cannot be read.
    """
    content = path.read_bytes()
    encoding, text = _decoded(content)
    table = _cells(text)
    head, system = _head(table, path)
    column = _column(head, system, assignment, path)
    found = _matched(table, head, system, grades, origins)
    changes, said, comma = {}, found.said, _comma(table, column)
    odd = [number for number in found.rows if not _fits(table[number], table[0], column)]
    if odd:
        names = _all([found.rows.pop(number)["student"] for number in odd])
        said.append(
            f"Not filled, since their rows end before the column, or are longer than the first "
            f"row: {names}."
        )
    for number, grade in found.rows.items():
        hand = marks.of(grade, assignment)
        total = None if hand is None else round(automatic_marks(grade) + hand, 2)
        changes[number] = "" if total is None else f"{total:g}".replace(".", "," if comma else ".")
    filled = sum(bool(value) for value in changes.values())
    if system == "canvas":
        changes |= _points_possible(table, column, assignment, said)
    else:
        said += _maximum(table, head, assignment)
    new = _with(text, table, column, changes)
    return Filled(new.encode(encoding), filled, said)


def _fits(row: list[Cell], head: list[Cell], column: int) -> bool:
    """Whether the column is there, and where it should be: a stray quote or comma moves cells."""
    return column < len(row) and not any(cell.value.strip() for cell in row[len(head) :])


def _decoded(content: bytes) -> tuple[str, str]:
    """(encoding, text) such that encoding the text gives the same bytes again."""
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    little = content.startswith(codecs.BOM_UTF16_LE)
    tried = ("utf-16-le" if little else "utf-16-be",) if utf16 else ("utf-8", "cp1252")
    for encoding in (*tried, "latin-1"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if text.encode(encoding) == content:
            return encoding, text
    raise AssertionError("latin-1 reads everything")


def _cells(text: str) -> list[list[Cell]]:
    """All cells with their places; the delimiter is what the first line has most of."""
    csv.field_size_limit(max(len(text), csv.field_size_limit()))  # Moodle's "Online text" is long
    first = re.match(r"[^\r\n]*", text)[0]
    delimiter = max(",;\t", key=first.count)
    rows, row, at = [], [], int(text.startswith("\ufeff"))
    piece = re.compile(rf'"(?:[^"]|"")*"[^{delimiter}\r\n]*|[^{delimiter}\r\n]*')
    while at < len(text) or row:
        found = piece.match(text, at)
        row.append(Cell(_value(found[0]), *found.span()))
        at = found.end()
        if text[at : at + 1] == delimiter:
            at += 1
            continue
        at += len(re.compile(r"\r\n|\r|\n|").match(text, at)[0])
        rows.append(row)
        row = []
    return rows


def _value(written: str) -> str:
    """What a cell says: without its quotes."""
    if written.startswith('"'):
        return next(csv.reader(io.StringIO(written, newline="")))[0]
    return written


def _head(table: list[list[Cell]], path: Path) -> tuple[dict[str, int], str]:
    """The columns' places by name, and whose export it is."""
    head = {cell.value.strip(): number for number, cell in enumerate(table[0] if table else [])}
    if MOODLE <= head.keys():
        return head, "moodle"
    if CANVAS <= head.keys():
        return head, "canvas"
    raise NoRoster(
        f"{path} was not filled: it is neither Moodle's grading worksheet (columns "
        f"{', '.join(sorted(MOODLE))}) nor Canvas's gradebook (Student, ID). It has "
        f"{listed(list(head)) or 'no column'}. Export it with the LMS set to English, as it came."
    )


def _column(head: dict[str, int], system: str, assignment: Assignment, path: Path) -> int:
    """The column where the marks go."""
    if system == "moodle":
        return head["Grade"]
    named = {name: re.sub(r"\s*\(\d+\)\s*$", "", name) for name in head}
    fits = [name for name, plain in named.items() if is_called(plain, assignment.name)]
    if not fits:  # "Exercise ex02: Grad-CAM": the assignment's number as a word of its own
        number = rf"(?i)(?<![a-z0-9]){assignment.name.split('_')[0]}(?![a-z0-9])"
        fits = [name for name, plain in named.items() if re.search(number, plain)]
    if len(fits) != 1:
        raise NoRoster(
            f"{path} was not filled: {len(fits) or 'no'} columns are called {assignment.name}. "
            f"It has {listed(list(head))}. Name the assignment in Canvas {assignment.name}, and "
            "export the gradebook again."
        )
    return head[fits[0]]


@dataclass
class _Matched:
    rows: dict[int, dict] = field(default_factory=dict)  # row's number -> grade
    said: list[str] = field(default_factory=list)


def _matched(table, head: dict[str, int], system: str, grades: list[dict], origins) -> _Matched:
    """Rows and grades that belong together: by the LMS's number, else by a login or an address.

    Never by names that look alike: two students may share one.
    """
    numbers = _index(table, head["Identifier" if system == "moodle" else "ID"], _digits)
    columns = [head[name] for name in LOGINS if name in head]
    logins = [_index(table, column, _login) for column in columns]
    found, nobody, doubled, taken = _Matched(), [], [], set()
    for grade in grades:
        origin = origins.get(grade["student"], {})
        id = origin.get("id", "") if origin.get("system") == system else grade["student"]
        rows = numbers.get(id)
        if not rows:
            student = _login(grade["student"])
            rows = next(filter(None, (index.get(student) for index in logins)), None)
        if not rows:
            nobody.append(grade["student"])
        elif len(rows) > 1 or rows[0] in taken:
            doubled.append(grade["student"])
            if rows[0] in found.rows:
                doubled.append(found.rows.pop(rows[0])["student"])
        else:
            found.rows[rows[0]] = grade
            taken.add(rows[0])
    if nobody:
        found.said.append(
            f"Not in the roster, by number, login or address: {_all(nobody)}. "
            "Enter their marks by hand."
        )
    if doubled:
        found.said.append(f"Not filled, since more than one row or hand-in fits: {_all(doubled)}.")
    people = [n for n in range(1, len(table)) if _is_person(table[n], head, system)]
    without = [_name(table[n], head, system) for n in people if n not in found.rows]
    if without:
        found.said.append(
            f"In the roster without a hand-in, and left as they are: {_all(without)}."
        )
    return found


def _all(names: list[str]) -> str:
    return ", ".join(quoted(name, 80) for name in sorted(set(names)))


def _index(table, column: int, key) -> dict[str, list[int]]:
    """Rows by the value of a column."""
    found: dict[str, list[int]] = {}
    for number, row in enumerate(table[1:], 1):
        value = key(row[column].value.strip()) if column < len(row) else ""
        if value:
            found.setdefault(value, []).append(number)
    return found


def _login(value: str) -> str:
    """As it is compared: capitals, and how an umlaut is encoded, make no difference."""
    return unicodedata.normalize("NFC", value).casefold()


def _digits(value: str) -> str:
    """Moodle's "Participant 123", Canvas's "123"."""
    found = re.fullmatch(r"(?:\D*\s)?(\d+)", value)
    return found[1] if found else ""


def _is_person(row: list[Cell], head: dict[str, int], system: str) -> bool:
    column = head["Identifier" if system == "moodle" else "ID"]
    return column < len(row) and bool(_digits(row[column].value.strip()))


def _name(row: list[Cell], head: dict[str, int], system: str) -> str:
    column = head.get("Full name", head["Identifier"]) if system == "moodle" else head["Student"]
    return row[column if column < len(row) else 0].value.strip()


def _points_possible(table, column: int, assignment: Assignment, said: list[str]) -> dict[int, str]:
    """Canvas's row of the most points, with those of the assignment."""
    for number, row in enumerate(table[1:4], 1):
        if row[0].value.strip() == "Points Possible" and column < len(row):
            there = row[column].value.strip()
            try:
                same = float(there) == assignment.points
            except ValueError:
                same = False
            if same:
                return {}
            if there:
                said.append(
                    f"Canvas counts {quoted(there, 20)} points for {assignment.name}, which has "
                    f"{assignment.points:g}: set {assignment.points:g} in Canvas, too."
                )
            return {number: f"{assignment.points:g}"}
    return {}


def _maximum(table, head: dict[str, int], assignment: Assignment) -> list[str]:
    """A sentence if Moodle counts other points than the assignment has."""
    column = head.get("Maximum Grade")
    found = {row[column].value.strip() for row in table[1:] if column and column < len(row)} - {""}
    wrong = sorted(one for one in found if _number(one) != assignment.points)
    if not wrong:
        return []
    return [
        f"Moodle counts {quoted(wrong[0], 20)} points for {assignment.name}, which has "
        f"{assignment.points:g}: set the maximum grade in Moodle to {assignment.points:g}."
    ]


def _number(written: str) -> float | None:
    try:
        return float(written.replace(",", "."))
    except ValueError:
        return None


def _comma(table, column: int) -> bool:
    """Whether this file writes 2,5 for 2.5."""
    values = [cell.value for row in table[1:] for cell in row]
    return any(re.fullmatch(r"\d+,\d+", value) for value in values) and not any(
        re.fullmatch(r"\d+\.\d+", value) for value in values
    )


def _with(text: str, table: list[list[Cell]], column: int, changes: dict[int, str]) -> str:
    """The text with other values in a column."""
    pieces, at = [], 0
    for number in sorted(changes):
        if column >= len(table[number]):
            continue
        cell = table[number][column]
        written, value = text[cell.start : cell.end], changes[number]
        same = value and _number(cell.value.strip()) == _number(value)
        if same:  # "17.50" is 17.5: nothing to write
            value = written
        elif written.startswith('"') or "," in value:
            value = f'"{value}"'
        pieces += [text[at : cell.start], value]
        at = cell.end
    return "".join([*pieces, text[at:]])
