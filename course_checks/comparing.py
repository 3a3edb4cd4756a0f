"""Is an answer the right one, and if not, where does it differ? For values made of plain types."""

from difflib import SequenceMatcher
from hashlib import sha256
from math import isfinite, prod
from textwrap import shorten
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .answers import to_bytes

_TINY = 1e-9  # the absolute error that is allowed beside the relative one
ROUNDING = 1e-6  # a sum that is 0 comes out as 1e-17


def close(answer: Any, right: Any, tolerance: float, tiny: float = _TINY) -> bool:
    """Whether two values made of plain types are the same, floats up to the tolerance.

    Args:
        tolerance: relative to the largest absolute value of `right`.
        tiny: absolute error that is allowed beside it.

    Both may have been made `ready`.
    """
    answer = in_form_of(answer, right)
    if type(right) is str:
        return type(answer) is str and answer.split() == right.split()
    if isinstance(right, (Tensor, Numbers)):
        return isinstance(answer, (Tensor, Numbers)) and (
            answer.shape == right.shape and _same_numbers(answer, right, tolerance, tiny)
        )
    if type(right) is float:
        return type(answer) in (int, float) and abs(answer - right) <= tolerance * abs(right) + tiny
    if type(right) is int and type(answer) is float:
        return answer == right
    if type(answer) is not type(right):
        return False
    if type(right) is list and right and all(type(item) is str for item in right):
        if answer == right:  # without looking at each word
            return True
    if type(right) is list:
        pairs = zip(answer, right)
        return len(answer) == len(right) and all(close(*p, tolerance, tiny) for p in pairs)
    if type(right) is dict:
        return answer.keys() == right.keys() and all(
            close(answer[key], right[key], tolerance, tiny) for key in right
        )
    return answer == right


class Numbers:
    """A tensor of floats for many comparisons, which numpy does sooner where it is small."""

    def __init__(self, tensor: Tensor):
        self.array, self.shape = tensor.double().numpy(), tensor.shape
        with np.errstate(invalid="ignore"):  # infinity less infinity
            self.total = float(self.array.sum())
        self.largest = float(np.abs(self.array).max()) if self.array.size else 0.0


def ready(value: Any) -> Any:
    """The value for many comparisons."""
    if isinstance(value, Tensor):
        return Numbers(value) if value.is_floating_point() else value
    return [ready(item) for item in value] if type(value) is list else value


def _same_numbers(answer: Any, right: Any, tolerance: float, tiny: float) -> bool:
    """Of one shape."""
    if isinstance(right, Tensor) and not right.is_floating_point():  # or truth values
        tensor = torch.from_numpy(answer.array) if isinstance(answer, Numbers) else answer
        return bool((tensor == right).all())
    answer, right = (Numbers(one) if isinstance(one, Tensor) else one for one in (answer, right))
    if not right.array.size:
        return True
    allowed = tolerance * right.largest + tiny
    if abs(answer.total - right.total) > 2 * right.array.size * allowed:
        return False  # most wrong answers, without looking at each number
    with np.errstate(invalid="ignore"):  # infinity less infinity is NaN, which is not below
        return bool(np.abs(answer.array - right.array).max() <= allowed < np.inf)


def in_form_of(answer: Any, right: Any) -> Any:
    """An answer in the form of the right one, where the form alone differs.

    Lists of numbers, or of tensors of one shape, and a tensor are the same answer; so are a number
    and a tensor of one number.
    """
    if type(right) is dict and type(answer) is dict:
        return {key: in_form_of(value, right.get(key)) for key, value in answer.items()}
    if isinstance(right, (Tensor, Numbers)):
        is_form = type(answer) is list or (type(answer) in (bool, int, float) and not right.shape)
        return _as_tensor(answer, right.shape) if is_form else answer
    if type(right) is list and list(getattr(answer, "shape", ()))[:1] == [len(right)]:
        return _as_list(answer, right)
    return number(answer)


def _as_tensor(answer: Any, shape: torch.Size) -> Any:
    """Numbers in lists (in lists ...) as a tensor of doubles; what has not this shape as it is."""
    try:
        made = _stacked(answer)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return answer
    return made if made.shape == shape else answer


def _stacked(answer: Any) -> Tensor:
    if isinstance(answer, Tensor):
        return answer.double()
    if type(answer) is list and not all(type(one) in (bool, int, float) for one in answer):
        return torch.stack([_stacked(one) for one in answer])
    if type(answer) not in (list, bool, int, float):
        raise TypeError
    return torch.tensor(answer, dtype=torch.float64)


def _as_list(answer: "Tensor | Numbers", right: list) -> list:
    """A tensor as a list of tensors, where such are wanted; else with Python's numbers in it."""
    array = answer.array if isinstance(answer, Numbers) else answer
    if right and isinstance(right[0], (Tensor, Numbers)):
        return list(torch.as_tensor(array).unbind())
    return array.tolist()


def number(value: Any) -> Any:
    """A tensor of one number, as that number; everything else as it is."""
    is_one = isinstance(value, (Tensor, Numbers)) and prod(value.shape) == 1
    return _numbers(value).item() if is_one else value


def _numbers(value: Tensor | Numbers) -> Any:
    return value.array if isinstance(value, Numbers) else value


def kind(value: Any) -> str:
    """A value's type and shape in words."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    names = {
        bool: "True or False",
        int: "a whole number (int)",
        float: "a number (float)",
        str: "a string",
        type(None): "None",
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
    answer = in_form_of(answer, right)
    got, wanted = _kind(answer, right), _kind(right, right)
    if got != wanted:
        names = f", that is ({axes}{',' * (',' not in axes)})" if axes else ""
        return f"{where}expected {wanted}{names}, got {got}.{_out_of_a_list(answer, right)}"
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
        return where + _wrong_values(answer, right)
    if type(right) is str and _nearly(answer, right):
        return f"{where}you have {shown(answer)}: write it letter by letter as the task does."
    return f"{where}you have {shown(answer)}, which is not right."


def _nearly(word: str, right: str) -> bool:
    """Whether a word is the right one but for a slip of the pen, or for capital letters."""
    return SequenceMatcher(None, word.lower(), right.lower()).ratio() > 0.85


def _out_of_a_list(answer: Any, right: Any) -> str:
    """What to do about a list (or a tuple, which is read as one) where a tensor is expected."""
    if type(answer) is not list or not isinstance(right, Tensor):
        return ""
    if len(answer) == 1 and isinstance(answer[0], Tensor):
        return " The tensor is in a list or tuple: take it out, by `[0]`."
    if _is_pair(answer) and answer[0].shape == right.shape:
        return (
            " `max`, `min`, `sort` and `topk` along an axis return values and places: take `[0]`."
        )
    return " Answer with one torch tensor, not with a list or tuple."


def _is_pair(answer: list) -> bool:
    """Whether these are values and the places where they were found, as `x.max(dim=1)` returns."""
    are_tensors = all(isinstance(one, Tensor) for one in answer)
    return are_tensors and [one.dtype == torch.int64 for one in answer] == [False, True]


def _kind(value: Any, right: Any) -> str:
    """`kind`, but a whole number will do where a number is expected."""
    return kind(float(value) if type(value) is int and type(right) is float else value)


def _wrong_values(answer: Tensor, right: Tensor) -> str:
    """What is wrong with all values alike; else the place that is farthest off."""
    factor = _factor(answer.double(), right.double())
    if factor:
        return f"the shape is right, but every value is {factor:.4g} times the right one."
    gap = (answer.double() - right.double()).abs()
    at = tuple(int(i) for i in torch.unravel_index(gap.argmax(), gap.shape))
    return (
        f"the shape is right, but the values are not: at {list(at)} you have {answer[at]:.4g}, and "
        f"{right[at]:.4g} is right."
    )


def _factor(answer: Tensor, right: Tensor) -> float:
    """What all of an answer's numbers are multiplied by; 0 if nothing, or if it is one number."""
    if right.numel() < 2 or not right.any():
        return 0.0
    factor = ((answer * right).sum() / right.square().sum()).item()
    is_all = abs(factor - 1) > 0.01 and close(answer, factor * right, 1e-4)
    return factor if is_all else 0.0


def _infinite(value: Any) -> bool:
    """Whether NaN or infinity is anywhere in a value."""
    if isinstance(value, Tensor):
        return not value.isfinite().all()
    if type(value) in (list, dict):
        return any(map(_infinite, value.values() if type(value) is dict else value))
    return type(value) is float and not isfinite(value)


def guessable(value: Any) -> bool:
    """None, a word, a whole number, nothing but one number, nothing but one word."""
    if isinstance(value, Tensor):
        return value.numel() > 0 and bool((value == value.flatten()[0]).all())
    if type(value) is list:
        return all(type(item) is str and item == value[0] for item in value)
    if type(value) is float:
        return min(abs(value - number) for number in (0, 1, -1)) < ROUNDING
    return value is None or type(value) in (bool, int, str)


def brief(answer: Any) -> dict[str, Any]:
    """An answer in brief, by its key ("" if it is no dictionary): equal if it is the same one.

    Nothing but zeros is the same in any shape.
    """
    items = answer.items() if type(answer) is dict else [("", answer)]
    return {key: _in_brief(value) for key, value in items}


def _in_brief(value: Any) -> Any:
    if not guessable(value):
        return sha256(to_bytes(value)).hexdigest()
    if isinstance(value, Tensor):
        return float(value.flatten()[0])
    return value[0] if type(value) is list and value else value
