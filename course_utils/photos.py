"""Photos to ask questions about: some come with the installed packages, some can be fetched.

`PHOTOS` are part of scikit-image and scikit-learn; `OPTIONAL_PHOTOS` are fetched once and checked.
"""

import base64
import io
import os
import stat
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit
from urllib.request import url2pathname

import pooch
import requests
from PIL import Image

from .errors import closest
from .networks.pictures import as_rgb, is_picture

TIMEOUT = 20  # seconds without a byte
PATIENCE = 120  # seconds for the whole of a picture from an address
MAX_BYTES = 50_000_000  # of a picture from an address
MAX_FILE = 500_000_000  # bytes of a picture's file


@dataclass(frozen=True)
class Photo:
    """What is known of a photo before it is opened.

    `source` is the installed package or the web folder that has it, `file` its path there, `credit`
    its maker and terms. `classes` are ImageNet classes (torchvision's names) that a person would
    accept, if any; `alt` describes the picture in words; `regions` are measured by eye: name ->
    (left, top, right, bottom) in pixels of the whole photo, the last two just outside.
    """

    source: str
    file: str
    credit: str
    classes: tuple[str, ...]
    alt: str
    regions: dict[str, tuple[int, int, int, int]] = field(default_factory=dict)
    sha256: str | None = None


_SAMPLES = "https://raw.githubusercontent.com/EliSchwartz/imagenet-sample-images/"
_SAMPLES += "bc69043e2862758a1906c6a24a792bb28c6bb2ff/"
_IMAGENET = "ImageNet, collected by Eli Schwartz; no licence to pass it on"
_KODAK = "Kodak, released for unrestricted use"

# fmt: off
PHOTOS = {
    "chelsea": Photo("skimage", "data/chelsea.png", "Stefan van der Walt, CC0",
        ("tabby", "tiger cat", "Egyptian cat"), "The face of a ginger tabby cat with green eyes.",
        {"face": (40, 0, 362, 282), "eyes": (134, 85, 344, 165), "nose": (226, 226, 294, 268)}),
    "coffee": Photo("skimage", "data/coffee.png", "Rachel Michetti, Pikolo Espresso Bar, CC0",
        ("espresso", "cup"), "A red cup of espresso on a red saucer, with a spoon, on a table.",
        {"cup": (172, 17, 408, 308), "coffee": (202, 94, 371, 194), "spoon": (326, 66, 425, 326)}),
    "camera": Photo("skimage", "data/camera.png", "Lav Varshney, CC0",
        ("tripod",), "A man in a dark coat looks through a camera on a tripod, on a lawn, in grey.",
        {"tripod": (230, 187, 407, 512), "camera": (253, 139, 325, 188), "man": (0, 63, 332, 512)}),
    "motorcycle_left": Photo("skimage", "data/motorcycle_left.png",
        "Scharstein et al., Middlebury stereo data, GCPR 2014; scikit-image states no licence",
        ("disk brake",), "A red motorcycle seen from its right side, in a garage with shelves.",
        {"motorcycle": (91, 12, 685, 453), "front wheel": (512, 290, 685, 453),
         "rear wheel": (121, 236, 281, 403), "headlight": (505, 122, 562, 189)}),
    "rocket": Photo("skimage", "data/rocket.jpg", "SpaceX, public domain",
        ("missile",), "A white rocket on a launch pad at dusk.", {"rocket": (309, 126, 336, 408)}),
    "flower": Photo("sklearn", "datasets/images/flower.jpg", "vultilion (Flickr), CC BY 2.0",
        (), "A round orange dahlia before dark leaves; a second one enters from below.",
        {"dahlia": (169, 84, 446, 360), "second dahlia": (288, 374, 470, 427)}),
    "china": Photo("sklearn", "datasets/images/china.jpg", "danielbuechele (Flickr), CC BY 2.0",
        ("palace",), "A Chinese tower with orange roofs, above trees and a lake with boats.",
        {"tower": (62, 29, 375, 420), "top roof": (94, 29, 321, 134)}),
}
OPTIONAL_PHOTOS = {
    "spoonbill": Photo(_SAMPLES, "n02006656_spoonbill.JPEG", _IMAGENET,
        ("spoonbill",), "A pink roseate spoonbill flies to the left, its flat beak ahead.",
        {"bird": (114, 100, 449, 274), "beak": (114, 100, 179, 122), "wing": (187, 121, 369, 274)},
        "004c15f7d326d7e8709bfe1bce829a7f0d0d86bb7aa58376412236fdbd8b708d"),
    "flamingo": Photo(_SAMPLES, "n02007558_flamingo.JPEG", _IMAGENET,
        ("flamingo",), "Four pink flamingos wade in dark water under large leaves.",
        {"bird in front": (220, 202, 291, 368), "bird on the right": (307, 190, 387, 341),
         "bird on the left": (120, 157, 213, 252), "bird behind": (265, 172, 299, 262)},
        "92bbbb3c138f043152579300808be9d8926458f5284d3720cd9e799e629442ee"),
    "boxer": Photo(_SAMPLES, "n02108089_boxer.JPEG", _IMAGENET,
        ("boxer",), "A brown and white boxer dog looks up with its tongue out.",
        {"dog": (107, 54, 308, 438), "head": (137, 89, 308, 260)},
        "50b887dde4b82c3c3ddb81d58bf4fd957b508dc60c2b9054d9fbdbfabc55a0ed"),
    "lighthouse": Photo(_SAMPLES, "n02814860_beacon.JPEG", _IMAGENET,
        ("beacon",), "A dark round lighthouse with a pale door, seen from below, in sepia.",
        {"lighthouse": (110, 38, 352, 493), "door": (184, 325, 242, 451)},
        "f28c7a38a3cde6aa215aace2f2df45566717bc4aa60964a173a632d186d0a457"),
    "kodim19": Photo("https://r0k.us/graphics/kodak/kodak/", "kodim19.png", _KODAK,
        ("beacon", "picket fence"), "A white lighthouse and a house behind a white picket fence.",
        sha256="b7450b264b1b0a411390d8931b112c27905a992520fc90569dc4b920aa32bbdc"),
    "kodim21": Photo("https://r0k.us/graphics/kodak/kodak/", "kodim21.png", _KODAK,
        ("beacon",), "A lighthouse and a house on a rocky coast.",
        sha256="ac958597c82073f6bb65129c68f72b651db5b9efd82e11547d07350214bc268b"),
}
# fmt: on
ALIASES = {"motorcycle": "motorcycle_left", "beacon": "lighthouse"}


def load_photo(source) -> Image.Image:
    """A photo as an upright RGB picture of 8 bits per channel: always a new PIL image.

    Args:
        source: a name from `PHOTOS`, `OPTIONAL_PHOTOS` or `ALIASES` (before a file of that name), a
            path, an address (http, https, file or data), a PIL image, the content of a file (an
            upload), a file opened with "rb", or an array or tensor as `pictures.as_pixels` reads
            it.

    What a picture may be, and what becomes of it: see `pictures.as_rgb`.

    Raises:
        FileNotFoundError: neither a name nor a file, or not in the installed package.
        OSError: a file that cannot be read, or an address that cannot be fetched.
        ValueError: what was read is empty, damaged, too large, or no picture.
        TypeError: source is none of these.
    """
    if not is_picture(source) and hasattr(source, "read"):
        source = _content(source)
    if is_picture(source):
        return as_rgb(source)
    if not isinstance(source, (str, os.PathLike)):
        kind = type(source).__name__
        cure = " Of an upload: .value[0]['content']." * isinstance(source, (tuple, dict))
        raise TypeError(
            f"A photo is a name, a path, an address, bytes, a PIL image or an array, not {kind}."
            f"{cure}"
        )
    text = source.strip() if isinstance(source, str) else os.fsdecode(source)
    if not text:
        raise FileNotFoundError(f"The photo's name is empty: give one of {', '.join(PHOTOS)}.")
    name = ALIASES.get(text, text)
    if name in PHOTOS | OPTIONAL_PHOTOS:
        content = _registered(name).read_bytes()
    elif "://" in text or text.lower().startswith(("data:", "file:/")):
        content = _from_address(text)
    else:
        content = _read(Path(os.path.expanduser(text)))
    return as_rgb(content, f"'{_short(text)}'")


def _content(file) -> bytes:
    """What an open file holds, from where it stands."""
    try:
        parts, size = [], 0
        while size <= MAX_BYTES and (part := file.read(MAX_BYTES + 1 - size)):  # a pipe gives parts
            parts.append(part)
            size += len(part)
    except UnicodeDecodeError:
        parts = [""]
    except ValueError:  # closed, or open for writing only
        raise ValueError('The file cannot be read from: open it with open(path, "rb").') from None
    if any(isinstance(part, str) for part in parts):
        raise TypeError('The file is open for text. Open it with open(path, "rb"), or give a path.')
    content = b"".join(parts)
    if size > MAX_BYTES:
        raise ValueError(f"The open file is larger than {MAX_BYTES / 1e6:g} MB.")
    if not content:
        raise ValueError("Nothing is left to read in the open file: file.seek(0) rewinds it.")
    return content


def available_photos() -> list[str]:
    """The names that load without a network: installed photos, then optional ones kept unharmed."""
    return [name for name, photo in (PHOTOS | OPTIONAL_PHOTOS).items() if _at_hand(photo)]


def photo_folder() -> Path:
    """Where optional photos are kept, or put by hand: environment COURSE_PHOTOS, else a cache."""
    folder = os.environ.get("COURSE_PHOTOS") or pooch.os_cache("targeted-visual-explanations")
    return Path(folder).expanduser()


def _at_hand(photo: Photo) -> Path | None:
    if photo.sha256:
        path = photo_folder() / photo.file
        with suppress(OSError):  # a folder, or a file, that this user may not read
            return path if path.is_file() and pooch.file_hash(path) == photo.sha256 else None
        return None
    spec = find_spec(photo.source)  # without importing the package: scikit-learn takes 2 s
    path = Path(spec.origin).parent / photo.file if spec else None
    return path if path and path.is_file() else None


def _registered(name: str) -> Path:
    photo = (PHOTOS | OPTIONAL_PHOTOS)[name]
    if not _at_hand(photo) and photo.sha256:

        def save(
            url, file, _pooch
        ) -> None:  # in one go: what is broken off leaves no part of a file
            Path(file).write_bytes(_download(url))

        where = (photo.source + photo.file, photo.sha256, photo.file, photo_folder())
        try:
            pooch.retrieve(*where, downloader=save)
        except (OSError, ValueError) as error:
            raise _not_fetched(name, error) from None
    elif not _at_hand(photo):
        raise FileNotFoundError(
            f"The photo '{name}' is missing from the installed package {photo.source}: install "
            f"{photo.source} again, or take one of {', '.join(available_photos())}."
        )
    return _at_hand(photo)


# --- addresses ------------------------------------------------------------------------------------


def _from_address(text: str) -> bytes:
    scheme = text.partition(":")[0].lower()
    try:
        if scheme == "data":
            return _data_of(text)
        if scheme in ("http", "https"):
            return _download(text)
        if scheme != "file":
            raise _Refused("an address begins with http://, https://, file:// or data:")
        path = _path_of(text)
    except (OSError, ValueError) as error:
        raise _not_fetched(_short(text), error) from None
    return _read(path)


def _path_of(address: str) -> Path:
    """file:///path, on this machine."""
    parts = urlsplit(address)
    if parts.netloc not in ("", "localhost"):
        raise _Refused(f"it names the machine '{parts.netloc}': a path of this one begins file:///")
    return Path(url2pathname(parts.path))


def _data_of(address: str) -> bytes:
    """data:image/png;base64,iVBORw0..."""
    head, comma, data = address.partition(",")
    content = unquote_to_bytes(data)
    if not comma:
        raise _Refused("a comma is missing, behind which the data begin")
    if not head.strip().lower().endswith(";base64"):
        return content
    letters = b"".join(content.translate(bytes.maketrans(b"-_", b"+/")).split()).rstrip(b"=")
    try:
        return base64.b64decode(letters + b"=" * (-len(letters) % 4), validate=True)
    except ValueError:
        raise _Refused("what stands behind the comma is not whole, or no base64") from None


class _Refused(ValueError):
    """Not fetched, for a reason that is said in its message."""


class _Limited(io.BytesIO):
    over = False  # whether anyone still waits

    def write(self, data: bytes) -> int:
        if self.over or self.tell() + len(data) > MAX_BYTES:
            raise _Refused(f"it is larger than {MAX_BYTES / 1e6:g} MB")
        return super().write(data)


def _download(url: str) -> bytes:
    """The content of an address, with a progress bar, within the limits of size and time."""
    headers = {"User-Agent": "course_utils (course on visual explanations)"}
    fetch = pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT, headers=headers)
    page, failed = _Limited(), []

    def run() -> None:
        try:
            fetch(url, page, None)
        except Exception as error:
            failed.append(error)

    # in a thread: a server that sends a byte now and then never runs into a socket's own time limit
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        thread.join(PATIENCE)
    finally:
        page.over = True
    if thread.is_alive():
        raise _Refused(f"the server is too slow: not complete after {PATIENCE:g} seconds")
    if failed:
        raise failed[0]
    return page.getvalue()


def _not_fetched(what: str, error: Exception) -> OSError:
    return OSError(
        f"'{what}' was not fetched ({_reason(error)}); at hand are {', '.join(available_photos())}."
    )


def _reason(error: Exception) -> str:
    """Why an address was not fetched, in words."""
    said = str(error)
    if isinstance(error, _Refused):
        return said
    if isinstance(error, requests.HTTPError):
        words = "".join(c for c in error.response.reason or "" if c.isprintable())[:100]
        return f"the server answered {error.response.status_code} {words}".rstrip()
    if isinstance(error, requests.exceptions.SSLError) and "certificate" in said.lower():
        return (
            "the server's TLS certificate was refused: behind a school's or firm's proxy, set the "
            "environment variable REQUESTS_CA_BUNDLE to the file of its certificates"
        )
    if isinstance(error, requests.exceptions.SSLError):
        return "the server does not speak TLS: is it http:// rather than https://?"
    if isinstance(error, requests.Timeout) or "timed out" in said:
        return f"no answer within {TIMEOUT:g} seconds"
    broken = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)
    if isinstance(error, broken):
        return "no connection, or it broke off: is there a network, is the address right?"
    if isinstance(error, requests.exceptions.ContentDecodingError):
        return "what the server sent is damaged"
    if "known hash" in said:  # pooch has deleted it by now
        return "it arrived damaged, with another sha256, and was not kept"
    if isinstance(error, requests.RequestException):
        return f"no address that can be asked: {_short(said)}"
    if "TLS CA" in said:  # requests looks for the file before it asks
        return "REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE in the environment names no file that is there"
    if isinstance(error, OSError) and error.errno is not None:
        return (
            f"the folder {photo_folder()} cannot be used: {error.strerror}; name another one in "
            "the environment variable COURSE_PHOTOS"
        )
    return "the server's answer, or the address, makes no sense"


# --- files ----------------------------------------------------------------------------------------


def _short(text: str) -> str:
    most = 2000 if "://" in text else 300
    return text if len(text) <= most else f"{text[:40]}..."


def _read(path: Path) -> bytes:
    if os.path.isdir(path):
        raise IsADirectoryError(f"'{path}' is a folder: give the path of a picture in it.")
    try:
        about = os.stat(path)
        if not stat.S_ISREG(about.st_mode):  # a pipe would be waited for, /dev/zero never ends
            raise OSError(f"'{path}' is a pipe or a device: give the path of a picture's file.")
        if about.st_size > MAX_FILE:
            raise OSError(
                f"'{path}' cannot be read: it has {about.st_size / 1e6:,.0f} MB, and a picture's "
                f"file at most {MAX_FILE / 1e6:,.0f} MB."
            )
        return path.read_bytes()
    except FileNotFoundError:
        names = [*PHOTOS, *OPTIONAL_PHOTOS, *ALIASES]
        hint = closest(path.stem, names) or f" The photos are {', '.join(names)}."
        raise FileNotFoundError(f"No photo '{path}' and no file {path.absolute()}.{hint}") from None
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is None:  # said above
            raise
        name = _short(str(path))
        raise OSError(f"'{name}' cannot be read: {getattr(error, 'strerror', error)}.") from error
