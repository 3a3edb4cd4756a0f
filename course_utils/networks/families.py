"""The known families of networks: their last layers that still have spatial positions."""

from collections.abc import Callable, Iterable
from typing import NamedTuple, cast

from torch import nn


def _before_last_pool(model: nn.Module) -> str:
    """VGG and AlexNet end `features` with a max-pool: stop before it, on the finer grid."""
    features = enumerate(cast(Iterable[nn.Module], model.features))
    return f"features.{max(i for i, module in features if not isinstance(module, nn.MaxPool2d))}"


def _last_block(blocks: str, norm: str) -> Callable[[nn.Module], str]:
    """In a ViT the last layer norm before attention: after it only the class token is read."""
    return lambda m: f"{blocks}.{list(m.get_submodule(blocks)._modules)[-1]}.{norm}"


# By the class name of torchvision's and timm's networks. Several entries: the first that the
# network has (the libraries share class names).
_LAYERS: dict[str, tuple[str | Callable[[nn.Module], str], ...]] = {
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
    "MaxVit": (lambda m: f"blocks.{len(cast(nn.ModuleList, m.blocks)) - 1}",),
}
# Families whose blocks hand on N x h x w x C
CHANNELS_LAST = ("SwinTransformer", "SwinTransformerV2")


def known_layer(model: nn.Module) -> str | None:
    """The last layer with spatial positions of a network of a known family; None for others.

    A network that states its layer, `model.layer = "name"`, is believed.
    """
    stated = getattr(model, "layer", None)
    if isinstance(stated, str):
        return stated
    for candidate in _LAYERS.get(type(model).__name__, ()):
        try:
            name = candidate if isinstance(candidate, str) else candidate(model)
            model.get_submodule(name)
            return name
        except AttributeError:  # the other library's network of the same name
            continue
    return None


class Known(NamedTuple):
    """The last layer with places of a network of a known family: its full name, and the family."""

    layer: str
    family: str


def known_inside(model: nn.Module) -> list[Known]:
    """The last layers of all networks of known families: of the network itself, or those inside.

    Networks that only share a family's name are none: a ResNet may have a layer5.
    """
    found, inside = list[Known](), "."
    for path, module in model.named_modules():
        if not inside:
            break  # the network itself was found
        if path.startswith(inside):
            continue  # a part of what was found
        name = known_layer(module)
        library = type(module).__module__.partition(".")[0] in ("torchvision", "timm")
        stated = getattr(module, "layer", None) == name
        if name is not None and (library or stated) and _has(module, name):
            inside = f"{path}." if path else ""
            found.append(Known(f"{inside}{name}", type(module).__name__))
    return found


def _has(model: nn.Module, name: str) -> bool:
    try:
        return bool(model.get_submodule(name))
    except AttributeError:
        return False
