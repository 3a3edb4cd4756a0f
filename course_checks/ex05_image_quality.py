"""Checks of ex05_image_quality: pooling, and the same question asked of every patch."""

import torch
from torch import Tensor

from .chance import dice
from .ex05_places import FIND, LAY_BACK, PICTURE
from .ex05_whole import PROOF, TRAP
from .part import Mistake, Part


def _pool_cases(seed: int) -> list[tuple]:
    made = []
    for number, (n, p) in enumerate([(1, 6), (2, 9), (3, 1), (2, 12)]):
        rng = dice(seed, number)
        scores = torch.rand(n, p + seed % 3, generator=rng)
        weights = torch.rand(n, p + seed % 3, generator=rng) ** 3 + 1e-6
        if number == 3:  # a picture whose patches hardly count, all of them alike
            weights[1] = 1e-6
        made.append((scores, weights))
    return made


def _pooled(scores: Tensor, weights: Tensor) -> Tensor:
    shares = weights / weights.sum(dim=1, keepdim=True)
    return torch.einsum("np,np->n", shares, scores)


POOL = Part(
    name="ex05_pool",
    visible=-1,
    title="From patches to a photo's score",
    points=2,
    answer="photo_scores",
    draws=_pool_cases,
    reference=_pooled,
    axes="N",
    mistakes=(
        Mistake(
            "this is the plain mean (DIQaM). Here each patch counts by its weight.",
            lambda q, w: q.mean(dim=1),
        ),
        Mistake(
            "the weights do not add up to 1: without a division the score grows with the weights.",
            lambda q, w: (w * q).sum(dim=1),
        ),
        Mistake(
            "you divide by the number of patches. Divide by the sum of the weights: else weights "
            "twice as large would give a score twice as good.",
            lambda q, w: (w * q).mean(dim=1),
        ),
        Mistake(
            "the weights went through a softmax. They are positive already, and count as they are.",
            lambda q, w: (w.softmax(dim=1) * q).sum(dim=1),
        ),
        Mistake(
            "the sums run over the patches of all photos "
            "together: one score for each photo, please.",
            lambda q, w: ((w * q).sum() / w.sum()).expand(len(q)),
        ),
    ),
)


def _patch_cases(seed: int) -> list[tuple]:
    made = []
    for number, (p, k, h, w) in enumerate([(5, 1, 4, 4), (3, 4, 2, 2), (6, 3, 4, 3), (2, 2, 1, 5)]):
        rng = dice(seed, 30 + number)
        scores = torch.rand(p + seed % 2, generator=rng)
        maps = torch.randn(p + seed % 2, h, w, generator=rng) + 0.5
        q = torch.rand(k, generator=rng).round(decimals=2).tolist()
        if number == 1:
            scores[0] = 1.0  # as good as its reference
            q[0] = 1.0
        made.append((scores, maps, q))
    return made


def _patchwise(scores: Tensor, maps: Tensor, q: list[float]) -> Tensor:
    """By differentiating J_i = (q_i - q)^2."""
    rows = []
    for one in q:
        leaf = scores.detach().clone().requires_grad_()
        (v,) = torch.autograd.grad(((leaf - one) ** 2).sum(), leaf)
        rows.append(torch.einsum("p,phw->phw", v, maps))
    return torch.stack(rows, dim=1)


def _by_formula(scores: Tensor, maps: Tensor, q: list[float]) -> Tensor:
    """The same, sooner: the mistakes are tried many times."""
    return 2 * (scores[:, None] - torch.tensor(q))[..., None, None] * maps[:, None]


def _one_score(scores, maps, q):
    return _by_formula(scores.mean().expand_as(scores), maps, q)


PATCHES = Part(
    name="ex05_patches",
    title="The same question, asked of every patch",
    points=3,
    answer="patch_evidence",
    draws=_patch_cases,
    reference=_patchwise,
    axes="P, K, h, w",
    failures=(
        ("and 'list'", "q is a list: make a tensor of it, `torch.tensor(q)`."),
        ("must match the size", "Have factors and maps the same four axes, P, K, h, w (hint 2)?"),
    ),
    mistakes=(
        Mistake(
            "all patches share one factor, that of the mean score. That is the trap again: use "
            "each patch's own score q_i.",
            _one_score,
        ),
        Mistake(
            "the sign is turned round: a patch better than q holds the score up, and is positive.",
            lambda *case: -_by_formula(*case),
        ),
        Mistake(
            "the factor is q_i - q; the derivative of a square has a 2 in it.",
            lambda *case: _by_formula(*case) / 2,
            share=0.5,
        ),
        Mistake(
            "this is the loss (q_i - q)^2 times the map. The question sends back the loss's "
            "derivative, and only that has a sign.",
            lambda scores, maps, q: (
                ((scores[:, None] - torch.tensor(q)) ** 2)[..., None, None] * maps[:, None]
            ),
        ),
        Mistake(
            "the negative evidence is gone: here the answer "
            "is signed, and a ReLU has no place in it.",
            lambda *case: _by_formula(*case).relu(),
        ),
        Mistake(
            "these are the factors alone. Each belongs to a map: multiply them with S^{q_i}.",
            lambda scores, maps, q: (2 * (scores[:, None] - torch.tensor(q)))[
                ..., None, None
            ].expand(-1, -1, *maps.shape[1:]),
        ),
        Mistake(
            "the factors have lost their sign: a patch worse than q pulls the score down.",
            lambda scores, maps, q: (
                (2 * (scores[:, None] - torch.tensor(q)).abs())[..., None, None] * maps[:, None]
            ),
        ),
        Mistake(
            "every patch got the map of the first one.",
            lambda scores, maps, q: _by_formula(scores, maps[:1].expand_as(maps), q),
        ),
        Mistake(
            "the axes are K, P, h, w: of every patch its K answers, so P comes first.",
            lambda *case: _by_formula(*case).transpose(0, 1).contiguous(),
        ),
    ),
)

PARTS = (POOL, TRAP, PROOF, PATCHES, LAY_BACK, PICTURE, FIND)
