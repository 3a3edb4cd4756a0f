"""Contrast-CAM (Prabhushankar et al., Contrastive explanations in neural networks, ICIP 2020).

    S^P - S^Q                 loss "logit_difference"
    sum_c p_c S^c - S^Q       loss "cross_entropy", as published

`course_utils.ContrastCAM`, taught in lecture 4. The first one is the default *here*: it is the same
question as the other methods are asked, and it holds P.
"""

from ..cams import ContrastCAM
from ..strength import strength_sentence
from .asked import Answer, Asked, mapped


def contrast_cam(asked: Asked, loss: str = "logit_difference") -> Answer:
    """Map: the contrast's signed evidence. `result`: its strength, as an `Explanation` has it."""
    ask = ContrastCAM(asked.network, asked.seen.layer, loss=loss)
    found = ask(asked.seen, why=asked.p, rather_than=asked.q)
    strength = float(found.strength)
    said = strength_sentence(strength)
    return mapped(asked, found.evidence[0, 0], result=strength, said=said)
