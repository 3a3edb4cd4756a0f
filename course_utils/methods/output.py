"""What a network returned, and which tensor of it is asked about."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import a_kind_of

Picker = Callable[[Any], Tensor]  # from what the network returned to the tensor that is asked about


def the_output(model: nn.Module, returned: Any, output: Picker | None = None) -> Tensor:
    """The tensor that is asked about: what `output` picks, else the logits where they are named.

    Raises:
        TypeError: it is not settled which tensor is meant.
    """
    picked = _named_logits(returned) if output is None else _picked(model, returned, output)
    if isinstance(picked, Tensor) and picked.dim() and picked.is_floating_point():
        return picked
    raise TypeError(_no_output(type(model).__name__, picked, output is not None))


def _named_logits(returned: Any) -> Any:
    """The logits where they are named, or the only tensor; else what the network returned."""
    if isinstance(returned, Tensor):
        return returned
    items = returned if isinstance(returned, Mapping) else {}
    for logits in (items.get("logits"), getattr(returned, "logits", None)):
        if isinstance(logits, Tensor):
            return logits
    if isinstance(returned, (tuple, list, Mapping)) and len(returned) == 1:
        (only,) = items.values() or returned
        return only if isinstance(only, Tensor) else returned
    return returned


def _picked(model: nn.Module, returned: Any, output: Picker) -> Any:
    """What `output` makes of what the network returned."""
    what = f"{type(model).__name__} returned {a_kind_of(returned)}{_contents(returned)}"
    if not callable(output):
        raise TypeError(
            f"output= is a function from what the network returns to the logits, such as "
            f"output=lambda y: y['logits'], not {a_kind_of(output)}. {what}."
        )
    cut = (
        "output= cuts the gradient, as argmax, detach, item and numpy do: give the logits "
        f"themselves. {what}."
    )
    with torch.inference_mode(False), torch.enable_grad():
        try:
            picked = output(returned)
        except Exception as error:
            said = str(error).rstrip(".")
            failed = f"output= failed: {type(error).__name__}: {said}. {what}."
            raise TypeError(cut if said.startswith("Can't call numpy()") else failed) from error
        if isinstance(picked, Tensor) and not picked.requires_grad and _has_graph(returned):
            raise TypeError(cut)
    return picked


def _has_graph(value: Any) -> bool:
    """Whether a tensor in what a network returned has one; only looked for where one is made."""
    items = value.values() if isinstance(value, Mapping) else value
    if isinstance(value, Tensor):
        return torch.is_grad_enabled() and value.requires_grad
    return isinstance(items, Iterable) and any(
        isinstance(item, Tensor) and _has_graph(item) for item in items
    )


def _no_output(name: str, value: Any, picked: bool) -> str:
    """What is wrong with a value that is no tensor of N numbers, and what to do."""
    what = f"{a_kind_of(value)}{_contents(value)}"
    who = "output= gave" if picked else f"{name} returned"
    if isinstance(value, Tensor) and value.is_complex():
        return f"{who} complex numbers. Ask about real ones: output=lambda y: y.abs(), say."
    if isinstance(value, Tensor) and not value.is_floating_point():
        return (
            f"{who} {str(value.dtype).removeprefix('torch.')} numbers, as argmax does, through "
            "which no gradient passes. Ask about the logits: let the network return them."
        )
    if isinstance(value, Tensor):
        return (
            f"{who} a single number, as a loss is, "
            "not one row for each image. Ask about the logits: let the network return them. If "
            "squeeze() left one logit of one image: output=lambda y: y.reshape(1)."
        )
    if picked:
        return f"output= gave {a_kind_of(value)}, not a tensor."
    item = _an_item(value)
    if item is None:
        return (
            f"{name} returned {what}, in which no tensor of floats was found. "
            "Its forward method must return the logits as a tensor, with their graph (no numpy())."
        )
    return (
        f"{name} returned {what}, not a tensor. Say which number to ask "
        f"about: ForwardPass(model, x, output=lambda y: {item}).ask(lambda y: "
        "y.reshape(len(y), -1).mean(dim=1)), one number for each image. If it holds N x classes: "
        f"GradCAM(model, output=lambda y: {item})(x)."
    )


def _contents(value: Any) -> str:
    if isinstance(value, Mapping):
        return f" of {', '.join(map(repr, value)) or 'nothing'}"
    return f" of {len(value)}" if isinstance(value, (list, tuple)) else ""


def _an_item(value: Any) -> str | None:
    """How to reach a tensor in what a network returned, as code; None if there is none.

    One of rows of numbers, as N x classes, is preferred to masks and features.
    """
    found = list(_items(value, "y"))
    return max(found, key=lambda item: item[1], default=(None, False))[0]


def _items(value: Any, code: str, depth: int = 3) -> Iterator[tuple[str, bool]]:
    """As code, every tensor of floats in what a network returned; whether it is rows of numbers."""
    items: list[tuple[str, Any]] = []
    if isinstance(value, Tensor):
        if value.is_floating_point() and value.dim():
            yield code, value.dim() == 2 and value.shape[1] > 1
    elif isinstance(value, Mapping):
        items = [(f"{code}[{key!r}]", item) for key, item in value.items()]
    elif isinstance(value, (list, tuple)):
        items = [(f"{code}[{i}]", item) for i, item in enumerate(value)]
    elif hasattr(value, "__dict__"):
        items = [(f"{code}.{key}", item) for key, item in vars(value).items()]
    if items and all(isinstance(item, Mapping) and "scores" in item for _, item in items):
        # detection
        yield f"torch.stack([one['scores'].sum() for one in {code}])[:, None]", True
    elif depth:
        for way, item in items:
            yield from _items(item, way, depth - 1)
