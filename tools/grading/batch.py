"""Grade all submissions of a class: some at a time, each in a process of its own."""

import contextlib
import gc
import multiprocessing
import multiprocessing.connection
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tqdm import tqdm

from . import remote
from .collect import Submission
from .grader import Grader
from .store import Store
from .watch import held

GRACE_SECONDS = 120  # for judging, after the submission's own time


@dataclass(frozen=True)
class Batch:
    """What all submissions of a run share.

    Attributes:
        version: digest of everything that decides about marks, see `stage.version`.
        cluster: the address of a Dask scheduler that hands the work out; None: this machine works.
    """

    grader: Grader
    store: Store
    version: str
    cluster: str | None = None

    def stamp(self, submission: Submission) -> dict:
        """What a grade rests on; while it is the same, the grade stands."""
        stamp = {
            "submission": submission.digest(),
            "grader": self.version,
            "seed": self.grader.seed,
        }
        return stamp | {"walled": self.grader.sandbox.walled}

    def is_graded(self, submission: Submission) -> bool:
        old = self.store.get(submission.key) or {}
        stamp = self.stamp(submission)
        return {name: old.get(name) for name in stamp} == stamp

    def grade_one(self, submission: Submission) -> None:
        """Grade and keep; runs in a process of its own.

        Raises:
            GraderError: the sandbox did not come up.
        """
        self.keep(submission, self.grader.grade(submission))

    def keep(self, submission: Submission, grade: dict) -> None:
        """Keep what `Grader.grade` gave."""
        about = {
            "student": submission.student,
            "key": submission.key,
            "assignment": self.grader.assignment.name,
        }
        self.store.put(submission.key, about | self.stamp(submission) | grade)


class Usage:
    """How long a run took, and the most memory that it held at one time."""

    def __init__(self):
        self.started, self.bytes, self.graded = time.monotonic(), 0, 0

    def look(self) -> None:
        self.bytes = max(self.bytes, held(os.getpid()))

    def sentence(self, jobs: int) -> str:
        """For the end of a run; "" if nothing was graded."""
        if not self.graded:
            return ""
        minutes, seconds = divmod(round(time.monotonic() - self.started), 60)
        memory = f"; the most memory at one time: {self.bytes / 1e9:.1f} GB" if self.bytes else ""
        return f"{self.graded} graded in {minutes}:{seconds:02d} min, {jobs} at a time{memory}.\n"


def grade_all(
    batch: Batch, submissions: list[Submission], jobs: int, usage: Usage | None = None
) -> list[str]:
    """Grade what is not graded yet.

    Returns:
        sentences about submissions that could not be graded; they are tried again the next time.
    """
    waiting = [one for one in submissions if not batch.is_graded(one)]
    known = len(submissions) - len(waiting)
    if known:
        print(f"{known} of {len(submissions)} submissions are graded already.")
    failed: list[str] = []
    usage = usage or Usage()
    with tqdm(total=len(waiting), unit="submission", disable=not waiting, file=sys.stderr) as bar:
        seconds = batch.grader.limits.start + batch.grader.limits.seconds + GRACE_SECONDS
        if batch.cluster:
            done = _remotely(batch, waiting)
        else:
            done = _spread(batch.grade_one, waiting, jobs, seconds, usage.look)
        for name, wrong in done:
            failed += [f"{name} was not graded: {wrong}"] if wrong else []
            usage.graded += not wrong
            bar.update()
    return sorted(failed)


def _remotely(batch: Batch, waiting: list[Submission]) -> Iterator[tuple[str, str]]:
    """Grade on a cluster; grades are written here alone, as they come."""
    named = {one.key: one for one in waiting}
    if not named:
        return
    for key, grade, wrong in remote.graded(batch, named.values()):
        if not wrong:
            try:
                batch.keep(named[key], grade)
            except OSError as error:
                wrong = str(error)
        yield named[key].student, wrong


def _spread(
    work: Callable[[Submission], None],
    waiting: list[Submission],
    jobs: int,
    seconds: float,
    look: Callable[[], None] = lambda: None,
) -> Iterator[tuple[str, str]]:
    """Run `work` on all, `jobs` at a time; (student, what went wrong or "") as each one ends."""
    context = multiprocessing.get_context("fork")  # torch is imported once, before
    gc.freeze()  # so that no child copies what it only looks through for garbage
    running: dict[multiprocessing.Process, tuple[Submission, float, object]] = {}
    waiting = list(reversed(waiting))
    try:
        while waiting or running:
            while waiting and len(running) < max(1, jobs):
                submission = waiting.pop()
                here, there = context.Pipe(duplex=False)
                process = context.Process(target=_guarded, args=(work, submission, there))
                process.start()
                there.close()
                running[process] = (submission, time.monotonic() + seconds, here)
            multiprocessing.connection.wait([process.sentinel for process in running], timeout=1)
            look()
            for process, (submission, deadline, here) in list(running.items()):
                if process.is_alive() and time.monotonic() < deadline:
                    continue
                late = process.is_alive()
                process.kill()
                process.join()
                del running[process]
                yield (
                    submission.student,
                    "judging it took too long" if late else _said(process, here),
                )
    finally:
        for process in running:
            process.kill()
            process.join()


def _guarded(work: Callable, submission: Submission, there) -> None:
    """What a child does: its trouble goes to the parent as a sentence, not as a traceback."""
    wrong = ""
    with contextlib.suppress(KeyboardInterrupt):
        try:
            work(submission)
        except Exception as error:
            plain = isinstance(error, OSError) and error.filename is None and error.strerror
            wrong = error.strerror if plain else f"{type(error).__name__}: {error}"
        there.send(wrong[:1000])


def _said(process, here) -> str:
    try:
        return here.recv()
    except EOFError:  # it was ended from outside before it could say anything
        return f"its process ended with {process.exitcode}"
