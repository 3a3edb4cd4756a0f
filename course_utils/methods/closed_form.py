"""Heads that pool and multiply by a matrix: their gradients are read off the weights.

Most CNNs end in y = W mean_ij(A) + b, the mean over all places (spatial positions). Then alpha^c is
row c of W / (hw), the same for every image, and no backward pass is needed: the answers are those
of `ForwardPass`, in a hundredth of the time.

Questions v are N x K x classes, as everywhere; or, where each is about one class, its number:
N x K whole numbers, which stand for one-hot v. Then v W is a row of W.
"""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from .graph import axes_of
from .unchanged import Unchanged, runs_own_code

CHUNK = 64  # questions answered at once: measured fastest between 1 and 1000 on a CPU
FEW = 64  # so many classes are not worth a shorter way
SPARSE = 16  # rows are copied out of a matrix that has so many times more: copying is slow
LARGE = 2**20  # numbers of a matrix from which on it pays to take care how it is read
PARTS = 8  # of a large matrix


class ClosedForm:
    """Weights and class maps of a pooling + linear head.

    Args:
        matrix: W, classes x C.
        activations: A, N x C x h x w.
        unchanged: knows whether W is what it was.

    Attributes:
        stored: W as the network stores it, whether it has changed or not.
    """

    def __init__(self, matrix: Tensor, activations: Tensor, unchanged: Unchanged):
        self.stored, self._unchanged = matrix, unchanged
        self._activations, self._products = activations, Products()
        self._places = activations[0, 0].numel()

    @property
    def matrix(self) -> Tensor:
        """W, as it was when the images went through.

        Raises:
            RuntimeError: the network's weights have changed since.
        """
        self._unchanged.check()
        return self.stored.to(self._activations.dtype)

    def weights(self, v: Tensor) -> Tensor:
        """alpha = v W / (hw): N x K x classes -> N x K x C."""
        return self._products.times(v, self.matrix) / self._places

    def class_maps(self) -> Tensor:
        """S^c for every class c, N x classes x h x w."""
        return torch.einsum("kc,nc...->nk...", self.matrix, self._activations) / self._places

    def prefers_class_maps(self, v: Tensor) -> bool:
        """Whether all class maps are worth making: for many questions about many classes."""
        return v.shape[1] >= CHUNK and len(_asked_about(v)) > FEW


class Products:
    """v W of one W and many questions v, where most of v is 0 or the same in all questions.

    Contrasts share the posterior and differ in a few Q: all of W is multiplied once an image, also
    where one is asked after the other.
    """

    def __init__(self) -> None:
        self._shared: tuple[Tensor, Tensor] | None = None  # N x 1 x classes, and its v W

    def times(self, v: Tensor, matrix: Tensor) -> Tensor:
        """N x K x classes -> N x K x columns, in the matrix's numbers."""
        if are_class_numbers(v):
            return torch.embedding(matrix, v)  # the rows, in half the time of matrix[v]
        v = v.to(matrix.dtype)
        if v.shape[-1] <= FEW:
            return v @ matrix
        asked = _asked_about(v)
        if _are_few(asked, v):
            return _of_few(v, matrix, asked)
        for shared in (self._shared, None):
            base = _without_peaks(v[:, :1]) if shared is None else shared[0]
            change = v - base
            differ = _asked_about(change)
            if _are_few(differ, v):
                self._shared = shared = shared or (base, product(base, matrix))
                return shared[1] + _of_few(change, matrix, differ)
        return product(v, matrix)


def are_class_numbers(v: Tensor) -> bool:
    """Whether questions are N x K class numbers, and not N x K x classes cotangents."""
    return not v.is_floating_point()


def one_hot(classes: Tensor, y: Tensor) -> Tensor:
    """N x K class numbers -> N x K x classes, 1 at the class; in the numbers of y, N x classes."""
    zeros = y.new_zeros(*classes.shape, y.shape[1])
    return zeros.scatter_(2, classes.unsqueeze(2), 1)  # F.one_hot checks and converts once more


def spelled_out(v: Tensor, y: Tensor) -> Tensor:
    """N x K x classes, also of class numbers."""
    return one_hot(v, y) if are_class_numbers(v) else v


def _without_peaks(v: Tensor) -> Tensor:
    """The many small numbers of v alone: what is large, as at P and Q, would be added and taken
    away again, and where p is nearly 1 little else than its rounding would be left."""
    return v.scatter(-1, v.abs().topk(2).indices, 0)


def _asked_about(v: Tensor) -> Tensor:
    """The classes that any of the questions is about."""
    if are_class_numbers(v):
        return v.unique()
    questions = v.flatten(0, -2)
    asked = questions.any(dim=0) if len(questions) > 1 else questions[0]
    return asked.nonzero().flatten()


def _are_few(classes: Tensor, v: Tensor) -> bool:
    return SPARSE * len(classes) <= v.shape[-1]


def _of_few(v: Tensor, matrix: Tensor, classes: Tensor) -> Tensor:
    """v W, where v is 0 for all but these classes."""
    return v.index_select(-1, classes) @ matrix.index_select(0, classes)


def product(v: Tensor, matrix: Tensor) -> Tensor:
    """v W; of a few questions and a large W in parts, as a few vectors times a matrix are left to a
    single thread by PyTorch."""
    questions = v.flatten(0, -2)
    if len(questions) > CHUNK or matrix.numel() < LARGE or len(matrix) % PARTS:
        return v @ matrix
    parts = questions.unflatten(1, (PARTS, -1)).transpose(0, 1)
    return torch.bmm(parts, matrix.unflatten(0, (PARTS, -1))).sum(dim=0).reshape(*v.shape[:-1], -1)


# A node of autograd's graph. What it saved (`_saved_mat2`, ...) depends on the operation, so
# that no type says it.
Node = Any


def is_parameter(node: Node) -> bool:
    """Whether a graph node leads to a stored tensor only, transposed at most; None: to no graph."""
    if node is not None and node.name() == "TBackward0":
        node = node.next_functions[0][0]
    return node is None or node.name() == "torch::autograd::AccumulateGrad"


def linear_reads(node: Node) -> tuple[tuple[Node, int], list[Node]] | None:
    """Of a graph's node y = W z + b: where z comes from, and the nodes of b and W; else None."""
    if node is None or node.name() not in ("AddmmBackward0", "MmBackward0"):
        return None
    if node.name() == "AddmmBackward0" and node._saved_alpha != 1:
        return None
    *bias, z, matrix = node.next_functions
    return z, [stored for stored, _ in (*bias, matrix)]


_RESHAPING = ("ViewBackward0", "UnsafeViewBackward0", "SqueezeBackward1")


def only_restrided(node: Node, leaf: Tensor, channels: int) -> bool:
    """Whether a graph node hands on the pooled values, N x C, in their order.

    In a network of `memory_format=torch.channels_last`, `nn.AdaptiveAvgPool2d(1)` ends in such a
    node. It writes other strides on the same memory and moves no value.
    """
    if not node.name().startswith("AsStridedBackward"):
        return False
    # image after image; otherwise the mean of A may lie in memory in another order
    dense = leaf.stride(0) * len(leaf) == leaf.numel()
    return (
        dense
        and tuple(node._saved_size) == (len(leaf), channels, 1, 1)
        and tuple(node._saved_stride)[:2] == (channels, 1)
        and not node._saved_storage_offset
    )


class LastLinear:
    """The linear layer y = W z + b that an output comes from, if it comes from one.

    Args:
        output: what the network returned, with its graph.
    """

    def __init__(self, output: Tensor):
        self._output, self._products = output, Products()

    def behind(self, v: Tensor) -> tuple[Tensor | GradientEdge, Tensor]:
        """Where a backward pass may start, and with which v: the rows of W that v asks are few.

        Args:
            v: dJ/dy, N x K x classes.

        Returns:
            z and dJ/dz, N x K x C. Where there is no such layer, the output itself, and v as
            N x K x classes.
        """
        if self._layer is None:
            return self._output, spelled_out(v, self._output)
        z, matrix = self._layer
        return z, self._products.times(v, matrix)

    @cached_property
    def _layer(self) -> tuple[GradientEdge, Tensor] | None:
        """z and W."""
        node: Node = self._output.grad_fn
        reads = linear_reads(node)
        wide = self._output.dtype in (torch.float32, torch.float64)
        if reads is None or not wide or not all(map(is_parameter, reads[1])):
            return None
        (z, number), matrix = reads[0], node._saved_mat2
        if z is None or matrix is None:
            return None
        return GradientEdge(z, number), matrix.detach().T


def pooling_linear_head(output: Tensor, leaf: Tensor) -> Tensor | None:
    """W, classes x C, if the graph says output = W mean_ij(A) + b and nothing else; else None.

    Args:
        output: what the network returned, with its graph.
        leaf: A, N x C x h x w, where the graph starts.
    """
    last: Node = output.grad_fn
    reads = linear_reads(last)
    if leaf.dim() != 4 or reads is None:
        return None
    (node, _), stored = reads
    if node is None:
        return None
    while node.name() in _RESHAPING or only_restrided(node, leaf, leaf.shape[1]):
        node = node.next_functions[0][0]
    if node.name() != "MeanBackward1" or sorted(axes_of(node._saved_dim, 4)) != [2, 3]:
        return None
    node = node.next_functions[0][0]
    if node.name() == "CloneBackward0":
        node = node.next_functions[0][0]
    # W and b must not be computed from A by another way round
    mean_of_leaf = getattr(node, "variable", None) is leaf and all(map(is_parameter, stored))
    if not mean_of_leaf or runs_own_code([last]):
        return None
    weight = last._saved_mat2
    same = weight is not None and weight.shape[0] == leaf.shape[1] and weight.dtype == leaf.dtype
    return weight.T.detach() if same else None
