"""Marks by hand: a CSV file that `make grade` writes, an instructor fills, and it reads again."""

import codecs
import csv
import hashlib
import io
import json
from dataclasses import dataclass, field
from pathlib import Path

from .assignment import Assignment
from .store import EARLIER, write
from .table import safe, to_csv

KEY, STUDENT, COMMENT = "key", "student", "comment"
READ = "answers"  # a digest of the texts that were marked


@dataclass
class ByHand:
    """Hand marks by student and text.

    Attributes:
        marks: (student's key, text's name) -> marks.
        comments: student's key -> words for the student.
        complaints: what in the file cannot be used, as sentences.
    """

    marks: dict[tuple[str, str], float] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    rows: list[dict[str, str]] = field(default_factory=list)

    def of(self, grade: dict, assignment: Assignment) -> float | None:
        """A student's hand marks in all; None while one is missing.

        An empty answer needs no mark.
        """
        total = 0.0
        for text in assignment.texts:
            mark = self.mark(grade, text.name)
            if mark is None:
                return None
            total += mark
        return total

    def mark(self, grade: dict, name: str) -> float | None:
        given = self.marks.get((grade["key"], name))
        return 0.0 if given is None and not grade["texts"].get(name) else given


def read(path: Path, assignment: Assignment) -> ByHand:
    """The marks in the file, as a spreadsheet may have left it.

    That is: `;` or tabs between columns, 2,5 for 2.5, in UTF-8, UTF-16 or Windows' own encoding.

    Raises:
        ValueError: columns are missing, or it is no table: nothing can be added to it without loss.
    """
    found = ByHand()
    if not path.exists():
        return found
    text = _decoded(path.read_bytes())
    csv.field_size_limit(max(len(text), csv.field_size_limit()))
    head = text.split("\n", 1)[0]
    table = csv.DictReader(io.StringIO(text), delimiter=max(",;\t", key=head.count))
    try:
        found.rows = list(table)
    except csv.Error as error:
        raise ValueError(
            f"{path} cannot be read as a table ({error}): mend it. Nothing was written."
        ) from None
    wanted = KEY, *(one.name for one in assignment.texts)
    missing = [name for name in wanted if name not in (table.fieldnames or ())]
    if missing:
        raise ValueError(
            f"{path} has no column {', '.join(missing)}, so its marks cannot be told apart: mend "
            "it, or take it away to begin anew. Nothing was written."
        )
    doubled = _doubled(found, assignment, path)
    for number, row in enumerate(found.rows, 2):
        key = _unquoted(row.get(KEY))
        if key in doubled:
            continue
        for one in assignment.texts:
            written = _unquoted(row.get(one.name))
            if not written:
                continue
            mark = _mark(written, one.points)
            if mark is None:
                found.complaints.append(
                    f"{path.name}, line {number}: '{written[:40]}' is no mark "
                    f"from 0 to {one.points:g}."
                )
            else:
                found.marks[key, one.name] = mark
        found.comments[key] = _unquoted(row.get(COMMENT))
    return found


def _doubled(found: ByHand, assignment: Assignment, path: Path) -> set[str]:
    """Students with two rows whose marks are not the same: none of them counts, and both stay."""
    lines: dict[str, list[int]] = {}
    for number, row in enumerate(found.rows, 2):
        lines.setdefault(_unquoted(row.get(KEY)), []).append(number)
    doubled = set()
    for key, numbers in lines.items():
        marks = {
            tuple(_unquoted(found.rows[number - 2].get(one.name)) for one in assignment.texts)
            for number in numbers
        }
        if len(numbers) > 1 and key:
            where = ", ".join(map(str, numbers))
            same = len(marks) == 1
            found.complaints.append(
                f"{path.name} has more than one row for '{key}' (rows {where}): "
                + (
                    "take all but one away."
                    if same
                    else "none of their marks counts until all but one are taken away."
                )
            )
            doubled |= set() if same else {key}
    return doubled


def _decoded(content: bytes) -> str:
    """What a spreadsheet saved, as text."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def _mark(written: str, most: float) -> float | None:
    try:
        mark = float(written.replace(",", "."))
    except ValueError:
        return None
    return mark if 0 <= mark <= most else None


def _unquoted(cell: str | None) -> str:
    """A cell's text without the apostrophe that `safe` may have put before it."""
    cell = (cell or "").strip() if isinstance(cell, str) else ""
    return cell[1:] if cell.startswith("'") and safe(cell[1:]) == cell else cell


def update(path: Path, grades: list[dict], assignment: Assignment, found: ByHand) -> None:
    """Add a row for each new student; what was filled in stays, also of students who are gone.

    Texts that were handed in anew after they had been marked are complained about until somebody
    empties the row's cell `answers`; so are marks of nobody. The file that is replaced is kept.
    """
    names = [text.name for text in assignment.texts]
    handed_in = {grade["key"] for grade in grades}
    for key in sorted({key for key, _ in found.marks} - handed_in):
        found.complaints.append(
            f"{path.name} holds marks for '{key}', who handed in nothing: "
            "did a spreadsheet change the name?"
        )
    rows: dict[str, dict] = {}
    again = []  # a student's further rows: somebody must choose
    for row in found.rows:
        if rows.setdefault(_unquoted(row.get(KEY)), row) is not row:
            again.append(row)
    for grade in grades:
        row = rows.setdefault(grade["key"], {})
        row |= {KEY: grade["key"], STUDENT: grade["student"]}
        digest = hashlib.sha256(json.dumps(grade["texts"], sort_keys=True).encode()).hexdigest()[:8]
        digest = f"a{digest}"  # a letter first: no spreadsheet takes it for a number
        marked = any((row.get(name) or "").strip() for name in names)
        if not marked or not (row.get(READ) or "").strip():
            row[READ] = digest
        elif row[READ] != digest:
            found.complaints.append(
                f"{grade['student']} has handed in other answers than those that you marked: "
                f"read them again, then empty the cell '{READ}' in {path.name}."
            )
    header = [KEY, STUDENT, *names, COMMENT, READ]
    ordered = sorted(
        [*rows.values(), *again],
        key=lambda row: ((row.get(STUDENT) or "").lower(), row.get(KEY) or ""),
    )
    lines = [[_unquoted(row.get(name)) for name in header] for row in ordered]
    new = to_csv([header, *lines])
    old = path.read_bytes() if found.rows else new.encode()
    if old != new.encode():
        kept = f"{path.stem}-{hashlib.sha256(old).hexdigest()[:12]}{path.suffix}"
        earlier = path.parent / assignment.name / EARLIER / kept
        earlier.parent.mkdir(parents=True, exist_ok=True)
        earlier.write_bytes(old)
    write(path, new)
