"""Contrastive reasoning (Prabhushankar and AlRegib, 2021).

    r_Q = dJ(P, Q) / dW_Q = (p_Q - 1) a     for every Q;  J the cross entropy, y = W a + b

The contrasts with every Q are features, and a second network concludes from them. *The second stage
is the course's reading:* a small perceptron on r, trained on clean drawn birds and tried on noisy
ones. The control beside it is the same perceptron on a: for a linear last layer, r holds nothing
that a does not.
"""

import warnings

import numpy as np
import torch
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from .asked import Answer, Asked, mapped
from .inner import last_layer
from .sets import birds, names_birds, read


def contrasts(a: Tensor, y: Tensor, against: list[int]) -> Tensor:
    """r_Q for each Q: N x K x C."""
    return (y.softmax(1)[:, against] - 1)[:, :, None] * a[:, None]


def second_stage(features: Tensor, labels: np.ndarray):
    """A perceptron with one hidden layer of 64."""
    small = MLPClassifier((64,), alpha=1e-2, max_iter=150, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it might learn longer
        return make_pipeline(StandardScaler(), small).fit(features.flatten(1).numpy(), labels)


def accuracies(network: nn.Module, against: list[int], train: int, test: int, noise: float) -> dict:
    """who -> accuracy on noisy birds: the network itself, contrasts, and the control."""
    flock = birds(train + test)
    x = read(network, [bird.image for bird in flock], "drawn birds")
    labels = np.arange(len(flock)) % 12
    x[train:] += noise * (x.max() - x.min()) * torch.randn_like(x[train:])
    a, y = map(torch.cat, zip(*(last_layer(network, part) for part in x.split(4))))
    found = {}
    if names_birds(network):
        found["feed-forward"] = float((y[train:].argmax(1).numpy() == labels[train:]).mean())
    for who, f in (("contrasts", contrasts(a, y, against)), ("control", a[:, None])):
        stage = second_stage(f[:train], labels[:train])
        found[who] = float(stage.score(f[train:].flatten(1).numpy(), labels[train:]))
    return found


def contrastive_reasoning(
    asked: Asked, count: int = 12, train: int = 72, test: int = 48, noise: float = 0.1
) -> Answer:
    """Maps: "Why P, rather than Q?" for `count` Q, the one asked for first. `result`: accuracies,
    none where the network has no `.preprocess` with which it could be shown birds.

    Args:
        count: the Q: the one named, then the most probable.
        train, test: how many birds the second stage learns from, and is tried on.
        noise: standard deviation on the latter, as a share of the range; 0 for a second look at
            clean ones.
    """
    order = asked.seen.logits[0].argsort(descending=True).tolist()
    others = [asked.q] + [c for c in order if c not in (asked.p, asked.q)]
    others = others[:count]
    v = asked.probabilities - torch.eye(len(asked.v)).to(asked.v)[others]
    maps = asked.seen.evidence(v)[0]
    found, said = {}, ""
    if train and not hasattr(asked.network, "preprocess"):
        said = "Maps only: to learn from birds the second network needs network.preprocess."
    elif train:
        found = accuracies(asked.network, others, train, test, noise)
        words = ", ".join(f"{who} {value:.0%}" for who, value in found.items())
        said = f"Noisy birds named: {words}."
    titles = [f"not {asked.name(c)}" for c in others]
    return mapped(asked, maps, titles, result=found, said=said)
