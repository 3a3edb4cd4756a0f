"""What the layers of a network do in one forward pass, and which of them is fit to be explained.

The rule: the last module that runs exactly once, whose output has more than one place (spatial
position), and from which the gradient still reaches the network's output from more than one place.
Later layers are pooled, or are read at the class token only.

Of a transformer's tokens it is the last layer before the last attention (norm1, as a rule), also
where all tokens are averaged in the end: behind an attention each token has heard of all others,
and the largest evidence may sit in tokens that carry nothing of what is asked about.
"""

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ..networks.families import Known, known_inside
from .backward import cancels
from .graph import (
    asked_by_weights,
    attended,
    channels_become_places,
    graph_nodes,
    heads_of,
    merged_by,
    picks,
)
from .grids import find_fold, tokens_first
from .image_tokens import look_for_the_image
from .inputs import Inputs, first_convolution, images_of, one_image, size_of
from .output import Picker, the_output
from .ranking import best_first, put_partial_last, read_by
from .roles import channels_first, inside_branches, orders_of_axes
from .running import (
    call,
    call_with,
    copies,
    every_module,
    hookable,
    hooked,
    own_gradients,
    undisturbed,
)
from .scores import are_classes
from .tensors import random_like
from .watched import Watched

MOST_KEPT = 32  # sizes, outputs and states of a network that are remembered
_kept: WeakKeyDictionary[nn.Module, dict[Any, Watched]] = WeakKeyDictionary()
# by layer: how many nodes the graph behind it had
_followed: WeakKeyDictionary[nn.Module, dict[Any, int]] = WeakKeyDictionary()


def watch(model: nn.Module, x: Inputs, output: Picker | None = None) -> Watched:
    """What the modules do with the first image of x; remembered for each network, output and size.

    If the network does not take a single image, or no gradient flows there, it is watched with all
    of x. Where no layer fits, other images may tell more: nothing is remembered.
    """
    images = images_of(x)
    # a network whose parts were changed for others is watched anew
    modules = tuple(map(id, every_module(model)))
    key = tuple(images.shape[1:]), images.dtype, id(output), modules
    kept = _kept.setdefault(model, {})
    if key not in kept or not kept[key].fitting:
        while len(kept) >= MOST_KEPT:  # as of an output= that is written anew for each question
            kept.pop(next(iter(kept)))
        kept[key] = _watched(model, x, output)
        kept[key].known = _known_that_answers(model, kept[key])
    return kept[key]


def runs_otherwise(
    model: nn.Module, x: Inputs, picker: Picker | None, name: str, y: Tensor
) -> bool:
    """Whether other code follows a layer than when it was found, as where an early exit is taken.

    Then the network is watched anew when it is next asked.

    Args:
        y: the output, with a graph that begins at the layer.
    """
    key, nodes = (name, id(picker), images_of(x).shape), sum(1 for _ in graph_nodes(y))
    same = _followed.setdefault(model, {}).setdefault(key, nodes) == nodes
    if not same:
        forget(model)
    return not same


def forget(model: nn.Module) -> None:
    """Watch a network anew when it is next asked."""
    _kept.pop(model, None)
    _followed.pop(model, None)


def _known_that_answers(model: nn.Module, watched: Watched) -> Known | None:
    """The last layer of the one network of a known family, unless an added layer reads it."""
    answering = [known for known in known_inside(model) if known.layer in watched.fitting]
    if len(answering) != 1:
        return None
    (known,) = answering
    # not the network as a whole, whose output in a wrapper may have places, too
    best = next(n for n in watched.fitting if not known.layer.startswith(f"{n}."))
    return None if best in known.others and known.layer in watched.read else known


@torch.inference_mode(False)  # what is copied here for a graph is no inference tensor
def _watched(model: nn.Module, x: Inputs, output: Picker | None) -> Watched:
    n, weights = len(images_of(x)), copies(model)
    one = one_image(x)
    try:
        watched = _watch(model, one, output, weights)
    except Exception:  # some networks take batches of one size only
        if n == 1:
            raise
        one = x
        watched = _watch(model, one, output, weights)
    if watched.cut:
        watched = _watch(model, one, output, weights | _zeros_drawn(model))
    if watched.cut and one is not x and n > 1:  # the first image may be dark
        watched = _watch(model, x, output, weights)
    return watched


def _zeros_drawn(model: nn.Module) -> dict[str, Tensor]:
    """Small random matrices for those that are all zero, as in a head before training."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: (0.02 * torch.randn(p.shape, generator=generator, device="cpu")).to(p)
        for name, p in model.named_parameters()
        if p.dim() > 1 and not p.any()
    }


def _watch(
    model: nn.Module, x: Inputs, output: Picker | None, weights: dict[str, Tensor]
) -> Watched:
    """One forward and one backward pass through the whole network, with a hook on every module."""
    watched = Watched(n=len(images_of(x)), output=output)
    tensors, recording = dict[str, Tensor](), [True]
    around = torch._C._functorch.is_functorch_wrapped_tensor(images_of(x))

    def keep(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, value: Any) -> Tensor | None:
            watched.runs[name] += bool(recording)
            if not isinstance(value, Tensor) or not _takes_a_graph(value, around):
                return None
            watched.inference |= torch.is_inference_mode_enabled()
            start, handed_on = _start(value)
            assert handed_on.grad_fn is not None
            if recording:  # not where a checkpointed part runs again in the backward pass
                tensors[name], watched.ends[name] = start, handed_on.grad_fn._sequence_nr()
            return handed_on

        return hook

    with undisturbed(model), torch.inference_mode(False), torch.enable_grad():
        handles = [m.register_forward_hook(keep(n), prepend=True) for n, m in hookable(model)]
        handles += _look_for_a_turn(model, images_of(x), watched)
        with hooked(handles):
            returned = call_with(model, weights, x) if weights else call(model, x)
            recording.clear()
            y = the_output(model, returned, output)
            _note_attentions(watched, y)  # before the graph is used up
            with own_gradients(model):
                gradients = _gradients(y, list(tensors.values()))
    watched.shapes = {name: tensor.shape for name, tensor in tensors.items()}
    _note_times(watched, len(size_of(images_of(x), model)))
    _apply_rule(watched, model, x, weights, dict(zip(tensors, gradients)))
    _note_longer(watched, dict(zip(tensors, gradients)), size_of(images_of(x), model))
    put_partial_last(watched, y, dict(model.named_modules()), tensors)
    watched.read = {name for best in watched.fitting[:1] for name in read_by(best, tensors)}
    return watched


def _takes_a_graph(value: Tensor, around: bool) -> bool:
    """Whether a graph can start at what a module gave: not in torch.vmap, unless it is around all.

    What is being compiled must not be asked.
    """
    plain = around or torch.compiler.is_compiling()
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor
    return value.is_floating_point() and (plain or not wrapped(value))


def _start(value: Tensor) -> tuple[Tensor, Tensor]:
    """What a module gave, where its gradient is asked, and what it hands on.

    That is a clone: what follows may work in place. Where the network's code cuts the gradient
    (no_grad, inference_mode, detach), it starts anew.
    """
    if torch.is_inference_mode_enabled():
        with torch.inference_mode(False):
            return _start(value.clone())
    start = value if value.requires_grad else value.detach().requires_grad_()
    torch.set_grad_enabled(True)
    return start, start.clone()


def _look_for_a_turn(model: nn.Module, images: Tensor, watched: Watched) -> list[Any]:
    """A hook where images enter the first convolution: are height and width exchanged?

    Of square images `orientation` measures it.
    """
    first, size = first_convolution(model), size_of(images, model)
    if len(size) != 2 or size[0] == size[1] or not isinstance(first, nn.Conv2d):
        return []

    def compare(_module: nn.Module, inputs: Any) -> None:
        if inputs[0].dim() == 4 and tuple(inputs[0].shape[2:]) == size[::-1]:
            watched.turned = True

    return [first.register_forward_pre_hook(compare)]


def _gradients(y: Tensor, tensors: list[Tensor]) -> list[Tensor | None]:
    """The gradient of the predicted class at each tensor; None where there is none.

    Of outputs that are no classes, that of a random sum.
    """
    tensors = tensors or [y]
    if not y.requires_grad:
        return [None] * len(tensors)
    v = random_like(y)
    if y.dim() and are_classes(y):  # a maximum over places gives each class a place of its own
        v = torch.zeros_like(y).flatten()
        v[y.argmax()] = 1
        v = v.reshape(y.shape)
    if y.dtype == torch.float16:
        v = v * 1024  # the mean's 1 / (hw) would vanish
    return list(torch.autograd.grad(y, tensors, v, allow_unused=True))


def _note_attentions(watched: Watched, y: Tensor) -> None:
    """By their numbers of tokens, when the last attention began; when tokens were first picked, or
    channels became places.
    """
    found: list[tuple[int, int]] = []
    for node in graph_nodes(y):
        counts = attended(node)
        found += [(node._sequence_nr(), count) for count in counts]
        watched.heads |= heads_of(node, watched.n) if counts else set()
        merged = counts[0] if counts and asked_by_weights(node) else merged_by(node)
        if merged:
            begun = watched.merged.get(merged, node._sequence_nr())
            watched.merged[merged] = min(begun, node._sequence_nr())
        if picks(node):
            watched.picked = min(watched.picked, node._sequence_nr())
    watched.attentions = {tokens: begin for begin, tokens in sorted(found)}
    watched.first_attention = min(found)[0] if found else 0
    watched.moved = channels_become_places(y)


def _apply_rule(
    watched: Watched, model: nn.Module, x: Inputs, weights: dict[str, Tensor],
    gradients: dict[str, Tensor | None],
) -> None:  # fmt: skip
    modules, size = dict(model.named_modules()), size_of(images_of(x), model)
    watched.orders = orders_of_axes(modules, watched.shapes)
    fixed = look_for_the_image(watched, model, x, weights, gradients)
    size = size[::-1] if watched.turned else size
    watched.inside = inside_branches(modules, watched.shapes)
    _measure_rows(watched, images_of(x).shape[1:], size)
    fitting, cancelling, grids = [], set(), 0  # the modules with a grid that ran once
    for name in [n for n in reversed(watched.shapes) if not (n in fixed or watched.has_heads(n))]:
        shape = watched.shapes[name]
        # the batch stands first; of tokens T x N x C it may stand second
        if len(shape) < 3 or watched.n not in shape[: 1 + (len(shape) == 3)]:
            continue
        seen, kind = partial(watched.seen_of, name, size), channels_first(modules[name])
        fold = find_fold(model, shape, size, seen, kind, watched.n)
        grid = None if fold is None else fold(torch.empty(shape, device="meta")).shape[2:]
        if fold is None or grid is None or prod(grid) < 2:
            continue
        if watched.runs[name] != 1:
            watched.repeated = watched.repeated or name
            continue
        grids += 1
        gradient = gradients[name]
        if gradient is None:
            continue
        gradient = fold(gradient)  # N x C x places; the most places in any image
        reached = int(gradient.flatten(2).ne(0).any(dim=1).sum(dim=1).max())
        if reached > 1:
            fitting.append(name)
            watched.folds[name] = fold
            cancelling |= {name} if cancels(gradient.flatten(2)) else set()
            watched.gates |= {name} if gradient.shape[1] == 1 else set()
        elif reached == 1:
            watched.one_place = watched.one_place or name
    watched.cut = bool(grids) and not fitting
    watched.fitting = best_first(watched, modules, fitting, cancelling, fixed)
    _note_several(watched, modules, {n for n in gradients if gradients[n] is not None} - fixed)


def _note_several(watched: Watched, modules: dict[str, nn.Module], read: set[str]) -> None:
    """Keep how many outputs a layer gives of each image, as of windows, views, or when run again.

    One without weights does so wherever it is used twice, which tells nothing.
    """
    for name in [n for n in reversed(watched.shapes) if n in read]:
        shape, n = watched.shapes[name], watched.n
        many = watched.runs[name] * (1 if n in shape[: 1 + (len(shape) == 3)] else shape[0] // n)
        places = len(shape) > 2 and prod(shape[1:]) > max(shape[1:])  # beside channels
        if many > 1 and places and any(True for _ in modules[name].parameters()):
            watched.several[name] = many


def _measure_rows(watched: Watched, sides: Sequence[int], size: Sequence[int]) -> None:
    """How long a signal is in each layer's output, N x C x L or N x T x C.

    A class token is none of its places. Tokens that are the signal's variables have no length.
    """
    if len(size) > 1:
        return
    (length,) = size
    variables = prod(sides) // length
    for name, shape in watched.shapes.items():
        if len(shape) == 3 and watched.runs[name] == variables > 1:  # one after the other
            watched.image_tokens[
                variables * shape[1]
            ] = []  # all of them in one row, which is no time
    as_a_row = False  # something reads the signal itself as N x C x L
    for name, shape in watched.shapes.items():
        tokens, order = watched.tokens(name), watched.orders[name]
        as_a_row |= order is True and shape[0] == watched.n
        if order is None and tokens == sides[-1] != length == sides[0] and not as_a_row:
            order = watched.orders[name] = False  # N x L x C gave N x C x d, without times
        if len(shape) != 3 or order is None or tokens is None:
            continue
        if order:
            watched.lengths[name] = shape[2]
        elif tokens in sides and tokens != length and not as_a_row:
            watched.image_tokens[tokens] = []
        else:
            more = (tokens - known for known in watched.lengths.values())
            class_tokens = next((few for few in more if 0 < few <= 2), 0)
            places = watched.image_tokens.get(tokens, range(tokens - class_tokens))
            watched.lengths[name] = len(places)


def _note_times(watched: Watched, sides: int) -> None:
    """Times of a spiking network, or other steps on an axis of their own, are no tokens.

    They stand beside the images in outputs of one axis more than a grid's, or where T x N x C come
    that no attention compares.
    """
    for name, shape in watched.shapes.items():
        tokens = watched.tokens(name)
        if len(shape) == sides + 3 > 4 and watched.n in shape[:2]:
            tokens = shape[1] if shape[0] == watched.n else shape[0]
        elif sides < 2 or not tokens_first(shape, watched.n):
            continue
        if tokens is not None and tokens not in watched.attentions:
            watched.image_tokens[tokens] = []


def _note_longer(
    watched: Watched, gradients: dict[str, Tensor | None], size: Sequence[int]
) -> None:
    """The layers whose output is longer than the signal, where what is longer is not read."""
    for name in watched.fitting if len(size) == 1 else []:
        gradient = gradients[name]
        rest = None if gradient is None else watched.folds[name](gradient)[:, :, size[0] :]
        if rest is not None and rest.numel() and not rest.any():
            watched.longer.add(name)
