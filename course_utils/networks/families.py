"""The known families of networks: their last layers that still have spatial positions."""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple, cast

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
# What the libraries' networks have behind that layer, beside pooling and a classifier
_OWN_ENDS = {
    "GoogLeNet": ("aux1", "aux2"),
    "MobileNetV3": ("conv_head", "norm_head", "act2"),
    "SqueezeNet": ("classifier",),
    "VGG": ("pre_logits",),
    "VisionTransformer": ("attn_pool",),
}
# Families whose blocks hand on N x h x w x C
_CHANNELS_LAST = ("SwinTransformer", "SwinTransformerV2")


def stated(module: nn.Module, name: str) -> Any:
    """What a network says of itself in an attribute; None, too, where a property of its own fails.

    What is not needed for an answer must not be in its way.
    """
    try:
        return getattr(module, name, None)
    except Exception:  # noqa: BLE001
        return None


def known_layer(model: nn.Module) -> str | None:
    """The last layer with spatial positions of a network of a known family; None for others.

    A network that states its layer, `model.layer = "name"`, is believed.
    """
    layer = stated(model, "layer")
    known = (layer,) if isinstance(layer, str) else _LAYERS.get(type(model).__name__, ())
    for candidate in known:
        try:
            name = candidate if isinstance(candidate, str) else candidate(model)
            model.get_submodule(name)
            return name
        except (AttributeError, TypeError, ValueError, IndexError):
            continue  # the other library's network of the same name, or one with a part changed
    return None


class Known(NamedTuple):
    """The last layer with places of a network of a known family."""

    layer: str  # its full name
    family: str  # the network's class
    # the layers that may hand on places behind it, as a neck or an attention that somebody added;
    # empty where nothing but pooling and a classifier is there
    others: frozenset[str]


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
        own = stated(module, "layer") == name
        if name is not None and (is_of_a_library(module) or own):
            inside = f"{path}." if path else ""
            others = _added(model, path, name)
            found.append(Known(f"{inside}{name}", type(module).__name__, others))
    return found


def _added(model: nn.Module, path: str, layer: str) -> frozenset[str]:
    """The layers of a model beside a network inside and behind its layer, if one is no usual end.

    Poolings are left out: where they keep a grid, the layer before shows more.
    """
    added, on_rows = set[str](), set[str]()
    last = list(model.get_submodule(f"{path}.{layer}".strip(".")).children())[-1:]
    usual = all(is_of_a_library(m, "torch") and "pooling" not in kinds_of(type(m)) for m in last)
    for name, module in _beside(model, path, layer.partition(".")[0]):
        parent, kinds = name.rpartition(".")[0], kinds_of(type(module))
        if "pooling" in kinds:
            continue
        if kinds & {"flatten", "linear"}:
            on_rows.add(parent)  # what stands after it, too, works on rows of numbers
        own = name.startswith(f"{path}." if path else "")
        usual = usual and _ends_a_network(module, parent in on_rows, own)
        added.add(name)
    return frozenset(() if usual else added)


def _beside(model: nn.Module, path: str, part: str) -> Iterator[tuple[str, nn.Module]]:
    """The modules of a model beside a network inside, and those registered behind a part of it."""
    above, steps = "", [*filter(None, path.split(".")), part]
    for depth, step in enumerate(steps, 1):
        names = list(model._modules)
        in_order = isinstance(model, nn.Sequential) or depth == len(steps)
        for name in names[names.index(step) + 1 if in_order else 0 :]:
            child = model._modules[name]
            usual = name in _OWN_ENDS.get(type(model).__name__, ())
            if name != step and not usual and child is not None:
                yield from child.named_modules(prefix=above + name)
        model, above = model.get_submodule(step), f"{above}{step}."


def _ends_a_network(module: nn.Module, on_rows: bool, own: bool) -> bool:
    """Whether a module is a part of usual classifiers, which have no places, or change none.

    Norms over a grid's channels are, in a library's own network.
    """
    kinds = kinds_of(type(module))
    if "activation" in kinds:
        return on_rows and not isinstance(module, nn.MultiheadAttention)
    if kinds & {"container", "dropout", "flatten", "linear", "loss"}:
        return True
    if type(module) in (nn.BatchNorm1d, nn.LayerNorm):
        return True
    ends = ("ClassifierHead", "Pool", "Pool2d", *(("Norm", "Norm2d", "Permute") if own else ()))
    return is_of_a_library(module) and type(module).__name__.endswith(ends)


@lru_cache(256)
def kinds_of(layer: type) -> frozenset[str]:
    """Where in torch.nn.modules a class comes from: "pooling", say, and "module"."""
    files = [base.__module__ for base in layer.__mro__]
    return frozenset(f.rpartition(".")[2] for f in files if f.startswith("torch.nn.modules."))


def is_of_a_library(module: nn.Module, *more: str) -> bool:
    return type(module).__module__.partition(".")[0] in ("torchvision", "timm", *more)


def hands_on_channels_last(model: nn.Module) -> bool:
    """Whether a part of a network is of a library's family whose blocks give N x h x w x C."""
    return any(type(m).__name__ in _CHANNELS_LAST and is_of_a_library(m) for m in model.modules())
