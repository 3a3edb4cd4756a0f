"""WaDIQaM, the patch network of Bosse, Maniry, Mueller, Wiegand and Samek, "Deep neural networks
for
no-reference and full-reference image quality assessment", IEEE TIP 27(1), 2018,
arXiv:1612.01697."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BosseNet(nn.Module):
    """Ten convolutions, features of both photos fused, a score and a weight for each patch.

    Args:
        reference: True for WaDIQaM-FR, False for WaDIQaM-NR.
        widths: channels of the five pairs of convolutions; the paper's are 32 to 512.

    forward: distorted patches, P x 3 x 32 x 32 in [0, 1] (and the reference's) -> scores q and
    weights w > 0, both P; the scores are not bounded.
    """

    layer = "extractor.22"  # the last of the ten convolutions: 2 x 2 places

    def __init__(self, reference: bool = True, widths: tuple[int, ...] = (32, 64, 128, 256, 512)):
        super().__init__()
        self.reference = reference
        layers: list[nn.Module] = []
        for before, width in zip((3, *widths), widths):
            for channels in (before, width):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            layers += [nn.MaxPool2d(2)]
        self.extractor = nn.Sequential(*layers)  # 32 x 32 pixels -> 1 x 1 place
        fused = widths[-1] * (3 if reference else 1)
        self.score = _regression(fused, widths[-1])
        self.weight = _regression(fused, widths[-1])
        # with PyTorch's default initialisation the answer never leaves a constant
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def extract(self, pixels: Tensor) -> Tensor:
        """The extractor's features of patches, P x C."""
        return self.extractor(2 * pixels - 1).flatten(1)

    def features(self, seen: Tensor, wanted: Tensor | None = None) -> list[Tensor]:
        """Of each patch: its features f_d, or (f_d - f_r, f_d, f_r)."""
        return [seen if wanted is None else torch.cat([seen - wanted, seen, wanted], dim=1)]

    def scores_and_weights(self, fused: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and weights from `features`."""
        return self.score(fused).squeeze(1), F.relu(self.weight(fused)).squeeze(1) + 1e-6

    def forward(self, distorted: Tensor, reference: Tensor | None = None) -> tuple[Tensor, Tensor]:
        wanted = None if reference is None else self.extract(reference)
        return self.scores_and_weights(*self.features(self.extract(distorted), wanted))


def _regression(inputs: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(0.5), nn.Linear(hidden, 1)
    )
