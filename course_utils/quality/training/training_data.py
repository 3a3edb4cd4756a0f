"""What an assessor learns from: scored photos, cut into patches and seen through the extractor
once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ..assessor import as_tensor
from ..network import GRID, QualityNet
from ..patches import SIDE, cut
from .tid2013 import Scored

PATCHES = 96  # of each view of a photo
VIEWS = 3  # of each distorted photo, see `_view`
PRISTINE = 0  # the type of a photo that is its own reference


@dataclass(frozen=True)
class Lessons:
    """All views of all distorted photos of one reference.

    Attributes:
        features: what `QualityNet.features` gives, each images x 96 x ... x 4 x 4, float16.
        covered: how much of each place is distorted, images x 96 x 4 x 4 in [0, 1].
        scores: of the distorted parts, images; 1 is the reference itself.
        types: TID2013's numbers, images; 0 for the reference itself.
    """

    features: list[Tensor]
    covered: Tensor
    scores: Tensor
    types: Tensor

    def __len__(self) -> int:
        return len(self.scores)


def _view(distorted: Image.Image, reference: Image.Image, number: int, rng: np.random.Generator):
    """View 0 is the photo; 1 mirrored; 2 distorted in a rectangle only, mirrored or not.

    Returns both photos as pixels, and the share of distortion, all shifted by less than a patch.
    """
    if number == 1 or (number == 2 and rng.random() < 0.5):
        distorted, reference = ImageOps.mirror(distorted), ImageOps.mirror(reference)
    pixels, wanted = as_tensor(distorted), as_tensor(reference)
    height, width = pixels.shape[1:]
    covered = torch.ones(1, height, width)
    if number == 2:
        h, w = (int(rng.integers(side // 4, side * 3 // 4)) for side in (height, width))
        y, x = int(rng.integers(0, height - h)), int(rng.integers(0, width - w))
        covered = torch.zeros(1, height, width)
        covered[:, y : y + h, x : x + w] = 1
        pixels = torch.where(covered > 0, pixels, wanted)
    # by eights, which keeps JPEG's grid of 8 x 8 pixels where it is
    dy, dx = (0, 0) if number == 0 else 8 * rng.integers(0, SIDE // 8, 2)
    return [part[:, dy:, dx:] for part in (pixels, wanted, covered)]


@torch.inference_mode()
def _seen(network: QualityNet, view: list[Tensor], rng: np.random.Generator):
    """Features and coverage of 96 patches drawn from a view."""
    pixels, wanted, covered = view
    patches = [cut(part).pixels for part in (pixels, wanted, covered.expand(3, -1, -1))]
    chosen = torch.from_numpy(rng.permutation(len(patches[0])))[:PATCHES]
    chosen = chosen.repeat(PATCHES // len(chosen) + 1)[
        :PATCHES
    ]  # a small photo: some patches twice
    own, others, covers = (part[chosen] for part in patches)
    looked = [network.extract(own)] + ([network.extract(others)] if network.reference else [])
    cells = torch.nn.functional.adaptive_avg_pool2d(covers[:, 0], GRID)
    return [part.half() for part in network.features(*looked)], cells


def _of_reference(network: QualityNet, scored: Sequence[Scored]) -> Lessons:
    rng = np.random.default_rng([scored[0].reference, network.reference])
    rows = []
    for number, item in enumerate(scored):
        distorted, reference = item.open()
        if number == 0:
            rows.append((*_seen(network, _view(reference, reference, 0, rng), rng), 1.0, PRISTINE))
        for view in range(VIEWS):
            seen = _seen(network, _view(distorted, reference, view, rng), rng)
            rows.append((*seen, item.score, item.type))
    features, covered, scores, types = zip(*rows)
    return Lessons(
        [torch.stack(part) for part in zip(*features)],
        torch.stack(covered),
        torch.tensor(scores),
        torch.tensor(types),
    )


def prepare(network: QualityNet, scored: Iterable[Scored], cache: Path) -> dict[int, Lessons]:
    """Lessons by reference; each reference's are kept in `cache`, so that a second call reads them.

    Args:
        network: its extractor is used, its head is not.
        scored: the photos.
        cache: a folder; made if missing. Delete it when the photos or the extractor change.
    """
    cache.mkdir(parents=True, exist_ok=True)
    by_reference: dict[int, list[Scored]] = {}
    for item in scored:
        by_reference.setdefault(item.reference, []).append(item)
    network.eval()
    lessons = {}
    for reference, items in by_reference.items():
        file = cache / f"reference_{reference:03d}_{len(items)}.pt"
        if not file.exists():
            part = file.with_suffix(".part")
            torch.save(vars(_of_reference(network, items)), part)
            part.replace(file)  # whole or not at all: an interruption leaves no half file
        lessons[reference] = Lessons(**torch.load(file, weights_only=True, mmap=True))
    return lessons
