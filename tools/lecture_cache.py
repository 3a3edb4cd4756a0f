"""Runs of lectures, kept: a lecture is run again when it, or what it rests on, has changed."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import nbformat
from notebook_run import Run, run_notebook

# What a lecture's outputs depend on, beside its own cells
RESTS_ON = ("course_utils", "course_checks", "data", "requirements.lock", "pyproject.toml")
TOOLS = ("notebook_run.py", "static_widgets.py")
MADE = {"__pycache__", ".ipynb_checkpoints"}


def digest(files: Iterable[Path], root: Path) -> str:
    """One digest of the files' names and contents."""
    found = hashlib.sha256()
    for path in sorted(files):
        found.update(f"{path.relative_to(root)} {path.stat().st_size}\n".encode())
        found.update(path.read_bytes())
    return found.hexdigest()


def below(path: Path) -> list[Path]:
    """The file, or all files in the folder, without what Python and Jupyter make there."""
    if path.is_file():
        return [path]
    return [p for p in path.rglob("*") if p.is_file() and not MADE & set(p.parts)]


class LectureCache:
    """Runs of a course's lectures, kept in a folder.

    Args:
        root: the course's folder.
        folder: where the runs are kept, one JSON file for each lecture.
    """

    def __init__(self, root: Path, folder: Path):
        self.root, self.folder = root, folder
        here = Path(__file__).parent
        rests = [one for name in RESTS_ON for one in below(root / name)]
        self._rest = digest(rests, root) + digest([here / name for name in TOOLS], here)

    def run(self, path: Path) -> tuple[Run, bool]:
        """The lecture's run, and whether it was made just now.

        Raises:
            what `run_notebook` raises; nothing is kept then.
        """
        key = hashlib.sha256((self._rest + digest([path], self.root)).encode()).hexdigest()
        kept = self.folder / f"{path.stem}.json"
        if run := _read(kept, key):
            return run, False
        run = run_notebook(path)
        self.folder.mkdir(parents=True, exist_ok=True)
        entry = {"key": key, "seconds": run.seconds, "peak_mib": run.peak_mib}
        part = kept.with_suffix(".part")
        part.write_text(json.dumps(entry | {"notebook": run.notebook}), encoding="utf-8")
        part.replace(kept)  # an interrupted build leaves no half of it
        return run, True


def _read(kept: Path, key: str) -> Run | None:
    try:
        entry = json.loads(kept.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if entry.get("key") != key:
        return None
    return Run(nbformat.from_dict(entry["notebook"]), entry["seconds"], entry["peak_mib"])
