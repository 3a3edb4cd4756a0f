"""Cases, right answers and known mistakes of ex03_counterfactual: the deletion test."""

from collections.abc import Callable
from math import ceil

import torch
from torch import Tensor, nn

from .ex03_maps import random
from .known import remembering
from .networks import Network
from .part import Case, Mistake

# --- deleting -------------------------------------------------------------------------------------


def cases_delete(seed: int) -> list[Case]:
    """A batch; an empty map beside a full one; a map with fewer positive pixels than are asked
    for.
    """
    more = 2 * (seed % 3)
    return [
        _delete_case(seed, 2, 6, 8 + more, 0.22),
        _delete_case(seed + 1, 2, 8 + more, 4, 0.5, empty=seed % 2),
        _delete_case(seed + 2, 1, 8, 8 + more, 0.25, positive=5 + seed % 4),
        _delete_case(seed + 3, 3, 7, 9 + more, 0.13),
    ]


def _delete_case(
    seed: int, n: int, h: int, w: int, share: float, empty: int = -1, positive: int = 0
) -> Case:
    heat = random(seed, n, h, w).abs()
    heat *= torch.arange(1, n + 1)[:, None, None]  # images whose maps differ in strength
    if empty >= 0:
        heat[empty] = 0
    if positive:
        least = heat.flatten().topk(positive).values[-1]
        heat = torch.where(heat >= least, heat, 0)
    heat = heat / heat.max()
    return random(seed + 7, n, 3, h, w), heat, share, random(seed + 8, n, 3, h, w)


def delete(x: Tensor, heat: Tensor, share: float, fill: Tensor) -> Tensor:
    """Pixel by pixel, by sorting in plain Python."""
    made = x.clone()
    h, w = heat.shape[1:]
    for n, values in enumerate(heat.flatten(1).tolist()):
        order = sorted(
            (at for at, value in enumerate(values) if value > 0), key=lambda at: -values[at]
        )
        for at in order[: int(share * h * w)]:
            made[n, :, at // w, at % w] = fill[n, :, at // w, at % w]
    return made


def _by_mask(x: Tensor, mask: Tensor, fill: Tensor) -> Tensor:
    return torch.where(mask[:, None], fill, x)


def _top(heat: Tensor, share: float, largest: bool = True) -> Tensor:
    """The k highest pixels of each map, whether or not they are positive."""
    flat = heat.flatten(1)
    order = flat.argsort(dim=1, descending=largest, stable=True)[:, : int(share * flat.shape[1])]
    return torch.zeros_like(flat).scatter(1, order, 1).bool().view(heat.shape)


def _unstable_top(heat: Tensor, share: float) -> Tensor:
    flat = heat.flatten(1)
    order = flat.topk(int(share * flat.shape[1]), dim=1).indices
    return torch.zeros_like(flat).scatter(1, order, 1).bool().view(heat.shape)


def _above_last(heat: Tensor, share: float) -> Tensor:
    """All pixels that are at least as high as the k-th: every one of a map of zeros."""
    flat = heat.flatten(1)
    return heat >= flat.topk(int(share * flat.shape[1]), dim=1).values[:, -1, None, None]


def _deleted(x: Tensor, heat: Tensor, share: float, fill: Tensor) -> Tensor:
    """As `delete`, but sooner: the mistakes are tried many times."""
    return _by_mask(x, _top(heat, share) & (heat > 0), fill)


def _of_count(rounded) -> Callable[..., Tensor]:
    """The right deletion, but for how share * H * W becomes a whole number."""

    def makes(x: Tensor, heat: Tensor, share: float, fill: Tensor) -> Tensor:
        pixels = heat[0].numel()
        return _deleted(x, heat, (rounded(share * pixels) + 1e-6) / pixels, fill)

    return makes


def _above_share_of_maximum(x: Tensor, heat: Tensor, share: float, fill: Tensor) -> Tensor:
    largest = heat.amax((1, 2), keepdim=True)
    return _by_mask(x, (heat >= (1 - share) * largest) & (heat > 0), fill)


def _of_positive(x: Tensor, heat: Tensor, share: float, fill: Tensor) -> Tensor:
    masks = []
    for one in heat:
        least = one[one > 0].sort(descending=True).values[: int(share * int((one > 0).sum()))]
        masks.append(one >= least[-1] if len(least) else torch.zeros_like(one, dtype=torch.bool))
    return _by_mask(x, torch.stack(masks), fill)


def _one_ranking(x: Tensor, heat: Tensor, share: float, fill: Tensor) -> Tensor:
    return _by_mask(x, _top(heat.reshape(1, 1, -1), share).view(heat.shape) & (heat > 0), fill)


EMPTY = (
    "a map without positive pixels points nowhere, and yet you delete something. Delete positive "
    "pixels only, even if they are fewer than the share."
)
DELETE_MISTAKES = (
    Mistake(EMPTY, lambda x, heat, share, fill: _by_mask(x, _above_last(heat, share), fill)),
    Mistake(EMPTY, lambda x, heat, share, fill: _by_mask(x, _top(heat, share), fill)),
    Mistake(EMPTY, lambda x, heat, share, fill: _by_mask(x, _unstable_top(heat, share), fill)),
    Mistake(
        "you deleted the *lowest* pixels of the map.",
        lambda x, heat, share, fill: _by_mask(x, _top(heat, share, largest=False), fill),
    ),
    Mistake(
        "you kept what should go and deleted the rest: exchange x and fill.",
        lambda x, heat, share, fill: _by_mask(fill, _top(heat, share) & (heat > 0), x),
        share=0.3,
    ),
    Mistake(
        "you compared the map's *values* with the share. A share of the pixels is meant: the k "
        "highest, whatever their values.",
        lambda x, heat, share, fill: _by_mask(x, heat > 1 - share, fill),
    ),
    Mistake(
        "you compared the map's *values* with the share. A share of the pixels is meant: the k "
        "highest, whatever their values.",
        lambda x, heat, share, fill: _by_mask(x, heat > share, fill),
    ),
    Mistake(
        "you compared the map's *values* with a part of its maximum. A share of the pixels is "
        "meant: "
        "the k highest, whatever their values.",
        _above_share_of_maximum,
    ),
    Mistake(
        "k is rounded *down*: int(share * H * W). You rounded to the nearest whole number.",
        _of_count(round),
        share=0.5,
    ),
    Mistake("k is rounded *down*: int(share * H * W). You rounded up.", _of_count(ceil), share=0.5),
    Mistake(
        "every image lost the pixels of the first map: each has a map of its own.",
        lambda x, heat, share, fill: _deleted(x, heat[:1].expand_as(heat), share, fill),
    ),
    Mistake(
        "every image got the fill of the first one: each has a fill of its own.",
        lambda x, heat, share, fill: _deleted(x, heat, share, fill[:1].expand_as(fill)),
        share=0.5,
    ),
    Mistake(
        "you ranked the pixels of all images together, so that a strong map loses more than "
        "its "
        "neighbour. Each image loses its own k.",
        _one_ranking,
    ),
    Mistake("k is a share of *all* pixels, not of the positive ones.", _of_positive, share=0.5),
    Mistake(
        "you put zeros in the hole, which is a grey colour to a network. Put the fill there.",
        lambda x, heat, share, fill: _by_mask(
            x, _top(heat, share) & (heat > 0), torch.zeros_like(x)
        ),
        share=0.5,
    ),
)


# --- what became of the logit ---------------------------------------------------------------------


def cases_change(seed: int) -> list[Case]:
    s, more = 10 * seed, 4 * (seed % 3)
    shapes = (4, 3, 16 + more, 20), (1, 3, 20, 24 + more), (2, 3, 24, 16)
    classes = [2, 0, (seed + 1) % 5, 3], [2], [1 + seed % 3, 5]
    return [
        (
            Network("small", s + k, 5 + (k == 3)),
            random(seed, *shape),
            random(seed + 1, *shape),
            list(P),
        )
        for k, shape, P in zip((1, 2, 3), shapes, classes)
    ]


@remembering
def _logits(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x)


def _differ(
    model: nn.Module, x: Tensor, x_after: Tensor, P: list[int], made_of=lambda y: y
) -> Tensor:
    gap = made_of(_logits(model, x_after)) - made_of(_logits(model, x))
    return gap[range(len(P)), P]


def change(model: nn.Module, x: Tensor, x_after: Tensor, P: list[int]) -> Tensor:
    return _differ(model, x, x_after, P)


CHANGE_MISTAKES = (
    Mistake(
        "you took the change of the probability. The claim is about the logit of P: no "
        "softmax, which "
        "mixes in what happens to all other classes.",
        lambda *case: _differ(*case, made_of=lambda y: y.softmax(1)),
    ),
    Mistake(
        "you took the change of the *logarithm* of the probability. The claim is about the "
        "logit of P: "
        "no log-softmax, which mixes in what happens to all other classes.",
        lambda *case: _differ(*case, made_of=lambda y: y.log_softmax(1)),
    ),
    Mistake(
        "this is the logit after the deletion. Take the logit before away from it.",
        lambda model, x, after, P: _logits(model, after)[range(len(P)), P],
    ),
    Mistake(
        "the sign is turned round: after minus before, so that a rise is positive.",
        lambda *case: -change(*case),
        share=0.3,
    ),
    Mistake(
        "a fall and a rise are not the same: keep the sign.", lambda *case: change(*case).abs()
    ),
    Mistake(
        "you followed the predicted class. Follow P, whatever the network predicts.",
        lambda model, x, after, P: _logits(model, after).amax(1) - _logits(model, x).amax(1),
    ),
    Mistake(
        "P has a class for each image: pair row n with P[n].",
        lambda model, x, after, P: (_logits(model, after) - _logits(model, x))[:, P],
        share=0.3,
    ),
    Mistake(
        "you used the first class of P for all images: pair row n with P[n].",
        lambda model, x, after, P: (_logits(model, after) - _logits(model, x))[:, P[0]],
        share=0.3,
    ),
    Mistake(
        "give one number for each image; the mean comes later.",
        lambda *case: change(*case).mean(),
        share=0.3,
    ),
)


# --- compared with the control --------------------------------------------------------------------


def cases_compare(seed: int) -> list[Case]:
    """Changes with a zero and a tie among them. Of a prime number no share is 0.5 or 0.7, a
    guess.
    """
    cases = []
    for k, n in enumerate((13, 17 if seed % 2 else 11, 19)):
        more = (0.4, -0.8, 0.4)[k]  # in one case the control does more
        changes, controls = random(seed + k, n) + more, random(seed + k + 3, n)
        changes[seed % n], controls[(seed + 1) % n] = 0, 0
        controls[(seed + 2) % n] = changes[(seed + 2) % n] = 0.5
        cases.append((changes, controls))
    return cases


def compare(changes: Tensor, controls: Tensor) -> dict[str, float]:
    """In plain Python."""
    pairs = list(zip(changes.double().tolist(), controls.double().tolist()))
    return {
        "rises": sum(a > 0 for a, _ in pairs) / len(pairs),
        "control rises": sum(b > 0 for _, b in pairs) / len(pairs),
        "wins": sum(a > b for a, b in pairs) / len(pairs),
        "advantage": sum(a - b for a, b in pairs) / len(pairs),
    }


def _share(yes: Tensor) -> float:
    return yes.double().mean().item()


COMPARE_MISTAKES = (
    Mistake(
        "a change of exactly 0 is no rise, and a tie is no win: `>`, not `>=`.",
        lambda a, b: {
            "rises": _share(a >= 0),
            "control rises": _share(b >= 0),
            "wins": _share(a >= b),
            "advantage": compare(a, b)["advantage"],
        },
        share=0.5,
    ),
    Mistake(
        "a tie is no win: `>`, not `>=`.",
        lambda a, b: compare(a, b) | {"wins": _share(a >= b)},
        share=0.7,
    ),
    Mistake(
        "these are numbers of questions. Give shares: divide by how many there are.",
        lambda a, b: {k: v * (len(a) if k != "advantage" else 1) for k, v in compare(a, b).items()},
        share=0.5,
    ),
    Mistake(
        "the advantage is a difference: the map's mean change *minus* the control's.",
        lambda a, b: compare(a, b) | {"advantage": a.mean().item()},
        share=0.5,
    ),
    Mistake(
        "the advantage has lost its sign: where the control does more, it is below 0.",
        lambda a, b: compare(a, b) | {"advantage": abs(compare(a, b)["advantage"])},
    ),
    Mistake(
        "'wins' compares the map with the control, question by question, not with 0.",
        lambda a, b: compare(a, b) | {"wins": _share((a > 0) & (b <= 0))},
        share=0.5,
    ),
    Mistake(
        "'wins' counts the control's wins: the map wins where its change is the larger one.",
        lambda a, b: compare(a, b) | {"wins": _share(b > a)},
        share=0.5,
    ),
    Mistake("map and control have changed places.", lambda a, b: compare(b, a)),
    Mistake(
        "these are percentages. Give shares from 0 to 1, and the advantage in logits.",
        lambda a, b: {key: 100 * value for key, value in compare(a, b).items()},
    ),
    *(
        Mistake(
            "this is rounded. Round when you print, not before.",
            lambda a, b, digits=digits: {k: round(v, digits) for k, v in compare(a, b).items()},
        )
        for digits in (2, 3, 4)
    ),
    Mistake(
        "a rise is a change *above* 0: you counted those below.",
        lambda a, b: compare(a, b) | {"rises": _share(a < 0), "control rises": _share(b < 0)},
    ),
    Mistake(
        "the advantage is a difference of mean *changes*, in logits, not of shares.",
        lambda a, b: compare(a, b) | {"advantage": _share(a > 0) - _share(b > 0)},
    ),
    Mistake(
        "this is the sum over the questions: take the mean.",
        lambda a, b: compare(a, b) | {"advantage": (a - b).sum().item()},
    ),
)
