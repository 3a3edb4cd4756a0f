"""The patches that LIME and CEM switch on and off."""

import torch
from skimage.segmentation import slic
from torch import Tensor


def superpixels(x: Tensor, count: int) -> Tensor:
    """About `count` patches of like colour (SLIC): 1 x 3 x H x W -> H x W whole numbers from 0."""
    pixels = x[0].detach().movedim(0, -1).double().cpu()
    low, high = pixels.amin(), pixels.amax()
    pixels = (pixels - low) / (high - low).clamp_min(1e-9)
    patches = slic(pixels.numpy(), n_segments=count, compactness=10, start_label=0)
    return torch.from_numpy(patches).to(x.device)
