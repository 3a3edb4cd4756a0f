"""Questions to a learner's code, and its answers, as bytes.

A grader may not unpickle what untrusted code wrote. Here a value is JSON with the tensors beside it
as raw numbers: reading it can make nothing but None, booleans, numbers, strings, lists,
dictionaries with string keys, tensors, and a `Failure`.
"""

import json
import math
from collections.abc import KeysView, Mapping, Sequence, ValuesView
from dataclasses import asdict, dataclass
from decimal import Decimal
from numbers import Integral, Real
from types import GeneratorType

import numpy as np
import torch
from torch import Tensor

from .networks import Network

MAX_BYTES = 64_000_000  # of one value
MAX_TEXT = (
    4_000_000  # of these, what is not a tensor: it takes thirty times as much when it is read
)
MAX_AXES = 16
MAX_DEPTH = 20
_TYPES = {
    str(t).removeprefix("torch."): t
    for t in (torch.float32, torch.float64, torch.int64, torch.bool)
}
_DTYPES = {"b": bool, "i": np.int64, "u": np.int64, "f": np.float64}  # of numpy's arrays
_AS_A_LIST = " Make a list of it: `list(...)`."
_CURES = {kind: _AS_A_LIST for kind in (map, filter, zip, GeneratorType, reversed, enumerate)}
_CURES |= {set: " It has no order: make a list of it.", frozenset: _AS_A_LIST}
_BYTES = (bytes, bytearray, memoryview)
_LENGTH = 8  # bytes of the number that says how long the JSON is


@dataclass(frozen=True)
class Failure:
    """The learner's code raised: `error` is the exception's class, `line` the line of their
    function
    (0 if not known)."""

    error: str
    message: str
    line: int = 0

    def __post_init__(self):
        if not (type(self.error) is type(self.message) is str and type(self.line) is int):
            raise AnswerError("This is no answer: a failure that is not made of words.")


class AnswerError(ValueError):
    """The value is nothing that an answer may be made of."""


def plain(value):
    """The value made of an answer's types only; tensors detached, on the CPU, contiguous.

    Raises:
        AnswerError: another type, by its name; too deep; too large.
    """
    return _plain(value, MAX_DEPTH)


def _plain(value, depth: int):
    if depth == 0:
        raise AnswerError("The answer holds lists within lists more than 20 deep.")
    kind = type(value)
    if value is None or kind in (bool, int, float, str, Failure, Network):
        return value
    if isinstance(value, dict):  # a Counter or defaultdict, too: what it says itself is not asked
        return _plain_items(dict.items(value), depth)
    if isinstance(value, Mapping):
        return _plain_items(value.items(), depth)
    if isinstance(value, Tensor):
        return _tensor(value.as_subclass(Tensor))
    if isinstance(value, (np.generic, np.ndarray)):
        return _of_numpy(value, depth)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (Real, Decimal)):
        return int(value) if isinstance(value, Integral) else float(value)
    if isinstance(value, (Sequence, ValuesView, KeysView)) and not isinstance(value, _BYTES):
        return [_plain(item, depth - 1) for item in value]
    raise AnswerError(f"A {kind.__name__} is no answer.{_CURES.get(kind, '')}")


def _plain_items(items, depth: int) -> dict:
    items = list(items)
    wrong = next((key for key, _ in items if not isinstance(key, str)), None)
    if wrong is not None:
        raise AnswerError(f"The answer's dictionary has a key of type {type(wrong).__name__}.")
    return {str.__str__(key): _plain(item, depth - 1) for key, item in items}


def _of_numpy(value: np.generic | np.ndarray, depth: int):
    if isinstance(value, np.longdouble):  # its own `item` gives none of Python's
        return float(value)
    if isinstance(value, np.generic):
        return _plain(value.item(), depth - 1)
    if value.dtype.kind in "biuf":
        return _tensor(torch.from_numpy(np.array(value, dtype=_DTYPES[value.dtype.kind])))
    if value.dtype.kind in "OU" and value.ndim:  # words, or what Python has in a list
        return [_plain(item, depth - 1) for item in value.tolist()]
    raise AnswerError(
        f"A numpy array of {value.dtype} is no answer: return a list, or a torch tensor."
    )


def _tensor(value: Tensor) -> Tensor:
    value = value.detach().cpu().resolve_neg()
    if value.layout != torch.strided:
        value = value.to_dense()
    if value.dim() > MAX_AXES:
        raise AnswerError(f"The answer holds a tensor of {value.dim()} axes.")
    if value.is_complex() or value.is_quantized:
        raise AnswerError(f"A tensor of {value.dtype} is no answer.")
    if value.dtype not in _TYPES.values():
        value = value.float() if value.is_floating_point() else value.long()
    if value.numel() * value.element_size() > MAX_BYTES:
        raise AnswerError(f"The answer holds a tensor of {value.numel()} numbers: too large.")
    return value.contiguous()


def to_bytes(value) -> bytes:
    """A value as bytes, to be read by `from_bytes`.

    Raises:
        AnswerError: see `plain`; or more than 64 MB in all.
    """
    tensors: list[Tensor] = []
    text = json.dumps(_marked(plain(value), tensors)).encode()
    if len(text) > MAX_TEXT:
        raise AnswerError(f"The answer's words and lists fill {len(text) / 1e6:.0f} MB: too large.")
    whole = b"".join(
        [len(text).to_bytes(_LENGTH, "big"), text, *(t.numpy().tobytes() for t in tensors)]
    )
    if len(whole) > MAX_BYTES:
        raise AnswerError(f"The answer fills {len(whole) / 1e6:.0f} MB: too large.")
    return whole


def _marked(value, tensors: list[Tensor]):
    """JSON in which everything that JSON does not have is a list that begins with its name."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return ["tensor", str(value.dtype).removeprefix("torch."), list(value.shape)]
    if isinstance(value, (Failure, Network)):
        return [type(value).__name__, asdict(value)]
    if isinstance(value, float) and not math.isfinite(value):
        return ["float", repr(value)]
    if isinstance(value, list):
        return ["list", [_marked(item, tensors) for item in value]]
    if isinstance(value, dict):
        return {key: _marked(item, tensors) for key, item in value.items()}
    return value


def from_bytes(whole: bytes):
    """The value that `to_bytes` wrote; only types that an answer may have.

    Raises:
        AnswerError: the bytes are no such value (cut off, too long, or made by hand).
    """
    if len(whole) > MAX_BYTES:
        raise AnswerError(f"The answer fills {len(whole) / 1e6:.0f} MB: too large.")
    end = _LENGTH + int.from_bytes(whole[:_LENGTH], "big")
    if end > MAX_TEXT + _LENGTH:
        raise AnswerError("This is no answer: its words and lists are too long.")
    try:
        value, rest = _unmarked(json.loads(whole[_LENGTH:end]), memoryview(whole)[end:])
    except (ValueError, LookupError, TypeError, OverflowError, RuntimeError) as error:
        raise AnswerError(f"This is no answer: {error}.") from None
    if len(rest):
        raise AnswerError("This is no answer: bytes are left over.")
    return plain(value)


def _unmarked(value, rest: memoryview):
    """The value, and the bytes that its tensors left over."""
    if isinstance(value, dict):
        made = {}
        for key, item in value.items():
            made[key], rest = _unmarked(item, rest)
        return made, rest
    if not isinstance(value, list):
        return value, rest
    name, *content = value
    if name == "list":
        items = []
        for item in content[0]:
            item, rest = _unmarked(item, rest)
            items.append(item)
        return items, rest
    if name == "tensor":
        return _read_tensor(*content, rest)
    if name == "float":
        return float(content[0]), rest
    return {"Failure": Failure, "Network": Network}[name](**content[0]), rest


def _read_tensor(dtype: str, shape: list[int], rest: memoryview):
    if len(shape) > MAX_AXES or any(type(n) is not int or n < 0 for n in shape):
        raise ValueError(f"a tensor of shape {shape}")
    count = math.prod(shape)
    size = count * _TYPES[dtype].itemsize
    if size > len(rest):
        raise ValueError("a tensor is cut off")
    numbers = bytearray(rest[:size])
    made = (
        torch.frombuffer(numbers, dtype=_TYPES[dtype])
        if count
        else torch.empty(0, dtype=_TYPES[dtype])
    )
    return made.reshape(shape), rest[size:]
