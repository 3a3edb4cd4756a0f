"""From a signed evidence map at feature resolution to a map that can be drawn over the photo.

A map may have one, two or three dimensions (a signal, an image, a volume). Below, h x w stands for
its places, that is its spatial positions, and H x W for the input's.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def upsample(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Linear enlargement along each side, pixel centres as in OpenCV (`align_corners=False`).

    Along a side that has more places than pixels, as the spectrogram of a signal has, the mean of
    the places in each pixel is taken.

    Args:
        maps: ... x h x w, of any range.
        size: (H, W) of the image in pixels; (L,) of a signal, (D, H, W) of a volume.

    Returns:
        ... x H x W.
    """
    sides = len(size)
    flat = maps.reshape(-1, 1, *maps.shape[-sides:])
    if any(places > pixels for places, pixels in zip(flat.shape[2:], size)):
        flat = F.interpolate(flat, size=[*map(min, flat.shape[2:], size)], mode="area")
    large = F.interpolate(flat, size=tuple(size), mode=_LINEAR[sides], align_corners=False)
    return large.reshape(*maps.shape[:-sides], *size)


def positive_maps(evidence: Tensor, size: tuple[int, ...]) -> Tensor:
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
    largest = maps.amax(dim=tuple(range(-len(size), 0)), keepdim=True)
    return torch.where(largest > 0, maps / largest.where(largest > 0, 1), 0)


def signed_maps(evidence: Tensor, size: tuple[int, ...], scale: float | None = None) -> Tensor:
    """Evidence for (positive) and against (negative), enlarged and put on one scale.

    Args:
        evidence: ... x h x w signed evidence, of any range.
        size: (H, W) of the image in pixels.
        scale: the evidence that is drawn as 1; default, the largest magnitude among *all* the
            maps given, so that maps drawn side by side can be compared.

    Returns:
        ... x H x W in [-1, 1]; all zeros when there is no evidence at all.

    Raises:
        ValueError: the scale is negative or NaN, as that of evidence that holds NaN is.
    """
    maps = upsample(evidence.detach(), size)
    scale = float(maps.abs().max()) if scale is None else scale
    if not scale >= 0:  # of NaN nothing is true
        raise ValueError(f"The evidence that is drawn as 1 cannot be {scale}: give 0 or more.")
    return (maps / scale).clamp(-1, 1) if scale > 0 else torch.zeros_like(maps)


def as_mask(values: np.ndarray) -> np.ndarray:
    """A mask as booleans: numbers are True where they are above 0, if those are all one number.

    Raises:
        ValueError: they are several, as in a soft mask, in one with the noise of a JPEG, or of
            class numbers; or NaN.
    """
    low, high = values.min(), values.max()
    if len(np.unique(values[~(values <= 0)])) > 1 or np.isnan(high):
        half = 0.5 if high <= 1 else 127 if high <= 255 else high / 2
        raise ValueError(
            f"The mask holds values between {low:.3g} and {high:.3g}, and must say True or False: "
            f"mask > {half:g} of a soft one, mask == 1 of class numbers."
        )
    return values > 0


def relative_strength(evidence: Tensor, grad_cam: Tensor) -> Tensor:
    """How strong a map is: the peak of its positive part over the peak of Grad-CAM's of the same P.

    Args:
        evidence: N x K x h x w, signed.
        grad_cam: N x K x h x w (or N x 1 x h x w), signed: S^P of the same images and layer.

    Returns:
        N x K, 0 or more. 0: the map is empty. NaN: Grad-CAM's map of P is empty and this one is
        not, so that there is nothing to compare it with.
    """
    peak, whole = (values.flatten(2).amax(dim=2).relu() for values in (evidence, grad_cam))
    if whole.all():
        return peak / whole
    return torch.where(peak > 0, torch.where(whole > 0, peak / whole, torch.nan), 0)
