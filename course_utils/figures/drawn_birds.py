"""Drawn birds, shown larger than the network saw them: the same birds, three times as fine."""

from collections.abc import Sequence

from torch import Tensor

from ..birds import Bird, draw
from ..methods.maps import upsample
from . import questions
from .overlays import STRENGTH
from .picture import Picture

SHOWN = 384  # pixels a side


def large(bird: Bird, size: int = SHOWN) -> Bird:
    """The same bird, drawn `size` pixels wide: pose, place, parts, tints and scene are its own."""
    return draw(bird.species, bird.seed, size, **bird.attributes)


def birds(
    shown: Sequence[Bird], maps: Tensor, titles: Sequence[Sequence[str]], caption: str = "",
    known: Sequence[Sequence[Sequence[str]]] | None = None, opacity: float = STRENGTH,
    strength: Tensor | None = None, scale: str = "own", alt: str | None = None,
) -> Picture:  # fmt: skip
    """As `questions`, of drawn birds: drawn finely, the maps enlarged, the answers outlined.

    Args:
        shown: N birds, as the network saw them.
        maps: N x K x H x W in [0, 1], an `Explanation`'s `.maps` at the size that the network saw.
        titles: N lists of K sentences, an `Explanation`'s `.questions`.
        caption: a sentence with the size that the network saw is added.
        known: N lists of K answers, each the parts of the bird that are outlined, such as
            `birds.differences(P, Q)`; () for a question whose answer is not known.
        opacity, strength, scale, alt: as for `questions`.
    """
    fine = [large(bird) for bird in shown]
    outlines = None
    if known is not None:
        outlines = [[_mask(bird, parts) for parts in row] for bird, row in zip(fine, known)]
    side = maps.shape[-1]
    seen = f"The network saw {side} x {side} pixels; the birds are drawn finer here."
    if outlines is not None:
        seen += " White outline: the known answer."
    images = [bird.image for bird in fine]
    return questions(
        images, upsample(maps, (SHOWN, SHOWN)).clamp(0, 1), titles, f"{caption} {seen}".strip(),
        opacity, alt, strength, scale, outlines,
    )  # fmt: skip


def _mask(bird: Bird, parts: Sequence[str]):
    """Where these parts of a bird are seen; None without any."""
    masks = [bird.masks[part] for part in ([parts] if isinstance(parts, str) else parts)]
    return sum(masks) > 0 if masks else None
