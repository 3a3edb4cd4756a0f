"""The drawn birds: their masks are true, what is said to differ differs, and nothing else does."""

import hashlib
import subprocess
import sys
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from course_utils.birds import (
    PARTS,
    SPECIES,
    VALUES,
    attributes,
    differences,
    draw,
    nearest_species,
)

seeds = st.integers(0, 2**31)
kinds = st.sampled_from(list(SPECIES))
few = settings(max_examples=15, deadline=None)


def changed(one, other):
    """H x W booleans: the pixels in which two birds' pictures differ."""
    return (np.asarray(one.image) != np.asarray(other.image)).any(axis=2)


def around(mask):
    """The mask and 4 pixels about it: a mask has what shows *mostly* a part, a picture soft rims
    too."""
    return distance_transform_edt(~mask) <= 4


def test_there_are_at_least_eight_species_of_four_parts_and_no_two_are_alike():
    assert len(SPECIES) >= 8
    assert all(tuple(own) == PARTS for own in SPECIES.values())
    assert all(differences(P, Q) for P, Q in combinations(SPECIES, 2))


@pytest.mark.parametrize("P, Q", [("flamingo", "spoonbill"), ("stork", "ibis")])
def test_the_courses_own_pairs_differ_in_the_bill_alone(P, Q):
    assert differences(P, Q) == ("bill",)


def test_pairs_differ_in_one_to_four_parts_and_every_part_tells_some_pair_apart():
    answers = [differences(P, Q) for P, Q in combinations(SPECIES, 2)]
    assert {len(answer) for answer in answers} == {1, 2, 3, 4}
    assert {answer[0] for answer in answers if len(answer) == 1} == set(PARTS)


@pytest.mark.parametrize("part", PARTS)
def test_no_value_gives_a_species_away(part):
    values = [own[part] for own in SPECIES.values()]
    assert all(values.count(value) >= 2 for value in VALUES[part])


def test_differences_are_symmetric():
    assert all(differences(P, Q) == differences(Q, P) for P, Q in permutations(SPECIES, 2))


@few
@given(kinds, kinds, seeds)
def test_differences_are_true_to_pixels(P, Q, seed):
    """Two species drawn from one seed differ where the differing parts are, and nowhere else."""
    one, other = draw(P, seed), draw(Q, seed)
    near = np.zeros((128, 128), bool)
    for part in differences(P, Q):
        apart = one.masks[part] | other.masks[part]
        assert (changed(one, other) & apart).any()
        near |= around(apart)
    assert not (changed(one, other) & ~near).any()


@few
@given(kinds, seeds, st.sampled_from(PARTS))
def test_a_mask_lies_where_its_part_is_drawn(species, seed, part):
    whole, without = draw(species, seed), draw(species, seed, **{part: None})
    moved = changed(whole, without)
    mask = whole.masks[part]
    assert mask.sum() > 20
    assert moved[mask].mean() > 0.98  # a pixel may by chance have the colour of what lies behind
    assert not (moved & ~around(mask)).any()
    assert not without.masks[part].any()


@few
@given(kinds, seeds)
def test_masks_share_no_pixel_and_lie_on_the_bird(species, seed):
    bird = draw(species, seed)
    stacked = np.stack(list(bird.masks.values()))
    assert (stacked.sum(0) <= 1).all()
    assert not (stacked.any(0) & ~bird.outline).any()


@few
@given(kinds, seeds)
def test_the_bird_stands_wholly_in_the_picture(species, seed):
    outline = draw(species, seed).outline
    border = np.ones_like(outline)
    border[1:-1, 1:-1] = False
    assert not (outline & border).any()


@few
@given(kinds, kinds, seeds)
def test_a_replaced_part_is_the_counterfactual_picture(P, Q, seed):
    """This P, with the parts of Q in which they differ, is Q's own picture to the byte."""
    parts = {part: attributes(Q)[part] for part in differences(P, Q)}
    mixed = draw(P, seed, **parts)
    assert mixed.image.tobytes() == draw(Q, seed).image.tobytes()
    assert mixed.attributes == attributes(Q)


def test_seeds_vary_the_picture():
    pictures = {draw("ibis", seed).image.tobytes() for seed in range(20)}
    assert len(pictures) == 20


def test_a_seed_gives_the_same_bytes_in_another_process():
    code = (
        "import hashlib; from course_utils.birds import draw;"
        "print(hashlib.sha256(draw('shoebill', 41, size=96).image.tobytes()).hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = hashlib.sha256(draw("shoebill", 41, size=96).image.tobytes()).hexdigest()
    assert there.stdout.strip() == here


@pytest.mark.parametrize("size", [32, 128, 300])
def test_every_size_has_every_part(size):
    bird = draw("crane", 3, size=size)
    assert bird.image.size == (size, size)
    assert all(mask.shape == (size, size) and mask.any() for mask in bird.masks.values())


def test_who_a_bird_might_be():
    assert nearest_species(attributes("crane")) == ("crane",)
    assert nearest_species({**attributes("flamingo"), "bill": None}) == ("flamingo", "spoonbill")
    assert nearest_species({}) == tuple(SPECIES)
    # a flamingo's body and neck with a sickle and black legs: nobody shares more than two of these
    hybrid = {"body": "pink", "neck": "curved", "bill": "sickle", "legs": "black"}
    assert nearest_species(hybrid) == (
        "flamingo",
        "Andean flamingo",
        "spoonbill",
        "white spoonbill",
        "egret",
        "scarlet ibis",
    )


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: draw("flaming", 0), "Did you mean 'flamingo'"),
        (lambda: draw("ibis", 0, beak="hook"), "its parts are body, neck, bill, legs"),
        (lambda: draw("ibis", 0, bill="hok"), "Did you mean 'hook'"),
        (lambda: draw("ibis", -1), "negative"),
        (lambda: draw("ibis", 0, size=8), "too small"),
        (lambda: differences("ibis", "sparrow"), "no species 'sparrow'"),
    ],
)
def test_bad_input_is_answered_in_words(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize("given", [{"seed": -1}, {"seed": 1.5}, {"seed": "7"}, {"size": 31}])
def test_a_bird_has_a_whole_seed_and_room_for_a_bill(given):
    with pytest.raises(ValueError, match="no whole number; choose (one from 0|32 or more)"):
        draw("heron", **{"seed": 0} | given)


# What the shipped networks learned from, and what the lectures' numbers were counted on: each
# picture's sum with signs drawn once. Rounding elsewhere moves it by a little, another stroke does
# by hundreds.
SUMS = {  # of seeds n, n + 12 and n + 24, n the species' place in the table
    "flamingo": [-14258, -10836, -17781],
    "Andean flamingo": [-24046, -19090, -10562],
    "spoonbill": [-25887, -13925, -13572],
    "white spoonbill": [-23706, -23610, -20675],
    "egret": [-13700, -18481, -11900],
    "heron": [-13496, -15658, -8929],
    "crane": [-17673, -16590, -13863],
    "stork": [-12491, -14591, -39179],
    "ibis": [-18539, -19516, -21866],
    "scarlet ibis": [-17760, -23938, -9287],
    "marabou": [-22086, -8005, -12112],
    "shoebill": [-17750, -4902, -21867],
}


@pytest.mark.parametrize("n, species", [*enumerate(SPECIES)])
def test_a_bird_is_drawn_as_it_was_when_the_networks_learned_from_it(n, species):
    signs = np.random.default_rng(0).choice([-1, 1], (128, 128, 3))
    pictures = (np.asarray(draw(species, seed).image, float) for seed in (n, n + 12, n + 24))
    sums = np.array([(signs * pixels).sum() for pixels in pictures])
    assert np.abs(sums - SUMS[species]).max() <= 60
