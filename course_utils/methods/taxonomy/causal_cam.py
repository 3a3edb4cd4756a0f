"""Causal-CAM (Prabhushankar and AlRegib, Extracting causal visual features, ICIP 2021).

    B = clamp(M1 - M2 - M3, 0, 1)    the context        causal = ReLU(G - B)

G is Grad-CAM of P; M1 "P or Q?", M2 "neither?", M3 "P alone?": each a ReLU'd map over its maximum.
The sets are the paper's figure. Which losses make the three maps it does not say: *the course's
reading* takes them as events of the softmax, log(p_P + p_Q), log(1 - p_P - p_Q) and
log p_P / (1 - p_P). Losses on raw logits give three maps that are nearly alike, and Grad-CAM.
"""

import torch
from torch import Tensor

from .asked import Answer, Asked, mapped


def unit(evidence: Tensor) -> Tensor:
    """ReLU, divided by each map's maximum; an empty map stays empty."""
    maps = evidence.relu()
    top = maps.amax((-2, -1), keepdim=True)
    return torch.where(top > 0, maps / top.clamp_min(1e-30), 0)


def set_algebra(grad_cam: Tensor, either: Tensor, neither: Tensor, alone: Tensor) -> tuple:
    """(causal, context) of four maps in [0, 1]."""
    context = (either - neither - alone).clamp(0, 1)
    return (grad_cam - context).relu(), context


def events(asked: Asked) -> Tensor:
    """The four cotangents, 4 x classes: y_P, and the logarithms of the three events' odds."""
    p, q, seen = asked.p, asked.rival, asked.seen
    rest = [c for c in range(seen.logits.shape[1]) if c not in (p, q)]
    others = sorted([*rest, q])
    either = seen.cotangent(lambda y: y.log_softmax(1)[:, [p, q]].logsumexp(1))
    alone = seen.cotangent(lambda y: y[:, p] - y[:, others].logsumexp(1))
    neither = torch.zeros_like(either)
    if rest:
        neither = seen.cotangent(lambda y: y.log_softmax(1)[:, rest].logsumexp(1))
    why = asked.v.clamp_min(0)[None, None]
    return torch.cat([why, either, neither, alone], 1)[0]


def causal_cam(asked: Asked) -> Answer:
    """Map: the causal part. `result`: the context B, h x w in [0, 1]."""
    maps = unit(asked.seen.evidence(events(asked))[0])
    causal, context = set_algebra(*maps)
    whole = float(maps[0].sum())
    said = f"{float(causal.sum()) / whole:.0%} of Grad-CAM's map is kept." if whole else ""
    return mapped(asked, causal, result=context, said=said)
