"""Checks of ex06_judge: contrastive deletion, and how alike two maps are."""

import numpy as np
import torch
from scipy.stats import rankdata, spearmanr
from torch import Tensor, nn

from .chance import dice
from .ex06_game import POINTING
from .ex06_scores import AREA, VERDICT
from .known import remembering
from .networks import Network
from .part import Mistake, Part


def _deletion_cases(seed: int) -> list[tuple]:
    made = []
    for number, (h, w, counts) in enumerate(
        [(24, 24, [0, 40, 80, 420]), (20, 28, [0, 7, 60, 61, 300]), (32, 24, [0, 200, 600, 768])]
    ):
        rng = dice(seed, 20 + number)
        x, blurred = torch.randn(2, 3, h, w, generator=rng)
        evidence = torch.randn(h, w, generator=rng)
        if number == 1:  # most places tie at 0: they go in reading order
            evidence = evidence.relu()
            counts = [*counts[:-1], h * w - 5]
        classes = 5 + (seed + number) % 3
        p, q = torch.randperm(classes, generator=rng)[:2].tolist()
        network = Network("small", 100 * seed + number, classes)
        made.append(
            (
                network,
                x,
                blurred,
                evidence,
                p,
                q,
                [c + seed % 4 * (c > 0) * (number < 1) for c in counts],
            )
        )
    return made


def _pictures(
    x: Tensor, blurred: Tensor, evidence: Tensor, counts: list[int], sign: int = -1
) -> Tensor:
    order = np.argsort(sign * evidence.double().numpy(), axis=None, kind="stable")
    made = []
    for count in counts:
        gone = np.zeros(order.size, bool)
        gone[order[:count]] = True
        made.append(torch.where(torch.from_numpy(gone).view(evidence.shape), blurred, x))
    return torch.stack(made)


@remembering
def _logits(network: nn.Module, x, blurred, evidence, counts, sign: int) -> Tensor:
    with torch.no_grad():
        return network(_pictures(x, blurred, evidence, counts, sign))


def _margins(network: nn.Module, x, blurred, evidence, p: int, q: int, counts, sign=-1) -> Tensor:
    y = _logits(network, x, blurred, evidence, counts, sign)
    return y[:, p] - y[:, q]


def _only_p(network, x, blurred, evidence, p, q, counts):
    return _logits(network, x, blurred, evidence, counts, -1)[:, p]


def _of_probabilities(network, x, blurred, evidence, p, q, counts):
    shares = _logits(network, x, blurred, evidence, counts, -1).softmax(dim=1)
    return shares[:, p] - shares[:, q]


def _kept(network, x, blurred, evidence, p, q, counts):
    """Insertion in place of deletion."""
    return _margins(network, blurred, x, evidence, p, q, counts)


def _order_as_rank(network, x, blurred, evidence, p, q, counts):
    """The list of the places, taken for their ranks."""
    order = torch.from_numpy(np.argsort(-evidence.double().numpy(), axis=None, kind="stable"))
    return _margins(network, x, blurred, -order.view(evidence.shape), p, q, counts)


def _ties_reversed(network, x, blurred, evidence, p, q, counts):
    """Sorted upwards and read backwards."""
    turned = (t.flip((-2, -1)) for t in (x, blurred, evidence))
    pictures = _pictures(*turned, counts).flip((-2, -1))
    with torch.no_grad():
        y = network(pictures)
    return y[:, p] - y[:, q]


def _by_threshold(network, x, blurred, evidence, p, q, counts):
    """All places that are at least as high as the last one to go."""
    order = evidence.flatten().sort(descending=True).values
    reached = [int((evidence >= order[c - 1]).sum()) if c else 0 for c in counts]
    return _margins(network, x, blurred, evidence, p, q, reached)


def _black(network, x, blurred, evidence, p, q, counts):
    return _margins(network, x, torch.zeros_like(x), evidence, p, q, counts)


DELETION = Part(
    name="ex06_deletion",
    title="Contrastive deletion",
    points=4,
    answer="deletion_margins",
    draws=_deletion_cases,
    reference=_margins,
    axes="steps",
    mistakes=(
        Mistake(
            "the places with the LOWEST evidence go first here. Sort the other way round.",
            lambda *case: _margins(*case, sign=1),
        ),
        Mistake(
            "where places tie, those that come first in reading order go first: sort with"
            " stable=True.",
            _ties_reversed,
        ),
        Mistake(
            "the list of places, best first, is not yet the rank of each place: the rank is its"
            " inverse (hint 2).",
            _order_as_rank,
        ),
        Mistake(
            "the evidence went through a ReLU before it was sorted, so that all negative places "
            "tie. The map is signed: -0.1 is more than -2.",
            lambda n, x, b, evidence, *rest: _margins(n, x, b, evidence.relu(), *rest),
        ),
        Mistake(
            "you sorted by absolute values: what speaks against P went first. Sort with the sign.",
            lambda n, x, b, evidence, *rest: _margins(n, x, b, evidence.abs(), *rest),
        ),
        Mistake(
            "one place too many is removed at each step: `rank < count`, since ranks begin at 0.",
            lambda *case: _margins(*case[:6], [min(c + 1, case[3].numel()) for c in case[6]]),
        ),
        Mistake(
            "where places tie at the threshold you remove "
            "all of them. A step removes exactly `count`.",
            _by_threshold,
        ),
        Mistake(
            "each step goes on from the picture of the one before. Each begins with x anew.",
            lambda *case: _margins(
                *case[:6], torch.tensor(case[6]).cumsum(0).clamp(max=case[3].numel()).tolist()
            ),
        ),
        Mistake("this is y_P alone. The question names Q as well: take y_P - y_Q.", _only_p, 0.25),
        Mistake("the sign is wrong: this is y_Q - y_P.", lambda *case: -_margins(*case), 0.25),
        Mistake(
            "the margin is one of logits, y_P - y_Q, not of probabilities: those saturate near 0"
            " and 1.",
            _of_probabilities,
            0.25,
        ),
        Mistake(
            "you begin with the blurred image and put the sharp places in (that measure is called"
            " insertion). Deletion begins with x.",
            _kept,
        ),
        Mistake(
            "the deleted places are 0. A hole is a shape that the network sees, too: use the"
            " blurred image.",
            _black,
        ),
    ),
    failures=(
        (
            "Expected 3D (unbatched) or 4D",
            "Put the pictures of all steps into one batch, steps x 3 x H x W.",
        ),
        ("got 3D input", "Put the pictures of all steps into one batch, steps x 3 x H x W."),
        ("out of bounds", "The places are counted in the flattened map, 0 to H * W - 1."),
        (
            "must match the size",
            "A mask of H x W is stretched over the three colours by torch.where.",
        ),
    ),
)


def _alike_cases(seed: int) -> list[tuple]:
    made = []
    for number, (n, h, w) in enumerate([(3, 6, 6), (4, 5, 9), (2, 12, 7), (3, 8, 8)]):
        rng = dice(seed, 40 + number)
        n, h = n + seed % 2, h + seed % 3
        before, after = torch.randn(2, n, h, w, generator=rng)
        after = after + before * torch.linspace(-2, 2, n)[:, None, None]
        if number == 1:  # ties, as maps after a ReLU have them
            before, after = before.relu(), after.relu()
        if number == 2:  # a bent scale keeps the order of the places
            after = torch.exp(3 * before) + 5 * torch.arange(n)[:, None, None]
        if number == 3:
            after[1] = 0.0  # an empty map
        made.append((before, after))
    return made


@remembering
def _alike(before: Tensor, after: Tensor, correlation=None, flat: float = 0.0) -> Tensor:
    """Spearman's rho for each image, `flat` where a map is the same everywhere."""
    rhos = []
    for one, other in zip(before.double().flatten(1).numpy(), after.double().flatten(1).numpy()):
        known = np.ptp(one) > 0 and np.ptp(other) > 0
        if correlation is None:
            rhos.append(spearmanr(one, other).statistic if known else flat)
        else:
            rhos.append(correlation(one, other) if known else flat)
    return torch.tensor(rhos).float()


def _pearson(one: np.ndarray, other: np.ndarray) -> float:
    a, b = one - one.mean(), other - other.mean()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def _of_ranks(one: np.ndarray, other: np.ndarray) -> float:
    """As scipy has it, but sooner: the mistakes are tried many times."""
    return _pearson(rankdata(one), rankdata(other))


def _cosine_of_ranks(one: np.ndarray, other: np.ndarray) -> float:
    a, b = rankdata(one), rankdata(other)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def _broken_ties(one: np.ndarray, other: np.ndarray) -> float:
    a, b = (np.argsort(np.argsort(values, kind="stable"), kind="stable") for values in (one, other))
    return _pearson(a, b)


def _order_for_rank(one: np.ndarray, other: np.ndarray) -> float:
    a, b = (np.argsort(values, kind="stable") for values in (one, other))
    return _pearson(a, b)


def _torch_ranks(maps: Tensor) -> Tensor:
    """Ranks by torch's own argsort, which breaks ties in an order that it does not promise."""
    ranks = maps.flatten(1).argsort(dim=1).argsort(dim=1)
    return ranks.view(maps.shape)


_TIES = (
    "ties have been broken by their order. Places of equal evidence share their mean rank:"
    " `average_ranks` does that."
)

ALIKE = Part(
    name="ex06_alike",
    title="How alike are two maps?",
    points=3,
    answer="similarity",
    draws=_alike_cases,
    reference=_alike,
    axes="N",
    mistakes=(
        Mistake(
            "this is the correlation of the values themselves. Spearman's is that of their ranks.",
            lambda before, after: _alike(before, after, _pearson),
        ),
        Mistake(_TIES, lambda before, after: _alike(before, after, _broken_ties)),
        Mistake(
            _TIES, lambda before, after: _alike(_torch_ranks(before), _torch_ranks(after), _pearson)
        ),
        Mistake(
            "`argsort` gives the order of the places, not their ranks: the rank is its inverse.",
            lambda before, after: _alike(before, after, _order_for_rank),
        ),
        Mistake(
            "a map that is the same everywhere has no ranking: 0, not 1.",
            lambda before, after: _alike(before, after, _of_ranks, 1.0),
            share=0.5,
        ),
        Mistake(
            "every image was compared with the first map. Compare image n with image n.",
            lambda before, after: _alike(before[:1].expand_as(before), after, _of_ranks),
        ),
        Mistake(
            "take the mean of the ranks away before you multiply: without that, even unrelated maps"
            " look alike.",
            lambda before, after: _alike(before, after, _cosine_of_ranks),
        ),
        Mistake(
            "the sign is lost. A map that has turned over is not the same map.",
            lambda before, after: _alike(before, after).abs(),
            share=0.25,
        ),
        Mistake(
            "one number for the whole batch? Every image has its own rank correlation.",
            lambda before, after: _alike(
                before.reshape(1, 1, -1), after.reshape(1, 1, -1), _of_ranks
            )[0],
        ),
    ),
    failures=(("division by zero", "A map that is the same everywhere has no ranking: answer 0."),),
)

PARTS = (POINTING, DELETION, AREA, ALIKE, VERDICT)
