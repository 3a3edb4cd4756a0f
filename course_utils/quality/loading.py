"""The assessors whose judges were trained for this course (tools/train_quality.py)."""

import hashlib
import json
from importlib import resources

from safetensors.torch import load, save

from ..errors import WeightsError
from .assessor import Assessor
from .network import QualityNet

# data/quality.md says how each does
FILES = {True: "quality_reference", False: "quality_no_reference"}


def load_assessor(reference: bool = True) -> Assessor:
    """An assessor of image quality, in evaluation mode.

    Args:
        reference: True for one that compares a photo with its undistorted reference, False for one
            that judges a photo alone.

    Returns:
        An `Assessor`: `.score`, `.local_scores`, `.explain`.

    Raises:
        WeightsError: its weights are missing or damaged.
    """
    network = QualityNet(bool(reference))
    judge = {name: value.float() for name, value in load(_weights(FILES[bool(reference)])).items()}
    missing, unknown = network.load_state_dict(judge, strict=False)
    if unknown or any(not name.startswith(("extractor.", "judge.scale.num")) for name in missing):
        raise WeightsError(
            f"{FILES[bool(reference)]}.safetensors belongs to another version of the course. Install the "
            "course again, or train the assessors: make train-quality"
        )
    return Assessor(network)


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
    return json.loads(_data("quality.json"))


def _weights(name: str) -> bytes:
    content = _data(f"{name}.safetensors")
    if hashlib.sha256(content).hexdigest() != card()[name]["sha256"]:
        raise WeightsError(
            f"The file {name}.safetensors is damaged (its sha256 differs). Fetch the course's data folder "
            "anew, or train the assessor again: make train-quality"
        )
    return content


def _data(file: str) -> bytes:
    path = resources.files("course_utils.data") / file
    if not path.is_file():
        raise WeightsError(
            f"The file {file} is missing from the course's data folder. Install the course again, or "
            "train the assessors: make train-quality"
        )
    return path.read_bytes()
