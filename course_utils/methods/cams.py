"""The three contextual questions: Why P? What if P's evidence were absent? Why P, rather than Q?

Each is one cotangent v on the network's output; `forward_pass.ForwardPass` turns v into the map
S = sum_c v_c S^c. Only the line that makes v differs from method to method.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from ..errors import ClassError
from .forward_pass import ForwardPass
from .inputs import class_indices, class_name
from .layers import find_layer
from .maps import positive_maps


@dataclass(frozen=True, eq=False)
class Explanation:
    """Answers to K questions about each of N images.

    Attributes:
        evidence: N x K x h x w, signed, before the ReLU, unscaled, at feature resolution.
        logits: the network's output, N x classes.
        questions: N lists of K sentences, such as "Why tiger cat, rather than espresso?".
        size: (H, W) of the images.
        forward_pass: the network's answer behind it; pass it on in place of x to ask more.
        maps: N x K x H x W in [0, 1]: ReLU, upsampled, divided by each map's maximum.
        empty: N x K, True where a map has no positive part, so that nothing is drawn.
    """

    evidence: Tensor
    logits: Tensor
    questions: list[list[str]]
    size: tuple[int, int]
    forward_pass: ForwardPass = field(repr=False)

    @cached_property
    def maps(self) -> Tensor:
        return positive_maps(self.evidence, self.size)

    @cached_property
    def empty(self) -> Tensor:
        return ~(self.evidence > 0).flatten(2).any(dim=2)

    def __repr__(self) -> str:
        lines = []
        for questions, empty in zip(self.questions, self.empty.tolist()):
            for question, none in zip(questions, empty):
                lines.append(question + "  (no positive evidence: the map is empty)" * none)
        n, k, h, w = self.evidence.shape
        return f"Explanation: {n} x {k} questions on a {h} x {w} grid\n  " + "\n  ".join(lines)


class _CAM:
    """What the three share: a network, its target layer, and how an answer is packed."""

    def __init__(
        self,
        model: nn.Module,
        layer: str | nn.Module | None = None,
        reshape_transform: Callable[[Tensor], Tensor] | None = None,
    ):
        self.model, self.reshape_transform = model, reshape_transform
        self._target = find_layer(model, layer)
        self.layer = self._target.name
        self.categories = getattr(model, "categories", None)

    def _forward_pass(self, x: Tensor | ForwardPass) -> ForwardPass:
        """The forward pass that questions are put to; one already made is used again."""
        if not isinstance(x, ForwardPass):
            x = ForwardPass(self.model, x, self._target, self.reshape_transform)
        elif x.model is not self.model or x.layer != self.layer:
            raise ValueError(
                f"That forward pass was kept at '{x.layer}' of a {type(x.model).__name__}; this "
                f"method asks at '{self.layer}' of its own network. Make the two the same."
            )
        if x.logits.dim() != 2:
            shape = " x ".join(map(str, x.logits.shape))
            raise ClassError(
                f"The network's output is {shape}, not N x classes: use seen.ask(...)."
            )
        if self.categories and len(self.categories) != x.logits.shape[1]:
            raise ClassError(
                f"model.categories holds {len(self.categories)} names, but the network answers "
                f"{x.logits.shape[1]} classes: give it one name for each, in the same order."
            )
        return x

    def _classes(self, which, seen: ForwardPass) -> Tensor:
        """N x K class numbers; None asks for each image's predicted class."""
        if which is None:
            return seen.logits.argmax(dim=1, keepdim=True)
        indices = class_indices(which, len(seen), seen.logits.shape[1], self.categories)
        return indices.to(seen.logits.device)

    def _explain(
        self, seen: ForwardPass, v: Tensor, sentence: str, *classes: Tensor
    ) -> Explanation:
        """Answer the cotangents v, N x K x classes, each put into words."""
        rows = zip(*(c.tolist() for c in classes))
        questions = [
            [sentence.format(*(class_name(i, self.categories) for i in pair)) for pair in zip(*row)]
            for row in rows
        ]
        return Explanation(seen.evidence(v), seen.logits, questions, seen.size, seen)


def _one_hot(indices: Tensor, seen: ForwardPass) -> Tensor:
    """N x K class numbers -> N x K x classes, 1 at the class."""
    zeros = seen.activations.new_zeros(*indices.shape, seen.logits.shape[1])
    return zeros.scatter_(2, indices.unsqueeze(2), 1)  # F.one_hot checks and converts once more


class GradCAM(_CAM):
    """Grad-CAM: "Why P?" (Selvaraju et al., ICCV 2017, eq. 1 and 2).

    Evidence S^P = sum_k alpha_k^P A^k with alpha_k^P = mean_ij dy_P/dA^k_ij; v is one-hot at P.

    Args:
        model: a network from N x 3 x H x W to N x classes; left exactly as it was found.
        layer: the target layer, by name or module; default, the last one with places.
        reshape_transform: for layers of unusual shape, a function from their output to N x C x h x w.

    >>> GradCAM(classifier)(x, why="tiger cat").maps.shape
    torch.Size([1, 1, 224, 224])
    """

    def __call__(self, x: Tensor | ForwardPass, why=None) -> Explanation:
        """Ask.

        Args:
            x: images, N x 3 x H x W floats, or a `ForwardPass` kept from an earlier call.
            why: P, one class (number or name), a list of K asked of every image, or an N x K
                integer tensor; None for each image's predicted class.

        Returns:
            An `Explanation` whose evidence is S^P, N x K x h x w.

        Raises:
            ImageError, LayerError, ClassError: with a sentence that says what to do.
        """
        seen = self._forward_pass(x)
        p = self._classes(why, seen)
        return self._explain(seen, _one_hot(p, seen), "Why {}?", p)


class CounterfactualCAM(_CAM):
    """Counterfactual-CAM: "What if P's evidence were absent?" (Selvaraju et al., 2017, section 3.3).

    Evidence -S^P, Grad-CAM with the pooled gradients negated; v is minus one-hot at P. Its positive
    part lies where the evidence speaks *against* P. It shows no counterfactual image.

    Arguments as for `GradCAM`.
    """

    def __call__(self, x: Tensor | ForwardPass, why=None) -> Explanation:
        """As `GradCAM`; the evidence is -S^P, N x K x h x w."""
        seen = self._forward_pass(x)
        p = self._classes(why, seen)
        return self._explain(seen, -_one_hot(p, seen), "What if {}'s evidence were absent?", p)


def _cross_entropy(seen: ForwardPass, p: Tensor, q: Tensor) -> Tensor:
    """dJ/dy of J = CE(y, Q) = -log softmax(y)_Q: the whole posterior, minus Q. P does not occur."""
    return seen.probabilities().unsqueeze(1) - _one_hot(q, seen)


def _logit_difference(seen: ForwardPass, p: Tensor, q: Tensor) -> Tensor:
    """dJ/dy of J = y_P - y_Q."""
    return _one_hot(p, seen) - _one_hot(q, seen)


class ContrastCAM(_CAM):
    """Contrast-CAM: "Why P, rather than Q?" (Prabhushankar et al., ICIP 2020).

    Loss "cross_entropy", as published: J = CE(y, Q), S = sum_c p_c S^c - S^Q. P does not occur in
    it: Q is contrasted with the whole posterior, which is nearly P where p_P is near 1. With Q = P
    it asks why P does not have 100 %. Loss "logit_difference": J = y_P - y_Q, S = S^P - S^Q.

    Args:
        model, layer, reshape_transform: as for `GradCAM`.
        loss: "cross_entropy" (default) or "logit_difference".

    >>> ContrastCAM(classifier)(x, why="tiger cat", rather_than=["Egyptian cat", "espresso"])
    """

    losses = {"cross_entropy": _cross_entropy, "logit_difference": _logit_difference}

    def __init__(
        self,
        model: nn.Module,
        layer: str | nn.Module | None = None,
        reshape_transform: Callable[[Tensor], Tensor] | None = None,
        loss: str = "cross_entropy",
    ):
        super().__init__(model, layer, reshape_transform)
        self.loss = self._check_loss(loss)

    def _check_loss(self, loss: str) -> str:
        if loss not in self.losses:
            raise ValueError(f"No loss is called {loss!r}: choose from {', '.join(self.losses)}.")
        return loss

    def __call__(
        self, x: Tensor | ForwardPass, why=None, rather_than=None, loss: str | None = None
    ) -> Explanation:
        """Ask.

        Args:
            x: images, N x 3 x H x W floats, or a `ForwardPass` kept from an earlier call.
            why: P, one class for each image (or as many as Q); None for the predicted class.
            rather_than: Q, one class (number or name), a list of K asked of every image, or an
                N x K integer tensor.
            loss: for this question only, in place of the one given at the start.

        Returns:
            An `Explanation` whose evidence is the contrast's S, N x K x h x w.

        Raises:
            ImageError, LayerError, ClassError: with a sentence that says what to do.
            ValueError: no such loss.
        """
        loss = self._check_loss(loss or self.loss)
        if rather_than is None:
            raise ClassError(
                "Name the contrast class Q: rather_than='espresso', or a list of classes."
            )
        seen = self._forward_pass(x)
        p, q = self._classes(why, seen), self._classes(rather_than, seen)
        if 1 != p.shape[1] != q.shape[1] != 1:
            raise ClassError(f"{p.shape[1]} classes P do not pair with {q.shape[1]} classes Q.")
        p, q = torch.broadcast_tensors(p, q)
        return self._explain(seen, self.losses[loss](seen, p, q), "Why {}, rather than {}?", p, q)
