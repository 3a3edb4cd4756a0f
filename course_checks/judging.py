"""Judges for answers of several pieces, each of which is worth its share."""

from collections.abc import Callable, Iterable
from textwrap import shorten
from typing import Any

from torch import Tensor

from .answers import plain
from .part import Verdict, close, kind

_TOLERANCE = 1e-4


def by_key(
    reference: Callable[..., dict], says: Callable[..., str], tolerance: float = _TOLERANCE
) -> Callable[..., Verdict]:
    """A `Part.judge` for an answer that is a dictionary: every key is worth the same.

    Args:
        reference: the right dictionary of a case; keys are strings.
        says: (key, the learner's value, *case) -> what is wrong with it ("" if it has no name).
            It is called for wrong values of the right type and shape only.
        tolerance: relative to the largest absolute value.
    """

    def judge(answer: Any, *case) -> Verdict:
        right = plain(reference(*case))
        if type(answer) is not dict or set(answer) != set(right):
            keys = ", ".join(f'"{key}"' for key in right)
            return Verdict(0.0, f"return a dictionary with the keys {keys}, and no others.")
        wrong = [key for key in right if not close(_number(answer[key]), right[key], tolerance)]
        if not wrong:
            return Verdict(1.0)
        key = wrong[0]
        share = 1 - len(wrong) / len(right)
        return Verdict(
            share, f'"{key}": {_fault(key, _number(answer[key]), right[key], says, case)}'
        )

    return judge


def _number(value: Any) -> Any:
    """A tensor of one number without axes, as that number; in lists, too."""
    if isinstance(value, list):
        return [_number(item) for item in value]
    return value.item() if isinstance(value, Tensor) and value.dim() == 0 else value


def _fault(key: str, got: Any, right: Any, says: Callable[..., str], case: tuple) -> str:
    got_kind, wanted = _kind(got), _kind(right)
    if right is None:
        return f"there is none in this case, so it is None, not {shown(got)}."
    if got is None:
        return f"you have None, where {wanted} is expected."
    if got_kind != wanted:
        return f"expected {wanted}, got {got_kind}."
    return says(key, got, *case) or f"you have {shown(got)}, which is not right."


def _kind(value: Any) -> str:
    """A value's type and shape in words; lists of any length are alike."""
    if value is None:
        return "None"
    return "a list" if isinstance(value, list) else kind(value)


def named(value: float, known: Iterable[tuple[Tensor, str]], tolerance: float) -> str:
    """What the first of the known (wrong number, sentence) that `value` equals says; "" for none."""
    return next((says for wrong, says in known if close(value, wrong.item(), tolerance)), "")


def shown(value: Any) -> str:
    """A value as a message shows it."""
    if isinstance(value, Tensor):
        return "other numbers"
    return f"{value:.4g}" if isinstance(value, float) else shorten(repr(value), 60)
