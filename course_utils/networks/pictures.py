"""One way in for every picture: a file's content, a PIL image, an array or a tensor -> upright RGB.

Whoever takes a picture from a user takes it through here, so that all of them see the same one.
"""

import io
import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from ..errors import a_kind_of, warn_outside

# Named one by one because Pillow would otherwise also read EPS, which runs Ghostscript on the file.
FORMATS = ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF", "JPEG2000", "PPM"]
FORMATS = [name for name in FORMATS if name in Image.registered_extensions().values()]
_WHOLE = (Image.Image, bytes, bytearray, memoryview)  # pictures and files' contents, not numbers
CURE = "Of what a network reads, classifier.preprocess.show(x[0]) makes a picture."


def as_rgb(picture, label: str = "What you gave") -> Image.Image:
    """A picture as an upright PIL image of 8-bit RGB: always a new one.

    Args:
        picture: a PIL image of any mode, a file's content (bytes), or what `as_pixels` reads.
        label: what the picture is called in an error message.

    EXIF orientation is obeyed. Transparency is laid on white; an animation gives its first frame;
    16-bit grey is divided by 257; float grey is read on the first of the scales 0 to 1, to 255 and
    to 65535 that holds all its values. A colour profile (ICC) is not applied: networks were trained
    on pictures as they are stored.

    Raises:
        ValueError: empty, damaged, too large, or no picture.
        TypeError: neither an image, bytes, an array nor a tensor.

    Warns:
        UserWarning: damaged EXIF; a TIFF that begins with a small copy; and as `as_pixels`.
    """
    if isinstance(picture, memoryview) and picture.ndim > 1:  # of an array, not of a file
        picture = np.asarray(picture)
    if not isinstance(picture, _WHOLE):
        levels = _levels(picture)
        levels = np.rint(np.multiply(levels, 255, out=levels), out=levels).astype(np.uint8)
        return Image.fromarray(_three(levels))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if not isinstance(picture, Image.Image):
                if not len(picture):
                    raise ValueError("it is empty")
                picture = Image.open(io.BytesIO(picture), formats=FORMATS)
            return _upright_rgb(picture)
    except Exception as error:  # Pillow's readers raise OSError, SyntaxError, struct.error and more
        fault = str(error) or type(error).__name__
        cure = "get it again, or save it as a JPEG or PNG"
        fault = fault.replace("Its", "its", 1).removesuffix(f" {CURE}").rstrip(".")
        if isinstance(error, UnidentifiedImageError):
            fault = _not_opened(picture)
        elif fault.startswith("decoder error"):
            fault = "it is damaged, or packed in a way that is not read here"
        elif isinstance(error, MemoryError):
            fault, cure = "there is not memory enough for it", "make it smaller first"
        elif isinstance(error, (Image.DecompressionBombWarning, Image.DecompressionBombError)):
            fault, cure = f"more than {Image.MAX_IMAGE_PIXELS:,} pixels", "make it smaller first"
        raise ValueError(f"{label} cannot be read as a picture ({fault}): {cure}.") from None


def as_pixels(picture) -> np.ndarray:
    """A picture as H x W x 3 floats in [0, 1].

    Args:
        picture: a PIL image, or a file's content; or an array (of numpy, or what becomes one, as of
            JAX, xarray or pandas) or tensor, H x W, or H x W x 1 (grey), 2 (grey, opacity), 3 (RGB)
            or 4 (RGB, opacity). Whole numbers run from 0 to 255, or to 65535 (uint16, and others
            far above 255); floats from 0 to 1, or as whole numbers do.
            Transparency is laid on white.

    Raises:
        ValueError: another shape or range, such as that of a normalised tensor.
        TypeError: no picture at all.

    Warns:
        UserWarning: so dark that its white may be another, such as 4095 (12 bits), or transparent
            all over.
    """
    if isinstance(picture, _WHOLE):
        return np.asarray(as_rgb(picture)) / 255.0
    return _three(_levels(picture))


def _three(levels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.broadcast_to(levels, (*levels.shape[:2], 3)))


def _levels(picture) -> np.ndarray:
    """An array or tensor as H x W x 1 or 3 floats in [0, 1]: grey is not yet made three times as
    large, so that a photo of 16 bits takes no gigabytes."""
    values = _as_array(picture)
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or values.shape[2] not in (1, 2, 3, 4) or not values.size:
        raise ValueError(_wrong_shape(values))
    white = _white(values)
    _say_if_dark(float(values.max()), white)
    if values.shape[2] in (2, 4) and white > 1 == values[..., -1].max() < values.max():
        raise ValueError(
            f"Its colours run to {values.max():.6g} and its opacity, the last channel, to 1 only, "
            f"so that hardly anything would be seen: multiply the opacity by {white}."
        )
    values = values / white
    if values.shape[2] in (2, 4):  # laid on white
        _say_if_clear(values[..., -1].max())
        values = values[..., :-1] * values[..., -1:] + (1 - values[..., -1:])
    return np.clip(values, 0, 1, out=values)


def is_picture(value) -> bool:
    """Whether `as_rgb` would try: an image, bytes, an array or a tensor; not a name or a path."""
    if isinstance(value, str):  # numpy's own words are arrays, too
        return False
    return isinstance(value, _WHOLE) or _is_tensor(value) or hasattr(value, "__array__")


def _is_tensor(value) -> bool:
    return hasattr(value, "detach") and hasattr(value, "cpu")  # an open file has a detach, too


def _as_array(picture) -> np.ndarray:
    if not is_picture(picture) and not isinstance(picture, (list, tuple)):
        kind = a_kind_of(picture)
        file = isinstance(picture, (str, os.PathLike)) or hasattr(picture, "read")
        cure = " load_photo(...) reads a file, an address or a photo of the course." * file
        cure += " It holds one: .image." * hasattr(picture, "image")  # a bird, or a distorted photo
        raise TypeError(f"A picture is a PIL image, an array or a tensor, not {kind}.{cure}")
    if np.ma.is_masked(picture):
        raise ValueError("Some of its pixels are masked: .filled(0) makes them black.")
    values = np.asarray(_numbers(picture) if _is_tensor(picture) else picture)
    if values.dtype == object and values.ndim > 1:
        with suppress(TypeError, ValueError):  # numbers, packed as objects
            values = values.astype(float)
    if values.dtype.kind == "f" and values.dtype.itemsize not in (4, 8):
        values = values.astype(float)  # float16 ends below white, longdouble cannot be drawn
    values = values.astype(values.dtype.newbyteorder("="), copy=False)  # of FITS: high byte first
    if values.dtype.kind not in "buif":
        raise ValueError(f"A picture's pixels are real numbers, but these are {values.dtype}.")
    return values


def _numbers(tensor) -> np.ndarray:
    """A tensor of any kind as an array: numpy knows no bfloat16, nor values that are packed."""
    if tensor.is_nested:
        raise ValueError("The tensor is nested, of several pictures: pick one, .unbind()[0].")
    if tensor.is_meta:
        raise ValueError(
            "The tensor is on the device 'meta', where tensors have shapes but no numbers."
        )
    tensor = tensor.detach().cpu()
    tensor = tensor.dequantize() if tensor.is_quantized else tensor.to_dense()
    tensor = tensor.resolve_conj().resolve_neg()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def _shape(values: np.ndarray) -> str:
    return " x ".join(map(str, values.shape)) or "a single number"


def _wrong_shape(values: np.ndarray) -> str:
    said = f"A picture is H x W x 3, but this is {_shape(values)}"
    if not values.size:
        return f"{said}: it is empty."
    if values.ndim == 3 and values.shape[0] in (1, 3, 4):
        return f"{said}: .movedim(0, -1) (np.moveaxis) puts the channels last. {CURE}"
    if values.ndim == 4:
        return f"{said}, several at once: pick one, such as images[0]. {CURE}"
    if values.ndim == 1 and values.dtype == np.uint8:
        return f"{said} bytes: if they are a file's content, .tobytes() gives them as such."
    return f"{said}. {CURE}"


def _white(values: np.ndarray) -> float:
    """The number that stands for white: of the type, or the least on whose scale all values lie."""
    if values.dtype == bool:
        return 1
    if values.dtype == np.uint8:
        return 255
    low, high = values.min(), values.max()
    whole = values.dtype.kind in "ui"
    whites = {np.dtype(np.uint16): (65535,)}.get(values.dtype, (255, 65535))
    slack = 0 if whole else 1e-6  # of sums of floats
    fits = [w for w in whites if -slack * w <= low and high <= w * (1 + slack)]
    said = f"Its values run from {low:.6g} to {high:.6g}"
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError("Its values hold NaN or infinity: np.nan_to_num replaces them.")
    if fits[:1] == [65535] and 3 <= high < 3 * 255 and values.dtype != np.uint16:
        # far too dark for 65535 levels: hardly more than 255, as where something was added
        raise ValueError(
            f"{said}, so white may be 255 or 65535: clip it to 0 to 255, or give uint16. {CURE}"
        )
    if whole and fits and not (high == 1 and fits[0] == 255):
        return fits[0]
    if whole and fits:
        raise ValueError(f"{said}, so white may be 1 or 255: give floats, or 0 to 255. {CURE}")
    if not whole and -slack <= low and high <= 1 + slack:
        return 1
    if fits and high >= 3:
        return fits[0]
    if fits:  # hardly a picture of 255 levels, and too bright for one up to 1
        raise ValueError(f"{said}, not from 0 to 1: clip it, or give 0 to 255. {CURE}")
    raise ValueError(f"{said}, so white is unknown; pixels are in [0, 1] or 0 to 255. {CURE}")


# The white of pictures with fewer bits than the type that holds them, by the white that is taken
_OTHER_WHITES = {255: (1,), 65535: (255, 1023, 4095, 16383)}


def _say_if_dark(high: float, white: float) -> None:
    """Warn where a picture is so dark that its white may be another, as that of 12 bits is."""
    other = next((w for w in _OTHER_WHITES.get(white, ()) if 0 < high <= w), None)
    if other is not None:
        said = (
            f"The picture's brightest value is {high:g} of {white}, so that it is seen as dark. If "
            f"its white is {other}, divide it by {other} first."
        )
        warn_outside(said, UserWarning)


def _say_if_clear(opacity: float) -> None:
    """Warn where at most so much (0 to 1) of any pixel is seen."""
    if opacity <= 1 / 255:
        said = (
            "The picture is transparent all over, so that white is seen: leave its opacity out, "
            'as picture.convert("RGBA").convert("RGB") of a PIL image does, if it is not meant.'
        )
        warn_outside(said, UserWarning)


def _upright_rgb(image: Image.Image) -> Image.Image:
    if not all(image.size):
        raise ValueError("it has no pixels")
    _swap_bytes_once(image)
    stored, raw = image, _raw_mode(image)
    _check_read_rightly(image)
    image = _turned(image)
    if image.mode == "F" or image.mode.startswith("I"):  # more than 8 bits: Pillow alone would clip
        return as_rgb(_deep_grey(image, stored))
    if raw in _STEPS and isinstance(clear := image.info.get("transparency"), int):
        image.info["transparency"] = clear * _STEPS[raw]
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data or image.mode == "RGBa":
        image = image.convert("RGBA")
        _say_if_clear(image.getchannel("A").getextrema()[1] / 255)
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


_TURNS = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
_TURNS |= {6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}  # by EXIF's orientation


def _turned(image: Image.Image) -> Image.Image:
    """As EXIF says: a new image, that says it no more.

    ImageOps.exif_transpose also writes the EXIF anew, and fails where any of it is odd.
    """
    image.load()  # of some formats the EXIF lies behind the pixels
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # the pixels are whole
        turn = None
        said = (
            "The picture's EXIF is damaged: the picture is taken as it is stored, upright or not."
        )
        warn_outside(said, UserWarning)
    image = image.transpose(Image.Transpose[turn]) if turn else image.copy()
    for name in ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"):
        image.info.pop(name, None)
    return image


_STEPS = {"L;2": 255 // 3, "L;4": 255 // 15}  # Pillow enlarges grey of few bits, but not its key


def _raw_mode(image: Image.Image) -> Any:
    """How a file that is not yet read stores its pixels, in Pillow's words."""
    return image.tile[0].args if getattr(image, "tile", None) else None


def _swap_bytes_once(image: Image.Image) -> None:
    """Of a packed big-endian TIFF libtiff swaps the bytes, and Pillow would swap some again."""
    for i, tile in enumerate(getattr(image, "tile", ())):
        if tile.codec_name == "libtiff" and tile.args[0] in _OWN_ORDER:
            order = _OWN_ORDER[tile.args[0]]
            image.tile[i] = tile._replace(args=(order, *tile.args[1:]))


_OWN_ORDER = {"F;32BF": "F;32NF", "I;32BS": "I;32NS", "I;16BS": "I;16NS"}  # the machine's


def _check_read_rightly(image: Image.Image) -> None:
    """Raise a ValueError where Pillow would give wrong pixels in silence, and say what is odd."""
    tags, clear = getattr(image, "tag_v2", {}), image.info.get("transparency")  # of a TIFF; a PNG
    bits, planes = tags.get(258, ()), tags.get(284) == 2
    if planes and tags.get(259) == 1 and 16 in bits:
        raise ValueError("its colours of 16 bits lie in planes, which only 8 bits are read from")
    if planes and image.mode in ("LA", "La", "PA"):
        raise ValueError("its opacity lies in a plane of its own, which is not read")
    if isinstance(clear, tuple) and (max(clear) > 255 or _raw_mode(image) == "RGB;16B"):
        raise ValueError("a colour of 16 bits is transparent, which is read of 8 bits only")
    if tags.get(339) == (2,) and image.mode == "L" and image.getextrema()[1] > 127:
        raise ValueError("its 8 bits have a sign, and some are negative")
    if image.mode == "P" and 0 < max(tags.get(320, [0])) < 256:
        raise ValueError("its palette is written in 8 bits in place of 16, and would be black")
    if image.format == "JPEG2000":
        _check_jpeg_2000(image)
    if tags.get(254) in (1, 3):
        small = "{} x {}".format(*image.size)
        said = f"The TIFF begins with a small copy of another picture, {small} pixels: it is read."
        warn_outside(said, UserWarning)


def _check_jpeg_2000(image: Image.Image) -> None:
    """Pillow brings what has not 8 bits to 8: the brightest come out as 0, or 1 bit as 128."""
    if image.mode == "I;16" or not image.tile:
        return
    image.fp.seek(0)
    _, begun, size = image.fp.read().partition(b"\xff\x4f\xff\x51")
    bits = {one % 128 + 1 for one in size[38 : 38 + 3 * size[37] : 3]} if begun else {8}
    least = np.ravel(image.getextrema())[::2]  # of each channel
    if min(bits) < 8 or (max(bits) > 8 and 0 in least):
        raise ValueError(f"its colours have {max(bits)} bits, of which only 8 are read rightly")


def _deep_grey(image: Image.Image, stored: Image.Image) -> np.ndarray:
    """Grey of more than 8 bits, H x W; `stored` is the image as it was opened."""
    tags = getattr(stored, "tag_v2", {})
    values = np.asarray(image)
    # 16 bits may come in 32; of a PGM they always do
    wide = image.mode == "I" and (stored.format == "PPM" or 255 < values.max() <= 65535)
    if image.mode.startswith("I;16") or wide:
        values = values.astype(np.uint16 if values.min() >= 0 else values.dtype)
    clear = image.info.get("transparency")  # the one level that is transparent, in a PNG
    if isinstance(clear, int) and values.dtype == np.uint16:
        values = np.where(values == clear, np.uint16(65535), values)
    if tags.get(258) == (12,):
        return values / 4095
    if tags.get(262) != 0:
        return values
    # of a TIFF: zero is white, which Pillow forgets here
    white = _white(values)
    return white - values if values.dtype == np.uint16 else 1 - values / white


# The first bytes of the formats that Pillow refuses by what is inside
_BEGINS: dict[str, Callable[[bytes], Any]] = {
    "TIFF": lambda begin: begin[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "PNG": lambda begin: begin.startswith(b"\x89PNG"),
    "JPEG": lambda begin: begin.startswith(b"\xff\xd8"),
    "GIF": lambda begin: begin.startswith(b"GIF8"),
    "WEBP": lambda begin: begin[:4] == b"RIFF" and begin[8:12] == b"WEBP",
}


def _not_opened(content) -> str:
    begin = bytes(content[:16])
    kind = next((name for name, fits in _BEGINS.items() if fits(begin)), None)
    if kind == "TIFF":
        return "a TIFF, but damaged or with pixels that are not read here, such as float RGB"
    if kind is not None:
        return f"it begins as a {kind}, but is damaged or of a kind that is not read here"
    others = "a web page, a phone's HEIC or a path in bytes will not do"
    return f"not one of {', '.join(FORMATS)}; {others}"
