"""What the layers of a network do in one forward pass, and which of them is fit to be explained.

The rule: the last module that runs exactly once, whose output has more than one place (spatial
position), and from which the gradient still reaches the network's output from more than one place.
Later layers are pooled, or are read at the class token only.

Of a transformer's tokens it is the last layer before the last attention (norm1, as a rule), also
where all tokens are averaged in the end: behind an attention each token has heard of all others,
and the largest evidence may sit in tokens that carry nothing of what is asked about.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from math import inf, prod
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
    nodes_and_leaves,
    only_added,
    only_weighs,
    picks,
    readers_of,
    stand_of,
)
from .grids import (
    MOST_PREFIX_TOKENS,
    Fold,
    Seen,
    find_fold,
    skew,
    tokens_first,
)
from .inputs import Inputs, each_tensor, first_convolution, images_of, one_image, size_of
from .output import Picker, the_output
from .roles import channels_first, inside_branches, is_a_stage, orders_of_axes
from .running import (
    call,
    call_on_copies,
    call_with,
    copies,
    every_module,
    hookable,
    hooked,
    own_gradients,
    undisturbed,
)
from .scores import are_classes
from .tensors import other_images, random_like


@dataclass
class Watched:
    """What the modules of a network, known by their names, did in one forward pass.

    Times are those of autograd, which counts its nodes. Tokens are known by their number.
    """

    # the pass
    n: int = 1  # how many images
    output: Picker | None = None  # held, so that no other function gets its id
    runs: Counter[str] = field(default_factory=Counter)  # how often each module ran
    # of outputs that are one tensor of floats, in the order they ended; when each ended
    shapes: dict[str, torch.Size] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)
    inference: bool = False  # a part of the network runs under inference_mode of its own
    known: Known | None = None  # of several networks of known families, the one that answers alone

    # how outputs are read
    orders: dict[str, bool | None] = field(default_factory=dict)  # whether channels stand first
    lengths: dict[str, int] = field(default_factory=dict)  # of signals' outputs
    inside: set[str] = field(default_factory=set)  # the modules inside attentions and MLPs
    turned: bool = False  # H and W are exchanged, as audio networks do
    moved: float = inf  # when a convolution first read another's channels as height or width

    # tokens
    attentions: dict[int | None, int] = field(default_factory=dict)  # when the last one began
    first_attention: int = 0  # when it began
    merged: dict[int, int] = field(default_factory=dict)  # when queries that are weights made them
    picked: float = inf  # when some were first picked, or reordered: their places are lost
    # those that hear of the image, where class token, queries or text stand beside them
    image_tokens: dict[int, Sequence[int]] = field(default_factory=dict)
    whole: set[int] = field(default_factory=set)  # numbers of tokens that all heard of the image

    # the rule
    fitting: list[str] = field(default_factory=list)  # the layers that pass it, the best first
    folds: dict[str, Fold] = field(default_factory=dict)  # how each of them is read as a grid
    read: set[str] = field(default_factory=set)  # the modules that the best of the fitting reads
    branch: str = ""  # the best, if it is added to what it reads
    gates: set[str] = field(default_factory=set)  # one channel: how much is read, not what is seen
    weighing: set[str] = field(default_factory=set)  # read as others' weights or offsets only
    silent: set[str] = field(default_factory=set)  # give the same of other images: all weights zero
    cut: bool = False  # there were grids, but no gradient
    repeated: str = ""  # the last module with a grid that ran more than once
    one_place: str = ""  # the last module with a grid of which the output reads one place

    def seen_of(self, name: str, size: Sequence[int]) -> Seen:
        """What tells how a layer's output is read, beside its shape.

        Earlier layers' grids are l, h x w or d x h x w. Of channels first and channels last, each
        is read as its layer's kind says, else as what is more of the image's shape.
        """
        names = list(self.shapes)
        before = names[: names.index(name)] if name in self.shapes else names
        lengths = [(self.lengths[n],) for n in reversed([*before, name]) if n in self.lengths]
        readings = [self._readings(n, len(size)) for n in reversed(before)]
        grids = [min(each, key=lambda grid: skew(grid, size)) for each in readings if each]
        placed = dict(self.image_tokens)
        tokens = self.tokens(name) if self.ends.get(name, 0) > self.picked else None
        if tokens and not any(0 <= tokens - prod(g) <= MOST_PREFIX_TOKENS for g in grids):
            placed[tokens] = []
        return Seen([*lengths, *grids], placed, self.orders.get(name))

    def _readings(self, name: str, sides: int) -> list[torch.Size]:
        """The grids of so many sides that a layer's output may be.

        None of windows, which are counted as images, nor of heads x tokens x tokens in an
        attention.
        """
        shape, order = self.shapes[name], self.orders.get(name)
        if len(shape) != sides + 2 or sides < 2 or shape[0] != self.n or name in self.inside:
            return []
        return [shape[2:]] * (order is not False) + [shape[1:-1]] * (order is not True)

    def behind_attention(self, name: str) -> bool:
        """Whether a module gave tokens, and an attention over all of them came before."""
        end = self.ends[name]
        return self.attentions.get(self.tokens(name), end) < end

    def shows_channels(self, name: str) -> bool:
        """Whether what looks like places in a module's output may be channels of an earlier one."""
        return self.ends.get(name, 0) > self.moved

    def places(self, name: str) -> torch.Size:
        """The sides of a module's output, without its images and channels."""
        shape = self.shapes[name]
        return shape[1:-1] if self.orders.get(name) is False else shape[2:]

    def tokens(self, name: str) -> int | None:
        """How many tokens of each image a module gave; None for other outputs."""
        shape = self.shapes[name]
        if len(shape) != 3 or self.n not in shape[:2]:
            return None  # also of windows, or of texts that stand for the classes
        return shape[0 if tokens_first(shape, self.n) else 1]


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

    def keep(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, value: Any) -> Tensor | None:
            watched.runs[name] += bool(recording)
            if not isinstance(value, Tensor) or not value.is_floating_point():
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
    _put_hidden_last(watched, y, tensors)
    _put_weighing_last(watched, y, tensors)
    watched.read = {name for best in watched.fitting[:1] for name in _read(best, tensors)}
    return watched


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


def _put_hidden_last(watched: Watched, y: Tensor, tensors: dict[str, Tensor]) -> None:
    """What the output reads only through a gate gives way to what the gate weighs.

    That is a layer which goes into the gate, too, has its places, and is read beside it.
    """
    if not watched.gates:
        return
    beside = nodes_and_leaves(y, without=[stand_of(tensors[name]) for name in watched.gates])
    weighed = {
        name
        for gate in watched.gates
        for name in _read(gate, tensors).intersection(watched.fitting) - watched.gates
        if watched.places(name) == watched.places(gate) and stand_of(tensors[name]) in beside
    }
    if weighed - watched.inside:
        hidden = {n for n, t in tensors.items() if stand_of(t) not in beside} - watched.gates
        watched.fitting.sort(key=hidden.__contains__)


def _put_weighing_last(watched: Watched, y: Tensor, tensors: dict[str, Tensor]) -> None:
    """What only weighs, or says where to sample, gives way to the layer that is weighed beside it.

    So do NetVLAD's soft assignments, the offsets of a deformable convolution, and what only goes
    into them.
    """
    readers = readers_of(y) if watched.fitting else {}
    for name in watched.fitting:
        if not only_weighs(tensors[name], readers):
            continue
        beside = nodes_and_leaves(y, without=[stand_of(tensors[name])])
        read = _read(name, tensors).intersection(watched.fitting) - {name}
        few = prod(watched.places(name))  # a gate of rows or columns has fewer than what it weighs
        weighed = [other for other in read if prod(watched.places(other)) >= few]
        if any(stand_of(tensors[other]) in beside for other in weighed):
            watched.weighing.add(name)
    if watched.weighing:
        beside = nodes_and_leaves(y, without=[stand_of(tensors[n]) for n in watched.weighing])
        watched.weighing |= {n for n in watched.fitting if stand_of(tensors[n]) not in beside}
        watched.fitting.sort(key=watched.weighing.__contains__)
    if any(only_added(tensors[best], readers) for best in watched.fitting[:1]):
        watched.branch = watched.fitting[0]


def _read(best: str, tensors: dict[str, Tensor]) -> set[str]:
    """The names of the tensors that went into one of them."""
    before = nodes_and_leaves(tensors[best])
    return {name for name, t in tensors.items() if stand_of(t) in before}


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


def _look_for_the_image(
    watched: Watched, model: nn.Module, x: Inputs, weights: dict[str, Tensor], names: Iterable[str]
) -> set[str]:
    """The modules that give the same whatever the images show: embeddings of places and of texts.

    In two more forward passes their outputs are the same with these images and with random ones. Of
    tokens, those that differ are the image's (`image_tokens`). NaN would spread more surely, but
    code in C++ that reads where the network says has crashed on it. Where the answer is the same,
    too, as of many layers with weights drawn too small, nothing is known.
    """
    sums: dict[str, list[list[Tensor | None]]] = {name: [] for name in names}
    free, answers, first_pass = dict[str, bool](), list[Tensor | None](), [True]

    def look(name: str) -> Any:
        def hook(_module: nn.Module, inputs: Any, value: Any) -> None:
            now = [_sums(tokens) for tokens in (*inputs[:1], value)]
            if first_pass:
                sums[name].append(now)
                return
            before = sums[name].pop(0) if sums[name] else [None, None]
            differ = [_differ(a, b) for a, b in zip(before, now)]
            free[name] = differ[-1] is not None and not differ[-1].any()
            if free[name] and len(differ) == 2 and differ[0] is not None and differ[0].any():
                watched.silent.add(name)
            for tokens in differ:
                _note_image_tokens(watched, tokens)

        return hook

    with undisturbed(model), torch.inference_mode(False), torch.no_grad():
        handles = [model.get_submodule(n).register_forward_hook(look(n)) for n in names]
        # a network may refuse random images; what ran before it did is known
        with suppress(Exception), hooked(handles):
            for images in (x, _with_other_images(x)):
                returned = call_on_copies(model, images, weights)
                answers.append(_sums(the_output(model, returned, watched.output)))
                first_pass.clear()
    differ = _differ(*answers) if len(answers) == 2 else None
    blind = differ is not None and not differ.any()
    return set() if blind else {name for name in free if free[name]}


def _with_other_images(x: Inputs) -> Inputs:
    """The same inputs with random images; a second view of another size has places of its own."""
    images = images_of(x)

    def other(t: Tensor) -> Tensor:
        same = t.dim() == images.dim() and t.shape[2:] == images.shape[2:]
        return other_images(t) if same and t.is_floating_point() else t

    return each_tensor(x, other)


def _sums(value: Any) -> Tensor | None:
    """What is kept of a tensor to see whether another is the same: sums along its last axis.

    Of every other number: behind a LayerNorm or a softmax all of them have the same sum.
    """
    if not isinstance(value, Tensor) or value.is_nested or not value.dim():
        return None
    return value[..., ::2].sum(dim=-1)


def _differ(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return None if a is None or b is None or a.shape != b.shape else a.ne(b)


def _note_image_tokens(watched: Watched, differ: Tensor | None) -> None:
    """Keep which tokens are the image's, where a few are not: they differ.

    The first time counts: behind an attention all of them do.

    Args:
        differ: N x T (or T x N) booleans, True where a token differs with another image.
    """
    if differ is None or differ.dim() != 2 or watched.n not in differ.shape:
        return
    first = tokens_first((*differ.shape, 0), watched.n)
    found = differ.any(dim=1 if first else 0).nonzero().flatten().tolist()
    tokens = differ.shape[0 if first else 1]
    if len(found) == tokens:
        watched.whole.add(tokens)
        return
    if tokens in watched.whole and found and found[-1] - found[0] >= len(found):
        return  # only round-off hides that those between differ, too
    if 0 < len(found) and found[-1] - found[0] < len(found) + MOST_PREFIX_TOKENS:
        watched.image_tokens.setdefault(tokens, found)


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
        if counts and asked_by_weights(node):
            begun = watched.merged.get(counts[0], node._sequence_nr())
            watched.merged[counts[0]] = min(begun, node._sequence_nr())
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
    fixed = _look_for_the_image(watched, model, x, weights, gradients)
    size = size[::-1] if watched.turned else size
    watched.inside = inside_branches(modules, watched.shapes)
    if len(size) == 1:
        _measure_rows(watched, images_of(x).shape[1:], size[0])
    fitting, cancelling, grids = [], set(), 0  # the modules with a grid that ran once
    for name in reversed(watched.shapes):
        shape = watched.shapes[name]
        batch = shape[: 2 if len(shape) == 3 else 1]  # of tokens T x N x C it may stand second
        if name in fixed or len(shape) < 3 or watched.n not in batch:
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
        gradient = fold(gradient)
        reached = _most_places(gradient)
        if reached > 1:
            fitting.append(name)
            watched.folds[name] = fold
            cancelling |= {name} if cancels(gradient.flatten(2)) else set()
            watched.gates |= {name} if gradient.shape[1] == 1 else set()
        elif reached == 1:
            watched.one_place = watched.one_place or name
    watched.cut = bool(grids) and not fitting
    watched.fitting = _best_first(watched, modules, fitting, cancelling, fixed)


def _measure_rows(watched: Watched, sides: Sequence[int], length: int) -> None:
    """How long a signal is in each layer's output, N x C x L or N x T x C.

    A class token is none of its places. Tokens that are the signal's variables have no length.
    """
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


def _best_first(
    watched: Watched, modules: dict[str, nn.Module], names: list[str], cancelling: set[str],
    fixed: set[str],
) -> list[str]:  # fmt: skip
    """The layers that pass the rule, those with fewer and lesser faults first, then the last."""
    foreign = _foreign(watched, modules, fixed)

    def faults(name: str) -> tuple[bool, ...]:
        other = watched.ends[name] >= foreign.get(watched.tokens(name), inf)
        inside = name in watched.inside
        # as patches are, before anything reads them
        early = not inside and watched.ends[name] < watched.first_attention
        behind, stage = watched.behind_attention(name), is_a_stage(modules[name])
        gate = name in watched.gates
        return name in cancelling, other, inside, behind, early, gate, not stage

    return sorted(names, key=faults)


def _foreign(
    watched: Watched, modules: dict[str, nn.Module], fixed: set[str]
) -> dict[int | None, int]:
    """How many tokens a detector's queries, latents or a text are, and since when.

    They start without the image. They may hear of it later, by an attention, and their number may
    be a square by chance, or that of the patches: of these are the layers before.
    """
    # a fresh adapter of low rank gives zeros of what it reads
    own = fixed - watched.silent
    starts = [n for n in own if isinstance(modules[n], (nn.LayerNorm, nn.Linear))]
    starts = sorted(starts, key=watched.ends.__getitem__, reverse=True)
    found = {watched.tokens(name): watched.ends[name] for name in starts}  # the first of each
    found |= {tokens: end for tokens, end in watched.merged.items() if tokens not in found}
    return {tokens: end for tokens, end in found.items() if tokens is not None}


def _most_places(gradient: Tensor) -> int:
    """From how many places of N x C x h x w the output is reached: the most in any image."""
    return int(gradient.flatten(2).ne(0).any(dim=1).sum(dim=1).max())
