"""A network from inside: its blocks' names, what comes out of one, what enters the last."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..layers import main_layers


def inner_layers(network: nn.Module) -> list[str]:
    """The network's blocks from the first to the last, without those that only hold others."""
    names = main_layers(network)
    return [n for n in names if not any(other.startswith(f"{n}.") for other in names)]


class _Enough(Exception):
    """The layer has been reached."""


def features(network: nn.Module, layer: str) -> Callable[[Tensor], Tensor]:
    """x -> the output of a layer; what follows it is not computed."""
    kept: list[Tensor] = []

    def stop(_module, _inputs, output):
        kept.append(output)
        raise _Enough

    def run(x: Tensor) -> Tensor:
        handle = network.get_submodule(layer).register_forward_hook(stop)
        try:
            network(x)
        except _Enough:
            pass
        finally:
            handle.remove()
        return kept.pop()

    return run


def last_layer(network: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """(a, y): what enters the network's last linear layer, N x C, and the logits, N x classes.

    Raises:
        ValueError: the network does not end in `nn.Linear`.
    """
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1:]
    kept: list[tuple[Tensor, Tensor]] = []
    handles = [m.register_forward_hook(lambda _m, i, o: kept.append((i[0], o))) for m in last]
    try:
        with torch.no_grad():
            y = network(x)
    finally:
        for handle in handles:
            handle.remove()
    if not kept or kept[-1][0].dim() != 2 or not torch.equal(kept[-1][1], y):
        raise ValueError(
            f"Contrastive reasoning needs a network whose last layer is nn.Linear, and "
            f"{type(network).__name__}'s is not."
        )
    return kept[-1][0], y
