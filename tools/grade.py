"""`make grade`: grade the hand-ins of one assignment. See docs/grading.md.

python tools/grade.py ex02_gradcam [--submitted DIR] [--jobs 2] [--seed N] [--unsafe]
"""

import argparse
import fcntl
import signal
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import torch
from grading import by_hand, feedback, stage
from grading.assignment import Assignment, load
from grading.batch import Batch, grade_all
from grading.collect import collect
from grading.judge import Grader
from grading.limits import Limits
from grading.sandbox import NoSandbox, Place, check
from grading.store import Store, write
from grading.table import table

ROOT = Path(__file__).resolve().parent.parent
UNSAFE = """!!! UNSAFE: the submissions run without any wall, with your rights. They can read and change
!!! your files and use your network. Marks are still decided out here, but nothing else is safe."""


def main(arguments: list[str] | None = None) -> int:
    """Grade; the exit status: 0, or 1 if something could not be graded."""
    options = _options(arguments)
    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    try:
        assignment = load(options.assignment, options.solutions)
        limits = Limits(**dict(options.limit))
        submissions = collect(options.submitted, assignment.name, limits.notebook)
        with _alone(options.grades), tempfile.TemporaryDirectory(prefix="grading-") as folder:
            place = Place(stage.stage(Path(folder) / "stage"), walled=not options.unsafe)
            check(place)
            if options.unsafe:
                print(UNSAFE, file=sys.stderr)
            store = Store(options.grades / assignment.name)
            grader = Grader(assignment, place, limits, store.seed(options.seed))
            batch = Batch(grader, store, stage.version())
            try:
                failed = grade_all(batch, submissions, options.jobs)
            except KeyboardInterrupt:
                failed = [
                    "Interrupted: what was graded is kept; the same command goes on from there."
                ]
            complaints = _write(options, assignment, store)
    except (ValueError, OSError, NoSandbox, Busy) as error:
        print(error, file=sys.stderr)
        return 1
    for sentence in (*failed, *complaints):
        print(sentence, file=sys.stderr)
    return 1 if failed else 0


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
    parser.add_argument("--unsafe", action="store_true", help="without a sandbox")
    return parser.parse_args(arguments)


def _limit(words: str) -> tuple[str, float]:
    """NAME=NUMBER, one of `Limits`' names."""
    name, _, number = words.partition("=")
    if name not in vars(Limits()):
        raise argparse.ArgumentTypeError(f"there is no limit '{name}'")
    return name, type(vars(Limits())[name])(float(number))


def _write(options: argparse.Namespace, assignment: Assignment, store: Store) -> list[str]:
    """The CSV, the file for hand marks, and all pages; complaints about the hand marks."""
    name, grades = assignment.name, store.all()
    marks = by_hand.read(options.grades / f"{name}_by_hand.csv", assignment)
    by_hand.update(options.grades / f"{name}_by_hand.csv", grades, assignment, marks)
    write(options.grades / f"{name}.csv", table(grades, assignment, marks))
    write(options.grades / f"{name}_texts.html", feedback.all_texts(grades, assignment, marks))
    for grade in grades:
        page = feedback.of_student(grade, assignment, marks)
        write(options.feedback / grade["key"] / f"{name}.html", page)
    missing = sum(marks.of(grade, assignment) is None for grade in grades)
    print(
        f"{len(grades)} grades: {options.grades / name}.csv; pages for students: {options.feedback}"
    )
    if missing:
        print(
            f"{missing} wait for marks by hand: {options.grades / name}_by_hand.csv (read {name}_texts.html)."
        )
    return marks.complaints


class Busy(RuntimeError):
    """Another `make grade` is at work on the same grades."""


@contextmanager
def _alone(grades: Path):
    grades.mkdir(parents=True, exist_ok=True)
    with (grades / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Busy(f"Another `make grade` is at work in {grades}.") from None
        yield


if __name__ == "__main__":
    sys.exit(main())
