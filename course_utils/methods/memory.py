"""What was measured of a network is remembered for as long as nothing was switched in it."""

from types import FunctionType
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from torch import nn

from .running import every_module

Value = TypeVar("Value")
FEW = 8  # settings by key: more, as where a step is counted in training, would pile up
_OF_EVERY_MODULE = vars(nn.Module()).keys()
_SINGLE = (bool, int, float, str)


class Memory(Generic[Value]):
    """Values by network and key, each with the settings it was measured under.

    >>> before = settings(model)
    >>> value = memory.recall(model, before, "layer4")
    >>> if value is None:
    ...     value = memory.keep(model, before, "layer4", measured(model))
    """

    def __init__(self) -> None:
        self._of = WeakKeyDictionary[nn.Module, dict[Any, list[tuple[dict, set, Value]]]]()

    def recall(self, model: nn.Module, now: dict, *keys: Any) -> Value | None:
        """What was kept under one of the keys with these settings; None if nothing was."""
        known = self._of.get(model, {})
        for then, passing, value in (one for key in keys for one in known.get(key, ())):
            if then.items() <= now.items() and now.keys() - then.keys() <= passing:
                return value
        return None

    def keep(self, model: nn.Module, before: dict, key: Any, value: Value) -> Value:
        """Keep a value that was measured since, and give it back.

        What the passes have changed themselves, as counters, is no setting.
        """
        after = settings(model)
        then = dict(before.items() & after.items())
        passing = (before.keys() | after.keys()) - then.keys()
        kept = self._of.setdefault(model, {}).setdefault(key, [])
        kept.append((then, passing, value))
        del kept[:-FEW]
        return value


def settings(model: nn.Module) -> dict[tuple[int, str], Any]:
    """What may switch a network to treating its images otherwise.

    Those are its parts, and what their own code holds: flags, words, numbers, functions, such as
    the size of a crop.
    """
    found: dict[tuple[int, str], Any] = {}
    for i, module in enumerate(every_module(model)):
        found[i, ""] = id(module)
        if not type(module).__module__.startswith("torch."):
            held = vars(module)
            for name in held.keys() - _OF_EVERY_MODULE:
                value = held[name]
                if isinstance(value, FunctionType):
                    found[i, name] = id(value)  # the function itself may hold the network
                elif _is_plain(value):
                    found[i, name] = tuple(value) if isinstance(value, list) else value
    return found


def _is_plain(value: Any) -> bool:
    few = isinstance(value, tuple | list) and len(value) < 10
    return isinstance(value, _SINGLE) or few and all(isinstance(one, _SINGLE) for one in value)
