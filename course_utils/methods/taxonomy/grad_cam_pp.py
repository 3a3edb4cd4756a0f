"""Grad-CAM++ (Chattopadhay et al., Grad-CAM++, WACV 2018), its equations 10 and 19.

    w_k = sum_ij a_kij relu(g_kij),   a_kij = g^2 / (2 g^2 + g^3 sum_ab A^k_ab),   g = dJ/dA^k_ij

The score is the exponential of J, so that its higher derivatives are powers of g. Only positive
gradients count: what speaks against P takes nothing away.
"""

import torch

from .asked import Answer, Asked, mapped


def grad_cam_pp(asked: Asked) -> Answer:
    """Map: sum_k w_k A^k, for J = y_P or y_P - y_Q."""
    A = asked.seen.activations[0]  # C x h x w
    g = asked.seen.gradients(asked.v[None])[0, 0].relu()
    total = A.sum((1, 2), keepdim=True)
    below = 2 + g * total  # a g = g / (2 + g sum A)
    a = torch.where(below != 0, 1 / below, 0)
    return mapped(asked, torch.einsum("k,kij->ij", (a * g).sum((1, 2)), A))
