"""Ask a network about every photo of a folder, and lay the answers out on one page.

    python -m course_utils.report FOLDER --network efficientnet_lite0 -o report.html
    python -m course_utils.report FOLDER --network my_networks:load --rather-than "tiger cat"

The page holds all it needs and opens without internet; a table (CSV) lies beside it.
An interrupted run goes on when the same command is given again. For several machines:

    python -m course_utils.report FOLDER --part 1/3 -o report.html     (and 2/3, 3/3, anywhere)
    python -m course_utils.report --merge report.part-*.jsonl -o report.html
    python -m course_utils.report FOLDER --cluster tcp://host:8786 -o report.html
"""

import argparse
import hashlib
import json
import os
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from tqdm import tqdm

from . import __version__
from .errors import ClassError, LayerError, WeightsError, hearing
from .explorers.report import networks, page, photos
from .explorers.report.asking import RUNNER_UP, Asker, Questions
from .explorers.report.kept import Kept, Whole, merged
from .methods.cams import ContrastCAM
from .photos import PHOTOS, load_photo

TOOLS = Path(__file__).resolve().parent.parent / "tools"
Answered = tuple[list[dict], dict]  # rows; layer, its reason, broken files


class NoReport(Exception):
    """There is no report: a sentence that says why."""


@dataclass(frozen=True)
class Task:
    """What a worker of a cluster is told, in plain data.

    Attributes:
        place: where modules are looked for.
        digest: of the network; a worker whose network is another one refuses.
    """

    network: str
    place: str
    digest: str
    questions: dict
    folder: str
    batch: tuple[str, tuple[str, ...]]


def answers(
    reported: networks.Reported, questions: Questions, folder: Path, some: list[photos.Batch]
) -> Iterator[tuple[str, Answered]]:
    """Each batch's key and answers, one after the other."""
    ask = Asker(reported.network, questions)
    for batch, read in photos.read(folder, some, reported):
        with hearing() as said:
            rows = ask(read)
        about = {
            "layer": ask.layer,
            "reason": ask.layer_reason,
            "broken": sorted(read.broken),
            "said": said,
        }
        yield batch.key, (rows, about)


_loaded: dict[tuple, networks.Reported] = {}  # of this worker


def answer(task: Task) -> Answered:
    """The answers of one batch, on a worker of a cluster.

    Raises:
        ValueError: the network, or the folder, is not the same there.
    """
    which = (task.network, task.place, task.digest)
    if which not in _loaded:
        _loaded[which] = networks.load(task.network, task.place)
        if _loaded[which].digest() != task.digest:
            del _loaded[which]
            raise ValueError(
                f"on this worker {task.network} is another network: bring both to one state"
            )
    folder = Path(task.folder)
    if not folder.is_dir():
        raise ValueError(f"this worker sees no folder {folder}: share it under the same path")
    one = photos.Batch(*task.batch)
    return next(answers(_loaded[which], Questions(**task.questions), folder, [one]))[1]


@contextmanager
def folder_of(place: str) -> Iterator[Path]:
    """The folder that is meant: `course` stands for the course's own photos, written to one."""
    if place != "course" or Path(place).is_dir():
        yield Path(place).expanduser()
        return
    with TemporaryDirectory() as there:
        folder = Path(there) / "course"
        folder.mkdir()
        for name in PHOTOS:
            load_photo(name).save(folder / f"{name}.png", compress_level=1)
            os.utime(folder / f"{name}.png", (0, 0))  # the same files the next time
        yield folder


class Run:
    """One call of the command: what is asked of whom, and where the answers go."""

    def __init__(self, options: argparse.Namespace, folder: Path):
        self.options, self.folder = options, folder
        self.part = options.part
        self.output = Path(options.output)
        self.names, said = photos.photos_in(self.folder)
        self.reported = networks.load(options.network)
        self.questions = Questions(
            options.why, options.rather_than, options.loss, options.sigmoid, options.layer
        )
        self.digest = self.reported.digest()
        self.settings = {
            "version": __version__,
            "network": options.network,
            "digest": self.digest,
            "questions": asdict(self.questions),
            "batch": photos.BATCH,
            "folder": self.folder.resolve().name,
            "said": self.reported.said + said,
        }
        for sentence in self.settings["said"]:
            print(sentence, file=sys.stderr)
        asked = json.dumps(self.settings, sort_keys=True)
        every = photos.batches(self.folder, self.names, asked)
        self.batches = every[self.part[0] - 1 :: self.part[1]]

    @property
    def whole(self) -> bool:
        return self.part[1] == 1

    @property
    def state(self) -> Path:
        """The file of what is done: beside the report, or the product of a part."""
        i, n = self.part
        return self.output.with_suffix(
            ".unfinished.jsonl" if self.whole else f".part-{i}-of-{n}.jsonl"
        )

    def __call__(self) -> int:
        with Kept(self.state, self.settings) as kept:
            if kept.lost:
                print(f"{self.state} was about other questions or another network: begun anew.")
            keys = [batch.key for batch in self.batches]
            missing = [batch for batch in self.batches if batch.key not in kept.done]
            count = sum(len(b.names) for b in self.batches)
            done = count - sum(len(b.names) for b in missing)
            if done:
                print(
                    f"{done} of {count} photos were asked before: the run goes on.", file=sys.stderr
                )
            self._fill(
                kept, missing, tqdm(total=count, initial=done, unit="photo", file=sys.stderr)
            )
            names = "\n".join(self.names).encode(errors="surrogateescape")  # also of no text
            digest = hashlib.sha256(names).hexdigest()
            kept.finish(keys, self.part, digest)
        if not self.whole:
            print(f"{self.state} is done. --merge the {self.part[1]} parts when all are there.")
            return 0
        write(Whole([(self.state, keys)]), self.output)
        self.state.unlink()
        return 0

    def _fill(self, kept: Kept, missing: list[photos.Batch], bar: tqdm) -> None:
        counts = {batch.key: len(batch.names) for batch in missing}
        with bar:
            for key, (rows, about) in self._answers(missing):
                kept.add(key, rows, about)
                for name, why in about["broken"]:
                    bar.write(f"skipped {name}: {why}", file=sys.stderr)
                bar.update(counts[key])

    def _answers(self, missing: list[photos.Batch]) -> Iterable[tuple[str, Answered]]:
        if self.options.cluster:
            return self._on_cluster(missing)
        return answers(self.reported, self.questions, self.folder, missing)

    def _on_cluster(self, missing: list[photos.Batch]) -> Iterator[tuple[str, Answered]]:
        """Batches answered by the workers of a Dask cluster, as they come."""
        cluster, work = _cluster()
        about = (str(Path.cwd()), self.digest, asdict(self.questions), str(self.folder.resolve()))
        tasks = {
            batch.key: (asdict(Task(self.options.network, *about, (batch.key, batch.names))),)
            for batch in missing
        }
        try:
            for key, answered, wrong in cluster.run(self.options.cluster, work, tasks):
                if wrong:
                    raise NoReport(f"A worker could not answer ({wrong}). What is done is kept.")
                yield key, answered
        except cluster.NoCluster as error:
            raise NoReport(str(error)) from None


def _cluster():
    """The course's cluster module, and the function that workers run; both lie in tools/."""
    sys.path.append(str(TOOLS))
    try:
        import cluster
        import report_worker
    except ImportError:
        raise NoReport("--cluster needs the course's folder tools/, which is not here.") from None
    return cluster, report_worker.work


def write(rows: Whole, output: Path) -> None:
    """The page and its table."""
    broken = sum(len(about["broken"]) for about in rows.abouts)
    if not len(rows):
        raise NoReport("None of the photos could be asked: no report was made.")
    output.parent.mkdir(parents=True, exist_ok=True)
    table = output.with_suffix(".csv")
    page.write_table(table, rows)
    page.write_page(output, rows, table.name)
    skipped = f", {broken} skipped" if broken else ""
    folder = rows.settings["folder"]
    print(f"Of the folder {folder}: {len(rows)} photos{skipped}. See {output} and {table}")


# --- the command line -----------------------------------------------------------------------------


def _part(text: str) -> tuple[int, int]:
    i, _, n = text.partition("/")
    if not (i.isdecimal() and n.isdecimal() and 1 <= int(i) <= int(n)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no part: write --part 2/3 for the second of three"
        )
    return int(i), int(n)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m course_utils.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("folder", nargs="?", help="photos, also in its subfolders; or `course`")
    add("--network", default="efficientnet_lite0", help="as for load_classifier, or "
        "module:function that gives an nn.Module; its .preprocess, .categories and .layer are "
        "used where set")  # fmt: skip
    add("--layer", help="the target layer's name (default: the last one with places)")
    add("--why", help="P, a class's name or number (default: each photo's predicted class)")
    add("--rather-than", default=RUNNER_UP, metavar="Q", help="a class's name or number, or "
        "runner-up (default): the most probable class beside P")  # fmt: skip
    add("--loss", default="cross_entropy", choices=list(ContrastCAM.losses), help="of the contrast")
    add(
        "--sigmoid",
        action="store_true",
        help="a multi-label network: a photo may show several classes",
    )
    add("-o", "--output", default="report.html", help="the page (default: report.html)")
    add(
        "--part",
        type=_part,
        default=(1, 1),
        metavar="i/n",
        help="only every n-th batch, from the i-th",
    )
    add("--merge", nargs="+", type=Path, metavar="PART", help="make the page of what --part wrote")
    add(
        "--cluster",
        metavar="tcp://host:port",
        help="on a Dask cluster (make scheduler, make worker)",
    )
    return made


def _check_output(output: Path) -> None:
    """Raise a NoReport before the photos are asked, rather than behind them."""
    table = output.with_suffix(".csv")
    if output.is_dir():
        raise NoReport(f"{output} is a folder: give the page another name.")
    if table.exists() and not (table.is_file() and page.is_table(table)):
        raise NoReport(f"{table}, where the table goes, is there and no report's: give another -o.")


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0; 1 if there is no report; 130 if it was interrupted."""
    asked = parser()
    options = asked.parse_args(arguments)
    if bool(options.folder) == bool(options.merge):
        asked.error("give a folder of photos, or --merge and the files of its parts")
    output = Path(options.output)
    if output.suffix.lower() not in (".html", ".htm"):
        asked.error(f"the report is a page: -o {output.stem}.html")
    run = None
    try:
        _check_output(output)
        if options.merge:
            write(merged(options.merge), output)
            return 0
        with folder_of(options.folder) as folder:
            run = Run(options, folder)
            return run()
    except KeyboardInterrupt:
        kept = f" What is done is kept in {run.state}: the same command goes on." if run else ""
        print(f"\nInterrupted.{kept}", file=sys.stderr)
        return 130
    except TypeError as error:
        line = traceback.extract_tb(error.__traceback__)[-1].line or ""
        if not line.startswith("raise"):  # nothing that was said on purpose
            raise
        wrapped = "course_utils.methods.as_classes.AsClasses(network, output=...)"
        cure = f" In a report: let module:function give {wrapped}." * ("output=" in str(error))
        print(f"No report: {error}{cure}", file=sys.stderr)
        return 1
    except (NoReport, ClassError, LayerError, WeightsError, ValueError, OSError) as error:
        print(f"No report: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    warnings.filterwarnings("once")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or torch.get_num_threads()))
    sys.exit(main())
