"""Distortions of photos, each with one strength that lowers the picture's quality as it grows.

They are the types of TID2013 (Ponomarenko et al., Signal Processing: Image Communication 30, 2015)
that a reference photo and a strength define. Every function takes H x W x 3 floats in 0 to 255,
returns the same (not yet rounded), and draws its noise from the generator that it is given: the
same generator state gives the same pattern at every strength.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

Pixels = np.ndarray


@dataclass(frozen=True)
class Kind:
    """One type of distortion.

    `number` is its number in TID2013, `title` its name for people, `apply(pixels, strength, rng)`
    makes it, `range` holds the strengths searched (weakest first), `words` says what is done.
    """

    number: int
    title: str
    words: str
    range: tuple[float, float]
    apply: Callable[[Pixels, float, np.random.Generator], Pixels]


def as_image(pixels: Pixels) -> Image.Image:
    """Rounded and clipped to the 8 bits that a picture file holds."""
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def _coded(pixels: Pixels, **options) -> Pixels:
    """Through an encoder and back."""
    file = io.BytesIO()
    as_image(pixels).save(file, **options)
    return np.asarray(Image.open(file), np.float32)


# Annex K of the JPEG standard (ITU-T T.81): quality 50 in most encoders
_LUMA = """
16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80
62 18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112
100 103 99"""
_CHROMA = "17 18 24 47 18 21 26 66 24 26 56 99 47 66 99 99".split()


def _tables(scale: float) -> list[list[int]]:
    chroma = np.full((8, 8), 99.0)
    chroma[:4, :4] = np.reshape(_CHROMA, (4, 4)).astype(float)
    bases = np.array(_LUMA.split(), float), chroma.ravel()
    return [np.clip(np.rint(base * scale), 1, 255).astype(int).tolist() for base in bases]


def jpeg(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """The standard's quantisation tables times the strength (1 is quality 50)."""
    return _coded(pixels, format="JPEG", qtables=_tables(strength))


def jpeg_2000(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """The strength is the compression ratio."""
    options = {"irreversible": True, "quality_mode": "rates", "quality_layers": [strength]}
    return _coded(pixels, format="JPEG2000", **options)


def gaussian_blur(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """The strength is the standard deviation in pixels."""
    return ndimage.gaussian_filter(pixels, (strength, strength, 0), mode="reflect")


def white_noise(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """The strength is the standard deviation in grey levels."""
    return pixels + strength * rng.standard_normal(pixels.shape, np.float32)


def correlated_noise(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """White noise through a 3 x 3 mean, scaled back to the standard deviation `strength`."""
    noise = rng.standard_normal(pixels.shape, np.float32)
    return pixels + 3 * strength * ndimage.uniform_filter(noise, (3, 3, 0))


def multiplicative_noise(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Noise in proportion to the pixel's value: speckle."""
    return pixels * (1 + strength * rng.standard_normal(pixels.shape, np.float32))


def impulse_noise(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """The strength is the share of values that turn 0 or 255: salt and pepper."""
    hit = rng.random(pixels.shape, np.float32) < strength
    return np.where(hit, 255.0 * rng.integers(0, 2, pixels.shape), pixels)


def quantisation(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """The strength is the step between two values that remain."""
    return (np.floor(pixels / strength) + 0.5) * strength


def denoising(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """What remains once white noise has been added and taken out by a Wiener filter of 7 x 7."""
    from scipy.signal import wiener  # a second to import, for this type only

    noisy = white_noise(pixels, strength, rng).astype(np.float64)
    # scipy's filter sees black outside, takes that for an edge and would leave the noise there
    wider = np.pad(noisy, ((3, 3), (3, 3), (0, 0)), mode="symmetric")
    channels = [wiener(wider[..., c], 7, strength**2)[3:-3, 3:-3] for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def noisy_compression(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """White noise, then JPEG as coarse as the noise is strong."""
    return jpeg(white_noise(pixels, strength, rng), strength / 12, rng)


def contrast(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Towards the picture's mean grey; strength 1 leaves no contrast."""
    return pixels + strength * (pixels.mean() - pixels)


def mean_shift(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Every value raised by the strength, in grey levels."""
    return pixels + strength


def saturation(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Towards each pixel's own grey (ITU-R BT.601); strength 1 leaves no colour."""
    grey = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    return pixels + strength * (grey[..., None] - pixels)


KINDS = {
    "white noise": Kind(
        1, "white noise", "adds noise that differs from pixel to pixel", (0.5, 200), white_noise
    ),
    "correlated noise": Kind(
        3, "spatially correlated noise", "adds blotchy noise", (0.5, 200), correlated_noise
    ),
    "impulse noise": Kind(
        6, "impulse noise", "turns single values black or white", (1e-4, 1), impulse_noise
    ),
    "quantisation": Kind(
        7, "quantisation", "leaves few values of each colour", (2, 256), quantisation
    ),
    "blur": Kind(8, "Gaussian blur", "smooths everything", (0.1, 60), gaussian_blur),
    "denoising": Kind(
        9, "denoising", "adds noise and takes it out, details with it", (1, 400), denoising
    ),
    "jpeg": Kind(10, "JPEG", "codes blocks of 8 x 8 pixels with few bits", (0.02, 60), jpeg),
    "jpeg 2000": Kind(11, "JPEG 2000", "codes wavelets with few bits", (2, 4000), jpeg_2000),
    "mean shift": Kind(16, "mean shift", "makes everything brighter", (0.5, 255), mean_shift),
    "contrast": Kind(17, "contrast", "takes contrast away", (0.01, 1), contrast),
    "saturation": Kind(18, "saturation", "takes colour away", (0.01, 1), saturation),
    "multiplicative noise": Kind(
        19,
        "multiplicative noise",
        "adds noise in proportion to brightness",
        (0.005, 3),
        multiplicative_noise,
    ),
    "noisy compression": Kind(
        21,
        "lossy compression of a noisy image",
        "adds noise, then JPEG",
        (0.5, 150),
        noisy_compression,
    ),
}
