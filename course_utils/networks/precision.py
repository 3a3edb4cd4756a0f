"""Networks are made in float32, whatever number type a user's session makes by default."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def in_float32() -> Iterator[None]:
    """What is made inside has float32 weights, as the stored ones; the session's default returns.

    Also a decorator. `torch.set_default_dtype(torch.float64)` in a learner's startup file would
    make weights that do not fit what `preprocess` gives; float16 would lose digits of the stored
    ones.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
