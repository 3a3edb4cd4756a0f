"""One distortion of a photo, at one of TID2013's five levels, everywhere or in one region."""

import operator
import warnings
from dataclasses import dataclass
from math import exp, inf, log, log10
from numbers import Integral
from types import EllipsisType

import numpy as np
from PIL import Image
from tqdm import tqdm

from ..errors import closest
from ..networks.pictures import as_rgb
from .distortions import KINDS, Kind, as_image

LEVELS = {1: 33.0, 2: 30.0, 3: 27.0, 4: 24.0, 5: 21.0}  # dB of PSNR, about, in TID2013
TOLERANCE = 0.5  # dB
STEPS = 14  # halvings of the range of strengths
PATIENCE = 5  # seconds until a bar shows how far it is, as with photos of 12 megapixels

Region = tuple[int, int, int, int] | np.ndarray


class DistortionWarning(UserWarning):
    """The photo cannot be distorted as far, or as little, as the level asks."""


@dataclass(frozen=True)
class Distorted:
    """A distorted photo and what is known of it.

    `image` is RGB, of the reference's size; `psnr` in dB is measured inside the region (infinite
    if nothing changed); `target` is the level's; `strength` is in the kind's own unit.
    """

    image: Image.Image
    kind: str
    level: int
    psnr: float
    target: float
    strength: float

    @property
    def reached(self) -> bool:
        """Whether the PSNR is within 0.5 dB of the level's."""
        return abs(self.psnr - self.target) <= TOLERANCE

    def __str__(self) -> str:
        done = "" if self.reached else f", though level {self.level} asks for {self.target:.0f} dB"
        return f"{KINDS[self.kind].title}, level {self.level}: PSNR {self.psnr:.1f} dB{done}"


def psnr(distorted: np.ndarray, reference: np.ndarray) -> float:
    """10 log10(255^2 / mean squared error) over all values, in dB; inf where all are equal."""
    error = np.mean((np.asarray(distorted, np.float64) - np.asarray(reference, np.float64)) ** 2)
    return 10 * log10(255**2 / error) if error else inf


def picture_of(photo):
    """A photo as it is; of one that `distort` made, its picture."""
    return photo.image if isinstance(photo, Distorted) else photo


def distort(photo, kind: str, level: int, region: Region | None = None, seed: int = 0) -> Distorted:
    """Distort a photo so that its PSNR is that of TID2013's level.

    Args:
        photo: any picture (PIL or array), read as `pictures.as_rgb` reads it.
        kind: a name from `KINDS`: "jpeg", "blur", "white noise" ...
        level: 1 (33 dB, hardly visible) to 5 (21 dB, severe); see `LEVELS`.
        region: distort only here, and meet the PSNR here: (left, top, right, bottom) in pixels, the
            last two just outside, or a boolean H x W mask. All other pixels keep their bytes.
        seed: of the noise.

    Raises:
        ValueError: unknown kind or level, a region that is empty or not inside the photo, or a seed
            that is no whole number from 0.

    Warns:
        DistortionWarning: the level cannot be met within 0.5 dB; the nearest is returned.
    """
    if kind not in list(KINDS):
        raise ValueError(f"There is no distortion '{kind}'.{closest(kind, KINDS)} {_all_kinds()}")
    known = [one for one in LEVELS if one == level]  # also of a tensor, which no dict finds
    if not known:
        raise ValueError(f"Level {level!r} does not exist: levels are 1 (weak) to 5 (severe).")
    level = known[0]
    if not isinstance(seed, Integral) or seed < 0:
        raise ValueError(f"seed={seed!r} must be a whole number from 0.")
    reference = np.asarray(as_rgb(photo))
    inside = _mask(region, reference.shape[:2])
    pixels, target = reference.astype(np.float32), LEVELS[level]

    untouched = reference[inside]

    def made(strength: float) -> tuple[np.ndarray, float]:
        changed = KINDS[kind].apply(
            pixels, strength, np.random.default_rng([seed, KINDS[kind].number])
        )
        result, touched = reference.copy(), np.asarray(as_image(changed))[inside]
        result[inside] = touched
        return result, psnr(touched, untouched)

    strength = _search(lambda s: made(s)[1] - target, KINDS[kind])
    result, reached = made(strength)
    distorted = Distorted(Image.fromarray(result), kind, level, reached, target, strength)
    if not distorted.reached:
        warnings.warn(f"{distorted}. This photo allows no nearer.", DistortionWarning, stacklevel=2)
    return distorted


def _all_kinds() -> str:
    return "There are: " + ", ".join(KINDS) + "."


def _mask(region: Region | None, shape: tuple[int, int]) -> np.ndarray | EllipsisType:
    """The region as a boolean H x W mask; everywhere as `...`, which is a hundred times faster."""
    height, width = shape
    if region is None:
        return ...
    if hasattr(region, "shape") and len(region.shape) != 1:  # a mask, not four numbers
        region = np.asarray(region)
        if region.shape != shape or region.dtype != bool or not region.any():
            got = f"{' x '.join(map(str, region.shape))} {region.dtype}"
            raise ValueError(
                f"A mask must be {height} x {width} booleans, not all of them False; this is {got}."
            )
        return region
    try:
        left, top, right, bottom = map(operator.index, region)
    except (TypeError, ValueError):
        raise ValueError(
            "A region is (left, top, right, bottom) in whole pixels, or a mask of booleans; not "
            f"{region!r}."
        ) from None
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise ValueError(
            f"The region {tuple(region)} is not a rectangle (left, top, right, bottom) inside a "
            f"photo of {width} x {height} pixels."
        )
    mask = np.zeros(shape, bool)
    mask[top:bottom, left:right] = True
    return mask


def _search(excess, kind: Kind) -> float:
    """The strength at which `excess`, falling with strength, is nearest to 0 dB."""
    low, high = map(log, kind.range)  # halved on a logarithmic scale: strengths span decades
    tried = {}
    for _ in tqdm(range(STEPS), desc=kind.title, unit=" tries", delay=PATIENCE, leave=False):
        middle = (low + high) / 2
        tried[middle] = excess(exp(middle))
        if abs(tried[middle]) < TOLERANCE / 10:
            break
        low, high = (middle, high) if tried[middle] > 0 else (low, middle)
    # rounding makes some kinds step or waver: the nearest that was seen, not the last
    return exp(min(tried, key=lambda s: abs(tried[s])))
