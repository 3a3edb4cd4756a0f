"""A folder of photos: found, read in batches beside the network's work, made small."""

import base64
import hashlib
import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...networks.preprocess import check_read
from ...photos import load_photo
from .networks import Reported

ENDINGS = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
ENDINGS |= {".avif", ".jp2", ".ppm", ".pgm", ".heic", ".heif"}
BATCH = 16
THUMBNAIL = 144  # pixels of the longer side
QUALITY = 60  # of WebP


@dataclass(frozen=True)
class Batch:
    """Photos that go through the network together, always the same ones.

    The numbers of a forward pass may depend, in the last bit, on who else is in the batch. So
    batches are cut once for a folder, whoever asks them: in one go, after an interruption, in parts
    or on a cluster.

    Attributes:
        key: what it is known by; another one where a file changed.
        names: of the files, relative to the folder, with "/".
    """

    key: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Read:
    """A batch, read: of each photo its name, what the network reads, and its thumbnail."""

    names: list[str]
    tensors: list[Tensor]
    thumbnails: list[str]
    broken: list[tuple[str, str]]  # name, why


def photos_in(folder: Path) -> tuple[list[str], list[str]]:
    """The photos of a folder and its subfolders, in order of name; and sentences on what was left.

    Raises:
        ValueError: no such folder, or no photo in it.
    """
    if not folder.is_dir():
        kind = "a file" if folder.exists() else "not there"
        raise ValueError(f"{folder} is {kind}: give a folder of photos.")
    found, other = [], Counter()
    for path, folders, files in os.walk(folder):
        folders[:] = [one for one in folders if not one.startswith(".")]
        for file in files:
            name = (Path(path) / file).relative_to(folder).as_posix()
            ending = Path(file).suffix.lower()
            if file.startswith("."):
                continue
            if ending in ENDINGS:
                found.append(name)
            else:
                other[ending or "no ending"] += 1
    if not found:
        raise ValueError(f"No photo in {folder}: looked for {', '.join(sorted(ENDINGS))}.")
    said = []
    if other:
        kinds = ", ".join(f"{count} with {ending}" for ending, count in sorted(other.items()))
        said.append(f"Files that are no photos by their endings were left aside: {kinds}.")
    return sorted(found), said


def batches(folder: Path, names: list[str], asked: str) -> list[Batch]:
    """The photos in batches.

    Args:
        asked: all else that decides about the answers, such as the questions.
    """
    cut = [tuple(names[i : i + BATCH]) for i in range(0, len(names), BATCH)]
    return [Batch(_key(folder, some, asked), some) for some in cut]


def _key(folder: Path, names: Iterable[str], asked: str) -> str:
    digest = hashlib.sha256(asked.encode())
    for name in names:
        try:
            state = os.stat(folder / name)
            about = f"{state.st_size} {state.st_mtime_ns}"
        except OSError:
            about = "not there"
        digest.update(f"{name}\0{about}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:24]


def read(folder: Path, some: list[Batch], reported: Reported) -> Iterator[tuple[Batch, Read]]:
    """Each batch, read while the network is busy with the one before: at most two at once."""
    with ThreadPoolExecutor(1, "photos") as reader:
        coming = None
        for batch in some:
            now, coming = coming, (batch, reader.submit(read_batch, folder, batch, reported))
            if now is not None:
                yield now[0], now[1].result()
                now = None  # the caller is through with it
        if coming is not None:
            yield coming[0], coming[1].result()


def read_batch(folder: Path, batch: Batch, reported: Reported) -> Read:
    """A batch's photos; those that cannot be read are named."""
    made = Read([], [], [], [])
    for name in batch.names:
        try:
            x = reported.preprocess(load_photo(folder / name))
            check_read(x)
            thumbnail = thumbnail_of(reported.show(x))
        except Exception as error:  # a network's own preprocess may raise anything
            made.broken.append((name, _reason(error, folder)))
            continue
        made.names.append(name)
        made.tensors.append(x)
        made.thumbnails.append(thumbnail)
    return made


def _reason(error: Exception, folder: Path) -> str:
    """Why, without the folder's own place: a report is sent to others."""
    said = str(error).replace(f"{folder}{os.sep}", "")
    return said or type(error).__name__


def thumbnail_of(picture: Tensor) -> str:
    """H x W x 3 in [0, 1] -> a small WebP, in base64."""
    pixels = np.asarray((picture * 255).round().clamp(0, 255).to(torch.uint8))
    image = Image.fromarray(pixels)
    image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR, reducing_gap=None)
    content = io.BytesIO()
    image.save(content, "WEBP", quality=QUALITY, method=1)
    return base64.b64encode(content.getvalue()).decode()
