"""Cases, right answers and known mistakes of ex02_gradcam: capturing, and the whole pipeline."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.methods.head import run_from_layer
from course_utils.methods.maps import positive_maps, upsample

from .known import remembering
from .networks import Network
from .part import Case, Mistake

FAILURES = (
    (
        "written into",
        "`backward()` writes a gradient into every parameter on its way. "
        "`torch.autograd.grad` gives the gradient of what you name, and leaves the network alone.",
    ),
    (
        "still on the network",
        "Whoever hangs up a hook takes it down: keep the handle that "
        "`register_forward_hook` returns, and call its `remove()` after the forward pass.",
    ),
    (
        "to not have been used",
        "What your hook kept is not on the way to the logits: a copy that "
        "was "
        "put aside. Let the hook *return* the tensor that "
        "it keeps, so that the network goes on from it.",
    ),
    (
        "does not require grad",
        "The graph is cut: what you differentiate was detached, or computed "
        "under `torch.no_grad()`. Keep the layer's output as it is.",
    ),
    (
        "in-place operation",
        "The next layer writes over what it is given. Hand on a *clone* of the "
        "tensor that "
        "you keep: the network may write over the clone.",
    ),
    (
        "modified inplace",
        "A backward hook cannot follow a layer that is written over by the next "
        "one. Let a "
        "forward hook keep the output, hand on a clone, and use `torch.autograd.grad`.",
    ),
    (
        "only for scalar",
        "Autograd starts from one number: sum the logits that are asked for. The "
        "images "
        "of a batch do not meet in the network, so each keeps its own gradient.",
    ),
    ("no attribute", "A layer's name may have dots: `model.get_submodule(layer_name)` finds it."),
)


def _images(seed: int, n: int, h: int, w: int) -> Tensor:
    generator = torch.Generator().manual_seed(104729 * seed + 1009 * n + 31 * h + w)
    return torch.randn(n, 3, h, w, generator=generator)


def cases_capture(seed: int) -> list[Case]:
    s, more = 10 * seed, 4 * (seed % 3)
    return [
        (Network("small", s + 1), "features.3", _images(seed, 1, 20 + more, 28), [2 + seed % 3]),
        (
            Network("small", s + 2, 7),
            "features.1",
            _images(seed, 3, 16, 24 + more),
            [6, 0, 3 + seed % 3],
        ),
        (Network("guarded", s + 4), "features.3", _images(seed, 2, 28 + more, 20), [4, seed % 4]),
        (
            Network("in place", s + 3),
            "features.3",
            _images(seed, 2, 24, 20 + more),
            [1, 3 + seed % 2],
        ),
    ]


@remembering
def capture(model: nn.Module, layer_name: str, x: Tensor, c: list[int]) -> list[Tensor]:
    """By the course's engine, whose graph begins at the layer."""
    leaf, y = _from_layer(model, layer_name, x)
    return [leaf.detach(), _gradient(_of_its_own(y, c), leaf)]


def _gradient(number: Tensor, of: Tensor) -> Tensor:
    return torch.autograd.grad(number, of, retain_graph=True)[0]


@remembering
def _from_layer(model: nn.Module, layer_name: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """One forward pass for all questions."""
    return run_from_layer(model, layer_name, model.get_submodule(layer_name), x)


def _of_its_own(y: Tensor, c: list[int]) -> Tensor:
    return sum(row[k] for row, k in zip(y, c))


@remembering
def _of_each_class(model: nn.Module, layer_name: str, x: Tensor) -> Tensor:
    """The gradients of all classes' logits, classes x N x K x h x w."""
    leaf, y = _from_layer(model, layer_name, x)
    return torch.stack([_gradient(logits.sum(), leaf) for logits in y.unbind(1)])


def _asking(question: Callable[[Tensor, list[int]], Tensor]) -> Callable:
    """The answer to another question of the logits."""

    def makes(model: nn.Module, layer_name: str, x: Tensor, c: list[int]) -> list[Tensor]:
        leaf, y = (one.detach() for one in _from_layer(model, layer_name, x))
        vector = _gradient(question(y.requires_grad_(), c), y)
        each = _of_each_class(model, layer_name, x)
        return [leaf, torch.einsum("nc,cnkij->nkij", vector, each)]

    return makes


@remembering
def _overwritten(model: nn.Module, layer_name: str, x: Tensor, c: list[int]) -> list[Tensor]:
    """A hook that keeps the layer's output itself, which the next layer may write over."""
    kept = {}
    handle = model.get_submodule(layer_name).register_forward_hook(
        lambda m, i, out: kept.update(A=out)
    )
    y = model(x)
    handle.remove()
    return [kept["A"].detach(), torch.autograd.grad(_of_its_own(y, c), kept["A"])[0]]


def _half_overwritten(model: nn.Module, layer_name: str, x: Tensor, c: list[int]) -> list[Tensor]:
    return [capture(model, layer_name, x, c)[0], _overwritten(model, layer_name, x, c)[1]]


IN_PLACE = (
    "the layer after this one works *in place*: it writes over the very tensor that your hook "
    "kept, so that you hold the next layer's output. Let the hook hand on a copy: the network may "
    "write over the copy."
)
CAPTURE_MISTAKES = (
    Mistake(IN_PLACE, _overwritten),
    Mistake(
        "your activations are right, but the gradient is that of the *next* layer's output, "
        "which "
        "works in place: differentiate by the tensor from before.",
        _half_overwritten,
        share=0.5,
    ),
    Mistake(
        "you differentiated the probability. Grad-CAM asks about the logit y_c: no softmax "
        "before the gradient.",
        _asking(lambda y, c: _of_its_own(y.softmax(1), c)),
    ),
    Mistake(
        "you asked about the predicted class. Ask about c, which need not be the predicted one.",
        _asking(lambda y, c: y.amax(dim=1).sum()),
    ),
    Mistake(
        "every image has a class of its own, but you asked about the classes of *all* images "
        "in "
        "each row. Pair row n with c[n].",
        _asking(lambda y, c: y[:, c].sum()),
    ),
    Mistake(
        "you asked about the first class of c for all images: pair image n with c[n].",
        _asking(lambda y, c: y[:, c[0]].sum()),
    ),
    Mistake(
        "you differentiated minus the cross-entropy, which mixes in all other classes. "
        "Grad-CAM asks "
        "about the logit y_c alone.",
        _asking(lambda y, c: -F.cross_entropy(y, torch.tensor(c), reduction="sum")),
    ),
    Mistake(
        "you differentiated the cross-entropy. Grad-CAM asks about the logit y_c alone.",
        _asking(lambda y, c: F.cross_entropy(y, torch.tensor(c), reduction="sum")),
    ),
    Mistake(
        "you asked for the logit of the first image only, so that the others got no gradient: "
        "sum the "
        "logits of all images.",
        _asking(lambda y, c: y[0, c[0]]),
    ),
    Mistake(
        "you summed over all classes: then the gradient belongs to no class at all.",
        _asking(lambda y, c: y.sum()),
    ),
    Mistake(
        "the *mean* over the batch divides every gradient by N: an image's gradient must not "
        "depend on how many others are beside it. Take the sum.",
        _asking(lambda y, c: _of_its_own(y, c) / len(c)),
        share=0.5,
    ),
    Mistake(
        "the gradient is None: `.grad` stays empty for what a layer returns. "
        "`torch.autograd.grad(number, A)` gives it to you.",
        lambda *case: [capture(*case)[0], None],
    ),
    Mistake(
        "the two are right, but in the other order: first A, then the gradient.",
        lambda *case: capture(*case)[::-1],
        share=0.5,
    ),
)


# --- the whole pipeline ---------------------------------------------------------------------------


def cases_pipeline(seed: int) -> list[Case]:
    s, more, layers = 10 * seed, 4 * (seed % 3), ["features.1", "features.3", "features.4"]
    return [
        (Network("small", s + 5), layers[1:2], _images(seed, 1, 24, 36 + more), [seed % 5]),
        (Network("small", s + 6, 6), layers, _images(seed, 3, 20 + more, 28), [5, 2, seed % 4]),
        (Network("guarded", s + 7), layers[1:], _images(seed, 2, 28, 24 + more), [3, 1 + seed % 4]),
        (Network("in place", s + 8), layers[:2], _images(seed, 2, 32 + more, 20), [4, seed % 3]),
    ]


@remembering
def _by_hand(model, name: str, x: Tensor, c: list[int]) -> Tensor:
    """The signed map: a test compares it with the course's package, which takes longer."""
    A, gradient = capture(model, name, x, c)
    return torch.einsum("nk,nkij->nij", gradient.mean((2, 3)), A)


def pipeline(model: nn.Module, layer_names: list[str], x: Tensor, c: list[int]) -> Tensor:
    """N x L x H x W."""
    size = tuple(x.shape[-2:])
    return torch.stack(
        [positive_maps(_by_hand(model, name, x, c), size) for name in layer_names], dim=1
    )


def _late_relu(model, layer_names, x, c) -> Tensor:
    large = [upsample(_by_hand(model, name, x, c), x.shape[-2:]).relu() for name in layer_names]
    return torch.stack(
        [maps / maps.amax((1, 2), keepdim=True).clamp(min=1e-12) for maps in large], dim=1
    )


def _without_relu(model, layer_names, x, c) -> Tensor:
    large = [upsample(_by_hand(model, name, x, c), x.shape[-2:]) for name in layer_names]
    return torch.stack([maps / maps.amax((1, 2), keepdim=True) for maps in large], dim=1)


def _by_maximum(model, layer_names, x, c) -> Tensor:
    maps = []
    for name in layer_names:
        A, gradient = capture(model, name, x, c)
        maps.append(
            positive_maps(torch.einsum("nk,nkij->nij", gradient.amax((2, 3)), A), x.shape[-2:])
        )
    return torch.stack(maps, dim=1)


def _one_scale(model, layer_names, x, c) -> Tensor:
    large = [upsample(_by_hand(model, name, x, c).relu(), x.shape[-2:]) for name in layer_names]
    large = torch.stack(large, dim=1)
    return large / large.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-12)


PIPELINE_MISTAKES = (
    Mistake(
        "the maps are right, but layers and images have changed places: N x L x H x W.",
        lambda *case: pipeline(*case).transpose(0, 1),
        share=0.5,
    ),
    Mistake(
        "all your maps come from the first layer: use each name of the list in its turn, and "
        "see that "
        "no hook from before is still there.",
        lambda model, names, x, c: pipeline(model, names[:1] * len(names), x, c),
    ),
    Mistake(
        "these are maps of the predicted class, not of c.",
        lambda model, names, x, c: pipeline(model, names, x, model(x).argmax(1).tolist()),
    ),
    Mistake(
        "every image was asked about the first class of c: pair image n with c[n].",
        lambda model, names, x, c: pipeline(model, names, x, c[:1] * len(c)),
    ),
    Mistake("the negative places are still there: ReLU before you enlarge.", _without_relu),
    Mistake(
        "the ReLU comes before the enlargement: after it, negative places have already eaten "
        "their positive neighbours.",
        _late_relu,
    ),
    Mistake(
        "the weight of a channel is the *mean* of its gradient over the places, not the maximum.",
        _by_maximum,
    ),
    Mistake(
        "each map has its own maximum, of this image at this layer: divide by that one, not "
        "by a "
        "maximum over several layers.",
        _one_scale,
        share=0.5,
    ),
)
