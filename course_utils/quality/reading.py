"""What a network says of patches, read as scores from 0 (worst) to 1 (best) and weights."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ImageError, a_kind_of
from ..methods.running import undisturbed

PARTS = ("extract", "features", "scores_and_weights")  # of the course's networks
SLACK = 0.25  # scores are not bounded by every network: so far beyond 0 to 1 it is another scale


class ScaleWarning(UserWarning):
    """A network's scores do not lie between 0 and 1."""


@dataclass(frozen=True)
class Reading:
    """How what a network returns is read.

    Args:
        scale: what it gives the worst photo and the best.
        output: a function from what it returns to scores, or to (scores, weights); None: as it is.
    """

    scale: tuple[float, float] = (0, 1)
    output: Callable[[Any], Any] | None = None

    def __post_init__(self):
        if not (self.output is None or callable(self.output)):
            kind = a_kind_of(self.output)
            raise TypeError(f"output= is a function, such as lambda y: y['score'], not {kind}.")
        try:
            worst, best = map(float, self.scale)
            good = worst != best and abs(worst - best) < float("inf")
        except (TypeError, ValueError):
            good = False
        if not good:
            raise ValueError(
                f"scale is (score of the worst photo, of the best), such as (1, 5), or (100, 0) "
                f"where more is worse; not {self.scale!r}."
            )

    def __call__(self, returned: Any, count: int) -> tuple[Tensor, Tensor]:
        """Scores and weights of so many patches; all weights are 1 where there are scores alone.

        Raises:
            TypeError: the numbers are not one for each patch.
        """
        returned = returned if self.output is None else self.output(returned)
        pair = isinstance(returned, (tuple, list)) and len(returned) == 2
        scores, weights = returned if pair else (returned, None)
        scores = _one_each(scores, count, "score")
        if tuple(self.scale) != (0, 1):
            worst, best = map(float, self.scale)
            scores = (scores - worst) / (best - worst)
        if weights is None:
            return scores, torch.ones_like(scores)
        return scores, _one_each(weights, count, "weight")


def _one_each(values: Any, count: int, what: str) -> Tensor:
    """One number for each patch: P."""
    if isinstance(values, Tensor) and values.numel() == count:
        return values.reshape(count)
    got = a_kind_of(values)
    if isinstance(values, Tensor):
        got = " x ".join(map(str, values.shape)) or "a single number"
    several = isinstance(values, Tensor) and values.dim() == 2 and len(values) == count
    cure = "output=lambda y: y['score'] of a dict, output=lambda y: y[0] of several outputs"
    if several and what == "score":
        n = values.shape[1]
        sums = values.detach().float().sum(dim=1)
        shares = bool((values >= 0).all()) and bool(((sums - 1).abs() < 1e-3).all())
        mean = f"{'y' if shares else 'y.softmax(1)'} @ torch.arange(1, {n + 1}).to(y)"
        cure = f"of shares of the ratings 1 to {n} their mean, scale=(1, {n}), output=lambda y: "
        cure += mean
    raise TypeError(
        f"Of {count} patches the network gave {got}: one {what} for each is needed (or a pair, "
        f"scores and weights). Say how to read it, Assessor(network, ...): {cure}."
    )


def check(scores: Tensor, weights: Tensor) -> None:
    """Raise an error, or warn, where the photo's score would not be one.

    Raises:
        ImageError: NaN or infinity. ValueError: weights that are negative, or all 0.
    """
    if not (scores.isfinite().all() and weights.sum().isfinite()):  # a sum may pass all numbers
        raise ImageError(
            "The network's answer holds NaN or infinity. Look at the photo's values, and try "
            "float32 if the network runs in half precision."
        )
    low, high = weights.min().item(), weights.max().item()
    if low < 0 or high <= 0:
        raise ValueError(
            f"The weights of the patches run from {low:.3g} to {high:.3g}, and must be positive: "
            "end them in a softplus, or take the scores alone, "
            "Assessor(network, output=lambda y: y[0])."
        )


def beyond(scores: Tensor, mean: float, scale: tuple[float, float]) -> str:
    """What to warn of where the scores are on another scale; nothing where they are not."""
    if -SLACK <= mean <= 1 + SLACK:
        return ""
    worst, best = map(float, scale)
    low, high = (worst + q * (best - worst) for q in (scores.min().item(), scores.max().item()))
    asked = "" if tuple(scale) == (0, 1) else f"scale=({worst:g}, {best:g}) says that "
    return (
        f"The network gives patches {min(low, high):.3g} to {max(low, high):.3g}, but {asked}"
        f"{worst:g} is the worst score and {best:g} the best, so that the photo's is cut off. Say "
        "on what scale it scores: Assessor(network, scale=(1, 5)), say, or scale=(100, 0) where "
        "more is worse."
    )


class PatchScores(nn.Module):
    """Distorted patches -> their scores, P x 1.

    Of a network in parts, what is seen in the reference's patches is fixed beforehand: the question
    is about the distorted photo's activations only, and its layers run once.
    """

    def __init__(
        self, network: nn.Module, reference: Tensor | None = None, read: Reading | None = None
    ):
        super().__init__()
        self.network, self.read = network, read or Reading()
        self.parts = all(callable(getattr(network, name, None)) for name in PARTS)
        self.others = () if reference is None else (reference,)
        with undisturbed(network), torch.no_grad():
            self.wanted = network.extract(reference) if self.parts and self.others else None

    def scores_and_weights(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        network = self.network
        if self.parts:
            features = network.features(network.extract(patches), self.wanted)
            return self.read(network.scores_and_weights(*features), len(patches))
        return self.read(network(patches, *self.others), len(patches))

    def forward(self, patches: Tensor) -> Tensor:
        return self.scores_and_weights(patches)[0].unsqueeze(1)
