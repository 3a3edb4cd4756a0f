"""Each measure on a case worked by hand, and on one that it must score worst."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from course_utils.errors import ClassError, ProbabilitiesWarning
from course_utils.measures import (
    Deletion,
    average,
    contrastive_deletion,
    energy_inside,
    grid_pointing_game,
    margin_between,
    part_evidence,
    part_ranking,
    pointing_game,
    relative_deletion,
)

DELETION = Deletion(1.0, 0.5, 0.1, 3.0, 2.0)
MAP = np.array([[0.0, 3.0, 1.0], [-9.0, 2.0, 0.0], [0.0, 0.0, 4.0]])


def mask(*points, shape=(3, 3)):
    made = np.zeros(shape, bool)
    for point in points:
        made[point] = True
    return made


def test_the_peak_on_the_part_is_a_hit():
    assert pointing_game(MAP, mask((2, 2))) == 1.0


def test_the_peak_beside_the_part_is_a_miss():
    assert pointing_game(MAP, mask((0, 1), (1, 1))) == 0.0


@pytest.mark.parametrize("tolerance, hit", [(1.0, 0.0), (1.4, 0.0), (1.5, 1.0)])
def test_tolerance_is_a_distance_in_pixels(tolerance, hit):
    # from the peak at (2, 2) to (1, 1): the square root of 2
    assert pointing_game(MAP, mask((1, 1)), tolerance) == hit


def test_peaks_that_tie_share_the_game():
    assert pointing_game(np.ones((2, 2)), mask((0, 0), shape=(2, 2))) == 0.25


def test_a_map_with_no_evidence_neither_hits_nor_misses():
    assert math.isnan(pointing_game(-np.ones((3, 3)), mask((0, 0))))


def test_energy_is_the_share_of_the_positive_sum():
    # positive: 3 + 1 + 2 + 4 = 10, of which 3 + 2 on the part; -9 counts for nothing
    assert energy_inside(MAP, mask((0, 1), (1, 1), (1, 0))) == 0.5


def test_energy_within_the_bird_leaves_the_background_out():
    bird = mask((0, 1), (1, 1), (1, 0))
    assert energy_inside(MAP, mask((0, 1)), bird) == pytest.approx(3 / 5)


def test_energy_all_off_the_part_is_zero():
    assert energy_inside(MAP, mask((1, 0), (0, 0))) == 0.0


def test_tensors_and_arrays_agree():
    part = mask((0, 1), (1, 1))
    assert energy_inside(torch.tensor(MAP), torch.tensor(part)) == energy_inside(MAP, part)


def test_a_mosaic_counts_one_cell():
    evidence = np.zeros((4, 4))
    evidence[0, 0], evidence[0, 3], evidence[3, 3] = 1.0, 6.0, 1.0
    assert grid_pointing_game(evidence, (0, 1)) == 0.75
    assert grid_pointing_game(evidence.tolist(), (0, 1)) == 0.75


def test_even_evidence_scores_chance():
    assert grid_pointing_game(np.ones((6, 6)), (1, 0)) == 0.25


def test_evidence_in_the_wrong_cell_scores_zero():
    evidence = np.zeros((4, 4))
    evidence[0, 0] = 1.0
    assert grid_pointing_game(evidence, (1, 1)) == 0.0


def test_part_evidence_sums_what_is_positive():
    assert part_evidence(MAP, {"bill": mask((1, 0), (1, 1)), "legs": mask((2, 2))}) == {
        "bill": 2.0,
        "legs": 4.0,
    }


def test_ranking_worked_by_hand():
    # ranks 1 2 3 4 against 2 1 3 4: rho = 1 - 6 * 2 / (4 * 15) = 0.8
    assert part_ranking([1, 2, 3, 4], [20, 10, 30, 40]) == pytest.approx(0.8)


def test_the_reversed_ranking_scores_worst():
    assert part_ranking([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1.0)


def test_a_constant_ranking_has_no_answer():
    assert math.isnan(part_ranking([0, 0, 0], [1, 2, 3]))
    assert math.isnan(part_ranking([1, 2, 3], [2, 2, 2]))


def test_a_ranking_that_spans_just_one_is_none_that_is_constant():
    assert part_ranking([0, 1], [5, 6]) == pytest.approx(1)


def first_row(pictures):
    """A margin that reads the first row only: the sum of its first channel."""
    return pictures[:, 0, 0].sum(1)


def no_number(pictures):
    return pictures[:, 0, 0, 0] * torch.nan


X = torch.ones(3, 2, 2)
BLANK = torch.zeros(3, 1, 1)


def relative(evidence, **kwargs):
    return relative_deletion(first_row, X, evidence, steps=4, until=1.0, blank=BLANK, **kwargs)


def test_relative_deletion_worked_by_hand():
    # the margin is 2; the two pixels of the first row go first: 1, 1/2, 0, 0, 0
    area, curve = relative(np.array([[4.0, 3.0], [2.0, 1.0]]))
    assert curve.tolist() == [1.0, 0.5, 0.0, 0.0, 0.0]
    assert area == pytest.approx((0.75 + 0.25 + 0 + 0) / 4)


def test_deleting_what_matters_last_scores_worst():
    # 1, 1, 1, 1/2, 0
    area, _ = relative(np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert area == pytest.approx((1 + 1 + 0.75 + 0.25) / 4)


@pytest.mark.parametrize("share", [-1.0, 0.0, 0.49])  # of the margin of 2: below one logit
def test_a_share_of_next_to_nothing_is_no_answer_and_says_so(share):
    with pytest.warns(UserWarning, match="begins below 1 logit.*Use contrastive_deletion"):
        area, curve = relative_deletion(
            lambda p: share * first_row(p), X, np.ones((2, 2)), blank=BLANK
        )
    assert math.isnan(area) and np.isnan(curve).all()


def test_the_default_blank_leaves_an_even_picture_as_it_is():
    area, _ = relative_deletion(first_row, X, np.ones((2, 2)))
    assert area == pytest.approx(1.0)


def near(pictures):
    """A margin of a near Q: the red of the upper left pixel, less 0.99."""
    return pictures[:, 0, 0, 0] - 0.99


def test_deletion_at_a_near_q_worked_by_hand():
    """One of four pixels goes. The right one takes the margin from 0.01 to -0.99; moved at random,
    the region hits it in a quarter of the cases."""
    found = contrastive_deletion(
        near, X, np.array([[4.0, 3.0], [2.0, 1.0]]), share=0.25, blank=BLANK, regions=400
    )
    assert (found.before, found.after) == pytest.approx((0.01, -0.99))
    assert found.fall == pytest.approx(1.0)
    assert found.random == pytest.approx(0.25, abs=0.08)
    assert found.spread == pytest.approx(math.sqrt(0.25 * 0.75), abs=0.05)


def test_deleting_the_wrong_pixel_does_not_fall():
    found = contrastive_deletion(
        near, X, np.array([[1.0, 3.0], [2.0, 4.0]]), share=0.25, blank=BLANK, regions=40
    )
    assert found.fall == 0 and found.random > 0


def test_the_fall_says_itself():
    found = contrastive_deletion(near, X, np.eye(2), share=0.25, blank=BLANK)
    assert str(found).startswith("The margin falls by +1.00 logits, from +0.01 to -0.99; at random")


def test_only_positive_pixels_are_deleted_and_as_many_at_random():
    """A share of all four, of which one is positive: a region of one pixel, moved."""
    evidence = np.array([[4.0, 0.0], [-2.0, 0.0]])
    areas = []

    def margin(pictures):
        areas.extend((pictures == 0).all(1).flatten(1).sum(1).tolist())
        return near(pictures)

    contrastive_deletion(margin, X, evidence, share=1.0, blank=BLANK, regions=20)
    assert areas == [0] + [1] * 21


def test_a_tenth_of_the_pixels_goes_unless_another_share_is_said():
    gone = []

    def margin(pictures):
        gone.extend((pictures == 0).all(1).flatten(1).sum(1).tolist())
        return pictures[:, 0, 0, 0]

    evidence = np.arange(1.0, 101).reshape(10, 10)
    contrastive_deletion(margin, torch.ones(3, 10, 10), evidence, blank=BLANK, regions=2)
    assert gone == [0, 10, 10, 10]


def test_an_empty_map_deletes_nothing_and_has_no_answer():
    found = contrastive_deletion(near, X, -np.ones((2, 2)), blank=BLANK)
    assert math.isnan(found.fall) and math.isnan(found.random)


def test_the_same_seed_gives_the_same_regions():
    one, same, other = (
        contrastive_deletion(near, X, np.eye(2), share=0.5, blank=BLANK, regions=9, seed=seed)
        for seed in (1, 1, 2)
    )
    assert one == same and one.random != other.random


def test_margin_between_is_the_difference_of_two_logits():
    margin = margin_between(lambda x: x.flatten(1), 3, 1)
    assert margin(torch.tensor([[[1.0, 2.0], [4.0, 8.0]]])).tolist() == [6.0]


def test_margin_between_reads_one_logit_as_the_pair():
    margin = margin_between(lambda x: x.sum(dim=(1, 2)), 1, 0)
    assert margin(torch.tensor([[[1.0, 2.0]]])).tolist() == [3.0]  # 1.5 - (-1.5)


def test_margin_between_finds_classes_by_name_and_logits_in_what_a_network_returns():
    class Answers(torch.nn.Module):
        categories = ["cat", "dog"]

        def forward(self, x):
            return {"loss": None, "logits": x}

    x = torch.tensor([[1.0, 2.0], [4.0, 8.0]])
    assert margin_between(Answers(), "dog", 0)(x).tolist() == [1, 4]
    with pytest.raises(ClassError, match="Class -1 is out of range: this network has classes 0"):
        margin_between(Answers(), 0, -1)(x)


def test_margin_between_leaves_a_network_in_training_as_it_was():
    network = torch.nn.Sequential(torch.nn.BatchNorm1d(2)).train()
    x = torch.tensor([[1.0, 2.0], [4.0, 8.0]])
    found = margin_between(network, 1, 0)(x)
    torch.testing.assert_close(found, x[:, 1] - x[:, 0], atol=1e-4, rtol=1e-4)
    assert network.training and network[0].running_mean.tolist() == [0, 0]


def test_a_margin_may_be_a_column_and_a_map_of_any_float_type():
    column = contrastive_deletion(lambda x: first_row(x)[:, None], X, torch.ones(2, 2).bfloat16())
    assert column == contrastive_deletion(first_row, X, np.ones((2, 2)))


def test_of_an_empty_map_the_deletion_says_so():
    assert str(contrastive_deletion(first_row, X, -np.ones((2, 2)))).startswith("The map is empty")


def test_averages_leave_out_what_has_no_answer_and_count_the_rest():
    assert average([1.0, float("nan"), 0.0]) == (0.5, 2)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: pointing_game(MAP, np.ones((2, 2))), "bring the map"),
        (lambda: pointing_game(MAP, mask(), -1), "not 0 or more pixels"),
        (lambda: pointing_game(MAP, mask((0, 0)), math.nan), "not 0 or more pixels"),
        (lambda: energy_inside(np.ones(3), np.ones(3)), "H x W"),
        (lambda: energy_inside(MAP * np.nan, mask((0, 0))), "NaN"),
        (lambda: grid_pointing_game(MAP, (0, 0)), "equal cells"),
        (lambda: grid_pointing_game(np.ones((4, 4)), (0, 2)), "no cell"),
        (lambda: part_ranking([1, 2], [1, 2, 3]), "rankings"),
        (lambda: contrastive_deletion(first_row, X, MAP), "order the pixels"),
        (lambda: contrastive_deletion(first_row, X, np.ones((2, 2)), share=0), "share"),
        (lambda: contrastive_deletion(first_row, X, np.ones((2, 2)), regions=1), "regions"),
        (lambda: contrastive_deletion(no_number, X, np.ones((2, 2))), "margin .* is NaN"),
        (lambda: relative_deletion(no_number, X, np.ones((2, 2))), "margin .* is NaN"),
        (lambda: contrastive_deletion(first_row, X[None], np.ones((2, 2))), "1 x .*such as x.0."),
        (
            lambda: contrastive_deletion(first_row, X.numpy(), np.ones((2, 2))),
            r"an ndarray.*from_numpy",
        ),
        (
            lambda: contrastive_deletion(lambda x: x.sum(), X, np.ones((2, 2))),
            "each of 4 pictures, but it gave one: margin_between",
        ),
        (lambda: grid_pointing_game(np.ones((4, 4)), (0, 0), 0), "cells=0 is the number of"),
        (lambda: grid_pointing_game(np.ones((4, 4)), (0, 0), 2.0), "cells=2.0 is the number of"),
        (lambda: grid_pointing_game(np.ones((4, 4)), 1), r"A cell is \(row, column\).*not 1"),
        (lambda: energy_inside(MAP + np.inf, mask((0, 0))), "NaN or infinity"),
        (lambda: pointing_game(np.zeros((0, 0)), np.zeros((0, 0))), r"shape \(0, 0\)"),
        (lambda: pointing_game(mask((0, 0)), MAP), "The map stands first, then the mask"),
        (
            lambda: contrastive_deletion(first_row, X.int(), np.ones((2, 2))),
            "int32 values.* blank=0",
        ),
        (lambda: contrastive_deletion(first_row, X, np.ones((2, 2)), blank="blur"), "'blur'; give"),
        (
            lambda: contrastive_deletion(first_row, X, np.ones((2, 2)), blank=[0, 0, 0]),
            "a colour, C",
        ),
        (lambda: relative_deletion(first_row, X, MAP), "order the pixels"),
        (lambda: relative_deletion(first_row, X, np.ones((2, 2)), steps=2.5), "steps=2.5"),
        (lambda: contrastive_deletion(first_row, X, np.ones((2, 2)), regions=9.0), "regions=9.0"),
        (lambda: contrastive_deletion(lambda x: "y", X, np.ones((2, 2))), "it gave a str: margin"),
        (lambda: energy_inside(MAP, mask((0, 0)) * np.nan), "The mask holds NaN"),
        (lambda: energy_inside(MAP, MAP[None]), r"a mask, .*\.squeeze\(\) takes the other axes"),
        (
            lambda: energy_inside(np.ones((4, 3, 3)), MAP),
            r"one of several: maps\[0\].* \.reshape\(1",
        ),
        (lambda: energy_inside(MAP, MAP), "mask holds values between -9 and 4.*first, then the"),
        (lambda: energy_inside(MAP, np.array([2, 253, 1])), "a mask, H x W,"),
        (lambda: relative_deletion(first_row, X, np.ones((2, 2)), until=2), "until"),
    ],
)
def test_bad_input_is_answered_in_words(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize(
    "values, cure",
    [
        ([[2, 253], [1, 255]], "mask > 127"),  # a JPEG of a mask: nothing in it is 0
        ([[0.1, 0.9], [0.2, 1.0]], "mask > 0.5"),  # enlarged bilinearly
        ([[1, 2], [1, 2]], "mask == 1 of class numbers"),
    ],
)
def test_a_mask_that_is_not_true_or_false_is_not_read_as_everywhere(values, cure):
    with pytest.raises(ValueError, match=cure):
        energy_inside(np.ones((2, 2)), np.array(values))


@pytest.mark.parametrize("high, low", [(1, 0), (255, 0), (1.0, -1.0), (0.5, 0)])
def test_a_mask_of_two_values_is_read_by_the_larger(high, low):
    assert energy_inside([[1, 3], [0, 0]], np.array([[low, high], [low, low]])) == 0.75


@pytest.mark.parametrize(
    "shape", [(3, 4), (3, 2, 2), (3, 1, 2, 2)], ids=["L", "H x W", "D x H x W"]
)
def test_signals_and_volumes_are_deleted_as_pictures_are(shape):
    # every place of the first channel counts 1; the map's two largest of four go
    x, blank = torch.ones(shape), torch.zeros(3, *[1] * (len(shape) - 1))
    evidence = torch.tensor([4.0, 1, 3, 2]).reshape(shape[1:])
    margin = lambda x: x[:, 0].flatten(1) @ torch.tensor([10.0, 1, 1, 1])  # noqa: E731
    found = contrastive_deletion(margin, x, evidence, share=0.5, blank=blank)
    assert (found.before, found.after, found.fall) == (13, 2, 11)
    area, curve = relative_deletion(margin, x, evidence, steps=2, until=1, blank=blank)
    assert curve.tolist() == pytest.approx([1, 2 / 13, 0])
    assert contrastive_deletion(margin, x, evidence).fall == pytest.approx(0)  # an even blur


@pytest.mark.parametrize("regions", [14, 15, 16, 31])
def test_no_batch_of_one_picture_loses_its_axis_to_a_squeeze(regions):
    counts = []

    def margin(pictures):
        counts.append(len(pictures))
        return first_row(pictures).squeeze()

    contrastive_deletion(margin, X, np.eye(2), regions=regions)
    assert sum(counts) == regions + 2 and min(counts) > 1 and max(counts) <= 16


def test_a_margin_picks_what_output_says_and_refuses_dense_answers():
    class Dense(torch.nn.Module):
        def forward(self, x):
            return {"maps": x}

    x = torch.arange(12.0).reshape(1, 3, 2, 2)
    largest = lambda y: y["maps"].flatten(2).amax(2)  # noqa: E731
    assert margin_between(Dense(), 2, 0, output=largest)(x).tolist() == [11 - 3]
    with pytest.raises(ClassError, match=r"output is 1 x 3 x 2 x 2, not N x classes.*amax\(2\)"):
        margin_between(Dense(), 2, 0, output=lambda y: y["maps"])(x)
    with pytest.raises(ClassError, match="1 x 3 x 2 x 2, not N x classes"):
        margin_between(lambda x: x, 2, 0)(x)
    with pytest.raises(TypeError, match="takes a network, not a str"):
        margin_between("resnet50", 2, 0)


def test_a_margin_of_probabilities_is_no_margin_of_logits_and_says_so():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Softmax(1))
    with pytest.warns(ProbabilitiesWarning, match="ends in a softmax"):
        margin_between(model, 1, 0)(torch.rand(2, 3))
    y = torch.tensor([[1.0, 3.0, 0.0]])
    asked = margin_between(model, 1, 0, output=torch.log)  # the cure that the warning names
    assert asked(y).item() == pytest.approx(2)


def test_a_whole_explanation_is_no_map():
    whole = type("Explanation", (), {"maps": np.ones((1, 1, 4, 4))})()
    with pytest.raises(TypeError, match=r"give its \.maps\[0, 0\]"):
        energy_inside(whole, np.eye(4))


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: average([DELETION]), r"five numbers: average one of them, \[d\.fall"),
        (lambda: average({"a": 1}), r"which this dict is not\. Of a dict: list\(d\.values"),
        (lambda: part_ranking({"a": 1, "b": 2}, [1, 2]), "which this dict is not"),
        (lambda: average(v for v in [1]), "which this generator is not"),
        (lambda: part_evidence(MAP, [mask()]), "masks is a dict from part to mask, not a list"),
    ],
)
def test_what_is_no_list_of_numbers_is_called_so(call, words):
    with pytest.raises(TypeError, match=words):
        call()


def test_numbers_may_be_a_tensor_with_a_gradient():
    values = torch.tensor([1.0, 3.0], requires_grad=True)
    assert average(values) == (2, 2) and average(values.bfloat16()) == (2, 2)
    assert part_ranking(values, values) == pytest.approx(1)


def test_a_margin_may_give_a_list_or_an_array_and_a_blank_be_an_array():
    found = contrastive_deletion(first_row, X, np.ones((2, 2)), blank=torch.zeros(1))
    for kind in (Tensor.tolist, Tensor.numpy):
        margin = lambda x, kind=kind: kind(first_row(x))  # noqa: E731
        assert contrastive_deletion(margin, X, np.ones((2, 2)), blank=np.zeros(1)) == found


def test_bytes_are_deleted_as_the_floats_of_the_same_numbers_are():
    """GradCAM answers of bytes where the network reads them, and no measure could follow it."""
    x = torch.tensor([[[200, 40], [90, 10]]], dtype=torch.uint8)
    evidence = np.array([[4.0, 3.0], [2.0, 1.0]])
    margin = lambda x: x.float()[:, 0].sum(dim=(1, 2))  # noqa: E731
    found = contrastive_deletion(margin, x, evidence, share=0.25)
    assert (found.before, found.after) == (340, 225)  # 200 gives way to the mean, 85
    labels = contrastive_deletion(margin, x.long(), evidence, share=0.25, blank=0)
    assert labels.after == 140


def test_margin_between_says_what_is_wrong_with_classes_and_images():
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.AvgPool2d(6), torch.nn.Flatten()
    )
    with pytest.raises(ClassError, match="between two classes: one P and one Q"):
        margin_between(model, [1, 2], 0)(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match=r"one image, not a batch.*x\[None\]"):
        margin_between(model, 1, 0)(torch.zeros(3, 8, 8))
    with pytest.raises(ValueError, match="x holds uint8 values"):
        margin_between(model, 1, 0)(torch.zeros(1, 3, 8, 8).byte())
