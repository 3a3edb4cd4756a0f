"""Classes: what they are called, and how a learner asks for them."""

import operator
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ClassError, a_kind_of, closest
from ..networks.families import stated
from .scores import is_one_logit

FEW_NAMES = 10  # so many fit into a sentence

# --- names ----------------------------------------------------------------------------------------


def names_in(model: nn.Module) -> list[str] | None:
    """The classes' names that a network carries; None if there are none.

    Its own `categories`, as in `class_names`; else `categories` of a part that it wraps, or the
    id2label of a `config`, its own or a part's, as Hugging Face's networks have. "LABEL_0", which
    stands there by default, is no name.
    """
    for part in (model, *model.children()):
        names = class_names(stated(part, "categories"))
        names = names or class_names(getattr(stated(part, "config"), "id2label", None))
        if names and not all(re.fullmatch(r"LABEL_\d+", name) for name in names):
            return names
    return None


def class_names(categories: Any) -> list[str] | None:
    """The classes' names in order, from whatever a network carries as its `categories`.

    Args:
        categories: a list, tuple, array or series of names; a mapping from number to name (such as
            id2label, the numbers also as text) or from name to number (such as class_to_idx, or an
            Enum).

    Raises:
        ClassError: it is a set, which has no order, or can be read only once.

    Returns:
        The names, or None for None and for what holds no names, such as a layer that is called
        "categories". A number that a mapping leaves out is called "class 7"; a name that several
        classes bear has its number behind it, "crane (134)".
    """
    if isinstance(categories, (str, bytes, nn.Module)):
        return None
    if isinstance(categories, Mapping):
        return _names_of_mapping(categories)
    if isinstance(categories, (set, frozenset)) and categories:
        raise ClassError(
            "model.categories is a set, which has no order, so it does not tell which class is "
            "number 0. Give a list of the names, in the order of the outputs."
        )
    if isinstance(categories, Tensor) or not isinstance(categories, Iterable):
        return None
    if isinstance(categories, Iterator):
        raise ClassError(
            f"model.categories is {a_kind_of(categories)}, which can be read only once. Make "
            "a list of it: list(...)."
        )
    # a series of pandas: its index may hold the numbers, or the names
    pairs = getattr(categories, "items", None)
    names = list(pairs() if callable(pairs) else categories)
    if all(isinstance(name, Enum) and _is_number(name.value) for name in names):
        return _names_of_mapping({name.name: name.value for name in names})
    numbers = [_number_beside(name) for name in names]
    if sorted(number for number in numbers if number is not None) == list(range(len(names))):
        return _names_of_mapping(dict(zip(numbers, map(_text, names))))
    texts = [f"class {i}" if name is None else _text(name) for i, name in enumerate(names)]
    return _told_apart(texts) or None


def _number_beside(name: Any) -> int | None:
    """The class's number in ("tabby", 281), an item of class_to_idx, or {"id": 281, ...}."""
    parts = [name.get("id")] if isinstance(name, Mapping) else name
    if not isinstance(parts, (list, tuple)) or len(parts) > 2:
        return None
    whole = [int(part) for part in parts if _is_number(part)]
    return whole[0] if len(whole) == 1 else None


def _text(name: Any) -> str:
    """One name; of ("n02123045", "tabby"), as ImageNet's index files have it, the last.

    Of ("tabby", 281), an item of class_to_idx, what is no number; of {"id": 281, "name": "tabby"},
    as COCO's files have it, its name.
    """
    if isinstance(name, Mapping):
        name = name.get("name", name)
    if isinstance(name, Enum):
        name = name.value if isinstance(name.value, str) else name.name
    if isinstance(name, (list, tuple, np.ndarray)) and len(name):
        name = next((part for part in reversed(name) if not _is_number(part)), name[-1])
    return (name.decode() if isinstance(name, bytes) else str(name)).strip()


def _names_of_mapping(categories: Mapping) -> list[str] | None:
    """Names by number: read as name -> number where the values are numbers and the keys are not."""
    pairs = list(categories.items())
    if all(_is_whole(v) and not _is_whole(k) for k, v in pairs) or all(
        _is_number(v) and not _is_number(k) for k, v in pairs
    ):
        pairs = [(number, name) for name, number in pairs]
    names: dict[int, list[str]] = {}
    for number, name in pairs:
        if not _is_number(number):
            return None
        names.setdefault(int(number), []).append(_text(name))
    if not names or min(names) < 0:
        return None
    texts = [" / ".join(names.get(i, [f"class {i}"])) for i in range(max(names) + 1)]
    return _told_apart(texts)


def _told_apart(names: list[str]) -> list[str]:
    """Names that several classes bear, as ImageNet's "crane", get their numbers behind them."""
    times = Counter(names)
    return [f"{name} ({i})" if times[name] > 1 else name for i, name in enumerate(names)]


def _is_number(value: Any) -> bool:
    """Whether a key or value of a mapping is a class's number, also as text."""
    return _is_whole(value) or str(value).strip().isdecimal()


def _is_whole(value: Any) -> bool:
    """Whether it is a whole number, also in a tensor of one or as a float."""
    number = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
    return isinstance(number, Real) and number == number // 1


def names_of(
    categories: list[str] | None, output: Tensor, model: nn.Module | None = None
) -> list[str] | None:
    """Names that fit the output's classes; of one logit "no" and "yes" where none are known.

    Args:
        categories: as `names_in` gives them.
        output: the network's.
        model: the network. If it has no `categories` of its own, names that do not fit belong to
            something else, such as the weights that it was trained from, and are left out.

    Raises:
        ClassError: there are more names than classes, or fewer.
    """
    if is_one_logit(output):
        categories = categories or ["no", "yes"]
        categories = [f"not {categories[0]}", *categories] if len(categories) == 1 else categories
        classes, answers = 2, "one logit, for no and yes: give it the two names"
    else:
        classes = output.shape[1]
        answers = f"{classes} classes: give it one name for each"
    if categories and len(categories) != classes:
        if model is not None and class_names(stated(model, "categories")) is None:
            return names_of(None, output)
        raise ClassError(
            f"model.categories holds {_many(len(categories), 'name')}, but the network answers "
            f"{answers}, in the same order."
            + " The numbers in a dict begin at 0."
            * (categories[0] == "class 0")
        )
    return categories


def names_for(model: nn.Module, output: Tensor) -> list[str] | None:
    """The names that a network carries, as `names_of` fits them to its output."""
    return names_of(names_in(model), output, model)


def class_name(index: int, categories: list[str] | None) -> str:
    """How a class is called in a sentence: its name, or "class 7" where names are unknown."""
    return categories[index] if categories else f"class {index}"


# --- which classes are asked for ------------------------------------------------------------------


def class_indices(which: Any, n: int, classes: int, categories: list[str] | None = None) -> Tensor:
    """Classes for N images as an N x K integer tensor.

    Args:
        which: one class (number or name); a list of K classes, asked of every image; a tensor or
            array of N classes, one for each image, as a loss of torch reads its labels; a list of
            lists or a tensor or array N x K, K classes for each image.
        n: number of images.
        classes: number of classes of the network.
        categories: the classes' names, where known.

    Raises:
        ClassError: unknown or ambiguous name (with the closest real ones), number out of range,
            empty list, wrong shape.
    """
    if type(which) is list and which and all(type(c) is int and 0 <= c < classes for c in which):
        return torch.tensor([which] * n, device="cpu")  # as a rule, without a detour by their names
    rows = _rows(which, n)
    if not all(rows):
        raise ClassError("The list of classes is empty: name at least one class.")
    lengths = sorted({len(row) for row in rows})
    if len(lengths) > 1:
        raise ClassError(
            f"Some images have {lengths[0]} classes and some {lengths[-1]}: give each as many."
        )
    numbers = [[_index(c, categories, classes) for c in row] for row in rows]
    indices = torch.tensor(numbers, device="cpu")  # whatever set_default_device says
    if indices.shape[1] == classes > 2 and bool((indices <= 1).all()):
        if _is_list(which) and not any(map(_is_row, which)):
            return indices  # K classes, asked of every image
        labels = "torch.tensor(labels)" if _is_list(which) else "labels"
        raise ClassError(
            f"The classes are {n} x {classes} zeros and ones, a column for each class, as in "
            f"one-hot labels. Pass numbers: {labels}.argmax(1) gives one class for each image."
        )
    return indices


def _rows(which: Any, n: int) -> list[list]:
    """The classes asked of each image: N lists."""
    if isinstance(getattr(which, "indices", None), Tensor):
        which = which.indices  # what topk, max and min return
    if hasattr(which, "shape") and not isinstance(which, str):
        rows = _rows_of_array(which, n)
    elif not _is_list(which):
        return [[which]] * n
    else:
        items: list[Any] = list(which)
        if not items or not all(map(_is_row, items)):
            return [items] * n
        rows = [list(row) for row in items]
    if len(rows) != n:
        raise ClassError(
            f"{_many(len(rows), 'row')} of classes {_were(rows)} given for {_images(n)}: give each "
            "image its row, or pass a plain list of classes, which is asked of every image."
        )
    return rows


def _is_row(item: Any) -> bool:
    """Whether an item of a list is a list in its turn; a tensor of one number is a class."""
    return _is_list(item) or bool(getattr(item, "shape", ()))


def _is_list(value: Any) -> bool:
    """Whether it is a list of some kind: also a tuple, range or deque, but no text."""
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _rows_of_array(which: Any, n: int) -> list[list]:
    """The rows of a tensor, array or series, of numbers or names."""
    if isinstance(which, Tensor) and (which.is_meta or which.layout != torch.strided):
        kind = "on the device 'meta'" if which.is_meta else "sparse"
        raise ClassError(f"Classes are a plain tensor of numbers, but this one is {kind}.")
    values = which.detach().cpu() if isinstance(which, Tensor) else np.asarray(which)
    if np.ma.is_masked(which):
        raise ClassError("Some of the classes are masked: leave their images out.")
    if values.ndim == 1 and not len(values):
        return [[]] * n
    kind = str(values.dtype).removeprefix("torch.")
    if not kind.startswith(("int", "uint", "object", "str", "<U", "|S", "StringDType")):
        raise ClassError(
            f"Classes are whole numbers, but the tensor holds {kind}{_way_to_whole(values, kind)}."
        )
    if values.ndim > 2:
        raise ClassError(f"Classes are N x K, not {' x '.join(map(str, values.shape))}.")
    if values.ndim == 2:
        return values.tolist()
    if values.ndim == 0:
        return [[values.tolist()]] * n
    if len(values) != n:
        raise ClassError(
            f"{_many(len(values), 'class')} {_were(values)} given for {_images(n)}. A tensor or "
            f"array holds one class for each image, so {n} {'is' if n == 1 else 'are'} needed. To "
            f"ask {'it' if len(values) == 1 else f'all {len(values)}'} of every image, pass a "
            "list: .tolist() makes one."
        )
    return [[c] for c in values.tolist()]


def _way_to_whole(values: Any, kind: str) -> str:
    """What makes class numbers of floats or truth values, as the end of a sentence."""
    if not kind.startswith(("float", "bfloat", "bool")):
        return ""
    whole = values.long() if isinstance(values, Tensor) else np.nan_to_num(values).astype(int)
    code = ".long()" if isinstance(values, Tensor) else ".astype(int)"
    if values.ndim == 2 and values.shape[1] > 1:
        code = f"{code * (kind == 'bool')}.argmax(1)"  # of truth values torch knows none
        return f". Of one-hot labels or scores, a column for each class, {code} gives the class"
    if kind == "bool":
        return f": {code} reads False and True as the classes 0 and 1"
    return f": {code} makes them so" if bool((whole == values).all()) else ""


def _images(n: int) -> str:
    return _many(n, "image")


def _many(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("" if n == 1 else "es" if noun.endswith("s") else "s")


def _were(items: Any) -> str:
    return "was" if len(items) == 1 else "were"


def _index(which: Any, categories: list[str] | None, classes: int) -> int:
    """The number of one class, given by number or name."""
    which = which.value if isinstance(which, Enum) else which
    if isinstance(which, str):
        return _index_of_name(which, categories)
    try:
        if isinstance(which, bool):
            raise TypeError
        index = operator.index(which)
    except TypeError:  # floats, also those in a tensor, are not rounded down
        wrong, kind = repr(which), type(which).__name__
        wrong = f"{wrong} ({kind})" if len(wrong) < 60 else f"of the type {kind}"
        several = " Give several as a list." * isinstance(which, (Iterable, slice))
        question = (
            " A question of another kind, a function of the output, goes to ForwardPass(model, "
            "x).ask(...)." * callable(which)
        )
        raise ClassError(
            f"A class is a whole number or a name, not {wrong}.{several}{question}"
        ) from None
    if not 0 <= index < classes:
        raise ClassError(
            f"Class {index} is out of range: this network has classes 0 to {classes - 1}."
        )
    return index


def _index_of_name(name: str, categories: list[str] | None) -> int:
    """Exact spelling first, then without regard to case, if that settles it."""
    name = name.strip()
    if not categories:
        raise ClassError(
            f"This network knows its classes by number only, so '{name}' cannot be looked up. Pass "
            "the number, or set model.categories to the list of names."
        )
    if categories.count(name) == 1:
        return categories.index(name)
    same = [i for i, c in enumerate(categories) if name.lower() == c.lower()]
    same = same or [
        i for i, c in enumerate(categories) if c.lower().startswith(f"{name.lower()} (")
    ]
    if len(same) == 1:
        return same[0]
    if same:
        rows = " or ".join(f"{i} ('{categories[i]}')" for i in same)
        raise ClassError(f"'{name}' is more than one class: give the number, {rows}.")
    number = f" As a number: {name}, without quotes." * name.isdecimal()
    names = "GradCAM(model).categories"
    if len(categories) <= FEW_NAMES:  # also "no" and "yes" of one logit, which stand in no list
        names = ", ".join(map(repr, categories))
    raise ClassError(
        f"No class is called '{name}'.{closest(name, categories)}{number} All names: {names}."
    )
