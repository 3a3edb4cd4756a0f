"""Inverted Representations (Mahendran and Vedaldi, Understanding deep image representations by
inverting them, CVPR 2015).

    x* = argmin_x |phi(x) - phi(x_0)|^2 / |phi(x_0)|^2 + l_a |x|_a^a + l_v TV_b(x),   a = 6, b = 2

phi is a layer: which images look the same to it? Neither P nor Q occurs. The paper fits l_v for
each layer; here one value serves all, chosen by looking at three.
"""

import torch
from torch import Tensor, nn

from .asked import Answer, Asked
from .inner import features, inner_layers
from .sets import show


def invert(
    network: nn.Module, x0: Tensor, layer: str, steps: int = 60, rate: float = 0.1,
    bound: float = 1e-3, smooth: float = 3.0,
) -> tuple[Tensor, float]:  # fmt: skip
    """x*, 1 x 3 x H x W, and what is left of the first term, by Adam from noise."""
    phi = features(network, layer)
    with torch.no_grad():
        target = phi(x0)
    x = (0.1 * torch.randn(x0.shape).to(x0)).requires_grad_()
    optimiser = torch.optim.Adam([x], lr=rate)
    for _ in range(steps):
        left = (phi(x) - target).square().sum() / target.square().sum()
        down, right = x[..., 1:, :-1] - x[..., :-1, :-1], x[..., :-1, 1:] - x[..., :-1, :-1]
        loss = left + bound * x.pow(6).mean() + smooth * (down**2 + right**2).mean()
        (x.grad,) = torch.autograd.grad(loss, x)
        optimiser.step()
    return x.detach(), float(left.detach())


def inverted_representations(asked: Asked, layers=None, steps: int = 40) -> Answer:
    """`result`: layer -> (x*, 1 x 3 x H x W; what is left). `pictures`: the same, to look at.

    Args:
        layers: names; default, an early, a middle and a late one.
    """
    names = inner_layers(asked.network)
    layers = layers or list(dict.fromkeys(names[len(names) * k // 4] for k in (1, 2, 3)))
    found = {name: invert(asked.network, asked.x, name, steps) for name in layers}
    pictures = [
        (show(asked.network, x), f"{name}: {left:.2f} left") for name, (x, left) in found.items()
    ]
    said = ", ".join(title for _, title in pictures) + "."
    question = "Which other image looks the same to this layer?"
    return Answer(question, size=asked.seen.size, result=found, said=said, pictures=pictures)
