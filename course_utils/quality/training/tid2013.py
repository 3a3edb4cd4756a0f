"""Photos with opinion scores: TID2013's official folder, or its references distorted anew.

TID2013 (Ponomarenko et al., Signal Processing: Image Communication 30, 2015): 25 references, 24
types of distortion, 5 levels, and for each of the 3000 pictures a mean opinion score (MOS).
"""

import csv
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ...photos import load_photo
from ..distort import distort
from ..distortions import KINDS

BEST = 7.21  # the largest MOS in TID2013; scores are MOS / BEST
REFERENCES, TYPES, LEVELS = 25, 24, 5
COLUMNS = ("reference", "type", "level", "mos")  # of a table of scores
SIZE = (512, 384)
# where TID2013 cut its reference out of Kodak's photo (left, top), as far as known; else the centre
CROPS = {3: (73, 44), 4: (0, 206), 6: (66, 43), 7: (153, 93), 8: (71, 4), 21: (28, 60)}
# the types whose pictures a reference and a PSNR define, in TID2013's numbers
REMADE = {
    kind.number: name for name, kind in KINDS.items() if kind.number in (1, 3, 7, 8, 10, 11, 19)
}


class ScoresError(ValueError):
    """The folder or the list of scores is not what it should be."""


@dataclass(frozen=True)
class Scored:
    """A distorted photo with its opinion score.

    `reference` 1 to 25, `type` 1 to 24, `level` 1 to 5, `score` = MOS / 7.21; `open()` gives the
    distorted photo and its reference, both RGB.
    """

    reference: int
    type: int
    level: int
    score: float
    open: Callable[[], tuple[Image.Image, Image.Image]]


Key = tuple[int, int, int]  # reference, type, level


def read_scores(file: Path) -> dict[Key, float]:
    """MOS by (reference, type, level), from `mos_with_names.txt` ("5.51429 I01_01_1.bmp") or a
    table.

    A table (.csv, .tsv) has the columns reference, type, level and mos, in the order of its first
    line if that names them, else in this one; commas, semicolons or tabs between, decimal commas
    too.

    Raises:
        ScoresError: no such file, no score in it, or a bad line (with its number).
    """
    file = Path(file)
    if not file.is_file():
        raise ScoresError(f"There is no file of scores at {file}.")
    content = file.read_bytes()
    if content.startswith(b"PK\x03\x04"):  # as .xlsx and .ods begin
        raise ScoresError(f"{file} is a spreadsheet's own file: save it as CSV, and give that one.")
    utf_16 = content[:2] in (BOM_UTF16_LE, BOM_UTF16_BE)  # as spreadsheets save "Unicode text"
    text = content.decode("utf-16" if utf_16 else "utf-8-sig", errors="replace")
    if "\0" in text:
        raise ScoresError(f"{file} is no text, or in an unknown encoding: save it as CSV in UTF-8.")
    lines = text.splitlines()
    table = file.suffix.lower() in (".csv", ".tsv")
    rows = _rows_of_table(lines, file) if table else _rows_of_list(lines)
    form = ",".join(COLUMNS) if table else "5.51429 I01_01_1.bmp (a table's name ends in .csv)"
    scores = {}
    for number, found in rows:
        where, line = f"Line {number} of {file}", _short(lines[number - 1])
        key, mos = _read_row(found, f"{where} cannot be read: {line}. It should look like: {form}")
        _check_range(key, mos, f"{where} is out of range: {line}.")
        if key in scores:
            raise ScoresError(f"{where} scores a picture for the second time: {line}.")
        scores[key] = mos
    if not scores:
        raise ScoresError(f"{file} holds no scores.")
    return scores


def _short(line: str) -> str:
    return repr(line if len(line) <= 200 else f"{line[:100]}...")


Row = tuple[int, list[str]]  # number of the line; reference, type, level, MOS (fewer: a bad line)


def _rows_of_list(lines: list[str]) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            match = re.fullmatch(r"\s*(\S+)\s+I(\d+)_(\d+)_(\d+)\.bmp\s*", line, re.IGNORECASE)
            yield number, [*match.groups()[1:], match[1]] if match else []


def _rows_of_table(lines: list[str], file: Path) -> Iterator[Row]:
    if lines and lines[0].lower().startswith("sep="):  # by which Excel is told the mark
        lines = ["", *lines[1:]]
    first = next((line for line in lines if line.strip(";\t, ")), "")
    # what parts the line most often; a decimal comma or a mark within quotes parts less
    mark = max(";\t,", key=lambda mark: len(_fields(first, mark)))
    order, width, begun = list(range(len(COLUMNS))), len(COLUMNS), False
    for number, line in enumerate(lines, 1):
        fields = _fields(line, mark)
        if not any(fields):  # as spreadsheets leave rows that were emptied
            continue
        if not begun and not any(field[:1].isdigit() for field in fields):
            order, width = _order(fields, f"The first line of {file}", line), len(fields)
        else:
            yield number, [fields[i] for i in order] if len(fields) == width else []
        begun = True


def _fields(line: str, mark: str) -> list[str]:
    try:
        return [field.strip() for field in next(csv.reader([line], delimiter=mark), [])]
    except csv.Error:  # of a field as long as no score is
        return [line]


def _order(names: list[str], where: str, line: str) -> list[int]:
    """Where each of COLUMNS stands in a header."""
    names = [name.lower() for name in names]
    wrong = [name for name in COLUMNS if names.count(name) != 1]
    if wrong:
        raise ScoresError(
            f"{where} names the columns {_short(line)}; once each it should name: "
            f"{', '.join(COLUMNS)}."
        )
    return [names.index(name) for name in COLUMNS]


def _read_row(found: list[str], fault: str) -> tuple[Key, float]:
    try:
        reference, kind, level, mos = found
        return (_whole(reference), _whole(kind), _whole(level)), float(mos.replace(",", "."))
    except ValueError:
        raise ScoresError(fault) from None


def _whole(text: str) -> int:
    """A whole number, also as 1.0, which pandas makes of it in a column with gaps."""
    whole, _, rest = text.replace(",", ".").partition(".")
    if rest.strip("0"):
        raise ValueError
    return int(whole)


def _check_range(key: Key, mos: float, fault: str) -> None:
    most = (REFERENCES, TYPES, LEVELS)
    if not all(1 <= number <= last for number, last in zip(key, most)) or not 0 <= mos <= 9:
        raise ScoresError(
            f"{fault} TID2013 has references 1 to {REFERENCES}, types 1 to {TYPES}, levels 1 to "
            f"{LEVELS} and scores from 0 to 9."
        )


def load_tid2013(folder: Path) -> list[Scored]:
    """All scored pictures of TID2013's official folder.

    Raises:
        ScoresError: not that folder (what is missing), pictures missing, bad lines in the list.
    """
    folder = Path(folder)
    parts = ["reference_images", "distorted_images", "mos_with_names.txt"]
    missing = [name for name in parts if not _find(folder, name)]
    if missing:
        raise ScoresError(
            f"{folder} is not TID2013's folder: {', '.join(missing)} missing. Unpack tid2013.rar "
            "and give the folder that holds reference_images, distorted_images and "
            "mos_with_names.txt."
        )
    originals, changed, listed = (_find(folder, name) for name in parts)
    files = {p.name.lower(): p for p in [*originals.iterdir(), *changed.iterdir()]}
    scores = read_scores(listed)
    wanted = {f"i{r:02d}.bmp" for r, _, _ in scores} | {_name(key) for key in scores}
    absent = sorted(wanted - files.keys())
    if absent:
        more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        raise ScoresError(f"{folder} lacks {len(absent)} pictures: {', '.join(absent[:3])}{more}.")

    def opener(key: Key):
        return lambda: (load_photo(files[_name(key)]), load_photo(files[f"i{key[0]:02d}.bmp"]))

    return [Scored(*key, mos / BEST, opener(key)) for key, mos in sorted(scores.items())]


def _name(key: Key) -> str:
    return "i{:02d}_{:02d}_{}.bmp".format(*key)


def _find(folder: Path, name: str) -> Path | None:
    """The entry of that name, in whatever case it was unpacked."""
    if not folder.is_dir():
        return None
    return next((p for p in folder.iterdir() if p.name.lower() == name), None)


def crop_reference(photo: Image.Image, number: int) -> Image.Image:
    """TID2013's 512 x 384 crop of a photo of Kodak's, at its known place or else the centre."""
    width, height = photo.size
    left, top = CROPS.get(number, ((width - SIZE[0]) // 2, (height - SIZE[1]) // 2))
    return photo.crop((left, top, left + SIZE[0], top + SIZE[1]))


def distort_anew(
    folder: Path, scores: dict[Key, float], types: dict[int, str] = REMADE
) -> list[Scored]:
    """Kodak's references (`kodim01.png` ...) distorted to TID2013's PSNR, with its published
    scores.

    Raises:
        ScoresError: no photo kodimNN.png of a scored reference in the folder.
    """
    folder = Path(folder)
    present = [r for r in range(1, 25) if (folder / f"kodim{r:02d}.png").is_file()]
    keys = [key for key in sorted(scores) if key[0] in present and key[1] in types]
    if not keys:
        raise ScoresError(f"{folder} holds no photo kodim01.png to kodim24.png with a score.")

    def opener(key: Key):
        reference, kind, level = key

        def open_it():
            photo = crop_reference(load_photo(folder / f"kodim{reference:02d}.png"), reference)
            return distort(photo, types[kind], level, seed=reference).image, photo

        return open_it

    return [Scored(*key, scores[key] / BEST, opener(key)) for key in keys]
