"""FISTA (Beck and Teboulle, SIAM J. Imaging Sciences 2009), as CEM uses it."""

from collections.abc import Callable

import torch
from torch import Tensor


def fista(
    start: Tensor, loss: Callable, into: Callable[[Tensor], Tensor], steps: int, rate: float,
    beta: float,
) -> Tensor | None:  # fmt: skip
    """Least beta |d|_1 + |d|^2 among the d that do what is asked; None if none was found.

    Args:
        loss: d -> (what is asked as a penalty to be differentiated, whether d does it).
        into: puts d back into what is allowed.
    """
    d, ahead, best, least = start, start.clone(), None, float("inf")
    for k in range(steps):
        ahead = ahead.detach().requires_grad_()
        penalty, done = loss(ahead)
        size = beta * ahead.abs().sum() + ahead.square().sum()
        if done and float(size.detach()) < least:
            best, least = ahead.detach().clone(), float(size.detach())
        (g,) = torch.autograd.grad(penalty + ahead.square().sum(), ahead)
        step = rate * (1 - k / steps) ** 0.5
        z = ahead.detach() - step * g
        new = into(z.sign() * (z.abs() - step * beta).relu())  # the soft threshold of beta |d|_1
        ahead, d = into(new + k / (k + 3) * (new - d)), new
    return best
