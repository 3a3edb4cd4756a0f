"""How many images go forward through a network, and how many questions come back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn


class Stopped(Exception):
    """Somebody asked to stop a method while it was working."""


@dataclass
class Passes:
    """What was counted: images forward, images backward (each from the output)."""

    forward: int = 0
    backward: int = 0

    def __str__(self) -> str:
        return f"{self.forward} F, {self.backward} B"


@contextmanager
def counted(
    network: nn.Module, tell: Callable[[int], bool | None] | None = None
) -> Iterator[Passes]:
    """Count the passes made inside.

    A forward pass that ends at a layer counts too, and so does a backward pass through the head
    alone, which `ForwardPass` makes; reading a linear head's matrix is no pass.

    Args:
        tell: is told the number of forward passes after each one; if it returns False, the method
            that is running ends with `Stopped`.
    """
    passes = Passes()

    def back(gradient: Tensor) -> None:
        passes.backward += len(gradient)

    def forward(_module, inputs) -> None:
        passes.forward += len(inputs[0])
        if tell is not None and tell(passes.forward) is False:
            raise Stopped(f"Stopped after {passes.forward} forward passes.")

    def listen(_module, _inputs, output) -> None:
        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(back)

    handles = [network.register_forward_pre_hook(forward), network.register_forward_hook(listen)]
    try:
        yield passes
    finally:
        for handle in handles:
            handle.remove()
