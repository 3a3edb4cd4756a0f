"""Measure the networks of the drawn birds and write data/birds.json and the model card
data/birds.md.

    .venv/bin/python tools/measure_birds.py                  200 birds per ordered pair
    .venv/bin/python tools/measure_birds.py --birds 50       quicker

Seeds from 1,000,000 on: birds that no network was trained on.
"""

import argparse
from functools import cache
from itertools import permutations

import numpy as np
import torch
from model_card import fill_in, note, table
from tqdm import tqdm

from course_utils.birds import PARTS, SPECIES, VALUES, differences, draw
from course_utils.measures import (
    average,
    energy_inside,
    part_evidence,
    part_ranking,
    pointing_game,
    relative_deletion,
)
from course_utils.methods.cams import ContrastCAM, GradCAM
from course_utils.methods.forward_pass import ForwardPass
from course_utils.methods.maps import positive_maps
from course_utils.networks.birds import VARIANTS, card, load_birds_network

NAMES = list(SPECIES)
UNSEEN = 1_000_000  # the first seed that no training draws
TOLERANCE = 8  # pixels: 1/16 of the side
METHODS = ("cross_entropy", "logit_difference", "Grad-CAM")
ONE_PART = [pair for pair in permutations(NAMES, 2) if len(differences(*pair)) == 1]


@cache
def flock(species, count):
    """Unseen birds of one species, the same for every network."""
    return [draw(species, UNSEEN + seed) for seed in range(count)]


def see(network, birds):
    """N x 3 x 128 x 128, as the network reads them."""
    return torch.stack([network.preprocess(bird.image) for bird in birds])


def answers(network, seen, P, Q):
    """Signed evidence, N x h x w, of each of METHODS."""
    contrast = ContrastCAM(network)
    found = {m: contrast(seen, why=P, rather_than=Q, loss=m).evidence[:, 0] for m in METHODS[:2]}
    return {**found, "Grad-CAM": GradCAM(network)(seen, why=P).evidence[:, 0]}


def accuracy(network, count=1000):
    """Share of `count` unseen whole birds, all species in turn, that the network names rightly."""
    right = 0
    for start in range(0, count, 100):
        numbers = range(start, min(start + 100, count))
        birds = [draw(NAMES[i % len(NAMES)], UNSEEN + i) for i in numbers]
        with torch.no_grad():
            named = network(see(network, birds)).argmax(1).tolist()
        right += sum(name == i % len(NAMES) for name, i in zip(named, numbers))
    return right / count


def pointing(network, count):
    """Per ordered pair that differs in one part: does the peak, and does the energy, lie on that
    part?"""
    rows = []
    for P, Q in tqdm(ONE_PART, "pointing", leave=False):
        birds = flock(P, count)
        part = differences(P, Q)[0]
        row = {"P": P, "Q": Q, "part": part}
        seen = ForwardPass(network, see(network, birds))
        for method, evidence in answers(network, seen, P, Q).items():
            maps = positive_maps(evidence, seen.size)
            hits = [pointing_game(m, b.masks[part], TOLERANCE) for m, b in zip(maps, birds)]
            energy = [energy_inside(m, b.masks[part], b.outline) for m, b in zip(maps, birds)]
            on_bird = [energy_inside(m, b.outline) for m, b in zip(maps, birds)]
            # an empty map points nowhere: a miss
            row[method] = {
                "peak": round(float(np.nan_to_num(hits).mean()), 3),
                "energy": round(average(energy)[0], 3),
                "on_bird": round(average(on_bird)[0], 3),
            }
        rows.append(row)
    return rows


def logits_after(network, species, count):
    """Logits of each bird with one part replaced: dict from (part, value) to count x classes."""
    changed = {}
    with torch.no_grad():
        for part in PARTS:
            for value in VALUES[part]:
                if value != SPECIES[species][part]:
                    birds = [draw(species, UNSEEN + i, **{part: value}) for i in range(count)]
                    changed[part, value] = network(see(network, birds)).numpy()
    return changed


def ranking(network, count):
    """Spearman of the evidence per part with the fall of y_P - y_Q when the part becomes Q's: all
    pairs."""
    found = {method: {"all pairs": [], "pairs of two or more parts": []} for method in METHODS}
    for P in tqdm(NAMES, "ranking", leave=False):
        birds = flock(P, count)
        seen = ForwardPass(network, see(network, birds))
        changed = logits_after(network, P, count)
        logits = seen.logits.detach().numpy()
        for Q in (name for name in NAMES if name != P):
            p, q = NAMES.index(P), NAMES.index(Q)
            # a part that P and Q share stays as it is: its replacement changes nothing
            after = [changed.get((part, SPECIES[Q][part]), logits) for part in PARTS]
            fall = np.stack([(logits - a)[:, p] - (logits - a)[:, q] for a in after], 1)
            for method, evidence in answers(network, seen, P, Q).items():
                for m, bird, importance in zip(positive_maps(evidence, seen.size), birds, fall):
                    rho = part_ranking(list(part_evidence(m, bird.masks).values()), importance)
                    found[method]["all pairs"].append(rho)
                    if len(differences(P, Q)) > 1:
                        found[method]["pairs of two or more parts"].append(rho)
    return {m: {k: round(average(v)[0], 3) for k, v in kinds.items()} for m, kinds in found.items()}


def deletion(network, count):
    """Area under the relative margin as each map's top pixels go, over the one-part pairs. Lower is
    better."""
    rng = np.random.default_rng(0)
    areas = {name: [] for name in (*METHODS, "a wrong Q", "random")}
    for P, Q in tqdm(ONE_PART, "deletion", leave=False):
        p, q = NAMES.index(P), NAMES.index(Q)
        x = see(network, flock(P, count))
        seen = ForwardPass(network, x)
        other = next(
            name
            for name in NAMES
            if not set(differences(P, name)) & set(differences(P, Q)) and name != P
        )
        maps = answers(network, seen, P, Q)
        maps["a wrong Q"] = answers(network, seen, P, other)["logit_difference"]
        maps = {name: positive_maps(evidence, seen.size) for name, evidence in maps.items()}
        maps["random"] = torch.from_numpy(rng.random(maps["a wrong Q"].shape))
        for name, several in maps.items():
            for picture, m in zip(x, several):
                area, _ = relative_deletion(
                    lambda z, p=p, q=q: network(z)[:, p] - network(z)[:, q], picture, m
                )
                areas[name].append(area)
    return {name: round(average(values)[0], 3) for name, values in areas.items()}


def measure(name, count):
    """Everything the card says of one network."""
    network = load_birds_network(name)
    return {
        "accuracy": accuracy(network),
        "birds_per_pair": count,
        "pointing": pointing(network, count),
        "ranking": ranking(network, max(count // 8, 1)),
        "deletion": deletion(network, max(count // 20, 1)),
    }


def written(record):
    """The card's figures as Markdown."""
    text = []
    for name, about in VARIANTS.items():
        own = record[name]
        text.append(
            f"## `{name}`\n\nIt {about}. Accuracy on 1000 unseen birds: "
            f"**{own['accuracy']:.3f}**.\n"
        )
        text.append(f"sha256 of the weights: `{own['sha256']}`\n")
        rows = []
        for row in own["pointing"]:
            peaks = [f"{row[m]['peak']:.1%}" for m in METHODS]
            energies = [f"{row['logit_difference'][k]:.0%}" for k in ("energy", "on_bird")]
            rows.append([row["P"], row["Q"], row["part"], *peaks, *energies])
        head = [
            "why P",
            "rather than Q",
            "differ in",
            "peak: cross-entropy",
            "peak: logit difference",
        ]
        head += [
            "peak: Grad-CAM",
            "energy on the part / on the bird",
            "energy on the bird / anywhere",
        ]
        text.append(table(head, rows) + "\n")
        rows = [[m, *(f"{v:.2f}" for v in own["ranking"][m].values())] for m in METHODS]
        kinds = list(own["ranking"]["Grad-CAM"])
        text.append("Spearman with the interventions (higher is better):\n")
        text.append(table(["map", *kinds], rows) + "\n")
        rows = [[f"{own['deletion'][k]:.2f}" for k in own["deletion"]]]
        text.append("Contrastive deletion, area (lower is better):\n")
        text.append(table(list(own["deletion"]), rows) + "\n")
    return "\n".join(text)


def main():
    parser = argparse.ArgumentParser(description="Measure the networks of the drawn birds.")
    parser.add_argument(
        "names", nargs="*", help=f"which networks: {', '.join(VARIANTS)} (default: all)"
    )
    parser.add_argument(
        "--birds", type=int, default=200, help="birds per ordered pair (default 200)"
    )
    options = parser.parse_args()
    for name in options.names or VARIANTS:
        own = measure(name, options.birds)
        print(f"{name}: accuracy {own['accuracy']:.3f}")
        for row in own["pointing"]:
            print(
                f"  {row['P']} rather than {row['Q']} ({row['part']}):", *(row[m] for m in METHODS)
            )
        print("  ranking", own["ranking"], "\n  deletion", own["deletion"])
        record = card()
        record[name] = {"sha256": record[name]["sha256"], **own}
        note("birds", record)
    if all("accuracy" in record.get(name, {}) for name in VARIANTS):
        fill_in("birds", "measure_birds.py", written(record))


if __name__ == "__main__":
    main()
