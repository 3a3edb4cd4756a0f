"""One way in: whatever kind of picture is given, and wherever, the same pixels are seen."""

import base64
import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from course_utils import load_photo
from course_utils.figures import overlay
from course_utils.networks.pictures import FORMATS, as_pixels, as_rgb
from course_utils.networks.preprocess import Preprocess
from course_utils.quality import distort
from course_utils.quality.assessor import as_tensor

BYTES = np.random.default_rng(0).integers(0, 256, (90, 120, 3)).astype(np.uint8)
GREY = BYTES[..., 0]


def content(image, kind="PNG", **options):
    """A file's bytes, as an upload hands them on."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def stored(image, kind="PNG", **options):
    """Written to a file and opened again, not yet read: as a user hands it on."""
    return Image.open(io.BytesIO(content(image, kind, **options)))


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return stored(Image.fromarray(BYTES), exif=exif)


def clear():
    """Three quarters transparent black, on white: 255 - 255 / 4."""
    image = Image.new("RGBA", (120, 90), (0, 0, 0, 64))
    return stored(image)


# picture, and the RGB bytes that everybody must see
KINDS = {
    "16-bit grey": (stored(Image.fromarray(GREY.astype(np.uint16) * 257)), GREY[..., None]),
    "EXIF": (turned(), np.rot90(BYTES, -1)),
    "transparency": (clear(), np.full((90, 120, 1), 191)),
    "palette": (Image.fromarray(GREY).convert("P"), GREY[..., None]),
    "float": (Image.fromarray(GREY.astype(np.float32) / 255), GREY[..., None]),
    "a file's content": (content(Image.fromarray(BYTES)), BYTES),
    "uint8": (BYTES, BYTES),
    "whole numbers": (BYTES.astype(np.int64), BYTES),
    "floats to 255": (BYTES.astype(np.float32), BYTES),
    "floats to 1": (BYTES / 255, BYTES),
    "uint16": (BYTES.astype(np.uint16) * 257, BYTES),
    "int32 to 65535": (BYTES.astype(np.int32) * 257, BYTES),
    "grey": (GREY, GREY[..., None]),
    "H x W x 1": (GREY[..., None], GREY[..., None]),
    "RGBA, opaque": (np.dstack([BYTES, np.full_like(GREY, 255)]), BYTES),
    "RGBA, clear": (np.dstack([BYTES, np.zeros_like(GREY)]), np.full((90, 120, 1), 255)),
    "booleans": (GREY > 99, 255 * (GREY > 99)[..., None]),
    "tensor": (torch.from_numpy(BYTES), BYTES),
    "float16 tensor": (torch.from_numpy(BYTES / 255).half(), BYTES),
    "objects": (BYTES.astype(object), BYTES),
    "longdouble": ((BYTES / 255).astype(np.longdouble), BYTES),
    "needs a gradient": (torch.tensor(BYTES / 255, requires_grad=True), BYTES),
}
PLAIN = Preprocess(90, 90, (0, 0, 0), (1, 1, 1))
WAYS = {
    "as_rgb": lambda picture: np.asarray(as_rgb(picture)),
    "as_pixels": lambda picture: np.rint(255 * as_pixels(picture)),
    "load_photo": lambda picture: np.asarray(load_photo(picture)),
    "Assessor": lambda picture: 255 * as_tensor(picture).movedim(0, -1).numpy(),
    "overlay": lambda p: np.rint(255 * overlay(p, np.zeros(as_pixels(p).shape[:2]), 0)),
}


@pytest.mark.filterwarnings("ignore:The picture is transparent all over")
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(("picture", "seen"), KINDS.values(), ids=KINDS)
def test_every_kind_of_picture_is_seen_alike_by_everybody(picture, seen, way):
    found = way(picture)
    assert found.shape == (*seen.shape[:2], 3)
    np.testing.assert_allclose(found, np.broadcast_to(seen, found.shape), atol=0.01)


@pytest.mark.filterwarnings("ignore:The picture is transparent all over")
@pytest.mark.filterwarnings("ignore::course_utils.quality.DistortionWarning")
@pytest.mark.parametrize(("picture", "seen"), KINDS.values(), ids=KINDS)
def test_preprocess_and_distort_see_what_load_photo_sees(picture, seen):
    photo = load_photo(picture)
    assert torch.equal(PLAIN(picture), PLAIN(photo))
    if photo.width == 120:
        first, second = (distort(p, "mean shift", 5).image for p in (picture, photo))
        assert first.tobytes() == second.tobytes()


def test_bfloat16_has_eight_bits_and_is_read_as_near_as_they_allow():
    found = as_pixels(torch.from_numpy(BYTES / 255).bfloat16())
    np.testing.assert_allclose(found, BYTES / 255, atol=1 / 256)


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (np.zeros((3, 90, 120)), r"is 3 x 90 x 120: .movedim\(0, -1\) .* channels last"),
        (np.zeros((2, 90, 120, 3)), "2 x 90 x 120 x 3, several at once: pick one"),
        (np.zeros((90, 120, 5)), "H x W x 3, but this is 90 x 120 x 5"),
        (np.zeros((0, 120, 3)), "0 x 120 x 3: it is empty"),
        (BYTES / 255 - 0.5, "from -0.5 to 0.5, so white is unknown; .*preprocess.show"),
        (BYTES / 255 * 1.02, "from 0 to 1.02, not from 0 to 1: clip it"),
        (BYTES.astype(int) - 1, "from -1 to 254, so white is unknown"),
        (BYTES.astype(int) // 128, "from 0 to 1, so white may be 1 or 255: give floats"),
        (BYTES.astype(int) + 50, "from 50 to 305, so white may be 255 or 65535: clip it"),
        (BYTES * 1.2, "from 0 to 306, so white may be 255 or 65535: clip it to 0 to 255"),
        (BYTES * np.nan, "hold NaN or infinity: np.nan_to_num"),
        (np.full((9, 9), "a", object), "real numbers, but these are object"),
        (BYTES.astype(complex), "real numbers, but these are complex128"),
        (BYTES * 1e6, "so white is unknown"),
        (np.dstack([BYTES, GREY > 99]), "opacity, the last channel, to 1 only.*by 255"),
        (np.dstack([BYTES, GREY > 99]).astype(float), "opacity, the last channel, to 1 only"),
        (Image.new("RGB", (0, 4)), "it has no pixels"),
    ],
)
@pytest.mark.parametrize("way", [as_rgb, as_pixels, PLAIN, load_photo])
def test_numbers_that_are_no_picture_are_refused_with_the_cause(picture, words, way):
    with pytest.raises(ValueError, match=words) as error:
        way(picture)
    assert "\n" not in str(error.value) and str(error.value).endswith(".")


@pytest.mark.parametrize("picture", [None, 3, "chelsea", {"image": 1}])
def test_what_is_no_picture_at_all_is_a_typeerror(picture):
    with pytest.raises(TypeError, match="A picture is a PIL image, an array or a tensor, not a"):
        as_pixels(picture)


@pytest.mark.parametrize(
    "pack",
    [
        lambda t: t.to_sparse(),
        lambda t: torch._neg_view(-t),
        lambda t: torch.complex(t, -t).conj().imag,
        lambda t: t.to_mkldnn(),
    ],
)
def test_a_tensor_is_read_however_it_lies_in_memory(pack):
    pixels = torch.from_numpy(BYTES / 255).float()
    np.testing.assert_array_equal(np.asarray(as_rgb(pack(pixels))), BYTES)


def test_a_tensor_without_numbers_is_named():
    with pytest.raises(ValueError, match="on the device 'meta'"):
        as_rgb(torch.empty(4, 4, 3, device="meta"))


def test_a_longdouble_can_be_drawn():
    assert as_pixels((BYTES / 255).astype(np.longdouble)).dtype == np.float64


def test_float16_up_to_255_is_read_without_a_warning(recwarn):
    np.testing.assert_array_equal(np.asarray(as_rgb(BYTES.astype(np.float16))), BYTES)
    assert not recwarn.list


def test_bytes_with_a_sign_are_refused_without_a_warning():
    with pytest.raises(ValueError, match="run from -128 to 127, so white is unknown"):
        as_pixels(np.array([[-128, 127]], np.int8))


def test_infinite_values_are_refused_without_a_warning():
    with pytest.raises(ValueError, match="hold NaN or infinity"):
        as_pixels(np.full((2, 2), np.inf))


def test_masked_pixels_are_not_seen_in_silence():
    masked = np.ma.masked_array(GREY, GREY > 200)
    with pytest.raises(ValueError, match=r"are masked: \.filled\(0\)"):
        as_pixels(masked)
    assert np.array_equal(as_pixels(masked.filled(0)), as_pixels(np.where(GREY > 200, 0, GREY)))


def test_of_nested_tensors_one_is_to_be_picked():
    nested = torch.nested.nested_tensor([torch.zeros(8, 8, 3)], layout=torch.jagged)
    with pytest.raises(ValueError, match=r"pick one, \.unbind\(\)\[0\]"):
        as_pixels(nested)


@pytest.mark.parametrize(
    ("error", "words"),
    [(MemoryError(), "not memory enough.*make it smaller"), (AssertionError(), "AssertionError")],
)
def test_an_error_without_words_is_put_into_some(error, words, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(ValueError, match=rf"cannot be read as a picture \(.*{words}"):
        as_rgb(b"any")


@pytest.mark.parametrize("picture", ["cat.jpg", io.BytesIO()])
def test_a_file_is_opened_by_load_photo(picture):
    with pytest.raises(TypeError, match=r"load_photo\(\.\.\.\) reads a file"):
        as_pixels(picture)


def test_a_long_text_that_is_no_path_is_said_in_short():
    with pytest.raises(OSError) as error:
        load_photo("a" * 5000)
    assert len(str(error.value)) < 200


def test_of_what_holds_a_picture_it_is_asked_for():
    with pytest.raises(TypeError, match=r"not a Distorted\. It holds one: \.image"):
        as_pixels(distort(BYTES, "blur", 3))


NOT, DEFLATE = 1, 8  # a TIFF's compressions

# --- files whose pixels Pillow alone would read wrongly, in silence -------------------------------


def png(rows, bits, colour, clear):
    """A PNG file written by hand: rows of bytes, bits a sample, the kind of colour, its key."""

    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", 2, len(rows), bits, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = [(b"IHDR", head), (b"tRNS", clear), (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks)


def tiff(strips, width, height, photometric, compression, bits=16, order="<", more=None):
    """A TIFF file written by hand, from its planes' bytes: one strip for each.

    `more` are further tags, each a list of numbers.
    """
    if compression == DEFLATE:
        strips = [zlib.compress(strip) for strip in strips]
    n = len(strips)
    sizes = [len(strip) for strip in strips]
    lists = {258: [bits] * n, 273: [8 + sum(sizes[:i]) for i in range(n)], 279: sizes}
    numbers = {256: width, 257: height, 259: compression, 262: photometric, 277: n, 278: height}
    tags = lists | {key: [one] for key, one in (numbers | {284: 2 if n > 1 else 1}).items()}
    tags |= more or {}
    begin = 8 + sum(sizes)
    after, entries, rest = begin + 2 + 12 * len(tags) + 4, b"", b""
    for key, values in sorted(tags.items()):
        data = struct.pack(f"{order}{len(values)}I", *values)
        if len(values) > 1:
            data, rest = struct.pack(f"{order}I", after + len(rest)), rest + data
        entries += struct.pack(f"{order}HHI", key, 4, len(values)) + data
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    head = mark + struct.pack(f"{order}I", begin) + b"".join(strips)
    return head + struct.pack(f"{order}H", len(tags)) + entries + b"\0" * 4 + rest


def first_channel(content):
    return np.asarray(as_rgb(content))[..., 0].tolist()


@pytest.mark.filterwarnings("ignore:The picture.s brightest value")
@pytest.mark.parametrize("highest", [0, 1, 100, 255, 256, 65535])
def test_a_pgm_of_16_bits_stays_as_dark_as_it_is(highest):
    content = b"P5\n2 1\n65535\n" + struct.pack(">HH", 0, highest)
    assert first_channel(content) == [[0, round(highest / 257)]]


@pytest.mark.parametrize(("bits", "row"), [(2, 0b01_11_0000), (4, 0b0001_1111)])
def test_a_transparent_grey_of_few_bits_is_laid_on_white(bits, row):
    # the left pixel is 1 and transparent, the right one is white
    assert first_channel(png([bytes([row])], bits, 0, b"\0\1")) == [[255, 255]]
    left = 255 // (2**bits - 1)
    assert first_channel(png([bytes([row])], bits, 0, b"\0\2")) == [[left, 255]]


@pytest.mark.parametrize("clear", [(0, 0, 0), (1000, 2000, 3000)])
def test_a_transparent_colour_of_16_bits_is_not_drawn_as_opaque(clear):
    content = png(
        [struct.pack(">6H", 1000, 2000, 3000, 0, 0, 1)], 16, 2, struct.pack(">3H", *clear)
    )
    for picture in (content, Image.open(io.BytesIO(content))):
        with pytest.raises(ValueError, match="a colour of 16 bits is transparent"):
            as_rgb(picture)


@pytest.mark.parametrize("compression", [NOT, DEFLATE])
@pytest.mark.parametrize(("zero_is", "seen"), [("white", [255, 254, 0]), ("black", [0, 1, 255])])
def test_a_tiff_of_16_bits_whose_zero_is_white_is_no_negative(compression, zero_is, seen):
    row = struct.pack("<3H", 0, 257, 65535)
    content = tiff([row], 3, 1, ["white", "black"].index(zero_is), compression)
    assert first_channel(content) == [seen]


def test_planes_of_16_bits_are_read_rightly_or_not_at_all():
    planes = np.arange(12, dtype="<u2").reshape(3, 2, 2) * 257
    strips, rgb = [plane.tobytes() for plane in planes], 2
    packed = as_rgb(tiff(strips, 2, 2, rgb, DEFLATE))
    np.testing.assert_array_equal(np.asarray(packed), np.moveaxis(planes // 257, 0, -1))
    with pytest.raises(ValueError, match="16 bits lie in planes"):
        as_rgb(tiff(strips, 2, 2, rgb, NOT))


def test_grey_of_16_bits_takes_no_more_memory_than_its_floats():
    image = Image.fromarray(np.zeros((1000, 1000), np.uint16))
    tracemalloc.start()
    try:
        as_rgb(image)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 20 * image.width * image.height  # three channels of floats would be 24


class Arrays:
    """What becomes an array of numpy, as those of JAX, TensorFlow and xarray do."""

    def __array__(self, dtype=None, copy=None):
        return BYTES


@pytest.mark.parametrize("picture", [Arrays(), memoryview(BYTES)])
def test_what_becomes_an_array_is_one(picture):
    np.testing.assert_array_equal(np.asarray(load_photo(picture)), BYTES)


@pytest.mark.parametrize(
    ("dtype", "high", "white"),
    [("uint16", 4000, 4095), ("int32", 1000, 1023), ("uint16", 255, 255), ("uint8", 1, 1)],
)
def test_a_picture_of_fewer_bits_than_its_type_is_not_dark_in_silence(dtype, high, white):
    values = np.array([[0, high]], dtype)
    with pytest.warns(UserWarning, match=f"brightest value is {high} of .* its white is {white},"):
        as_pixels(values)
    assert as_pixels(values / white).max() == high / white  # as the warning says


@pytest.mark.parametrize(
    "values", [np.zeros((2, 2), np.uint16), BYTES, BYTES.astype(np.uint16) * 257, np.ones((2, 2))]
)
def test_black_pictures_and_bright_ones_are_not_warned_of(values, recwarn):
    as_pixels(values)
    assert not recwarn.list


def test_numpys_word_is_a_name():
    assert load_photo(np.str_("coffee")).size == load_photo("coffee").size


FORMAT, FLOAT, SIGNED = 339, 3, 2  # of a TIFF's numbers


@pytest.mark.parametrize("white", [1, 255])
@pytest.mark.parametrize("compression", [NOT, DEFLATE])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("zero_is", "seen"), [("white", [255, 191, 0]), ("black", [0, 64, 255])])
def test_floats_of_a_tiff_are_read_in_their_order_and_not_inverted(
    white, compression, order, zero_is, seen
):
    row = np.array([0, white / 4, white], f"{order}f4").tobytes()
    zero = ["white", "black"].index(zero_is)
    content = tiff([row], 3, 1, zero, compression, 32, order, {FORMAT: [FLOAT]})
    assert first_channel(content) == [seen]


@pytest.mark.parametrize("compression", [NOT, DEFLATE])
@pytest.mark.parametrize(("dtype", "bits"), [(">i4", 32), (">i2", 16)])
def test_whole_numbers_of_a_big_endian_tiff_are_read_in_their_order(compression, dtype, bits):
    row = np.array([0, 3, 255], dtype).tobytes()
    content = tiff([row], 3, 1, 1, compression, bits, ">", {FORMAT: [SIGNED]})
    assert first_channel(content) == [[0, 3, 255]]


def test_the_white_of_12_bits_is_4095(recwarn):
    row = bytes.fromhex("000fff800111")  # two pixels in three bytes
    assert first_channel(tiff([row], 4, 1, 1, NOT, 12)) == [[0, 255, 128, 17]]
    assert not recwarn


def palette_tiff(largest):
    return tiff(
        [b"\0\1"], 2, 1, 3, NOT, 8, more={320: [*range(0, largest + 1, largest // 255)] * 3}
    )


def test_what_pillow_reads_wrongly_of_a_tiff_is_refused_by_its_cause():
    planes = [b"\0\x40", b"\xff\xff"]  # grey, opacity
    opacity = tiff(planes, 2, 1, 1, DEFLATE, 8, more={338: [2]})
    negative = tiff([b"\x01\xff"], 2, 1, 1, NOT, 8, more={FORMAT: [SIGNED]})
    for content, said in [
        (opacity, "opacity lies in a plane"),
        (negative, "some are negative"),
        (palette_tiff(255), "palette is written in 8 bits"),
    ]:
        with pytest.raises(ValueError, match=said):
            as_rgb(content)
    positive = tiff([b"\x01\x7f"], 2, 1, 1, NOT, 8, more={FORMAT: [SIGNED]})
    assert first_channel(positive) == [[1, 127]]
    assert first_channel(palette_tiff(65535)) == [[0, 1]]


def test_a_tiff_that_begins_with_a_small_copy_says_so():
    content = tiff([b"\0\x40"], 2, 1, 1, NOT, 8, more={254: [1]})
    with pytest.warns(UserWarning, match="a small copy of another picture, 2 x 1 pixels"):
        assert first_channel(content) == [[0, 64]]


# two pixels of 10 bits, 1023 and 512, by OpenJPEG (imagecodecs)
BRIGHT = (
    "/0//UQAvAAAAAAACAAAAAQAAAAAAAAAAAAAAAgAAAAEAAAAAAAAAAAADCQEBCQEBCQEB/1IADAAAAAEBAAQEAAH/XAAE"
)
BRIGHT += "QFD/kAAKAAAAAAAVAAH/k8/MCAQngID/2Q=="
LESS_BRIGHT = BRIGHT.replace("CAQn", "CAPV")  # 900 and 512


@pytest.mark.skipif("JPEG2000" not in FORMATS, reason="this Pillow reads no JPEG 2000")
def test_white_of_10_bits_in_a_jpeg_2000_is_not_read_as_black():
    seen = first_channel(base64.b64decode(LESS_BRIGHT))[0]
    assert np.abs(np.subtract(seen, [900 / 1023 * 255, 512 / 1023 * 255])).max() < 1
    with pytest.raises(ValueError, match="have 10 bits, of which only 8 are read rightly"):
        as_rgb(base64.b64decode(BRIGHT))


def exif(*entries):
    """EXIF of these entries: tag, kind of value, how many, four bytes."""
    head = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries))
    return head + b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries)


TURN = (274, 3, 1, b"\6\0\0\0")  # a quarter to the right


def lying(kind, data):
    """A picture of 2 x 1 pixels, red on the left, as a file with this EXIF."""
    picture, file = Image.new("RGB", (2, 1), "blue"), io.BytesIO()
    picture.putpixel((0, 0), (255, 0, 0))
    picture.save(file, kind, exif=data)
    return file.getvalue()


def test_a_picture_is_turned_whatever_else_its_exif_holds():
    odd = (271, 11, 1, struct.pack("<f", 1.0))  # the camera's maker, as a number
    turned = as_rgb(lying("PNG", exif(odd, TURN) + bytes(4)))
    assert turned.size == (1, 2)
    assert [turned.getpixel((0, y))[0] for y in (0, 1)] == [255, 0]
    assert as_rgb(turned).size == (1, 2)  # not once more


@pytest.mark.parametrize("data", [b"garbage", b"Exif\0\0MM\0*"])
def test_damaged_exif_does_not_keep_a_whole_picture_from_being_read(data):
    with pytest.warns(UserWarning, match="EXIF is damaged"):
        assert as_rgb(lying("PNG", data)).size == (2, 1)


@pytest.mark.parametrize("low", [-1e-3, -0.05])
def test_a_little_below_0_is_said_to_be_no_number_from_0_to_1(low):
    with pytest.raises(ValueError, match=r"not from 0 to 1: clip it"):
        as_pixels(np.array([[low, 1.0]]))


def test_bytes_of_a_file_in_an_array_are_told_how_to_be_read():
    with pytest.raises(ValueError, match=r"\.tobytes\(\) gives them as such"):
        as_rgb(np.frombuffer(content(Image.new("L", (2, 2))), np.uint8))


CLEAR = np.dstack([BYTES, np.zeros_like(GREY)])


@pytest.mark.parametrize("opacity", [0, 1])
def test_a_picture_that_is_transparent_all_over_is_not_white_in_silence(opacity):
    clear = np.dstack([BYTES, np.full_like(GREY, opacity)])
    for picture in (Image.fromarray(clear), content(Image.fromarray(clear)), clear / 255):
        with pytest.warns(UserWarning, match="transparent all over"):
            assert np.asarray(as_rgb(picture)).min() >= 254


def test_the_cure_for_a_transparent_picture_shows_its_colours(recwarn):
    shown = as_rgb(Image.fromarray(CLEAR).convert("RGBA").convert("RGB"))
    assert np.array_equal(np.asarray(shown), BYTES)
    as_rgb(np.dstack([BYTES, np.where(GREY == GREY[0, 0], 255, 0).astype(np.uint8)]))  # one is seen
    assert not recwarn


@pytest.mark.filterwarnings("ignore:The picture.s brightest value")
@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_dark_16_bits_are_dark_whatever_byte_comes_first(dtype):
    assert as_pixels(np.array([[0, 255]], dtype)).max() == 255 / 65535
