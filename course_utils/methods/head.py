"""The head of a network, all that follows the target layer: run on a graph of its own."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import chain, count
from typing import TYPE_CHECKING, Any
from weakref import finalize

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import is_lazy

from ..errors import LayerError, a_kind_of
from ..networks.families import is_of_a_library
from .backward import backward
from .inputs import Inputs, each_tensor

if TYPE_CHECKING:
    from .first_token import FirstToken

Picker = Callable[[Any], Tensor]  # from what the network returned to the tensor that is asked about

# Every module has one, that of the first network seen with it: networks that share a module share
# its lock, whatever else they consist of. They are taken in the order of their numbers.
# By id: a WeakKeyDictionary looks up ten times as slowly, which small networks would feel.
_locks: dict[int, tuple[int, Any]] = {}
_together: dict[tuple[int, ...], list[Any]] = {}  # of all modules of a network, found before
_numbers = count()
_guard = threading.Lock()


def _unlocked() -> None:
    """In a forked process (a DataLoader's, say) no thread lives on that would open its locks."""
    global _guard
    _guard = threading.Lock()
    _locks.clear()
    _together.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlocked)


def _locks_of(modules: list[nn.Module]) -> list[Any]:
    """What keeps other threads away: flags and hooks of these modules are changed by one only."""
    ids = tuple(map(id, modules))
    with _guard:
        locks = _together.get(ids)
        if locks is None:
            new = next(_numbers), threading.RLock()
            found = {_lock_of(module, new) for module in modules}
            locks = [lock for _, lock in sorted(found, key=lambda pair: pair[0])]
            _together[ids] = locks
    return locks


def _lock_of(module: nn.Module, new: tuple[int, Any]) -> tuple[int, Any]:
    """The module's lock, which is forgotten with it; the new one if it has none."""
    if id(module) not in _locks:
        _locks[id(module)] = new
        finalize(module, _forget, id(module))
    return _locks[id(module)]


def _forget(number: int) -> None:
    """A module is gone, and another may get its number."""
    _locks.pop(number, None)
    _together.clear()


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, for one thread at a time; every flag as before afterwards.

    Compiled networks run as they were written: what is compiled calls no hooks.
    """
    found = every_module(model)
    with ExitStack() as held:
        for lock in _locks_of(found):
            held.enter_context(lock)
        compiled = any([m._compiled_call_impl or "_orig_mod" in m._modules for m in found])
        training = [module for module in found if module.training]
        stance = torch.compiler.set_stance("force_eager") if compiled else None
        try:
            for module in training:
                module.training = False
            yield
        finally:
            for module in training:
                module.training = True
            if stance is not None:
                stance.__exit__(None, None, None)


@contextmanager
def own_gradients(model: nn.Module) -> Iterator[None]:
    """What a network's own code adds to its weights' gradients inside is taken off afterwards.

    So do functions that run a part again in their backward pass, as reversible networks have.
    """
    held = [(weight, weight.grad) for weight in model.parameters()]
    for weight, _ in held:
        weight.grad = None
    try:
        yield
    finally:
        for weight, gradient in held:
            weight.grad = gradient


def every_module(model: nn.Module) -> list[nn.Module]:
    """As model.modules(), which takes three times as long; one in two places stands there twice."""
    found: list[nn.Module | None] = [model]
    for module in found:
        if module is not None and module._modules:
            found.extend(module._modules.values())
    return [module for module in found if module is not None]


def hookable(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The parts of a network by name, but for those in TorchScript, which take no hooks."""
    for name, module in model.named_modules():
        if name and not isinstance(module, torch.jit.RecursiveScriptModule):
            yield name, module


@contextmanager
def hooked(handles: list[Any]) -> Iterator[None]:
    """Hooks, by their handles, which are taken off afterwards."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def call(model: nn.Module, x: Inputs) -> Any:
    """What the network returns: a tuple of inputs is handed on in order, a dict by name."""
    x = lent(model, x)
    try:
        if isinstance(x, tuple):
            return model(*x)
        return model(**x) if isinstance(x, Mapping) else model(x)
    except StopIteration as error:  # which would end the generators around this call
        raise RuntimeError(
            f"{type(model).__name__} itself fails: next() was called where nothing is left, as of "
            "the parameters() of a part that has none, or of an iterator that is used up."
        ) from error


def copies(model: nn.Module) -> dict[str, Tensor]:
    """Ordinary copies of the weights that were made under inference_mode, which no graph takes."""
    named = chain(model.named_parameters(), model.named_buffers())
    there = ((name, tensor) for name, tensor in named if not is_lazy(tensor))  # made in the pass
    return {name: tensor.clone() for name, tensor in there if tensor.is_inference()}


def call_with(model: nn.Module, weights: dict[str, Tensor], x: Inputs) -> Any:
    """What the network returns with other weights."""
    while isinstance(model, nn.DataParallel):  # which functional_call refuses
        model = model.module
        weights = {name.removeprefix("module."): weight for name, weight in weights.items()}
    named = [*model.named_parameters(), *model.named_buffers()]
    stead = {id(there): weights[name] for name, there in named if name in weights}
    # each place once: where torch ties those of a part with two names, it does not put all back
    places = {
        f"{prefix}{'.' if prefix else ''}{name}": stead[id(there)]
        for prefix, module in model.named_modules()
        for name, there in chain(module._parameters.items(), module._buffers.items())
        if id(there) in stead
    }
    x = lent(model, x)
    args, keywords = ((), dict(x)) if isinstance(x, Mapping) else (x, {})
    args = args if isinstance(args, tuple) else (args,)
    return functional_call(model, places, args, keywords, tie_weights=False)


def call_on_copies(model: nn.Module, x: Inputs, weights: dict[str, Tensor] | None = None) -> Any:
    """As `call_with`, by default with `copies`; buffers are lent as copies, as a network may write
    into them."""
    weights = copies(model) if weights is None else weights
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    return call_with(model, buffers | weights, x)


def rerun(model: nn.Module, x: Inputs) -> None:
    """Once more, after other images: what the network's own code keeps of a pass is of these."""
    with undisturbed(model), torch.inference_mode(False), torch.no_grad():
        call_on_copies(model, x)


def lent(model: nn.Module, x: Inputs) -> Inputs:
    """The same inputs, for one pass: as copies, since a network may write into its images, as where
    it normalises them in place. Those of a library are known not to.
    """
    return ordinary(x) if is_of_a_library(model) else each_tensor(x, Tensor.clone)


def ordinary(x: Inputs) -> Inputs:
    """The same inputs; those made under inference_mode as copies, which a graph takes."""
    return each_tensor(x, lambda t: t.clone() if t.is_inference() else t)


class _Start:
    """Starts a graph at a layer's output, by a hook.

    Args:
        first: whether it does so before the layer's own hooks, so that what they keep is a part of
            the graph; what they make of the output is then noted only.

    Attributes:
        leaves: the layer's outputs, where graphs start; one, as a rule.
        changed: whether the layer's own hooks changed an output.
        inference: whether the layer runs in a block of inference_mode of the network's own.
    """

    def __init__(self, name: str, layer: nn.Module, way: "FirstToken | None", first: bool):
        self.leaves: list[Tensor] = []
        self.changed = self.inference = False
        self._name, self._way = name, way
        self._handed_on: list[tuple[Tensor, int]] = []
        self._compares = first and bool(layer._forward_hooks)
        self._handles = [layer.register_forward_hook(self._begin, prepend=first)]
        if self._compares:
            self._handles.append(layer.register_forward_hook(self._compare))

    def _begin(self, _module: nn.Module, _inputs: Any, value: Any) -> Any:
        if self._compares and not isinstance(value, Tensor):
            return value  # a hook may take a tensor out of it
        _check_output(self._name, value)
        if torch.is_inference_mode_enabled():  # in a block of the network's own
            self.inference = True
            with torch.inference_mode(False):
                return self._hand_on(value.clone())
        return self._hand_on(value)

    def _hand_on(self, value: Tensor) -> Tensor:
        leaf = value.detach().clone().requires_grad_()
        self.leaves.append(leaf)
        torch.set_grad_enabled(True)  # until the no_grad block around the call ends
        # a clone: what follows may work in place
        start = leaf.clone() if self._way is None else self._way.begin(leaf)
        self._handed_on.append((start, start._version))
        return start

    def _compare(self, _module: nn.Module, _inputs: Any, value: Any) -> None:
        same = [start._version == version for start, version in self._handed_on if start is value]
        self.changed |= same != [True]

    def end(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()
        if self._way is not None:
            self._way.end()


def run_from_layer(
    model: nn.Module,
    name: str,
    layer: nn.Module,
    x: Inputs,
    output: Picker | None = None,
    way: "FirstToken | None" = None,
    first: bool = True,
    before: bool = False,
) -> tuple[Tensor, Tensor]:
    """The layer's output as a leaf of a new graph, and the network's output computed from it.

    Args:
        way: a shorter way for what follows the layer; None for the plain one.
        first: as for `_Start`. Hooks that change the output are a part of the layer: then the graph
            starts after them.
        before: whether gradients are on before the layer, too. Where it lies in a no_grad block of
            the network's own, as of a frozen backbone, they are off again behind that block if not.
    """
    # no graph before the layer, as a rule: nothing there is stored, nor differentiated
    with undisturbed(model), torch.inference_mode(False), torch.set_grad_enabled(before):
        start = _Start(name, layer, way, first)
        try:
            returned = _forward(model, x, start.leaves, way)
        finally:
            start.end()
    if start.changed:
        return run_from_layer(model, name, layer, x, output, way, False, before)
    _ran_once(name, len(start.leaves))
    tensor = the_output(model, returned, output)
    if not before and not tensor.requires_grad:
        return run_from_layer(model, name, layer, x, output, way, first, before=True)
    (leaf,) = start.leaves
    if before and (
        not tensor.requires_grad or backward(tensor, leaf, torch.zeros_like(tensor)[None]) is None
    ):
        raise not_under_inference_mode(model) if start.inference else not_on_the_way(name)
    return leaf, tensor


def _check_output(name: str, value: Any) -> None:
    """Raise a LayerError unless a graph can start at what the layer returned."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        what = f"a tensor of {value.dtype}" if isinstance(value, Tensor) else a_kind_of(value)
        raise LayerError(
            f"'{name}' returns {what}, not one tensor of floats. "
            "Choose a layer inside or after it whose output is a single tensor."
        )


def _ran_once(name: str, times: int) -> None:
    if times != 1:
        ran = f"ran {times} times" if times else "never ran"
        raise LayerError(
            f"'{name}' {ran} in one forward pass, so it has no single output to explain. Choose a "
            "layer that runs exactly once, such as the block that contains it."
        )


def _forward(
    model: nn.Module, x: Inputs, leaves: list[Tensor], way: "FirstToken | None" = None
) -> Any:
    """The network's output; again with copies if PyTorch refuses weights made under inference_mode.

    Looking for such weights first would cost every explanation 4 % of a small network's forward.
    """
    try:
        return call(model, x)
    except RuntimeError as error:
        if "Inference tensors cannot be saved for backward" not in str(error):
            raise
    leaves.clear()
    if way is not None:
        way.end()
    torch.set_grad_enabled(False)
    return call_with(model, copies(model), x)


def the_output(model: nn.Module, returned: Any, output: Picker | None = None) -> Tensor:
    """The tensor that is asked about: what `output` picks, else the logits where they are named.

    Raises:
        TypeError: it is not settled which tensor is meant.
    """
    picked = _named_logits(returned) if output is None else _picked(model, returned, output)
    if isinstance(picked, Tensor) and picked.dim() and picked.is_floating_point():
        return picked
    raise TypeError(_no_output(type(model).__name__, picked, output is not None))


def _named_logits(returned: Any) -> Any:
    """The logits where they are named, or the only tensor; else what the network returned."""
    if isinstance(returned, Tensor):
        return returned
    items = returned if isinstance(returned, Mapping) else {}
    for logits in (items.get("logits"), getattr(returned, "logits", None)):
        if isinstance(logits, Tensor):
            return logits
    if isinstance(returned, (tuple, list, Mapping)) and len(returned) == 1:
        (only,) = items.values() or returned
        return only if isinstance(only, Tensor) else returned
    return returned


def _picked(model: nn.Module, returned: Any, output: Picker) -> Any:
    """What `output` makes of what the network returned."""
    what = f"{type(model).__name__} returned {a_kind_of(returned)}{_contents(returned)}"
    if not callable(output):
        raise TypeError(
            f"output= is a function from what the network returns to the logits, such as "
            f"output=lambda y: y['logits'], not {a_kind_of(output)}. {what}."
        )
    cut = (
        "output= cuts the gradient, as argmax, detach, item and numpy do: give the logits "
        f"themselves. {what}."
    )
    with torch.inference_mode(False), torch.enable_grad():
        try:
            picked = output(returned)
        except Exception as error:
            said = str(error).rstrip(".")
            failed = f"output= failed: {type(error).__name__}: {said}. {what}."
            raise TypeError(cut if said.startswith("Can't call numpy()") else failed) from error
        if isinstance(picked, Tensor) and not picked.requires_grad and _has_graph(returned):
            raise TypeError(cut)
    return picked


def _has_graph(value: Any) -> bool:
    """Whether a tensor in what a network returned has one; only looked for where one is made."""
    items = value.values() if isinstance(value, Mapping) else value
    if isinstance(value, Tensor):
        return torch.is_grad_enabled() and value.requires_grad
    return isinstance(items, Iterable) and any(
        isinstance(item, Tensor) and _has_graph(item) for item in items
    )


def _no_output(name: str, value: Any, picked: bool) -> str:
    """What is wrong with a value that is no tensor of N numbers, and what to do."""
    what = f"{a_kind_of(value)}{_contents(value)}"
    who = "output= gave" if picked else f"{name} returned"
    if isinstance(value, Tensor) and value.is_complex():
        return f"{who} complex numbers. Ask about real ones: output=lambda y: y.abs(), say."
    if isinstance(value, Tensor) and not value.is_floating_point():
        return (
            f"{who} {str(value.dtype).removeprefix('torch.')} numbers, as argmax does, through "
            "which no gradient passes. Ask about the logits: let the network return them."
        )
    if isinstance(value, Tensor):
        return (
            f"{who} a single number, as a loss is, "
            "not one row for each image. Ask about the logits: let the network return them. If "
            "squeeze() left one logit of one image: output=lambda y: y.reshape(1)."
        )
    if picked:
        return f"output= gave {a_kind_of(value)}, not a tensor."
    item = _an_item(value)
    if item is None:
        return (
            f"{name} returned {what}, in which no tensor of floats was found. "
            "Its forward method must return the logits as a tensor, with their graph (no numpy())."
        )
    return (
        f"{name} returned {what}, not a tensor. Say which number to ask "
        f"about: ForwardPass(model, x, output=lambda y: {item}).ask(lambda y: "
        "y.reshape(len(y), -1).mean(dim=1)), one number for each image. If it holds N x classes: "
        f"GradCAM(model, output=lambda y: {item})(x)."
    )


def _contents(value: Any) -> str:
    if isinstance(value, Mapping):
        return f" of {', '.join(map(repr, value)) or 'nothing'}"
    return f" of {len(value)}" if isinstance(value, (list, tuple)) else ""


def _an_item(value: Any) -> str | None:
    """How to reach a tensor in what a network returned, as code; None if there is none.

    One of rows of numbers, as N x classes, is preferred to masks and features.
    """
    found = list(_items(value, "y"))
    return max(found, key=lambda item: item[1], default=(None, False))[0]


def _items(value: Any, code: str, depth: int = 3) -> Iterator[tuple[str, bool]]:
    """As code, every tensor of floats in what a network returned; whether it is rows of numbers."""
    items: list[tuple[str, Any]] = []
    if isinstance(value, Tensor):
        if value.is_floating_point() and value.dim():
            yield code, value.dim() == 2 and value.shape[1] > 1
    elif isinstance(value, Mapping):
        items = [(f"{code}[{key!r}]", item) for key, item in value.items()]
    elif isinstance(value, (list, tuple)):
        items = [(f"{code}[{i}]", item) for i, item in enumerate(value)]
    elif hasattr(value, "__dict__"):
        items = [(f"{code}.{key}", item) for key, item in vars(value).items()]
    if items and all(isinstance(item, Mapping) and "scores" in item for _, item in items):
        # detection
        yield f"torch.stack([one['scores'].sum() for one in {code}])[:, None]", True
    elif depth:
        for way, item in items:
            yield from _items(item, way, depth - 1)


def not_on_the_way(name: str) -> LayerError:
    return LayerError(
        f"The network's output does not depend on '{name}', or the network's own code cuts the "
        "gradient (no_grad, detach). Choose a layer on the way to the output, after any such cut. "
        "Or take the cut out: requires_grad_(False) on a part keeps its weights as they are, too."
    )


def not_under_inference_mode(model: nn.Module) -> LayerError:
    return LayerError(
        f"The forward method of this {type(model).__name__}, or of a part of it, runs under "
        "torch.inference_mode, which keeps no gradient at any layer inside but the last. Remove "
        "that decorator or block; ForwardPass takes care of the gradient itself, and "
        "requires_grad_(False) on a part keeps its weights as they are, too."
    )
