"""Tensors compared, but for round-off, and drawn at random."""

import torch
from torch import Tensor


def alike(one: Tensor, two: Tensor) -> bool:
    """Whether two tensors are the same but for round-off, measured by the largest of all values.

    NaN and infinity are alike where both have them.
    """
    if one.shape != two.shape or not one.numel():
        return one.shape == two.shape
    part = 1e-2 if one.dtype in (torch.float16, torch.bfloat16) else 1e-4
    one, two = one.float(), two.float()
    largest = float(one.nan_to_num(0, 0, 0).abs().max())
    return torch.allclose(one, two, rtol=0, atol=part * largest, equal_nan=True)


def random_like(y: Tensor, seed: int = 0) -> Tensor:
    """Fixed random numbers, normally distributed, of a tensor's shape, type and device.

    A caller's images are often drawn from a small seed: other images must not be the same ones.
    """
    # the CPU's, whatever set_default_device says
    generator = torch.Generator().manual_seed(271_828_182 + seed)
    return torch.randn(y.shape, generator=generator, dtype=torch.float32, device="cpu").to(y)


def other_images(images: Tensor, seed: int = 0) -> Tensor:
    """Random images, of the same mean and spread if these have one."""
    spread = images.float().std() if images.numel() > 1 else images.new_zeros(())
    return images.mean() + random_like(images, seed) * (spread if spread > 0 else 1)


def shuffled(images: Tensor, seed: int = 0) -> Tensor:
    """The images' own numbers, each at another place."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(images.numel(), generator=generator).to(images.device)
    return images.flatten()[order].reshape(images.shape)
