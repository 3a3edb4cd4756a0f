"""Teaching an assessor the opinions of people."""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from ..network import QualityNet, weighted_mean
from .training_data import Lessons

BATCH = 16  # photos
SEEN = 48  # patches of a photo, drawn anew each time
RATES = {"head": 2e-3, "visible": 1e-2}
PATIENCE = 12  # epochs without a better answer on the references kept for validation
LOCAL = 0.25  # weight of the patches' errors beside the photos'
BESIDE = 0.5  # weight of the errors of undistorted places
CORRELATION = 0.5  # weight of 1 - correlation of a batch's photos with their scores


def _batch(lessons: Sequence[Lessons], picks: Sequence[tuple[int, int]]):
    """Features, coverage and scores of the picked photos, some patches of each side by side."""
    chosen = [(lessons[a], b, torch.randperm(lessons[a].covered.shape[1])[:SEEN]) for a, b in picks]
    features = [
        torch.cat([group.features[i][b][patches] for group, b, patches in chosen]).float()
        for i in range(len(chosen[0][0].features))
    ]
    covered = torch.stack([group.covered[b][patches] for group, b, patches in chosen])
    return features, covered, torch.stack([group.scores[b] for group, b, _ in chosen])


def loss(network: QualityNet, features: list[Tensor], covered: Tensor, scores: Tensor) -> Tensor:
    """Mean absolute error (Bosse et al., eq. 6 and 8) of photos, of patches, and of undistorted
    places; and how far the photos' scores are from being in line with people's.

    A place's own score is 1 where it is undistorted and the photo's where it is distorted.
    """
    places, weights = network.scores_of_places(*features)
    wanted = 1 - covered * (1 - scores.view(-1, 1, 1, 1))  # photos x patches x 4 x 4
    places, weights = places.view(wanted.shape), weights.view(wanted.shape[:2])
    patches, wanted_patches = places.mean(dim=(2, 3)), wanted.mean(dim=(2, 3))
    # Nobody was asked about photos damaged in part. That damage counts by its area is our
    # assumption; without one, undamaged patches could take all the weight, and hide any fault
    # beside them.
    own, people = weighted_mean(patches, weights), wanted_patches.mean(dim=1)
    photos = (own - people).abs().mean()
    near = (patches - wanted_patches).abs().mean()
    # damage beside a place must not lower its score
    beside = ((places - wanted).abs() * (1 - covered)).mean()
    return photos + LOCAL * near + BESIDE * beside + CORRELATION * (1 - correlation(own, people))


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's, -1 to 1, of two lists of numbers; 0 where one of them does not vary."""
    return F.cosine_similarity(a - a.mean(), b - b.mean(), dim=0)


@torch.inference_mode()
def answers(network: QualityNet, lessons: Lessons) -> Tensor:
    """The network's score of each photo."""
    network.eval()
    scores = []
    for index in range(len(lessons)):
        q, w = network.scores_and_weights(*(part[index].float() for part in lessons.features))
        scores.append(weighted_mean(q, w))
    return torch.stack(scores)


def error(network: QualityNet, lessons: Sequence[Lessons]) -> float:
    """Mean absolute error over photos that are distorted everywhere."""
    gaps = [(answers(network, group) - group.scores)[_whole(group)].abs() for group in lessons]
    return torch.cat(gaps).mean().item()


def _whole(group: Lessons) -> Tensor:
    return group.covered.flatten(1).amin(dim=1) == 1


def learn(
    network: QualityNet,
    lessons: Sequence[Lessons],
    validation: Sequence[Lessons],
    checkpoint: Path,
    epochs: int = 40,
    seed: int = 0,
) -> tuple[QualityNet, int]:
    """Learn; keep the weights that did best on the validation references.

    The weights that are validated and kept are a running average of those that learn. After every
    epoch all is saved to `checkpoint`, from which an interrupted run goes on; the file is deleted
    at the end.

    Returns:
        The network, and after how many epochs its weights were kept: the last one, if nothing is
        given to validate by.
    """
    torch.manual_seed(seed)
    run = _Run(network, lessons, epochs)
    state = {"epoch": 0, "best": float("inf"), "since": 0, "kept": None, "kept_at": 0}
    if checkpoint.exists():
        state = run.resume(checkpoint)
    done = state["epoch"] * run.steps
    with tqdm(total=epochs * run.steps, initial=done, desc="learning", unit=" batches") as bar:
        while state["epoch"] < epochs and state["since"] < PATIENCE:
            run.epoch(bar)
            now = error(run.average.module, validation) if validation else float("nan")
            better = not now >= state["best"]
            state["epoch"] += 1
            state["since"] = 0 if better else state["since"] + 1
            if better:
                kept = _learned(run.average.module.state_dict())
                state |= {"best": now, "kept": kept, "kept_at": state["epoch"]}
            if validation:
                bar.set_postfix(error=f"{now:.4f}", best=f"{state['best']:.4f}")
            run.save(checkpoint, state)
    network.load_state_dict(state["kept"], strict=False)
    checkpoint.unlink(missing_ok=True)
    return network.eval(), state["kept_at"]


class _Run:
    """What moves while a network learns: its weights, their average, the optimiser, its rates."""

    def __init__(self, network: QualityNet, lessons: Sequence[Lessons], epochs: int):
        self.network, self.lessons = network, lessons
        # without a reference, damage in a part only cannot be told from what the photo shows
        self.picks = [
            (a, int(b))
            for a, group in enumerate(lessons)
            for b in (range(len(group)) if network.reference else _whole(group).nonzero())
        ]
        self.steps = max(1, len(self.picks) // BATCH)
        parts = [{"params": network.head.parameters(), "lr": RATES["head"]}]
        if network.reference:
            parts.append({"params": [network.visible], "lr": RATES["visible"]})
        self.optimiser = torch.optim.AdamW(parts, weight_decay=0.02)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, [part["lr"] for part in parts], total_steps=epochs * self.steps
        )
        averaging = get_ema_multi_avg_fn(0.99)
        self.average = AveragedModel(network, multi_avg_fn=averaging, use_buffers=True)

    def epoch(self, bar: tqdm) -> None:
        """Every picked photo once, in a new order."""
        self.network.train()
        self.network.extractor.eval()
        order = torch.randperm(len(self.picks)).tolist()
        for step in range(self.steps):
            chosen = [self.picks[i] for i in order[step * BATCH : (step + 1) * BATCH]]
            value = loss(self.network, *_batch(self.lessons, chosen))
            self.optimiser.zero_grad()
            value.backward()
            self.optimiser.step()
            self.schedule.step()
            self.average.update_parameters(self.network)
            bar.update()

    def _moving(self) -> dict:
        names = ("network", "average", "optimiser", "schedule")
        return {name: getattr(self, name) for name in names}

    def save(self, checkpoint: Path, state: dict) -> None:
        """Whole or not at all: an interruption leaves no half file."""
        saved = {name: _learned(part.state_dict()) for name, part in self._moving().items()}
        saved |= {"state": state, "random": torch.get_rng_state()}
        torch.save(saved, checkpoint.with_suffix(".part"))
        checkpoint.with_suffix(".part").replace(checkpoint)

    def resume(self, checkpoint: Path) -> dict:
        """Where an interrupted run was; its state."""
        saved = torch.load(checkpoint, weights_only=True)
        torch.set_rng_state(saved["random"])
        for name, part in self._moving().items():
            if isinstance(part, torch.nn.Module):
                part.load_state_dict(saved[name], strict=False)  # all but the extractor
            else:
                part.load_state_dict(saved[name])
        return saved["state"]


def _learned(state: dict) -> dict:
    """A copy of a state without the extractor's weights, which are not learned."""
    return {
        name: value.clone() if isinstance(value, Tensor) else value
        for name, value in state.items()
        if "extractor." not in str(name)
    }
