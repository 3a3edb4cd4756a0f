"""Counterfactual-CAM (Selvaraju et al., Grad-CAM, ICCV 2017, section 3.3), taught in lecture 3.

-S^P: Grad-CAM with the pooled gradients negated
"""

import torch

from ..maps import relative_strength
from ..strength import strength_sentence
from .asked import Answer, Asked, mapped


def counterfactual_cam(asked: Asked) -> Answer:
    """Map: -S^P (given a Q, S^Q - S^P), signed: what speaks *against* P. `result`: its strength."""
    about = asked.name(asked.p) + ("" if asked.q is None else f" against {asked.name(asked.q)}")
    title = f"What if {about}'s evidence were absent?"
    e_p = asked.v.clamp(min=0)
    against, for_p = asked.seen.evidence(torch.stack([-asked.v, e_p]))[:1].split(1, dim=1)
    strength = float(relative_strength(against, for_p))
    said = strength_sentence(strength) if strength else ""  # an empty map says it itself
    return mapped(asked, against[0, 0], [title], result=strength, said=said)
