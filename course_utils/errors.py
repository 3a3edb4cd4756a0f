"""Errors that a learner can act on: what was wrong, and what to do about it."""

import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches
from pathlib import Path
from typing import Any

_PACKAGE = str(Path(__file__).parent)


class LayerError(ValueError):
    """The target layer cannot be used: unknown, without a grid, never run, or run twice."""


class ClassError(ValueError):
    """A class was asked for that the network does not have, or that its name does not settle."""


class ImageError(ValueError):
    """The tensor given as images is not what the network reads."""


class WeightsError(RuntimeError):
    """A network's weights are missing, damaged, or cannot be fetched."""


class ProbabilitiesWarning(UserWarning):
    """A network's output is probabilities where logits are expected."""


class ChanceWarning(UserWarning):
    """Maps of one image differ: the network draws random numbers, or remembers earlier passes."""


class GridWarning(UserWarning):
    """A layer's grid, or an axis of it, does not lie on the image as a map is drawn."""


_heard: ContextVar[list[str] | None] = ContextVar("heard", default=None)


def warn_outside(said: str, category: type[Warning]) -> None:
    """Warn at the first line outside of this package: the caller's."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    listening = _heard.get()
    if listening is not None:
        listening.append(said)
    warnings.warn(said, category, stacklevel=level)


@contextmanager
def hearing() -> Iterator[list[str]]:
    """What `warn_outside` says inside, in this thread; it is warned of as ever.

    `warnings.catch_warnings` loses some where another thread uses it, too.
    """
    said: list[str] = []
    token = _heard.set(said)
    try:
        yield said
    finally:
        _heard.reset(token)


def a_kind_of(value: Any) -> str:
    """What kind of value it is, with its article: "a str", "an int", "an ndarray"."""
    kind = type(value).__name__
    return f"an {kind}" if kind.lower().startswith(("a", "e", "i", "o", "ndarray")) else f"a {kind}"


def closest(name: str, names: Iterable[str], n: int = 3) -> str:
    """The names nearest to a mistyped one, as the end of an error message.

    Args:
        name: what was typed.
        names: what exists.
        n: at most this many suggestions.

    Returns:
        `" Did you mean 'a', 'b' or 'c'?"` with a leading space; `""` when nothing is near.
    """
    real = {candidate.lower(): candidate for candidate in reversed(list(names))}
    typed = str(name).lower()
    # first the names of which it is a word ("cat": "tiger cat"), last those that merely contain it
    word = re.compile(rf"(?<!\w){re.escape(typed)}(?!\w)")
    parts = [low for low in reversed(real) if len(typed) > 2 and typed in low]
    near = [low for low in parts if word.search(low)] + get_close_matches(
        typed, real, n=n, cutoff=0.6
    )
    near = list(dict.fromkeys(near + parts))
    found = [f"'{real[low]}'" for low in near[:n]]
    if not found:
        return ""
    return " Did you mean " + " or ".join(filter(None, [", ".join(found[:-1]), found[-1]])) + "?"


def whole_torch() -> None:
    """Import torch, or say what helps where an earlier import of it was interrupted.

    Ctrl-C (or the stop button) during that import leaves half of torch in the kernel, and a second
    import fails in one of many ways.

    Raises:
        ImportError: half of torch is there.
    """
    try:
        import torch
        import torch.nn.functional

        torch.nn.Module, torch.inference_mode  # noqa: B018  (half a module lacks them)
    except ModuleNotFoundError as error:
        if error.name == "torch":
            raise  # it is not installed
        raise ImportError(_INTERRUPTED) from error
    except (AttributeError, ImportError, RecursionError, RuntimeError) as error:
        raise ImportError(_INTERRUPTED) from error


_INTERRUPTED = (
    "The import of torch was interrupted earlier, and half of it is left in this kernel. "
    "Restart the kernel (menu Kernel > Restart Kernel), then run the first cell again and wait."
)


# where the modules of version 1 are since version 2.0
MOVED = {
    "bird_explorer": "course_utils.explorers.birds",
    "birds.network": "course_utils.networks.birds",
    "cams": "course_utils.methods.cams",
    "checks": "course_checks",
    "classifiers": "course_utils.networks.classifiers",
    "controls": "course_utils.explorers.panel",
    "engine": "course_utils.methods.forward_pass",
    "explorer": "course_utils.explorers.contrast_view",
    "heads": "course_utils.methods.head",
    "inputs": "course_utils.methods.inputs",
    "layers": "course_utils.methods.layers",
    "overlays": "course_utils.figures.overlays",
    "picture": "course_utils.figures.picture",
    "preprocess": "course_utils.networks.preprocess",
    "quality.bosse": "course_utils.quality.wadiqam",
    "quality.lessons": "course_utils.quality.training.training_data",
    "quality.loading": "course_utils.quality.load",
    "quality.measuring": "course_utils.quality.training.agreement",
    "quality.tid2013": "course_utils.quality.training.tid2013",
    "quality_explorer": "course_utils.explorers.quality",
    "quality_figures": "course_utils.quality.figures",
    "quiz": "course_utils.explorers.quiz",
    "rendering": "course_utils.methods.maps",
    "shipped": "course_utils.networks.course_weights",
    "voting": "course_utils.explorers.duel",
    "widgets": "course_utils.explorers.contrast",
}


def moved_to(name: str) -> str | None:
    """Where a module that version 1 had under this whole name is now; None for others."""
    package, _, old = name.partition(".")
    return MOVED.get(old) if package == "course_utils" else None


class MovedModules:
    """Answers the import of a module of version 1 with its new place; asked last of all finders."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        """Raise an ImportError that names the new place; None for other modules."""
        now = moved_to(name)
        if now is None:
            return
        package, _, last = now.rpartition(".")
        old = name.rpartition(".")[2]
        line = f"from {package} import {last}" if package else f"import {last} as {old}"
        # no ModuleNotFoundError, which `from course_utils import ...` would swallow
        raise ImportError(f"{name} moved in version 2.0: write `{line}`.", name=name)


def tell_of_moved_modules() -> None:
    """Let old imports be answered in a sentence."""
    if MovedModules not in sys.meta_path:
        sys.meta_path.append(MovedModules)
