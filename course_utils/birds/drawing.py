"""`draw`: a bird, its parts' masks and its attributes, from a species and a seed."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
from PIL import Image

from . import anatomy
from .canvas import Canvas
from .scenery import draw_scenery
from .species import PARTS, attributes, check_parts

# one stream of random numbers per purpose: replacing a part never shifts the dice of another
_STREAMS = {"scene": 0, "pose": 1, "place": 2, "plumage": 3, "body": 4, "bill": 5, "legs": 6}


@dataclass(frozen=True)
class Bird:
    """A drawn bird.

    Attributes:
        image: the PIL picture, RGB, size x size.
        masks: dict from "body", "neck", "bill", "legs" to size x size booleans: the pixels that
            show mostly that part (visible ones only). A part left out has an empty mask.
        outline: size x size booleans: the pixels that show the bird at all (the parts and the
            head).
        attributes: dict from part to its value; None for a part left out.
        species: the species drawn from; with replaced parts the bird may be another one, or none.
        seed: with the same seed, pose, place, scene and tints are the same for every species.
    """

    image: Image.Image
    masks: dict[str, np.ndarray]
    outline: np.ndarray
    attributes: dict[str, str | None]
    species: str
    seed: int


def draw(species: str, seed: int, size: int = 128, **parts: str | None) -> Bird:
    """Draw a wading bird.

    Args:
        species: one of SPECIES.
        seed: a whole number >= 0; pose, size, place, side faced, tints and scene follow from it
            alone.
        size: side of the picture in pixels, at least 32.
        parts: values that replace the species' own, as in `bill="spatula"`; None leaves the part
            out. All else stays the same to the pixel: this is the true counterfactual image.

    Returns:
        A `Bird`: `.image`, `.masks`, `.outline`, `.attributes`.

    Raises:
        ValueError: an unknown species, part or value, a negative seed, or a size too small to show
            a bill.
    """
    own = attributes(species)
    check_parts(parts)
    if not isinstance(seed, Integral) or seed < 0:
        raise ValueError(
            f"seed={seed!r} is negative or no whole number; choose one from 0 upwards."
        )
    if not isinstance(size, Integral) or size < 32:
        raise ValueError(
            f"size={size!r} is too small to show a bill, or no whole number; choose 32 or more."
        )
    own.update(parts)
    dice = {name: np.random.default_rng([seed, key]) for name, key in _STREAMS.items()}
    canvas = Canvas(draw_scenery(dice["scene"], size), _placing(dice["place"]), (*PARTS, "head"))
    _draw_bird(canvas, own, dice)
    image = Image.fromarray((canvas.pixels * 255 + 0.5).astype(np.uint8))
    masks = {part: canvas.shares[part] > 0.5 for part in PARTS}
    outline = sum(canvas.shares.values()) > 0.5
    return Bird(image, masks, outline, own, species, seed)


def _placing(rng):
    """Where the bird stands: its size, its place in the picture, and the side it faces."""
    scale = rng.uniform(0.80, 1.02)
    # at scale 1, and whatever its pose and parts, a bird keeps within 0.09 to 0.93 across, 0.10 to
    # 0.95 down
    left, top = rng.uniform(0.02, 0.98 - 0.84 * scale), rng.uniform(0.02, 0.98 - 0.85 * scale)
    shift = np.array([left, top]) - scale * np.array([0.09, 0.10])
    flipped = rng.random() < 0.5

    def place(points):
        placed = points * scale + shift
        if flipped:
            placed[:, 0] = 1 - placed[:, 0]
        return placed

    return place


def _draw_bird(canvas, own, dice):
    """From back to front; a part that is None is left out."""
    pose = anatomy.Pose.random(dice["pose"])
    plumage = np.array([0.93, 0.89, 0.82]) * dice["plumage"].uniform(0.93, 1.05)
    tint = {p: dice[p].uniform(0.90, 1.08) + dice[p].normal(0, 0.025, 3) for p in ("body", "legs")}
    horn = np.array([0.86, 0.62, 0.30]) * dice["bill"].uniform(0.80, 1.10)
    horn = np.clip(horn + dice["bill"].normal(0, 0.03, 3), 0, 1)
    anatomy.draw_rings(canvas, pose)
    if own["legs"] is not None:
        anatomy.draw_legs(canvas, pose, own["legs"], tint["legs"])
    if own["neck"] is not None:
        anatomy.draw_neck(canvas, pose, own["neck"], plumage)
    if own["body"] is not None:
        anatomy.draw_body(canvas, pose, own["body"], tint["body"])
    if own["bill"] is not None:
        anatomy.draw_bill(canvas, pose, own["bill"], horn)
    anatomy.draw_head(canvas, pose, plumage)
