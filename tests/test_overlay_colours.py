"""The overlay's colours, measured: more evidence is lighter on every photo, for every reader's
eyes.
"""

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from course_utils.figures.overlays import SIGNED, overlay, signed_overlay

# What is seen without one kind of cones: G. M. Machado, M. M. Oliveira, L. A. F. Fernandes, IEEE
# TVCG 15(6), 2009, severity 1, on linear RGB
EYES = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
STEPS = np.linspace(0, 1, 11)[None]


def seen(colours, eyes):
    """CIELAB of colours, n x 3 sRGB in [0, 1], through these eyes."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    linear = (linear @ EYES[eyes].T).clip(0, 1)
    back = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return rgb2lab(back[None])[0]


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("ground", np.linspace(0, 1, 9))
def test_a_tenth_more_evidence_is_lighter_and_told_apart(ground, eyes):
    lab = seen(overlay(np.full((1, 11), ground), STEPS, line=False)[0], eyes)
    assert (np.diff(lab[:, 0]) > 0).all()
    assert deltaE_ciede2000(lab[:-1], lab[1:]).min() >= 3


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("ground", [0.0, 0.5, 1.0])
def test_the_strongest_evidence_stands_out_on_every_photo(ground, eyes):
    lab = seen(overlay(np.full((1, 11), ground), STEPS, line=False)[0], eyes)
    assert lab[-1, 0] - lab[0, 0] > 20


@pytest.mark.parametrize("eyes", EYES)
def test_signed_colours_are_told_apart_and_lightest_at_zero(eyes):
    lab = seen(SIGNED(np.linspace(0, 1, 11))[:, :3], eyes)
    assert (np.diff(lab[:6, 0]) > 0).all() and (np.diff(lab[5:, 0]) < 0).all()
    assert deltaE_ciede2000(lab[:-1], lab[1:]).min() >= 3
    assert deltaE_ciede2000(lab[0], lab[-1]) > 20


def test_a_photo_stays_visible_beneath_the_strongest_signed_evidence():
    """Black beside white: at least 15 apart in lightness, whatever lies over them."""
    photo = np.array([[0.0, 1.0]])
    for value in (-1.0, 1.0):
        dark, light = seen(signed_overlay(photo, np.full((1, 2), value))[0], "normal")[:, 0]
        assert light - dark > 15
