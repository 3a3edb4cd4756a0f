"""Goyal et al. (Counterfactual visual explanations, ICML 2019), greedy search (section 3.2).

    f(I*) = (1 - a) o f(I) + a o P f(I'):   fewest cells of I replaced by cells of I' until "Q"

At each step the pair (cell of I, cell of I') with the largest log p_Q; no cell is used twice. For a
head that pools and multiplies, y* = y - S_i + S'_j: all h w x h w swaps are one sum of two tables.
"""

import torch
from torch import Tensor

from .asked import Answer, Asked, mapped
from .sets import photo_of


def swaps(y: Tensor, cells: Tensor, others: Tensor, q: int, most: int = 49) -> list[tuple]:
    """[(cell of I, cell of I', p_Q after)] until q is the largest logit, or `most` are made.

    Args:
        y: I's logits. cells, others: n x classes, n' x classes: S of each cell of I and of I'.
    """
    edits: list[tuple[int, int, float]] = []
    free_i, free_j = [torch.ones(len(t), dtype=torch.bool) for t in (cells, others)]
    come = others.double().exp()
    while len(edits) < most and free_i.any() and free_j.any() and int(y.argmax()) != q:
        stay = (y - cells).double()  # the logits without cell i; log of sum_c exp = a product
        scores = stay[:, q, None] + others[:, q] - (stay.exp() @ come.T).log()
        scores[~free_i], scores[:, ~free_j] = -torch.inf, -torch.inf
        i, j = divmod(int(scores.argmax()), len(others))
        y = y - cells[i] + others[j]
        free_i[i] = free_j[j] = False
        edits.append((i, j, float(y.softmax(0)[q])))
    return edits


def goyal(asked: Asked, other: Tensor | None = None, most: int = 49) -> Answer:
    """Map: the cells of I that go, 1 for the first, 1/2 for the second. `result`: the swaps.

    Args:
        other: I', 1 x 3 x H x W; default, a photo of Q (see `sets.photo_of`).
        most: end the search after so many swaps.
    """
    weights = asked.linear_head("Goyal et al.")
    if other is None:
        other = photo_of(asked.network, asked.rival, asked.x)
    seen = type(asked.seen)(asked.network, other, asked.seen.layer)

    def table(A):
        return (A[0].flatten(1).T @ weights.T) / A[0][0].numel()

    A = asked.seen.activations
    edits = swaps(asked.seen.logits[0], table(A), table(seen.activations), asked.rival, most)
    gone = torch.zeros(A[0][0].numel())
    for order, (i, _, _) in enumerate(edits):
        gone[i] = 1 / (order + 1)
    if not edits:
        say = f"Nothing to swap: the network says {asked.name(asked.rival)} already."
        return mapped(asked, gone.view(A.shape[-2:]), result=edits, said=say)
    say = f"{len(edits)} swap{'s' * (len(edits) > 1)}, p({asked.name(asked.rival)}) "
    say += f"{float(asked.probabilities[asked.rival]):.2f} -> {edits[-1][2]:.2f}."
    return mapped(asked, gone.view(A.shape[-2:]), result=edits, said=say)
