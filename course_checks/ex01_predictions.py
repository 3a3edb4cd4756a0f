"""Cases, right answers and known mistakes of ex01_questions: reading predictions, choosing P and
Q.
"""

from math import exp

import torch
from torch import Tensor

from .part import Case, Mistake

# --- reading predictions --------------------------------------------------------------------------

_NAMES = (
    "spoonbill", "flamingo", "white stork", "goose", "black swan", "bustard", "pelican",
    "king penguin", "albatross", "grey whale", "sea lion", "espresso",
)  # fmt: skip


def draw(seed: int, n: int, classes: int, scale: float = 2.0) -> tuple[Tensor, list[str]]:
    generator = torch.Generator().manual_seed(7919 * seed + 31 * n + classes)
    order = torch.randperm(len(_NAMES), generator=generator)[:classes].tolist()
    return scale * torch.randn(n, classes, generator=generator), [_NAMES[i] for i in order]


def cases_top(seed: int) -> list[Case]:
    plain = (*draw(seed, 3, 5 + seed % 3), 3)
    tied, names = draw(seed, 2, 6 + seed % 2)
    tied[:, [1, 3, 4]] = tied.amax(dim=1, keepdim=True) + 0.5  # three share the first place
    huge, others = draw(seed, 1, 4 + seed % 4, scale=3.0)
    huge = huge + 1000  # the exponential of such numbers overflows
    return [plain, (tied, names, 4), (huge, others, len(others)), (*draw(seed, 4, 8), 1)]


def top(logits: Tensor, categories: list[str], k: int) -> list:
    """By sorting pairs in plain Python, in double precision."""
    rows = []
    for row in logits.double().tolist():
        powers = [exp(y - max(row)) for y in row]
        order = sorted(range(len(row)), key=lambda c: (-row[c], c))[:k]
        rows.append([[categories[c], powers[c] / sum(powers)] for c in order])
    return rows


def _named(values: Tensor, categories: list[str], k: int, largest: bool = True) -> list:
    """The k first by these values, which are given as if they were probabilities."""
    found, order = values.double().sort(dim=1, descending=largest, stable=True)
    rows = zip(order[:, :k].tolist(), found[:, :k].tolist())
    return [[[categories[c], p] for c, p in zip(*row)] for row in rows]


def _tied_backwards(logits: Tensor, categories: list[str], k: int) -> list:
    return _named(logits.softmax(1).flip(1), categories[::-1], k)


def _by_topk(logits: Tensor, categories: list[str], k: int) -> list:
    found = logits.softmax(1).topk(k, dim=1)
    rows = zip(found.indices.tolist(), found.values.tolist())
    return [[[categories[c], p] for c, p in zip(*row)] for row in rows]


def _softmax_of_k(logits: Tensor, categories: list[str], k: int) -> list:
    rows = top(logits, categories, k)
    return [[[name, p / sum(q for _, q in row)] for name, p in row] for row in rows]


def _rounded(rows: list, digits: int) -> list:
    return [[[name, round(p, digits)] for name, p in row] for row in rows]


TOP_MISTAKES = (
    Mistake(
        "these are logits. A probability lies between 0 and 1: send the logits through a softmax.",
        lambda y, names, k: _named(y, names, k),
    ),
    Mistake(
        "your softmax runs over the images (dim 0). Each image shares its belief among the "
        "*classes*: every row must sum to 1.",
        lambda y, names, k: _named(y.softmax(0), names, k),
    ),
    Mistake(
        "this is a sigmoid, which looks at each logit by itself. The classes of an image share one "
        "belief: softmax.",
        lambda y, names, k: _named(y.sigmoid(), names, k),
    ),
    Mistake(
        "these are *logarithms* of probabilities: `softmax`, not `log_softmax`.",
        lambda y, names, k: _named(y.log_softmax(1), names, k),
    ),
    Mistake(
        "you chose the k largest first and took the softmax of those. The classes that you do not "
        "show have their share of the belief, too.",
        _softmax_of_k,
    ),
    Mistake(
        "these are the *least* probable classes: sort in descending order.",
        lambda y, names, k: _named(y.softmax(1), names, k, largest=False),
    ),
    Mistake(
        "of classes with the same probability, the one with the lower number comes first. A stable "
        "sort keeps their order.",
        _tied_backwards,
    ),
    Mistake(
        "of classes with the same probability, the one with the lower number comes first. `topk` "
        "promises nothing about them; a stable sort keeps their order.",
        _by_topk,
    ),
    Mistake(
        "this is the answer for the first image only. Return one list for each image of the batch.",
        lambda y, names, k: top(y[:1], names, k),
    ),
    Mistake(
        "one list for each image is missing around it, even where there is only one image.",
        lambda y, names, k: top(y, names, k)[0],
    ),
    Mistake(
        "these are percentages; give probabilities between 0 and 1.",
        lambda y, names, k: [[[name, 100 * p] for name, p in row] for row in top(y, names, k)],
    ),
    *(
        Mistake(
            "your probabilities are rounded. Round when you print, not before.",
            lambda y, names, k, digits=digits: _rounded(top(y, names, k), digits),
        )
        for digits in (4, 3, 2)
    ),
    Mistake(
        "a learner of birds cannot read class numbers: give names, from `categories`.",
        lambda y, names, k: top(y, list(range(len(names))), k),
    ),
)


# --- choosing P and Q -----------------------------------------------------------------------------


def cases_choose(seed: int) -> list[Case]:
    negative, names = draw(seed, 2, 5 + seed % 4)
    return [draw(seed, 3, 6 + seed % 3), draw(seed, 1, 4 + seed % 5), (negative - 30, names)]


def columns(logits: Tensor, categories: list[str]) -> list:
    """The first, second and last *column*, whatever the logits say."""
    names = {"P": categories[0], "near Q": categories[1], "far Q": categories[-1]}
    return [names for _ in logits]


def choice(logits: Tensor, categories: list[str], places: tuple[int, int, int]) -> list:
    """P, near Q and far Q from these places of the order of probability."""
    keys = ("P", "near Q", "far Q")
    orders = [sorted(range(len(row)), key=lambda c: -row[c]) for row in logits.tolist()]
    return [{key: categories[order[place]] for key, place in zip(keys, places)} for order in orders]


CHOOSE_MISTAKES = (
    Mistake(
        "your near Q is P itself. The runner-up is the *second* in the order.",
        lambda y, names: choice(y, names, (0, 0, -1)),
        share=0.5,
    ),
    Mistake(
        "your near Q is the third in the order. The runner-up is the *second*.",
        lambda y, names: choice(y, names, (0, 2, -1)),
        share=0.5,
    ),
    Mistake(
        "your far Q is the last but one. Take the *least* probable class of all.",
        lambda y, names: choice(y, names, (0, 1, -2)),
        share=0.5,
    ),
    Mistake(
        "your far Q is the last *column* of the table, the same for every image. Take the last in "
        "the order of probability.",
        lambda y, names: [row | {"far Q": names[-1]} for row in choice(y, names, (0, 1, -1))],
        share=0.5,
    ),
    Mistake(
        "these are columns of the table. Sort each image's logits first.",
        columns,
    ),
    Mistake(
        "your softmax runs over the images (dim 0). Sort each image's own row; the logits will do.",
        lambda y, names: choice(y.softmax(0), names, (0, 1, -1)),
    ),
    Mistake(
        "every image got the answer of the first one. Each has its own order.",
        lambda y, names: choice(y[:1].expand_as(y), names, (0, 1, -1)),
    ),
    Mistake(
        "near and far have changed places: near is what the network holds for possible.",
        lambda y, names: choice(y, names, (0, -1, 1)),
        share=0.3,
    ),
    Mistake(
        "your far Q is only the third in the order; take the *least* probable class of all.",
        lambda y, names: choice(y, names, (0, 1, 2)),
        share=0.5,
    ),
    Mistake(
        "your P is the least probable class. P is what the network says: the largest logit.",
        lambda y, names: choice(y, names, (-1, -2, 0)),
    ),
    Mistake(
        "you ranked by size without the sign. A logit of -9 is small: it is far from -9 to 9.",
        lambda y, names: choice(y.abs(), names, (0, 1, -1)),
    ),
    Mistake(
        "this is the answer for the first image only. Return one dictionary for each image.",
        lambda y, names: choice(y[:1], names, (0, 1, -1)),
    ),
    Mistake(
        "these are class numbers. Somebody has to read the question: give names.",
        lambda y, names: choice(y, list(range(len(names))), (0, 1, -1)),
        share=0.5,
    ),
)
