"""An assessor of image quality, and its answers to "why this score, rather than that?"."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from ..errors import ImageError, a_kind_of
from ..methods.forward_pass import ForwardPass
from ..methods.inputs import beside_weights
from ..methods.layers import find_layer
from ..methods.running import undisturbed
from ..networks.pictures import as_rgb
from .distort import PATIENCE, picture_of
from .network import weighted_mean
from .patches import SIDE, Patches, cut, lay_back
from .reading import PatchScores, Reading, ScaleWarning, beyond, check

BATCH = 256  # patches looked at in one go


@dataclass(frozen=True)
class LocalScores:
    """`scores` q_i in [0, 1] and `weights` w_i > 0 of the patches, both rows x columns."""

    scores: Tensor
    weights: Tensor

    def mean(self) -> float:
        """The photo's score: the weighted mean of its patches', kept in [0, 1]."""
        return weighted_mean(self.scores.flatten(), self.weights.flatten()).clamp(0, 1).item()

    def slopes(self) -> Tensor:
        """ds/dq_i and ds/dw_i of the photo's score s, P x 2."""
        q, w = self.scores.flatten(), self.weights.flatten()
        return torch.stack([w, q - weighted_mean(q, w)], dim=1) / w.sum()


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
        network: P x 3 x 32 x 32 pixels in [0, 1] -> P scores, or a pair of P scores and P weights;
            with `.reference` True, it is called with the reference's patches as well. The layer to
            question is its `.layer`, a name; else the last one with places. One that reads other
            pixels or sizes: `nn.Sequential(Normalize(mean, std), nn.Upsample(size=224), network)`.
            A network in parts, as `network.QualityNet` and `wadiqam.BosseNet`, sees the reference
            once. It runs in evaluation mode and is left as it was found.
        scale: what it gives the worst photo and the best, such as (1, 5), or (100, 0) where more is
            worse.
        output: a function from what it returns to scores, or to (scores, weights).

    Raises:
        TypeError: it is no network. ValueError: no such scale.

    >>> nima = Assessor(network, scale=(1, 10), output=lambda y: y @ torch.arange(1.0, 11.0))
    """

    def __init__(
        self,
        network: nn.Module,
        scale: tuple[float, float] = (0, 1),
        output: Callable[[Any], Any] | None = None,
    ):
        if not isinstance(network, nn.Module):
            cure = " It is one already." if isinstance(network, Assessor) else ""
            raise TypeError(f"An Assessor is made of a network, not of {a_kind_of(network)}.{cure}")
        self._read = Reading(scale, output)
        # the same answers; on a CPU a quarter faster to explain
        self.network = network.to(memory_format=torch.channels_last)

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
            parts = [self._scores(*batch) for batch in self._batches(patches, wanted)]
        scores, weights = (_plain(torch.cat(part)) for part in zip(*parts))
        check(scores, weights)
        said = beyond(scores, float(weighted_mean(scores, weights)), self._read.scale)
        if said:
            warnings.warn(said, ScaleWarning, stacklevel=3)
        return LocalScores(scores.view(patches.grid), weights.view(patches.grid))

    def _scores(self, pixels: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and weights of some patches, both P."""
        try:
            returned = self.network(pixels, *others)
        except Exception as error:
            two = ", and the reference's" if others else ""
            says = str(error).strip().partition("\n")[0].rstrip(".")
            raise ImageError(
                f"{type(self.network).__name__} cannot score patches, P x 3 x {SIDE} x {SIDE}{two} "
                f"({type(error).__name__}: {says}). One that reads larger ones is wrapped, "
                "nn.Sequential(nn.Upsample(size=224), network); one that compares two photos says "
                "so by network.reference = True."
            ) from error
        return self._read(returned, len(pixels))

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
        local, evidence = self.local_scores(distorted, reference), []
        for pixels, *others in self._batches(patches, wanted):
            model = PatchScores(self.network, *others, read=self._read)
            seen = ForwardPass(model, pixels, self._layer)
            scores = seen.logits  # P x 1
            evidence.append(_plain(seen.evidence(2 * (scores - asked.to(scores)).unsqueeze(-1))))
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
        """Grad-CAM of the score itself, "Why 0.58?": S^s, H x W, unscaled; and the local scores.

        The patches side by side are one grid, whose weights alpha are the mean of its patches'.
        """
        patches, wanted = self._patches(distorted, reference, SIDE)
        local, alphas, activations = self.local_scores(distorted, reference), [], []
        slopes = local.slopes().unsqueeze(1).split(BATCH)
        for (pixels, *others), v in zip(self._batches(patches, wanted), slopes):
            model = _ScoresAndWeights(self.network, *others, read=self._read)
            seen = ForwardPass(model, pixels, self._layer)
            alphas.append(_plain(seen.weights(v)))  # P x 1 x C
            activations.append(_plain(seen.activations))
        alpha = torch.cat(alphas).mean(dim=0)
        evidence = torch.einsum("kc,pchw->pkhw", alpha, torch.cat(activations))
        return lay_back(evidence, patches)[0], local

    @property
    def _compares(self) -> bool:
        found = getattr(self.network, "reference", False)
        return not isinstance(found, nn.Module) and bool(found)

    @property
    def _layer(self) -> str | None:
        """The target layer's name inside `PatchScores`; None where the network names none."""
        name = getattr(self.network, "layer", None)
        if not isinstance(name, str):
            return None
        find_layer(self.network, name)  # a wrong name gets the network's own names
        return f"network.{name}"

    def _patches(self, distorted, reference, step: int) -> tuple[Patches, Tensor | None]:
        """The photo's patches, and the reference's pixels at the same places, P x 3 x 32 x 32."""
        compares = self._compares
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

    def _batches(self, patches: Patches, wanted: Tensor | None):
        """(distorted patches, and the reference's if there are any) in batches, where the network
        is; of many, a bar shows how far they are."""
        both = [patches.pixels] if wanted is None else [patches.pixels, wanted]
        batches = [*zip(*(beside_weights(pixels, self.network).split(BATCH) for pixels in both))]
        return tqdm(batches, desc="patches", unit=" batches", delay=PATIENCE, leave=False)


class _ScoresAndWeights(PatchScores):
    """Distorted patches -> their scores and weights, P x 2."""

    def forward(self, patches: Tensor) -> Tensor:
        return torch.stack(self.scores_and_weights(patches), dim=1)


def _plain(values: Tensor) -> Tensor:
    """Numbers from wherever the network is, as float32 on the CPU."""
    return values.float().cpu()


def as_tensor(photo, which: str = "given") -> Tensor:
    """A photo, as `pictures.as_pixels` reads it, or a `Distorted` -> 3 x H x W floats in [0, 1].

    Raises:
        ImageError: no picture.
    """
    try:
        pixels = np.array(as_rgb(picture_of(photo)))
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
