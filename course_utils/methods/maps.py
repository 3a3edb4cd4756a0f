"""From a signed evidence map at feature resolution to a map that can be drawn over the photo."""

import torch
import torch.nn.functional as F
from torch import Tensor


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear enlargement, pixel centres aligned as in OpenCV (`align_corners=False`).

    Args:
        maps: ... x h x w, of any range.
        size: (H, W) of the image in pixels.

    Returns:
        ... x H x W.
    """
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    large = F.interpolate(flat, size=tuple(size), mode="bilinear", align_corners=False)
    return large.reshape(*maps.shape[:-2], *size)


def positive_maps(evidence: Tensor, size: tuple[int, int]) -> Tensor:
    """What speaks *for*, in [0, 1]: ReLU, then upsampling, then division by each map's maximum.

    The ReLU comes first: enlarging first would let negative neighbours eat the positive places.
    A map with no positive part stays all zeros (0/0 never happens).

    Args:
        evidence: ... x h x w signed evidence, of any range.
        size: (H, W) of the image in pixels.

    Returns:
        ... x H x W, each map's largest value 1, or the whole map 0.
    """
    maps = upsample(evidence.relu(), size)
    largest = maps.amax(dim=(-2, -1), keepdim=True)
    return torch.where(largest > 0, maps / largest.where(largest > 0, 1), 0)


def signed_maps(evidence: Tensor, size: tuple[int, int], scale: float | None = None) -> Tensor:
    """Evidence for (positive) and against (negative), enlarged and put on one scale.

    Args:
        evidence: ... x h x w signed evidence, of any range.
        size: (H, W) of the image in pixels.
        scale: the evidence that is drawn as 1; default, the largest magnitude among *all* the
            maps given, so that maps drawn side by side can be compared.

    Returns:
        ... x H x W in [-1, 1]; all zeros when there is no evidence at all.
    """
    maps = upsample(evidence.detach(), size)
    scale = float(maps.abs().max()) if scale is None else scale
    return (maps / scale).clamp(-1, 1) if scale > 0 else torch.zeros_like(maps)
