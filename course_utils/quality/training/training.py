"""Teaching an assessor the opinions of people."""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from ..network import QualityNet, pooled
from .training_data import Lessons

BATCH = 16  # photos
SEEN = 48  # patches of a photo, drawn anew each time
RATES = {"judge": 2e-3, "visible": 1e-2}
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
    """Mean absolute error (Bosse et al., eq. 6 and 8) of photos, of patches, and of undistorted places;
    and how far the photos' scores are from being in line with people's.

    A place's own score is 1 where it is undistorted and the photo's where it is distorted.
    """
    places, weights = network.places_judged(*features)
    wanted = 1 - covered * (1 - scores.view(-1, 1, 1, 1))  # photos x patches x 4 x 4
    places, weights = places.view(wanted.shape), weights.view(wanted.shape[:2])
    patches, wanted_patches = places.mean(dim=(2, 3)), wanted.mean(dim=(2, 3))
    # Nobody was asked about photos damaged in part. That damage counts by its area is our assumption;
    # without one, undamaged patches could take all the weight, and hide any fault beside them.
    own, people = pooled(patches, weights), wanted_patches.mean(dim=1)
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
        q, w = network.judged(*(part[index].float() for part in lessons.features))
        scores.append(pooled(q, w))
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

    The weights that are judged and kept are a running average of those that learn. After every epoch
    all is saved to `checkpoint`, from which an interrupted run goes on; the file is deleted at the
    end.

    Returns:
        The network, and after how many epochs its weights were kept: the last one, if nothing is
        given to validate by.
    """
    torch.manual_seed(seed)
    # without a reference, damage in a part only cannot be told from what the photo shows
    picks = [
        (a, int(b))
        for a, group in enumerate(lessons)
        for b in (range(len(group)) if network.reference else _whole(group).nonzero())
    ]
    steps = max(1, len(picks) // BATCH)
    parts = [{"params": network.judge.parameters(), "lr": RATES["judge"]}]
    if network.reference:
        parts.append({"params": [network.visible], "lr": RATES["visible"]})
    optimiser = torch.optim.AdamW(parts, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [part["lr"] for part in parts], total_steps=epochs * steps
    )
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.99), use_buffers=True)
    state = {"epoch": 0, "best": float("inf"), "since": 0, "kept": None, "kept_at": 0}
    moving = {"network": network, "average": average, "optimiser": optimiser, "schedule": schedule}
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        state = saved["state"]
        torch.set_rng_state(saved["random"])
        for name, part in moving.items():
            part.load_state_dict(saved[name])
    with tqdm(
        total=epochs * steps, initial=state["epoch"] * steps, desc="learning", unit=" batches"
    ) as bar:
        while state["epoch"] < epochs and state["since"] < PATIENCE:
            network.train()
            network.extractor.eval()
            order = torch.randperm(len(picks)).tolist()
            for step in range(steps):
                chosen = [picks[i] for i in order[step * BATCH : (step + 1) * BATCH]]
                value = loss(network, *_batch(lessons, chosen))
                optimiser.zero_grad()
                value.backward()
                optimiser.step()
                schedule.step()
                average.update_parameters(network)
                bar.update()
            now = error(average.module, validation) if validation else float("nan")
            better = not now >= state["best"]
            state["epoch"] += 1
            state["since"] = 0 if better else state["since"] + 1
            if better:
                state |= {"best": now, "kept": _judge_of(average.module), "kept_at": state["epoch"]}
            if validation:
                bar.set_postfix(error=f"{now:.4f}", best=f"{state['best']:.4f}")
            torch.save(
                {"state": state, "random": torch.get_rng_state()}
                | {name: part.state_dict() for name, part in moving.items()},
                checkpoint.with_suffix(".part"),
            )
            checkpoint.with_suffix(".part").replace(checkpoint)
    network.load_state_dict(state["kept"], strict=False)
    checkpoint.unlink(missing_ok=True)
    return network.eval(), state["kept_at"]


def _judge_of(network: QualityNet) -> dict[str, Tensor]:
    """All weights but the extractor's, which are not learned."""
    kept = network.state_dict()
    return {
        name: value.clone() for name, value in kept.items() if not name.startswith("extractor.")
    }
