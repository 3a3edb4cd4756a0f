"""Teach the assessors of image quality; what they learned goes to data/quality_*.safetensors.

    make train-quality ARGS="--tid2013 FOLDER"
        from TID2013's official folder (reference_images, distorted_images, mos_with_names.txt)
    make train-quality ARGS="--references FOLDER --scores FILE"
        from Kodak's photos kodim01.png ..., distorted anew to TID2013's PSNR, and its published
        scores (mos_with_names.txt, or a CSV: reference,type,level,mos)

An interrupted run goes on where it was; --cache names the folder that it keeps for that. Afterwards
tools/measure_quality.py measures what the explanations are worth.
"""

import argparse
import os
import shutil
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from model_card import DATA, keep
from skimage.metrics import structural_similarity
from tqdm import tqdm

from course_utils.quality import KINDS, Assessor, DistortionWarning
from course_utils.quality.distort import psnr
from course_utils.quality.load import FILES, packed
from course_utils.quality.network import QualityNet
from course_utils.quality.training.agreement import agreement
from course_utils.quality.training.tid2013 import (
    REMADE,
    Scored,
    ScoresError,
    distort_anew,
    load_tid2013,
    read_scores,
)
from course_utils.quality.training.training import learn
from course_utils.quality.training.training_data import Lessons, prepare

ROOT = Path(__file__).resolve().parent.parent
EPOCHS = {True: 24, False: 16}
# beside the types that are measured: their PSNR does not define them wholly, but they widen the
# view
WIDER = {k.number: name for name, k in KINDS.items() if k.number in (6, 9, 16, 18, 21)}


def split(references: list[int]) -> tuple[list[int], list[int], list[int]]:
    """References to learn from, to stop by, and to report on: by reference, never by photo."""
    held = max(1, len(references) // 4)
    rest, test = references[:-held], references[-held:]
    stop = max(1, len(rest) // 6)
    if len(rest) - stop < 1:
        raise ScoresError(f"{len(references)} references are too few: at least 3 are needed.")
    return rest[:-stop], rest[-stop:], test


def _prepare_one(group: tuple[bool, list[tuple]], cache: Path, source) -> None:
    """In a process of its own: the lessons of one reference."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", DistortionWarning)
    reference, number = group
    prepare(QualityNet(reference), [s for s in source() if s.reference == number], cache)


def lessons(reference: bool, source, cache: Path) -> dict[int, Lessons]:
    """The lessons of all references, prepared on all cores; `source()` lists the photos."""
    scored = source()
    numbers = sorted({item.reference for item in scored})
    cache = cache / ("with_reference" if reference else "without_reference")
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        jobs = pool.map(
            partial(_prepare_one, cache=cache, source=source), [(reference, n) for n in numbers]
        )
        for _ in tqdm(jobs, "looking at references", len(numbers), unit=" references"):
            pass
    return prepare(QualityNet(reference), scored, cache)


def others(distorted: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Established measures of the same photo; MS-SSIM by torchmetrics, where it is installed."""
    answers = {
        "PSNR": min(psnr(distorted, reference), 100.0),
        "SSIM": structural_similarity(distorted, reference, channel_axis=2, gaussian_weights=True),
    }
    try:
        from torchmetrics.functional.image import (
            multiscale_structural_similarity_index_measure as ms_ssim,
        )
    except ImportError:
        return answers
    pair = (
        torch.from_numpy(a.copy()).permute(2, 0, 1)[None].float() for a in (distorted, reference)
    )
    return answers | {"MS-SSIM": ms_ssim(*pair, data_range=255.0).item()}


def report(assessor: Assessor, scored: list[Scored]) -> dict:
    """Agreement with people on photos of references that were never learned from."""
    rows = []
    for item in tqdm(scored, "measuring", unit=" photos"):
        distorted, reference = item.open()
        wanted = reference if assessor.network.reference else None
        answers = {"this assessor": assessor.score(distorted, wanted)}
        if wanted is not None:
            answers |= others(np.asarray(distorted), np.asarray(reference))
        rows.append(answers)
    people, types = [item.score for item in scored], [item.type for item in scored]
    return {name: agreement([row[name] for row in rows], people, types) for name in rows[0]}


def train(reference: bool, source, options: argparse.Namespace) -> None:
    by_reference = lessons(reference, source, options.cache)
    learned, stopping, held = split(sorted(by_reference))
    name = FILES[reference]

    def taught(checkpoint: str, by: list[int], validated_by: list[int], epochs: int):
        groups = ([by_reference[n] for n in numbers] for numbers in (by, validated_by))
        return learn(QualityNet(reference), *groups, options.cache / checkpoint, epochs)

    # first how long, judged by references kept apart; then all of them teach for so long
    how_long = options.cache / f"{name}.epochs"
    if not how_long.exists():
        _, epochs = taught(f"{name}.trial", learned, stopping, options.epochs or EPOCHS[reference])
        how_long.write_text(str(epochs))
    epochs = int(how_long.read_text())
    network, _ = taught(f"{name}.checkpoint", learned + stopping, [], epochs)
    test = [s for s in source() if s.reference in held and (options.tid2013 or s.type in REMADE)]
    figures = {"learned": learned + stopping, "stopped_by": stopping, "epochs": epochs}
    figures |= {"held_out": held, "photos": len(test)}
    figures |= report(Assessor(network), test)
    keep("quality", FILES[reference], packed(network), figures, options.data)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tid2013", type=Path, help="TID2013's official folder")
    parser.add_argument("--references", type=Path, help="a folder with kodim01.png ...")
    parser.add_argument("--scores", type=Path, help="mos_with_names.txt, or a CSV")
    parser.add_argument("--only", choices=["reference", "no-reference"], help="one of the two")
    parser.add_argument("--epochs", type=int, help=f"default {EPOCHS[True]} and {EPOCHS[False]}")
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "quality")
    parser.add_argument("--data", type=Path, default=DATA, help="where the weights go")
    options = parser.parse_args(arguments)
    if not options.tid2013 and not (options.references and options.scores):
        parser.error("give --tid2013 FOLDER, or --references FOLDER and --scores FILE.")
    warnings.simplefilter("ignore", DistortionWarning)
    try:
        if options.tid2013:
            source = partial(load_tid2013, options.tid2013)
        else:
            scores = read_scores(options.scores)
            source = partial(distort_anew, options.references, scores, REMADE | WIDER)
        split(sorted({item.reference for item in source()}))  # too few: say so before the long work
    except ScoresError as error:
        sys.exit(str(error))
    for reference in (True, False):
        if options.only in (None, "reference" if reference else "no-reference"):
            train(reference, source, options)
    shutil.rmtree(options.cache)
    print("Now measure the explanations: .venv/bin/python tools/measure_quality.py")


if __name__ == "__main__":
    main(sys.argv[1:])
