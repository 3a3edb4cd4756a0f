"""What autograd's graph of a network's output tells about what ran."""

import re
from collections.abc import Iterator, Sequence
from math import inf, prod
from typing import Any

from torch import Tensor, nn


def graph_nodes(output: Any, without: Sequence[Any] = ()) -> Iterator[Any]:
    """Every node of the graph of a tensor or of a node, once; without some, given as nodes or
    leaves, and those that only they read."""
    nodes: list[Any] = [getattr(output, "grad_fn", output)]
    seen: set[Any] = {None, *without}
    while nodes:
        node = nodes.pop()
        if node not in seen and getattr(node, "variable", node) not in seen:
            seen.add(node)
            nodes += [following for following, _ in node.next_functions]
            yield node


def node_of(tensor: Tensor) -> Any:
    """Where a tensor stands in a graph: the node that made it, or itself, a leaf."""
    return tensor.grad_fn or tensor


def nodes_and_leaves(output: Tensor, without: Sequence[Any] = ()) -> set[Any]:
    """The nodes that `graph_nodes` gives, and the leaves at their ends."""
    nodes = list(graph_nodes(output, without))
    return {*nodes, *(getattr(node, "variable", None) for node in nodes)}


Readers = dict[Any, list[tuple[Any, int]]]


def readers_of(output: Tensor) -> Readers:
    """The operations that read what a node or a leaf gives, each with the place it is read at."""
    readers: Readers = {}
    for node in graph_nodes(output):
        for place, (read, _) in enumerate(node.next_functions):
            readers.setdefault(getattr(read, "variable", read), []).append((node, place))
    return readers


_HANDED_ON = (  # operations that give what they read, in another shape, order or scale
    "(Clone|Alias|(Unsafe)?View|Reshape.*|T|Transpose|Permute|Unsqueeze|Squeeze|Expand|Slice|Split.*"
    "|MaskedFill|.*BatchNorm)Backward"
)
_SOFT = "(Safe)?Softmax|(Hards|S)igmoid"


def only_weighs(tensor: Tensor, readers: Readers, soft: bool = False) -> bool:
    """Whether a tensor is read only to weigh others, by a softmax or sigmoid that multiplies them,
    or to say where others are sampled, as the offsets of a deformable convolution do.

    Args:
        soft: whether a softmax may have come before it, as before an attention's weights; these,
            and what a softmax or sigmoid itself gave, are not multiplied by a matrix of the
            network's.
    """
    made = _before(tensor.grad_fn, _HANDED_ON)
    product = "BmmBackward" if soft else "(Mul|.*mm)Backward"
    if made is not None and re.match(_SOFT, made.name()):
        soft, product = True, "(Mul|Bmm)Backward"
    follow, weighs = [(node_of(tensor), soft)], False
    for here, soft in follow:
        for node, place in readers.get(here, []):
            name, others = node.name(), len(node.next_functions) - 1
            alone = sum(other is None for other, _ in node.next_functions) == others
            if place and re.match(".*(deform_conv|GridSampler)", name):
                weighs = True
            elif re.match(_HANDED_ON, name) or alone and re.match("(Mul|Div)Backward", name):
                follow.append((node, soft))
            elif re.match(_SOFT, name):
                follow.append((node, True))
            elif soft:
                weighs |= bool(re.match(product, name, re.IGNORECASE))
            else:
                return False
    return weighs


def only_added(tensor: Tensor, readers: Readers) -> bool:
    """Whether a tensor is a branch, read only to be added to what it comes from itself."""
    node = node_of(tensor)
    while len(readers.get(node, [])) == 1:
        ((node, place),) = readers[node]
        if node.name().startswith("AddBackward"):
            other = node.next_functions[1 - place][0]
            return getattr(other, "variable", other) in nodes_and_leaves(tensor)
        if not re.match(_HANDED_ON, node.name()):
            break
    return False


def gives_rows(node: Any, images: int) -> bool:
    """Whether an operation is a linear layer that gives a row of numbers for each image."""
    linear = re.match("(Addmm|Mm)Backward", node.name())
    return bool(linear) and node._input_metadata[0].shape[0] == images


def begins(node: Any) -> bool:
    """Whether a node may read what needs no gradient, as the images do."""
    reads = [following for following, _ in node.next_functions]
    if re.match("(Cat|Mul|Div|Add|Sub)Backward", node.name()):
        return None in reads
    return reads[node.name().startswith("Addmm") :][:1] == [None]  # b + x W


def axes_of(saved: Sequence[int], count: int) -> list[int]:
    """Axes that a graph's node has saved, counted from the front: -1 is stored as 2^64 - 1."""
    return [(axis - 2**64 if axis >= 2**63 else axis) % count for axis in saved]


def attended(node: Any) -> tuple[int, ...]:
    """How many tokens an attention reads and gives; nothing of other operations, such as a softmax
    over channels.

    Keys and values may be fewer than the tokens that ask, as where they are pooled.
    """
    if "ScaledDotProduct" in node.name():  # N x heads x T x d
        return node._saved_query.shape[-2], node._saved_key.shape[-2]
    shape = node._input_metadata[0].shape
    if not node.name().startswith(("Softmax", "SafeSoftmax")) or len(shape) < 3:
        return ()
    (axis,) = axes_of((node._saved_dim,), len(shape))
    return tuple(shape[-2:]) if axis >= len(shape) - 2 else ()


def heads_of(node: Any, images: int) -> set[tuple[int, int]]:
    """How many heads an attention has, and how many tokens each: N x heads x tokens x numbers."""
    shape = getattr(node, "_saved_query", node._input_metadata[0]).shape
    last = "Softmax" in node.name() and axes_of((node._saved_dim,), len(shape))[0] == 3
    if len(shape) != 4 or shape[0] != images or not (last or "ScaledDotProduct" in node.name()):
        return set()
    return {(shape[1], tokens) for tokens in attended(node)}


def asked_by_weights(attention: Any) -> bool:
    """Whether an attention's queries are weights of the network, as those that merge tokens are."""
    tokens, reads = attended(attention)[0], attention.next_functions[:1]
    asks = reads
    if "ScaledDotProduct" not in attention.name():  # a softmax of q k^T, or of its transpose
        node = _before(reads[0][0], f"{_HANDED_ON}|(Mul|Div|Add|MaskedFill)Backward")
        reads = node.next_functions if node and re.match("(Bmm|Mm)Backward", node.name()) else ()
        # no matrix that mixes heads
        asks = reads[:1] if reads and node._input_metadata[0].shape[-2] == tokens else ()
    alone = any(_of_weights_alone(node) for node, _ in asks)
    return alone or any(tokens in _weight(node) for node, _ in reads)


def merged_by(product: Any) -> int:
    """How many tokens a product makes of others, each a sum of all of them by what a linear layer
    or a convolution says, as TokenLearner's and the slots of a soft mixture of experts; else 0.
    """
    if not product.name().startswith("BmmBackward"):
        return 0
    for (node, _), count in zip(product.next_functions, product._input_metadata[0].shape[1:]):
        soft = _before(node, f"{_HANDED_ON}|(Mul|Div)Backward")
        if soft is None or not re.match(_SOFT, soft.name()):
            continue
        said = _before(soft.next_functions[0][0], f"{_HANDED_ON}|(Mul|Div|Add)Backward")
        if said is None or not re.match("(Addmm|Mm|Convolution)Backward", said.name()):
            continue
        channels = said._input_metadata[0].shape[1]
        others = prod(soft._input_metadata[0].shape[1:]) // count
        if channels == count != others and others > 1:
            return count
    return 0


def _before(node: Any, passed: str) -> Any:
    """The first operation before that is not of these kinds; None where a leaf is reached."""
    while node is not None and re.match(passed, node.name()):
        node = node.next_functions[0][0]
    return node


def _of_weights_alone(node: Any) -> bool:
    """Whether an operation reads nothing but weights of the network; None: frozen ones."""
    nodes = list(graph_nodes(node))
    leaves = [n.variable for n in nodes if hasattr(n, "variable")]
    read = any(begins(n) for n in nodes if not re.match("(Mul|Div)Backward", n.name()))
    return not read and all(isinstance(leaf, nn.Parameter) for leaf in leaves)


def _weight(node: Any) -> Sequence[int]:
    """The shape of a weight that is handed on unchanged, but for a factor; () of other tensors."""
    while node is not None and re.match(f"{_HANDED_ON}|(Repeat|Mul|Div)Backward", node.name()):
        if any(following for following, _ in node.next_functions[1:]):
            return ()  # two are multiplied
        node = node.next_functions[0][0]
    return getattr(getattr(node, "variable", None), "shape", ())


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


def channels_become_places(output: Tensor) -> float:
    """When a convolution first reads another's channels as height or width; inf: none does.

    So it is where a network exchanges these axes between them, and nothing exchanges them back.
    """
    convolutions = (n for n in graph_nodes(output) if n.name().startswith("Convolution"))
    begun = (node._sequence_nr() for node in convolutions if _reads_channels_as_places(node))
    return min(begun, default=inf)


def _reads_channels_as_places(convolution: Any) -> bool:
    """Whether a convolution's input holds an earlier one's channels behind its second axis."""
    start = convolution.next_functions[0]
    axes = tuple(range(len(convolution._input_metadata[0].shape)))
    follow, seen = [(*start, axes)], set()  # node, which of its outputs, the input's axes there
    while follow:
        node, number, axes = follow.pop()
        outputs = getattr(node, "_input_metadata", ())  # none of a leaf
        if not outputs or (node, axes) in seen or len(axes) != len(outputs[number].shape):
            continue
        seen.add((node, axes))
        name = node.name()
        if name.startswith("Convolution"):
            if axes[1] > 1:
                return True
        elif not re.match("(Unsafe|Reshape|.*View|.*mm)Backward|.*Mm", name):
            follow += [(*following, _axes_before(node, axes)) for following in node.next_functions]
    return False


def _axes_before(node: Any, axes: tuple[int, ...]) -> tuple[int, ...]:
    """The same axes, of a node's output, in the order in which its input holds them."""
    order = list(range(len(axes)))
    if node.name().startswith("Permute"):
        order = axes_of(node._saved_dims, len(axes))
    elif node.name().startswith("Transpose"):
        one, two = axes_of((node._saved_dim0, node._saved_dim1), len(axes))
        order[one], order[two] = two, one
    return tuple(axes[order.index(axis)] for axis in range(len(axes)))
