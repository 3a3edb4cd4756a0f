"""Lecture 3's deletion on single photos, counted on any (`make claims ARGS=--deletion`).

Of each photo the most probable class is asked that has at least five places against it. The fifth
of the pixels that speaks most against it is replaced; so are, of equal area, the pixels of which
the map says neither for nor against. By how much does the logit rise, either time?
"""

import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from skimage.filters import gaussian
from torch import Tensor, nn
from tqdm import tqdm

from course_utils import ForwardPass, load_photo
from course_utils.methods.maps import upsample

AREA = 0.20  # of the pixels, as in the lecture
PLACES = 5  # against a class, for it to be asked about
FEWEST = 2  # photos, for an error of the mean


def asked_about(seen: ForwardPass) -> int | None:
    """The most probable class of one image with at least `PLACES` places against it."""
    places = (seen.class_maps()[0] < 0).sum(dim=(1, 2))
    ranking = seen.logits[0].argsort(descending=True).tolist()
    return next((c for c in ranking if places[c] >= PLACES), None)


def regions(S: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks of equal area, 2 x H x W: most against P; neither for nor against. S: h x w, signed."""
    against = upsample((-S).relu(), size)
    n = min(int(AREA * against.numel()), int((against > 0).sum()))
    masks = torch.zeros(2, against.numel(), dtype=torch.bool)
    for mask, values in zip(masks, (against, -upsample(S, size).abs())):
        mask[values.flatten().topk(n).indices] = True
    return masks.unflatten(1, size)


def rises(network: nn.Module, x: Tensor) -> tuple[float, float] | None:
    """How much y_P rises by either deletion, a mean over blur and mean colour; x: 1 x 3 x H x W.

    None where no class has `PLACES` places against it.
    """
    seen = ForwardPass(network, x)
    P = asked_about(seen)
    if P is None:
        return None
    blurred = torch.from_numpy(gaussian(x[0].numpy(), sigma=15, channel_axis=0))
    fillings = torch.stack([blurred, x[0].mean(dim=(1, 2), keepdim=True).expand_as(x[0])])
    masks = regions(seen.class_maps()[0, P], seen.size)
    # 2 regions x 2 fillings x 3 x H x W
    deleted = torch.where(masks[:, None, None], fillings, x[0])
    with torch.inference_mode():
        after = network(deleted.flatten(0, 1))[:, P].unflatten(0, (2, 2)).mean(dim=1)
    against, neither = (after - seen.logits[0, P]).tolist()
    return against, neither


def report(network: nn.Module, photos: Iterable[str | Path]) -> None:
    """Print the counts of one network.

    Raises:
        SystemExit: fewer than `FEWEST` of the photos could be read and asked about.
    """
    rows = []
    for photo in tqdm(list(photos), unit="photo", file=sys.stderr):
        try:
            x = network.preprocess(load_photo(photo))[None]
        except (OSError, ValueError) as reason:
            tqdm.write(f"left out: {reason}", file=sys.stderr)
            continue
        rows.append(rises(network, x))
    found = np.array([row for row in rows if row])
    if len(found) < FEWEST:
        raise SystemExit(f"Only {len(found)} of the photos could be asked about: give more.")
    gap = found[:, 0] - found[:, 1]
    error = gap.std(ddof=1) / len(gap) ** 0.5
    print(f"Lecture 3, {network.name}, {len(found)} photos: change of the logit by deleting")
    for name, column in zip(("against P", "neither for nor against"), found.T):
        print(f"  {name:24s} {column.mean():+.2f}, a rise on {(column > 0).sum()} of {len(gap)}")
    print(f"  the first less the second {gap.mean():+.2f} (standard error {error:.2f}), ", end="")
    print(f"above 0 on {(gap > 0).sum()} of {len(gap)}")
