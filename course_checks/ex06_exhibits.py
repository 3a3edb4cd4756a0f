"""The maps that assignment 6 judges: three methods, without their names, on drawn birds.

Each answers "why flamingo, rather than Q?" for two Q. One method answers the question, one answers
only "why flamingo?", and one does not look at the network at all: it looks for the colour of horn,
of which most bills are made. Which letter is which depends on the seed.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.birds import Bird, differences, draw
from course_utils.methods.cams import ContrastCAM, GradCAM
from course_utils.methods.forward_pass import ForwardPass
from course_utils.methods.maps import positive_maps
from course_utils.networks.birds import BirdNet
from course_utils.networks.classifiers import load_classifier

WHY = "flamingo"
RATHER_THAN = ("spoonbill", "Andean flamingo")
LETTERS = "ABC"
_FIRST_SEED = 4_000_000  # of birds that the networks have not met in training
_HORN = (0.82, 0.59, 0.28)


@dataclass(frozen=True)
class Exhibits:
    """N birds, and what three methods without a name say about them.

    Attributes:
        network: names the birds; N x 3 x 128 x 128 -> N x 12 logits.
        birds: N drawn flamingos.
        x: the same as the network reads them, N x 3 x 128 x 128.
        blurred: x, strongly blurred.
        parts: Q -> the one part in which flamingo and Q differ.
        masks: Q -> N x 128 x 128 booleans, where that part is.
        maps: letter -> Q -> N x 128 x 128, 0 or more, each at most 1.
        randomised: as `maps`, of networks of the same kind with random weights (one for each bird).
    """

    network: nn.Module
    birds: list[Bird]
    x: Tensor
    blurred: Tensor
    parts: dict[str, str]
    masks: dict[str, Tensor]
    maps: dict[str, dict[str, Tensor]]
    randomised: dict[str, dict[str, Tensor]]


def exhibits(seed: int = 5, count: int = 12) -> Exhibits:
    """Draw birds and let the three methods explain them.

    Args:
        seed: which birds, and which method hides behind which letter; for a fresh variant of the
            assignment, take another one (and a new model answer).
        count: how many birds, N.
    """
    network = load_classifier("birds")
    birds = [draw(WHY, _FIRST_SEED + 1000 * seed + n) for n in range(count)]
    x = torch.stack([network.preprocess(bird.image) for bird in birds])
    reach = x.shape[-1] // 8
    blurred = F.avg_pool2d(x, 2 * reach + 1, 1, reach, count_include_pad=False)
    parts = {q: differences(WHY, q)[0] for q in RATHER_THAN}
    masks = {
        q: torch.from_numpy(np.stack([bird.masks[part] for bird in birds]))
        for q, part in parts.items()
    }
    order = np.random.default_rng(seed).permutation(3).tolist()

    def lettered(methods: list) -> dict[str, dict[str, Tensor]]:
        return {letter: methods[i] for letter, i in zip(LETTERS, order)}

    maps = lettered(_methods(network, x, birds))
    parted = [_methods(_random(network, n), x[n : n + 1], birds[n : n + 1]) for n in range(count)]
    together = [
        {q: torch.cat([one[k][q] for one in parted]) for q in RATHER_THAN} for k in range(3)
    ]
    return Exhibits(network, birds, x, blurred, parts, masks, maps, lettered(together))


def _methods(network: nn.Module, x: Tensor, birds: list[Bird]) -> list[dict[str, Tensor]]:
    """Contrast-CAM, Grad-CAM, and the one that looks at the picture only: each Q -> N x H x W."""
    seen = ForwardPass(network, x, "features")
    grad = GradCAM(network, "features")(seen, why=WHY).maps[:, 0]
    contrast = ContrastCAM(network, "features", loss="logit_difference")
    answered = contrast(seen, why=WHY, rather_than=list(RATHER_THAN)).maps
    horn = _horn(birds, seen.activations.shape[-1])
    return [
        {q: answered[:, k] for k, q in enumerate(RATHER_THAN)},
        dict.fromkeys(RATHER_THAN, grad),
        dict.fromkeys(RATHER_THAN, horn),
    ]


def _horn(birds: list[Bird], grid: int) -> Tensor:
    """How much horn colour there is, on a grid as coarse as that of a network's maps."""
    pixels = torch.from_numpy(np.stack([np.asarray(bird.image) for bird in birds])) / 255
    like = torch.exp(-((pixels - torch.tensor(_HORN)) ** 2).sum(dim=-1) / 0.02)
    coarse = F.adaptive_avg_pool2d(like[:, None], grid)
    coarse = F.avg_pool2d(coarse, 3, 1, 1)[:, 0]
    floor = coarse.flatten(1).quantile(0.6, dim=1)[:, None, None]
    return positive_maps(coarse - floor, tuple(pixels.shape[1:3]))


def _random(network: BirdNet, seed: int) -> nn.Module:
    """The same architecture, never trained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = type(network)()
    fresh.categories, fresh.layer = network.categories, network.layer
    return fresh.eval()
