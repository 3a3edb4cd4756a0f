"""Five questions about each photo of a batch, from one forward pass: numbers, maps, warnings.

1. Why P? 2. What if P's evidence were absent? 3. Why P, rather than Q? 4. The same, by the other
loss. 5. Why not P with 100 % (Q = P)?
"""

import base64
import math
from dataclasses import dataclass

import torch
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import ImageError, LayerError
from ...figures.overlays import where
from ...methods.cams import ContrastCAM, CounterfactualCAM, Explanation, GradCAM
from ...methods.classes import class_indices, class_name, names_in, names_of
from ...methods.scores import class_logits, predicted
from ...methods.strength import LARGE, WEAK, strength_in_words
from .photos import Read

RUNNER_UP = "runner-up"
UNSURE = 0.5  # below this, P is not more likely than all else together
DISAGREE = 0.5  # rank correlation of the two losses' maps
AGAINST = 0.4  # share of P's evidence that speaks against P
FINEST = 32  # places along a side of a map that the page keeps


@dataclass(frozen=True)
class Questions:
    """What every photo is asked.

    Attributes:
        why: P; None for each photo's predicted class.
        rather_than: Q; "runner-up" for the most probable class beside P.
        loss: of the contrast, as for `ContrastCAM`.
        sigmoid: whether the network is a multi-label one.
        layer: the target layer's name; None for the default.
    """

    why: str | None = None
    rather_than: str = RUNNER_UP
    loss: str = "cross_entropy"
    sigmoid: bool = False
    layer: str | None = None


class Asker:
    """Puts the questions to a network.

    Attributes:
        layer, layer_reason: known from the first batch on.
    """

    def __init__(self, network: nn.Module, questions: Questions):
        self.network, self.questions = network, questions
        self.names = names_in(network)
        self.layer = self.layer_reason = ""
        self._prepare(questions.layer)

    def _prepare(self, layer: str | None) -> None:
        losses = dict(loss=self.questions.loss, sigmoid=self.questions.sigmoid)
        self._grad_cam = GradCAM(self.network, layer)
        self._counterfactual = CounterfactualCAM(self.network, layer)
        self._contrast = ContrastCAM(self.network, layer, **losses)

    def __call__(self, read: Read) -> list[dict]:
        """A row for each photo. What the network cannot answer joins `read.broken`."""
        rows, sizes = [], list(dict.fromkeys(x.shape for x in read.tensors))
        for size in sizes:
            these = [i for i, x in enumerate(read.tensors) if x.shape == size]
            rows += self._together(read, these)
        order = {name: i for i, name in enumerate(read.names)}
        return sorted(rows, key=lambda row: order[row["file"]])

    def _together(self, read: Read, these: list[int]) -> list[dict]:
        """Photos of one size; one that the network cannot answer does not keep the others."""
        try:
            rows = self.ask(torch.stack([read.tensors[i] for i in these]))
        except (ImageError, LayerError) as error:  # of a small photo one place may be left
            if len(these) > 1:
                return [row for i in these for row in self._together(read, [i])]
            read.broken.append((read.names[these[0]], str(error)))
            return []
        about = ({"file": read.names[i], "thumb": read.thumbnails[i]} for i in these)
        return [one | row for one, row in zip(about, rows)]

    def ask(self, x: Tensor) -> list[dict]:
        """A row of numbers, words and maps for each of N images, N x 3 x H x W."""
        weight = next(self.network.parameters(), x)
        x = x.to(weight.device, weight.dtype) if weight.is_floating_point() else x
        why = self._grad_cam(x, why=self._named(self.questions.why), keep=True)
        self._settle(why)
        seen, other = why.forward_pass, self._other_loss()
        y = class_logits(seen.logits)
        names = names_of(self.names, seen.logits, self.network)
        probabilities = seen.probabilities(self.questions.sigmoid).flatten(1)
        guess = predicted(seen.logits)[:, None]
        p = guess if self.questions.why is None else self._indices(self.questions.why, y, names)
        q = self._contrasted(y, p, names)
        answers = [
            why,
            self._counterfactual(seen, why=p),
            self._contrast(seen, why=p, rather_than=q),
            self._contrast(seen, why=p, rather_than=q, loss=other),
            self._contrast(seen, why=p, rather_than=p, loss="cross_entropy"),
        ]
        classes = torch.cat([guess, p, q], dim=1)
        return self._rows(answers, classes, probabilities.gather(1, classes), names)

    def _settle(self, why: Explanation) -> None:
        """The layer found at the first batch stays, and is not looked for again."""
        if not self.layer:
            self.layer, self.layer_reason = why.layer, why.layer_reason
            self._prepare(self.layer)

    def _other_loss(self) -> str:
        return next(loss for loss in ContrastCAM.losses if loss != self.questions.loss)

    def _named(self, name: str | None) -> str | int | None:
        """A class as the command line gives it: a name, or a number."""
        if name is None or name in (self.names or []) or not name.strip().isdecimal():
            return name
        return int(name)

    def _indices(self, name: str, y: Tensor, names: list[str] | None) -> Tensor:
        return class_indices(self._named(name), *y.shape, names).to(y.device)

    def _contrasted(self, y: Tensor, p: Tensor, names: list[str] | None) -> Tensor:
        """Q, N x 1."""
        if self.questions.rather_than != RUNNER_UP or RUNNER_UP in (names or []):
            return self._indices(self.questions.rather_than, y, names)
        return y.scatter(1, p, -math.inf).argmax(dim=1, keepdim=True)

    def _rows(self, answers: list[Explanation], classes: Tensor, probabilities: Tensor, names):
        maps = torch.stack([answer.evidence[:, 0].float().cpu() for answer in answers], dim=1)
        strengths = torch.stack([answer.strength[:, 0].cpu() for answer in answers], dim=1).tolist()
        agreement = rank_correlation(maps[:, 2], maps[:, 3]).tolist()
        against = _share_against(maps[:, 0]).tolist()
        about = zip(classes.tolist(), probabilities.tolist(), strengths, agreement, against, maps)
        return [self._row(names, *one) for one in about]

    def _row(self, names, classes, probabilities, strengths, agreement, against, maps) -> dict:
        guess, p, q = (class_name(c, names) for c in classes)
        row = {
            "predicted": guess,
            "why": p,
            "rather_than": q,
            "p_predicted": round(probabilities[0], 4),
            "p_why": round(probabilities[1], 4),
            "p_rather_than": round(probabilities[2], 4),
            # why, absent, contrast, the other loss, Q = P
            # in digits that count: 0.00003 is weak, and 0 empty
            "strengths": [float(f"{s:.4g}") if math.isfinite(s) else None for s in strengths],
            "agreement": round(agreement, 3),
            "against": round(against, 3),
            "where": [where(maps[0]), where(maps[2])],
            "grid": list(_coarse(maps[0]).shape),
            "maps": [_kept(maps[0]), _kept(maps[2])],
        }
        row["readable"] = readable(row)
        row["warnings"] = warnings_of(row)
        return row


def rank_correlation(maps: Tensor, others: Tensor) -> Tensor:
    """Spearman's rho over the places of N pairs of maps, N x h x w; 0 where a map is flat."""
    ranks = (rankdata(m.flatten(1).numpy(), axis=1) for m in (maps, others))
    a, b = (F.normalize(torch.from_numpy(r - r.mean(axis=1, keepdims=True)), dim=1) for r in ranks)
    return (a * b).sum(dim=1)


def _share_against(evidence: Tensor) -> Tensor:
    """Negative share of all evidence of N maps, N x h x w; 0 where there is none."""
    values = evidence.flatten(1)
    return values.clamp(max=0).abs().sum(dim=1) / values.abs().sum(dim=1).clamp(min=1e-30)


def readable(row: dict) -> float:
    """How far the contrast can be read, 0 to 1: strength x agreement x share of evidence for P.

    Strength counts up to 1. Agreement is that of the two losses, and counts from 0. The weakest and
    most contradictory photos have the least of it.
    """
    strength = min(1.0, row["strengths"][2] or 0.0)
    return round(strength * max(0.0, row["agreement"]) * (1 - row["against"]), 4)


def warnings_of(row: dict) -> list[str]:
    """What to mind before one believes this row, in words."""
    p, q, strength = row["why"], row["rather_than"], row["strengths"][2]
    said = []
    if strength is None or not WEAK <= strength <= LARGE:
        said.append(
            "The contrast's strength is unknown: Grad-CAM's own map is empty."
            if strength is None
            else f"The contrast {'is' if strength < WEAK else 'has'} {strength_in_words(strength)}."
        )
    if p == q:
        said.append(f"P and Q are both {p}: the map asks why it does not have 100 %.")
    elif row["agreement"] < DISAGREE and strength != 0:  # of an empty map nothing stands out
        said.append(
            f"The two losses disagree (rank correlation {row['agreement']:.2f}): what stands out "
            "against all classes does not stand out against Q alone."
        )
    if row["against"] > AGAINST:
        said.append(f"{100 * row['against']:.0f} % of the evidence speaks against {p}.")
    if p != row["predicted"]:
        said.append(f"Asked about {p}, but the network says {row['predicted']}.")
    if row["p_predicted"] < UNSURE:
        percent = (
            f"{100 * row['p_predicted']:.0f}" if row["p_predicted"] >= 0.005 else "less than 1"
        )
        said.append(f"The network is unsure: {row['predicted']} has {percent} %.")
    return said


def _coarse(evidence: Tensor) -> Tensor:
    """h x w (or L) evidence at most FINEST places along a side, for the page."""
    grid = evidence[None] if evidence.dim() == 1 else evidence
    if max(grid.shape) <= FINEST:
        return grid
    return F.adaptive_avg_pool2d(grid[None], [min(FINEST, side) for side in grid.shape])[0]


def _kept(evidence: Tensor) -> str:
    """The positive part of a map, divided by its maximum: a byte for each place, in base64."""
    positive = _coarse(evidence).clamp(min=0)
    scaled = positive / positive.max().clamp(min=1e-30)
    return base64.b64encode((255 * scaled).round().byte().numpy().tobytes()).decode()
