"""Small networks that name the drawn birds, with weights trained for this course
(tools/train_birds.py)."""

from safetensors.torch import load
from torch import Tensor, nn

from ..birds.species import SPECIES
from ..errors import WeightsError, closest
from . import course_weights
from .precision import in_float32
from .preprocess import Preprocess

SIZE = 128  # side of the pictures that the networks read

# what each network is for; how each was trained stands in tools/train_birds.py, how each does in
# data/birds.md
VARIANTS = {
    "birds": "sees 20 x 20 pixels at a time, on a 32 x 32 grid, and has met birds whose parts are "
    "hidden",
    "birds_shortcut": "is built as `birds` is, but every bird it was shown was whole",
    "birds_blurry": "sees 55 x 55 pixels at a time, on a 16 x 16 grid; every bird it was shown "
    "was whole",
}


class BirdNet(nn.Module):
    """Convolutions, the mean over all places, and one linear layer without bias.

    With such a head the signed map of class c is S^c = sum_k w_ck A^k / (h w), and its sum over the
    places is exactly y_c: the map splits the logit. What a place can know is bounded by the
    receptive field, so that evidence for a bill must lie within a few pixels of the bill (the idea
    of BagNets: Brendel and Bethge, ICLR 2019, arXiv:1904.00760).

    Args:
        blurry: False for a 20-pixel receptive field at stride 4, True for 55 pixels at stride 8.
        classes: number of outputs.

    Input N x 3 x H x W, normalised; output N x classes logits.
    """

    def __init__(self, blurry: bool = False, classes: int = len(SPECIES)):
        super().__init__()
        if blurry:
            shape = [
                (16, 3, 2),
                (32, 3, 2),
                (32, 3, 1),
                (48, 3, 2),
                (48, 3, 1),
                (48, 3, 1),
                (64, 1, 1),
            ]
        else:
            shape = [(32, 4, 4), (48, 3, 1), (48, 3, 1), (64, 1, 1)]
        channels = [3] + [width for width, _, _ in shape]
        self.features = nn.Sequential(
            *(_convolution(before, *this) for before, this in zip(channels, shape))
        )
        self.head = nn.Linear(channels[-1], classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))


def _convolution(before: int, width: int, kernel: int, stride: int) -> nn.Sequential:
    padding = 0 if kernel == stride else kernel // 2
    return nn.Sequential(
        nn.Conv2d(before, width, kernel, stride, padding, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )


@in_float32()
def load_birds_network(name: str = "birds") -> BirdNet:
    """A network that names the drawn birds, in evaluation mode.

    Args:
        name: "birds" (the one to question), "birds_shortcut" or "birds_blurry" (as accurate, but
            with other reasons: see VARIANTS).

    Returns:
        The network, with `.preprocess` (PIL -> 3 x 128 x 128 floats), `.categories` (the species'
        names) and `.layer` ("features").

    Raises:
        ValueError: no such network.
        WeightsError: its weights are missing or damaged.
    """
    if name not in VARIANTS:
        raise ValueError(f"No network of birds is called {name!r}.{closest(name, VARIANTS)}")
    network = BirdNet(blurry=name == "birds_blurry")
    weights = load(course_weights.weights("birds", name))
    if (known := len(weights["head.weight"])) != len(SPECIES):
        raise WeightsError(
            f"The weights know {known} species, the table has {len(SPECIES)}: make train-birds"
        )
    network.load_state_dict(weights)
    network.preprocess = Preprocess(SIZE, SIZE, (0.5,) * 3, (0.5,) * 3)
    network.categories = list(SPECIES)
    network.layer = "features"
    return network.float().eval()


def card() -> dict:
    """What data/birds.json records of each network: sha256 of its weights and its measured
    figures."""
    return course_weights.record("birds")
