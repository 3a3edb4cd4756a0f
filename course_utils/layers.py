"""Which layer to explain, and how its output becomes a grid of places."""

from typing import Callable

import torch
from torch import Tensor, nn

from .errors import LayerError, closest


def _before_last_pool(model: nn.Module) -> str:
    """VGG and AlexNet end `features` with a max-pool: stop before it, on the finer grid."""
    last = max(i for i, module in enumerate(model.features) if not isinstance(module, nn.MaxPool2d))
    return f"features.{last}"


def _last_block(blocks: str, norm: str) -> Callable[[nn.Module], str]:
    """In a ViT the last layer norm before attention: after it only the class token is read."""
    return lambda m: f"{blocks}.{list(m.get_submodule(blocks)._modules)[-1]}.{norm}"


# The last layer that still has places, by the class name of torchvision's and timm's networks.
# Several entries: the first that the network has (the libraries share class names).
_DEFAULTS: dict[str, tuple[str | Callable[[nn.Module], str], ...]] = {
    "ResNet": ("layer4",),
    "VGG": (_before_last_pool,),
    "AlexNet": (_before_last_pool,),
    "DenseNet": ("features",),
    "SqueezeNet": ("features",),
    "MobileNetV2": ("features",),
    "MobileNetV3": ("features", "blocks"),
    "EfficientNet": ("bn2", "features"),
    "ConvNeXt": ("features", "stages"),
    "Inception3": ("Mixed_7c",),
    "InceptionV3": ("Mixed_7c",),
    "GoogLeNet": ("inception5b",),
    "ShuffleNetV2": ("conv5",),
    "MNASNet": ("layers",),
    "RegNet": ("trunk_output", "final_conv"),
    "VisionTransformer": (_last_block("blocks", "norm1"), _last_block("encoder.layers", "ln_1")),
    "VisionTransformerDistilled": (_last_block("blocks", "norm1"),),
    "SwinTransformer": ("norm",),
    "SwinTransformerV2": ("norm",),
    "MaxVit": ("blocks",),
}


def layer_names(model: nn.Module) -> list[str]:
    """Every layer that can be named, in the order of registration ("layer4.2.conv3", ...)."""
    return [name for name, _ in model.named_modules() if name]


def default_layer(model: nn.Module) -> str:
    """The last layer that still has places: class-specific, and not yet pooled away.

    Known for torchvision's and timm's families (`_DEFAULTS`), read from `model.layer` where the
    course's own networks state it, and otherwise the last `nn.Conv2d`.

    Raises:
        LayerError: the network is of an unknown family and has no convolution.
    """
    stated = getattr(model, "layer", None)
    if isinstance(stated, str):
        return stated
    for candidate in _DEFAULTS.get(type(model).__name__, ()):
        try:
            name = candidate if isinstance(candidate, str) else candidate(model)
            model.get_submodule(name)
            return name
        except AttributeError:  # the other library's network of the same name
            continue
    convolutions = [name for name, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    if not convolutions:
        raise LayerError(
            f"{type(model).__name__} has no convolutional layer to explain by default. Name the "
            f"layer yourself; this network has: {', '.join(layer_names(model)[:12])}."
        )
    return convolutions[-1]


def find_layer(model: nn.Module, layer: str | nn.Module | None = None) -> tuple[str, nn.Module]:
    """The layer's full name and module.

    Args:
        model: the network.
        layer: a name as in `layer_names(model)`, a module of the network, or None for the default.

    Raises:
        LayerError: no such layer (the closest real names are given), or a `nn.Linear`.
    """
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
            f"drawn. Choose a convolutional layer, such as '{default_layer(model)}'."
        )
    return name, module


def _prefix_tokens(model: nn.Module) -> int | None:
    """How many tokens stand before the image's: class token, registers. None when unknown."""
    known = getattr(model, "num_prefix_tokens", None)  # timm's name for it
    if known is None and type(model).__name__ == "VisionTransformer":  # torchvision
        known = model.class_token.shape[1]
    return known


def _one_scale(grid: tuple[int, int], image: tuple[int, int]) -> bool:
    """Whether h x w can be a shrunken H x W: about the same stride along both sides."""
    return 0.5 < (image[0] / grid[0]) / (image[1] / grid[1]) < 2


def grid_fold(
    model: nn.Module, name: str, output: Tensor, size: tuple[int, int]
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
    advice = (
        f"Choose a layer with an N x C x h x w output, such as '{default_layer(model)}', or pass "
        "to_grid=, a function from this output to N x C x h x w."
    )
    shape = " x ".join(map(str, output.shape))
    if output.dim() == 4:
        if tuple(output.shape[-2:]) == (1, 1):
            raise LayerError(f"'{name}' gives {shape}: a single place is left of the image. {advice}")
        if _one_scale(output.shape[2:], size):
            return lambda a: a
        if _one_scale(output.shape[1:3], size):
            return lambda a: a.movedim(-1, 1)
    prefix = _prefix_tokens(model)
    if output.dim() == 3 and prefix is not None:
        tokens = output.shape[1] - prefix
        h = round((tokens * size[0] / size[1]) ** 0.5)
        if h > 0 and tokens % h == 0 and _one_scale((h, tokens // h), size):
            return lambda a: a[:, prefix:].unflatten(1, (h, tokens // h)).movedim(-1, 1)
    raise LayerError(
        f"'{name}' gives {shape}, which is not N x C x h x w for a {size[0]} x {size[1]} image. {advice}"
    )
