"""`make collect`: hand-ins as an LMS, a hub or nbgrader keeps them, put where `make grade` looks.

Who handed in what is told by names alone: Moodle's and Brightspace's folders, the flat files of
Canvas and Blackboard, nbgrader's folders, the homes of a hub; and only by what the system itself
wrote, never by a student's own names, which stand deeper, or behind it. What comes is hostile: a
path that leads elsewhere, a link, a zip that unpacks to more than it seems. Nothing is unpacked but
single notebooks, each up to a limit.
"""

import contextlib
import io
import json
import os
import re
import stat
import unicodedata
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from .collect import (
    DEEPEST,
    MOST_ENTRIES,
    NAMED,
    NOTEBOOK,
    is_called,
    is_left_behind,
    is_of_another,
    listed,
    stem,
)
from .notebook import quoted, shown
from .store import write, write_bytes

MOST_FILES, MOST_BYTES = 50_000, 4_000_000_000  # of one export: then it is no class's
ENTRY = b"PK\x01\x02"  # how each file's entry in a zip's table begins
MOODLE = re.compile(r"(?P<place>(?P<name>.+?)_(?P<id>\d+)_assignsubmission_[a-z]+_?)")
MOODLE_FLAT = re.compile(MOODLE.pattern + r"(?P<rest>.+)")
CANVAS = re.compile(r"(?P<name>[^/]+?)(?P<late>_LATE)?_(?P<id>\d+)_(?P<file>\d+)_(?P<rest>[^/]+)")
BLACKBOARD = re.compile(  # the name begins with the assignment's
    r"(?P<name>[^/]+?)_attempt_(?P<time>\d{4}(?:-\d\d){5})_(?P<rest>[^/]+)"
)
BRIGHTSPACE = re.compile(r"(?P<name>\d+-\d+ - .+?) ?- (?P<time>[^-]+)")
BRIGHTSPACE_TIMES = ("%b %d, %Y %I%M %p", "%B %d, %Y %I%M %p", "%d %B, %Y %I%M %p")
NBGRADER = re.compile(r"(?P<name>[^+]+)\+(?P<assignment>[^+]+)\+(?P<time>\d{4}-[^+]+)(?:\+.*)?")
OF_ONE = ("moodle", "canvas", "blackboard", "brightspace")  # whose exports hold one assignment
OF_TIMES = ("blackboard", "brightspace", "nbgrader")  # whose `attempt` is a time
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
        system: "moodle", "canvas", "blackboard", "brightspace", "nbgrader", or "" for a folder for
            each student.
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
    files, said = _files(source)
    files = [file for file in files if not any(map(is_left_behind, file.parts))]
    files = _unpacked(files, source.is_dir(), assignment, most, said)
    mine = [file for file in files if not _is_solution(file.parts)]
    if len(mine) < len(files):
        said.append(f"{len(files) - len(mine)} files below a folder 'solutions' were left out.")
    found, folders, beside = defaultdict(list), _folders(submitted, assignment), []
    for owner, file in zip(_owners(mine), mine):
        if owner is None:
            beside += ["/".join(file.parts)] * bool(NOTEBOOK.fullmatch(file.parts[-1]))
            continue
        # who has another name now keeps the folder
        student = folders.setdefault((owner.system, owner.id or owner.student), owner.student)
        found[student].append((replace(owner, student=student), file))
    if beside:
        said.append(f"Left out, since no name says whose it is: {listed(beside)}.")
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
        "(<name>_<id>_<number>_<file>), Blackboard's (<name>_attempt_<time>_<file>), Brightspace's "
        "folders (<number>-<number> - <name> - <time>), nbgrader's <student>/<assignment>/ and "
        "homes. Of another system, put each notebook into a folder of its student's name."
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
    fits.sort(key=lambda one: _order(*one, assignment))
    owner, file = fits[-1]
    if len(fits) > 1:
        taken.said.append(
            f"{quoted(student)} has {len(fits)} notebooks: "
            f"{quoted('/'.join(file.parts))} was taken."
            + " If several students made them, put each into a folder of its student's name."
            * (owner.system == "")
        )
    try:  # one byte too many is kept: `make grade` then says that it is too large
        content = file.read(most + 1)
    except (Refused, OSError) as error:  # this student's trouble only
        taken.said.append(f"The hand-in of {quoted(student)} was not taken: {error}")
        return
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
    if not owner.rest or not NOTEBOOK.fullmatch(owner.rest[-1]):
        return False
    if _rank(owner, assignment):
        return True
    return owner.system in OF_ONE and not is_of_another(owner.rest, assignment)


def _order(owner: Owner, file: File, assignment: str) -> tuple:
    """By what the last hand-in is told: where a time names an attempt, a later one counts."""
    attempt = owner.attempt if owner.system in OF_TIMES else ()
    return attempt, _rank(owner, assignment), owner.attempt, file.time


def _rank(owner: Owner, assignment: str) -> int:
    """2: the notebook bears the assignment's name; 1: a folder around it does; 0: neither."""
    *around, name = owner.rest
    if is_called(stem(name), assignment):
        return 2
    return int(any(is_called(one, assignment) for one in around))


def _is_solution(parts: tuple[str, ...]) -> bool:
    return "solutions" in map(str.casefold, parts)


def _owners(files: list[File]) -> list[Owner | None]:
    """Whose each file is; None: of nobody, it lies beside the students' hand-ins.

    An LMS and nbgrader write a student's name at the beginning of a path, perhaps within one folder
    around all. What stands deeper, a student chose: it says nothing about whose a file is.
    """
    roots = {file.parts[0] for file in files if len(file.parts) > 1}
    at = int(len(roots) == 1 and _by_system((*roots, "")) is None)
    told = _without_title([_by_system(file.parts[at:]) for file in files])
    return told if any(told) else [_by_folder(file.parts) for file in files]


def _without_title(owners: list[Owner | None]) -> list[Owner | None]:
    """Blackboard's names begin with the assignment's. Each may hold a `_`: what all share goes."""
    theirs = {one.student for one in owners if one and one.system == "blackboard"}
    shared = os.path.commonprefix(list(theirs)).rfind("_") + 1
    return [
        replace(one, student=_folder(one.student[shared:]))
        if one and one.system == "blackboard"
        else one
        for one in owners
    ]


def _by_system(parts: tuple[str, ...]) -> Owner | None:
    """Whose file this is, where the beginning of its path is a system's own."""
    name, *deeper = parts or ("",)
    if not deeper:
        return _by_flat_name(name)
    if found := MOODLE.fullmatch(name):
        student = _folder(f"{found['name']}_{found['id']}")
        return Owner(student, "moodle", found["id"], found["place"], (), tuple(deeper))
    if found := NBGRADER.fullmatch(name):
        rest = (found["assignment"], *deeper)
        return Owner(_folder(found["name"]), "nbgrader", "", "", (found["time"],), rest)
    if (found := BRIGHTSPACE.fullmatch(name)) and (time := _brightspace_time(found["time"])):
        return Owner(_folder(found["name"]), "brightspace", "", name, (time,), tuple(deeper))
    return None


def _brightspace_time(words: str) -> datetime | None:
    """Of "Sep 24, 2026 926 PM"; None: of another form, as in other languages."""
    for form in BRIGHTSPACE_TIMES:
        with contextlib.suppress(ValueError):
            return datetime.strptime(re.sub(r" (\d{3})(?!\d)", r" 0\1", words), form)
    return None


def _flat(name: str) -> re.Match | None:
    """What an LMS wrote before a student's own file name: the shortest, as the rest is free."""
    found = [pattern.fullmatch(name) for pattern in (MOODLE_FLAT, CANVAS, BLACKBOARD)]
    return min(filter(None, found), key=lambda one: one.start("rest"), default=None)


def _by_flat_name(name: str) -> Owner | None:
    found = _flat(name)
    if found is None:
        return None
    if found.re is BLACKBOARD:
        student = _folder(found["name"])
        return Owner(student, "blackboard", "", "", (found["time"],), (found["rest"],))
    student, rest = _folder(f"{found['name']}_{found['id']}"), (found["rest"],)
    if found.re is CANVAS:
        return Owner(student, "canvas", found["id"], name, (int(found["file"]),), rest)
    return Owner(student, "moodle", found["id"], found["place"], (), rest)


def _by_folder(parts: tuple[str, ...]) -> Owner | None:
    if len(parts) < 2:
        return None
    first = 1 if parts[0] in ("submitted", "home") and len(parts) > 2 else 0
    return Owner(_folder(parts[first]), "", "", "", (), parts[first + 1 :])


def _folder(name: str) -> str:
    """A student's name as that of a folder."""
    name = unicodedata.normalize("NFC", shown(name)).replace("/", "-").replace("\\", "-").strip()
    return name if name.strip(".") else f"student{name.replace('.', '-')}"


def _files(source: Path) -> tuple[list[File], list[str]]:
    """All files of an export, and sentences about what was left out."""
    if source.is_dir():
        return _of_folder(source)
    if not source.exists():
        raise Refused(f"There is no {source}: FROM=... is a zip file, a folder, or hub.")
    return _of_zip(source.open("rb"), source.name)


def _of_folder(source: Path) -> tuple[list[File], list[str]]:
    """The files below a folder; no link is followed, also none that is put there meanwhile.

    Of all that is no hand-in (a home may hold a million such files) a few are kept, to be named.
    """
    found, links, many, others = [], 0, Counter(), Counter()
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
            count, most = (many, MOST_ENTRIES) if _may_hold(name) else (others, NAMED + 1)
            count[deep[:1]] += 1
            about = os.stat(name, dir_fd=place, follow_symlinks=False)
            if stat.S_ISREG(about.st_mode) and count[deep[:1]] <= most:
                read = _reader(source, (*deep, name))
                found.append(File((*deep, name), about.st_mtime, read))
    said = [f"{links} links were left out: only files themselves are taken."] if links else []
    for top in (top for top, number in many.items() if number > MOST_ENTRIES):
        where = quoted(shown("/".join(top)))
        said.append(
            f"{where} holds {many[top]} notebooks: the first {MOST_ENTRIES} were looked at."
        )
    return found, said


def _may_hold(name: str) -> bool:
    return NOTEBOOK.fullmatch(name) is not None or _is_zip(name)


def _is_zip(name: str) -> bool:
    return name.lower().endswith(".zip")


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


def _of_zip(file: io.BufferedIOBase, name: str) -> tuple[list[File], list[str]]:
    """The files of a zip.

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
        found.append(File(parts, _time(entry), _unzipper(whole, entry, name)))
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


def _unpacked(
    files: list[File], in_folder: bool, assignment: str, most: int, said: list[str]
) -> list[File]:
    """The files, with those that lie in zips which students handed in.

    Of homes only zips of the assignment's name, or in a folder of its name, are looked into.
    """
    made = []
    for owner, file in zip(_owners(files), files):
        looked_into = not in_folder or owner is None or owner.system or _rank(owner, assignment)
        if not (_is_zip(file.parts[-1]) and looked_into):
            made.append(file)
            continue
        try:
            made += _inner(file, most)
        except (zipfile.BadZipFile, ValueError, RuntimeError, OSError) as error:
            said.append(f"{quoted('/'.join(file.parts))} was left out: {error}")
    return made


def _inner(file: File, most: int) -> list[File]:
    """The files of a zip that a student handed in, as if they lay in its place."""
    content, zip_name = file.read(2 * most + 1), file.parts[-1]
    if len(content) > 2 * most:
        raise Refused(f"it is larger than {2 * most / 1e6:.0f} MB.")
    if content.count(ENTRY) > MOST_FILES:  # before each of them takes a kilobyte of memory
        raise Refused(f"it holds more than {MOST_FILES} files.")
    inner = zipfile.ZipFile(io.BytesIO(content))
    entries = [entry for entry in inner.infolist() if not entry.is_dir()]
    entries.sort(key=lambda entry: not NOTEBOOK.fullmatch(entry.filename))
    flat, found = _flat(zip_name), []
    for entry in entries[:1000]:
        name = _parts(entry, zip_name)
        if stat.S_ISLNK(entry.external_attr >> 16) or any(map(is_left_behind, name)):
            continue
        if flat:  # an LMS's flat name says whose it is: it stays before the file's own
            own = zip_name[: flat.start("rest")] + name[-1]
            name = ("solutions", own) if _is_solution(name) else (own,)
        place = (*(file.parts[:-1] or (stem(zip_name),) * (not flat)), *name)
        found.append(File(place, _time(entry), _unzipper(inner, entry, zip_name)))
    return found


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
