"""Counterfactual-CAM (Selvaraju et al., Grad-CAM, ICCV 2017, section 3.3), taught in lecture 3.

-S^P: Grad-CAM with the pooled gradients negated
"""

from .asked import Answer, Asked, mapped


def counterfactual_cam(asked: Asked) -> Answer:
    """Map: -S^P (given a Q, S^Q - S^P), signed: what speaks *against* P."""
    about = asked.name(asked.p) + ("" if asked.q is None else f" against {asked.name(asked.q)}")
    title = f"What if {about}'s evidence were absent?"
    return mapped(asked, -asked.seen.evidence(asked.v[None])[0, 0], [title])
