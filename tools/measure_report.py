"""What a report costs beside the plain forward passes of the same photos.

    .venv/bin/python tools/measure_report.py FOLDER [--network efficientnet_lite0] [--repeat 3]

Both read, prepare and pass the same batches; the report asks five questions of each photo as well,
makes a thumbnail, and writes its file. Plain and report take turns; the least of each counts.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import torch

from course_utils import load_photo
from course_utils.explorers.report import networks, photos
from course_utils.explorers.report.asking import Questions
from course_utils.explorers.report.kept import Kept
from course_utils.report import answers


def plain(reported: networks.Reported, folder: Path, some: list[photos.Batch]) -> None:
    """The loop that everybody writes."""
    for batch in some:
        pictures = []
        for name in batch.names:
            try:
                pictures.append(reported.preprocess(load_photo(folder / name)))
            except (OSError, ValueError):
                continue
        with torch.inference_mode():
            reported.network(torch.stack(pictures))


def report(reported: networks.Reported, folder: Path, some: list[photos.Batch]) -> None:
    with tempfile.TemporaryDirectory() as there, Kept(Path(there) / "kept.jsonl", {}) as kept:
        for key, (rows, about) in answers(reported, Questions(), folder, some):
            kept.add(key, rows, about)


def seconds(function, *arguments) -> tuple[float, float]:
    """By the clock, and of the processor."""
    start = time.perf_counter(), time.process_time()
    function(*arguments)
    return time.perf_counter() - start[0], time.process_time() - start[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--network", default="efficientnet_lite0")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    reported = networks.load(options.network)
    names, _ = photos.photos_in(options.folder)
    about = (reported, options.folder, photos.batches(options.folder, names, ""))
    plain(*about[:2], about[2][:1])  # warmed up
    report(*about[:2], about[2][:1])
    pairs = [(seconds(plain, *about), seconds(report, *about)) for _ in range(options.repeat)]
    print(f"{len(names)} photos, {torch.get_num_threads()} threads")
    for n, what in enumerate(("by the clock", "of the processor")):
        one, other = (min(turn[k][n] for turn in pairs) for k in (0, 1))
        print(f"{what}: plain {one:.2f} s, report {other:.2f} s, {other / one:.2f} of it")
    print(f"most memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
