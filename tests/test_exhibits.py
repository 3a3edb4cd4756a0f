"""The three methods that exercise 6 judges behave as its text and its model answer say."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from course_checks.ex06_exhibits import LETTERS, RATHER_THAN, exhibits
from course_utils.measures import pointing_game

BILL, LEGS = RATHER_THAN
ROLES = {5: ("Grad-CAM", "fake", "Contrast-CAM"), 7: ("Contrast-CAM", "fake", "Grad-CAM")}


@pytest.fixture(scope="module", params=ROLES)
def shown(request):
    """(exhibits, role -> letter): the assignment's own seed, and a fresh variant."""
    roles = dict(zip(ROLES[request.param], LETTERS))
    return exhibits(seed=request.param, count=6), roles


def alike(before, after):
    """Mean rank correlation; 0 where a map is the same everywhere."""
    pairs = [(a.flatten(), b.flatten()) for a, b in zip(before.numpy(), after.numpy())]
    rhos = [spearmanr(a, b).statistic if np.ptp(a) and np.ptp(b) else 0 for a, b in pairs]
    return np.mean(rhos)


def hits(shown, letter, q):
    maps, masks = shown.maps[letter][q], shown.masks[q]
    return np.mean([pointing_game(m, k, 8) for m, k in zip(maps, masks)])


def test_all_three_point_at_the_bill_and_only_the_contrast_at_the_legs(shown):
    shown, roles = shown
    assert all(hits(shown, letter, BILL) == 1 for letter in LETTERS)
    on_legs = {role: hits(shown, letter, LEGS) for role, letter in roles.items()}
    assert on_legs == {"Contrast-CAM": 1, "Grad-CAM": 0, "fake": 0}


def test_only_the_fake_keeps_its_maps_when_the_weights_are_random(shown):
    shown, roles = shown
    for role, letter in roles.items():
        same = alike(shown.maps[letter][BILL], shown.randomised[letter][BILL])
        assert same == pytest.approx(1) if role == "fake" else abs(same) < 0.5


def test_only_the_contrast_changes_its_maps_with_the_question(shown):
    shown, roles = shown
    for role, letter in roles.items():
        bill, legs = shown.maps[letter].values()
        assert torch.equal(bill, legs) == (role != "Contrast-CAM")
    assert alike(*shown.maps[roles["Contrast-CAM"]].values()) < 0.8  # the limit in the notebook
