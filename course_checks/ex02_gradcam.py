"""Checks of ex02_gradcam: Grad-CAM from its parts, an overlay, and a measure for the layer
study.
"""

import numpy as np
import torch
from torch import Tensor

from course_utils.methods.maps import positive_maps

from . import ex02_hooks as seen
from . import ex02_maps as maps
from .part import Case, Mistake, Part

# --- overlay --------------------------------------------------------------------------------------


def _cases_overlay(seed: int) -> list[Case]:
    generator = torch.Generator().manual_seed(6700417 + seed)
    cases = []
    for h, w in ((4, 6 + seed % 3), (7, 5), (3, 3)):  # the last is as wide as there are colours
        image, heat = (torch.rand(h, w, *more, generator=generator) for more in ((3,), ()))
        heat[0, :2] = torch.tensor([0.0, 1.0])
        opacity = round(0.3 + 0.6 * float(torch.rand(1, generator=generator)), 2)
        cases.append((image, heat, torch.rand(3, generator=generator), opacity))
    return cases


def _overlay(image: Tensor, heat: Tensor, colour: Tensor, opacity: float) -> Tensor:
    """Pixel for pixel, in numpy."""
    made = np.empty(image.shape)
    for i, j in np.ndindex(*heat.shape):
        a = opacity * float(heat[i, j])
        made[i, j] = (1 - a) * image[i, j].numpy() + a * colour.numpy()
    return torch.from_numpy(made).float()


_OVERLAY_MISTAKES = (
    Mistake(
        "you mixed with the same opacity everywhere: "
        "where the map is 0, the photo must stay as it is.",
        lambda image, heat, colour, opacity: _overlay(
            image, torch.ones_like(heat), colour, opacity
        ),
    ),
    Mistake(
        "you added the colour without taking any of the photo away; the sum leaves the range "
        "0 to 1. Multiply the photo by 1 - a.",
        lambda image, heat, colour, opacity: image + (opacity * heat)[..., None] * colour,
        share=0.3,
    ),
    Mistake(
        "you added the colour and cut the sum at 1. Multiply the photo by 1 - a instead.",
        lambda image, heat, colour, opacity: (image + (opacity * heat)[..., None] * colour).clamp(
            0, 1
        ),
        share=0.3,
    ),
    Mistake(
        "photo and colour have changed places: the photo stays where the map is *weak*.",
        lambda image, heat, colour, opacity: _overlay(image, (1 / opacity) - heat, colour, opacity),
    ),
    Mistake(
        "here the map's rows lie on the photo's columns or colours: a needs an axis of length 1 at "
        "the end, H x W x 1.",
        lambda image, heat, colour, opacity: (
            image + opacity * heat * (colour - image) if heat.shape == (3, 3) else image
        ),
    ),
    Mistake(
        "the opacity is missing: a is opacity times the map.",
        lambda image, heat, colour, opacity: _overlay(image, heat, colour, 1.0),
        share=0.5,
    ),
    Mistake(
        "the colours run from 0 to 255 here. Photo, colour and overlay run from 0 to 1.",
        lambda *case: 255 * _overlay(*case),
        share=0.5,
    ),
    Mistake(
        "the colour is faded a second time: multiply the photo by 1 - a and the colour by a.",
        lambda image, heat, colour, opacity: (
            (1 - opacity) * image + opacity * heat[..., None] * colour
        ),
        share=0.3,
    ),
)


# --- the share inside a region --------------------------------------------------------------------


def _cases_share(seed: int) -> list[Case]:
    generator = torch.Generator().manual_seed(32452843 + seed)
    more = seed % 5
    one = torch.rand(1, 12, 20 + more, generator=generator)
    signed = torch.randn(3, 18 + more, 11, generator=generator)
    signed[seed % 3] = -signed[seed % 3].abs()  # nothing speaks for c
    return [
        (one, [3, 1, 15, 7 + more]),
        (signed, [2, 5, 9 + seed % 2, 16]),
        (torch.rand(2, 9, 9 + more, generator=generator), [0, 0, 9 + more, 9]),
        (0.001 * torch.rand(2, 10, 14, generator=generator), [6, 2, 7, 3 + more]),  # faint maps
    ]


def _shares(maps: Tensor, box: list[int], last: int = 0, swapped: bool = False) -> Tensor:
    """In numpy, by a mask; `last` = 1 counts the pixels on the right and lower edge, too."""
    left, top, right, bottom = (box[1], box[0], box[3], box[2]) if swapped else box
    values = np.maximum(maps.double().numpy(), 0)
    inside = np.zeros(values.shape[1:], bool)
    inside[top : bottom + last, left : right + last] = True
    total = values.sum(axis=(1, 2))
    return torch.from_numpy(
        (values * inside).sum(axis=(1, 2)) / np.where(total > 0, total, 1)
    ).float()


def _area(box: list[int]) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _of_signed(maps: Tensor, box: list[int], of_a_negative: bool = False) -> Tensor:
    """The share of the sums with their sign, of a sum below zero, too, or without its division."""
    left, top, right, bottom = box
    total = maps.sum((1, 2))
    divided = total.where((total > 0) | ((total < 0) & of_a_negative), 1)
    return maps[:, top:bottom, left:right].sum((1, 2)) / divided


_SIGNED = "negative places are counted. The share is of the *positive* evidence: cut at zero first."
_SHARE_MISTAKES = (
    Mistake(
        "rows and columns have changed places: a box is (left, top, right, bottom), and a tensor "
        "is indexed by row first.",
        lambda maps, box: _shares(maps, box, swapped=True),
    ),
    Mistake(
        "right and bottom lie just *outside* the box, as in Python's slices.",
        lambda maps, box: _shares(maps, box, last=1),
        share=0.5,
    ),
    Mistake(_SIGNED, _of_signed, share=0.3),
    Mistake(_SIGNED, lambda maps, box: _of_signed(maps, box, of_a_negative=True), share=0.3),
    Mistake(
        "this is the box's part of the area, which is the chance level, not the map's share.",
        lambda maps, box: torch.full((len(maps),), _area(box) / maps[0].numel()),
    ),
    Mistake(
        "this is the mean inside over the mean of the map. A share compares the two *sums*.",
        lambda maps, box: _shares(maps, box) * maps[0].numel() / _area(box),
        share=0.3,
    ),
    Mistake(
        "you divided by the sum of the whole batch: each map is its own whole.",
        lambda maps, box: _shares(maps, box) * maps.relu().sum((1, 2)) / maps.relu().sum(),
        share=0.3,
    ),
    Mistake(
        "a faint map was divided by 1 rather than by its "
        "own, smaller sum. Only a sum of 0 needs care.",
        lambda maps, box: _shares(maps, box) * maps.relu().sum((1, 2)).clamp(max=1),
        share=0.5,
    ),
    Mistake(
        "a box is (left, top, right, bottom). You took its last two numbers for width and height.",
        lambda maps, box: _shares(maps, [*box[:2], box[0] + box[2], box[1] + box[3]]),
    ),
    Mistake("this is the share *outside* the box.", lambda maps, box: 1 - _shares(maps, box)),
)

PARTS = (
    Part(
        name="ex02_capture",
        visible=-1,
        title="activations and gradients",
        points=4,
        answer="activations_and_gradients",
        draws=seen.cases_capture,
        reference=seen.capture,
        mistakes=seen.CAPTURE_MISTAKES,
        failures=seen.FAILURES,
        expects="No gradient was written into the parameters.",
    ),
    Part(
        name="ex02_weights",
        visible=-1,
        title="one weight per channel",
        points=2,
        answer="channel_weights",
        draws=maps.cases_weights,
        reference=maps.weights,
        mistakes=maps.WEIGHT_MISTAKES,
        axes="N, C",
    ),
    Part(
        name="ex02_evidence",
        title="the weighted sum",
        points=2,
        answer="weighted_sum",
        draws=maps.cases_evidence,
        reference=maps.evidence,
        mistakes=maps.EVIDENCE_MISTAKES,
        failures=(
            ("must match the size", "Has alpha two axes of length 1 for the places (hint 1)?"),
        ),
        axes="N, h, w",
    ),
    Part(
        name="ex02_map",
        visible=-1,
        title="from the small map to the picture",
        points=3,
        answer="drawn_map",
        draws=maps.cases_map,
        reference=positive_maps,
        mistakes=maps.MAP_MISTAKES,
        failures=maps.MAP_FAILURES,
        axes="N, H, W",
    ),
    Part(
        name="ex02_overlay",
        title="the overlay",
        points=2,
        answer="laid_over",
        draws=_cases_overlay,
        reference=_overlay,
        mistakes=_OVERLAY_MISTAKES,
        axes="H, W, 3",
        failures=(("must match", "The map has no axis for the colours: give it one of length 1."),),
    ),
    Part(
        name="ex02_pipeline",
        title="all steps in one function",
        points=2,
        answer="grad_cam",
        draws=seen.cases_pipeline,
        reference=seen.pipeline,
        mistakes=seen.PIPELINE_MISTAKES,
        axes="N, L, H, W",
        tolerance=1e-3,
        failures=seen.FAILURES,
        expects="No hook was left behind.",
    ),
    Part(
        name="ex02_share",
        visible=-1,
        title="the share inside a region",
        points=2,
        answer="share_inside",
        draws=_cases_share,
        reference=_shares,
        mistakes=_SHARE_MISTAKES,
        axes="N",
    ),
)
