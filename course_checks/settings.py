"""What a notebook may set for all of torch and numpy, and the course's own work without it.

A learner may choose double precision, or leave gradients switched off in some later cell. Cases,
networks and right answers must be the same all the same.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import torch

_NUMPY = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
_AT_THE_START = (torch.float32, "cpu", True, False, False, False, _NUMPY, False)


def are_changed() -> bool:
    """Whether a setting that can decide about an answer is not as Python starts with it."""
    now = (
        torch.get_default_dtype(),
        _device(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.is_anomaly_enabled(),
        np.geterr(),
        _raises_warnings(),
    )
    return now != _AT_THE_START


@contextmanager
def as_at_the_start() -> Iterator[None]:
    """Within it the settings are as Python starts with them; afterwards as they were before."""
    dtype = torch.get_default_dtype()
    device = nullcontext() if _device() == "cpu" else torch.device("cpu")  # costs at each operation
    with (
        device,
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False),
        torch.autograd.set_detect_anomaly(False),
        np.errstate(**_NUMPY),
        warnings.catch_warnings() if _raises_warnings() else nullcontext(),
    ):
        if _raises_warnings():
            warnings.simplefilter("default")
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


def _device() -> str:
    """Where new tensors are made; "" if none can be made, as on a GPU that is not here."""
    try:
        return torch.empty(0).device.type
    except Exception:  # whatever a driver that is not here raises
        return ""


def _raises_warnings() -> bool:
    return any(action == "error" for action, *_ in warnings.filters)
