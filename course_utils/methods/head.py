"""The head of a network, all that follows the target layer: run on a graph of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..errors import LayerError


@contextmanager
def _left_as_found(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; every module's own flag as before afterwards, also after an error."""
    found = [model]  # as model.modules(), which takes three times as long
    for module in found:
        if module._modules:
            found.extend(child for child in module._modules.values() if child is not None)
    training = [module for module in found if module.training]
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True


def _copies(model: nn.Module) -> dict[str, Tensor]:
    """Ordinary copies of the weights that were made under inference_mode, which no graph takes."""
    named = chain(model.named_parameters(), model.named_buffers())
    return {name: tensor.clone() for name, tensor in named if tensor.is_inference()}


def run_from_layer(
    model: nn.Module, name: str, layer: nn.Module, x: Tensor
) -> tuple[Tensor, Tensor]:
    """The layer's output as a leaf of a new graph, and the network's output computed from it."""
    leaves: list[Tensor] = []

    def start_graph(_module, _inputs, output):
        if not isinstance(output, Tensor) or not output.is_floating_point():
            raise LayerError(
                f"'{name}' returns a {type(output).__name__}, not one tensor of floats. "
                "Choose a layer inside or after it whose output is a single tensor."
            )
        leaves.append(output.detach().clone().requires_grad_())
        torch.set_grad_enabled(True)  # until the no_grad block around the call ends
        return leaves[-1].clone()  # a clone: what follows may work in place

    handle = layer.register_forward_hook(start_graph)
    try:
        # no graph before the layer: nothing there is stored, nor differentiated
        with _left_as_found(model), torch.inference_mode(False), torch.no_grad():
            x = x.clone() if x.is_inference() else x
            output = _forward(model, x, leaves)
    finally:
        handle.remove()
    if len(leaves) != 1:
        ran = "never ran" if not leaves else f"ran {len(leaves)} times"
        raise LayerError(
            f"'{name}' {ran} in one forward pass, so it has no single output to explain. Choose a "
            "layer that runs exactly once, such as the block that contains it."
        )
    if not isinstance(output, Tensor):
        raise TypeError(
            f"{type(model).__name__} returned a {type(output).__name__}, not a tensor. Wrap it in "
            "a module that returns the one tensor you want to ask about."
        )
    if not output.requires_grad:
        raise not_on_the_way(name)
    return leaves[0], output


def _forward(model: nn.Module, x: Tensor, leaves: list[Tensor]) -> Tensor:
    """The network's output; again with copies if PyTorch refuses weights made under inference_mode.

    Looking for such weights first would cost every explanation 4 % of a small network's forward.
    """
    try:
        return model(x)
    except RuntimeError as error:
        if "Inference tensors cannot be saved for backward" not in str(error):
            raise
    leaves.clear()
    torch.set_grad_enabled(False)
    return functional_call(model, _copies(model), (x,))


def not_on_the_way(name: str) -> LayerError:
    return LayerError(
        f"The network's output does not depend on '{name}', or the network's own code cuts the "
        "gradient (no_grad, detach). Choose a layer on the way to the output, after any such cut."
    )
