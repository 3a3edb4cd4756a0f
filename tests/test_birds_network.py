"""The networks of the drawn birds: their weights give what their model card says."""

import re

import pytest
import torch

from course_utils.birds import SPECIES, differences, draw
from course_utils.errors import WeightsError
from course_utils.measures import pointing_game
from course_utils.methods.cams import ContrastCAM, GradCAM
from course_utils.networks import course_weights
from course_utils.networks.birds import VARIANTS, BirdNet, card, load_birds_network

NAMES = list(SPECIES)
UNSEEN = 1_000_000


@pytest.fixture(scope="module", params=list(VARIANTS))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def flock():
    """240 birds that no network was trained on: (species, bird)."""
    species = [NAMES[i % len(NAMES)] for i in range(240)]
    return [(kind, draw(kind, UNSEEN + i)) for i, kind in enumerate(species)]


def see(network, birds):
    return torch.stack([network.preprocess(bird.image) for bird in birds])


def test_the_contract_of_a_classifier(name):
    network = load_birds_network(name)
    assert not network.training
    assert network.categories == NAMES
    x = network.preprocess(draw("ibis", 0).image)
    assert x.shape == (3, 128, 128) and x.min() >= -1 and x.max() <= 1
    assert GradCAM(network)(x[None]).evidence.shape[-1] == (16 if name == "birds_blurry" else 32)


def test_the_weights_give_the_cards_accuracy(name, flock):
    network = load_birds_network(name)
    with torch.no_grad():
        named = network(see(network, [bird for _, bird in flock])).argmax(1).tolist()
    right = sum(NAMES[found] == kind for found, (kind, _) in zip(named, flock)) / len(flock)
    promised = card()[name]["accuracy"]
    assert promised >= 0.99
    # 240 of the card's 1000 birds: the share may stray by a few birds, not by more
    assert right == pytest.approx(promised, abs=0.015)


def test_the_card_states_each_networks_sha256_and_accuracy(name, root):
    text = (root / "data" / "birds.md").read_text()
    own = text[text.index(f"## `{name}`") :]
    assert re.search(r"\*\*([\d.]+)\*\*", own)[1] == f"{card()[name]['accuracy']:.3f}"
    assert card()[name]["sha256"] in own.partition("\n## ")[0]


def test_the_weights_are_small(name, root):
    assert (root / "data" / f"{name}.safetensors").stat().st_size < 1_000_000


@pytest.mark.parametrize("loss", ["cross_entropy", "logit_difference"])
@pytest.mark.parametrize("P, Q", [("flamingo", "spoonbill"), ("stork", "ibis")])
def test_both_directions_of_a_bill_question_point_at_the_bill(P, Q, loss):
    assert differences(P, Q) == ("bill",)
    network = load_birds_network()
    for one, other in ((P, Q), (Q, P)):
        birds = [draw(one, UNSEEN + i) for i in range(20)]
        maps = ContrastCAM(network, loss=loss)(see(network, birds), why=one, rather_than=other).maps
        hits = sum(pointing_game(m[0], b.masks["bill"], 8) == 1.0 for m, b in zip(maps, birds))
        assert hits >= 18


def test_the_map_splits_the_logit(name):
    """sum_ij S^c = y_c: the head is a mean over places and a linear layer without bias."""
    network = load_birds_network(name)
    answer = GradCAM(network)(see(network, [draw("crane", 5)]), why=list(range(len(NAMES))))
    torch.testing.assert_close(answer.evidence.sum((2, 3)), answer.logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("blurry, field", [(False, 20), (True, 55)])
def test_the_receptive_field_is_as_stated(blurry, field):
    network = BirdNet(blurry).eval()
    for (
        module_
    ) in network.modules():  # no ReLU may hide a connection: all weights and inputs positive
        if isinstance(module_, torch.nn.Conv2d):
            torch.nn.init.constant_(module_.weight, 0.01)
    x = torch.ones(1, 3, 128, 128, requires_grad=True)
    out = network.features(x)
    out[0, 0, out.shape[2] // 2, out.shape[3] // 2].backward()
    rows = x.grad[0, 0].abs().sum(1).nonzero()
    assert rows.max() - rows.min() + 1 == field


def test_damaged_weights_are_refused_in_words(monkeypatch):
    whole = course_weights._data
    monkeypatch.setattr(
        course_weights,
        "_data",
        lambda f, of: whole(f, of)[:-1] if f.endswith("safetensors") else whole(f, of),
    )
    with pytest.raises(WeightsError, match="birds.safetensors is damaged.*make train-birds"):
        load_birds_network()


def test_missing_weights_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(course_weights.resources, "files", lambda package: tmp_path)
    with pytest.raises(WeightsError, match="birds.safetensors is missing"):
        load_birds_network()


def test_an_unknown_network_is_answered_with_the_closest():
    with pytest.raises(ValueError, match="Did you mean 'birds_blurry'"):
        load_birds_network("bird_blurry")
