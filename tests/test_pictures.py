"""One way in: whatever kind of picture is given, and wherever, the same pixels are seen."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from course_utils import load_photo
from course_utils.figures import overlay
from course_utils.networks.pictures import as_pixels, as_rgb
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


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(("picture", "seen"), KINDS.values(), ids=KINDS)
def test_every_kind_of_picture_is_seen_alike_by_everybody(picture, seen, way):
    found = way(picture)
    assert found.shape == (*seen.shape[:2], 3)
    np.testing.assert_allclose(found, np.broadcast_to(seen, found.shape), atol=0.01)


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
