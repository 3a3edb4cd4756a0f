"""An assessor of image quality, and its answers to "why this score, rather than that?"."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ..errors import ImageError
from ..methods.forward_pass import ForwardPass
from ..methods.head import undisturbed
from ..networks.pictures import as_rgb
from .distort import Distorted
from .network import weighted_mean
from .patches import SIDE, Patches, cut, lay_back

BATCH = 256  # patches looked at in one go


@dataclass(frozen=True)
class LocalScores:
    """`scores` q_i in [0, 1] and `weights` w_i > 0 of the patches, both rows x columns."""

    scores: Tensor
    weights: Tensor

    def mean(self) -> float:
        """The photo's score: the weighted mean of its patches', kept in [0, 1]."""
        return weighted_mean(self.scores.flatten(), self.weights.flatten()).clamp(0, 1).item()


@dataclass(frozen=True)
class QualityExplanation:
    """Why s, rather than each of K other scores?

    Attributes:
        score: s, in [0, 1].
        rather_than: the K scores q.
        evidence: K x H x W, signed and unscaled; positive where the photo is better than q and
            holds the score up, negative where it is worse and pulls the score down.
        local: scores and weights of the patches side by side, of which the score is made.
    """

    score: float
    rather_than: tuple[float, ...]
    evidence: Tensor
    local: LocalScores

    @property
    def signed_maps(self) -> Tensor:
        """The evidence on one scale for all K, K x H x W in [-1, 1]; zeros where it is empty."""
        largest = self.evidence.abs().max()
        return self.evidence / largest if largest > 0 else self.evidence

    @property
    def maps(self) -> NoReturn:
        """What an `Explanation` has, and this has not."""
        raise AttributeError(
            "The maps of a QualityExplanation have signs: signed_maps, K x H x W in [-1, 1]."
        )

    @property
    def questions(self) -> list[str]:
        """The K questions as sentences."""
        return [f"Why {self.score:.2f}, rather than {q:.2f}?" for q in self.rather_than]


class Assessor:
    """Scores photos from 0 to 1, with a reference or without, and says which places made the score.

    Args:
        network: patches -> scores and weights (see `network.QualityNet` and `wadiqam.BosseNet`),
            with `.reference` (whether it compares) and the layer to question, `.layer`.
    """

    def __init__(self, network: nn.Module):
        # the same answers; on a CPU a quarter faster to explain
        self.network = network.eval().to(memory_format=torch.channels_last)

    def score(self, distorted: Image.Image, reference: Image.Image | None = None) -> float:
        """The photo's quality, 0 to 1; 1 means that nobody could tell it from the reference.

        Args:
            distorted: any picture of at least 64 x 64 pixels (PIL or array, see
                `pictures.as_pixels`).
            reference: the same photo undistorted, of the same size; only for an assessor that
                compares.

        Raises:
            ImageError: no PIL image, too small, of two sizes; a reference missing or not wanted.
        """
        return self.local_scores(distorted, reference).mean()

    def local_scores(
        self, distorted: Image.Image, reference: Image.Image | None = None, step: int = SIDE
    ) -> LocalScores:
        """The score and the weight of each patch of 32 x 32 pixels, one every `step` pixels.

        Arguments and errors as `score`.
        """
        patches, wanted = self._patches(distorted, reference, step)
        with undisturbed(self.network), torch.inference_mode():
            parts = [self.network(*batch) for batch in self._batches(patches, wanted)]
        scores, weights = (torch.cat(part).view(patches.grid) for part in zip(*parts))
        return LocalScores(scores, weights)

    def score_map(
        self,
        distorted: Image.Image,
        reference: Image.Image | None = None,
        step: int = SIDE // 2,
    ) -> Tensor:
        """The local scores q_i laid back in their places, H x W in [0, 1]; no gradient is asked.

        `score_map - q` is the plain baseline beside which `explain` has to be measured.

        Arguments and errors as `explain`.
        """
        scores = self.local_scores(distorted, reference, step).scores
        patches = cut(as_tensor(distorted, "distorted"), step)
        return lay_back(scores.reshape(-1, 1, 1, 1), patches)[0]

    def explain(
        self,
        distorted: Image.Image,
        reference: Image.Image | None = None,
        rather_than: Sequence[float] = (1, 0.75, 0.5, 0.25),
        step: int = SIDE // 2,
    ) -> QualityExplanation:
        """Why this score, rather than q? Asked patch by patch, so that different q differ.

        For patch i the question is J_i = (q_i - q)^2, whose cotangent is 2 (q_i - q): its evidence
        is S_i(q) = 2 (q_i - q) S^{q_i}, with S^{q_i} the signed Grad-CAM map of the patch's own
        score. Overlapping patches are averaged.

        Args:
            distorted, reference: as for `score`.
            rather_than: K scores q, each in [0, 1].
            step: pixels between the beginnings of patches, 1 to 32; smaller is finer and slower.

        Raises:
            ImageError: as `score`. ValueError: no q, one outside [0, 1], or a step that is no whole
                number from 1 to 32.
        """
        asked = torch.tensor(_checked(rather_than), dtype=torch.float32, device="cpu")
        patches, wanted = self._patches(distorted, reference, step)
        evidence = []
        for pixels, *others in self._batches(patches, wanted):
            seen = ForwardPass(
                _PatchScores(self.network, *others), pixels, f"network.{self.network.layer}"
            )
            scores = seen.logits  # P x 1
            evidence.append(seen.evidence(2 * (scores - asked).unsqueeze(-1)))
        local = self.local_scores(distorted, reference)
        maps = lay_back(torch.cat(evidence), patches)
        return QualityExplanation(local.mean(), tuple(asked.tolist()), maps, local)

    def explain_globally(
        self,
        distorted: Image.Image,
        reference: Image.Image | None = None,
        rather_than: Sequence[float] = (1, 0.75, 0.5, 0.25),
    ) -> QualityExplanation:
        """The published case study's way: one question to the whole photo, S(q) = 2 (s - q) S^s.

        All q on one side of s give the same picture up to a factor. It is here to be seen, not
        used. Arguments and errors as `explain`.
        """
        asked = torch.tensor(_checked(rather_than), dtype=torch.float32, device="cpu")
        map_of_score, local = self.why(distorted, reference)
        s = local.mean()
        return QualityExplanation(
            s, tuple(asked.tolist()), 2 * (s - asked).view(-1, 1, 1) * map_of_score, local
        )

    def why(
        self, distorted: Image.Image, reference: Image.Image | None = None
    ) -> tuple[Tensor, LocalScores]:
        """Grad-CAM of the score itself, "Why 0.58?": S^s, H x W, unscaled; and the local scores."""
        patches, wanted = self._patches(distorted, reference, SIDE)
        model = _PhotoScore(self.network, wanted)
        reshape_transform = partial(_grid, grid=patches.grid)
        seen = ForwardPass(
            model, patches.pixels, f"network.{self.network.layer}", reshape_transform
        )
        evidence = seen.evidence(torch.ones_like(seen.logits))[0]  # 1 x rows h x columns w
        return lay_back(_patchwise(evidence, patches.grid), patches)[0], self.local_scores(
            distorted, reference
        )

    def _patches(self, distorted, reference, step: int) -> tuple[Patches, Tensor | None]:
        """The photo's patches, and the reference's pixels at the same places, P x 3 x 32 x 32."""
        compares = self.network.reference
        if compares and reference is None:
            raise ImageError(
                "This assessor compares: pass the reference photo as well, or use "
                "load_assessor(reference=False)."
            )
        if not compares and reference is not None:
            raise ImageError(
                "This assessor looks at one photo only: leave the reference out, or use "
                "load_assessor(reference=True)."
            )
        patches = cut(as_tensor(distorted, "distorted"), step)
        if not compares:
            return patches, None
        wanted = cut(as_tensor(reference, "reference"), step)
        if wanted.size != patches.size:
            (h, w), (height, width) = patches.size, wanted.size
            raise ImageError(
                f"The distorted photo is {w} x {h} pixels, its reference {width} x {height}: crop "
                "or resize them to the same size."
            )
        return patches, wanted.pixels

    @staticmethod
    def _batches(patches: Patches, wanted: Tensor | None):
        """(distorted patches, and the reference's if there are any) in batches."""
        both = [patches.pixels] if wanted is None else [patches.pixels, wanted]
        return zip(*(pixels.split(BATCH) for pixels in both))


class _PatchScores(nn.Module):
    """Distorted patches -> their scores, P x 1.

    What is seen in the reference's patches is fixed beforehand: the question is about the distorted
    photo's activations only, and its layers run once.
    """

    def __init__(self, network: nn.Module, reference: Tensor | None = None):
        super().__init__()
        self.network = network
        with undisturbed(network), torch.no_grad():
            self.wanted = None if reference is None else network.extract(reference)

    def scores_and_weights(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.scores_and_weights(
            *self.network.features(self.network.extract(patches), self.wanted)
        )

    def forward(self, patches: Tensor) -> Tensor:
        return self.scores_and_weights(patches)[0].unsqueeze(1)


class _PhotoScore(_PatchScores):
    """All patches of a photo -> its score, 1 x 1."""

    def forward(self, patches: Tensor) -> Tensor:
        return weighted_mean(*self.scores_and_weights(patches)).view(1, 1)


def _grid(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """P x K x h x w -> 1 x K x rows h x columns w: the patches side by side."""
    return maps.unflatten(0, grid).permute(2, 0, 3, 1, 4).flatten(1, 2).flatten(2, 3).unsqueeze(0)


def _patchwise(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """`_grid` undone: K x rows h x columns w -> P x K x h x w."""
    rows, columns = grid
    cells = maps.unflatten(2, (columns, -1)).unflatten(1, (rows, -1))  # K x rows x h x columns x w
    return cells.permute(1, 3, 0, 2, 4).flatten(0, 1)


def as_tensor(photo, which: str = "given") -> Tensor:
    """A photo, as `pictures.as_pixels` reads it, or a `Distorted` -> 3 x H x W floats in [0, 1].

    Raises:
        ImageError: no picture.
    """
    try:
        pixels = np.array(as_rgb(photo.image if isinstance(photo, Distorted) else photo))
    except (TypeError, ValueError) as error:
        raise ImageError(f"The {which} photo cannot be used: {error}") from None
    return torch.from_numpy(pixels).movedim(-1, 0).float() / 255


def _checked(rather_than) -> list[float]:
    """The scores q as a list, from one number, a list, an array or a tensor."""
    try:
        scores = np.asarray(
            rather_than.detach().cpu() if isinstance(rather_than, Tensor) else rather_than, float
        ).reshape(-1)
    except (TypeError, ValueError):
        scores = np.empty(0)
    if not len(scores) or not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError(
            f"rather_than holds scores between 0 and 1, at least one; not {rather_than}."
        )
    return scores.tolist()
