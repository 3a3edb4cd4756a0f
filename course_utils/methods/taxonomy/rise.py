"""RISE (Petsiuk, Das and Saenko, RISE, BMVC 2018).

    M = sum_n (J(x * m_n) - mean J) m_n

Random masks: coarse grids of 0 and 1, enlarged and shifted. J = p_P, or p_P - p_Q. The mean, which
the paper leaves in, is taken out so that few masks will do. No library at hand has it.
"""

import torch
import torch.nn.functional as F

from .asked import Answer, Asked, mapped


def random_masks(count: int, grid: int, size: tuple[int, ...], share: float = 0.5) -> torch.Tensor:
    """count x H x W in [0, 1], about `share` of it visible."""
    steps = [-(-side // grid) for side in size]
    coarse = (torch.rand(count, 1, grid + 1, grid + 1) < share).float()
    large = F.interpolate(coarse, [(grid + 1) * s for s in steps], mode="bilinear")[:, 0]
    shifts = torch.stack([torch.randint(0, step, (count,)) for step in steps], 1).tolist()
    return torch.stack([m[i : i + size[0], j : j + size[1]] for m, (i, j) in zip(large, shifts)])


def rise(asked: Asked, masks: int = 120, grid: int = 4, batch: int = 4, seed: int = 0) -> Answer:
    """Map: the masks, weighted by what the network says through them; signed.

    Args:
        masks: how many; the paper takes 4000 to 8000, on a grid of 7.
        grid: cells along each side of a mask.
        seed: of the masks. Ask with two, and see how far the answers agree.
    """
    if masks < 1 or grid < 1:
        raise ValueError(f"masks={masks} and grid={grid} must be at least 1.")
    torch.manual_seed(seed)
    shown = random_masks(masks, grid, asked.seen.size).to(asked.x)
    with torch.no_grad():
        y = torch.cat([asked.network(asked.x * m[:, None]) for m in shown.split(batch)])
    scores = y.softmax(1) @ asked.v
    found = torch.einsum("n,nij->ij", scores - scores.mean(), shown)
    return mapped(asked, found / masks)
