"""Grades on disk: one JSON file for each student, written whole or not at all, never lost.

grades/<assignment>/<student>.json            the grade
grades/<assignment>/earlier/<student>-….json  grades that a later hand-in replaced
grades/<assignment>/seed.txt                  the seed of the hidden cases
"""

import contextlib
import json
import os
import secrets
import tempfile
from pathlib import Path

from course_checks.drawing import VISIBLE

EARLIER, SEED = "earlier", "seed.txt"
NEEDED = {"student", "key", "submission", "grader", "seed", "trouble", "remarks", "parts", "texts"}


def write(path: Path, text: str) -> None:
    """Write a text file in one step, see `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one step: a reader, or a run after a crash, sees the old one or the new one.

    Raises:
        OSError: with the file's name and the reason; what was there before is still there.
    """
    try:
        if path.exists() and path.read_bytes() == content:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=".part-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(part, 0o644)
            os.replace(part, path)
        except BaseException:
            os.unlink(part)
            raise
    except OSError as error:
        raise OSError(error.errno, f"{path} cannot be written: {error.strerror}") from None


class Store:
    """The grades of one assignment.

    Args:
        folder: grades/<assignment>; made if need be.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def seed(self, wanted: int | None) -> int:
        """The seed of the hidden cases: the given one, else the last one, else a new secret one.

        Raises:
            ValueError: that of the visible cases; or the file holds no number.
        """
        path = self.folder / SEED
        if wanted is None:
            kept = path.read_text().strip() if path.exists() else ""
            if kept and not kept.isdecimal():
                raise ValueError(f"{path} must hold a whole number: the seed of the hidden cases.")
            wanted = int(kept) if kept else self._drawn(path)
        if wanted < 0 or wanted == VISIBLE:
            raise ValueError(
                f"The seed must be 0 or more, and not {VISIBLE}: learners see the cases of "
                "that one."
            )
        write(path, f"{wanted}\n")
        return wanted

    @staticmethod
    def _drawn(path: Path) -> int:
        """A new secret seed; of runs that draw one at the same time, all get the same."""
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".part-") as file:
            file.write(f"{1 + secrets.randbelow(2**31 - 1)}\n")
            file.flush()
            with contextlib.suppress(FileExistsError):
                os.link(file.name, path)
        path.chmod(0o644)
        return int(path.read_text())

    def path(self, key: str) -> Path:
        return self.folder / f"{key}.json"

    def get(self, key: str) -> dict | None:
        """A student's grade; None if there is none, or none that can be read."""
        try:
            grade = json.loads(self.path(key).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            grade = None
        if isinstance(grade, dict) and grade.keys() >= NEEDED:
            return grade
        self._keep(key, "unreadable")  # somebody edited it: kept, and graded anew
        return None

    def put(self, key: str, grade: dict) -> None:
        """Keep a grade; the one that it replaces goes to earlier/."""
        text = json.dumps(grade, indent=1, sort_keys=True) + "\n"
        old = self.get(key)
        if old is not None and old != grade:
            about = old.get("submission", "")[:8], old.get("grader", "")[:8], old.get("seed", "")
            self._keep(key, "-".join(map(str, about)))
        write(self.path(key), text)

    def _keep(self, key: str, name: str) -> None:
        path = self.path(key)
        write(
            self.folder / EARLIER / f"{key}-{name}.json",
            path.read_text(encoding="utf-8", errors="replace"),
        )

    def all(self) -> list[dict]:
        """All grades, by the students' names."""
        keys = [path.stem for path in self.folder.glob("*.json") if not path.name.startswith(".")]
        grades = filter(None, map(self.get, keys))
        return sorted(grades, key=lambda grade: (grade["student"].lower(), grade["key"]))
