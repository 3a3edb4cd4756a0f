"""One forward pass, kept: every question about it costs only the head of the network.

A question about an output y is nothing but a cotangent vector v = dJ/dy. The chain rule is linear
in v, so with the class maps S^c = sum_k alpha_k^c A^k, alpha_k^c = mean_ij dy_c/dA^k_ij (Grad-CAM,
Selvaraju et al. 2017, eq. 1 and 2), the answer to *any* question is S = sum_c v_c S^c.
"""

from contextlib import contextmanager
from itertools import chain, islice
from typing import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .errors import ImageError, LayerError
from .inputs import check_images
from .layers import find_layer, grid_fold

CHUNK = 64  # cotangents sent back at once: measured fastest between 1 and 1000 on a CPU


@contextmanager
def _left_as_found(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; every module's own flag as before afterwards, also after an error."""
    training = [module for module in model.modules() if module.training]
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True


def _copies(model: nn.Module) -> dict[str, Tensor]:
    """Ordinary copies of the weights of a network built under inference_mode, which no graph takes."""
    return {k: t.clone() for k, t in chain(model.named_parameters(), model.named_buffers())}


def _run(model: nn.Module, name: str, layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """The layer's output as a leaf of a new graph, and the network's output computed from it."""
    leaves: list[Tensor] = []

    def start_graph(_module, _inputs, output):
        if not isinstance(output, Tensor) or not output.is_floating_point():
            raise LayerError(
                f"'{name}' returns a {type(output).__name__}, not one tensor of floats. "
                "Choose a layer inside or after it whose output is a single tensor."
            )
        leaves.append(output.detach().clone().requires_grad_())
        torch.set_grad_enabled(True)  # until the no_grad block around the call ends
        return leaves[-1].clone()  # a clone: what follows may work in place

    handle = layer.register_forward_hook(start_graph)
    try:
        # no graph before the layer: nothing there is stored, nor differentiated
        with _left_as_found(model), torch.inference_mode(False), torch.no_grad():
            x = x.clone() if x.is_inference() else x
            born_in_inference_mode = any(p.is_inference() for p in islice(model.parameters(), 1))
            output = functional_call(model, _copies(model), (x,)) if born_in_inference_mode else model(x)
    finally:
        handle.remove()
    if len(leaves) != 1:
        ran = "never ran" if not leaves else f"ran {len(leaves)} times"
        raise LayerError(
            f"'{name}' {ran} in one forward pass, so it has no single output to explain. Choose a "
            "layer that runs exactly once, such as the block that contains it."
        )
    if not isinstance(output, Tensor):
        raise TypeError(
            f"{type(model).__name__} returned a {type(output).__name__}, not a tensor. Wrap it in a "
            "module that returns the one tensor you want to ask about."
        )
    if not output.requires_grad:
        raise LayerError(
            f"The network's output does not depend on '{name}'. Choose a layer on the way to it."
        )
    return leaves[0], output


def _pooling_linear_head(output: Tensor, leaf: Tensor) -> Tensor | None:
    """W, classes x C, if the graph says output = W mean_ij(A) + b exactly; else None.

    Then alpha^c is a row of W / (hw) for every image, and no backward pass is needed at all.
    """
    node, weight = output.grad_fn, None
    while node is not None:
        kind = node.name()
        if kind == "AddmmBackward0" and weight is None and node._saved_alpha == 1:
            weight, node = node._saved_mat2, node.next_functions[1][0]
        elif kind == "MeanBackward1" and weight is not None and leaf.dim() == 4:
            if {d % 2**64 for d in node._saved_dim} not in ({2, 3}, {2**64 - 1, 2**64 - 2}):
                return None
            node = node.next_functions[0][0]
            if node.name() == "CloneBackward0":
                node = node.next_functions[0][0]
            return weight.T.detach() if getattr(node, "variable", None) is leaf else None
        elif kind in ("ViewBackward0", "UnsafeViewBackward0", "SqueezeBackward1"):
            node = node.next_functions[0][0]
        else:
            return None
    return None


class ForwardPass:
    """A network's answer to a batch of images, ready to be questioned again and again.

    The layers before the target run without a graph; the graph starts at the target layer and
    ends at the output. Frozen parameters, `torch.no_grad()` and `torch.inference_mode()` around
    the call make no difference, and the network is left exactly as it was found.

    Args:
        model: any `nn.Module` from N x 3 x H x W to a tensor N x ... (class scores: N x classes).
        x: the images, N x 3 x H x W floats, preprocessed as the network expects.
        layer: the target layer, by name or module; None for the last one with places.
        to_grid: for layers of unusual shape, a function from their output to N x C x h x w.

    Attributes:
        logits: the network's output, N x classes (any shape N x ... is kept), detached.
        activations: A, N x C x h x w, detached.
        size: (H, W) of the images.
        layer: the target layer's name.

    Raises:
        ImageError, LayerError: with a sentence that says what to do.
        TypeError: the network does not return one tensor.
    """

    def __init__(
        self,
        model: nn.Module,
        x: Tensor,
        layer: str | nn.Module | None = None,
        to_grid: Callable[[Tensor], Tensor] | None = None,
    ):
        self.layer, module = find_layer(model, layer)
        check_images(x, model)
        self.model, self.size = model, tuple(x.shape[-2:])
        self._leaf, self._output = _run(model, self.layer, module, x)
        self.logits = self._output.detach()
        if not torch.isfinite(self.logits).all():
            raise ImageError(
                "The network answered NaN or infinity. Look at the images' values, and try float32 "
                "if the network runs in half precision."
            )
        self._to_grid = to_grid or grid_fold(model, self.layer, self._leaf, self.size)
        self.activations = self._wide(self._to_grid(self._leaf.detach()))
        self._places = self.activations.shape[-2] * self.activations.shape[-1]
        self._head = None if to_grid else _pooling_linear_head(self._output, self._leaf)
        self._table: Tensor | None = None
        self._asked = False

    def __len__(self) -> int:
        return len(self.logits)

    @staticmethod
    def _wide(values: Tensor) -> Tensor:
        """Sums over channels and places are made in float32 at least."""
        return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values

    def probabilities(self) -> Tensor:
        """p = softmax(y), N x classes, float32 or wider."""
        return self._wide(self.logits).softmax(dim=1)

    def weights(self, cotangents: Tensor) -> Tensor:
        """alpha for K questions: the spatial mean of the gradient of each question.

        Args:
            cotangents: v = dJ/dy, N x K x classes (or K x classes, the same for every image).

        Returns:
            N x K x C.
        """
        n = len(self)
        if cotangents.dim() == self._output.dim():
            cotangents = cotangents.expand(n, *cotangents.shape)
        if self._head is not None:
            return cotangents.to(self.activations.dtype) @ self._wide(self._head) / self._places
        per_question = cotangents.to(self._output.dtype).transpose(0, 1)  # K x N x classes
        chunks = per_question.split(max(1, CHUNK // n))
        return torch.cat([self._pooled_gradients(v) for v in chunks]).transpose(0, 1)

    def _pooled_gradients(self, v: Tensor) -> Tensor:
        """One backward pass through the head for k questions: k x N x classes -> k x N x C."""
        with torch.inference_mode(False), torch.no_grad():
            many = len(v) > 1
            v = v.clone() if v.is_inference() else v
            (gradient,) = torch.autograd.grad(
                self._output, self._leaf, v if many else v[0], retain_graph=True, is_grads_batched=many
            )
            grid = self._to_grid(gradient.flatten(0, 1) if many else gradient)
            return self._wide(grid).mean(dim=(-2, -1)).unflatten(0, (len(v), len(self)))

    def evidence(self, cotangents: Tensor) -> Tensor:
        """The signed answer to K questions, S = sum_c v_c S^c, at feature resolution.

        Args:
            cotangents: v = dJ/dy, N x K x classes (or K x classes, the same for every image).

        Returns:
            N x K x h x w, in units of the question per unit of v.
        """
        # with a pooling + linear head the table of all S^c is cheap: worth it from the second question
        if self._head is not None and (self._asked or cotangents.shape[-2] >= CHUNK):
            self.table()
        self._asked = True
        if self._table is not None:
            v = cotangents.to(self._table.dtype)
            v = v.expand(len(self), *v.shape) if v.dim() == 2 else v
            return torch.einsum("nkc,nchw->nkhw", v, self._table)
        return torch.einsum("nkc,nchw->nkhw", self.weights(cotangents), self.activations)

    def table(self) -> Tensor:
        """S^c for every class c, N x classes x h x w; kept, so that later questions read it."""
        if self._table is None:
            if self._head is not None:
                head = self._wide(self._head)
                self._table = torch.einsum("kc,nchw->nkhw", head, self.activations) / self._places
            else:
                classes = self._output.shape[1]
                self._table = self.evidence(torch.eye(classes, device=self._output.device))
        return self._table

    def cotangent(self, question: Callable[[Tensor], Tensor]) -> Tensor:
        """v = dJ/dy of any differentiable question J, one number per image.

        Args:
            question: maps the output, N x classes, to N numbers (each from its own image's row).

        Returns:
            N x 1 x classes.

        Raises:
            ValueError: the question does not give one number per image.
        """
        with torch.inference_mode(False), torch.enable_grad():
            y = self._output.detach().clone().requires_grad_()
            answer = question(y)
            if not isinstance(answer, Tensor) or answer.numel() != len(self):
                got = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
                raise ValueError(
                    f"A question must give one number per image, {len(self)} here, but it gave {got}. "
                    "Do not average over the batch (reduction='none')."
                )
            (v,) = torch.autograd.grad(answer.sum(), y)
        return v.unsqueeze(1)

    def ask(self, question: Callable[[Tensor], Tensor]) -> Tensor:
        """The signed evidence, N x 1 x h x w, for any differentiable question about the output.

        >>> seen.ask(lambda y: y[:, 282] - y[:, 285])  # why tiger cat, rather than Egyptian cat?
        """
        return self.evidence(self.cotangent(question))
