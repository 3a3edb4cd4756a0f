"""Images as a learner passes them in, checked."""

from math import isfinite

from torch import Tensor, nn

from ..errors import ImageError


def check_images(x: Tensor, model: nn.Module) -> None:
    """Raise an ImageError that names the likely cause unless x is N x C x H x W floats for `model`.

    C is what the network's first convolution reads (3 for photos).
    """
    if not isinstance(x, Tensor):
        raise ImageError(
            f"x must be a tensor, not {type(x).__name__}. Prepare a photo with "
            "x = classifier.preprocess(load_photo(...))[None]."
        )
    shape = " x ".join(map(str, x.shape)) or "a single number"
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    channels = first.in_channels if first is not None else None
    wanted = f"N x {channels or 'C'} x H x W floats"
    if x.dim() == 3 and channels in (None, x.shape[0]):
        raise ImageError(f"x is {shape}: one image, not a batch. Add the batch dimension: x[None].")
    if x.dim() == 4 and channels not in (None, x.shape[1]) and x.shape[-1] == channels:
        raise ImageError(
            f"x is {shape}: channels last. The network reads {wanted}: x.movedim(-1, 1)."
        )
    if x.dim() != 4 or channels not in (None, x.shape[1]):
        raise ImageError(f"x is {shape}; the network reads {wanted}.")
    if len(x) == 0:
        raise ImageError("x is an empty batch: there is no image to ask about.")
    if not x.is_floating_point():
        raise ImageError(
            f"x holds {str(x.dtype).removeprefix('torch.')} values; the network reads {wanted}. "
            "classifier.preprocess(photo) scales and normalises pixels; x.float() / 255 only scales."
        )
    weight = next(model.parameters(), None)
    if weight is not None and weight.device != x.device:
        raise ImageError(
            f"x is on {x.device}, the network on {weight.device}: x.to('{weight.device}')."
        )
    if weight is not None and weight.is_floating_point() and weight.dtype != x.dtype:
        dtype = str(weight.dtype)
        raise ImageError(f"x is {x.dtype}, the network's weights are {dtype}: x.to({dtype}).")


def check_finite(values: Tensor, what: str) -> Tensor:
    """The same values, or an ImageError that says what holds NaN or infinity."""
    if not all(
        map(isfinite, values.aminmax())
    ):  # NaN is the least and the largest, if there is one
        raise ImageError(
            f"{what} holds NaN or infinity. Look at the images' values, and try float32 if the "
            "network runs in half precision."
        )
    return values
