"""The head of a network, all that follows the target layer: run on a graph of its own."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import LayerError, a_kind_of
from .backward import backward
from .inputs import Inputs
from .output import Picker, the_output
from .running import call, call_with, copies, undisturbed

if TYPE_CHECKING:
    from .first_token import FirstToken


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
