"""CEM (Dhurandhar et al., Explanations based on the missing, NeurIPS 2018), its equations 1 and 3.

    negative: least d with "not P" (or "Q") at x + d      c (y_P - y_other + k)^+ + b |d|_1 + |d|^2
    positive: least part that is "P" by itself            c (y_other - y_P + k)^+ + b |m|_1 + |m|^2

by FISTA. *Readings:* in a photo no value means "nothing there". So the negative may darken as well
as brighten, and the positive keeps whole patches m on the picture's mean colour. An autoencoder's
error may be added (g |z - AE(z)|^2); without one the negative is adversarial, and is not seen.
"""

import torch
from torch import Tensor

from .asked import Answer, Asked, mapped
from .fista import fista
from .sets import show
from .superpixels import superpixels


def _rival(y: Tensor, p: int, q: int | None) -> Tensor:
    """The logit that is to win: Q's, or the largest besides P's."""
    if q is not None:
        return y[0, q]
    return torch.cat([y[0, :p], y[0, p + 1 :]]).max()


def negative(
    asked: Asked, steps: int = 40, c: float = 20.0, beta: float = 0.05, kappa: float = 0.5,
    rate: float = 0.01, gamma: float = 0.0, autoencoder=None,
) -> Tensor | None:  # fmt: skip
    """d, 1 x 3 x H x W: the least that makes it another class (Q, if named)."""
    low, high = float(asked.x.min()), float(asked.x.max())

    def loss(d):
        y = asked.network(asked.x + d)
        margin = y[0, asked.p] - _rival(y, asked.p, asked.q)
        penalty = c * (margin + kappa).relu()
        if autoencoder is not None:
            penalty = penalty + gamma * (asked.x + d - autoencoder(asked.x + d)).square().sum()
        return penalty, bool(margin < 0)

    def into(d):
        return (asked.x + d).clamp(low, high) - asked.x

    return fista(torch.zeros_like(asked.x), loss, into, steps, rate, beta)


def positive(
    asked: Asked, steps: int = 40, patches: int = 36, c: float = 2.0, beta: float = 0.05,
    kappa: float = 0.1, rate: float = 0.1,
) -> tuple[Tensor | None, Tensor]:  # fmt: skip
    """How much of each patch is kept, in [0, 1], and the patches, H x W."""
    cut = superpixels(asked.x, patches)
    blank = asked.x.mean((2, 3), keepdim=True)

    def loss(m):
        y = asked.network(blank + m[cut] * (asked.x - blank))
        margin = _rival(y, asked.p, None) - y[0, asked.p]
        return c * (margin + kappa).relu(), bool(margin < 0)

    everything = torch.ones(int(cut.max()) + 1).to(asked.x)
    return fista(everything, loss, lambda m: m.clamp(0, 1), steps, rate, beta), cut


def cem(asked: Asked, steps: int = 40, **options) -> Answer:
    """Map: the size of the pertinent negative. `result`: the dictionary below. `pictures`: both.

    negative: d, 1 x 3 x H x W, or None; after: the class at x + d; kept: each patch's share, or
    None; patches: H x W.

    Args:
        steps: of each search. options: for `negative`.
    """
    d = negative(asked, steps, **options)
    kept, cut = positive(asked, steps)
    x, blank = asked.x, asked.x.mean((2, 3), keepdim=True)
    said, pictures, after = "Nothing found that must be absent", [], None
    change = torch.zeros(asked.seen.size) if d is None else d.abs().amax(1)[0]
    if d is not None:
        with torch.no_grad():
            after = int(asked.network(x + d).argmax())
        share = float(d.abs().max() / (x.max() - x.min()))
        said = f"A change of {share:.1%} of the range makes it {asked.name(after)}"
        if asked.q not in (None, after):
            said = f"A change of {share:.1%} of the range puts {asked.name(asked.q)} before P; "
            said += f"the network then says {asked.name(after)}"
        if not share:
            said = f"Nothing must be absent: the network says {asked.name(after)}, not P"
        pictures = [(show(asked.network, x + d), f"with what must be absent: {asked.name(after)}")]
    if kept is not None:
        pictures.append((show(asked.network, blank + kept[cut] * (x - blank)), "what suffices"))
        said += f"; {int((kept > 0.05).sum())} of {len(kept)} patches suffice for P"
    result = dict(negative=d, after=after, kept=kept, patches=cut)
    wide = torch.nn.functional.avg_pool2d(change[None, None], 5, 1, 2)[0, 0]
    return mapped(asked, wide, result=result, said=said + ".", pictures=pictures)
