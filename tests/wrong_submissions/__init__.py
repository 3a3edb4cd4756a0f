"""Wrong submissions of the kind that students make, one module for each assignment.

Each is a small edit of the assignment's solution; tests/test_exercises.py judges them all.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wrong:
    """A wrong submission.

    Attributes:
        part: the part's name, whose cell in solutions/ is edited.
        edit: (old text, new text); the old text must occur in that cell as often as `lines` says.
        marks: what it must get on the hidden cases.
        says: words that the message must contain, at grading and in the notebook's own check.
        visible: words that the notebook's own check says instead, where the visible cases cannot
            show the mistake.
        lines: in how many places the same slip is made at once.
        also: further edits, each of one place.
    """

    part: str
    edit: tuple[str, str]
    marks: float
    says: str
    visible: str = ""
    lines: int = 1
    also: tuple[tuple[str, str], ...] = ()

    def made_of(self, source: str) -> str:
        """The solution's cell with the edits.

        Raises:
            ValueError: an old text does not occur as often as it must.
        """
        for (old, new), times in ((self.edit, self.lines), *((pair, 1) for pair in self.also)):
            if source.count(old) != times:
                raise ValueError(f"'{old}' occurs {source.count(old)} times in the solution")
            source = source.replace(old, new)
        return source
