"""What the known mistakes of the exercises earn, on many hidden seeds.

    python tools/measure_marks.py [--seeds 200] [PART ...]

A mistake must earn the same from every seed, as far as a tenth of the points, and never all of
them. The figures are those before luck is taken off. The test suite does the same.
"""

import argparse
import sys
from collections.abc import Iterable
from time import process_time

import torch

from course_checks import ASSIGNMENTS, parts
from course_checks.drawing import VISIBLE
from course_checks.part import Part

SWING = 0.1  # of the part's points


def shares_by_seed(part: Part, seeds: Iterable[int]) -> tuple[list[float], dict[int, list[float]]]:
    """The share of the points that each known mistake earns in the notebook, and from each seed."""

    def shares(seed: int) -> list[float]:
        cases = [part.worths(case) for case in part.cases(seed)]
        return [sum(case[n][0] for case in cases) / len(cases) for n in range(len(part.mistakes))]

    before = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = False  # so small networks take it longer to prepare than to run
    try:
        return shares(VISIBLE), {seed: shares(seed) for seed in seeds}
    finally:
        torch.backends.mkldnn.enabled = before


def faults(part: Part, seeds: Iterable[int]) -> list[str]:
    """The mistakes that get full marks, or whose marks swing, in words."""
    shown, found = shares_by_seed(part, seeds)
    said = []
    for number, mistake in enumerate(part.mistakes):
        got = [shares[number] for shares in found.values()]
        if max([shown[number], *got]) > 0.999:
            said.append(f"full marks: {mistake.says}")
        if max(got) - min(got) > SWING or max(abs(one - shown[number]) for one in got) > SWING:
            said.append(
                f"{min(got):.2f} to {max(got):.2f}, {shown[number]:.2f} shown: {mistake.says}"
            )
    return said


def main() -> int:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("part", nargs="*", help="names of parts (all)")
    ask.add_argument("--seeds", type=int, default=200, help="how many hidden seeds (200)")
    given = ask.parse_args()
    every = [part for name in ASSIGNMENTS for part in parts(name) if part.reference]
    chosen = [part for part in every if not given.part or part.name in given.part]
    if not chosen:
        ask.error(f"no such part; there are {', '.join(part.name for part in every)}")
    wrong = 0
    for part in chosen:
        start = process_time()
        said = faults(part, range(1, given.seeds + 1))
        took = process_time() - start
        print(
            f"{part.name}: {len(part.mistakes)} mistakes, {given.seeds} seeds, {took:.0f} s",
            flush=True,
        )
        for line in said:
            print(f"  {line}", flush=True)
        wrong += len(said)
    print(f"{wrong} faults" if wrong else "no mistake gets full marks, and none swings")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
