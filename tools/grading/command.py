"""What `make grade` does, from its options to the tables and pages.

python tools/grade.py ex02_gradcam [--submitted DIR] [--jobs 2] [--seed N] [--unsafe]
"""

import argparse
import fcntl
import re
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import torch

from . import by_hand, feedback, feedback_zip, lms, roster, scratch, stage
from .assignment import Assignment, load
from .batch import Batch, Usage, grade_all
from .collect import collect
from .grader import Grader
from .limits import Limits
from .remote import NoCluster
from .sandbox import NoSandbox, Sandbox, check
from .store import Store, write, write_bytes
from .table import table

ROOT = Path(__file__).resolve().parent.parent.parent
UNSAFE = """!!! UNSAFE: the submissions run without any wall, with your rights. They can read and
!!! change your files and use your network. Marks are still decided out here; no more is safe."""
STOPPED = "Interrupted: what was graded is kept; the same command goes on from there."


def main(arguments: list[str] | None = None) -> int:
    """Grade; the exit status: 0, or 1 if something could not be graded."""
    options = _options(arguments)
    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    failed: list[str] = []
    try:
        complaints = _graded(options, failed)
    except KeyboardInterrupt:
        failed, complaints = [*failed, STOPPED], []
    except (ValueError, OSError, NoSandbox, NoCluster, Busy) as error:
        failed, complaints = [*failed, str(error)], []
    for sentence in (*failed, *complaints):
        print(sentence, file=sys.stderr)
    return 1 if failed else 0


def _graded(options: argparse.Namespace, failed: list[str]) -> list[str]:
    """Grade and write; complaints. What could not be graded goes into `failed`."""
    assignment = load(options.assignment, options.solutions)
    limits = Limits(**dict(options.limit))
    submissions = collect(options.submitted, assignment.name, limits.notebook)
    number, parts = options.part
    with _alone(options.grades, options.part), scratch.folder() as folder:
        sandbox = Sandbox(folder / "stage", walled=not options.unsafe)
        if options.cluster is None:  # else each worker has a sandbox of its own
            stage.stage(sandbox.stage)
            check(sandbox)
        if options.unsafe:
            print(UNSAFE, file=sys.stderr)
        store = Store(options.grades / assignment.name)
        grader = Grader(assignment, sandbox, limits, store.seed(options.seed))
        batch = Batch(grader, store, stage.version(), options.cluster)
        usage = Usage()
        try:
            mine = submissions[number - 1 :: parts]
            failed += grade_all(batch, mine, options.jobs, usage)
        except KeyboardInterrupt:
            failed.append(STOPPED)
        print(usage.sentence(options.jobs), end="")
        if parts > 1:
            print(
                f"Part {number} of {parts} is done. After all parts, `make grade` writes tables "
                "and pages."
            )
            return []
        return _write(options, assignment, store, failed)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("assignment")
    parser.add_argument("--submitted", type=Path, default=ROOT / "submitted")
    parser.add_argument("--grades", type=Path, default=ROOT / "grades")
    parser.add_argument("--feedback", type=Path, default=ROOT / "feedback")
    parser.add_argument("--solutions", type=Path, default=ROOT / "solutions")
    parser.add_argument("--jobs", type=int, default=2, help="submissions at a time")
    parser.add_argument("--seed", type=int, help="of the hidden cases, 1 or more")
    some = ", ".join(f"{name}={default}" for name, default in vars(Limits()).items())
    parser.add_argument(
        "--limit", type=_limit, action="append", default=[], help=f"NAME=NUMBER; {some}"
    )
    parser.add_argument("--roster", type=Path, help="the LMS's export, to be filled with marks")
    parser.add_argument("--cluster", help="a Dask scheduler, tcp://host:8786")
    parser.add_argument(
        "--part", type=_part, default=(1, 1), help="i/n: every n-th hand-in, for an array of jobs"
    )
    parser.add_argument("--unsafe", action="store_true", help="without a sandbox")
    return parser.parse_args(arguments)


def _limit(words: str) -> tuple[str, float]:
    """NAME=NUMBER, one of `Limits`' names."""
    name, _, number = words.partition("=")
    if name not in vars(Limits()):
        raise argparse.ArgumentTypeError(f"there is no limit '{name}'")
    return name, type(vars(Limits())[name])(float(number))


def _part(words: str) -> tuple[int, int]:
    """i/n with 1 <= i <= n."""
    found = re.fullmatch(r"(\d+)/(\d+)", words)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(f"'{words}' is no part: write i/n, from 1/n to n/n")
    return int(found[1]), int(found[2])


def _write(
    options: argparse.Namespace, assignment: Assignment, store: Store, failed: list[str]
) -> list[str]:
    """The tables, all pages, and the roster; complaints about the hand marks."""
    name, grades = assignment.name, store.all()
    marks = by_hand.read(options.grades / f"{name}_by_hand.csv", assignment)
    by_hand.update(options.grades / f"{name}_by_hand.csv", grades, assignment, marks)
    write(options.grades / f"{name}.csv", table(grades, assignment, marks))
    write(options.grades / f"{name}_texts.html", feedback.all_texts(grades, assignment, marks))
    origins = lms.origins(options.submitted, name)
    failed += _pages(options, assignment, grades, marks, origins)
    missing = sum(marks.of(grade, assignment) is None for grade in grades)
    print(
        f"{len(grades)} grades: {options.grades / name}.csv; pages for students: {options.feedback}"
    )
    if missing:
        wait = "waits" if missing == 1 else "wait"
        print(
            f"{missing} {wait} for marks by hand: {options.grades / name}_by_hand.csv "
            f"(read {name}_texts.html)."
        )
    if options.roster:
        marks.complaints += _roster(options, assignment, grades, marks, origins)
    return marks.complaints


def _pages(options, assignment: Assignment, grades: list[dict], marks, origins) -> list[str]:
    """One page for each student, and all of them in a zip; whose could not be written, and why."""
    pages, without, why = {}, [], ""
    for grade in grades:
        page = feedback.of_student(grade, assignment, marks)
        origin = grade["student"] if grade["student"] in origins else grade["key"]
        pages[origin] = page
        try:
            write(options.feedback / grade["key"] / f"{assignment.name}.html", page)
        except OSError as error:  # a full disk: the others' pages may fit
            without, why = [*without, grade["student"]], str(error.strerror)
    if without:
        return [f"{why}. The pages of these students are missing: {', '.join(without)}."]
    path = options.feedback / f"{assignment.name}_feedback.zip"
    feedback_zip.write_zip(path, assignment.name, pages, origins)
    return []


def _roster(options, assignment: Assignment, grades: list[dict], marks, origins) -> list[str]:
    """The LMS's export with the marks in it, beside the grades; the original stays as it is."""
    done = roster.fill(options.roster, grades, assignment, marks, origins)
    path = options.grades / f"{assignment.name}_roster{options.roster.suffix or '.csv'}"
    write_bytes(path, done.content)
    print(f"{done.filled} marks for the LMS: {path}")
    return done.said


class Busy(RuntimeError):
    """Another `make grade` is at work on the same grades."""


@contextmanager
def _alone(grades: Path, part: tuple[int, int] = (1, 1)):
    """Nobody else grades here; but several parts of a run may."""
    grades.mkdir(parents=True, exist_ok=True)
    number, parts = part
    own = ".lock" if parts == 1 else f".lock-{number}-{parts}"
    with (grades / ".lock").open("a") as shared, (grades / own).open("a") as mine:
        try:
            if parts > 1:
                fcntl.flock(shared, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Busy(f"Another `make grade` is at work in {grades}.") from None
        yield
