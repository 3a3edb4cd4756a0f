"""What part a module plays in a network, as far as its kind and its name tell."""

import re
from collections.abc import Mapping, Sequence
from itertools import accumulate

import torch
from torch import nn

_ALONG_SIGNALS = (nn.Conv1d, nn.ConvTranspose1d, nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveAvgPool1d)
_BRANCH = r"(.*_)?(attn|attention|att|sa|mhsa|msa|mha|mlp|ffn|ffwd|ff|feed_?forward)\d*"
_BRANCHES = ("Attention", "Attn", "MHSA", "MSA", "MHA", "FeedForward")


def row_lengths(
    model: nn.Module, shapes: dict[str, torch.Size], of_signals: bool
) -> dict[str, int]:
    """How long the rows N x C x L are, by the layers that read no other order of the axes.

    Where there are none, of signals: how many tokens N x T x C are normalised.
    """
    layers = {n: m for n, m in model.named_modules() if len(shapes.get(n, ())) == 3}
    last = {n: shapes[n][2] for n, m in layers.items() if isinstance(m, _ALONG_SIGNALS)}
    normalised = {n: shapes[n][1] for n, m in layers.items() if isinstance(m, nn.LayerNorm)}
    if of_signals and not last and normalised:  # known from the first layer on
        normalised = {next(iter(shapes)): next(iter(normalised.values())), **normalised}
    return last or normalised


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
    above = accumulate(name.split(".")[:-1], "{}.{}".format)
    return {path for path in above if _is_a_branch(path, modules[path])}


def _is_a_branch(path: str, module: nn.Module) -> bool:
    name = path.rpartition(".")[2]
    return bool(re.fullmatch(_BRANCH, name)) or type(module).__name__.endswith(_BRANCHES)


def is_a_stage(module: nn.Module) -> bool:
    """Whether a module hands on what the next ones read: no projection."""
    return not isinstance(module, (nn.Linear, nn.Identity, nn.Dropout, nn.Softmax))
