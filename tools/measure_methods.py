"""The benchmark "known answers", version 1: every method of the taxonomy where the answer is known.

    make methods                                             all of it, about an hour
    .venv/bin/python tools/measure_methods.py --birds 6      fewer birds a pair
    .venv/bin/python tools/measure_methods.py --method mymodule:myfunction

Birds of two species that differ in one part are drawn from frozen seeds. Each method is asked "Why
P?" and "Why P, rather than Q?"; its map's peak should lie on that part for the second question.
Every answer is noted in build/, so that a run that was stopped goes on where it ended. The figures
go to data/methods.json, the page to docs/seventeen.md (see methods_report.py).

Somebody else's method is a function (network, x, why, rather_than) -> H x W or h x w numbers, or an
object with `.maps`. Its row is printed and written to build/, to be sent as docs/seventeen.md says.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from time import process_time

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from tqdm import tqdm

from course_utils.birds import PARTS, SPECIES, Bird, differences, draw
from course_utils.measures import energy_inside, pointing_game
from course_utils.methods.maps import positive_maps
from course_utils.methods.taxonomy import METHODS, counted
from course_utils.networks.birds import VARIANTS, load_birds_network

NAME, VERSION = "known answers", 1
ROOT = Path(__file__).resolve().parent.parent
PAIRS = [pair for pair in permutations(SPECIES, 2) if len(differences(*pair)) == 1]
FIRST, FIRST_Q = 1_000_000, 2_000_000  # seeds: no network was trained on a bird from here on
A_PAIR = 1000  # the k-th pair's birds begin at FIRST + 1000 k
BIRDS = 24
TOLERANCE = 8  # pixels, a 16th of the side


@dataclass(frozen=True)
class Entry:
    """What is scored: a method with its options.

    `questions`: of "why" (Why P?) and "contrast" (P, rather than Q?), those that it can be asked.
    `photos`: options for photos.
    `score`: (answer, case) -> (hit, energy); None for the map's. `slow`: asked after the others.
    """

    name: str
    ask: Callable
    questions: tuple[str, ...] = ("why", "contrast")
    score: Callable | None = None
    options: dict = field(default_factory=dict)
    photos: dict = field(default_factory=dict)
    slow: bool = False


@dataclass(frozen=True)
class Case:
    """One bird of P, one of Q, and the part in which the species differ."""

    P: str
    Q: str
    part: str
    bird: Bird
    other: Bird
    key: str


def cases(birds: int) -> Iterator[Case]:
    """The frozen birds, one of each pair in turn: a run that is stopped has as many of each."""
    for number in range(birds):
        for k, (P, Q) in enumerate(PAIRS):
            seed = A_PAIR * k + number
            bird, other = draw(P, FIRST + seed), draw(Q, FIRST_Q + seed)
            yield Case(P, Q, differences(P, Q)[0], bird, other, f"{k}/{number}")


def chance(case: Case) -> tuple[float, float]:
    """What a point at random, and evidence spread evenly over the bird, would score."""
    mask = case.bird.masks[case.part]
    near = distance_transform_edt(~mask) <= TOLERANCE
    return float(near.mean()), float(mask[case.bird.outline].mean())


def on_part(values: np.ndarray, bird: Bird, part: str) -> tuple[float, float]:
    """Whether the peak is on the part, and the share of the bird's energy there; empty: a miss."""
    mask = bird.masks[part]
    hit = pointing_game(values, mask, TOLERANCE)
    return float(np.nan_to_num(hit)), energy_inside(values, mask, bird.outline)


def map_of(answer, size: tuple[int, int]) -> np.ndarray:
    """H x W: an answer's first map, or a map given as numbers."""
    maps = getattr(answer, "maps", answer)
    maps = torch.as_tensor(maps).detach().float()
    if maps.dim() < 2:
        raise ValueError(f"A method must answer with a map, H x W, not with {tuple(maps.shape)}.")
    return positive_maps(maps.reshape(-1, *maps.shape[-2:])[0], size).numpy()


def largest_concept(answer, case: Case) -> tuple[float, float]:
    """TCAV: is the part's derivative the largest of four? There is no map, and no energy."""
    sizes = [size for _, size in answer.result.values()]
    return float(PARTS[int(np.argmax(sizes))] == case.part), float("nan")


def cell_of_q(answer, case: Case) -> tuple[float, float]:
    """Goyal et al.: the first cell of the other image."""
    side = answer.evidence.shape[-1]
    values = torch.zeros(side * side)
    for _, j, _ in answer.result[:1]:
        values[j] = 1
    return on_part(map_of(values.view(side, side), (128, 128)), case.other, case.part)


def entries() -> list[Entry]:
    """The rows of the scoreboard, with the settings that are part of the benchmark's version."""
    of = METHODS
    why, both, untrained = ("why", "contrast"), ("contrast",), dict(train=0)
    rows = [
        Entry("Deconvolution", of["Deconvolution"]),
        Entry("Guided-Backprop", of["Guided-Backprop"]),
        Entry("SmoothGrad", of["SmoothGrad"], why, None, dict(copies=16)),
        Entry("LIME", of["LIME"], why, None, dict(samples=100, patches=60), slow=True),
        Entry("CAM", of["CAM"]),
        Entry("Grad-CAM", of["Grad-CAM"]),
        Entry("TCAV", of["TCAV"], why, largest_concept, dict(each=12), slow=True),
        Entry("Grad-CAM++", of["Grad-CAM++"]),
        Entry("RISE", of["RISE"], why, None, dict(masks=160, grid=8, batch=40), slow=True),
        Entry("Causal-CAM", of["Causal-CAM"], both),
        Entry("Counterfactual-CAM", of["Counterfactual-CAM"]),
        Entry("Goyal et al.", of["Goyal et al."], both, None, dict(most=1)),
        Entry("Goyal et al., cell of I'", of["Goyal et al."], both, cell_of_q, dict(most=1)),
        Entry("CEM", of["CEM"], why, None, dict(steps=30), slow=True),
        Entry("Contrast-CAM", of["Contrast-CAM"], both),
        Entry(
            "Contrastive reasoning", of["Contrastive reasoning"], both, None, untrained, untrained
        ),
    ]
    return rows


def ask(entry: Entry, question: str, network, x, case: Case) -> dict:
    """One row: hit, energy, seconds of the processor, passes."""
    options = dict(entry.options)
    if entry.name.startswith("Goyal"):
        options["other"] = network.preprocess(case.other.image)[None]
    if entry.name == "TCAV":
        options["images"] = x
    start = process_time()
    with counted(network) as passes:
        answer = entry.ask(
            network,
            x,
            why=case.P,
            rather_than=case.Q if question == "contrast" else None,
            **options,
        )
    seconds = process_time() - start
    if entry.score is not None:
        hit, energy = entry.score(answer, case)
    else:
        hit, energy = on_part(map_of(answer, x.shape[-2:]), case.bird, case.part)
    energy = None if energy != energy else round(energy, 4)
    row = dict(entry=entry.name, question=question, case=case.key, hit=round(hit, 4), energy=energy)
    return row | dict(seconds=round(seconds, 4), passes=[passes.forward, passes.backward])


class Notes:
    """Rows kept in a file of JSON lines as they come; the file of another version is not read."""

    def __init__(self, path: Path):
        self.path, self.rows, self.version = path, [], VERSION
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            lines = path.read_text().splitlines()
            rows = [json.loads(line) for line in lines if line.endswith("}")]
            self.rows = [row for row in rows if row["version"] == VERSION]
        self.known = {self._key(row) for row in self.rows}

    @staticmethod
    def _key(row: dict) -> tuple:
        return row["network"], row["entry"], row["question"], row["case"]

    def has(self, network: str, entry: str, question: str, case: str) -> bool:
        return (network, entry, question, case) in self.known

    def add(self, row: dict) -> None:
        self.rows.append(row)
        self.known.add(self._key(row))
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")


def run(rows: list[Entry], networks: list[str], birds: int, notes: Notes) -> None:
    """Ask everything that is not in the notes yet."""
    loaded = {name: load_birds_network(name) for name in networks}
    for case in tqdm(cases(birds), "birds", total=birds * len(PAIRS)):
        for name, network in loaded.items():
            x = network.preprocess(case.bird.image)[None]
            for entry in rows:
                for question in entry.questions:
                    if not notes.has(name, entry.name, question, case.key):
                        row = ask(entry, question, network, x, case)
                        notes.add(dict(version=VERSION, network=name) | row)


def summary(rows: list[dict]) -> dict:
    """network -> entry -> question -> hits, n, energy, seconds, passes."""
    found: dict = {}
    for row in rows:
        one = found.setdefault(row["network"], {}).setdefault(row["entry"], {})
        one.setdefault(row["question"], []).append(row)
    for network in found.values():
        for entry in network.values():
            for question, these in entry.items():
                energy = [row["energy"] for row in these if row["energy"] is not None]
                entry[question] = dict(
                    hits=round(sum(row["hit"] for row in these), 2),
                    n=len(these),
                    energy=round(float(np.mean(energy)), 3) if energy else None,
                    seconds=round(float(np.median([row["seconds"] for row in these])), 3),
                    passes=these[0]["passes"],
                )
    return found


def whole_rounds(rows: list[dict]) -> list[dict]:
    """The rows of rounds in which all pairs were asked about, so that each pair counts alike."""
    rounds: dict[tuple, list[dict]] = {}
    for row in (row for row in rows if "hit" in row):
        number = row["case"].partition("/")[2]
        key = (row["network"], row["entry"], row["question"], number)
        rounds.setdefault(key, []).append(row)
    return [row for these in rounds.values() if len(these) == len(PAIRS) for row in these]


def in_order(rows: Iterable[dict]) -> list[dict]:
    """Rows in the order of the networks and of the lecture's table; within them as they came."""
    networks, names = list(VARIANTS), [entry.name for entry in entries()]
    place = {name: k for k, name in enumerate([*networks, *names])}
    return sorted(rows, key=lambda row: (place.get(row["network"], 0), place[row["entry"]]))


def by_chance(birds: int) -> dict:
    """The two chances, over the frozen birds."""
    each = np.array([chance(case) for case in cases(birds)])
    return dict(peak=round(float(each[:, 0].mean()), 3), energy=round(float(each[:, 1].mean()), 3))


def others_method(address: str) -> Entry:
    """mymodule:myfunction as an entry.

    Raises:
        SystemExit: there is no such module or function.
    """
    module, _, name = address.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        return Entry(address, getattr(importlib.import_module(module), name))
    except (ImportError, AttributeError, ValueError) as reason:
        raise SystemExit(f"--method mymodule:myfunction: {reason}.") from None


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--birds", type=int, default=BIRDS, help=f"a pair (default {BIRDS})")
    parser.add_argument("--networks", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--method", metavar="MODULE:FUNCTION", help="score a method of your own")
    parser.add_argument("--notes", type=Path, default=ROOT / "build" / "methods.jsonl")
    parser.add_argument(
        "--report", action="store_true", help="write what is in the notes; ask nothing"
    )
    return parser.parse_args()


def main() -> None:
    import measure_methods_cost
    import measure_methods_photos
    import methods_report

    chosen = options()
    if chosen.method:
        entry = others_method(chosen.method)
        notes = Notes(chosen.notes.with_name(f"{chosen.method.replace(':', '.')}.jsonl"))
        run([entry], chosen.networks, chosen.birds, notes)
        found = summary(notes.rows)
        print(methods_report.rows_of(found, by_chance(chosen.birds)))
        print(f"To be sent as docs/seventeen.md says: {notes.path}")
        return
    notes = Notes(chosen.notes)
    if not chosen.report:
        for slow in (False, True):  # what is stopped has at least all of the quick ones
            rows = [entry for entry in entries() if entry.slow == slow]
            run(rows, chosen.networks, chosen.birds, notes)
        measure_methods_photos.run(entries(), notes)
        measure_methods_cost.run(notes)
    on_photos = measure_methods_photos.summary(in_order(r for r in notes.rows if "share" in r))
    found = summary(in_order(whole_rounds(notes.rows)))
    costs = measure_methods_cost.summary(notes.rows)
    methods_report.write(found, by_chance(chosen.birds), on_photos, costs)


if __name__ == "__main__":
    main()
