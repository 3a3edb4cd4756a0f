"""Is an answer the right one, and if not, where does it differ? For values made of plain types."""

from math import isfinite
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor

_TINY = 1e-9  # the absolute error that is allowed beside the relative one


def close(answer: Any, right: Any, tolerance: float, tiny: float = _TINY) -> bool:
    """Whether two values made of plain types are the same, floats up to the tolerance.

    Args:
        tolerance: relative to the largest absolute value of `right`.
        tiny: absolute error that is allowed beside it.
    """
    if isinstance(right, Tensor):
        return isinstance(answer, Tensor) and _same_tensor(answer, right, tolerance, tiny)
    answer = answer.tolist() if _is_row(answer, right) else number(answer)
    if type(right) is float:
        return type(answer) in (int, float) and abs(answer - right) <= tolerance * abs(right) + tiny
    if type(answer) is not type(right):
        return False
    if type(right) is list:
        pairs = zip(answer, right)
        return len(answer) == len(right) and all(close(*p, tolerance, tiny) for p in pairs)
    if type(right) is dict:
        return answer.keys() == right.keys() and all(
            close(answer[key], right[key], tolerance, tiny) for key in right
        )
    return answer == right


def _same_tensor(answer: Tensor, right: Tensor, tolerance: float, tiny: float) -> bool:
    if answer.shape != right.shape:
        return False
    if not right.is_floating_point():
        return bool((answer == right).all())
    answer, right = answer.double(), right.double()
    scale = right.abs().max() if right.numel() else 0
    near = (answer - right).abs() <= tolerance * scale + tiny
    return bool(answer.isfinite().all() and near.all())


def _is_row(answer: Any, right: Any) -> bool:
    """Whether a row of numbers came as a tensor where a list is expected."""
    return type(right) is list and isinstance(answer, Tensor) and answer.dim() == 1


def number(value: Any) -> Any:
    """A tensor of one number, as that number; everything else as it is."""
    return value.item() if isinstance(value, Tensor) and value.numel() == 1 else value


def kind(value: Any) -> str:
    """A value's type and shape in words."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    names = {
        bool: "True or False",
        int: "a whole number (int)",
        float: "a number (float)",
        str: "a string",
    }
    if type(value) in (list, dict):
        return f"a {'list' if type(value) is list else 'dictionary'} of {len(value)}"
    return names.get(type(value), type(value).__name__)


def shown(value: Any) -> str:
    """A value as a message shows it."""
    if isinstance(value, Tensor):
        return "other numbers"
    return f"{value:.4g}" if isinstance(value, float) else shorten(repr(value), 60)


def difference(answer: Any, right: Any, tolerance: float, axes: str = "", at: str = "") -> str:
    """The first place where an answer differs from the right one, in words.

    Args:
        axes: the names of a tensor's axes, "N, C".
        at: how one gets to this value from the whole answer, '[1]["near Q"]'.
    """
    where = f"at {at}: " if at else ""
    if isinstance(right, (int, float)) and not isinstance(right, bool):
        answer = number(answer)
    got, wanted = _kind(answer, right), _kind(right, right)
    if got != wanted:
        names = f", that is ({axes}{',' * (',' not in axes)})" if axes else ""
        return f"{where}expected {wanted}{names}, got {got}."
    if type(right) in (list, dict) and not _infinite(answer):
        if type(right) is dict and set(answer) != set(right):
            keys = ", ".join(f'"{key}"' for key in right)
            return f"{where}expected a dictionary with the keys {keys}, and no others."
        keys = list(right) if type(right) is dict else range(len(right))
        wrong = next(key for key in keys if not close(answer[key], right[key], tolerance))
        name = f'{at}["{wrong}"]' if type(right) is dict else f"{at}[{wrong}]"
        return difference(answer[wrong], right[wrong], tolerance, "", name)
    if _infinite(answer):
        return (
            f"{where}your answer holds NaN or infinity: look for a division by zero, or the "
            "exponential of a large number."
        )
    if isinstance(answer, Tensor) and right.is_floating_point():
        return where + _worst_place(answer, right)
    return f"{where}you have {shown(answer)}, which is not right."


def _kind(value: Any, right: Any) -> str:
    """`kind`, but a whole number will do where a number is expected."""
    return kind(float(value) if type(value) is int and type(right) is float else value)


def _worst_place(answer: Tensor, right: Tensor) -> str:
    gap = (answer.double() - right.double()).abs()
    at = tuple(int(i) for i in torch.unravel_index(gap.argmax(), gap.shape))
    return (
        f"the shape is right, but the values are not: at {list(at)} you have {answer[at]:.4g}, and "
        f"{right[at]:.4g} is right."
    )


def _infinite(value: Any) -> bool:
    """Whether NaN or infinity is anywhere in a value."""
    if isinstance(value, Tensor):
        return not value.isfinite().all()
    if type(value) in (list, dict):
        return any(map(_infinite, value.values() if type(value) is dict else value))
    return type(value) is float and not isfinite(value)
