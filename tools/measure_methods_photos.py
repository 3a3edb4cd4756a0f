"""The photos of "known answers": lecture 2's grid pointing game, for the methods with a map.

Four photos of different classes, each halved, make one mosaic of the network's own size. The map of
one photo's class should stay in its own quarter (Boehle et al., CVPR 2021); chance is 25 %. Asked
"Why P?", and with the next photo's class as Q. Slow methods are asked about fewer mosaics.
"""

from collections.abc import Iterator
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from course_utils import load_classifier, load_photo
from course_utils.measures import grid_pointing_game

LABELS = {
    "coffee": "espresso",
    "camera": "tripod",
    "chelsea": "tiger cat",
    "rocket": "missile",
    "flower": "daisy",
    "china": "palace",
    "motorcycle_left": "moped",
}
QUICK, SLOW = 5, 1  # mosaics


def mosaics(network) -> Iterator[tuple[str, Tensor, list[str]]]:
    """(key, 1 x 3 x H x W, the four classes): every seventh choice of four photos."""
    tiles = {n: F.avg_pool2d(network.preprocess(load_photo(n))[None], 2) for n in LABELS}
    for k, four in enumerate(list(combinations(LABELS, 4))[::7][:QUICK]):
        a, b, c, d = (tiles[name] for name in four)
        x = torch.cat([torch.cat([a, b], 3), torch.cat([c, d], 3)], 2)
        yield f"mosaic {k}", x, [LABELS[name] for name in four]


def run(entries: list, notes) -> None:
    """Ask each entry that has a map and no score of its own; rows of the network's name."""
    name = "efficientnet_lite0"
    network = load_classifier(name)
    for number, (key, x, classes) in enumerate(tqdm(mosaics(network), "mosaics", total=QUICK)):
        for entry in entries:
            if entry.score is not None or (entry.slow and number >= SLOW):
                continue
            for k, p in enumerate(classes):
                for question in entry.questions:
                    case = f"{key}/{k}"
                    if notes.has(name, entry.name, question, case):
                        continue
                    q = classes[(k + 1) % 4] if question == "contrast" else None
                    answer = entry.ask(network, x, why=p, rather_than=q, **entry.photos)
                    share = grid_pointing_game(answer.maps[0, 0], divmod(k, 2))
                    row = dict(version=notes.version, network=name, entry=entry.name)
                    share = None if share != share else round(share, 4)
                    notes.add(row | dict(question=question, case=case, share=share))


def summary(rows: list[dict]) -> dict:
    """entry -> question -> mean share of the maps that are not empty, and of how many questions."""
    found: dict = {}
    for row in rows:
        found.setdefault(row["entry"], {}).setdefault(row["question"], []).append(row["share"])
    for entry in found.values():
        for question, shares in entry.items():
            known = [share for share in shares if share is not None]
            mean = round(sum(known) / len(known), 3) if known else None
            entry[question] = dict(share=mean, n=len(shares), empty=len(shares) - len(known))
    return found
