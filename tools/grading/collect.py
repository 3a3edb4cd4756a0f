"""Find what was handed in: submitted/<student>/<assignment>/<assignment>.ipynb."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from .notebook import Unreadable, read_bytes, shown

PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,79}")
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")  # Windows' own


@dataclass(frozen=True)
class Submission:
    """What one student handed in.

    Attributes:
        student: the folder's name, as text.
        key: the same as a file name that is safe and belongs to this student alone.
        content: the notebook's bytes; None if there is none that can be read.
        trouble: why not, a sentence.
        remarks: what is odd, sentences for the student.
    """

    student: str
    key: str
    content: bytes | None
    trouble: str = ""
    remarks: tuple[str, ...] = ()

    def digest(self) -> str:
        """Of what was handed in."""
        return hashlib.sha256(
            self.content or b"nothing:" + self.trouble.encode("utf-8", "replace")
        ).hexdigest()


def collect(submitted: Path, assignment: str, most: int) -> list[Submission]:
    """One submission for each student's folder, sorted by its name.

    Args:
        most: bytes that a notebook may have.

    Raises:
        FileNotFoundError: there is no folder `submitted`.
    """
    if not submitted.is_dir():
        raise FileNotFoundError(
            f"There is no folder {submitted}: put hand-ins there, one folder for each student."
        )
    names = sorted(entry.name for entry in os.scandir(submitted) if not entry.name.startswith("."))
    folders = [
        name for name in names if (submitted / name).is_symlink() or (submitted / name).is_dir()
    ]
    return [_of(submitted / name, assignment, most) for name in folders]


def _of(folder: Path, assignment: str, most: int) -> Submission:
    student, key = shown(folder.name), file_key(folder.name)
    try:
        path, remarks = _notebook(folder, assignment)
        return Submission(student, key, read_bytes(path, most), "", remarks)
    except Unreadable as error:
        return Submission(student, key, None, str(error))
    except OSError as error:  # a folder that may not be entered: this student's trouble only
        return Submission(
            student, key, None, f"what was handed in cannot be read ({error.strerror})."
        )


def _notebook(folder: Path, assignment: str) -> tuple[Path, tuple[str, ...]]:
    """The notebook in a student's folder, and a remark if it bears another name."""
    place = folder / assignment
    for one in (folder, place):
        if one.is_symlink():
            raise Unreadable(f"the folder {shown(one.name)} is a link: hand in the folder itself.")
    if not place.is_dir():
        raise Unreadable(f"nothing was handed in for {assignment}.")
    notebook = place / f"{assignment}.ipynb"
    if os.path.lexists(notebook):
        return notebook, ()
    others = sorted(path for path in place.iterdir() if path.suffix.lower() == ".ipynb")
    if not others:
        raise Unreadable(f"the folder {assignment} holds no notebook.")
    if len(others) > 1:
        raise Unreadable(f"there are {len(others)} notebooks, and none is called {notebook.name}.")
    found = shown(others[0].name)[:80]
    return others[0], (
        f"The file is called {found} rather than {notebook.name}; it was graded all the same.",
    )


def file_key(name: str) -> str:
    """A safe name for a student's files; plain names stay as they are."""
    if PLAIN.fullmatch(name) and not RESERVED.fullmatch(name):
        return name
    plain = re.sub(r"[^A-Za-z0-9]+", "-", shown(name)).strip("-")[:40]
    return f"{plain or 'student'}~{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}"
