"""Distortions: TID2013's levels by PSNR, everywhere or in a region."""

import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from course_utils import load_photo
from course_utils.quality import KINDS, LEVELS, DistortionWarning, distort, load_assessor
from course_utils.quality.distort import psnr


@pytest.fixture(scope="module")
def photo():
    return load_photo("coffee").crop((200, 80, 360, 208))


def test_psnr_by_hand():
    """Errors 3 and 4 in four values: mean squared error 25/4, so 10 log10(65025 / 6.25) dB."""
    assert psnr(np.array([3, 4, 0, 0]), np.zeros(4)) == pytest.approx(40.1720, abs=1e-4)


def test_no_difference_is_infinite_psnr():
    assert psnr(np.ones(3), np.ones(3)) == float("inf")


@pytest.mark.parametrize("kind", KINDS)
def test_every_level_meets_its_psnr_or_says_that_it_does_not(photo, kind):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        made = [distort(photo, kind, level) for level in LEVELS]
    for one in made:
        real = psnr(np.asarray(one.image), np.asarray(photo))
        assert one.psnr == pytest.approx(real)
        assert one.reached == (abs(real - LEVELS[one.level]) <= 0.5)
    assert len(told) == sum(not one.reached for one in made)
    assert sum(one.reached for one in made) >= 4  # coffee leaves at most one level out of reach


def test_denoising_takes_the_noise_out_at_the_edge_as_well():
    """scipy's filter leaves it in the outer 3 pixels, four times what is left inside."""
    flat = np.full((96, 96, 3), 128, np.float32)
    left = KINDS["denoising"].apply(flat, 20, np.random.default_rng(0)) - 128
    edge = np.concatenate([left[:3], left[-3:]])
    assert left.shape == flat.shape and edge.std() < 1.5 * left[8:-8, 8:-8].std()


@pytest.mark.parametrize("kind", ["blur", "white noise"])
def test_each_of_the_five_levels_is_a_stronger_fault_than_the_one_before(photo, kind):
    """33 dB to 21 dB, as of TID2013."""
    made = [distort(photo, kind, level) for level in (1, 2, 3, 4, 5)]
    assert list(LEVELS) == [1, 2, 3, 4, 5] and all(one.reached for one in made)
    assert [round(one.psnr / 3) * 3 for one in made] == [33, 30, 27, 24, 21]
    strengths = [one.strength for one in made]
    assert strengths == sorted(strengths) and len(set(strengths)) == 5


def test_out_of_reach_is_said_in_a_sentence():
    """A photo of one grey has no contrast to lose."""
    flat = Image.new("RGB", (64, 64), (90, 90, 90))
    with pytest.warns(
        DistortionWarning, match=r"contrast, level 3: PSNR inf dB, though level 3 asks for 27 dB"
    ):
        assert not distort(flat, "contrast", 3).reached


def test_a_rectangle_leaves_the_rest_byte_identical(photo):
    box = (40, 30, 140, 110)
    made = distort(photo, "jpeg 2000", 5, region=box)
    before, after = np.asarray(photo), np.asarray(made.image)
    outside = np.ones(before.shape[:2], bool)
    outside[30:110, 40:140] = False
    assert (before[outside] == after[outside]).all()
    assert psnr(after[~outside], before[~outside]) == pytest.approx(21, abs=0.5)


def test_a_mask_leaves_the_rest_byte_identical(photo):
    mask = np.zeros((128, 160), bool)
    mask[np.add.outer(np.arange(128), np.arange(160)) < 150] = True
    after = np.asarray(distort(photo, "white noise", 4, region=mask).image)
    assert (after[~mask] == np.asarray(photo)[~mask]).all()
    assert (after[mask] != np.asarray(photo)[mask]).any()


def test_the_same_seed_gives_the_same_picture_and_another_does_not(photo):
    first, again, other = (distort(photo, "impulse noise", 3, seed=s).image for s in (1, 1, 2))
    assert first.tobytes() == again.tobytes() != other.tobytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("jpg", 3), "Did you mean 'jpeg'"),
        (("jpeg", 6), "levels are 1 .weak. to 5"),
        (("jpeg", 3, (10, 10, 400, 50)), "not a rectangle .* inside a photo of 160 x 128"),
        (("jpeg", 3, (50, 10, 50, 50)), "not a rectangle"),
        (("jpeg", 3, np.zeros((128, 160), bool)), "not all of them False"),
        (("jpeg", 3, np.ones((160, 128), bool)), "must be 128 x 160 booleans"),
        (("jpeg", 3, None, None), "seed=None must be a whole number from 0"),
        (("jpeg", 3, None, -1), "seed=-1 must"),
    ],
)
def test_wrong_arguments_are_named(photo, arguments, words):
    with pytest.raises(ValueError, match=words):
        distort(photo, *arguments)


def test_every_kind_of_picture_becomes_rgb():
    grey = load_photo("camera").convert("L").crop((0, 0, 96, 96))
    assert distort(grey, "white noise", 2).image.mode == "RGB"


def test_an_array_is_distorted_as_the_picture_that_it_is(photo):
    first, second = (distort(each, "jpeg", 3).image for each in (photo, np.asarray(photo)))
    assert first.tobytes() == second.tobytes()


def test_what_is_no_picture_is_refused_in_a_sentence():
    with pytest.raises(
        TypeError, match="A picture is a PIL image, an array or a tensor, not a str"
    ):
        distort("chelsea", "jpeg", 3)


@pytest.mark.parametrize(
    "region", [(0, 0, 9), (0.0, 0.0, 9.0, 9.0), "face", 3, np.array([0.0, 0, 9, 9]), {}]
)
def test_a_region_of_another_kind_is_refused_in_a_sentence(region):
    with pytest.raises(ValueError, match=r"A region is \(left, top, right, bottom\) in whole"):
        distort(np.zeros((16, 16), np.uint8), "blur", 3, region)


def test_a_level_from_a_tensor_is_that_level(photo):
    made = distort(photo, "blur", torch.tensor(3))
    assert made.level == 3 and made.target == LEVELS[3]


@pytest.mark.parametrize("kind, level", [(["blur"], 3), ("blur", [3]), ("blur", {})])
def test_one_kind_and_one_level(kind, level):
    with pytest.raises(ValueError, match="There is no distortion|does not exist"):
        distort(np.zeros((16, 16), np.uint8), kind, level)


def test_a_region_may_be_a_tensor():
    photo = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    mask = np.zeros((16, 16), bool)
    mask[2:9, 3:12] = True
    by_mask = distort(photo, "blur", 3, mask).image
    for region in (torch.from_numpy(mask), torch.tensor([3, 2, 12, 9]), np.array([3, 2, 12, 9])):
        assert np.array_equal(distort(photo, "blur", 3, region).image, by_mask)


@pytest.mark.parametrize("patience, shown", [(0, True), (60, False)])
def test_what_takes_long_shows_how_far_it_is(photo, monkeypatch, capsys, patience, shown):
    for name in ("distort", "assessor"):
        monkeypatch.setattr(sys.modules[f"course_utils.quality.{name}"], "PATIENCE", patience)
    distort(photo, "blur", 3)
    assert ("Gaussian blur" in capsys.readouterr().err) == shown
    load_assessor(reference=False).explain(photo)
    assert ("patches" in capsys.readouterr().err) == shown
