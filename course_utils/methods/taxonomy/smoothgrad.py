"""SmoothGrad (Smilkov et al., SmoothGrad: removing noise by adding noise, 2017).

    M = mean_n  dJ/dx (x + e_n),   e_n ~ N(0, s^2),  s = 15 % of the picture's range

J is the question's number, y_P or y_P - y_Q. captum's `NoiseTunnel` around `Saliency`.
"""

from captum.attr import NoiseTunnel, Saliency

from .asked import Answer, Asked, OneOutput, mapped, seen_from_afar


def smoothgrad(asked: Asked, copies: int = 16, noise: float = 0.15) -> Answer:
    """Map: the size of the mean gradient, in blocks. `result`: 3 x H x W, signed.

    Args:
        copies: how many noisy copies; the paper advises 50.
        noise: standard deviation, as a share of the picture's range.
    """
    spread = noise * float(asked.x.max() - asked.x.min())
    how = dict(nt_type="smoothgrad", nt_samples=copies, nt_samples_batch_size=4, stdevs=spread)
    tunnel = NoiseTunnel(Saliency(OneOutput(asked)))
    found = tunnel.attribute(asked.x.clone(), target=0, abs=False, **how)[0].detach()
    return mapped(asked, seen_from_afar(found), result=found)
