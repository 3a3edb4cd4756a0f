"""Which layer is explained: the one that is named, a known family's, or one found by what it does.

A layer has places (spatial positions) as long as its output says *where* in the image something is.
"""

import inspect
from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import LayerError, a_kind_of, closest
from ..networks.families import Known, is_of_a_library, known_inside, stated
from .backward import backward
from .chance import answer_before, first_time, random_states, warn_of_chance, warn_of_state
from .first_token import Run, run_shorter
from .graph import nodes_and_leaves
from .grids import tokens_first
from .head import not_on_the_way
from .inputs import (
    Inputs,
    are_variables,
    beside_weights,
    first_convolution,
    holds_boxes,
    images_of,
    in_words,
    size_of,
)
from .no_layer import nothing_fits
from .orientation import orientation_of, unknown_network
from .output import Picker
from .tensors import alike, random_like
from .watched import Watched
from .watching import runs_otherwise, watch


class Target(NamedTuple):
    """The layer that is explained: its full name, its module, and why it was chosen."""

    name: str
    module: nn.Module
    reason: str
    asked: str | int | nn.Module | None  # what the caller gave

    @property
    def named(self) -> bool:
        """Whether the caller chose it."""
        return self.asked is not None

    def stands(self, model: nn.Module) -> bool:
        """Whether it is still the layer of this name: parts may be put in place of others."""
        try:
            return model.get_submodule(self.name) is self.module
        except (AttributeError, RuntimeError):
            return False


def layer_names(model: nn.Module) -> list[str]:
    """Every layer that can be named, in the order of registration ("layer4.2.conv3", ...)."""
    if not isinstance(model, nn.Module):
        raise TypeError(_no_network(model))
    return [name for name, _ in model.named_modules() if name]


def find_layer(
    model: nn.Module, layer: str | int | nn.Module | Target | None = None
) -> Target | None:
    """The layer to explain; None where it must be found with images (`default_targets`).

    Args:
        model: the network.
        layer: a name as in `layer_names(model)`, a module of the network, what this function found
            before, or None for the layer of a known family.

    Raises:
        LayerError: no such layer (the closest real names are given).
        TypeError: the network is no nn.Module.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(_no_network(model))
    if layer is None:
        return known_target(model)
    if isinstance(layer, Target):
        return layer if layer.stands(model) else find_layer(model, layer.asked)
    if isinstance(layer, nn.Module):
        name = next((n for n, module in model.named_modules() if module is layer), None)
        if name is None:
            last = next((n for n, m in model.named_modules() if m in [*layer.children()][-1:]), "")
            if last:  # a slice of a Sequential is a new module
                raise LayerError(
                    f"That {type(layer).__name__} is no module of this {type(model).__name__}, "
                    "though it holds layers of it, as a slice does, so it never runs. Name the "
                    f"last of them, '{last}'."
                )
            raise LayerError(
                f"That {type(layer).__name__} is not a part of this {type(model).__name__}. "
                "Pass a layer of the same network object, or its name."
            )
    elif not isinstance(layer, (str, int)):
        kind = f"the class {layer.__name__}" if isinstance(layer, type) else type(layer).__name__
        raise LayerError(
            f"A layer is given by its name or as a module of the network, not as {kind}. "
            "layer_names(model) lists the names."
        )
    else:
        name = str(layer)
    try:
        return Target(name, model.get_submodule(name), "named by you", asked=layer)
    except AttributeError:
        raise LayerError(
            f"{type(model).__name__} has no layer '{name}'.{_nearest(name, layer_names(model))} "
            "layer_names(model) lists them all."
        ) from None
    except RuntimeError:  # scripted networks do not even find their parts by name
        raise LayerError(in_torchscript(model)) from None


def in_torchscript(model: nn.Module) -> str:
    """The sentence for a network of TorchScript."""
    return (
        f"{type(model).__name__} is a TorchScript network: its layers take no hooks, so no layer "
        "will do. Ask the nn.Module that it was made from."
    )


def _nearest(name: str, names: list[str]) -> str:
    """As `closest`; first a name that only lacks a wrapper's part, such as "module.", or has it."""
    same = [n for n in names if f".{name}".endswith(f".{n}") or n.endswith(f".{name}")]
    if same:
        return f" Did you mean '{max(same, key=len)}'?"
    return closest(name, names)


def _no_network(value: Any) -> str:
    """What is wrong with a value that is no network, and what to do."""
    said = "The network must be an nn.Module, such as load_classifier(...) gives, not "
    if isinstance(value, type):
        return f"{said}the class {value.__name__}: make a network of it, {value.__name__}(...)."
    if isinstance(value, Mapping):
        return (
            f"{said}a dict, as saved weights are: make the network and load them into it, "
            "model.load_state_dict(weights)."
        )
    if callable(value):
        kind = "a function" if inspect.isroutine(value) else a_kind_of(value)
        return (
            f"{said}{kind}. If it calls a network, or was made from one, give the network "
            "itself, as its layers are what is looked at."
        )
    return f"{said}{a_kind_of(value)}."


def known_target(model: nn.Module) -> Target | None:
    """The layer of a known family, also inside a wrapper.

    None if there is none, or several, or if something was added that may have places behind it.
    """
    layer = stated(model, "layer")
    if isinstance(layer, str):
        try:
            return Target(layer, model.get_submodule(layer), "the network states it", asked=None)
        except AttributeError:
            raise LayerError(
                f"model.layer says '{layer}', but {type(model).__name__} has no such layer."
            ) from None
    found = known_inside(model)
    sure = len(found) == 1 and not found[0].others
    return _of_known(model, found[0]) if sure else None


def _of_known(model: nn.Module, known: Known) -> Target:
    why = f"the last layer of a {known.family} that still has places"
    return Target(known.layer, model.get_submodule(known.layer), why, asked=None)


def default_targets(
    model: nn.Module, x: Inputs, output: Picker | None = None, known: Target | None = None
) -> Iterator[Target]:
    """Layers to try, the best first: the known family's, then those that pass the rule.

    Raises:
        LayerError: none passes.
    """
    if known is not None:
        yield known
    watched = watch(model, x, output)
    if not watched.fitting:
        raise nothing_fits(model, x, watched)
    if known is None and watched.known is not None:
        yield _of_known(model, watched.known)
    size = in_words(size_of(images_of(x), model))
    if are_variables(images_of(x), model):
        size = "the {2} variables of {1} times".format(*images_of(x).shape)
    why = f"found for {size}: the last layer that runs once and whose gradient reaches the "
    behind = any(map(watched.behind_attention, watched.fitting))
    last = max(watched.attentions.values(), default=0)
    for name in _spatial_first(model, x, watched):
        before = behind and watched.ends[name] < last
        gives = list(watched.shapes[name])
        del gives[tokens_first(gives, watched.n)]  # the batch's axis
        shape = " x ".join(map(str, gives))
        reason = f"{why}output from more than one place" + ", before the last attention" * before
        reason += "" if before else _passed_over(model, name, watched)
        reason += _in_another_branch(name, watched)
        reason += ", a branch that is added to what it reads" * (name == watched.branch)
        reason += f"; it gives {shape}"
        if name in watched.longer:
            few = size_of(images_of(x), model)[0]
            reason += (
                f", of which the output reads the first {few} only: the map lies right without the "
                f"others, with layer='{name}', reshape_transform=lambda a: a[..., :{few}]"
            )
        yield Target(name, model.get_submodule(name), reason, asked=None)


def _spatial_first(model: nn.Module, x: Inputs, watched: Watched) -> Iterator[str]:
    """The layers that fit, the best first; last those that have channels in the place of height."""
    unrelated = []
    for name in watched.fitting:
        fold, turned = watched.folds[name], watched.turned
        if watched.shows_channels(name) and orientation_of(model, x, name, fold, turned).unrelated:
            unrelated.append(name)
        else:
            yield name
    yield from unrelated


def _in_another_branch(name: str, watched: Watched) -> str:
    """A layer of another branch, in words, as of a second stream, member or expert."""
    if name != watched.fitting[0]:
        return ""
    own = watched.read | watched.inside
    apart = [n for n in watched.fitting if n not in own and watched.ends[n] < watched.ends[name]]
    return f", beside which '{apart[0]}' stands in a branch of its own" if apart else ""


def _passed_over(model: nn.Module, name: str, watched: Watched) -> str:
    """What runs later and passes the rule, too, in words: linear layers, maps of one channel."""
    end, others = watched.ends[name], [n for n in watched.fitting if n not in watched.inside]
    if name in watched.lengths:
        once = [n for n in watched.shapes if watched.runs[n] == 1 and n not in watched.inside]
        pictures = [n for n in once if len(s := watched.shapes[n]) == 4 and min(s[2:]) > 1]
        later = (pictures or [name])[-1]
        if watched.ends[later] > end:
            return f", but for '{later}', which has a height and a width, as a spectrogram has"
    for later in [n for n in others if watched.ends[n] > end]:
        if watched.shows_channels(later) and not watched.shows_channels(name):
            return f", but for '{later}', which has channels in the place of height or width"
        if later in watched.gates:
            return f", but for '{later}', which has one channel"
        if later in watched.elsewhere:
            return f", but for '{later}', which reads another image alone"
        if later in watched.beside:
            return f", but for '{later}', one of several that read it side by side"
        if later in watched.anew:
            return f", but for '{later}', which is made from a row of numbers"
        if later in watched.weighing:
            return f", but for '{later}', by which others are weighed or sampled"
        if isinstance(model.get_submodule(later), nn.Linear):
            return f", but for the linear layer '{later}'"
    bare = end < watched.first_attention  # patches
    for later, many in watched.several.items():
        if watched.ends[later] > end and (bare or later not in watched.inside):
            return (
                f", but for '{later}', which gives {many} outputs for each image, as of windows, "
                "views or steps"
            )
    return ""


def default_layer(model: nn.Module, x: Inputs | None = None) -> str:
    """The name of the layer that is explained by default.

    Args:
        model: the network.
        x: what it is given; None where the family is known. Otherwise random images of the size
            that the network states, or 224 x 224, are tried.

    Raises:
        LayerError: the network is of an unknown family, and no layer fits or no images are given.
    """
    known = known_target(model)
    if known is not None and x is None:
        return known.name
    if x is None:
        x = _some_images(model)
        try:
            return next(default_targets(model, x, known=known)).name
        except LayerError:
            raise
        except Exception as error:
            raise LayerError(
                f"{type(model).__name__} is of no known family. Its layer is found with images: "
                "default_layer(model, x)."
            ) from error
    return run_from_target(model, x, known)[0].name


def _some_images(model: nn.Module) -> Tensor:
    """Random images of the size that the network states, else of a usual one."""
    size = next((s for s in map(_stated_size, model.modules()) if s is not None), None)
    first = first_convolution(model)
    if size is None:
        axes = 2 if first is None else len(first.kernel_size)
        size = (3 if first is None else first.in_channels, *[(1024, 224, 32)[axes - 1]] * axes)
    images = torch.empty(1, *size, dtype=torch.float32, device="cpu")  # whatever is the default
    return beside_weights(random_like(images), model)


def _stated_size(module: nn.Module) -> tuple[int, ...] | None:
    """(C, H, W) as timm's networks state it."""
    img_size = getattr(stated(module, "patch_embed"), "img_size", None)
    if isinstance(img_size, (tuple, list)):
        return (3, *img_size)
    config = stated(module, "pretrained_cfg")
    return tuple(config.get("input_size", ())) or None if isinstance(config, dict) else None


def run_from_target(
    model: nn.Module,
    x: Inputs,
    target: Target | None,
    output: Picker | None = None,
    shorter: bool = True,
) -> tuple[Target, Run]:
    """The target layer, and a run of the network whose graph starts there.

    A layer that was not named by the caller, and does not run as it should, gives way to the next
    one that fits. So does one that ran for some of the images only, such as one expert of several.
    Of a network that draws random numbers, or remembers its last pass, it is warned.
    """
    looks = first_time(model, "" if target is None else target.name)
    before = random_states(x) if looks else None
    inner = unknown_network(model) if looks else None
    once = inner is not None and first_time(inner, "an earlier pass")
    earlier = answer_before(model, x, output) if once else None
    found = target is None
    target, run = _first_that_runs(model, x, target, output, shorter)
    if found and run.shift is None and runs_otherwise(model, x, output, target.name, run.output):
        target, run = _first_that_runs(model, x, None, output, shorter)
        runs_otherwise(model, x, output, target.name, run.output)  # noted for the next question
    if before is not None and before != random_states(x):
        warn_of_chance(model, x, target.name, output)
    elif earlier is not None and not alike(earlier, run.output.detach()):
        warn_of_state(model)
    if len(run.output) > 1 and run.shift is None and holds_boxes(x):
        _check_rows(run)
    return target, run


def _check_rows(run: Run) -> None:
    """Raise a LayerError unless each row of the output reads its own image alone.

    Rows of boxes may be as many as the images, but of others.
    """
    n, leaf, y = len(run.output), run.leaf, run.output
    if leaf.shape[0] != n:
        return  # of tokens that stand first, or of fewer images
    own = torch.eye(n, device=y.device).reshape(n, n, *[1] * (y.dim() - 1))
    gradient = backward(y, leaf, own * random_like(y))
    reads = None if gradient is None else gradient.flatten(2).ne(0).any(dim=2)
    if reads is not None and bool(reads.fill_diagonal_(False).any()):
        row, image = reads.nonzero()[0].tolist()
        raise LayerError(
            f"Row {row} of the output reads image {image} of x, as where the rows are of boxes: a "
            "map belongs to one image. Ask of one image with its boxes, and of one row at a time, "
            "the first by output=lambda y: y[:1]."
        )


def _first_that_runs(
    model: nn.Module, x: Inputs, target: Target | None, output: Picker | None, shorter: bool
) -> tuple[Target, Run]:
    fault: LayerError | None = None
    named = target is not None and target.named
    partial: tuple[Target, Run] | None = None
    for candidate in [target] if named else default_targets(model, x, output, target):
        assert candidate is not None
        try:
            run = run_shorter(model, candidate.name, candidate.module, x, output, shorter)
        except LayerError as error:
            fault = fault or error
            continue
        if not named and not _is_read(model, run):  # as of a backbone whose early blocks are used
            fault = fault or not_on_the_way(candidate.name)
            continue
        n, *sides = run.leaf.shape
        one_place = len(sides) > 2 and prod(sides) == max(sides)
        if named or len(images_of(x)) in (n, sides[0]) and not one_place:
            return candidate, run
        partial = partial or (candidate, run)
    if partial is not None:
        return partial
    assert fault is not None
    raise fault


def _is_read(model: nn.Module, run: Run) -> bool:
    """Whether the output is computed from the layer; of a library's network it is known."""
    known = is_of_a_library(model) or run.shift is not None
    return known or run.leaf in nodes_and_leaves(run.output)


def main_layers(model: nn.Module) -> list[str]:
    """A short list to choose from: convolutions and blocks near the top, and the known default."""
    names = [
        name
        for name, module in model.named_modules()
        if name and name.count(".") < 2 and any(isinstance(m, nn.Conv2d) for m in module.modules())
    ]
    known = known_target(model)
    return names if known is None or known.name in names else [*names, known.name]
