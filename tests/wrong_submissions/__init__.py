"""Wrong submissions of the kind that students make, one module for each assignment.

Each is a small edit of the assignment's solution; tests/test_exercises.py judges them all.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wrong:
    """A wrong submission.

    Attributes:
        part: the part's name, whose cell in solutions/ is edited.
        edit: (old text, new text); the old text must occur once in that cell.
        marks: what it must get on the hidden cases.
        says: words that the message must contain, at grading and in the notebook's own check.
        visible: words that the notebook's own check says instead, where the visible cases cannot
            show the mistake.
    """

    part: str
    edit: tuple[str, str]
    marks: float
    says: str
    visible: str = ""
