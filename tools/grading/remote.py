"""Grade a hand-in on another machine: what is sent, what comes back, and who may answer.

The scheduler unpickles what is sent, so nothing here imports torch before a task runs.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import cluster
from cluster import NoCluster

__all__ = ["NoCluster", "Task", "grade", "graded"]

_sandboxes: dict = {}  # the folder that this process has staged, once


class WrongVersion(RuntimeError):
    """The worker's copy of the course is another one than the driver's."""


@dataclass(frozen=True)
class Task:
    """A hand-in and everything that decides about its marks, made of plain data.

    Attributes:
        submission: fields of `collect.Submission`.
        limits: fields of `Limits`.
        version: `stage.version()` of the driver's copy.
    """

    submission: dict
    assignment: str
    seed: int
    limits: dict
    version: str
    walled: bool


def graded(batch, submissions: Iterable) -> Iterator[tuple[str, dict, str]]:
    """Grade submissions on the cluster: (key, grade, what went wrong or ""), as they come.

    Raises:
        NoCluster: nobody works there.
    """
    grader = batch.grader
    limits, walled = asdict(grader.limits), grader.sandbox.walled
    tasks = {
        one.key: (
            Task(asdict(one), grader.assignment.name, grader.seed, limits, batch.version, walled),
        )
        for one in submissions
    }
    for key, text, wrong in cluster.run(batch.cluster, grade, tasks):
        yield key, json.loads(text) if text else {}, wrong


def grade(asked: Task) -> str:
    """The grade as JSON; runs on the worker, in a sandbox of the worker's own.

    Raises:
        WrongVersion: this copy of the course is not the driver's.
        NoSandbox: bubblewrap does not start here.
        GraderError: the sandbox did not come up.
    """
    import torch

    from .assignment import load
    from .collect import Submission
    from .grader import Grader
    from .limits import Limits
    from .stage import ROOT

    torch.set_num_threads(1)
    sandbox = _sandbox(asked.walled, asked.version)
    assignment = load(asked.assignment, ROOT / "solutions")
    grader = Grader(assignment, sandbox, Limits(**asked.limits), asked.seed)
    return json.dumps(grader.grade(Submission(**asked.submission)))


def _sandbox(walled: bool, wanted: str):
    """This process's sandbox, staged from this machine's own copy of the course."""
    import atexit
    import shutil
    import socket

    from . import stage
    from .sandbox import Sandbox, check
    from .scratch import make

    if stage.version() != wanted:
        raise WrongVersion(
            f"the course on {socket.gethostname()} is another version than here: bring both to the "
            "same commit, and start its worker again"
        )
    if wanted not in _sandboxes:
        folder = make()
        atexit.register(shutil.rmtree, folder.path, ignore_errors=True)
        sandbox = Sandbox(stage.stage(folder.path / "stage"), walled)
        check(sandbox)
        _sandboxes[wanted] = (
            sandbox,
            folder,
        )  # the folder's lock is held as long as the process lives
    return _sandboxes[wanted][0]
