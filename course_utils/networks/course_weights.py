"""The weights that were trained for this course: read from its data folder, and checked."""

import hashlib
import json
from importlib import resources

from ..errors import WeightsError


def record(family: str) -> dict:
    """What data/<family>.json records of each network: sha256 of its weights, measured figures.

    Args:
        family: "birds" or "quality"; `make train-<family>` trains its networks.

    Raises:
        WeightsError: the file is missing.
    """
    return json.loads(_data(f"{family}.json", family))


def weights(family: str, name: str) -> bytes:
    """The content of data/<name>.safetensors, with the sha256 that is on record.

    Raises:
        WeightsError: it is missing or damaged.
    """
    content = _data(f"{name}.safetensors", family)
    if hashlib.sha256(content).hexdigest() != record(family)[name]["sha256"]:
        raise WeightsError(
            f"The file {name}.safetensors is damaged (its sha256 differs). Fetch the course's data "
            f"folder anew, or train the network again: make train-{family}"
        )
    return content


def _data(file: str, family: str) -> bytes:
    path = resources.files("course_utils.data") / file
    if not path.is_file():
        raise WeightsError(
            f"The file {file} is missing from the course's data folder. Install the course again, "
            f"or train the networks: make train-{family}"
        )
    return path.read_bytes()
