"""What every method of the taxonomy is given, and what it gives back."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ClassError, ImageError
from ...networks.precision import in_float32
from ..as_classes import AsClasses
from ..classes import class_indices, class_name, names_for
from ..forward_pass import ForwardPass
from ..maps import positive_maps
from ..running import undisturbed as one_at_a_time
from ..scores import is_one_logit


@dataclass(frozen=True, eq=False)
class Asked:
    """A network, one image, P and perhaps Q.

    Attributes:
        network: from 1 x 3 x H x W to 1 x classes, in evaluation mode.
        x: the image, 1 x 3 x H x W, as the network reads it.
        seen: the forward pass at the target layer.
        p, q: numbers of the classes; q is None where nobody named one.
    """

    network: nn.Module
    x: Tensor
    seen: ForwardPass
    p: int
    q: int | None

    @classmethod
    def about(cls, network: nn.Module, x: Tensor, why, rather_than, needs_q: bool, layer=None):
        """Check what the learner gave; P defaults to the predicted class.

        Raises:
            ImageError, LayerError, ClassError: with a sentence that says what to do.
        """
        returned: list[Any] = []
        with kept_output(network, returned):
            seen = ForwardPass(network, x, layer)
        if len(seen) != 1:
            raise ImageError(f"x holds {len(seen)} images; the methods take one at a time: x[:1].")
        one_logit = is_one_logit(seen.logits)
        if one_logit or not all(isinstance(y, Tensor) for y in returned):  # read as N x classes
            network = AsClasses(network, categories=names_for(network, seen.logits))
            seen = ForwardPass(network, x, f"network.{seen.layer}")
        if seen.logits.dim() != 2 or seen.logits.shape[1] < 2:
            shape = " x ".join(map(str, seen.logits.shape))
            raise ClassError(f"The network's output is {shape}; P and Q need N x classes.")
        names = names_for(network, seen.logits)
        classes = seen.logits.shape[1]

        def number(which) -> int:
            found = class_indices(which, 1, classes, names)
            if found.numel() != 1:
                raise ClassError(f"{found.numel()} classes were named: ask about one at a time.")
            return int(found)

        p = int(seen.logits.argmax()) if why is None else number(why)
        q = None if rather_than is None else number(rather_than)
        if q is None and needs_q:
            q = next(c for c in seen.logits[0].argsort(descending=True).tolist() if c != p)
        if q == p:
            raise ClassError("P and Q are the same class: name two.")
        return cls(network, x.detach(), seen, p, q)

    @cached_property
    def v(self) -> Tensor:
        """The question as a vector on the output: e_P, or e_P - e_Q. One number per class."""
        v = torch.zeros_like(self.seen.logits[0])
        v[self.p] = 1
        if self.q is not None:
            v[self.q] = -1
        return v

    @property
    def rival(self) -> int:
        """Q, for a method that always has one."""
        assert self.q is not None
        return self.q

    @property
    def probabilities(self) -> Tensor:
        return self.seen.probabilities()[0]

    def name(self, which: int) -> str:
        """What a class is called."""
        return class_name(which, names_for(self.network, self.seen.logits))

    @property
    def sentence(self) -> str:
        rather = "" if self.q is None else f", rather than {self.name(self.q)}"
        return f"Why {self.name(self.p)}{rather}?"

    def linear_head(self, method: str) -> Tensor:
        """W, classes x C, of a network that ends in pooling and one matrix.

        Raises:
            ValueError: it ends in something else.
        """
        head = self.seen._closed_form
        if head is None:
            raise ValueError(
                f"{method} needs a network that averages '{self.seen.layer}' over its places and "
                f"multiplies by a matrix; {type(self.network).__name__} ends in something else. "
                "Grad-CAM asks the same of any network."
            )
        return head.matrix


@contextmanager
def kept_output(network: nn.Module, kept: list) -> Iterator[None]:
    """What the network itself returns, inside, joins the list."""
    handle = network.register_forward_hook(lambda _module, _inputs, y: kept.append(y))
    try:
        yield
    finally:
        handle.remove()


class OneOutput(nn.Module):
    """The network with the question as its only output: v . y, or v . softmax(y). N x 1."""

    def __init__(self, asked: Asked, of_probabilities: bool = False, network=None):
        super().__init__()
        self.network = network or asked.network
        self.v, self.of_probabilities = asked.v, of_probabilities

    def forward(self, x: Tensor) -> Tensor:
        y = self.network(x)
        return ((y.softmax(1) if self.of_probabilities else y) @ self.v)[:, None]


@dataclass(frozen=True, eq=False)
class Answer:
    """What a method answers about one image.

    Attributes:
        question: the sentence that was asked.
        evidence: 1 x K x h x w, signed or not, unscaled; None where the answer is no map.
        maps: 1 x K x H x W in [0, 1], as an `Explanation` has them; None where there is no map.
        titles: K sentences, one for each map.
        result: the answer where it is more than a map: see the method's own file.
        said: the result in a sentence; "" where the map says it all.
        pictures: (H x W x 3 numbers in [0, 1], title) of an answer that is itself a picture.
        method: the method's name.
    """

    question: str
    evidence: Tensor | None = None
    size: tuple[int, ...] | None = None
    titles: list[str] = field(default_factory=list)
    result: Any = None
    said: str = ""
    pictures: list = field(default_factory=list)
    method: str = ""

    @cached_property
    def maps(self) -> Tensor | None:
        if self.evidence is None:
            return None
        return positive_maps(self.evidence, self.size or self.evidence.shape[-2:])

    @property
    def empty(self) -> bool:
        """Whether there is a map, and its first one has no positive part."""
        return self.evidence is not None and not bool((self.evidence[0, 0] > 0).any())

    def __repr__(self) -> str:
        empty = "  (no positive evidence: the map is empty)" * self.empty
        return f"{self.method}: {self.question}{empty}" + f"  {self.said}" * bool(self.said)


def mapped(asked: Asked, evidence: Tensor, titles=None, **more) -> Answer:
    """An answer that is a map.

    Args:
        evidence: h x w, or K x h x w for several maps.
    """
    evidence = evidence.detach().float()
    evidence = evidence.reshape(1, -1, *evidence.shape[-2:])
    titles = titles or [asked.sentence]
    return Answer(asked.sentence, evidence, asked.seen.size, titles, **more)


def seen_from_afar(pixels: Tensor) -> Tensor:
    """The size of each pixel's value in any colour, as means over blocks: 3 x H x W -> h x w.

    28 blocks to a side: single pixels of a gradient are too fine to be compared by eye.
    """
    size = pixels.detach().abs().amax(0)
    block = max(1, min(size.shape) // 28)
    return nn.functional.avg_pool2d(size[None, None], block)[0, 0]


@contextmanager
def undisturbed(network: nn.Module) -> Iterator[None]:
    """Gradients on, evaluation mode, dice of its own, new tensors on the CPU and in float32.

    All is as before afterwards.
    """
    with ExitStack() as held:
        held.enter_context(torch.inference_mode(False))
        held.enter_context(torch.enable_grad())
        held.enter_context(torch.random.fork_rng(devices=[]))
        held.enter_context(in_float32())
        if torch.get_default_device().type != "cpu":
            held.enter_context(torch.device("cpu"))
        torch.manual_seed(0)
        with one_at_a_time(network):
            yield
