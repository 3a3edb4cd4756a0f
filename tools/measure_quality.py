"""Measure the assessors on the installed photos, and write data/quality.md.

    .venv/bin/python tools/measure_quality.py

Two experiments whose answers are known. One: a photo distorted from level 1 to 5 must lose score at
every step. Two: only a known region is distorted, so that "why not 1?" must point there, and "why
not worse?" elsewhere. Beside it stand two plain maps: the local scores, without a gradient, and the
mean pixel difference of each patch, without a network.
"""

import os
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from statistics import mean

import numpy as np
import torch
from model_card import fill_in, note, table
from PIL import Image
from tqdm import tqdm

from course_utils import load_photo
from course_utils.measures import energy_inside
from course_utils.quality import KINDS, LEVELS, Assessor, DistortionWarning, distort, load_assessor
from course_utils.quality.assessor import as_tensor
from course_utils.quality.load import FILES, card
from course_utils.quality.patches import SIDE, cut, lay_back

PHOTOS = ("chelsea", "coffee", "china", "flower", "rocket", "motorcycle")
LARGE, SMALL = (160, 289), (96, 160)  # pixels a side of the region: shortest, and just too long
# name -> level, sides, cases: eight or four of each of thirteen types
SERIES = {
    "5": (5, LARGE, 104),
    "3": (3, LARGE, 52),
    "1": (1, LARGE, 52),
    "5, small": (5, SMALL, 52),
}
WORSE = 0.25


def photo(name: str) -> Image.Image:
    """The photo's middle, 512 x 384 or what there is of it."""
    whole = load_photo(name)
    width, height = min(512, whole.width), min(384, whole.height)
    left, top = (whole.width - width) // 2, (whole.height - height) // 2
    return whole.crop((left, top, left + width, top + height))


def region(picture: Image.Image, sides: tuple[int, int], rng) -> tuple[int, int, int, int]:
    """A rectangle somewhere in the photo: left, top, right, bottom."""
    width, height = rng.integers(*sides, 2)
    left = rng.integers(0, picture.width - width + 1)
    top = rng.integers(0, picture.height - height + 1)
    return int(left), int(top), int(left + width), int(top + height)


@dataclass(frozen=True)
class Case:
    """One photo with a damaged region, and where the maps point: shares of their sum, 0 to 1.

    Attributes:
        kind: of distortion.
        inside: of "why not 1?", in the region.
        outside: of "why not 0.25?", outside it.
        scores: of 1 - q_i, the local scores laid back, in the region.
        pixels: of the patches' mean absolute pixel difference, in the region.
    """

    kind: str
    inside: float
    outside: float
    scores: float
    pixels: float


def shares(assessor: Assessor, case: int, level: int, sides=LARGE) -> Case:
    """Damage a region of one photo, and see where the maps point."""
    rng = np.random.default_rng([case, level])
    kind = list(KINDS)[case % len(KINDS)]
    picture = photo(PHOTOS[case % len(PHOTOS)])
    left, top, right, bottom = box = region(picture, sides, rng)
    damaged = distort(picture, kind, level, region=box, seed=case).image
    reference = picture if assessor.network.reference else None
    evidence = assessor.explain(damaged, reference, rather_than=[1, WORSE]).evidence
    inside = torch.zeros(evidence.shape[1:], dtype=torch.bool)
    inside[top:bottom, left:right] = True
    return Case(
        kind,
        energy_inside(-evidence[0], inside),
        1 - energy_inside(evidence[1], inside),
        energy_inside(1 - assessor.score_map(damaged, reference), inside),
        energy_inside(pixel_difference(damaged, picture), inside),
    )


def pixel_difference(distorted: Image.Image, reference: Image.Image) -> torch.Tensor:
    """Mean absolute difference of each patch's pixels, laid back as the evidence is, H x W."""
    own, wanted = (cut(as_tensor(photo), SIDE // 2) for photo in (distorted, reference))
    difference = (own.pixels - wanted.pixels).abs().mean(dim=(1, 2, 3), keepdim=True)
    return lay_back(difference, own)[0]


def localisation(pool: ProcessPoolExecutor) -> dict:
    """By series: the share of cases with 0.8 or more inside, and mean shares, of plain maps too."""
    figures = {}
    for name, (level, sides, cases) in SERIES.items():
        jobs = pool.map(partial(_case, level=level, sides=sides), range(cases))
        rows = list(tqdm(jobs, f"level {name}", cases, unit=" cases"))
        figures[name] = {
            "at least 0.8 inside": round(mean(row.inside >= 0.8 for row in rows), 3),
            "inside": round(mean(row.inside for row in rows), 3),
            "local scores inside": round(mean(row.scores for row in rows), 3),
            "pixel difference inside": round(mean(row.pixels for row in rows), 3),
            "not worse outside": round(mean(row.outside for row in rows), 3),
            "first cases": [round(row.inside, 4) for row in rows[:4]],  # tests make them again
            "by type": {k: round(mean(r.inside for r in rows if r.kind == k), 3) for k in KINDS},
        }
    return figures


@cache
def _assessor(reference: bool) -> Assessor:
    """One for each process."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", DistortionWarning)
    return load_assessor(reference)


def _case(case: int, level: int, sides: tuple[int, int]) -> Case:
    return shares(_assessor(True), case, level, sides)


def _falls(kind: str, reference: bool) -> int:
    """In how many of the photos each level that is reached scores less than the one before."""
    assessor, falls = _assessor(reference), 0
    for name in PHOTOS:
        picture = photo(name)
        distorted = [distort(picture, kind, level) for level in LEVELS]
        reached = [
            d.image for d in distorted if d.reached
        ]  # two levels that are one picture are a tie
        scores = [assessor.score(image, picture if reference else None) for image in reached]
        falls += all(before > after for before, after in zip(scores, scores[1:]))
    return falls


def steps(pool: ProcessPoolExecutor, reference: bool) -> dict[str, str]:
    """By type: in how many of the photos the score falls with every level."""
    jobs = pool.map(partial(_falls, reference=reference), KINDS)
    found = tqdm(jobs, "levels", len(KINDS), unit=" types")
    return {kind: f"{falls} of {len(PHOTOS)}" for kind, falls in zip(KINDS, found)}


def page(record: dict) -> str:
    """The figures of data/quality.json as the card's tables."""
    pieces = []
    for name in FILES.values():
        own = record[name]
        pieces += [f"## `{name}`", f"sha256 of the weights: `{own['sha256']}`"]
        pieces.append(
            f"Learned from Kodak's photos {_list(own['learned'])} for {own['epochs']} epochs, a "
            f"number found with {_list(own['stopped_by'])} kept apart; measured on "
            f"{_list(own['held_out'])}, which it never saw ({own['photos']} photos)."
        )
        pieces.append(
            _agreement({k: v for k, v in own.items() if isinstance(v, dict) and "srocc" in v})
        )
        if "localisation" in own:
            pieces += _localised(own["localisation"])
        pieces.append("Photos whose score falls at every level, by type:")
        pieces.append(table(["type", "photos"], [list(item) for item in own["steps"].items()]))
    return "\n\n".join(pieces) + "\n"


def _agreement(measures: dict[str, dict]) -> str:
    types = list(next(iter(measures.values()))["within"])
    rows = [
        [name, f"**{own['srocc']:.3f}**", f"{own['plcc']:.3f}", *own["within"].values()]
        for name, own in measures.items()
    ]
    return table(["", "SROCC", "PLCC", *(f"type {t}" for t in types)], rows)


def _localised(found: dict[str, dict]) -> list[str]:
    columns = ("at least 0.8 inside", "inside", "local scores inside")
    columns += ("pixel difference inside", "not worse outside")
    head = ["level", "cases >= 0.8 inside", "why not 1?: inside", "the local scores alone: inside"]
    head += ["pixel difference: inside", f"why not {WORSE}?: outside"]
    by_type = [[k, *(f"{own['by type'][k]:.0%}" for own in found.values())] for k in KINDS]
    return [
        "Only a region is distorted; share of the evidence that lies where it should:",
        table(head, [[level, *(f"{own[c]:.0%}" for c in columns)] for level, own in found.items()]),
        "*Why not 1?*, mean share inside, by type:",
        table(["type", *(f"level {level}" for level in found)], by_type),
    ]


def _list(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def main() -> None:
    record = card()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for reference, name in FILES.items():
            record[name]["steps"] = steps(pool, reference)
        record[FILES[True]]["localisation"] = localisation(pool)
    note("quality", record)
    fill_in("quality", "measure_quality.py", page(record))


if __name__ == "__main__":
    main()
