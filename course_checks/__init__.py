"""The exercises' checks: one for every part, named as the part.

>>> import course_checks as checks
>>> checks.ex02_weights(channel_weights)
✓ ex02_weights: right in all 4 cases.

A check prints a pass, "not attempted yet", or what is wrong, and never raises. The marks are given
by `make grade`, on other cases.
"""

from importlib import import_module

from course_utils.errors import closest

from .part import Part
from .report import Check, passed

ASSIGNMENTS = (
    "ex01_questions",
    "ex02_gradcam",
    "ex03_counterfactual",
    "ex04_contrast",
    "ex05_image_quality",
    "ex06_judge",
)


def parts(assignment: str) -> tuple[Part, ...]:
    """The parts of an assignment, in the notebook's order.

    Raises:
        ValueError: no such assignment.
    """
    if assignment not in ASSIGNMENTS:
        raise ValueError(
            f"There is no assignment '{assignment}'.{closest(assignment, ASSIGNMENTS)} "
            f"All of them: {', '.join(ASSIGNMENTS)}."
        )
    return import_module(f".{assignment}", __name__).PARTS


def solved(name: str) -> bool:
    """Whether a part's check passed in this session: cells that use your function ask this first.

    If not, a line is printed, so that an empty cell is no riddle.

    Args:
        name: of the part, "ex02_weights".

    Raises:
        AttributeError: no such part.
    """
    is_passed = passed(__getattr__(name).part)
    if not is_passed:
        print(f"… This cell waits until the check of {name} says 'right' (again, after a restart).")
    return is_passed


def __getattr__(name: str) -> Check:
    assignment = next((a for a in ASSIGNMENTS if a[:5] == f"{name[:4]}_"), None)
    named = {part.name: part for part in parts(assignment)} if assignment else {}
    if name not in named:
        raise AttributeError(f"There is no check '{name}'.{closest(name, named)}")
    return Check(named[name])
