"""Which layer to explain, and how its output becomes a grid of places (spatial positions)."""

from collections.abc import Callable, Sequence
from math import log
from typing import NamedTuple

from torch import Tensor, nn

from ..errors import LayerError, closest
from ..networks.families import CHANNELS_LAST, known_layer


class Target(NamedTuple):
    """The layer that is explained: its full name, its module, and why it was chosen."""

    name: str
    module: nn.Module
    reason: str


def layer_names(model: nn.Module) -> list[str]:
    """Every layer that can be named, in the order of registration ("layer4.2.conv3", ...)."""
    return [name for name, _ in model.named_modules() if name]


def default_layer(model: nn.Module) -> str:
    """The last layer that still has places: class-specific, and not yet pooled away.

    Known for the families of `networks.families`, and otherwise the last `nn.Conv2d`.

    Raises:
        LayerError: the network is of an unknown family and has no convolution.
    """
    known = known_layer(model)
    if known is not None:
        return known
    convolutions = [name for name, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    if not convolutions:
        raise LayerError(
            f"{type(model).__name__} has no convolutional layer to explain by default. Name the "
            f"layer yourself; this network has: {', '.join(layer_names(model)[:12])}."
        )
    return convolutions[-1]


def _such_as(model: nn.Module, name: str) -> str:
    """The default layer, for an error message; "" where there is none better than the layer named."""
    try:
        better = default_layer(model)
    except LayerError:
        return ""
    return f", such as '{better}'" * (better != name)


def find_layer(model: nn.Module, layer: str | nn.Module | Target | None = None) -> Target:
    """The layer to explain.

    Args:
        model: the network.
        layer: a name as in `layer_names(model)`, a module of the network, None for the default, or what this
            function found before.

    Raises:
        LayerError: no such layer (the closest real names are given), or a `nn.Linear`.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"The network must be an nn.Module, such as load_classifier(...) gives, not a {type(model).__name__}."
        )
    if isinstance(layer, Target):
        return layer
    reason = "named by you" if layer is not None else "the default"
    if layer is None:
        layer = default_layer(model)
    if isinstance(layer, nn.Module):
        name = next((n for n, module in model.named_modules() if module is layer), None)
        if name is None:
            raise LayerError(
                f"That {type(layer).__name__} is not a part of this {type(model).__name__}. "
                "Pass a layer of the same network object, or its name."
            )
    else:
        name = str(layer)
    try:
        module = model.get_submodule(name)
    except AttributeError:
        raise LayerError(
            f"{type(model).__name__} has no layer '{name}'.{closest(name, layer_names(model))} "
            "layer_names(model) lists them all."
        ) from None
    if isinstance(module, nn.Linear):
        raise LayerError(
            f"'{name}' is a Linear layer: its output has no height and width, so no map can be "
            f"drawn. Choose a layer that still has them{_such_as(model, name)}."
        )
    return Target(name, module, reason)


def main_layers(model: nn.Module) -> list[str]:
    """A short list to choose from: convolutions and blocks near the top, and the default layer."""
    names = [
        name
        for name, module in model.named_modules()
        if name and name.count(".") < 2 and any(isinstance(m, nn.Conv2d) for m in module.modules())
    ]
    default = default_layer(model)
    return names if default in names else [*names, default]


def _prefix_tokens(model: nn.Module) -> int | None:
    """How many tokens stand before the image's: class token, registers. None when unknown."""
    known = getattr(model, "num_prefix_tokens", None)  # timm's name for it
    class_token = getattr(model, "class_token", None)  # torchvision's
    if known is None and isinstance(class_token, Tensor):
        known = class_token.shape[1]
    return known


def _skew(grid: Sequence[int], image: Sequence[int]) -> float:
    """How far h x w is from a shrunken H x W: |log| of the ratio of the strides along the sides."""
    return abs(log(image[0] / grid[0]) - log(image[1] / grid[1]))


def _channels_first(model: nn.Module, output: Tensor, size: Sequence[int]) -> bool | None:
    """Whether N x . x . x . is N x C x h x w or N x h x w x C; None when it is neither.

    Both can look possible (56 x 56 x 96): the reading with the more equal strides is taken. As small
    grids are rounded, strides that differ by less than a quarter pass for channels first, PyTorch's
    rule, except in the families known for the other order.
    """
    first, last = _skew(output.shape[2:], size), _skew(output.shape[1:3], size)
    if min(first, last) >= log(2):
        return None
    favour = 0 if type(model).__name__ in CHANNELS_LAST else 0.25
    return first < last or first < favour


def grid_fold(
    model: nn.Module, name: str, output: Tensor, size: Sequence[int]
) -> Callable[[Tensor], Tensor]:
    """How to read the layer's output (and gradients of its shape) as N x C x h x w.

    Channels first pass through; channels last (Swin, inside ConvNeXt) are moved; the tokens of a
    ViT lose the class token and are folded back to the grid of patches.

    Args:
        model, name: the network, and the layer's name for messages.
        output: what the layer returned, N x ... .
        size: (H, W) of the image.

    Raises:
        LayerError: the output has no places, or cannot be told apart into places and channels.
    """
    shape = " x ".join(map(str, output.shape))
    if output.dim() == 4:
        channels_first = _channels_first(model, output, size)
        if tuple(output.shape[1:3] if channels_first is False else output.shape[2:]) == (1, 1):
            raise LayerError(
                f"'{name}' gives {shape}: a single place is left of the image. Pass a larger image, "
                f"or choose an earlier layer{_such_as(model, name)}."
            )
        if channels_first is not None:
            return (lambda a: a) if channels_first else (lambda a: a.movedim(-1, 1))
    prefix = _prefix_tokens(model)
    if output.dim() == 3 and prefix is not None:
        tokens = max(0, output.shape[1] - prefix)
        h = round((tokens * size[0] / size[1]) ** 0.5)
        if h > 0 and tokens % h == 0 and _skew((h, tokens // h), size) < log(2):
            return lambda a: a[:, prefix:].unflatten(1, (h, tokens // h)).movedim(-1, 1)
    raise LayerError(
        f"'{name}' gives {shape}, which is not N x C x h x w for a {size[0]} x {size[1]} image. Choose "
        f"a layer with such an output{_such_as(model, name)}, or pass reshape_transform=, a function from this "
        "output to N x C x h x w."
    )


def check_grid(activations: Tensor, name: str, n: int) -> None:
    """Raise a LayerError unless the layer's output, read as a grid, is N x C x h x w."""
    if activations.dim() != 4 or len(activations) != n:
        shape = " x ".join(map(str, activations.shape))
        raise LayerError(
            f"'{name}', read as a grid, is {shape}, not N x C x h x w with N = {n} as in the output. "
            "Choose another layer, or pass reshape_transform= that gives such a grid."
        )
