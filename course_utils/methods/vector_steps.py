"""Operations on vectors, as they act on small changes: what a head does with its pooled numbers.

Each is the derivative dz/dx of one operation z(x), for N images. `back` sends dJ/dz to dJ/dx, as
autograd does, and `forth` sends a change of x to that of z.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .closed_form import Node, product


@dataclass(frozen=True)
class Linear:
    """z = W x + b.

    Attributes:
        matrix: W, outputs x inputs.
    """

    matrix: Tensor

    def back(self, v: Tensor) -> Tensor:
        """N x K x outputs -> N x K x inputs."""
        return product(v.to(self.matrix.dtype), self.matrix)

    def forth(self, change: Tensor) -> Tensor:
        """N x K x inputs -> N x K x outputs."""
        return change @ self.matrix.T


@dataclass(frozen=True)
class Each:
    """Each value by itself, as in a ReLU.

    Attributes:
        slopes: N x 1 x values (or 1 x 1 x values).
    """

    slopes: Tensor

    def back(self, v: Tensor) -> Tensor:
        """N x K x values, as given."""
        return v * self.slopes

    forth = back


@dataclass(frozen=True)
class Norm:
    """x - mean(x), divided by its standard deviation s (LayerNorm, Ba et al. 2016, before w and b).

    dz/dx = (I - 1 1^T / C - z z^T / C) / s: what changes mean or size of x is taken out. It is
    symmetric.

    Attributes:
        taken_out: 1 and z, divided by the root of C: N x C x 2.
        rate: 1 / s, N x 1 x 1.
    """

    taken_out: Tensor
    rate: Tensor

    def back(self, v: Tensor) -> Tensor:
        """N x K x C, as given."""
        return (v - (v @ self.taken_out) @ self.taken_out.mT) * self.rate

    forth = back


Step = Linear | Each | Norm


def is_norm_of_vectors(node: Node) -> bool:
    """Whether a graph's node is a LayerNorm over all values that an image has there."""
    if node.name() != "NativeLayerNormBackward0":
        return False
    images, *sides = node._input_metadata[0].shape
    return torch.Size(node._saved_normalized_shape).numel() == torch.Size(sides).numel()


def steps_of_norm(node: Node) -> list[Step]:
    """A LayerNorm over vectors: its weight, if it has one, and the norm."""
    x, weight = node._saved_input.detach().flatten(1), node._saved_weight
    mean, rate = (saved.reshape(-1, 1) for saved in (node._saved_result1, node._saved_result2))
    z = (x - mean) * rate
    norm = Norm(torch.stack([torch.ones_like(z), z], 2) / x.shape[1] ** 0.5, rate[:, None])
    return [norm] if weight is None else [Each(weight.detach().flatten()[None, None]), norm]
