"""Companion A2: a network of one's own, asked; what the lecture says of any such network."""

import json
import re

import pytest
import torch
from torch import nn

from course_utils import ContrastCAM, GradCAM, load_classifier
from course_utils.birds import draw
from course_utils.explorers.quiz_questions import OWN_NETWORK

LECTURE = "A2_your_own_network.ipynb"


@pytest.fixture(scope="module")
def one_logit():
    network = load_classifier("birds")
    torch.manual_seed(0)
    network.head, network.categories = nn.Linear(64, 1), ["no", "yes"]
    return network.eval()


@pytest.fixture(scope="module")
def x(one_logit):
    birds = [draw("stork", 0), draw("heron", 1)]
    return torch.stack([one_logit.preprocess(bird.image) for bird in birds])


def test_one_logit_has_one_map(one_logit, x):
    yes, no = (GradCAM(one_logit)(x, why=name) for name in ("yes", "no"))
    contrast = ContrastCAM(one_logit)(x, why="yes", rather_than="no")
    assert torch.allclose(no.evidence, -yes.evidence, atol=1e-6)
    assert torch.allclose(contrast.maps, yes.maps, atol=1e-4)


def test_from_yes_to_no_is_twice_p_as_strong(one_logit, x):
    """J = CE(y, no) has dJ/dy = p_yes; Grad-CAM of yes has dy_yes/dy = 1/2."""
    contrast = ContrastCAM(one_logit)(x, why="yes", rather_than="no")
    p = one_logit(x).sigmoid()
    assert torch.allclose(contrast.strength, 2 * p, atol=1e-4)


def test_the_quiz_leads_to_headings_of_the_lecture(root):
    cells = json.loads((root / "lectures" / LECTURE).read_text())["cells"]
    heads = re.findall(r"^## (.+)$", "\n".join("".join(c["source"]) for c in cells), re.MULTILINE)
    places = {head.strip().replace(" ", "-") for head in heads}
    assert len(OWN_NETWORK) == 3
    for question in OWN_NETWORK:
        assert question.look[1].removeprefix("#") in places


def test_the_interval_of_the_quiz_is_wilsons():
    """21 of 21 at 95 %: the lower end is n / (n + z^2) = 21 / 24.84."""
    assert 0.84 < 21 / (21 + 1.96**2) < 0.85
    assert "21 of 21; with 95 % confidence that is above 84 %" in OWN_NETWORK[2].right


def test_the_rubric_adds_up_to_twenty_points(root):
    text = (root / "docs" / "project.md").read_text()
    rows = re.findall(r"^\| \*\*.+\*\* \|", text, re.MULTILINE)
    assert "Twenty points" in text and 4 * len(rows) == 20
