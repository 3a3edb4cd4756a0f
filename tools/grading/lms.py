"""`make collect`: hand-ins as an LMS, a hub or nbgrader keeps them, put where `make grade` looks.

Who handed in what is told by names alone: Moodle's folders, Canvas's flat files, nbgrader's
folders, the homes of a hub. What comes is hostile: a path that leads elsewhere, a link, a zip that
unpacks to more than it seems. Nothing is unpacked but single notebooks, each up to a limit.
"""

import io
import json
import os
import re
import stat
import unicodedata
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from .collect import DEEPEST, is_called, is_left_behind, is_of_another, listed
from .notebook import quoted, shown
from .store import write, write_bytes

MOST_FILES, MOST_BYTES = 50_000, 4_000_000_000  # of one export: then it is no class's
MOODLE = re.compile(r"(?P<place>(?P<name>.+?)_(?P<id>\d+)_assignsubmission_[a-z]+_?)")
MOODLE_FLAT = re.compile(MOODLE.pattern + r"(?P<rest>.+)")
CANVAS = re.compile(r"(?P<name>[^/]+?)(?P<late>_LATE)?_(?P<id>\d+)_(?P<file>\d+)_(?P<rest>[^/]+)")
NBGRADER = re.compile(r"(?P<name>[^+]+)\+(?P<assignment>[^+]+)\+(?P<time>\d{4}-[^+]+)(?:\+.*)?")
HOMES = Path("/home")


class Refused(ValueError):
    """This export cannot be taken: a sentence that says why."""


@dataclass(frozen=True)
class File:
    """A file of an export: its path in pieces, when it was written, and how to read it.

    `read(most)` gives at most that many bytes.
    """

    parts: tuple[str, ...]
    time: float
    read: Callable[[int], bytes]


@dataclass(frozen=True)
class Owner:
    """Whose file it is.

    Attributes:
        student: the name of the folder that it gets below submitted/.
        system: "moodle", "canvas", "nbgrader", or "" for a folder for each student.
        id: the LMS's number of the student, "" if it has none.
        place: what the LMS calls the folder or the file; feedback goes back under this name.
        attempt: a later one is larger.
        rest: the file's path within what the student handed in.
    """

    student: str
    system: str
    id: str
    place: str
    attempt: tuple
    rest: tuple[str, ...]


@dataclass
class Taken:
    """What was collected.

    Attributes:
        changes: of folders below submitted/: "new", "changed" or "as before".
        owners: student's folder -> whose it is.
        said: sentences about what was odd, or left out.
    """

    changes: dict[str, str] = field(default_factory=dict)
    owners: dict[str, Owner] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)


def take(source: Path, assignment: str, submitted: Path, most: int) -> Taken:
    """Put each student's last hand-in below `submitted`, and keep what the LMS calls it.

    Args:
        source: a zip file or a folder.
        most: bytes that a notebook may have.

    Raises:
        Refused: no such export; a zip that is broken, locked, or leads out of its folder; too much;
            no hand-in in it.
    """
    files, said = _files(source, most)
    mine = [file for file in files if not any(map(is_left_behind, file.parts))]
    solutions = [file for file in mine if "solutions" in map(str.casefold, file.parts)]
    if solutions:
        said.append(f"{len(solutions)} files below a folder 'solutions' were left out.")
    found = defaultdict(list)
    mine = [file for file in mine if file not in solutions]
    system, folders = _system(mine), _folders(submitted, assignment)
    for file in mine:
        owner = _owner(file.parts, system)
        if owner is not None:  # who has another name now keeps the folder
            student = folders.setdefault((system, owner.id or owner.student), owner.student)
            found[student].append((replace(owner, student=student), file))
    taken = Taken(said=said)
    for student, candidates in sorted(found.items()):
        _take_one(student, candidates, assignment, submitted, most, taken)
    if not taken.changes:
        raise Refused(_none(source, assignment, mine))
    _remember(submitted, assignment, taken)
    return taken


def _folders(submitted: Path, assignment: str) -> dict[tuple[str, str], str]:
    """The folders of an earlier collection, by the LMS's number of the student."""
    known = origins(submitted, assignment).items()
    return {
        (one["system"], one["id"]): student
        for student, one in known
        if one["id"] and (submitted / student).is_dir()
    }


def _none(source: Path, assignment: str, files: list[File]) -> str:
    there = listed(["/".join(file.parts) for file in files]) or "nothing"
    return (
        f"No hand-in for {assignment} was found in {source}. It holds {there}. Known are Moodle's "
        "folders (<name>_<id>_assignsubmission_file_), Canvas's files "
        "(<name>_<id>_<number>_<file>), nbgrader's <student>/<assignment>/ and homes."
    )


def _take_one(student, candidates, assignment, submitted, most, taken: Taken) -> None:
    """The last attempt of one student that is a notebook of this assignment."""
    fits = [
        (owner, file) for owner, file in candidates if _fits(owner, assignment, len(candidates))
    ]
    if not fits:
        there = listed(["/".join(owner.rest) for owner, _ in candidates])
        taken.said.append(f"{quoted(student)} has no notebook of {assignment}: there lies {there}.")
        return
    fits.sort(key=lambda one: (_rank(one[0], assignment), one[0].attempt, one[1].time))
    owner, file = fits[-1]
    if len(fits) > 1:
        taken.said.append(
            f"{quoted(student)} has {len(fits)} notebooks: the last one was taken, "
            f"{quoted('/'.join(file.parts))}."
        )
    content = file.read(
        most + 1
    )  # one too many is kept: `make grade` then says that it is too large
    place = submitted / student / assignment / f"{assignment}.ipynb"
    if place.parent.is_symlink() or place.is_symlink() or place.parent.parent.is_symlink():
        raise Refused(f"{place} is a link, or lies behind one: take it away.")
    old = place.read_bytes() if place.exists() else None
    state = "new" if old is None else "as before" if old == content else "changed"
    taken.changes[student], taken.owners[student] = state, owner
    if state != "as before":
        write_bytes(place, content)


def _fits(owner: Owner, assignment: str, many: int) -> bool:
    """Whether this is a notebook that may be meant for the assignment."""
    if not owner.rest or not owner.rest[-1].lower().endswith(".ipynb"):
        return False
    if _rank(owner, assignment):
        return True
    return owner.system in ("moodle", "canvas") and not is_of_another(owner.rest, assignment)


def _rank(owner: Owner, assignment: str) -> int:
    """2: the notebook bears the assignment's name; 1: a folder around it does; 0: neither."""
    *around, name = owner.rest
    if is_called(name.rsplit(".", 1)[0], assignment):
        return 2
    return int(any(is_called(one, assignment) for one in around))


def _system(files: list[File]) -> str:
    """Which system made an export, by its names."""
    if any(MOODLE.fullmatch(part) for file in files for part in file.parts) or any(
        MOODLE_FLAT.fullmatch(file.parts[-1]) for file in files
    ):
        return "moodle"
    roots = {file.parts[0] for file in files if len(file.parts) > 1}
    flat = [file for file in files if len(file.parts) == 1 + (len(roots) == 1)]
    if len(flat) == len(files) and any(CANVAS.fullmatch(file.parts[-1]) for file in flat):
        return "canvas"
    if any(NBGRADER.fullmatch(part) for file in files for part in file.parts[:-1]):
        return "nbgrader"
    return ""


def _owner(parts: tuple[str, ...], system: str) -> Owner | None:
    """Whose file this is, by its path; None: of nobody, it lies beside the students' hand-ins."""
    if system == "moodle":
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            found = (MOODLE_FLAT if last else MOODLE).fullmatch(part)
            if found:
                rest = (found["rest"],) if last else parts[number + 1 :]
                student = _folder(f"{found['name']}_{found['id']}")
                return Owner(student, system, found["id"], found["place"], (), rest)
    elif system == "canvas":
        found = CANVAS.fullmatch(parts[-1])
        if found:
            student, attempt = _folder(f"{found['name']}_{found['id']}"), (int(found["file"]),)
            return Owner(student, system, found["id"], parts[-1], attempt, (found["rest"],))
    elif system == "nbgrader":
        for number, part in enumerate(parts[:-1]):
            found = NBGRADER.fullmatch(part)
            if found:
                rest = (found["assignment"], *parts[number + 1 :])
                return Owner(_folder(found["name"]), system, "", "", (found["time"],), rest)
    elif len(parts) > 1:
        first = 1 if parts[0] in ("submitted", "home") and len(parts) > 2 else 0
        return Owner(_folder(parts[first]), "", "", "", (), parts[first + 1 :])
    return None


def _folder(name: str) -> str:
    """A student's name as that of a folder."""
    name = unicodedata.normalize("NFC", shown(name)).replace("/", "-").replace("\\", "-").strip()
    return name if name.strip(".") else f"student{name.replace('.', '-')}"


def _files(source: Path, most: int) -> tuple[list[File], list[str]]:
    """All files of an export, and sentences about what was left out."""
    if source.is_dir():
        return _of_folder(source)
    if not source.exists():
        raise Refused(f"There is no {source}: FROM=... is a zip file, a folder, or hub.")
    return _of_zip(source.open("rb"), source.name, most)


def _of_folder(source: Path) -> tuple[list[File], list[str]]:
    """The files below a folder; no link is followed, also none that is put there meanwhile."""
    found, said, links = [], [], 0
    for at, folders, names, place in os.fwalk(source, follow_symlinks=False):
        deep = Path(at).relative_to(source).parts
        links += sum(_is_link(name, place) for name in (*folders, *names))
        hidden = [name for name in folders if name.startswith(".") and deep]
        folders[:] = sorted(
            name for name in folders if name not in hidden and not is_left_behind(name)
        )
        if len(deep) >= DEEPEST + 4:
            folders[:] = []
        for name in sorted(names):
            about = os.stat(name, dir_fd=place, follow_symlinks=False)
            if stat.S_ISREG(about.st_mode):
                read = _reader(source, (*deep, name))
                found.append(File((*deep, name), about.st_mtime, read))
        if len(found) > MOST_FILES:
            raise Refused(f"{source} holds more than {MOST_FILES} files: name a smaller folder.")
    if links:
        said.append(f"{links} links were left out: only files themselves are taken.")
    return found, said


def _is_link(name: str, place: int) -> bool:
    return stat.S_ISLNK(os.stat(name, dir_fd=place, follow_symlinks=False).st_mode)


def _reader(source: Path, parts: tuple[str, ...]) -> Callable[[int], bytes]:
    """Opens a file step by step, so that no step is a link, whatever its owner does meanwhile."""

    def read(most: int) -> bytes:
        at = os.open(source, os.O_RDONLY | os.O_DIRECTORY)
        for part in parts[:-1]:
            at, before = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY, dir_fd=at), at
            os.close(before)
        file = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
        os.close(at)
        with os.fdopen(file, "rb") as opened:
            return opened.read(most)

    return read


def _of_zip(file: io.BufferedIOBase, name: str, most: int) -> tuple[list[File], list[str]]:
    """The files of a zip, and those of zips in it that students handed in.

    Raises:
        Refused: broken, locked, leading elsewhere, or too much.
    """
    try:
        whole = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise Refused(f"{name} is no zip file that can be read ({error}).") from None
    entries = [entry for entry in whole.infolist() if not entry.is_dir()]
    if len(entries) > MOST_FILES:
        raise Refused(f"{name} holds more than {MOST_FILES} files.")
    if sum(entry.file_size for entry in entries) > MOST_BYTES:
        raise Refused(f"{name} would unpack to more than {MOST_BYTES / 1e9:g} GB.")
    found, said = [], []
    for entry in entries:
        parts = _parts(entry, name)
        if stat.S_ISLNK(entry.external_attr >> 16):
            said.append(f"{quoted(entry.filename)} is a link and was left out.")
            continue
        read = _unzipper(whole, entry, name)
        time = _time(entry)
        if entry.filename.lower().endswith(".zip"):
            found += _inner(read, parts, most, said)
        else:
            found.append(File(parts, time, read))
    return found, said


def _parts(entry: zipfile.ZipInfo, name: str) -> tuple[str, ...]:
    """A zip's entry's path in pieces."""
    path = entry.filename.replace("\\", "/")
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if path.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", path) or not parts:
        raise Refused(
            f"{name} was not taken: it holds {quoted(entry.filename)}, a path that leads out of "
            "it. "
            "No LMS makes such a file."
        )
    return parts


def _unzipper(whole: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str):
    def read(most: int) -> bytes:
        try:
            with whole.open(entry) as opened:
                return opened.read(most)  # never more, whatever the entry says of its size
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError) as error:
            raise Refused(f"{quoted(entry.filename)} in {name} cannot be read ({error}).") from None
        except Exception as error:  # zlib's own errors
            raise Refused(f"{quoted(entry.filename)} in {name} is broken ({error}).") from None

    return read


def _time(entry: zipfile.ZipInfo) -> float:
    year, month, day, hour, minute, second = entry.date_time
    return ((((year * 12 + month) * 31 + day) * 24 + hour) * 60 + minute) * 60.0 + second


def _inner(read, parts: tuple[str, ...], most: int, said: list[str]) -> Iterator[File]:
    """The files of a zip that a student handed in, as if they lay in its place."""
    content = read(2 * most + 1)
    if len(content) > 2 * most:
        said.append(f"{quoted('/'.join(parts))} is larger than {2 * most / 1e6:.0f} MB: left out.")
        return
    try:
        inner = zipfile.ZipFile(io.BytesIO(content))
        entries = [entry for entry in inner.infolist() if not entry.is_dir()]
        around = parts[:-1] if len(parts) > 1 else ()
        for entry in entries[:1000]:
            name = _parts(entry, parts[-1])
            if stat.S_ISLNK(entry.external_attr >> 16) or any(map(is_left_behind, name)):
                continue
            # Canvas's flat name says whose it is: it stays before the file's own
            flat = CANVAS.fullmatch(parts[-1]) or MOODLE_FLAT.fullmatch(parts[-1])
            here = (parts[-1][: flat.start("rest")] + name[-1],) if flat else name
            yield File((*around, *here), _time(entry), _unzipper(inner, entry, parts[-1]))
    except (zipfile.BadZipFile, Refused, ValueError) as error:
        said.append(f"{quoted('/'.join(parts))} was left out ({error}).")


def _remember(submitted: Path, assignment: str, taken: Taken) -> None:
    """Keep what the LMS calls each student, for the marks and pages that go back."""
    about = origins(submitted, assignment)
    for student, owner in taken.owners.items():
        about[student] = {"system": owner.system, "id": owner.id, "place": owner.place}
    write(_origins(submitted, assignment), json.dumps(about, indent=1, sort_keys=True) + "\n")


def _origins(submitted: Path, assignment: str) -> Path:
    return submitted / f"{assignment}_collected.json"


def origins(submitted: Path, assignment: str) -> dict[str, dict[str, str]]:
    """Student's folder -> system, id and place in the LMS; also of Moodle's own folders."""
    try:
        about = json.loads(_origins(submitted, assignment).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        about = {}
    for name in os.listdir(submitted) if submitted.is_dir() else ():
        found = MOODLE.fullmatch(name)
        if found:
            about.setdefault(name, {"system": "moodle", "id": found["id"], "place": found["place"]})
    return about
