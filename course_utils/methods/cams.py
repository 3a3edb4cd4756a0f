"""The three contextual questions: Why P? What if P's evidence were absent? Why P, rather than Q?

Each is one cotangent v on the network's output; `forward_pass.ForwardPass` turns v into the map
S = sum_c v_c S^c. Only the line that makes v differs from method to method.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn

from ..errors import ClassError, LayerError
from ..networks.families import stated
from .classes import class_indices, class_name, names_in, names_of
from .closed_form import one_hot
from .forward_pass import ForwardPass
from .keywords import own_keywords
from .layers import Target, find_layer
from .maps import positive_maps, relative_strength
from .scores import (
    are_classes,
    class_logits,
    cotangents_of,
    is_one_logit,
    predicted,
    warn_of_probabilities,
)
from .strength import strength_in_words

SHOWN = 40  # questions that an explanation shows of itself


@dataclass(frozen=True, eq=False)
class Explanation:
    """Answers to K questions about each of N images.

    It holds numbers only, and no graph: it can be kept, copied, pickled and saved.

    Attributes:
        evidence: N x K x h x w, signed, before the ReLU, unscaled, at feature resolution.
        logits: the network's output, N x classes (N or N x 1 where it has one logit).
        questions: N lists of K sentences, such as "Why tiger cat, rather than espresso?".
        size: (H, W) of the images.
        strength: N x K, 0 or more: the map's peak over the peak of Grad-CAM's map of P, both before
            they are enlarged. Grad-CAM's own is 1. Below 0.1 there is next to nothing to read;
            above 10 it is Grad-CAM's own map that is weak, as where P is improbable. It is 0 where
            the map is empty, and NaN where only Grad-CAM's is.
        layer: the target layer's name.
        layer_reason: why this layer, in words.
        maps: N x K x H x W in [0, 1]: ReLU, upsampled, divided by each map's maximum.
        empty: N x K, True where a map has no positive part, so that nothing is drawn.
    """

    evidence: Tensor
    logits: Tensor
    questions: list[list[str]]
    size: tuple[int, ...]
    layer: str
    layer_reason: str
    _grad_cam: Tensor = field(repr=False)
    _forward_pass: Callable[[], ForwardPass | None] = field(default=lambda: None, repr=False)

    @property
    def forward_pass(self) -> ForwardPass:
        """The forward pass behind it, to ask more, as long as the caller keeps it.

        Raises:
            RuntimeError: it was let go, because nobody kept it.
        """
        forward_pass = self._forward_pass()
        if forward_pass is None:
            raise RuntimeError(
                "This explanation let its forward pass go, which holds a graph of the network. To "
                "ask more, keep one: forward_pass = ForwardPass(model, x), and pass it on in place "
                "of x. Or ask with keep=True."
            )
        return forward_pass

    @cached_property
    def strength(self) -> Tensor:
        return relative_strength(self.evidence, self._grad_cam)

    @cached_property
    def maps(self) -> Tensor:
        return positive_maps(self.evidence, self.size)

    @cached_property
    def empty(self) -> Tensor:
        return ~(self.evidence > 0).flatten(2).any(dim=2)

    def __getstate__(self) -> dict:
        """What is copied and pickled: not the forward pass, nor what is quickly made again."""
        public = [name for name in self.__dataclass_fields__ if name[0] != "_"]
        return {name: getattr(self, name) for name in [*public, "strength"]}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state, _forward_pass=lambda: None)

    def __repr__(self) -> str:
        n, k, *grid = self.evidence.shape
        lines = [
            f"Explanation: {n} x {k} questions on a {' x '.join(map(str, grid))} grid",
            f"at the layer '{self.layer}' ({self.layer_reason})",
        ]
        rows = zip(self.questions, self.strength.tolist())
        asked = [pair for row in rows for pair in zip(*row)]
        lines += [f"{q}  ({strength_in_words(s)})" for q, s in asked[:SHOWN]]
        lines += [f"and {len(asked) - SHOWN} more"] * (len(asked) > SHOWN)
        return "\n  ".join(lines)


torch.serialization.add_safe_globals([Explanation])  # so that torch.load reads what was saved


class _CAM:
    """What the three share: a network, its target layer, and how an answer is packed."""

    @own_keywords
    def __init__(
        self,
        model: nn.Module,
        layer: str | nn.Module | None = None,
        reshape_transform: Callable[[Tensor], Tensor] | None = None,
        output: Callable[[Any], Tensor] | None = None,
    ):
        if isinstance(layer, (list, tuple)) and not isinstance(layer, Target):
            raise LayerError(
                f"A list of {len(layer)} layers was given: a map belongs to one layer. Give it by "
                "name or as a module, as in GradCAM(model, 'layer4')."
            )
        self.model, self.reshape_transform, self.output = model, reshape_transform, output
        self._target = find_layer(model, layer)
        # of a network of no known family the layer is found at the first image
        self.layer = None if self._target is None else self._target.name
        self._read_names()

    def _read_names(self) -> None:
        """The classes' names, which may be set or replaced after the method was made."""
        names = stated(self.model, "categories")
        self._stated = names, names[:] if isinstance(names, list) else None
        self.categories = names_in(self.model)

    def _names_changed(self) -> bool:
        """Whether others were set, or those in a list were changed."""
        (then, names), now = self._stated, stated(self.model, "categories")
        return now is not then or names is not None and now != names

    def _asks_elsewhere(self, x: ForwardPass) -> bool:
        """Whether a kept pass is at another layer, and one of the two was named."""
        named = x._named or self._target is not None and self._target.named
        return named and self.layer not in (None, x.layer)

    def _answer(self, x: Tensor | ForwardPass, keep: bool) -> "_Answer":
        """The forward pass that questions are put to; one already made is used again."""
        if not isinstance(x, ForwardPass):
            run = ForwardPass if keep else ForwardPass.at_once
            x = run(self.model, x, self._target, self.reshape_transform, self.output)
            self.layer = x.layer
        elif x.model is not self.model:
            raise ValueError(
                f"That forward pass was kept at '{x.layer}' of a {type(x.model).__name__}, but of "
                "another network than this method's. Make the two the same."
            )
        elif self._asks_elsewhere(x):
            raise ValueError(
                f"That forward pass was kept at '{x.layer}' of a {type(x.model).__name__}; this "
                f"method asks at '{self.layer}' of its own network. Make the two the same."
            )
        elif without := [n for n in x._without if getattr(self, n) is not None]:
            raise ValueError(
                f"That forward pass was kept without this method's {without[0]}=. Give it there: "
                f"ForwardPass(model, x, {without[0]}=...)."
            )
        if not are_classes(x.logits):
            raise self._no_classes(x)
        if self._names_changed():
            self._read_names()
        warn_of_probabilities(self.model, x._output)
        return _Answer(x, names_of(self.categories, x.logits, self.model))

    def _no_classes(self, x: ForwardPass) -> ClassError:
        """What to do about an output that is not N x classes."""
        shape = " x ".join(map(str, x.logits.shape))
        if x.logits[:1].numel() == max(x.logits.shape[1:]):
            return ClassError(
                f"The network's output is {shape}, not N x classes. Take the other axes away: "
                f"{type(self).__name__}(model, output=lambda y: y.flatten(1)), or, where the "
                "network returns more than a tensor, y.logits.flatten(1) of an object and "
                "y['logits'].flatten(1) of a dict."
            )
        given = ("reshape_transform", "output")
        same = [f", {name}={name}" for name in given if getattr(self, name) is not None]
        return ClassError(
            f"The network's output is {shape}, not N x classes. Say which number of it you "
            f"mean: ForwardPass(model, x, '{x.layer}'{''.join(same)})"
            ".ask(lambda y: y[:, 0].flatten(1).sum(1)), say, asks about the sum of all that "
            "stands under index 0."
        )


class _Answer:
    """A forward pass whose output is classes, with their names, and questions put to it."""

    def __init__(self, forward_pass: ForwardPass, categories: list[str] | None):
        self.forward_pass, self.categories = forward_pass, categories
        self.logits = class_logits(forward_pass.logits)

    def classes(self, which) -> Tensor:
        """N x K class numbers; None asks for each image's predicted class."""
        if which is None:
            return predicted(self.forward_pass.logits)[:, None]
        n, classes = self.logits.shape
        indices = class_indices(which, n, classes, self.categories)
        return indices.to(self.logits.device)

    def one_hot(self, classes: Tensor) -> Tensor:
        """N x K class numbers -> N x K x classes, 1 at the class."""
        return one_hot(classes, self.logits)

    def probabilities(self, sigmoid: bool = False) -> Tensor:
        """p, N x classes."""
        return self.forward_pass.probabilities(sigmoid).flatten(1)

    def grad_cam(self, p: Tensor) -> Tensor:
        """S^P of N x K classes P, N x K x h x w; asked once of a forward pass."""
        kept, key = self.forward_pass.grad_cams, (p.shape, *p.flatten().tolist())
        if key in kept:
            self.forward_pass.check_weights()
        elif self.forward_pass.logits.shape == self.logits.shape:
            kept[key] = self.forward_pass._evidence(p)
        else:  # one logit, or N x classes x 1 x 1
            kept[key] = self.evidence(self.one_hot(p))
        return kept[key]

    def evidence(self, v: Tensor) -> Tensor:
        """S of the cotangents v, N x K x classes: N x K x h x w."""
        return self.forward_pass.evidence(cotangents_of(v, self.forward_pass.logits))

    def explanation(
        self, evidence: Tensor, grad_cam: Tensor, keep: bool, sentence: str, *classes: Tensor
    ) -> Explanation:
        """The answers, each put into words.

        Args:
            evidence: N x K x h x w.
            grad_cam: S^P of the same images, N x K or N x 1.
            keep: whether the explanation holds the forward pass.
            sentence, classes: each question, with {} for the names of the N x K classes.
        """
        rows = zip(*(c.tolist() for c in classes))
        questions = [
            [sentence.format(*(class_name(i, self.categories) for i in pair)) for pair in zip(*row)]
            for row in rows
        ]
        done = self.forward_pass
        return Explanation(
            evidence, done.logits, questions, done.size, done.layer, done.layer_reason, grad_cam,
            (lambda: done) if keep else ref(done),
        )  # fmt: skip


class GradCAM(_CAM):
    """Grad-CAM: "Why P?" (Selvaraju et al., ICCV 2017, eq. 1 and 2).

    Evidence S^P = sum_k alpha_k^P A^k with alpha_k^P = mean_ij dy_P/dA^k_ij; v is one-hot at P.

    Args:
        model: a network from N x 3 x H x W to N x classes; left exactly as it was found. One logit
            y (N x 1 or N) is read as the classes "no" and "yes" with logits -y/2 and +y/2. Names of
            the classes are read from model.categories: a list, an array, id2label or class_to_idx;
            where there is none, from model.config.id2label.
        layer: the target layer, by name or module; default, the last one with places.
        reshape_transform: for layers of unusual shape or order (see `ForwardPass`), a function from
            output to N x C x h x w.
        output: a function from what the network returns to the logits, where they are not named so.

    Raises:
        TypeError: the model is no network.
        LayerError: it has no such layer.
        ClassError: its `categories` are no list of names that could be read.

    >>> GradCAM(classifier)(x, why="tiger cat").maps.shape
    torch.Size([1, 1, 224, 224])
    """

    @own_keywords
    def __call__(self, x: Tensor | ForwardPass, why=None, *, keep: bool = False) -> Explanation:
        """Ask.

        Args:
            x: images, N x 3 x H x W floats, or a `ForwardPass` kept from an earlier call.
            why: P, one class (number or name); a *list* of K classes, asked of every image; a
                *tensor* or array of N numbers, one class for each image; a list of lists, or a
                tensor N x K; None for each image's predicted class.
            keep: whether the explanation keeps its forward pass, and with it a graph of the
                network, for further questions.

        Returns:
            An `Explanation` whose evidence is S^P, N x K x h x w.

        Raises:
            ImageError, LayerError, ClassError: with a sentence that says what to do.
            TypeError: the network does not return one tensor.
            ValueError: x is a pass at another layer, or of another network.
            RuntimeError: the network's weights have changed since the pass.
        """
        answer = self._answer(x, keep)
        p = answer.classes(why)
        s = answer.grad_cam(p)
        return answer.explanation(s.clone(), s, keep, "Why {}?", p)


class CounterfactualCAM(_CAM):
    """Counterfactual-CAM: "What if P's evidence were absent?" (Selvaraju et al., 2017, sec. 3.3).

    Evidence -S^P, Grad-CAM with the pooled gradients negated; v is minus one-hot at P. Its positive
    part lies where the evidence speaks *against* P. It shows no counterfactual image.

    Arguments as for `GradCAM`.
    """

    @own_keywords
    def __call__(self, x: Tensor | ForwardPass, why=None, *, keep: bool = False) -> Explanation:
        """As `GradCAM`; the evidence is -S^P, N x K x h x w."""
        answer = self._answer(x, keep)
        p = answer.classes(why)
        s = answer.grad_cam(p)
        return answer.explanation(-s, s, keep, "What if {}'s evidence were absent?", p)


def _cross_entropy(answer: _Answer, p: Tensor, q: Tensor) -> Tensor:
    """dJ/dy of J = CE(y, Q) = -log softmax(y)_Q: the whole posterior, minus Q. P does not occur."""
    return answer.probabilities().unsqueeze(1) - answer.one_hot(q)


def _binary_cross_entropy(answer: _Answer, p: Tensor, q: Tensor) -> Tensor:
    """dJ/dy of J = -log sigmoid(y_Q): (p_Q - 1) at Q. No other class occurs."""
    return answer.one_hot(q) * (answer.probabilities(sigmoid=True) - 1).unsqueeze(1)


def _logit_difference(answer: _Answer, p: Tensor, q: Tensor) -> Tensor:
    """dJ/dy of J = y_P - y_Q."""
    return answer.one_hot(p) - answer.one_hot(q)


class ContrastCAM(_CAM):
    """Contrast-CAM: "Why P, rather than Q?" (Prabhushankar et al., ICIP 2020).

    Loss "cross_entropy", as published: J = CE(y, Q), S = sum_c p_c S^c - S^Q. P does not occur in
    it: Q is contrasted with the whole posterior, which is nearly P where p_P is near 1. With Q = P
    it asks why P does not have 100 %. Loss "logit_difference": J = y_P - y_Q, S = S^P - S^Q.

    With sigmoid=True the classes do not compete: an image may show several. The cross-entropy is
    then Q's own binary one, J = -log sigmoid(y_Q), and S = -(1 - p_Q) S^Q: what speaks against Q,
    and the less of it the surer Q is; no other class has a say in it.

    Args:
        model, layer, reshape_transform, output: as for `GradCAM`.
        loss: "cross_entropy" (default) or "logit_difference".
        sigmoid: whether each class has its own probability, sigmoid(y_c) (a multi-label network).

    >>> ContrastCAM(classifier)(x, why="tiger cat", rather_than=["Egyptian cat", "espresso"])
    """

    losses = {"cross_entropy": _cross_entropy, "logit_difference": _logit_difference}

    @own_keywords
    def __init__(
        self,
        model: nn.Module,
        layer: str | nn.Module | None = None,
        reshape_transform: Callable[[Tensor], Tensor] | None = None,
        loss: str = "cross_entropy",
        sigmoid: bool = False,
        output: Callable[[Any], Tensor] | None = None,
    ):
        super().__init__(model, layer, reshape_transform, output)
        if isinstance(sigmoid, str):  # "no" would count as true
            raise TypeError(
                f"sigmoid= is True (each class by itself) or False (a softmax), not {sigmoid!r}."
            )
        self.loss, self.sigmoid = self._check_loss(loss), bool(sigmoid)

    def _check_loss(self, loss: str) -> str:
        if loss in list(self.losses):
            return loss
        hint = " For a multi-label network pass sigmoid=True; its cross-entropy is then binary."
        binary = any(word in str(loss).lower() for word in ("sigmoid", "binary", "bce"))
        raise ValueError(
            f"No loss is called {loss!r}: choose from {', '.join(self.losses)}.{hint * binary}"
        )

    @own_keywords
    def __call__(
        self,
        x: Tensor | ForwardPass,
        why=None,
        rather_than=None,
        loss: str | None = None,
        *,
        keep: bool = False,
    ) -> Explanation:
        """Ask.

        Args:
            x, keep: as for `GradCAM`.
            why: P, one class for each image (or as many as Q); None for the predicted class.
            rather_than: Q, one class or several, as `why` of `GradCAM`.
            loss: for this question only, in place of the one given at the start.

        Returns:
            An `Explanation` whose evidence is the contrast's S, N x K x h x w.

        Raises:
            ValueError: no such loss; else as `GradCAM`.
        """
        loss = self._check_loss(self.loss if loss is None else loss)
        if rather_than is None:
            raise ClassError(
                "Name the contrast class Q: rather_than='espresso', or a list of classes."
            )
        answer = self._answer(x, keep)
        p, q = answer.classes(why), answer.classes(rather_than)
        if 1 != p.shape[1] != q.shape[1] != 1:
            raise ClassError(f"{p.shape[1]} classes P do not pair with {q.shape[1]} classes Q.")
        # one logit is no choice between the two: its binary cross-entropy is that of the pair
        binary = (
            self.sigmoid
            and loss == "cross_entropy"
            and not is_one_logit(answer.forward_pass.logits)
        )
        v = (_binary_cross_entropy if binary else self.losses[loss])(answer, *_paired(p, q))
        s = answer.evidence(v)
        sentence = "Why {}, rather than {}?"
        return answer.explanation(s, answer.grad_cam(p), keep, sentence, *_paired(p, q))


def _paired(p: Tensor, q: Tensor) -> list[Tensor]:
    """One P with every Q, every P with one Q, or pair by pair: both N x K."""
    return list(torch.broadcast_tensors(p, q))
