"""From signed evidence to a map that can be drawn: every number here is worked out by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from course_utils.methods.maps import (
    positive_maps,
    relative_strength,
    signed_maps,
    upsample,
)
from course_utils.methods.strength import strength_in_words

EVIDENCE = arrays(
    "float64",
    st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(1, 4), st.integers(1, 4)),
    elements=st.floats(-1e6, 1e6, allow_subnormal=False),
)
many = settings(max_examples=60, deadline=None, derandomize=True)


def close(got, expected):
    torch.testing.assert_close(got, torch.as_tensor(expected, dtype=got.dtype))


# Enlargement: pixel i of n lies at (i + 1/2) h / n - 1/2 of the grid, held inside it, as in OpenCV


def test_two_places_become_four_with_half_pixel_centres():
    # -1/4 -> 0, 1/4, 3/4, 5/4 -> 1; with corners aligned it would be 0, 1/3, 2/3, 1
    close(upsample(torch.tensor([[0.0, 1.0]]), (1, 4)), [[0, 0.25, 0.75, 1]])


def test_two_places_become_six_with_half_pixel_centres():
    close(upsample(torch.tensor([[0.0, 3.0]]), (1, 6)), [[0, 0, 1, 2, 3, 3]])


def test_both_directions_are_enlarged():
    expected = [[0, 1, 3, 4], [2, 3, 5, 6], [6, 7, 9, 10], [8, 9, 11, 12]]
    close(upsample(torch.tensor([[0.0, 4.0], [8.0, 12.0]]), (4, 4)), expected)


def test_along_a_side_with_more_places_than_pixels_the_mean_is_taken():
    evidence = torch.tensor([[6.0, 0.0], [0.0, 0.0], [0.0, 3.0]])
    close(upsample(evidence, (1, 2)), [[2, 1]])  # the middle row alone would be empty
    close(upsample(evidence[:, 0], (1,)), [2])
    close(positive_maps(evidence, (1, 2)), [[1, 0.5]])


def test_the_size_is_height_then_width():
    assert upsample(torch.zeros(2, 3, 2, 2), (5, 7)).shape == (2, 3, 5, 7)


def test_a_factor_that_is_no_whole_number_follows_the_same_rule():
    # 5 pixels on 2 places: (i + 1/2) 2/5 - 1/2 = -0.3, 0.1, 0.5, 0.9, 1.3
    close(upsample(torch.tensor([[0.0, 10.0]]), (1, 5)), [[0, 1, 5, 9, 10]])


def test_a_single_place_fills_the_image():
    close(upsample(torch.tensor([[3.0]]), (2, 2)), [[3, 3], [3, 3]])


def test_each_map_is_enlarged_by_itself():
    maps = torch.arange(12.0).reshape(2, 3, 1, 2)
    both = upsample(maps, (2, 4))
    assert torch.equal(both[1, 2], upsample(maps[1, 2], (2, 4)))


@pytest.mark.parametrize("shape", [(1, 2), (4, 1, 2), (3, 4, 1, 2), (2, 3, 4, 1, 2)])
def test_any_number_of_leading_dimensions_is_kept(shape):
    assert upsample(torch.zeros(shape), (2, 4)).shape == (*shape[:-2], 2, 4)


# Positive maps


def test_the_largest_value_becomes_1():
    close(positive_maps(torch.tensor([[1.0, 4.0], [2.0, 0.0]]), (2, 2)), [[0.25, 1], [0.5, 0]])


def test_negative_evidence_is_not_drawn():
    close(positive_maps(torch.tensor([[-8.0, 4.0], [2.0, -1.0]]), (2, 2)), [[0, 1], [0.5, 0]])


def test_the_relu_comes_before_the_enlargement():
    # 0, 4 enlarged is 0, 1, 3, 4. Enlarged first, -4, -2, 2, 4 would leave 0, 0, 1/2, 1.
    close(positive_maps(torch.tensor([[-4.0, 4.0]]), (1, 4)), [[0, 0.25, 0.75, 1]])


def test_the_maximum_is_taken_after_the_enlargement():
    # a peak between pixels: 0, 1, 3, 3, 1, 0 has the maximum 3, not 4
    close(positive_maps(torch.tensor([[0.0, 4.0, 0.0]]), (1, 6)), [[0, 1 / 3, 1, 1, 1 / 3, 0]])


def test_each_map_has_its_own_maximum():
    maps = torch.tensor([[[[1.0, 2.0]], [[10.0, 40.0]]], [[[8.0, 2.0]], [[0.0, 5.0]]]])
    close(positive_maps(maps, (1, 2)), [[[[0.5, 1]], [[0.25, 1]]], [[[1, 0.25]], [[0, 1]]]])


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_map_with_no_positive_part_is_all_zeros(value):
    assert (
        positive_maps(torch.full((1, 1, 2, 2), value), (4, 4)).tolist()
        == torch.zeros(1, 1, 4, 4).tolist()
    )


def test_an_empty_map_leaves_the_others_alone():
    close(
        positive_maps(torch.tensor([[[-1.0, 0.0]], [[1.0, 2.0]]]), (1, 2)), [[[0, 0]], [[0.5, 1]]]
    )


@pytest.mark.parametrize("tiny", [1e-30, 1e-38])
def test_faint_evidence_is_drawn_as_strongly_as_any(tiny):
    close(positive_maps(torch.tensor([[tiny / 2, tiny]]), (1, 2)), [[0.5, 1]])


def test_the_evidence_is_not_written_to():
    evidence = torch.tensor([[-1.0, 2.0]])
    positive_maps(evidence, (1, 2)), signed_maps(evidence, (1, 2))
    assert evidence.tolist() == [[-1, 2]]


@many
@given(EVIDENCE, st.integers(4, 9), st.integers(4, 9))
def test_maps_lie_between_0_and_1(evidence, height, width):
    maps = positive_maps(torch.from_numpy(evidence), (height, width))
    assert ((maps >= 0) & (maps <= 1)).all()


@many
@given(EVIDENCE, st.integers(4, 9), st.integers(4, 9))
def test_a_maps_maximum_is_1_unless_it_is_empty(evidence, height, width):
    maximum = positive_maps(torch.from_numpy(evidence), (height, width)).amax(dim=(2, 3))
    assert torch.equal(maximum, (torch.from_numpy(evidence) > 0).flatten(2).any(dim=2).double())


@many
@given(EVIDENCE, st.floats(0.01, 100))
def test_the_scale_of_the_evidence_does_not_show(evidence, scale):
    evidence = torch.from_numpy(evidence)
    torch.testing.assert_close(
        positive_maps(scale * evidence, (5, 6)), positive_maps(evidence, (5, 6))
    )


# Signed maps


def test_signed_maps_share_one_scale():
    maps = torch.tensor([[[1.0, -2.0]], [[4.0, 0.0]]])
    close(signed_maps(maps, (1, 2)), [[[0.25, -0.5]], [[1, 0]]])


def test_the_shared_scale_is_the_largest_magnitude_of_either_sign():
    close(signed_maps(torch.tensor([[1.0, -4.0]]), (1, 2)), [[0.25, -1]])


def test_a_given_scale_is_drawn_as_1():
    close(signed_maps(torch.tensor([[1.0, -2.0]]), (1, 2), scale=4), [[0.25, -0.5]])


def test_evidence_beyond_a_given_scale_is_held_at_1():
    close(signed_maps(torch.tensor([[8.0, -16.0]]), (1, 2), scale=4), [[1, -1]])


def test_signed_maps_are_enlarged_with_their_signs():
    close(signed_maps(torch.tensor([[-4.0, 4.0]]), (1, 4)), [[-1, -0.5, 0.5, 1]])


def test_no_evidence_is_zero_everywhere():
    assert signed_maps(torch.zeros(1, 2, 2), (2, 2)).tolist() == [[[0, 0], [0, 0]]]


@pytest.mark.parametrize(("value", "scale"), [(1.0, -1), (float("nan"), None), (1.0, float("nan"))])
def test_what_has_no_scale_is_not_drawn_as_nothing(value, scale):
    with pytest.raises(ValueError, match="drawn as 1 cannot be (-1|nan): give 0 or more"):
        signed_maps(torch.full((1, 2, 2), value), (2, 2), scale)


def test_zero_stays_zero():
    assert signed_maps(torch.tensor([[0.0, 5.0, 0.0, -3.0]]), (1, 4))[0, 0] == 0


@many
@given(EVIDENCE)
def test_signed_maps_of_the_opposite_question_are_the_negative(evidence):
    evidence = torch.from_numpy(evidence)
    assert torch.equal(signed_maps(-evidence, (5, 6)), -signed_maps(evidence, (5, 6)))


# Signals and volumes


def test_a_signal_is_enlarged_along_its_one_side():
    close(upsample(torch.tensor([[[0.0, 1.0]]]), (4,)), [[[0, 0.25, 0.75, 1]]])


def test_a_volume_is_enlarged_along_its_three_sides():
    # each half of the depth fades into the other as in the plane: 0, 1/4, 3/4, 1
    volume = torch.tensor([0.0, 1.0]).reshape(2, 1, 1)
    close(upsample(volume, (4, 1, 1)).flatten(), [0, 0.25, 0.75, 1])


def test_each_volume_is_divided_by_its_own_maximum():
    volumes = torch.tensor([2.0, 8.0]).reshape(1, 2, 1, 1, 1).expand(1, 2, 2, 1, 1)
    assert positive_maps(volumes, (4, 3, 3)).unique().tolist() == [1]


# Strength


def test_strength_is_the_peak_over_grad_cams_peak():
    evidence = torch.tensor([[[[-9.0, 1.0]], [[2.0, 8.0]]]])
    close(relative_strength(evidence, torch.tensor([[[[4.0, -5.0]]]])), [[0.25, 2.0]])


def test_an_empty_map_has_strength_zero_even_where_grad_cam_is_empty():
    empty = torch.tensor([[[[-1.0, 0.0]]]])
    assert relative_strength(empty, torch.ones(1, 1, 1, 2)).tolist() == [[0]]
    assert relative_strength(empty, empty).tolist() == [[0]]


def test_without_a_grad_cam_map_strength_is_unknown():
    full, empty = torch.ones(1, 1, 1, 2), -torch.ones(1, 1, 1, 2)
    assert relative_strength(full, empty).isnan().tolist() == [[True]]


@pytest.mark.parametrize(
    "strength, words",
    [
        (1.0, "strength 1.00"),
        (10.0, "strength 10.00"),
        (10.6, "strength 11: Grad-CAM's own map is weak beside it"),
        (4e9, "strength over 1000: Grad-CAM's own map is weak beside it"),
        (float("inf"), "strength over 1000: Grad-CAM's own map is weak beside it"),
        (-0.0, "empty: no positive evidence"),
        (0.1, "strength 0.10"),
        (0.095, "weak: 9.5 % of Grad-CAM's peak"),
        (0.0973, "weak: 9.7 % of Grad-CAM's peak"),
        (0.09999, "weak: 9.9 % of Grad-CAM's peak"),
        (0.04, "weak: 4 % of Grad-CAM's peak"),
        (0.0004, "weak: less than 1 % of Grad-CAM's peak"),
        (0.0, "empty: no positive evidence"),
        (float("nan"), "strength unknown: Grad-CAM's own map is empty"),
    ],
)
def test_strength_in_words(strength, words):
    assert strength_in_words(strength) == words
