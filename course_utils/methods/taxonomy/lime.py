"""LIME (Ribeiro, Singh and Guestrin, Why should I trust you?, KDD 2016).

    w = argmin  sum_z pi(z) (J(z) - w . z)^2 + a |w|_1,   z in {0, 1}^patches

Patches are switched off at random (to 0: of normalised images the mean colour), and a sparse linear
model imitates what the network then says: J = p_P, or p_P - p_Q. captum's `Lime`.
"""

import torch
from captum._utils.models.linear_model import SkLearnLasso
from captum.attr import Lime

from .asked import Answer, Asked, OneOutput, mapped
from .superpixels import superpixels


def lime(
    asked: Asked, samples: int = 100, patches: int = 50, sparse: float = 0.001, seed: int = 0
) -> Answer:
    """Map: each patch's weight, signed. `result`: the patches, H x W whole numbers.

    Args:
        samples: how many altered copies; the authors take 1000.
        patches: about so many.
        sparse: a, on a scale where the picture's own p_P (with p_Q) is 1.
        seed: of the copies. Ask with two, and see how far the answers agree.
    """
    cut = superpixels(asked.x, patches)
    asks = OneOutput(asked, of_probabilities=True)
    own = float(asked.v.abs() @ asked.probabilities) or 1.0
    imitate = Lime(
        lambda images: asks(images)[:, 0] / own, interpretable_model=SkLearnLasso(alpha=sparse)
    )
    torch.manual_seed(seed)
    how = dict(feature_mask=cut[None, None], n_samples=samples, perturbations_per_eval=4)
    with torch.no_grad():
        found = imitate.attribute(asked.x, **how)[0, 0]  # the same in each colour
    return mapped(asked, found, result=cut)
