"""Graph-CNN, read as the explanatory graph of Zhang et al. (Interpreting CNN knowledge via an
explanatory graph, AAAI 2018). *That this is the method meant is the course's reading.*

    P(x | R) = sum_V P(V) N(x | m_V + s_V(I), s^2) + none

A filter's map is a cloud of places; nodes V divide it into parts of things. On the lower layer a
node moves with its parents, the three nodes above relative to which it moves least: s_V(I) is their
shift in image I. Fitted by EM to a set of images of like things: birds, cropped and turned one way.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..forward_pass import ForwardPass
from .alike_birds import cropped, dots, stays
from .asked import Answer, Asked
from .inner import inner_layers
from .sets import birds, read

SIDE = 16  # a filter's map is made this small at most


@dataclass(frozen=True, eq=False)
class Layer:
    """Nodes of one layer: `place` N x V x 2 (row, column in [0, 1]) in each image, `fixed` V x 2
    their mean places, `peak` N x V x 2 where its filter is largest, `parents` V x 3 or None."""

    place: Tensor
    fixed: Tensor
    peak: Tensor
    parents: Tensor | None


def places(side: int) -> Tensor:
    """The middles of side x side cells, side^2 x 2 in [0, 1]."""
    middle = (torch.arange(side) + 0.5) / side
    return torch.cartesian_prod(middle, middle)


def fit(
    A: Tensor, nodes: int = 3, s: float = 0.08, above: Tensor | None = None, steps: int = 10,
    none: float = 0.1,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:  # fmt: skip
    """EM for one layer: mu F x K x 2, place N x F x K x 2, weight F x K, parents F x K x 3 or None.

    Args:
        A: N x F x side^2, not negative. above: N x V x 2, places of the layer above.
    """
    where = places(round(A.shape[2] ** 0.5))
    mu = where[torch.stack([torch.multinomial(f, nodes) for f in A.mean(0) + 1e-9])]
    shift, parents = torch.zeros(len(A), *mu.shape), None
    for step in range(steps):
        gap = (where - (mu + shift)[..., None, :]).square().sum(-1)  # N x F x K x places
        near = torch.exp(-gap / (2 * s * s))
        r = near / (near.sum(2, keepdim=True) + none) * A[:, :, None]  # who explains x, or nobody
        place = where[(A[:, :, None] * near).argmax(-1)]
        if above is not None and step == 2:
            apart = place[:, :, :, None] - above[:, None, None]
            parents = apart.var(0).sum(-1).topk(3, largest=False).indices
            shift = (above - above.mean(0))[:, parents].mean(3)
            mu = (place - shift).mean(0)
            continue
        still = where - shift[..., None, :]
        weight = r.sum((0, 3))
        mu = (r[..., None] * still).sum((0, 3)) / weight[..., None].clamp_min(1e-9)
    return mu, place, weight, parents


def layer_of(A: Tensor, filters: int = 24, above: Tensor | None = None) -> Layer:
    """The heaviest nodes of the strongest filters of one layer, N x C x h x w."""
    A = F.adaptive_avg_pool2d(A.relu(), min(SIDE, *A.shape[-2:]))
    A = A[:, A.amax((2, 3)).mean(0).topk(min(filters, A.shape[1])).indices].flatten(2)
    mu, place, weight, parents = fit(A, above=above)
    heavy = weight.flatten().topk(min(24, weight.numel())).indices
    peak = places(round(A.shape[2] ** 0.5))[A.argmax(-1)][:, heavy // mu.shape[1]]
    kept = None if parents is None else parents.flatten(0, 1)[heavy]
    return Layer(place.flatten(1, 2)[:, heavy], mu.flatten(0, 1)[heavy], peak, kept)


def graph_cnn(asked: Asked, images: Tensor | None = None, layers=None, count: int = 48) -> Answer:
    """`result`: `nodes` (layer -> `Layer`) and, for birds, `stays` (who -> share). No map.

    Args:
        images: N x 3 x H x W of like things, cropped and turned one way; default, `count` birds.
        layers: (lower, upper) names; default, the target layer and one half-way to it.
    """
    masks, pixels = None, None
    if images is None:
        cut = [cropped(bird, min(asked.seen.size)) for bird in birds(count)]
        masks, pixels = [m for _, m in cut], [image for image, _ in cut]
        images = read(asked.network, pixels, "drawn birds")
    names = inner_layers(asked.network)
    low, top = layers or (names[max(len(names) * 2 // 3 - 1, 0)], asked.seen.layer)
    maps = [  # as N x C x h x w, also of a Swin or a ViT
        torch.cat([ForwardPass(asked.network, x[None], name).activations for x in images])
        for name in (top, low)
    ]
    upper = layer_of(maps[0])
    lower = layer_of(maps[1], above=upper.place)
    found = {}
    if masks:
        fixed = upper.fixed.expand_as(upper.place)
        who = {"nodes": upper.place, "filters": upper.peak, "fixed places": fixed}
        found = {name: stays(place, masks) for name, place in who.items()}
    said = "Stay on one part of the bird: " + ", ".join(f"{k} {v:.0%}" for k, v in found.items())
    pictures = [] if pixels is None else [
        (dots(np.asarray(pixels[i]) / 255, upper.place[i]), "nodes on a bird") for i in (0, 1, 2)
    ]  # fmt: skip
    result = dict(nodes={top: upper, low: lower}, stays=found)
    question = "Which parts of things have the layers learned?"
    return Answer(question, size=asked.seen.size, result=result, said=found and said + "." or "",
                  pictures=pictures)  # fmt: skip
