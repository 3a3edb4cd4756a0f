"""Grad-CAM (Selvaraju et al., Grad-CAM, ICCV 2017): `course_utils.GradCAM`, taught in lecture 2.

S^P = sum_k alpha_k A^k,   alpha_k = mean_ij dy_P / dA^k_ij
"""

from .asked import Answer, Asked, mapped


def grad_cam(asked: Asked) -> Answer:
    """Map: S^P, or S^P - S^Q where a Q was named, signed."""
    return mapped(asked, asked.seen.evidence(asked.v[None])[0, 0])
