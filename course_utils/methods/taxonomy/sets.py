"""What some methods need beside the image, if the learner brings nothing: birds, photos, ..."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ...birds import PARTS, SPECIES, Bird, draw
from ...networks.preprocess import shown
from ...photos import PHOTOS, available_photos, load_photo
from ..classes import names_in
from ..inputs import beside_weights
from .asked import Asked

FIRST = 500_000  # seeds from here on: neither the networks' training nor the benchmark draws them


def names_birds(network: Any) -> bool:
    """Whether the network's classes are the drawn birds."""
    return names_in(network) == list(SPECIES)


def read(network: Any, images: list[Image.Image], what: str) -> Tensor:
    """Pictures as the network reads them, N x 3 x H x W, in its type of numbers.

    Raises:
        ValueError: the network does not say how it reads a picture.
    """
    if not hasattr(network, "preprocess"):
        raise ValueError(
            f"This network has no .preprocess (PIL -> 3 x H x W), so that {what} cannot be "
            "shown to it. Set network.preprocess, or pass images of your own."
        )
    return beside_weights(torch.stack([network.preprocess(image) for image in images]), network)


def show(network: Any, x: Tensor) -> Tensor:
    """1 x 3 x H x W as a picture, H x W x 3 in [0, 1]."""
    return shown(getattr(network, "preprocess", None), x[0])


@lru_cache(maxsize=1)
def _birds(count: int) -> tuple[Bird, ...]:
    names = list(SPECIES)
    return tuple(draw(names[i % len(names)], FIRST + i) for i in range(count))


def birds(count: int, first: int = 0) -> tuple[Bird, ...]:
    """Drawn birds, all species in turn; kept, since a bird takes 30 ms to draw."""
    return _birds(-(-(first + count) // 120) * 120)[first : first + count]


def photo_of(network: Any, q: int, x: Tensor) -> Tensor:
    """An image of class Q: a drawn bird, or the course's photo (not x) with the largest p_Q."""
    if names_birds(network):
        return read(network, [draw(network.categories[q], FIRST).image], "a photo of Q")
    images = [load_photo(name) for name in PHOTOS if name in available_photos()]
    photos = read(network, images, "a photo of Q")
    photos = torch.stack([photo for photo in photos if not torch.equal(photo, x[0])])
    with torch.no_grad():
        p = torch.cat([network(photo[None]).softmax(1)[:, q] for photo in photos])
    return photos[int(p.argmax())][None]


def details(x: Tensor, count: int) -> Tensor:
    """Details of an image, enlarged to its size: count x 3 x H x W; the first is the image."""
    height, width = x.shape[-2:]
    found = [x]
    for _ in range(count - 1):
        h, w = (int(side * (0.6 + 0.35 * float(torch.rand(())))) for side in (height, width))
        top, left = (int(torch.randint(0, n + 1, ())) for n in (height - h, width - w))
        part = x[..., top : top + h, left : left + w]
        found.append(nn.functional.interpolate(part, (height, width), mode="bilinear"))
    return torch.cat(found)


def stripes(count: int, side: int = 224) -> list[Image.Image]:
    """Drawn patterns of wavy brown stripes, a concept for TCAV."""
    rng, (i, j) = np.random.default_rng(0), np.mgrid[:side, :side] * 224 / side
    images = []
    for _ in range(count):
        angle, wavelength, bend = rng.uniform(0, np.pi), rng.uniform(10, 34), rng.uniform(5, 20)
        across = i * np.sin(angle) + j * np.cos(angle) + bend * np.sin(i / 30 + rng.uniform(0, 6))
        light = np.clip(0.5 + 1.5 * np.sin(2 * np.pi * across / wavelength), 0, 1)[..., None]
        coat = np.array([0.8, 0.6, 0.4]) * rng.uniform(0.8, 1.2)
        pixels = np.clip(np.array([0.2, 0.15, 0.1]) * (1 - light) + coat * light, 0, 1)
        images.append(Image.fromarray((pixels * 255).astype("uint8")))
    return images


def anything(count: int) -> list[Image.Image]:
    """Details of the course's photos: images of no concept in particular."""
    rng, images = np.random.default_rng(1), []
    photos = [load_photo(name) for name in PHOTOS if name in available_photos()]
    for k in range(count):
        photo = photos[k % len(photos)]
        side = int(rng.integers(60, 200))
        left, top = (int(rng.integers(0, length - side)) for length in photo.size)
        images.append(photo.crop((left, top, left + side, top + side)))
    return images


def concepts_for(asked: Asked, each: int = 24) -> dict[str, tuple[Tensor, Tensor]]:
    """name -> (images with it, images without). Birds: each part as P has it. Else: stripes."""
    if not names_birds(asked.network):
        rest, *others = read(asked.network, anything(36), "the concept").split(12)
        striped = read(asked.network, stripes(12), "the concept")
        controls = {f"no concept {k}": (other, rest) for k, other in enumerate(others, 1)}
        return {"stripes": (striped, rest), **controls}
    flock = birds(120)
    x = read(asked.network, [bird.image for bird in flock], "the concept")
    own = birds(12)[asked.p].attributes  # the species in turn: the P-th bird is a P
    found = {}
    for part in PARTS:
        has = torch.tensor([bird.attributes[part] == own[part] for bird in flock])
        found[f"{own[part]} {part}"] = (x[has][:each], x[~has][:each])
    return found
