"""Running a network, by one thread at a time, and leaving it as it was found."""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import chain, count
from typing import Any
from weakref import finalize

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import is_lazy

from ..networks.families import is_of_a_library
from .inputs import Inputs, each_tensor

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
