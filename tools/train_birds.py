"""Train the networks of the drawn birds; their weights go to data/*.safetensors, always the same
seeds.

    make train-birds                          all three networks
    make train-birds ARGS="birds"             one of them (birds, birds_shortcut, birds_blurry)

Afterwards tools/measure_birds.py measures them and writes their model card.

"birds_shortcut" and "birds_blurry" see whole birds only, each with its species as the target.
"birds" sees more than half of its birds with parts left out, and its target is spread evenly over
the species that the visible parts allow (`nearest_species`). A flamingo without its bill must leave
the network undecided between flamingo and spoonbill; so neither can be told by what it lacks, and
y_P - y_Q has to come from the bill. Parts left out in training are also what keeps interventions on
parts within what the network knows (Hesse et al., FunnyBirds, ICCV 2023).
"""

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial

import numpy as np
import torch
import torch.nn.functional as F
from model_card import keep
from safetensors.torch import save
from tqdm import tqdm

from course_utils.birds import PARTS, SPECIES, draw, nearest_species
from course_utils.networks.birds import VARIANTS, BirdNet

NAMES = list(SPECIES)
# what the three networks differ in; the seeds from 1,000,000 on are kept for measuring
PLANS = {
    "birds": {"left_out": 0.6, "epochs": 10},
    "birds_shortcut": {"left_out": 0.0, "epochs": 8},
    "birds_blurry": {"left_out": 0.0, "epochs": 6},
}
BIRDS = 6000
BATCH = 64


def lesson(index: int, left_out: float) -> tuple[np.ndarray, np.ndarray]:
    """One training example: 3 x 128 x 128 bytes and the target over the species, summing to 1."""
    rng = np.random.default_rng([index, 99])
    parts = {}
    if rng.random() < left_out:
        number = rng.choice([1, 2, 3, 4], p=[0.5, 0.25, 0.1, 0.15])
        parts = {PARTS[i]: None for i in rng.choice(4, number, replace=False)}
    bird = draw(NAMES[index % len(NAMES)], index, **parts)
    could_be = nearest_species(bird.attributes)
    target = np.array([(name in could_be) / len(could_be) for name in NAMES], np.float32)
    return np.asarray(bird.image).transpose(2, 0, 1), target


@lru_cache(maxsize=1)
def lessons(count: int, left_out: float) -> tuple[torch.Tensor, torch.Tensor]:
    """count x 3 x 128 x 128 bytes and count x species targets, drawn on all cores."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        drawn = pool.map(partial(lesson, left_out=left_out), range(count), chunksize=50)
        pictures, targets = zip(*tqdm(drawn, "drawing birds", count, unit=" birds"))
    return torch.from_numpy(np.stack(pictures)), torch.from_numpy(np.stack(targets))


def train(name: str, count: int = BIRDS) -> BirdNet:
    """Train one of VARIANTS from its seed, with a progress bar."""
    epochs = PLANS[name]["epochs"]
    pictures, targets = lessons(count, PLANS[name]["left_out"])
    torch.manual_seed(0)
    network = BirdNet(blurry=name == "birds_blurry").to(memory_format=torch.channels_last)
    # the mean over 1024 places is small where a bill fills 20 of them: the head's weights have far
    # to go
    rates = [0.01, 0.2]
    groups = [{"params": part.parameters()} for part in (network.features, network.head)]
    optimiser = torch.optim.AdamW(groups, lr=rates[0], weight_decay=0.01)
    steps = count // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, rates, total_steps=epochs * steps, pct_start=0.15
    )
    with tqdm(total=epochs * steps, desc=f"training {name}", unit=" batches") as bar:
        for _ in range(epochs):
            for batch in torch.randperm(count)[: steps * BATCH].view(steps, BATCH):
                x = (pictures[batch].float() / 127.5 - 1).contiguous(
                    memory_format=torch.channels_last
                )
                loss = F.cross_entropy(network(x), targets[batch])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                bar.update()
                bar.set_postfix(loss=f"{loss.item():.3f}")
    return network.eval()


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description="Train the networks of the drawn birds.")
    parser.add_argument(
        "names", nargs="*", help=f"which ones: {', '.join(VARIANTS)} (default: all)"
    )
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(VARIANTS)
    if unknown:
        parser.error(
            f"no network called {', '.join(sorted(unknown))}; there are {', '.join(VARIANTS)}"
        )
    for name in options.names or VARIANTS:
        weights = {key: value.contiguous() for key, value in train(name).state_dict().items()}
        keep("birds", name, save(weights))
    print("Now measure them: .venv/bin/python tools/measure_birds.py")


if __name__ == "__main__":
    main(sys.argv[1:])
