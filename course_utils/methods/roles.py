"""What part a module plays in a network, as far as its kind and its name tell."""

import re
from collections.abc import Mapping, Sequence
from itertools import accumulate

import torch
from torch import nn

from ..networks.families import kinds_of

# where torch keeps the layers whose second axis is the channels
_READ_CHANNELS_FIRST = {"conv", "batchnorm", "instancenorm", "pooling", "padding", "upsampling"}
_BRANCH = r"(.*_)?(attn|attention|att|sa|mhsa|msa|mha|mlp|ffn|ffwd|ff|feed_?forward)\d*"
_BRANCHES = ("Attention", "Attn", "MHSA", "MSA", "MHA", "FeedForward")


def channels_first(module: nn.Module) -> bool | None:
    """Whether a layer of this kind gives N x C x ..., or, False, N x ... x C; None: either."""
    kind: type = type(module)
    if kinds_of(kind) & _READ_CHANNELS_FIRST or isinstance(module, nn.GroupNorm):
        return True
    norm = isinstance(module, (nn.LayerNorm, nn.RMSNorm)) and len(module.normalized_shape) == 1
    # others that are made from it, such as timm's LayerNorm2d, may exchange the axes
    last = isinstance(module, nn.Linear) or norm and kind.__name__ in ("LayerNorm", "RMSNorm")
    return False if last else None


def orders_of_axes(
    modules: Mapping[str, nn.Module], shapes: Mapping[str, torch.Size]
) -> dict[str, bool | None]:
    """Whether each module gives channels first: as its kind reads its axes, else as the last
    output of this shape before it, or the next one.

    Args:
        shapes: of the modules' outputs, in the order they ended.
    """
    orders = {name: channels_first(modules[name]) for name in shapes}
    for names in (list(shapes), list(shapes)[::-1]):
        of_shape = dict[torch.Size, bool | None]()
        for name in names:
            known, shape = orders[name], shapes[name]
            of_shape[shape] = of_shape.get(shape) if known is None else known
            orders[name] = of_shape[shape]
    return orders


def inside_branches(modules: dict[str, nn.Module], shapes: Mapping[str, Sequence[int]]) -> set[str]:
    """The modules that are part of an attention or of an MLP: the stream of features goes past.

    Branches are known by their names or their classes'. A norm that ends first within its branch,
    and gives what has the stream's shape, has read the stream itself.

    Args:
        shapes: of the modules' outputs, in the order they ended.
    """
    branches = {name: _branches_round(name, modules) for name in shapes}
    inside = {name for name in shapes if branches[name]}
    of_the_stream = {shapes[name] for name in shapes.keys() - inside}
    begun = set[str]()
    for name in shapes:
        norm = "Norm" in type(modules[name]).__name__ and shapes[name] in of_the_stream
        inside -= {name} if norm and begun.isdisjoint(branches[name]) else set()
        begun |= branches[name]
    return inside


def _branches_round(name: str, modules: dict[str, nn.Module]) -> set[str]:
    """The attentions and MLPs that a module is a part of; a list of them is none itself."""
    return {
        path
        for path in accumulate(name.split(".")[:-1], "{}.{}".format)
        if not isinstance(modules[path], nn.ModuleList)
        and (
            re.fullmatch(_BRANCH, re.sub(r"[.\d]+$", "", path).rpartition(".")[2])
            or type(modules[path]).__name__.endswith(_BRANCHES)
        )
    }


def is_a_stage(module: nn.Module) -> bool:
    """Whether a module hands on what the next ones read: no projection."""
    return not isinstance(module, (nn.Linear, nn.Identity, nn.Dropout, nn.Softmax))
