"""The course's assessor: a patch network that says how good each patch of a photo is.

As WaDIQaM (Bosse et al., IEEE TIP 27(1), 2018; see `wadiqam.py`) it extracts features from patches
of 32 x 32 pixels, of the reference too if there is one, scores and weighs each patch, and takes the
weighted mean. It differs in two things. Its features are the early blocks of an ImageNet network,
so that ten photos with opinion scores suffice. And a patch's score is the mean of positive feature
maps, less a constant that cancels in the score. So the evidence map of a patch's score is positive
everywhere and sums to the score plus that constant. With a constant as large as `BASE` the map is
flat within a few per cent: S_i(q) = 2 (q_i - q) S^{q_i} is then the local score, its zero moved to
q, and nothing else. Lecture 5 measures this.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..networks.classifiers import load_classifier

GRID = 4  # places per side of a patch
# b, the least value of a quality map. It has no part in the score. The map of a patch's score sums
# to q + b: with b = 0 the worst patches would have no map, from b = 1 on the evidence of "why not
# 1?" grows with the damage. Inside a patch S is largest where the patch is best, so a small b lays
# the blame on the undamaged part; a large one spreads it evenly over the patch.
BASE = 7


class EarlyBlocks(nn.Module):
    """The first blocks of EfficientNet-Lite0, trained on ImageNet and kept as they are.

    P x 3 x 32 x 32 pixels in [0, 1] -> the pixels and the blocks' outputs, with 3, 16, 24, 40 (and
    80) channels of 32, 16, 8, 4 (and 2) places a side.

    Args:
        count: of blocks, 3 or 4.
    """

    def __init__(self, count: int = 3):
        super().__init__()
        whole = load_classifier("efficientnet_lite0")
        self.name = whole.name
        self.stem = nn.Sequential(whole.conv_stem, whole.bn1)
        self.blocks = nn.ModuleList(whole.blocks[:count])
        mean, std = (
            torch.tensor(v).view(3, 1, 1) for v in (whole.preprocess.mean, whole.preprocess.std)
        )
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.requires_grad_(False)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        x = (pixels - self.mean) / self.std
        outputs = [x]
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        return outputs


CHANNELS = {3: 3 + 16 + 24 + 40, 4: 3 + 16 + 24 + 40 + 80}
FINE = 3 + 16 + 24  # channels with more than 4 places a side: their spread within a place counts


def _on_grid(x: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(x, GRID)


def moments(outputs: list[Tensor]) -> Tensor:
    """Mean, and standard deviation of the fine channels, within each of 4 x 4 places: 126 channels
    (206 with four blocks)."""
    means = [_on_grid(x) for x in outputs]
    spreads = [(_on_grid(x * x) - m * m).clamp(min=0).sqrt() for x, m in zip(outputs[:3], means)]
    return torch.cat(means + spreads, dim=1)


def differences(distorted: list[Tensor], reference: list[Tensor]) -> Tensor:
    """Mean absolute difference within each place: P x 83 x 4 x 4."""
    return torch.cat([_on_grid((d - r).abs()) for d, r in zip(distorted, reference)], dim=1)


def _root(x: Tensor) -> Tensor:
    """Differences span decades: their root, with their sign."""
    return x.sign() * x.abs().sqrt()


class QualityHead(nn.Module):
    """From a patch's features to its score and weight.

    Args:
        inputs: channels of the features.
        hidden: channels between.
        kept: K, channels of the quality maps A.
        base: b. Another number gives the same scores and weights, but other maps.

    The layer `quality` gives A, P x K x 4 x 4 in [base, base + 1];
    q = sum_k v_k mean_ij A_k - base, with v >= 0 and sum v = 1.
    """

    def __init__(self, inputs: int, hidden: int = 96, kept: int = 32, base: float = BASE):
        super().__init__()
        self.base = base
        self.scale = nn.BatchNorm2d(inputs, affine=False)
        self.places = nn.Sequential(nn.Conv2d(inputs, hidden, 1), nn.ReLU())
        self.context = nn.Conv2d(2 * hidden, hidden, 1)
        self.opinion = nn.Conv2d(hidden, kept, 1)
        self.quality = nn.Identity()  # the layer to question
        self.mix = nn.Parameter(torch.zeros(kept))
        self.weight = nn.Sequential(
            nn.Linear(hidden, 32), nn.ReLU(), nn.Linear(32, 1), nn.Softplus()
        )

    def forward(self, features: Tensor, changed: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
        """P x inputs x 4 x 4 features; `changed`, P x 1 x 4 x 4 in [0, 1], is 0 where nothing
        differs
        from the reference -> each place's score, P x 4 x 4, whose mean is q; weights w, P."""
        h = self.places(self.scale(features))
        around = h.mean(dim=(2, 3), keepdim=True).expand_as(h)
        h = F.relu(self.context(torch.cat([h, around], dim=1)))
        maps = self.quality(self.base + 1 - changed * torch.sigmoid(self.opinion(h)))
        # = sum_k v_k A_k - base, written so that it is exactly 1 where nothing differs
        scores = 1 - torch.einsum("k,pkij->pij", self.mix.softmax(dim=0), self.base + 1 - maps)
        return scores, self.weight(h.mean(dim=(2, 3))).squeeze(1) + 1e-6


class QualityNet(nn.Module):
    """Scores and weights of patches, with the reference's patches or without.

    Args:
        reference: whether it compares with a reference.
        base: b, see `QualityHead`.

    forward: distorted patches, P x 3 x 32 x 32 in [0, 1] (and the reference's, likewise) -> scores
    q in [0, 1], exactly 1 where a patch equals its reference, and weights w > 0, both P.
    """

    layer = "head.quality"  # to question: P x 32 x 4 x 4

    def __init__(self, reference: bool = True, base: float = BASE):
        super().__init__()
        self.reference = reference
        # alone, a patch is scored by what it shows too: blurred, or a clear sky?
        count = 3 if reference else 4
        self.extractor = EarlyBlocks(count)
        seen = CHANNELS[count] + FINE
        self.head = QualityHead(2 * seen + CHANNELS[count] if reference else seen, base=base)
        if reference:
            self.visible = nn.Parameter(torch.tensor(-3.0))  # log of the difference half noticed

    def extract(self, pixels: Tensor) -> list[Tensor]:
        """What the extractor sees in patches, P x 3 x 32 x 32."""
        return self.extractor(pixels)

    def features(self, seen: list[Tensor], wanted: list[Tensor] | None = None) -> list[Tensor]:
        """What the head reads, P x ... x 4 x 4, from what was seen in the patches (and in the
        reference's): computed once, it can be learned from many times."""
        own = moments(seen)
        if not self.reference:
            return [own]
        others, change = moments(wanted), differences(seen, wanted)
        return [
            torch.cat([_root(own - others), _root(change), others], dim=1),
            change.mean(1, True),
        ]

    def scores_and_weights(
        self, features: Tensor, change: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Scores and weights from `features`, both P."""
        places, weights = self.scores_of_places(features, change)
        return places.mean(dim=(1, 2)), weights

    def scores_of_places(
        self, features: Tensor, change: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """As `scores_and_weights`, but the scores of the 4 x 4 places, P x 4 x 4."""
        if change is None:
            return self.head(features)
        changed = change / (change + self.visible.exp())
        return self.head(features, changed)

    def forward(self, distorted: Tensor, reference: Tensor | None = None) -> tuple[Tensor, Tensor]:
        wanted = None if reference is None else self.extract(reference)
        return self.scores_and_weights(*self.features(self.extract(distorted), wanted))


def weighted_mean(scores: Tensor, weights: Tensor) -> Tensor:
    """s = sum_i w_i q_i / sum_i w_i over the last dimension (Bosse et al., eq. 7)."""
    return (weights * scores).sum(-1) / weights.sum(-1)
