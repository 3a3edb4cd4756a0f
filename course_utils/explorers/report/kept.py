"""What is done already, kept in a file beside the report: an interrupted run goes on.

A file of JSON lines. A line {"settings": ...} begins each run. Photos follow, one a line, and
behind each batch a line {"done": ...}: a batch that was cut off is asked anew. Of the rows, only
their places in the file are held in memory.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path


class Kept:
    """The file of one run, open for more.

    Args:
        path: of the file; made where it is not there.
        settings: what decides about the answers. Rows of other settings are thrown away.

    Attributes:
        done: batch key -> what its {"done": ...} line says.
        lost: whether a file of other settings was thrown away.
    """

    def __init__(self, path: Path, settings: dict):
        self.path, self.lost = path, False
        self._begin = json.dumps({"settings": settings}, sort_keys=True)
        self.done, self._rows = {}, {}
        if path.exists():
            begin, self.done, self._rows, end = _scan(path)
            self.lost = begin is not None and begin != self._begin
            if begin != self._begin:
                path.unlink()
                self.done, self._rows = {}, {}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")
        if not self.done:
            self._file.truncate(0)
            self._write(self._begin)
        elif path.stat().st_size > end:
            self._file.truncate(end)  # a batch that was cut off

    def __enter__(self) -> "Kept":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    def _write(self, *lines: str) -> int:
        start = self._file.seek(0, os.SEEK_END)
        self._file.write("".join(f"{line}\n" for line in lines).encode())
        self._file.flush()
        return start

    def add(self, key: str, rows: Iterable[dict], about: dict) -> None:
        """Keep a batch: its rows, and what else is to be known (layer, broken files)."""
        lines = [json.dumps(row) for row in rows]
        places, start = [], self._file.seek(0, os.SEEK_END)
        for line in lines:
            places.append(start)
            start += len(line) + 1  # ASCII
        done = {"key": key} | about
        self._write(*lines, json.dumps({"done": done}))
        self.done[key], self._rows[key] = done, places

    def finish(self, keys: list[str], part: tuple[int, int], photos: str) -> None:
        """Say that a part is whole.

        Args:
            keys: of its batches.
            part: i of n.
            photos: digest of the names of all photos of the folder.
        """
        self._write(json.dumps({"finished": {"keys": keys, "part": part, "photos": photos}}))

    def rows(self, keys: Iterable[str]) -> Iterator[tuple[int, dict]]:
        """(place in the file, row) of each photo of these batches."""
        with self.path.open("rb") as file:
            for key in keys:
                for place in self._rows[key]:
                    yield place, _row_at(file, place)


def _scan(path: Path) -> tuple[str | None, dict, dict, int]:
    """The settings' line, what is done, where its rows lie, and where the last batch ends."""
    begin, done, rows, waiting, end = None, {}, {}, [], 0
    with path.open("rb") as file:
        place = 0
        for line in file:
            if not line.endswith(b"\n"):
                break
            if line.startswith(b'{"settings"'):
                begin, end = line.decode().rstrip("\n"), place + len(line)
            elif line.startswith(b'{"done"'):
                about = _read(line, path)["done"]
                done[about["key"]], rows[about["key"]] = about, waiting
                waiting, end = [], place + len(line)
            elif line.startswith(b'{"finished"'):
                end = place + len(line)
            else:
                waiting.append(place)
            place += len(line)
    return begin, done, rows, end


def _row_at(file, place: int) -> dict:
    file.seek(place)
    return _read(file.readline(), file.name)


def _read(line: bytes, path: Path | str) -> dict:
    try:
        return json.loads(line)
    except ValueError:
        raise ValueError(
            f"{path} is damaged, as where it was cut off: get it again, or take it away and ask "
            "anew."
        ) from None


# --- several files as one -------------------------------------------------------------------------


class Whole:
    """All rows of a report, from one file or from those of its parts; only places in memory.

    Attributes:
        settings: of all of them.
        abouts: what the {"done": ...} lines say.
    """

    def __init__(self, files: list[tuple[Path, list[str]]]):
        self.abouts, self._places = [], []
        for number, (path, keys) in enumerate(files):
            begin, done, rows, _ = _scan(path)
            self.settings = json.loads(begin)["settings"]
            self.abouts += [done[key] for key in keys]
            self._places += [(number, place) for key in keys for place in rows[key]]
        self._paths = [path for path, _ in files]
        with_doubt = sorted((_doubt(row), place) for place, row in self._each(self._places))
        self._places = [place for _, place in with_doubt]

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[dict]:
        """Rows, the weakest and most contradictory first."""
        return (row for _, row in self._each(self._places))

    def _each(self, places):
        files = [path.open("rb") for path in self._paths]
        try:
            for number, place in places:
                yield (number, place), _row_at(files[number], place)
        finally:
            for file in files:
                file.close()


def _doubt(row: dict) -> tuple:
    return row["readable"], row["strengths"][2] or 0, row["file"]


def merged(paths: list[Path]) -> Whole:
    """The parts of one report as a whole.

    Raises:
        ValueError: a file that is no part, an unfinished or missing part, one given twice, or parts
            of different reports, or a damaged one; with a sentence that names it.
    """
    files, parts, common = [], {}, {}
    for path in paths:
        if not path.is_file():
            raise ValueError(f"There is no file {path}: give what `--part i/n` wrote.")
        begin, done, _, _ = _scan(path)
        if begin is None:
            raise ValueError(f"{path} is no part of a report: give what `--part i/n` wrote.")
        last = _last_line(path)
        if "finished" not in last:
            raise ValueError(f"{path} is not finished: the same command with --part goes on.")
        end = last["finished"]
        if not done.keys() >= set(end["keys"]):
            raise ValueError(f"{path} lacks some of its photos: get it again, or ask anew.")
        i, n = end["part"]
        for what, value in ("questions or networks", begin), ("photos", end["photos"]), ("cuts", n):
            if common.setdefault(what, value) != value:
                raise ValueError(
                    f"{path} and {paths[0]} are of different {what}: no report is both."
                )
        if i in parts:
            raise ValueError(f"{path} and {parts[i]} are both part {i} of {n}.")
        parts[i] = path
        files.append((i, path, end["keys"]))
    missing = [str(i) for i in range(1, common["cuts"] + 1) if i not in parts]
    if missing:
        raise ValueError(f"Part {', '.join(missing)} of {common['cuts']} is missing.")
    return Whole([(path, keys) for _, path, keys in sorted(files)])


def _last_line(path: Path) -> dict:
    last = b"{}"
    with path.open("rb") as file:
        for line in file:
            last = line
    return _read(last, path)
