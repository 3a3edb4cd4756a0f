"""CAM (Zhou et al., Learning deep features for discriminative localization, CVPR 2016).

    S^P = sum_k W_Pk A^k      for a network with  y = W mean_ij(A) + b

Needs no gradient, only a head that pools and multiplies. Of such a network it is Grad-CAM.
"""

import torch

from .asked import Answer, Asked, mapped


def cam(asked: Asked) -> Answer:
    """Map: S^P, or S^P - S^Q, signed."""
    weights = asked.v @ asked.linear_head("CAM")
    return mapped(asked, torch.einsum("k,kij->ij", weights, asked.seen.activations[0]))
