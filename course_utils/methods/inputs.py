"""Images as a learner passes them in, alone or among other inputs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..errors import ImageError

# What a network is given: the images; a tuple of inputs, handed on in order; or a dict, by name.
Inputs = Tensor | tuple[Any, ...] | Mapping[str, Any]
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def images_of(x: Inputs) -> Tensor:
    """The images among what a network is given: its first float tensor of most dimensions, one with
    three colours (or four, with transparency) before others, such as masks.

    Raises:
        ImageError: there is no such tensor, or it is empty.
    """
    if isinstance(x, Tensor):
        images = x
    else:
        tensors = [] if isinstance(x, list) else [tensor for _, tensor in tensors_in(x, "x")]
        if not tensors:
            raise ImageError(f"x must be a tensor, not {type(x).__name__}. {_way_to_a_tensor(x)}")
        images = max(tensors, key=lambda t: (t.is_floating_point(), t.dim(), _has_colours(t)))
    if images.is_nested:
        raise ImageError(
            "x is a nested tensor, of images of several sizes. Ask about one at a time: "
            "x.unbind()[0][None]."
        )
    if images.shape[:1] == (0,):
        raise ImageError("x is an empty batch: there is no image to ask about.")
    if images.is_meta:
        raise ImageError(
            "x is on the device 'meta', where tensors have shapes but no numbers: make it on one "
            "that holds numbers, such as 'cpu'."
        )
    return images


def _has_colours(tensor: Tensor) -> bool:
    return tensor.dim() > 3 and not {3, 4}.isdisjoint((tensor.shape[1], tensor.shape[-1]))


def _way_to_a_tensor(x: Any) -> str:
    """What makes a tensor of x, in words."""
    photo = "Prepare a photo with x = classifier.preprocess(load_photo(...))[None]."
    if isinstance(x, np.ndarray):
        return f"{photo} Of what is prepared already: torch.from_numpy(x).float()."
    if isinstance(x, list) and any(isinstance(item, Tensor) for item in x):
        return (
            "Images of one size, C x H x W each, make a batch by torch.stack(x). Of [images, "
            "labels], as a DataLoader gives them, take the images, x[0]. For a network with "
            "several inputs: tuple(x); for one that takes a list: (x,)."
        )
    if isinstance(x, DataLoader):
        return "Ask about its batches one by one: for images, labels in x: ..."
    if isinstance(x, Mapping):
        return f"{photo} A Hugging Face processor makes tensors if told return_tensors='pt'."
    return f"{photo} For a network with several inputs, x is a tuple or a dict of them."


def size_of(images: Tensor, model: nn.Module) -> tuple[int, ...]:
    """(H, W) of images, (L,) of signals, (D, H, W) of volumes: the axes of `image_axes`."""
    return tuple(images.shape[axis] for axis in image_axes(images, model))


def image_axes(images: Tensor, model: nn.Module) -> tuple[int, ...]:
    """Which axes are H and W in N x C x H x W, L in signals N x C x L or N x L, D, H, W in volumes.

    By what the first layer reads, also H and W in N x H x W x C, as networks from other frameworks
    take it, and in N x H x W, as spectrograms come; D, H, W in N x D x H x W x C; L in N x L x C,
    as transformers take signals; T, H, W in videos N x T x C x H x W.
    """
    shape = tuple(images.shape)
    for axis in {4: (3,), 5: (2, 4)}.get(len(shape), ()):  # where channels may be
        others = tuple(a for a in range(1, len(shape)) if a != axis)
        few = shape[axis] in (1, 3, 4) or shape[axis] < min(shape[a] for a in others[-2:])
        sure = axis == 2 or shape[1] not in (1, 3, 4)
        first = first_convolution(model) if few and sure else None
        if first is not None and shape[1] != first.in_channels == shape[axis]:
            return others
        if few and sure and axis == len(shape) - 1 and _reads_pixels(model, shape):
            return others
        colours = shape[axis] in (1, 3, 4) and (axis == 3 and sure or shape[1] not in (1, 3))
        if axis < 4 and colours and first_convolution(model) is None:
            return others  # as what is joined to each pixel, its place say, is read with it
    if len(shape) == 3:
        return _axes_of_three(shape, model)
    return tuple(range(1 if len(shape) == 2 else 2, len(shape)))


def _reads_pixels(model: nn.Module, shape: Sequence[int]) -> bool:
    """Whether a linear layer, or a norm, reads images N x ... x C, pixel by pixel: the first layer,
    or a later one where no convolution reads as many channels as stand in their usual place."""
    kinds = (*CONVOLUTIONS, nn.Linear, nn.LayerNorm)
    readers = [m for m in model.modules() if isinstance(m, kinds)]
    if any(isinstance(m, CONVOLUTIONS) and m.in_channels == shape[1] for m in readers):
        readers = readers[:1]
    plain = (m for m in readers if type(m) in (nn.Linear, nn.LayerNorm))
    return any(_READS[type(m)](m) == shape[-1] for m in plain)


def _axes_of_three(shape: tuple[int, ...], model: nn.Module) -> tuple[int, ...]:
    """L in N x C x L, or in N x L x C if the first layer reads the last axis, or no axis, and C
    is less than L; H and W in N x H x W if it is a convolution of images with one channel, or with
    others than x has, as where grey is repeated and numbers become colours.
    """
    sides = max(shape[1:]) <= 32 * min(shape[1:])  # else it is a signal that becomes a picture
    for m in model.modules():
        if isinstance(m, nn.Conv2d):
            row = shape[1] == 1 < m.kernel_size[0]  # a signal, of which a picture is made
            if m.in_channels == 1 and not row or sides and m.in_channels not in shape[1:]:
                return (1, 2)
        reads = _READS.get(type(m))
        if reads is not None:
            if shape[1] < shape[2] == reads(m):
                # a branch beside convolutions may read each channel's whole row as one step
                rows = (c for c in model.modules() if isinstance(c, nn.Conv1d))
                return (2,) if any(c.in_channels == shape[1] for c in rows) else (1,)
            if reads(m) not in shape[1:]:  # what it reads is cut out of x, as patches are
                return (1,) if shape[1] > shape[2] else (2,)
            return (1,) if reads(m) == shape[2] != shape[1] else (2,)
    return (2,)


def are_variables(images: Tensor, model: nn.Module) -> bool:
    """Whether the places of x, N x L x C, are its C variables: each is read over all L times.

    So forecasting networks do (DLinear, iTransformer), by a linear layer behind an exchange. Of
    fewer numbers on that axis than on the other they are taken for channels, N x C x L.
    """
    if images.dim() != 3 or images.shape[1] <= images.shape[2] or image_axes(images, model) != (2,):
        return False
    first = next((m for m in model.modules() if type(m) in _READS), None)
    return type(first) is nn.Linear and first.in_features == images.shape[1]


_READS: dict[type, Callable[[Any], int]] = {  # how many channels the layers of a sequence read
    nn.Conv1d: lambda m: m.in_channels,
    nn.Linear: lambda m: m.in_features,
    nn.LayerNorm: lambda m: m.normalized_shape[-1],
    nn.LSTM: lambda m: m.input_size,
    nn.GRU: lambda m: m.input_size,
}


def in_words(size: Sequence[int]) -> str:
    """ "a 96 x 64 image" or "a signal of length 8000"."""
    if len(size) == 1:
        return f"a signal of length {size[0]}"
    return f"a {' x '.join(map(str, size))} image"


def places_in_words(axes: int) -> str:
    """ "h x w", of so many axes; "w" of one, "d x h x w" of three."""
    return " x ".join("dhw"[3 - axes :])


def names_of_sides(axes: int) -> list[str]:
    """ "height" and "width", of two axes; "time" of one, "depth" before them of three."""
    return ["time"] if axes == 1 else ["depth", "height", "width"][3 - axes :]


def first_convolution(model: nn.Module) -> nn.Conv1d | nn.Conv2d | nn.Conv3d | None:
    """The first that is registered, which tells as a rule what a network reads."""
    return next((m for m in model.modules() if isinstance(m, CONVOLUTIONS)), None)


def convolutions_of(images: Tensor, model: nn.Module) -> list[Any]:
    """Those that may read the images themselves: of as many channels as these have, or of 1 or 3.

    The first that is registered if there are none, as where channels are made of places before.
    """
    axes = image_axes(images, model)
    channels = {1, 3, *(images.shape[a] for a in range(1, images.dim()) if a not in axes)}
    every = [m for m in model.modules() if isinstance(m, CONVOLUTIONS)]
    return [m for m in every if m.in_channels in channels] or every[:1]


def each_tensor(
    x: Inputs,
    change: Callable[[Tensor], Tensor],
    as_a_whole: Callable[[Sequence], Sequence | None] = lambda items: None,
) -> Inputs:
    """The same inputs, with every tensor changed, also in lists, tuples and dicts inside.

    Args:
        as_a_whole: what takes the place of a list or tuple inside; None where its items are
            changed.
    """

    def changed(value: Any) -> Any:
        """One of the inputs; containers of other kinds than Python's own stay as they are."""
        if isinstance(value, Tensor):
            return change(value)
        if type(value) in (list, tuple):
            whole = as_a_whole(value)
            return type(value)(map(changed, value)) if whole is None else whole
        if type(value) is dict:
            return {key: changed(item) for key, item in value.items()}
        return value

    if isinstance(x, Mapping):
        return {key: changed(value) for key, value in x.items()}
    if isinstance(x, tuple):
        return tuple(map(changed, x))
    return change(x)


def with_images(x: Inputs, new: Tensor) -> Inputs:
    """The same inputs, with other images."""
    images = images_of(x)
    return each_tensor(x, lambda t: new if t is images else t)


def one_image(x: Inputs) -> Inputs:
    """The same inputs, of the first image only.

    All of them where another input has another number of rows, such as boxes that say which image
    they lie in: nothing tells which rows are the first image's, and code in C++ that is given a
    box of an image that is not there has crashed.
    """
    images = images_of(x)
    n = len(images)

    def first(tensor: Tensor) -> Tensor:
        if tensor.dim() and (len(tensor) != n or _numbered(tensor) and tensor[0, 0] != 0):
            raise ValueError("Rows of other things than images.")
        return tensor[:1] if tensor.dim() else tensor

    def of_each(items: Sequence) -> Sequence | None:  # one for each image, as of its boxes
        batches = any(isinstance(v, Tensor) and v.dim() == images.dim() for v in items)
        return items[:1] if len(items) == n and not batches else None

    try:
        return each_tensor(x, first, of_each)
    except ValueError:
        return x


def _numbered(tensor: Tensor) -> bool:
    """Whether a tensor may be boxes, K x 5, where the number of their image stands first."""
    return tensor.dim() == 2 and tensor.shape[1] == 5


def holds_boxes(x: Inputs) -> bool:
    """Whether there may be boxes among the inputs, K x 4 or as `_numbered`."""
    sides = (t.shape[1:] for _, t in tensors_in(x, "x") if not isinstance(x, Tensor))
    return any(tuple(side) in ((4,), (5,)) for side in sides)


def name_of(images: Tensor, x: Inputs) -> str:
    """How a learner reaches the images in x, as code: "x", "x[0]" or "x['pixel_values']"."""
    return next((code for code, tensor in tensors_in(x, "x") if tensor is images), "x")


def tensors_in(value: Any, code: str) -> Iterator[tuple[str, Tensor]]:
    """Every tensor among the inputs, and how it is reached, as code."""
    if isinstance(value, Tensor):
        yield code, value
    elif isinstance(value, (Mapping, tuple, list)):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in items:
            yield from tensors_in(item, f"{code}[{key!r}]")


def beside_weights(x: Tensor, model: nn.Module) -> Tensor:
    """The same numbers, on the network's device and in its type of numbers if it has weights."""
    found = (p for p in model.parameters() if p.is_floating_point() and not p.is_meta)
    return x.to(next(found, x))
