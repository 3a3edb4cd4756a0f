"""Photos to ask questions about: some come with the installed packages, some can be fetched.

`PHOTOS` are part of scikit-image and scikit-learn; `OPTIONAL_PHOTOS` are fetched once and checked.
"""

import io
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pooch
import requests
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import closest

TIMEOUT = 20  # seconds without a byte
MAX_BYTES = 50_000_000  # of a picture from an address
# Named one by one because Pillow would otherwise also read EPS, which runs Ghostscript on the file.
FORMATS = ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF", "JPEG2000", "PPM"]
FORMATS = [name for name in FORMATS if name in Image.registered_extensions().values()]


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


def load_photo(source: str | Path | bytes | memoryview | Image.Image) -> Image.Image:
    """A photo as an upright RGB picture of 8 bits per channel: always a new PIL image.

    Args:
        source: a name from `PHOTOS`, `OPTIONAL_PHOTOS` or `ALIASES` (before a file of that name), a
            path, an http(s) address, a PIL image, or the content of a file (an upload).

    EXIF orientation is obeyed. Transparency is laid on white; an animation gives its first frame;
    16-bit grey is divided by 257; float grey is read on the first of the scales 0 to 1, to 255 and
    to 65535 that holds all its values.

    Raises:
        FileNotFoundError: neither a name nor a file, or not in the installed package.
        OSError: a file that cannot be read, or an address that cannot be fetched.
        ValueError: what was read is empty, damaged, too large, or no picture.
        TypeError: source is none of these.
    """
    if isinstance(source, (Image.Image, bytes, bytearray, memoryview)):
        return _decode("What you gave", source)
    if not isinstance(source, (str, Path)):
        kind = type(source).__name__
        raise TypeError(f"A photo is a name, a path, an address, bytes or a PIL image, not {kind}.")
    text = str(source).strip()
    name = ALIASES.get(text, text)
    if name in PHOTOS | OPTIONAL_PHOTOS:
        content = _registered(name).read_bytes()
    elif "://" in text:
        page = _Limited()
        _fetch(text, lambda download: download(text, page, None))
        content = page.getvalue()
    else:
        content = _read(Path(os.path.expanduser(text)))
    return _decode(f"'{source}'", content)


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
        return path if path.is_file() and pooch.file_hash(path) == photo.sha256 else None
    spec = find_spec(photo.source)  # without importing the package: scikit-learn takes 2 s
    path = Path(spec.origin).parent / photo.file if spec else None
    return path if path and path.is_file() else None


def _registered(name: str) -> Path:
    photo = (PHOTOS | OPTIONAL_PHOTOS)[name]
    where = (photo.source + photo.file, photo.sha256, photo.file, photo_folder())
    if not _at_hand(photo) and photo.sha256:
        _fetch(name, lambda download: pooch.retrieve(*where, downloader=download))
    elif not _at_hand(photo):
        raise FileNotFoundError(
            f"The photo '{name}' is missing from the installed package {photo.source}: install "
            f"{photo.source} again, or take one of {', '.join(available_photos())}."
        )
    return _at_hand(photo)


class _Limited(io.BytesIO):
    def write(self, data: bytes) -> int:
        if self.tell() + len(data) > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES / 1e6:g} MB")
        return super().write(data)


def _fetch(what: str, save: Callable[[pooch.HTTPDownloader], object]) -> None:
    """Give `save` a downloader that shows its progress; say in a sentence why it failed."""
    headers = {"User-Agent": "course_utils (course on visual explanations)"}
    try:
        save(pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT, headers=headers))
    except (OSError, ValueError) as error:  # all errors of requests are OSErrors
        reason = str(error)
        if isinstance(error, requests.HTTPError):
            reason = f"the server answered {error.response.status_code} {error.response.reason}"
        elif isinstance(error, requests.Timeout):
            reason = f"no answer within {TIMEOUT} seconds"
        elif isinstance(
            error, (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)
        ):
            reason = "no connection, or it broke off: is there a network, is the address right?"
        elif "known hash" in reason:  # pooch has deleted it by now
            reason = "it arrived damaged, with another sha256, and was not kept"
        names = ", ".join(available_photos())
        raise OSError(f"'{what}' was not fetched ({reason}); at hand are {names}.") from None


def _read(path: Path) -> bytes:
    if os.path.isdir(path):
        raise IsADirectoryError(f"'{path}' is a folder: give the path of a picture in it.")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        names = [*PHOTOS, *OPTIONAL_PHOTOS, *ALIASES]
        hint = closest(path.stem, names) or f" The photos are {', '.join(names)}."
        raise FileNotFoundError(f"No photo '{path}' and no file {path.absolute()}.{hint}") from None
    except (OSError, ValueError) as error:
        raise OSError(f"'{path}' cannot be read: {getattr(error, 'strerror', error)}.") from error


def _decode(label: str, picture: bytes | memoryview | Image.Image) -> Image.Image:
    """A picture as RGB; whatever Pillow raises on a bad one becomes one sentence."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if not picture:
                raise ValueError("it is empty")
            if not isinstance(picture, Image.Image):
                picture = Image.open(io.BytesIO(picture), formats=FORMATS)
            return _to_rgb(picture)
    except Exception as error:  # Pillow's readers raise OSError, SyntaxError, struct.error and more
        fault, cure = str(error), "get it again, or save it as a JPEG or PNG"
        if isinstance(error, UnidentifiedImageError):
            fault = f"not one of {', '.join(FORMATS)}; a web page or a phone's HEIC will not do"
        elif isinstance(error, (Image.DecompressionBombWarning, Image.DecompressionBombError)):
            fault, cure = f"more than {Image.MAX_IMAGE_PIXELS:,} pixels", "make it smaller first"
        raise ValueError(f"{label} cannot be read as a picture ({fault}): {cure}.") from None


def _to_rgb(image: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode == "F" or image.mode.startswith("I"):  # more than 8 bits: Pillow alone would clip
        values = np.asarray(image, dtype=np.float32)
        low, high = values.min(), values.max()
        whites = {"F": (1, 255, 65535), "I": (255, 65535)}.get(image.mode, (65535,))
        white = next((white for white in whites if 0 <= low and high <= white), None)
        if white is None:
            raise ValueError(f"its values run from {low:g} to {high:g}, so white is unknown")
        image = Image.fromarray(np.round(values * (255 / white)).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
