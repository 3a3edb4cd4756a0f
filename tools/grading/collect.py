"""Find what was handed in: submitted/<student>/<assignment>/<assignment>.ipynb, or nearly there."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

import course_checks as checks

from .notebook import Unreadable, quoted, read_bytes, shown

PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,79}")
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")  # Windows' own
# What machines leave beside a hand-in: a Mac's second half of each file, half saved ones, caches
LEFT_BEHIND = re.compile(
    r"\._.*|\.~.*|\.DS_Store|__MACOSX|\.ipynb_checkpoints|__pycache__|\.git|\.Trash.*"
)
NOTEBOOK = re.compile(r"(?is)(.*)\.ipynb(\.txt|\.json)?")  # browsers add an ending as they save
DEEPEST, MOST_ENTRIES = 4, 5_000  # folders in one another, and files, that are looked through
NAMED = 6  # of what lies there instead


class Nothing(Unreadable):
    """There is no hand-in: a sentence that names what lies there instead."""


@dataclass(frozen=True)
class Submission:
    """What one student handed in.

    Attributes:
        student: the folder's name, as text.
        key: the same as a file name that is safe and belongs to this student alone.
        content: the notebook's bytes; None if there is none that can be read.
        trouble: why not, a sentence.
        remarks: what is odd, sentences for the student.
        missing: there is no notebook at all.
    """

    student: str
    key: str
    content: bytes | None
    trouble: str = ""
    remarks: tuple[str, ...] = ()
    missing: bool = False

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
        FileNotFoundError: there is no folder `submitted`, or no student in it has a hand-in.
    """
    if not submitted.is_dir():
        raise FileNotFoundError(
            f"There is no folder {submitted}: put hand-ins there, one folder for each student."
        )
    names = sorted(entry.name for entry in os.scandir(submitted) if not is_left_behind(entry.name))
    folders = [
        name for name in names if (submitted / name).is_symlink() or (submitted / name).is_dir()
    ]
    found = [_of(submitted / name, assignment, most) for name in folders]
    if all(one.missing for one in found):
        raise FileNotFoundError(_nobody(submitted, assignment, names, found))
    return found


def _nobody(submitted: Path, assignment: str, names: list[str], found: list[Submission]) -> str:
    """That nobody handed in, and what there is instead."""
    there = f"holds {listed(names)}" if names else "is empty"
    example = f" For example, {found[0].student}: {found[0].trouble}" if found else ""
    return (
        f"Nothing was graded: no student has a hand-in for {assignment}. "
        f"{submitted} {there}.{example}\n"
        f"Hand-ins lie at {submitted}/<student>/{assignment}/{assignment}.ipynb; "
        f"`make collect ASSIGNMENT={assignment} FROM=...` puts an LMS's export there."
    )


def _of(folder: Path, assignment: str, most: int) -> Submission:
    student, key = shown(folder.name), file_key(folder.name)
    try:
        path, remarks = _notebook(folder, assignment)
        return Submission(student, key, read_bytes(path, most), "", remarks)
    except Unreadable as error:
        return Submission(student, key, None, str(error), missing=isinstance(error, Nothing))
    except OSError as error:  # a folder that may not be entered: this student's trouble only
        return Submission(
            student, key, None, f"what was handed in cannot be read ({error.strerror})."
        )


def _notebook(folder: Path, assignment: str) -> tuple[Path, tuple[str, ...]]:
    """The notebook in a student's folder; a remark if it lies elsewhere or has another name."""
    if folder.is_symlink():
        raise Unreadable(f"the folder {quoted(folder.name)} is a link: hand in the folder itself.")
    place = folder / assignment / f"{assignment}.ipynb"
    if place.parent.is_symlink():
        raise Unreadable(f"the folder {assignment} is a link: hand in the folder itself.")
    if os.path.lexists(place):
        return place, ()
    files = _files(folder, place.parent)
    notebooks = [path for path in files if NOTEBOOK.fullmatch(path.name)]
    ranked = (
        [one for one in notebooks if is_called(stem(one.name), assignment)],
        [one for one in notebooks if _in_folder_of(one, folder, assignment)],
        [one for one in notebooks if not is_of_another(one.relative_to(folder).parts, assignment)],
    )
    found = next(filter(None, ranked), [])
    if not found:
        there = listed([str(path.relative_to(folder)) for path in files])
        raise Nothing(
            f"nothing was handed in for {assignment}: "
            + (f"there lies {there}, but no notebook of it." if files else "the folder is empty.")
        )
    if len(found) > 1:
        named = listed([str(path.relative_to(folder)) for path in found])
        raise Unreadable(
            f"there are {len(found)} notebooks, and none is called {place.name}: {named}. "
            "Hand in one of them."
        )
    where = quoted(shown(str(found[0].relative_to(folder))), 120)
    return found[0], (
        f"It was found as {where} rather than {assignment}/{place.name}, and graded all the same.",
    )


def _files(folder: Path, first: Path) -> list[Path]:
    """All files below a student's folder; raises OSError if `first` may not be entered."""
    if first.is_dir():
        os.scandir(first).close()
    found = []
    for at, folders, names in os.walk(folder, onerror=_raise):
        deep = len(Path(at).relative_to(folder).parts)
        folders[:] = sorted(one for one in folders if deep < DEEPEST and not is_left_behind(one))
        found += [Path(at, name) for name in sorted(names) if not is_left_behind(name)]
        if len(found) > MOST_ENTRIES:
            raise Unreadable(
                f"there are more than {MOST_ENTRIES} files: hand in the notebook alone."
            )
    return found


def _raise(error: OSError):
    raise error


def _in_folder_of(path: Path, folder: Path, assignment: str) -> bool:
    return any(is_called(part, assignment) for part in path.relative_to(folder).parts[:-1])


def is_of_another(parts: tuple[str, ...], assignment: str) -> bool:
    """Whether a file's name, or that of a folder around it, is another assignment's."""
    others = [name for name in checks.ASSIGNMENTS if name != assignment]
    words = (*parts[:-1], stem(parts[-1]))
    return any(
        is_called(one, other) or one[:4].casefold() == other[:4]
        for one in words
        for other in others
    )


def stem(name: str) -> str:
    """A notebook's name without its ending; that of another file without its last one."""
    found = NOTEBOOK.fullmatch(name)
    return found[1] if found else name.rsplit(".", 1)[0]


def is_called(name: str, assignment: str) -> bool:
    """Whether a name is the assignment's but for capitals, signs, and the mark of a copy."""
    plain, wanted = (re.sub(r"[\W_]+", "", one.casefold()) for one in (name, assignment))
    copied = rf"(copyof|kopievon)*{wanted}(copy|kopie|final|submission)*v?\d*"
    return re.fullmatch(copied, plain) is not None


def is_left_behind(name: str) -> bool:
    return LEFT_BEHIND.fullmatch(name) is not None


def listed(names: list[str]) -> str:
    """The first of these names as quotations."""
    said = ", ".join(quoted(shown(name), 80) for name in names[:NAMED])
    return said + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def file_key(name: str) -> str:
    """A safe name for a student's files; plain names stay as they are."""
    if PLAIN.fullmatch(name) and not RESERVED.fullmatch(name):
        return name
    plain = re.sub(r"[^A-Za-z0-9]+", "-", shown(name)).strip("-")[:40]
    return f"{plain or 'student'}~{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}"
