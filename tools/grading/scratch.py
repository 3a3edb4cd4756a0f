"""Temporary folders that a killed run leaves behind are swept by the next one."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PREFIX, ALIVE = "grading-", ".alive"


@dataclass
class Scratch:
    """A folder, and the open file whose lock says that somebody still works in it."""

    path: Path
    lock: int


def make() -> Scratch:
    """A new temporary folder; those of ended runs are removed."""
    sweep()
    path = Path(tempfile.mkdtemp(prefix=PREFIX))
    lock = os.open(path / "new", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.rename(path / "new", path / ALIVE)  # only now can anybody else find it, and it is locked
    return Scratch(path, lock)


@contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder for the time of a `with`."""
    made = make()
    try:
        yield made.path
    finally:
        shutil.rmtree(made.path, ignore_errors=True)
        os.close(made.lock)


def sweep() -> list[Path]:
    """Remove what killed runs of this user left; the folders.

    A lock ends with the last process that holds it, so that a folder without one is nobody's.
    """
    swept = []
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            if path.is_symlink() or path.stat().st_uid != os.getuid():
                continue
            lock = os.open(path / ALIVE, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:  # just made or just removed by somebody else
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
            swept.append(path)
        except OSError:
            continue
        finally:
            os.close(lock)
    return swept
