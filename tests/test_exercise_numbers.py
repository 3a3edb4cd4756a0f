"""The numbers in the exercises' texts are the network's: by a hook and plain autograd.

The model answers of exercises 2, 3 and 6 cite what their solutions print: not compared here.
"""

import pytest
import torch
import torch.nn.functional as F
from exercise_notebooks import Assignment
from scipy.ndimage import label
from scipy.stats import spearmanr
from tiny_networks import start_at

from course_utils import load_classifier, load_photo


@pytest.fixture(scope="module")
def network():
    return load_classifier()


@pytest.fixture(scope="module")
def see(network):
    """(photo, box) -> `evidence(J)`, the signed map h x w of J(logits), and the logits."""

    def seen(photo, box=None):
        picture = load_photo(photo)
        x = network.preprocess(picture.crop(box) if box else picture)[None]
        a, y = start_at(network, network.layer, x)

        def evidence(J):
            (gradient,) = torch.autograd.grad(J(y[0]), a, retain_graph=True)
            return (gradient.mean((2, 3), keepdim=True) * a).sum(1)[0].detach()

        return evidence, y[0].detach()

    return seen


def text(exercise: str, cell: str) -> str:
    cells = Assignment(exercise).cells()
    return next(one["source"] for one in cells if one["id"] == cell)


def against(Q):
    """The published loss."""
    return lambda y: F.cross_entropy(y[None], torch.tensor([Q]))


def rho(one, other) -> float:
    return spearmanr(one.flatten(), other.flatten()).statistic


@pytest.mark.parametrize(
    ("photo", "names", "low", "high"),
    [
        ("chelsea", ("tiger cat", "Egyptian cat"), -0.1, 0.1),
        ("rocket", ("missile", "projectile"), 0.4, 0.55),
    ],
)
def test_exercise_1_near_q(network, see, photo, names, low, high):
    said = text("ex01_questions", "choose-note")
    assert "about 0 for the two cats, about 0.5 for missile" in said and "about 0.12" in said
    P, Q = map(network.categories.index, names)
    evidence, y = see(photo)
    assert y.topk(2).indices.tolist() == [P, Q]
    why, contrast = evidence(lambda y: y[P]), evidence(lambda y: y[P] - y[Q])
    assert low < rho(why, contrast) < high
    assert contrast.max() / why.max() == pytest.approx(0.12, abs=0.005)
    assert evidence(against(Q)).max() < 0.1 * why.max()  # "too weak to be read"
    far = y.argmin()
    assert rho(why, evidence(lambda y: y[P] - y[far])) > 0.95


def test_exercise_1_three_cats_share_0_92(network, see):
    assert "share a probability of 0.92" in text("ex01_questions", "top-note")
    p = see("chelsea")[1].softmax(0)
    cats = [network.categories.index(name) for name in ("tiger cat", "Egyptian cat", "tabby")]
    assert p[cats].sum() == pytest.approx(0.92, abs=0.005)


def test_exercise_4_the_dahlia(network, see):
    said = text("ex04_contrast", "maps-note")
    assert "rank correlation 0.96, half of its strength" in said and "0.006" in said
    P, bee, espresso = map(network.categories.index, ("daisy", "bee", "espresso"))
    evidence, _ = see("flower")
    why, near, far = evidence(lambda y: y[P]), evidence(against(bee)), evidence(against(espresso))
    assert near.max() / why.max() == pytest.approx(0.006, abs=0.0005)
    assert far.max() / why.max() == pytest.approx(0.5, abs=0.02)
    assert rho(why, far) == pytest.approx(0.96, abs=0.005)


def test_exercise_4_the_cat(network, see):
    assert "strength 0.097, eight places" in text("ex04_contrast", "which-task")
    assert "for the cat 0.04" in text("ex04_contrast", "which-note")
    P, near, tabby = map(network.categories.index, ("tiger cat", "Egyptian cat", "tabby"))
    evidence, _ = see("chelsea")
    why, S = evidence(lambda y: y[P]), evidence(against(tabby))
    assert S.max() / why.max() == pytest.approx(0.097, abs=0.0005)
    bright = S >= S.max() / 2
    assert bright.sum() == 8 and label(bright.numpy())[1] == 2  # "it lies in two pieces"
    assert evidence(against(near)).max() / why.max() == pytest.approx(0.04, abs=0.005)


def test_exercise_4_the_camera(network, see):
    said = text("ex04_contrast", "ex04-words")
    P, Q = map(network.categories.index, ("binoculars", "tripod"))
    assert see("camera")[1].softmax(0)[Q] == pytest.approx(0.94, abs=0.005)
    evidence, y = see("camera", (180, 0, 512, 332))
    error, truth = evidence(lambda y: y[P] - y[Q]), evidence(lambda y: y[Q] - y[P])
    peak = evidence(lambda y: y[P]).max()
    assert "0.58 of the peak of $S^P$, against 0.34 for the error" in said
    assert truth.max() / peak == pytest.approx(0.58, abs=0.005)
    assert error.max() / peak == pytest.approx(0.34, abs=0.005)
    weaker = evidence(against(P))  # "at the same place, but weaker"
    assert weaker.argmax() == truth.argmax() and weaker.max() < truth.max()
    for box, tripod, binoculars in (
        ((180, 40, 512, 372), 0.83, 0.15),
        ((140, 0, 472, 332), 0.41, 0.36),
    ):
        assert f"{box}" in said and f"tripod {tripod}, binoculars {binoculars}" in said
        p = see("camera", box)[1].softmax(0)
        assert p[[Q, P]].tolist() == pytest.approx([tripod, binoculars], abs=0.005)
