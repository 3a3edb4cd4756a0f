"""Deconvolution (Zeiler and Fergus, Visualizing and understanding CNNs, ECCV 2014).

    R^l = (R^{l+1})^+   in place of a ReLU's own  (A^l > 0) R^{l+1}

On the way back from the output a rectifier keeps what is positive in the signal, and does not ask
what was active on the way forward. So a network in which nothing but ReLUs depends on the image has
one map for all images; it is max-pooling, which remembers where its maxima were, that brings the
image in. captum's `Deconvolution`.
"""

from captum.attr import Deconvolution

from .asked import Answer, Asked, OneOutput, mapped, seen_from_afar
from .rectifiers import rectified


def deconvolution(asked: Asked) -> Answer:
    """Map: the largest size of a pixel's three numbers, in blocks. `result`: 3 x H x W, signed."""
    network = OneOutput(asked, network=rectified(asked.network, asked.x))
    found = Deconvolution(network).attribute(asked.x.clone(), target=0)[0].detach()
    return mapped(asked, seen_from_afar(found), result=found)
