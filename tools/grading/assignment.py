"""What an assignment asks and what it is worth: from the course alone, never from a submission."""

import json
from dataclasses import dataclass
from pathlib import Path

import course_checks as checks
from course_checks.part import Part

from .notebook import tidy

MARKS = ("### BEGIN SOLUTION", "### END SOLUTION")


@dataclass(frozen=True)
class Text:
    """A question that is answered in words and marked by hand.

    Attributes:
        name: nbgrader's name of the cell.
        points: the most it gives.
        task: what the learner reads above it, rubric included (Markdown).
        model: the solution's answer.
    """

    name: str
    points: float
    task: str
    model: str


@dataclass(frozen=True)
class Assignment:
    """The parts that are judged by hidden cases, and the questions that are marked by hand.

    `given` are the texts (`notebook.tidy`) of the cells that a learner need not touch.
    """

    name: str
    parts: tuple[Part, ...]
    texts: tuple[Text, ...]
    given: frozenset[str] = frozenset()

    @property
    def points(self) -> float:
        return sum(part.points for part in self.parts) + sum(text.points for text in self.texts)


def load(name: str, solutions: Path) -> Assignment:
    """An assignment as `course_checks` and its solution notebook have it.

    Raises:
        ValueError: no such assignment.
    """
    parts = checks.parts(name)
    cells = json.loads((solutions / name / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells]
    texts, given = [], set()
    for number, cell in enumerate(cells):
        mark = cell["metadata"].get("nbgrader", {})
        if cell["cell_type"] == "markdown" and mark.get("grade") and mark.get("solution"):
            model = "\n".join(
                line for line in sources[number].splitlines() if line.strip() not in MARKS
            )
            texts.append(Text(mark["grade_id"], mark["points"], sources[number - 1], model.strip()))
        elif not mark.get("solution"):
            given.add(tidy(sources[number]))
    return Assignment(name, parts, tuple(texts), frozenset(given))
