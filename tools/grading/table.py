"""The marks of a class as one CSV file."""

import csv
import io
import re
from collections.abc import Sequence

from .assignment import Assignment

# What begins a formula (also in full width), at the beginning of a cell, or behind what a
# spreadsheet may take for the end of one: a semicolon where it expects them between columns, a line
# break, a tab. Quotes may stand between: such a spreadsheet takes them for those of a cell.
SIGN = r"(?=[\s\"']*[=+\-@%|\uff1d\uff0b\uff0d\uff20])"
FORMULA = re.compile(rf"(\A(?=[\t\n])|\A{SIGN}|[;\t\n]{SIGN})(?!')")


def safe(value) -> str:
    """A cell that no spreadsheet takes for a formula: an apostrophe stands where one would begin.

    Characters that nobody sees (NUL, escapes, marks of direction) become spaces.
    """
    if isinstance(value, float | int):
        return f"{value:g}"
    text = re.sub(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]", "\n", "" if value is None else str(value))
    text = "".join(c if c.isprintable() or c in "\n\t" else " " for c in text)
    return FORMULA.sub(r"\1'", text)


def to_csv(rows: Sequence[Sequence]) -> str:
    """Rows as CSV."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([map(safe, row) for row in rows])
    return out.getvalue()


def table(grades: list[dict], assignment: Assignment, by_hand) -> str:
    """One row for each student: the parts' marks, their sum, the hand marks, and the total.

    The total is empty as long as a hand mark is missing.
    """
    parts = [part.name for part in assignment.parts]
    texts = [text.name for text in assignment.texts]
    most = f"total (of {assignment.points:g})"
    rows = [["student", *parts, "automatic", *texts, "by hand", most, "remarks"]]
    for grade in grades:
        marks = {part["name"]: part["marks"] for part in grade["parts"]}
        automatic = automatic_marks(grade)
        hand = by_hand.of(grade, assignment)
        total = None if hand is None else round(automatic + hand, 2)
        words = " ".join([grade["trouble"], *grade["remarks"]]).strip()
        of_parts = [marks.get(name) for name in parts]
        of_texts = [by_hand.mark(grade, name) for name in texts]
        rows.append([grade["student"], *of_parts, automatic, *of_texts, hand, total, words])
    return to_csv(rows)


def automatic_marks(grade: dict) -> float:
    """The sum over the parts that are judged by hidden cases."""
    return round(sum(part["marks"] for part in grade["parts"]), 2)
