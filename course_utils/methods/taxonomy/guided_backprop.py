"""Guided-Backprop (Springenberg et al., Striving for simplicity, ICLR workshop 2015).

    R^l = (A^l > 0) (R^{l+1})^+

A rectifier passes back what is positive in the signal, where it was active on the way forward: the
plain gradient and Deconvolution in one. captum's `GuidedBackprop`.
"""

from captum.attr import GuidedBackprop

from .asked import Answer, Asked, OneOutput, mapped, seen_from_afar
from .rectifiers import rectified


def guided_backprop(asked: Asked) -> Answer:
    """Map: the largest size of a pixel's three numbers, in blocks. `result`: 3 x H x W, signed."""
    network = OneOutput(asked, network=rectified(asked.network, asked.x))
    found = GuidedBackprop(network).attribute(asked.x.clone(), target=0)[0].detach()
    return mapped(asked, seen_from_afar(found), result=found)
