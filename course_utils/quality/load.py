"""The assessors whose heads were trained for this course (tools/train_quality.py)."""

import numpy as np
from safetensors.torch import load, save

from ..errors import WeightsError, a_kind_of
from ..networks import course_weights
from ..networks.precision import in_float32
from .assessor import Assessor
from .network import BASE, QualityNet

# data/quality.md says how each does
FILES = {True: "quality_reference", False: "quality_no_reference"}

LARGEST = 1000  # base


@in_float32()
def load_assessor(reference: bool = True, base: float = BASE) -> Assessor:
    """An assessor of image quality, in evaluation mode.

    Args:
        reference: True for one that compares a photo with its undistorted reference, False for one
            that scores a photo alone.
        base: the constant b in its quality maps, 0 to 1000. It cancels in every score, but not in
            the evidence: lecture 5 tries b = 0 and b = 1 beside the course's own.

    Returns:
        An `Assessor`: `.score`, `.local_scores`, `.explain`.

    Raises:
        WeightsError: its weights are missing or damaged.
        TypeError: a photo or a name was given in place of True or False.
        ValueError: a base below 0, or so large that float32 loses the score in it.
    """
    if not isinstance(reference, int | np.bool_):
        raise TypeError(
            "load_assessor's reference= is True (it compares) or False (it scores a photo alone), "
            f"not {a_kind_of(reference)}. The reference photo itself comes later: "
            "load_assessor().score(photo, reference)."
        )
    if not isinstance(base, (int, float, np.number)) or not 0 <= base <= LARGEST:
        raise ValueError(
            f"base={base!r} must be a number from 0 to {LARGEST}: below 0 the signs of the "
            "evidence would be turned around, and far above nothing is left of a score beside it."
        )
    name = FILES[bool(reference)]
    network = QualityNet(bool(reference), base)
    learned = {
        key: value.float() for key, value in load(course_weights.weights("quality", name)).items()
    }
    missing, unknown = network.load_state_dict(learned, strict=False)
    if unknown or any(not key.startswith(("extractor.", "head.scale.num")) for key in missing):
        raise WeightsError(
            f"{name}.safetensors belongs to another version of the course. Install the "
            "course again, or train the assessors: make train-quality"
        )
    return Assessor(network.eval())


def packed(network: QualityNet) -> bytes:
    """What is learned, in float16: all weights but the extractor's."""
    return save(
        {
            name: value.half().contiguous()
            for name, value in network.state_dict().items()
            if not name.startswith("extractor.") and value.is_floating_point()
        }
    )


def card() -> dict:
    """What data/quality.json records of each assessor: sha256 of its weights, measured figures."""
    return course_weights.record("quality")
