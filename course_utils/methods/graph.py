"""What autograd's graph of a network's output tells about what ran."""

import re
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

from torch import Tensor


def graph_nodes(output: Tensor, without: Sequence[Any] = ()) -> Iterator[Any]:
    """Every node of a graph, once; without some, given as nodes or leaves, and those that only
    they read."""
    nodes: list[Any] = [output.grad_fn]
    seen: set[Any] = {None, *without}
    while nodes:
        node = nodes.pop()
        if node not in seen and getattr(node, "variable", node) not in seen:
            seen.add(node)
            nodes += [following for following, _ in node.next_functions]
            yield node


def stand_of(tensor: Tensor) -> Any:
    """Where a tensor stands in a graph: the node that made it, or itself, a leaf."""
    return tensor.grad_fn or tensor


def nodes_and_leaves(output: Tensor, without: Sequence[Any] = ()) -> set[Any]:
    """The nodes that `graph_nodes` gives, and the leaves at their ends."""
    nodes = list(graph_nodes(output, without))
    return {*nodes, *(getattr(node, "variable", None) for node in nodes)}


def attended(node: Any) -> tuple[int, ...]:
    """How many tokens an attention reads and gives; nothing of other operations.

    Keys and values may be fewer than the tokens that ask, as where they are pooled.
    """
    if "ScaledDotProduct" in node.name():  # N x heads x T x d
        return node._saved_query.shape[-2], node._saved_key.shape[-2]
    shape = node._input_metadata[0].shape
    softmax = node.name().startswith(("Softmax", "SafeSoftmax"))
    return tuple(shape[-2:]) if softmax and len(shape) > 2 else ()


def picks(node: Any) -> bool:
    """Whether an operation gives some of its input's tokens, T x C or N x T x C, or reorders them.

    A table with a number for each pair of places, as Swin's, gives more than it has.
    """
    if not re.match("(Gather|Index|IndexSelect|Topk)Backward", node.name()):
        return False
    gather = hasattr(node, "_saved_self")
    before = node._saved_self.shape if gather else node._saved_self_sym_sizes
    after = node._input_metadata[0].shape
    whole = len(before) in (2, 3) and len(after) in (2, 3) and before[-1] == after[-1]
    return whole and 1 < prod(after[:-1]) <= prod(before[:-1])
