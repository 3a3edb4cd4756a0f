"""Measure the assessors on the installed photos, and write data/quality.md.

    .venv/bin/python tools/measure_quality.py

Two experiments whose answers are known. One: a photo distorted from level 1 to 5 must lose score at
every step. Two: only a known region is distorted, so that "why not 1?" must point there, and "why
not worse?" elsewhere.
"""

import json
import os
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from course_utils import load_photo
from course_utils.quality import KINDS, LEVELS, Assessor, DistortionWarning, distort, load_assessor
from course_utils.quality.loading import FILES

DATA = Path(__file__).resolve().parent.parent / "data"
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


def shares(assessor: Assessor, case: int, level: int, sides=LARGE) -> tuple[str, float, float]:
    """One case: its type; how much of the evidence of "why not 1?" lies inside the damaged region,
    and of "why not 0.25?" outside."""
    rng = np.random.default_rng([case, level])
    kind = list(KINDS)[case % len(KINDS)]
    picture = photo(PHOTOS[case % len(PHOTOS)])
    left, top, right, bottom = box = region(picture, sides, rng)
    damaged = distort(picture, kind, level, region=box, seed=case).image
    reference = picture if assessor.network.reference else None
    evidence = assessor.explain(damaged, reference, rather_than=[1, WORSE]).evidence
    inside = torch.zeros(evidence.shape[1:], dtype=torch.bool)
    inside[top:bottom, left:right] = True
    down, up = (-evidence[0]).clamp(min=0), evidence[1].clamp(min=0)
    return kind, (down[inside].sum() / down.sum()).item(), (up[~inside].sum() / up.sum()).item()


def localisation(pool: ProcessPoolExecutor) -> dict:
    """By series: the share of cases with at least 0.8 inside, and the mean share by type."""
    figures = {}
    for name, (level, sides, cases) in SERIES.items():
        jobs = pool.map(partial(_case, level=level, sides=sides), range(cases))
        rows = list(tqdm(jobs, f"level {name}", cases, unit=" cases"))
        figures[name] = {
            "at least 0.8 inside": round(mean(inside >= 0.8 for _, inside, _ in rows), 3),
            "inside": round(mean(inside for _, inside, _ in rows), 3),
            "not worse outside": round(mean(outside for _, _, outside in rows), 3),
            "first cases": [round(inside, 4) for _, inside, _ in rows[:4]],  # tests make them again
            "by type": {k: round(mean(i for kind, i, _ in rows if kind == k), 3) for k in KINDS},
        }
    return figures


@cache
def _assessor(reference: bool) -> Assessor:
    """One for each process."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", DistortionWarning)
    return load_assessor(reference)


def _case(case: int, level: int, sides: tuple[int, int]) -> tuple[str, float, float]:
    return shares(_assessor(True), case, level, sides)


def _falls(kind: str, reference: bool) -> int:
    """In how many of the photos each level that is reached scores less than the one before."""
    assessor, falls = _assessor(reference), 0
    for name in PHOTOS:
        picture = photo(name)
        distorted = [distort(picture, kind, level) for level in LEVELS]
        reached = [d.image for d in distorted if d.reached]  # two levels that are one picture are a tie
        scores = [assessor.score(image, picture if reference else None) for image in reached]
        falls += all(before > after for before, after in zip(scores, scores[1:]))
    return falls


def steps(pool: ProcessPoolExecutor, reference: bool) -> dict[str, str]:
    """By type: in how many of the photos the score falls with every level."""
    jobs = pool.map(partial(_falls, reference=reference), KINDS)
    found = tqdm(jobs, "levels", len(KINDS), unit=" types")
    return {kind: f"{falls} of {len(PHOTOS)}" for kind, falls in zip(KINDS, found)}


def table(head: list[str], rows: list[list]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines] + [""]


def page(record: dict) -> str:
    """The figures of data/quality.json as the card's tables."""
    lines = []
    for name in FILES.values():
        own = record[name]
        lines += [f"## `{name}`", "", f"sha256 of the weights: `{own['sha256']}`", ""]
        lines += [
            f"Learned from Kodak's photos {_list(own['learned'])}, stopped by {_list(own['stopped_by'])}, "
            f"measured on {_list(own['held_out'])}, which it never saw ({own['photos']} photos).",
            "",
        ]
        measures = {k: v for k, v in own.items() if isinstance(v, dict) and "srocc" in v}
        types = list(next(iter(measures.values()))["within"])
        head = ["", "SROCC", "PLCC", *(f"type {t}" for t in types)]
        lines += table(
            head,
            [[k, f"**{v['srocc']:.3f}**", f"{v['plcc']:.3f}", *v["within"].values()] for k, v in measures.items()],
        )
        if "localisation" in own:
            found = own["localisation"]
            lines += ["Only a region is distorted; share of the evidence that lies where it should:", ""]
            head = ["level", "cases >= 0.8 inside", "why not 1?: inside", f"why not {WORSE}?: outside"]
            lines += table(head, [[n, *(f"{x:.0%}" for x in list(f.values())[:3])] for n, f in found.items()])
            lines += ["*Why not 1?*, mean share inside, by type:", ""]
            lines += table(
                ["type", *(f"level {n}" for n in found)],
                [[k, *(f"{f['by type'][k]:.0%}" for f in found.values())] for k in KINDS],
            )
        lines += ["Photos whose score falls at every level, by type:", ""]
        lines += table(["type", "photos"], [list(item) for item in own["steps"].items()])
    return "\n".join(lines)


def _list(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def main() -> None:
    file = DATA / "quality.json"
    record = json.loads(file.read_text())
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for reference, name in FILES.items():
            record[name]["steps"] = steps(pool, reference)
        record[FILES[True]]["localisation"] = localisation(pool)
    file.write_text(json.dumps(record, indent=2) + "\n")
    card = DATA / "quality.md"
    before, after = "<!-- figures: written by tools/measure_quality.py -->\n", "<!-- end of figures -->"
    text = card.read_text()
    start, end = text.index(before) + len(before), text.index(after)
    card.write_text(text[:start] + "\n" + page(record) + "\n" + text[end:])


if __name__ == "__main__":
    main()
