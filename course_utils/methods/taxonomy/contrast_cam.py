"""Contrast-CAM (Prabhushankar et al., Contrastive explanations in neural networks, ICIP 2020).

    S^P - S^Q                 loss "logit_difference"
    sum_c p_c S^c - S^Q       loss "cross_entropy", as published

`course_utils.ContrastCAM`, taught in lecture 4. The first one is the default *here*: it is the same
question as the other methods are asked, and it holds P.
"""

from ..cams import ContrastCAM
from .asked import Answer, Asked, mapped


def contrast_cam(asked: Asked, loss: str = "logit_difference") -> Answer:
    """Map: the contrast's signed evidence. `result`: strength, its peak over Grad-CAM's of P."""
    ask = ContrastCAM(asked.network, asked.seen.layer, loss=loss)
    found = ask(asked.seen, why=asked.p, rather_than=asked.q).evidence[0, 0]
    one = asked.v.clamp_min(0)
    peak = float(asked.seen.evidence(one[None]).max())
    strength = max(float(found.max()), 0) / peak if peak > 0 else float("nan")
    return mapped(asked, found, result=strength, said=f"Strength {strength:.2f}.")
