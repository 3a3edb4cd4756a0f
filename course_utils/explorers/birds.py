"""The contrast explorer on drawn birds, where the answer to "why P, rather than Q?" is known."""

from numbers import Integral

import numpy as np

from ..birds import SPECIES, Bird, differences, draw
from ..figures.drawn_birds import large
from .contrast import ContrastExplorer

UNSEEN = 1_000_000  # from this seed on, the networks were shown no bird while they were trained


def bird_explorer(
    photo: str = "flamingo",
    why: str | None = None,
    rather_than: list[str] | str | None = None,
    network: str = "birds",
    seed: int = 0,
) -> ContrastExplorer:
    """An explorer with one bird of each species and the list "Known answer: hidden / shown".

    Args:
        photo: the species of the bird that is shown first.
        why, rather_than: P and up to three Q, as for `ContrastExplorer`.
        network: "birds", "birds_shortcut" or "birds_blurry"; the others can be chosen in the panel.
        seed: a whole number >= 0; another one gives other birds (none was seen in training).

    Raises:
        ValueError, ClassError, WeightsError: as for `ContrastExplorer`.

    >>> bird_explorer("flamingo", rather_than="spoonbill")  # they differ in the bill only
    """
    if not isinstance(seed, Integral) or seed < 0:
        raise ValueError(f"seed={seed!r} is a whole number from 0; below, birds were trained with.")
    birds = {species: draw(species, UNSEEN + seed) for species in SPECIES}
    return ContrastExplorer(
        photo=photo,
        network=network,
        why=why,
        rather_than=rather_than,
        photos={species: bird.image for species, bird in birds.items()},
        fine={species: large(bird).image for species, bird in birds.items()},
        truth=lambda name, p, q: known_parts(birds[name], p, q) if name in birds else None,
    )


def known_parts(bird: Bird, p: str, q: str) -> np.ndarray | None:
    """Where the answer to "why P, rather than Q?" lies on a bird: the parts that tell them apart.

    Args:
        bird: a drawn bird, of size x size pixels.
        p, q: two species.

    Returns:
        size x size bools; None where nobody knows, because the bird is no P or Q is P.
    """
    if p != bird.species or q == p:
        return None
    return np.logical_or.reduce([bird.masks[part] for part in differences(p, q)])
