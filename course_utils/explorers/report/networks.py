"""The network of a report: one of the course's, or anybody's, named as module:function."""

import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import a_kind_of
from ...methods.classes import names_in
from ...networks.classifiers import load_classifier
from ...networks.preprocess import Preprocess, shown, way_back

IMAGENET = Preprocess(256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass
class Reported:
    """A network with all that a report needs.

    Attributes:
        network: in evaluation mode.
        preprocess: a PIL photo -> 3 x H x W floats.
        show: what the network reads, 3 x H x W -> H x W x 3 in [0, 1], for the thumbnails.
        said: what was assumed, in sentences.
    """

    network: nn.Module
    preprocess: Callable[[Any], Tensor]
    show: Callable[[Tensor], Tensor]
    said: list[str] = field(default_factory=list)

    def digest(self) -> str:
        """Another one for other weights, layers, names, preparation or code of one's own: kept
        answers are its own."""
        made_of = (self.network, self.preprocess, names_in(self.network))
        about = " ".join(re.sub(r" at 0x[0-9a-f]+", "", repr(one)) for one in made_of)
        digest = hashlib.sha256(about.encode())
        for path in _own_files(self.network, self.preprocess):
            digest.update(path.read_bytes())
        for name, value in self.network.state_dict().items():
            digest.update(name.encode())
            if isinstance(value, Tensor) and not value.is_sparse and not value.is_quantized:
                value = value.detach().cpu().contiguous().flatten()
                digest.update(value.view(torch.uint8).numpy())
        return digest.hexdigest()


def _own_files(network: nn.Module, preprocess: Callable) -> list[Path]:
    """The files that define the network's parts and its preparation, but for installed packages'.

    Whoever stops a report to mend one of them wants no answers of before.
    """
    prepares = preprocess if hasattr(preprocess, "__module__") else type(preprocess)
    modules = {kind.__module__ for kind in [prepares, *map(type, network.modules())]}
    files = {getattr(sys.modules.get(name), "__file__", None) for name in modules}
    return sorted(Path(f) for f in files if f and "site-packages" not in Path(f).parts)


def load(name: str, place: str | Path = ".") -> Reported:
    """The network called `name`.

    Args:
        name: as for `load_classifier`; or "module:function", also "path/to/file.py:function": a
            function without arguments that gives an `nn.Module` (or such a network itself).
        place: the folder in which modules and files are looked for first.

    Its own `.preprocess` and `.categories` are used. What it has not is assumed, and said.

    Raises:
        ValueError: no such network, module or function, or something else than a network.
        WeightsError: see `load_classifier`.
    """
    said = []
    network = _own(name, Path(place)) if ":" in name else load_classifier(name)
    if network.training:
        network.eval()
        said.append("The network was in training mode: it was asked in evaluation mode.")
    if names_in(network) is None:
        said.append(
            "The network names no classes (`.categories`): they are called by their numbers."
        )
    preprocess = _preprocess(network, said)
    return Reported(network, preprocess, _show(preprocess, said), said)


def _own(name: str, place: Path) -> nn.Module:
    """What the function of "module:function" gives."""
    where, _, function = name.rpartition(":")
    try:
        module = _file(place / where) if where.endswith(".py") else _module(where, place)
    except (ImportError, FileNotFoundError) as error:
        raise ValueError(
            f"'{where}' cannot be imported ({error}). Give a module that lies in {place.resolve()} "
            "or is installed, as in my_networks:load, or a file, as in my_networks.py:load."
        ) from error
    except Exception as error:  # anything may go wrong in somebody's module
        raise ValueError(f"The import of '{where}' failed {_where(error)}.") from error
    made = getattr(module, function, None)
    if made is None:
        raise ValueError(f"{where} has no '{function}': give module:function.")
    if callable(made) and not isinstance(made, nn.Module):
        try:
            made = made()
        except Exception as error:
            raise ValueError(
                f"{function}() failed {_where(error)}. A function without arguments that gives the "
                "network is needed."
            ) from error
    if not isinstance(made, nn.Module):
        raise ValueError(f"{name} gave {a_kind_of(made)}; a report needs an nn.Module.")
    return made


def _where(error: Exception) -> str:
    """What an error in somebody's code says, and where it came from."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"line {last.lineno} of {Path(last.filename).name}"
    return f"({type(error).__name__}: {str(error).rstrip('.')}; {place})"


def _module(where: str, place: Path):
    """A module, looked for in `place` first."""
    folder = str(place.resolve())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(where)


def _file(path: Path):
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    name = f"_report_{path.stem}"
    if name in sys.modules and Path(sys.modules[name].__file__) == path.resolve():
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles look there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _preprocess(network: nn.Module, said: list[str]) -> Callable[[Any], Tensor]:
    """The network's own; else that of what it wraps; else what timm records; else ImageNet's."""
    for part in network.modules():
        if callable(own := getattr(part, "preprocess", None)):
            return own
    record = next((c for m in network.modules() if (c := _recorded(m))), None)
    if record is not None:
        size, share = record["input_size"][-1], record.get("crop_pct") or 1
        way = record.get("interpolation", "bilinear")
        way = way if way in ("bilinear", "bicubic") else "bilinear"
        found = Preprocess(int(size / share), size, record["mean"], record["std"], way)
        said.append(
            f"The network has no `.preprocess`: photos are made ready by its record, {found}."
        )
        return found
    said.append(
        "The network has no `.preprocess` (a function from a PIL photo to 3 x H x W floats): "
        f"photos are made ready as for most networks of ImageNet, {IMAGENET}."
    )
    return IMAGENET


def _recorded(module: nn.Module) -> dict | None:
    """What timm records of a network's input."""
    record = getattr(module, "pretrained_cfg", None)
    whole = isinstance(record, dict) and all(record.get(k) for k in ("input_size", "mean", "std"))
    return record if whole else None


def _show(preprocess, said: list[str]) -> Callable[[Tensor], Tensor]:
    """The way back from what the network reads to a picture."""
    if way_back(preprocess) is None:
        said.append(
            "`.preprocess` does not say how it scales colours: each thumbnail is stretched from "
            "its darkest to its lightest value."
        )
    return partial(shown, preprocess)
