"""One forward pass, kept: every question about it costs only the head of the network.

A question about an output y is nothing but a cotangent vector v = dJ/dy. The chain rule is linear
in v, so with the class maps S^c = sum_k alpha_k^c A^k, alpha_k^c = mean_ij dy_c/dA^k_ij (Grad-CAM,
Selvaraju et al. 2017, eq. 1 and 2), the answer to *any* question is S = sum_c v_c S^c.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .head import not_on_the_way, pooling_linear_head, run_from_layer
from .inputs import check_finite, check_images
from .layers import check_grid, find_layer, grid_fold

CHUNK = 64  # cotangents sent back at once: measured fastest between 1 and 1000 on a CPU
FEW = 64  # a question about so many classes reads their rows of W only


def _product(v: Tensor, rows: Tensor, classes: Tensor) -> Tensor:
    """v W, where v is 0 for all but these classes."""
    return v.index_select(-1, classes) @ rows.index_select(0, classes)


class ForwardPass:
    """A network's answer to a batch of images, ready to be questioned again and again.

    The layers before the target run without a graph; the graph starts at the target layer and
    ends at the output. Frozen parameters, `torch.no_grad()` and `torch.inference_mode()` around
    the call make no difference, and the network is left exactly as it was found.

    Args:
        model: any `nn.Module` from N x 3 x H x W to a tensor N x ... (class scores: N x classes).
        x: the images, N x 3 x H x W floats, preprocessed as the network expects.
        layer: the target layer, by name or module; None for the last one with places.
        reshape_transform: for layers of unusual shape, a function from their output to N x C x h x w.

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
        reshape_transform: Callable[[Tensor], Tensor] | None = None,
    ):
        self.layer, module = find_layer(model, layer)
        check_images(x, model)
        self.model, self.size = model, tuple(x.shape[-2:])
        self._leaf, self._output = run_from_layer(model, self.layer, module, x)
        self.logits = self._output.detach()
        check_finite(self.logits, "The network's answer")
        self._reshape_transform = reshape_transform or grid_fold(
            model, self.layer, self._leaf, self.size
        )
        self.activations = self._wide(self._reshape_transform(self._leaf.detach()))
        check_grid(self.activations, self.layer, len(self))
        self._places = self.activations.shape[-2] * self.activations.shape[-1]
        plain = reshape_transform is None and self.activations.shape == self._leaf.shape
        self._head = pooling_linear_head(self._output, self._leaf) if plain else None
        self._head_version = None if self._head is None else self._head._version
        self._class_maps: Tensor | None = None
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
        cotangents = self._per_image(cotangents)
        if self._head is not None:
            return self._rows(cotangents, self._asked_about(cotangents))
        per_question = cotangents.to(self._output.dtype).transpose(0, 1)  # K x N x classes
        chunks = per_question.split(max(1, CHUNK // len(self)))
        return torch.cat([self._pooled_gradients(v) for v in chunks]).transpose(0, 1)

    def _per_image(self, cotangents: Tensor) -> Tensor:
        """N x K x classes, checked; K x classes are asked of every image."""
        if cotangents.dim() == self._output.dim():
            cotangents = cotangents.expand(len(self), *cotangents.shape)
        n, *answer = self._output.shape
        if cotangents.shape[:1] + cotangents.shape[2:] != self._output.shape:
            got, wanted = (" x ".join(map(str, s)) for s in (cotangents.shape, (n, "K", *answer)))
            raise ValueError(f"The cotangents are {got}; questions to this output are {wanted}.")
        return cotangents

    @staticmethod
    def _asked_about(cotangents: Tensor) -> Tensor:
        """The classes that any of the questions is about."""
        questions = cotangents.flatten(0, -2)
        asked = questions.any(dim=0) if len(questions) > 1 else questions[0]
        return asked.nonzero().flatten()

    def _rows(self, cotangents: Tensor, asked: Tensor) -> Tensor:
        """alpha of a pooling + linear head: v W / (h w), of few classes from their rows only."""
        v, rows = cotangents.to(self.activations.dtype), self._closed_form()
        if len(asked) <= FEW:
            return _product(v, rows, asked) / self._places
        # contrasts share the posterior and differ in a few Q: W is multiplied once an image
        first = v[:, :1]
        change = v - first
        differ = self._asked_about(change)
        if len(differ) <= FEW:
            return (first @ rows + _product(change, rows, differ)) / self._places
        return v @ rows / self._places

    def _closed_form(self) -> Tensor:
        """W of a pooling + linear head, as it was when the images went through."""
        if self._head._version != self._head_version:
            raise RuntimeError(
                "The network's weights changed after this forward pass. Make a new ForwardPass."
            )
        return self._wide(self._head)

    def _pooled_gradients(self, v: Tensor) -> Tensor:
        """One backward pass through the head for k questions: k x N x classes -> k x N x C."""
        with torch.inference_mode(False), torch.no_grad():
            many = len(v) > 1
            v = v.clone() if v.is_inference() else v
            v = v if many else v[0]
            options = dict(retain_graph=True, is_grads_batched=many, allow_unused=True)
            (gradient,) = torch.autograd.grad(self._output, self._leaf, v, **options)
            if gradient is None:
                raise not_on_the_way(self.layer)
            grid = self._reshape_transform(gradient.flatten(0, 1) if many else gradient)
            return self._wide(grid).mean(dim=(-2, -1)).unflatten(0, (-1, len(self)))

    def evidence(self, cotangents: Tensor) -> Tensor:
        """The signed answer to K questions, S = sum_c v_c S^c, at feature resolution.

        Args:
            cotangents: v = dJ/dy, N x K x classes (or K x classes, the same for every image).

        Returns:
            N x K x h x w, in units of the question per unit of v.

        Raises:
            ValueError: cotangents of another shape.
            ImageError: the evidence is NaN or infinite.
        """
        cotangents = self._per_image(cotangents)
        if self._head is not None:
            factors, maps = self._read_off(cotangents)
        elif self._class_maps is not None:
            factors, maps = cotangents.to(self._class_maps.dtype), self._class_maps
        else:
            factors, maps = self.weights(cotangents), self.activations
        evidence = torch.bmm(factors, maps.flatten(2)).unflatten(2, maps.shape[2:])
        return check_finite(evidence, "The evidence")

    def _read_off(self, cotangents: Tensor) -> tuple[Tensor, Tensor]:
        """Factors and maps whose products are the answer of a pooling + linear head."""
        asked = self._asked_about(cotangents)
        if len(asked) > FEW:
            # the table of all S^c is cheap here: worth it from the second question about all classes
            if self._asked or cotangents.shape[1] >= CHUNK:
                self.class_maps()
            self._asked = True
            if self._class_maps is not None:
                return cotangents.to(self._class_maps.dtype), self._class_maps
        return self._rows(cotangents, asked), self.activations

    def class_maps(self) -> Tensor:
        """S^c for every class c, N x classes x h x w; kept, so that later questions read it."""
        if self._class_maps is None:
            if self._head is not None:
                weighted = torch.einsum("kc,nchw->nkhw", self._closed_form(), self.activations)
                self._class_maps = weighted / self._places
            else:
                classes = self._output.shape[1]
                self._class_maps = self.evidence(torch.eye(classes, device=self._output.device))
        return self._class_maps

    def cotangent(self, question: Callable[[Tensor], Tensor]) -> Tensor:
        """v = dJ/dy of any differentiable question J, one number per image.

        Args:
            question: maps the output, N x classes, to N numbers (each from its own image's row).

        Returns:
            N x 1 x classes.

        Raises:
            ValueError: the question does not give one number per image, or none that can be
                differentiated.
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
            if not answer.requires_grad:
                raise ValueError(
                    "The question's answer is no differentiable function of the output: ask for a "
                    "number made of the logits by arithmetic, not by argmax, detach or item."
                )
            (v,) = torch.autograd.grad(answer.sum(), y)
        return v.unsqueeze(1)

    def ask(self, question: Callable[[Tensor], Tensor]) -> Tensor:
        """The signed evidence, N x 1 x h x w, for any differentiable question about the output.

        >>> seen.ask(lambda y: y[:, 282] - y[:, 285])  # why tiger cat, rather than Egyptian cat?
        """
        return self.evidence(self.cotangent(question))
