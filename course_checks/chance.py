"""Random numbers of which cases are made: the same for the same seed."""

import torch
from torch import Tensor


def dice(seed: int, number: int) -> torch.Generator:
    """Random numbers of one case."""
    return torch.Generator().manual_seed(1000 * seed + number)


def normal(salt: int, base: int, seed: int, *shape: int) -> Tensor:
    """Numbers around 0, the same for the same seed and shape; each assignment has its own salt."""
    places = sum(n * base**k for k, n in enumerate(shape))
    return torch.randn(*shape, generator=torch.Generator().manual_seed(salt * seed + places))
