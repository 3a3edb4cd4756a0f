"""Lecture 5's two claims about other photos, counted on any (`make claims ... ARGS=--quality`).

1. White noise at level 5: does the quarter of the patches with the most texture score lower than
   the quarter with the least?
2. A hidden fault of 144 x 128 pixels at level 5, in turn of four kinds: which share of the evidence
   of "why not 1?" lies inside, by which way of asking?
"""

import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from course_utils import load_photo
from course_utils.measures import energy_inside
from course_utils.quality import DistortionWarning, distort, load_assessor
from course_utils.quality.assessor import Assessor, as_tensor
from course_utils.quality.patches import SIDE, cut, lay_back

SIZE = (320, 240)  # width, height: each photo is brought to it
FAULT = (144, 128)  # width, height
KINDS = ["white noise", "blur", "jpeg", "noisy compression"]
LEVEL = 5
Ways = Mapping[str, Callable[[Image.Image, Image.Image], Tensor]]


def ways_to_ask() -> Ways:
    """Name -> what turns a distorted photo and its reference into blame, H x W, 0 or more."""
    assessor = load_assessor(reference=True)

    def by_gradient(one: Assessor):
        return lambda bad, good: (-one.explain(bad, good, [1]).evidence[0]).relu()

    def places(bad, good):
        d, r = cut(as_tensor(bad), step=16), cut(as_tensor(good), step=16)
        network = assessor.network
        with torch.inference_mode():
            seen, wanted = network.extract(d.pixels), network.extract(r.pixels)
            scores, _ = network.scores_of_places(*network.features(seen, wanted))
        return lay_back(1 - scores[:, None], d)[0]

    def pixels(bad, good):
        d, r = cut(as_tensor(bad), step=16), cut(as_tensor(good), step=16)
        return lay_back((d.pixels - r.pixels).abs().mean(dim=(1, 2, 3), keepdim=True), d)[0]

    return {
        "by gradient, b = 0": by_gradient(load_assessor(reference=True, base=0)),
        "by gradient, b = 1": by_gradient(load_assessor(reference=True, base=1)),
        "by gradient, b = 7": by_gradient(assessor),
        "local scores": lambda bad, good: 1 - assessor.score_map(bad, good),
        "places' scores": places,
        "pixel difference": pixels,
    }


def texture(photo: Image.Image, assessor: Assessor, seed: int) -> float:
    """Mean score of the quarter with the least texture, less that of the quarter with the most."""
    noisy = distort(photo, "white noise", LEVEL, seed=seed).image
    scores = assessor.local_scores(noisy, photo, step=SIDE).scores.flatten()
    contrast = cut(as_tensor(photo).mean(dim=0, keepdim=True)).pixels.std(dim=(1, 2, 3))
    order, quarter = contrast.argsort(), len(scores) // 4
    return (scores[order[:quarter]].mean() - scores[order[-quarter:]].mean()).item()


def hidden(photo: Image.Image, number: int, ways: Ways) -> dict[str, float]:
    """Way of asking -> share of the blame inside the rectangle that alone was damaged."""
    rng = np.random.default_rng(number)
    left, top = (int(rng.integers(0, a - b + 1)) for a, b in zip(SIZE, FAULT))
    box = (left, top, left + FAULT[0], top + FAULT[1])
    mask = np.zeros(SIZE[::-1], bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    bad = distort(photo, KINDS[number % len(KINDS)], LEVEL, box, seed=number).image
    return {name: energy_inside(way(bad, photo), mask) for name, way in ways.items()}


def measure(photos: Iterable[str | Path]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """For each photo: less to more texture (see `texture`), and way -> share inside.

    What cannot be read is named and left out.
    """
    assessor, ways = load_assessor(reference=True), ways_to_ask()
    gaps, rows = [], []
    for number, source in enumerate(tqdm(list(photos), unit="photo", file=sys.stderr)):
        try:
            photo = load_photo(source).resize(SIZE, Image.Resampling.BICUBIC)
        except (OSError, ValueError) as reason:
            tqdm.write(f"left out: {reason}", file=sys.stderr)
            continue
        gaps.append(texture(photo, assessor, number))
        rows.append(hidden(photo, number, ways))
    if not rows:
        raise SystemExit("None of the photos could be read.")
    return np.array(gaps), {name: np.array([row[name] for row in rows]) for name in rows[0]}


def report(photos: Iterable[str | Path]) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", DistortionWarning)
        gaps, shares = measure(photos)
    print(f"Lecture 5, {len(gaps)} photos of {SIZE[0]} x {SIZE[1]} pixels, level {LEVEL}\n")
    print("White noise: the quarter with the most texture scores lower than that with the least")
    print(f"  on {(gaps > 0).sum()} of {len(gaps)}, by {gaps.mean():.3f} on average\n")
    area = FAULT[0] * FAULT[1] / (SIZE[0] * SIZE[1])
    print(
        f"A hidden fault, {area:.0%} of the picture: share of 'why not 1?' inside, mean and least"
    )
    for name, row in shares.items():
        print(f"  {name:20s} {row.mean():6.1%} {row.min():6.1%}")
    if said:
        print(f"\n{len(said)} of {2 * len(gaps)} distortions are weaker than level {LEVEL} asks:")
        print("their photos allow no more.")
