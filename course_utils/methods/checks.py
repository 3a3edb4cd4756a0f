"""What no answer can be made of, in the images, the network's answer or a question, is named."""

from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ImageError, a_kind_of
from .inputs import first_convolution

_AXES = {1: "L", 2: "H x W", 3: "D x H x W"}  # of signals, images, volumes


def check_images(x: Tensor, model: nn.Module, name: str = "x") -> None:
    """Raise an ImageError that names the likely cause if x is not what the network reads.

    For networks that failed: what `model` reads is guessed from its first convolution, N x C x H x
    W floats (N x C x L for signals, N x C x D x H x W for volumes). The name is how x is reached.
    """
    shape = " x ".join(map(str, x.shape)) or "a single number"
    first = first_convolution(model)
    channels = None if first is None else first.in_channels
    axes = 2 if first is None else len(first.kernel_size)
    wanted = f"N x {channels or 'C'} x {_AXES[axes]} floats"
    if x.dim() == axes + 1 and channels in (None, x.shape[0]):
        raise ImageError(
            f"{name} is {shape}: one image, not a batch. Add the batch dimension: {name}[None]."
        )
    if x.dim() == axes + 2 and channels not in (None, x.shape[1]) and x.shape[-1] == channels:
        raise ImageError(
            f"{name} is {shape}: channels last. The network reads {wanted}: {name}.movedim(-1, 1)."
        )
    if x.dim() != axes + 2 or channels not in (None, x.shape[1]):
        cure = _way_to_a_batch(x, axes, channels)
        cure = f": {name}{cure}" if cure else ""
        raise ImageError(f"{name} is {shape}; the network reads {wanted}{cure}.")
    if not x.is_floating_point():
        cure = (
            f"classifier.preprocess(photo) scales and normalises pixels; {name}.float() / 255 only "
        )
        cure = f"{name}.abs(), say." if x.is_complex() else f"{cure}scales."
        cure = f"{name}.dequantize()." if x.is_quantized else cure
        cure = f"{name}.float()." if x.dtype == torch.bool else cure
        kind = str(x.dtype).removeprefix("torch.")
        raise ImageError(f"{name} holds {kind} values; the network reads {wanted}. {cure}")
    if x.layout != torch.strided:
        raise ImageError(
            f"{name} is stored as {x.layout}; the network reads {wanted}: {name}.to_dense()."
        )
    if not x.numel():
        raise ImageError(f"{name} is {shape}: images without pixels.")
    _check_beside_weights(x, model, name)


def _way_to_a_batch(x: Tensor, axes: int, channels: int | None) -> str:
    """What makes N x C x H x W of x, as code behind its name; "" where nothing surely does."""
    shape, spread = tuple(x.shape), ", -1" * axes
    if len(shape) == axes + 1 and shape[-1] == channels:
        return ".movedim(-1, 0)[None]"
    if len(shape) == axes + 3 and shape[2] == channels:
        return ".flatten(0, 1)"  # several crops or views of each image
    if len(shape) == axes + 1 and channels == 1:
        return "[:, None]"
    if len(shape) != axes + 2 or channels is None:
        return ""
    if (shape[1], channels) == (3, 1):
        return ".mean(1, keepdim=True) makes it grey"
    if shape[1] == 1:
        return f".expand(-1, {channels}{spread}) repeats a grey image"
    if (shape[1], channels) == (4, 3):
        return "[:, :3] leaves the transparency out"
    return ""


def _check_beside_weights(x: Tensor, model: nn.Module, name: str) -> None:
    """As `check_images`: the device and the type of numbers."""
    weight = next(model.parameters(), None)
    if weight is None:
        return
    if weight.is_meta:
        raise ImageError(
            "The network is on the device 'meta', where weights have shapes but no numbers. Make "
            "it on a device that holds numbers, such as 'cpu'."
        )
    if weight.device != x.device:
        raise ImageError(
            f"{name} is on {x.device}, the network on {weight.device}: "
            f"{name}.to('{weight.device}')."
        )
    if weight.is_floating_point() and weight.dtype != x.dtype:
        dtype = str(weight.dtype)
        raise ImageError(
            f"{name} is {x.dtype}, the network's weights are {dtype}: {name}.to({dtype})."
        )


def check_numbers(x: Tensor, model: nn.Module) -> None:
    """For networks that answered NaN or infinity: raise an ImageError if x or a weight holds it."""
    if not x.isfinite().all():
        raise ImageError(
            "x holds NaN or infinity, so no answer is a number. Find where it comes from; "
            "x.nan_to_num() only puts other numbers in its place."
        )
    for name, weight in model.state_dict().items():
        if isinstance(weight, Tensor) and weight.is_floating_point() and weight.isnan().any():
            raise ImageError(
                f"The network's weights hold NaN ('{name}'), as after a training that diverged. "
                "Load others."
            )


def cotangents(v: Any, device: torch.device) -> Tensor:
    """Cotangents as a tensor, also from an array or a list.

    Raises:
        ValueError: they are no real numbers in a plain tensor.
    """
    try:
        v = v if isinstance(v, Tensor) else torch.as_tensor(v, device=device)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"Cotangents are numbers, dJ/dy of each class, not {a_kind_of(v)}. To ask about a "
            "class by number or name: GradCAM(model)(forward_pass, why=...)."
        ) from None
    if v.is_complex() or v.is_meta or v.layout != torch.strided:
        kind = str(v.dtype if v.is_complex() else v.device if v.is_meta else v.layout)
        kind = kind.removeprefix("torch.")
        raise ValueError(f"Cotangents are real numbers in a plain tensor, but these are {kind}.")
    return v.detach() if v.is_floating_point() else v.float()


def check_logits(y: Tensor) -> None:
    """As `check_finite`; -inf, by which a network rules a class out, may stand beside others."""
    if isfinite(y.mean()):  # NaN where there are no numbers; PyTorch refuses it of a sparse one
        return
    if not (y.amax(dim=tuple(range(1, y.dim()))) if y.dim() > 1 else y).isfinite().all():
        check_finite(y, "The network's answer")


def check_evidence(evidence: Tensor, y: Tensor, v: Tensor) -> Tensor:
    """As `check_finite`, of what was answered about the network's answer y to the question v.

    Raises:
        ValueError: v, dJ/dy, is itself not finite.
    """
    try:
        return check_finite(evidence, "The evidence")
    except ImageError:
        if not v.isfinite().all():
            raise ValueError(
                "The question has no finite gradient at this output: dJ/dy holds NaN or infinity, "
                "as that of log p does where p is 0, or that of the root of 0."
            ) from None
        if not y.isneginf().any():
            raise
        raise ImageError(
            "The evidence holds NaN, and the network's answer holds -inf, as log p does where p is "
            "too small for its type of numbers: no gradient is left there. Ask the logits "
            "themselves: let the network return what comes before its softmax or sigmoid."
        ) from None


def check_finite(values: Tensor, what: str) -> Tensor:
    """The same values, or an ImageError that says what holds NaN or infinity."""
    # NaN is the least and the largest, if there is one
    if not all(map(isfinite, values.aminmax())):
        raise ImageError(
            f"{what} holds NaN or infinity. Look at the images' values, and try float32 if the "
            "network runs in half precision."
        )
    return values
