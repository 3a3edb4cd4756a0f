"""Heads that pool first: questions go back through vectors only, not through grids.

Most heads read A (N x C x h x w) channel by channel, into one number or a few for each channel: a
ReLU, a mean or maximum over places (spatial positions), a flattening. What follows (linear layers,
norms) works on these numbers z. So dJ/dz answers a question, and the way from z to A is the same
for all questions: alpha_k = mean_ij dJ/dA^k_ij = sum_m c_km dJ/dz_km, with c worked out once.
"""

from functools import cached_property
from math import prod

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from .backward import backward
from .closed_form import (
    LARGE,
    LastLinear,
    Node,
    is_parameter,
    linear_reads,
    only_restrided,
    product,
    spelled_out,
)
from .graph import axes_of
from .grids import Fold
from .vector_steps import Each, Linear, Step, is_norm_of_vectors, steps_of_norm

CHUNK = 256  # questions answered at once: they are vectors
ROWS = 64  # rows of a large matrix copied at once: they stay in a CPU's caches

_ELEMENTWISE = {
    f"{name}Backward0"
    for name in (
        *("Clone", "Relu", "LeakyRelu", "Hardtanh", "Hardswish", "Silu", "Gelu", "Elu"),
        *("Tanh", "Sigmoid", "Softplus", "Mish"),
    )
}
# behind z only: PyTorch has no second derivative of them, as c needs (Pow: to a fixed power, 0 say)
_ONCE = {"HardsigmoidBackward0", "PowBackward0"}
# likewise with a number beside it that does not depend on A: a scale that was learned, say
_BESIDE_A_CONSTANT = {
    *("AddBackward0", "SubBackward0", "RsubBackward1", "MulBackward0", "DivBackward0"),
}
_POOLS = {
    f"{name}Backward0"
    for name in ("AdaptiveAvgPool2D", "AdaptiveMaxPool2D", "AvgPool2D", "MaxPool2DWithIndices")
}
_VIEWS = {
    *("ViewBackward0", "UnsafeViewBackward0", "ReshapeAliasBackward0", "UnsqueezeBackward0"),
    *("SqueezeBackward0", "SqueezeBackward1", "SqueezeBackward2"),
}
_WEIGHTS_SUM_TO_1 = _VIEWS | {
    "CloneBackward0",
    "MeanBackward1",
    "AdaptiveAvgPool2DBackward0",
    "AdaptiveMaxPool2DBackward0",
    "MaxPool2DWithIndicesBackward0",
    "AsStridedBackward1",
}


class PooledHead:
    """Weights alpha of a head that pools first.

    Args:
        output: what the network returned, with its graph.
        leaf: A as the layer gives it, where the graph starts.
        path: the operations from the output back to A.
        shapes: of what each of them gives.
        waist: which of them gives z.
        channels: C, how many A has.
        fold: reads a tensor of the leaf's shape as N x C x h x w.
    """

    def __init__(
        self, output: Tensor, leaf: Tensor, path: list[Node], shapes: list[tuple[int, ...]],
        waist: int, channels: int, fold: Fold,
    ):  # fmt: skip
        self._output, self._leaf, self._channels, self._fold = output, leaf, channels, fold
        self.path, self._shapes, self._waist = path, shapes, waist
        self._last = LastLinear(output)

    def weights(self, v: Tensor) -> Tensor:
        """alpha: N x K x classes -> N x K x C."""
        size = max(1, CHUNK // len(v))
        if v.shape[1] <= size:
            return self._few(v)
        return torch.cat([self._few(few) for few in v.split(size, dim=1)], dim=1)

    def _few(self, v: Tensor) -> Tensor:
        """alpha_k = sum_m c_km dJ/dz_km, or by the linear layer that reads z."""
        if self._first is not None:
            return product(self._gradient(v, self._waist - 1).to(self._first.dtype), self._first)
        each = self._gradient(v, self._waist).flatten(2)
        if self._mean is not None and each.shape[2] == self._channels:
            return each * self._mean
        c = self._coefficients
        return (each * c.flatten(1)[:, None]).unflatten(2, c.shape[1:]).sum(dim=3)

    def class_maps(self, activations: Tensor) -> Tensor | None:
        """S^c for every class c, N x classes x h x w, place by place; None: not so.

        The map S^c at one place is the change of y_c when z changes along c_km A_k there. So all
        classes need as many products as there are places, in place of one for each class.
        """
        steps, c = self._steps, self._coefficients
        places = activations.flatten(2).transpose(1, 2)  # N x hw x C
        if steps is None or places.shape[1] >= self._output.shape[-1]:
            return None
        if self._first is not None:
            change, steps = places @ self._first.T, steps[:-1]
        else:
            change = (places.unsqueeze(3) * c[:, None]).flatten(2)
        for step in reversed(steps):
            change = step.forth(change)
        return change.transpose(1, 2).unflatten(2, activations.shape[2:])

    def _gradient(self, v: Tensor, number: int) -> Tensor:
        """dJ / d(what an operation of the path gives), N x K x ... ."""
        if number == 0:
            return spelled_out(v, self._output)
        start, v = self._last.behind(v)
        done = int(start is not self._output)
        if self._steps is not None:
            for step in self._steps[done : len(self._steps) - (number < self._waist)]:
                v = step.back(v)
            return v
        if done == number:
            return v
        gradient = backward(start, GradientEdge(self.path[number], 0), v.transpose(0, 1))
        assert gradient is not None  # the operation lies on the way
        return gradient.transpose(0, 1)

    @cached_property
    def _steps(self) -> list[Step] | None:
        """dy/dz, from y back to z, if all that lies between works on vectors."""
        steps: list[Step] = []
        if self._output.dim() != 2:
            return None
        for number, node in enumerate(self.path[: self._waist]):
            matrix = self._matrix(number)
            if matrix is not None:
                steps.append(Linear(matrix))
            elif not self._gives_vectors(number):
                return None
            elif self._is_elementwise(number) or _is_fixed_norm(node):
                slopes = self._derivative(number)  # N alone, where a logit lost its axis
                steps.append(Each(slopes.reshape(len(self._leaf), 1, -1)))
            elif is_norm_of_vectors(node):
                steps += steps_of_norm(node)
            elif not _keeps_order(node) or not self._gives_vectors(number + 1):
                return None
        return steps

    def _is_elementwise(self, number: int) -> bool:
        """Whether an operation acts on each value alone."""
        node, before = self.path[number : number + 2]
        if node.name() in _BESIDE_A_CONSTANT:  # which may repeat the values, or widen their type
            one, two = (n._input_metadata[0] for n in (node, before))
            return (one.shape, one.dtype) == (two.shape, two.dtype)
        return node.name() in _ELEMENTWISE | _ONCE

    def _derivative(self, number: int) -> Tensor:
        """dz/dx of an operation z(x) on each value alone, N x values; the usual two without
        autograd, which takes ten times as long."""
        node, ones = self.path[number], self._leaf.new_ones(self._shapes[number])
        if node.name() == "ReluBackward0":
            return ones * (node._saved_result.detach() > 0)
        if node.name() == "HardswishBackward0":
            return torch.ops.aten.hardswish_backward(ones, node._saved_self.detach())
        here, before = (GradientEdge(n, 0) for n in self.path[number : number + 2])
        derivative = backward(here, before, ones[None])
        assert derivative is not None  # each operation reads the next of the path
        return derivative[0]

    @cached_property
    def _mean(self) -> float | None:
        """c where it is one number: z are averages and maxima of A, whose weights sum to 1,
        whatever their windows, so that their mean is the same for all. None elsewhere.
        """
        alike = all(node.name() in _WEIGHTS_SUM_TO_1 for node in self.path[self._waist :])
        return self._channels / prod(self._leaf.shape[1:]) if alike else None

    @cached_property
    def _coefficients(self) -> Tensor:
        """c, N x C x M: the backward pass from z to A is linear, and c is its derivative.

        1 x C x M where it is one number, `_mean`.
        """
        if self._mean is not None:
            each = prod(self._shapes[self._waist][1:]) // self._channels
            return self._leaf.new_full((1, self._channels, each), self._mean)
        end = GradientEdge(self.path[self._waist], 0)
        with torch.inference_mode(False), torch.enable_grad():
            z = torch.ones(
                self._shapes[self._waist], dtype=self._leaf.dtype, device=self._leaf.device
            )
            z.requires_grad_()
            (gradient,) = torch.autograd.grad(end, self._leaf, z, create_graph=True)
            grid = self._fold(gradient)
            (c,) = torch.autograd.grad(grid.flatten(2).mean(dim=2).sum(), z)
        return c.reshape(*grid.shape[:2], -1)

    @cached_property
    def _first(self) -> Tensor | None:
        """Of a large linear layer that reads z: sum_m c_km W_okm, outputs x C.

        With several numbers for each channel it is the largest of all: VGG's has 400 MB. Where all
        of them count alike, reading it once is enough, and only what a ReLU lets through.
        """
        c, one = self._channels, self._mean
        several = prod(self._shapes[self._waist][1:]) > c
        matrix = self._linear(self._waist - 1) if one is not None and several else None
        if matrix is None:
            return None

        def pooled(rows: Tensor) -> Tensor:
            return rows.unflatten(1, (c, -1)).sum(dim=2) * one

        used = self._outputs_used(len(matrix))
        if 4 * len(used) > 3 * len(matrix):
            return pooled(matrix)
        first = matrix.new_zeros(len(matrix), c)
        for few in used.split(ROWS):
            first[few] = pooled(matrix.index_select(0, few))
        return first

    def _outputs_used(self, outputs: int) -> Tensor:
        """Which outputs of the layer that reads z count: a ReLU after it lets through a part."""
        steps = self._steps
        if steps is None or len(steps) < 2 or not isinstance(steps[-2], Each):
            return torch.arange(outputs, device=self._leaf.device)
        return steps[-2].slopes.flatten(0, 1).any(dim=0).nonzero().flatten()

    def begins_large(self) -> bool:
        """Whether a large linear layer reads z, so that it pays to read it once."""
        if not self._is_linear(self._waist - 1):
            return False
        inputs, outputs = (prod(self._shapes[self._waist - k][1:]) for k in (0, 1))
        return inputs * outputs > LARGE

    def _matrix(self, number: int) -> Tensor | None:
        """W of a linear layer, also of one that is written as a 1 x 1 convolution; else None."""
        node = self.path[number]
        if node.name() != "ConvolutionBackward0":
            return self._linear(number)
        weight, before = node._saved_weight.detach(), self.path[number + 1]
        one_place = prod(self._shapes[number][2:]) == prod(self._shapes[number + 1][2:]) == 1
        # the one place might be of the padding
        plain = node._saved_groups == 1 and not (node._saved_transposed or any(node._saved_padding))
        if not (one_place and plain and weight[0, 0].numel() == 1):
            return None
        return weight.flatten(1) if node.next_functions[0][0] is before else None

    def _linear(self, number: int) -> Tensor | None:
        """W, outputs x inputs, if an operation of the path is y = W z + b; else None."""
        return self.path[number]._saved_mat2.detach().T if self._is_linear(number) else None

    def _is_linear(self, number: int) -> bool:
        """Whether it is; what it has saved is not asked for, as checkpointed parts would run."""
        reads = linear_reads(self.path[number]) if number >= 0 else None
        return reads is not None and reads[0][0] is self.path[number + 1]

    def _gives_vectors(self, number: int) -> bool:
        """Whether an operation gives one vector for each image, with sides of length 1 beside."""
        images, *sides = self._shapes[number]
        return images == len(self._leaf) and prod(sides) == max(sides, default=1)


def pooled_head(output: Tensor, leaf: Tensor, channels: int, fold: Fold) -> PooledHead | None:
    """The head, if it pools first; None otherwise.

    Args:
        output, leaf, fold: as for `PooledHead`.
        channels: the axis of the leaf that holds the channels.
    """
    path: list[Node] = []
    node = output.grad_fn
    while node is not None and getattr(node, "variable", None) is not leaf:
        if node.name().endswith("NotImplemented"):  # quantised: no gradient passes
            return None
        path.append(node)
        ways = [e for e in node.next_functions if not is_parameter(e[0]) or _leads_to(e[0], leaf)]
        if len(ways) != 1 or ways[0][1] != 0:  # an operation that gives several, as chunk does
            return None
        node = ways[0][0]
    if node is None or leaf.dtype not in (torch.float32, torch.float64):
        return None
    shapes = [tuple(node._input_metadata[0].shape) for node in path]
    waist, axis, shape = len(path), channels, tuple(leaf.shape)
    for number in reversed(range(len(path))):
        axis = _channels_after(path[number], axis, shape, shapes[number], leaf)
        if axis < 0:
            break
        shape = shapes[number]
        waist = number if axis == 1 else waist
        if len(shape) == 2:
            break  # what follows mixes the channels
    if waist == len(path):
        return None
    head = PooledHead(output, leaf, path, shapes, waist, leaf.shape[channels], fold)
    smaller = 2 * prod(shapes[waist]) <= leaf.numel()
    return head if smaller or head.begins_large() else None


def _leads_to(node: Node, leaf: Tensor) -> bool:
    return getattr(node, "variable", None) is leaf


def _keeps_order(node: Node) -> bool:
    """Whether an operation hands vectors on as they are, images first."""
    permuted = node.name() == "PermuteBackward0"
    return not node._saved_dims[0] if permuted else node.name() in _VIEWS


def _is_fixed_norm(node: Node) -> bool:
    """Whether it is a batch norm that multiplies by fixed numbers, as in evaluation mode."""
    return node.name() == "NativeBatchNormBackward0" and not node._saved_training


def _channels_after(
    node: Node, axis: int, shape: tuple[int, ...], after: tuple[int, ...], leaf: Tensor
) -> int:
    """Where the channels are after an operation that makes `after` of `shape`; -1 if it is none
    channel by channel."""
    name = node.name()
    if name in _ELEMENTWISE:
        return axis
    if name in _POOLS:
        return axis if axis == 1 and len(shape) == 4 else -1
    if name == "PermuteBackward0":
        dims = axes_of(node._saved_dims, len(shape))
        return dims.index(axis) if dims[0] == 0 else -1
    if name == "MeanBackward1":
        dims = axes_of(node._saved_dim, len(shape))
        if axis in dims or 0 in dims:
            return -1
        return axis if len(after) == len(shape) else axis - sum(d < axis for d in dims)
    if name.startswith("AsStridedBackward"):
        pooled = axis == 1 and shape == (*shape[:2], 1, 1) and only_restrided(node, leaf, shape[1])
        return 1 if pooled else -1
    if name in _VIEWS:  # N x C x ... -> N x (C ...)
        return 1 if axis == 1 and after == (shape[0], prod(shape[1:])) else -1
    return -1
