"""What a learner passes in, checked: images as tensors, classes by name or number."""

import operator
from math import isfinite

import torch
from torch import Tensor, nn

from ..errors import ClassError, ImageError, closest


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


def _index(which, categories: list[str] | None, classes: int) -> int:
    """The number of one class, given by number or name."""
    if isinstance(which, str):
        return _index_of_name(which, categories)
    try:
        if isinstance(which, bool):
            raise TypeError
        index = operator.index(which)
    except TypeError:  # floats, also those in a tensor, are not rounded down
        wrong = f"{which!r} ({type(which).__name__})"
        raise ClassError(f"A class is a whole number or a name, not {wrong}.") from None
    if not 0 <= index < classes:
        raise ClassError(
            f"Class {index} is out of range: this network has classes 0 to {classes - 1}."
        )
    return index


def _index_of_name(name: str, categories: list[str] | None) -> int:
    """Exact spelling first, then without regard to case, if that settles it."""
    if not categories:
        raise ClassError(
            f"This network knows its classes by number only, so '{name}' cannot be looked up. Pass "
            "the number, or set model.categories to the list of names."
        )
    if categories.count(name) == 1:
        return categories.index(name)
    same = [i for i, c in enumerate(categories) if name.lower() == c.lower()]
    same = same or [
        i for i, c in enumerate(categories) if c.lower().startswith(f"{name.lower()} (")
    ]
    if len(same) == 1:
        return same[0]
    if same:
        rows = " or ".join(f"{i} ('{categories[i]}')" for i in same)
        raise ClassError(f"'{name}' is more than one class: give the number, {rows}.")
    raise ClassError(
        f"No class is called '{name}'.{closest(name, categories)} All names: model.categories."
    )


def class_indices(which, n: int, classes: int, categories: list[str] | None = None) -> Tensor:
    """Classes for N images as an N x K integer tensor.

    Args:
        which: one class (number or name), a list of K classes asked of every image, or an N x K
            integer tensor: K classes for each image.
        n: number of images.
        classes: number of classes of the network.
        categories: the classes' names, where known.

    Raises:
        ClassError: unknown or ambiguous name (with the closest real ones), number out of range,
            empty list, wrong shape.
    """
    if hasattr(which, "shape") and not isinstance(which, str):  # a tensor or array, of any rank
        which = torch.atleast_1d(torch.as_tensor(which))
        if which.is_floating_point() or which.is_complex() or which.dtype == torch.bool:
            raise ClassError(f"Classes are whole numbers, but the tensor holds {which.dtype}.")
        if which.dim() == 2 and len(which) != n:
            raise ClassError(
                f"{len(which)} rows of classes were given for {n} image{'s' * (n != 1)}."
            )
        if which.dim() > 2:
            raise ClassError(f"Classes are N x K, not {' x '.join(map(str, which.shape))}.")
        rows = which.tolist() if which.dim() == 2 else [which.tolist()] * n
    else:
        rows = [list(which) if isinstance(which, (list, tuple, range)) else [which]] * n
    if not rows[0]:
        raise ClassError("The list of classes is empty: name at least one class.")
    return torch.tensor([[_index(c, categories, classes) for c in row] for row in rows])


def class_name(index: int, categories: list[str] | None) -> str:
    """How a class is called in a sentence: its name, or "class 7" where names are unknown."""
    return categories[index] if categories else f"class {index}"
