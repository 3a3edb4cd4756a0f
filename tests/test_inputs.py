"""What a learner passes in: right ways are read alike, wrong ones are named in a sentence."""

from collections import deque

import numpy as np
import pytest
import torch
from torch import nn

from course_utils import GradCAM
from course_utils.errors import ClassError, ImageError, closest
from course_utils.methods.checks import check_finite, check_images
from course_utils.methods.classes import class_indices, class_name, class_names, names_of
from course_utils.methods.inputs import images_of, one_image, size_of

NAMES = [
    "tabby, tabby cat",
    "tiger cat",
    "Egyptian cat",
    "crane (bird)",
    "crane (machine)",
    "polo",
    "Polo",
]
NET = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 7, 1))


class Series:
    """What a column of a table has, as far as it is asked for."""

    def __init__(self, values):
        self.values = np.array(values, dtype=object)
        self.shape = self.values.shape

    def __array__(self, dtype=None, copy=None):
        return self.values

    def __iter__(self):
        return iter(self.values)


def image_fault(x, model=NET):
    with pytest.raises(ImageError) as error:
        check_images(x, model)
    text = str(error.value)
    assert "\n" not in text and text[-1] in ".)"
    return text


def class_fault(which, n=1, classes=7, categories=NAMES):
    with pytest.raises(ClassError) as error:
        class_indices(which, n, classes, categories)
    text = str(error.value)
    assert "\n" not in text and text[-1] in ".?"
    return text


# Images


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (5, 3, 4, 9)])
def test_a_batch_of_float_images_passes(shape):
    check_images(torch.zeros(shape), NET)


@pytest.mark.parametrize("x", [np.zeros((1, 3, 8, 8)), "photo.jpg", None, (), {"age": 3}])
def test_what_holds_no_tensor_is_named_with_the_way_to_make_one(x):
    with pytest.raises(ImageError) as error:
        images_of(x)
    text = str(error.value)
    assert f"must be a tensor, not {type(x).__name__}" in text
    assert "classifier.preprocess(load_photo(...))[None]" in text


@pytest.mark.parametrize("wrap", [lambda t: t, lambda t: (t,), lambda t: (torch.zeros(1, 2), t)])
def test_the_images_are_found_among_the_inputs(wrap):
    images = torch.zeros(1, 3, 8, 8)
    assert images_of(wrap(images)) is images
    assert images_of({"ids": torch.zeros(1, 9, 9, 9, 9, dtype=int), "pixels": images}) is images
    mask = torch.zeros(len(images), 1, 99, 99)  # finer than the images, and before them
    assert images_of((mask, images)) is images and images_of((mask, mask + 1)) is mask


def test_one_image_without_a_batch_dimension_is_named():
    assert (
        "x is 3 x 8 x 9: one image, not a batch. Add the batch dimension: x[None]"
        in image_fault(torch.zeros(3, 8, 9))
    )


def test_channels_last_is_named_with_the_cure():
    text = image_fault(torch.zeros(1, 8, 9, 3))
    assert "x is 1 x 8 x 9 x 3: channels last" in text and "x.movedim(-1, 1)" in text
    check_images(torch.zeros(1, 8, 9, 3).movedim(-1, 1), NET)


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (1, 4, 8, 8), (8, 8), (8, 9, 3), (1, 1, 3, 8, 8)])
def test_other_shapes_are_named_beside_what_the_network_reads(shape):
    text = image_fault(torch.zeros(shape))
    assert f"x is {' x '.join(map(str, shape))}; the network reads N x 3 x H x W floats" in text


def test_a_mask_of_truth_values_is_not_divided_by_255():
    assert image_fault(torch.ones(1, 3, 8, 9) > 0).endswith("floats. x.float().")


def test_a_single_number_is_named():
    assert "x is a single number; the network reads" in image_fault(torch.tensor(1.0))


def test_an_empty_batch_is_named():
    with pytest.raises(ImageError, match="empty batch"):
        images_of(torch.zeros(0, 3, 8, 8))


@pytest.mark.parametrize(
    ("network", "x", "wanted"),
    [
        (nn.Conv1d(3, 4, 3), (1, 2, 9), "N x 3 x L floats"),
        (nn.Conv3d(1, 4, 3), (1, 2, 9, 9, 9), "N x 1 x D x H x W floats"),
    ],
)
def test_signals_and_volumes_are_named_as_such(network, x, wanted):
    assert f"the network reads {wanted}" in image_fault(torch.zeros(x), network)


@pytest.mark.parametrize(("dtype", "name"), [(torch.uint8, "uint8"), (torch.int64, "int64")])
def test_values_that_are_no_floats_are_named_with_the_cure(dtype, name):
    text = image_fault(torch.zeros(1, 3, 8, 8, dtype=dtype))
    assert (
        f"x holds {name} values" in text
        and "classifier.preprocess(photo) scales and normalises" in text
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_another_float_type_than_the_weights_is_named_with_the_cure(dtype):
    text = image_fault(torch.zeros(1, 3, 8, 8, dtype=dtype))
    assert f"x is {dtype}, the network's weights are torch.float32: x.to(torch.float32)." in text


def test_another_device_than_the_weights_is_named_with_the_cure():
    text = image_fault(torch.zeros(1, 3, 8, 8, device="meta"))
    assert "x is on meta, the network on cpu: x.to('cpu')." in text


def test_a_network_that_reads_grey_images_wants_one_channel():
    grey = nn.Conv2d(1, 4, 3)
    check_images(torch.zeros(1, 1, 8, 8), grey)
    assert "reads N x 1 x H x W floats" in image_fault(torch.zeros(1, 3, 8, 8), grey)


def test_a_network_without_convolutions_takes_any_number_of_channels():
    check_images(torch.zeros(1, 5, 8, 8), nn.Flatten())
    assert "one image, not a batch" in image_fault(torch.zeros(5, 8, 8), nn.Flatten())


def test_finite_values_pass_unchanged():
    values = torch.tensor([1.0, -2.0])
    assert check_finite(values, "The evidence") is values


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite_are_named(value):
    with pytest.raises(ImageError, match="The evidence holds NaN or infinity.*try float32"):
        check_finite(torch.tensor([1.0, value]), "The evidence")


# Classes


@pytest.mark.parametrize(
    "which",
    [
        2,
        "Egyptian cat",
        "egyptian CAT",
        np.int64(2),
        torch.tensor(2),
        np.array(2),
        [2],
        ["Egyptian cat"],
    ],
)
def test_one_class_is_asked_of_every_image(which):
    assert class_indices(which, 2, 7, NAMES).tolist() == [[2], [2]]


@pytest.mark.parametrize(
    "which",
    [
        [1, 2],
        (1, 2),
        range(1, 3),
        deque([1, 2]),
        ["tiger cat", 2],
        [torch.tensor(1), np.int64(2)],
    ],
)
def test_several_classes_are_asked_of_every_image(which):
    assert class_indices(which, 2, 7, NAMES).tolist() == [[1, 2], [1, 2]]


@pytest.mark.parametrize(
    "which",
    [
        torch.tensor([1, 2]),
        torch.tensor([1, 2], dtype=torch.int32),
        np.array([1, 2]),
        np.array(["tiger cat", "Egyptian cat"]),
        Series([1, 2]),
        Series(["tiger cat", "Egyptian cat"]),
        [[1], [2]],
        [["tiger cat"], [2]],
        [torch.tensor([1]), torch.tensor([2])],
    ],
)
def test_labels_are_one_class_for_each_image(which):
    assert class_indices(which, 2, 7, NAMES).tolist() == [[1], [2]]


def test_labels_of_one_image():
    assert class_indices(torch.tensor([4]), 1, 7).tolist() == [[4]]


@pytest.mark.parametrize("n, needed", [(1, "so 1 is needed"), (3, "so 3 are needed")])
def test_labels_that_are_not_as_many_as_the_images_are_named_with_both_cures(n, needed):
    text = class_fault(torch.tensor([1, 2]), n)
    assert f"2 classes were given for {n} image" in text and needed in text
    assert "To ask all 2 of every image, pass a list: .tolist() makes one." in text


def test_lists_of_unequal_lengths_are_named():
    assert "Some images have 1 classes and some 2: give each as many." in class_fault(
        [[1, 2], [0]], 2
    )


@pytest.mark.parametrize(
    "make", [torch.tensor, np.array, list, lambda rows: [tuple(row) for row in rows]]
)
def test_a_table_gives_each_image_its_own_classes(make):
    assert class_indices(make([[1, 2], [0, 6]]), 2, 7).tolist() == [[1, 2], [0, 6]]


def test_the_answer_is_a_tensor_of_whole_numbers():
    assert class_indices("tiger cat", 1, 7, NAMES).dtype == torch.int64


def test_exact_spelling_decides_between_names_that_differ_in_case():
    assert class_indices(["polo", "Polo"], 1, 7, NAMES).tolist() == [[5, 6]]


def test_a_name_that_fits_twice_without_case_is_left_to_the_learner():
    assert (
        class_fault("POLO")
        == "'POLO' is more than one class: give the number, 5 ('polo') or 6 ('Polo')."
    )


def test_a_name_that_two_classes_share_but_for_their_brackets_is_left_to_the_learner():
    assert (
        "'crane' is more than one class: give the number, 3 ('crane (bird)') or 4"
        in class_fault("crane")
    )


def test_a_name_that_occurs_twice_is_left_to_the_learner():
    assert "more than one class: give the number, 0 ('a') or 1 ('a')" in class_fault(
        "a", 1, 2, ["a", "a"]
    )


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("tigercat", "tiger cat"), ("Egiptian cat", "Egyptian cat"), ("tabby", "tabby, tabby cat")],
)
def test_an_unknown_name_brings_the_closest_ones(typed, meant):
    text = class_fault(typed)
    assert (
        f"No class is called '{typed}'. Did you mean '{meant}'" in text
        and "All names: 'tabby, tabby cat', 'tiger cat'" in text
    )


def test_a_name_like_no_other_brings_no_guess():
    many = [f"bird {i}" for i in range(20)]
    wanted = "No class is called 'xyzzy'. All names: GradCAM(model).categories."
    assert class_fault("xyzzy", classes=20, categories=many) == wanted


def test_the_names_of_one_logit_which_stand_in_no_list_are_told():
    categories = names_of(None, torch.zeros(1, 1))
    assert class_fault("cat", classes=2, categories=categories).endswith("names: 'no', 'yes'.")


def test_a_number_in_quotes_is_told_to_lose_them():
    assert "'3'. As a number: 3, without quotes." in class_fault("3")


def test_a_name_for_a_network_without_names_is_refused():
    text = class_fault("tiger cat", categories=None)
    assert (
        "classes by number only, so 'tiger cat' cannot be looked up" in text
        and "model.categories" in text
    )


@pytest.mark.parametrize("which", [7, -1, [0, 7], np.int64(7), torch.tensor([[-1]])])
def test_a_number_out_of_range_is_named_with_the_range(which):
    assert "is out of range: this network has classes 0 to 6." in class_fault(which)


@pytest.mark.parametrize(
    "which", [1.0, None, True, [[1], 1], [2.5], {1}, [torch.tensor(2.7)], b"polo"]
)
def test_what_is_neither_number_nor_name_is_refused(which):
    assert "A class is a whole number or a name, not" in class_fault(which)


@pytest.mark.parametrize(
    "which",
    [torch.tensor(2.7), torch.tensor([1.0]), np.array([[True]]), np.float64(1), torch.tensor(True)],
)
def test_arrays_of_other_than_whole_numbers_are_refused(which):
    assert "Classes are whole numbers, but the tensor holds" in class_fault(which)


@pytest.mark.parametrize(
    ("which", "cure", "cured"),
    [
        (torch.tensor([4.0]), ".long() makes", lambda c: c.long()),
        (np.array([4.0]), ".astype(int) makes", lambda c: c.astype(int)),
        (torch.eye(7)[[4]], ", .argmax(1) gives", lambda c: c.argmax(1)),
        (torch.eye(7)[[4]] > 0, ", .long().argmax(1) gives", lambda c: c.long().argmax(1)),
        (np.eye(7)[[4]] > 0, ", .astype(int).argmax(1)", lambda c: c.astype(int).argmax(1)),
    ],
)
def test_the_cure_for_classes_as_floats_works(which, cure, cured):
    assert cure in class_fault(which, 1)
    assert class_indices(cured(which), 1, 7).tolist() == [[4]]


@pytest.mark.parametrize("which", [torch.tensor([2.7]), np.array([np.nan])])
def test_no_fraction_is_called_a_whole_number(which):
    assert class_fault(which, 1).endswith(("float32.", "float64."))


def test_what_topk_and_max_return_stands_for_the_classes():
    y = torch.tensor([[0.0, 3, 1], [2, 0, 1]])
    assert class_indices(y.topk(2), 2, 3).tolist() == [[1, 2], [0, 2]]
    assert class_indices(y.max(1), 2, 3).tolist() == [[1], [0]]


def test_spaces_around_a_name_do_not_count():
    assert class_indices(" tiger cat ", 1, 7, NAMES).tolist() == [[1]]


@pytest.mark.parametrize("which", [{1, 2}, (c for c in [1]), slice(0, 2)])
def test_several_classes_are_given_as_a_list(which):
    assert class_fault(which).endswith("Give several as a list.")


@pytest.mark.parametrize(
    "which, kind",
    [(torch.ones(1).long().to("meta"), "meta"), (torch.ones(1).to_sparse(), "sparse")],
)
def test_a_tensor_without_plain_numbers_names_no_classes(which, kind):
    assert kind in class_fault(which.long())


def test_masked_labels_are_not_asked_about():
    with pytest.raises(ClassError, match="Some of the classes are masked: leave their images out"):
        class_indices(np.ma.array([0, 1], mask=[False, True]), 2, 3)


@pytest.mark.parametrize("which", [[], (), torch.zeros(1, 0, dtype=int), torch.zeros(0, dtype=int)])
def test_an_empty_list_is_refused(which):
    assert "list of classes is empty: name at least one" in class_fault(which)


@pytest.mark.parametrize(("n", "images"), [(1, "1 image:"), (3, "3 images:")])
def test_another_number_of_rows_than_images_is_refused(n, images):
    text = class_fault(torch.zeros(2, 1, dtype=int), n)
    assert text.startswith(f"2 rows of classes were given for {images}")


def test_one_row_for_many_images_brings_the_cure():
    text = class_fault(torch.zeros(1, 2, dtype=int), 3)
    assert text.startswith("1 row of classes was given for 3 images: give each image its row, or")


@pytest.mark.parametrize("make", [torch.tensor, np.array, list])
def test_one_hot_labels_are_not_taken_for_numbers(make):
    labels = make(np.eye(7, dtype=int)[[4, 2]].tolist())
    text = class_fault(labels, 2)
    assert "as in one-hot labels" in text
    cure = text.partition("Pass numbers: ")[2].partition(" gives")[0]
    numbers = eval(cure, {"torch": torch, "labels": labels})
    assert class_indices(numbers, 2, 7).tolist() == [[4], [2]]
    assert class_indices(torch.tensor([[0, 1], [1, 0]]), 2, 2).tolist() == [[0, 1], [1, 0]]


def test_a_plain_list_of_zeros_and_ones_is_as_many_classes_for_every_image():
    assert class_indices([0, 1, 1], 2, 3).tolist() == [[0, 1, 1]] * 2


def test_a_table_of_three_dimensions_is_refused():
    assert class_fault(torch.zeros(1, 2, 3, dtype=int)) == "Classes are N x K, not 1 x 2 x 3."


def test_a_class_is_called_by_its_name_or_its_number():
    assert (class_name(1, NAMES), class_name(1, None)) == ("tiger cat", "class 1")


THREE = ["cat", "dog", "owl"]


@pytest.mark.parametrize(
    "categories",
    [
        THREE,
        tuple(THREE),
        np.array(THREE),
        Series(THREE),
        {0: "cat", 1: "dog", 2: "owl"},  # id2label
        {"2": "owl", "0": "cat", "1": "dog"},  # the same from JSON
        {"owl": 2, "cat": 0, "dog": 1},  # class_to_idx
        {"owl": "2", "cat": "0", "dog": "1"},  # the same from JSON
        {"owl": np.int64(2), "cat": np.int64(0), "dog": np.int64(1)},
        {"0": ["n0", "cat"], "1": ["n1", "dog"], "2": ["n2", "owl"]},  # ImageNet's index file
        [b"cat", b"dog", b"owl"],
        ["cat\n", "dog\n", "owl"],  # lines of a file
        np.array([["n0", "cat"], ["n1", "dog"], ["n2", "owl"]]),
        [("cat", 0), ("dog", 1), ("owl", 2)],  # class_to_idx.items()
        [{"id": i, "name": name} for i, name in enumerate(THREE)],  # COCO's categories
        {str(i): {"name": name} for i, name in enumerate(THREE)},
    ],
)
def test_names_come_in_many_kinds(categories):
    assert class_names(categories) == THREE


def test_names_that_are_digits_are_told_from_numbers_by_what_they_map_to():
    # folders "0", "1", "10", "2" are numbered in the order of the alphabet
    assert class_names({"0": 0, "1": 1, "10": 2, "2": 3}) == ["0", "1", "10", "2"]


def test_a_set_of_names_has_no_order():
    with pytest.raises(ClassError, match="is a set, which has no order"):
        class_names({"cat", "dog", "owl"})


def test_names_that_can_be_read_only_once_are_refused_before_they_are_gone():
    with pytest.raises(ClassError, match=r"is a map, which can be read only once.*: list\("):
        class_names(map(str.strip, ["cat\n", "dog\n"]))


@pytest.mark.parametrize("categories", [{0: "cat", 2: "owl"}, ["cat", None, "owl"]])
def test_a_number_without_a_name_is_called_by_it(categories):
    assert class_names(categories) == ["cat", "class 1", "owl"]


def test_a_dict_that_counts_from_one_is_told_so():
    names = class_names({1: "cat", 2: "dog", 3: "owl"})
    with pytest.raises(ClassError, match="4 names, but .* 3 classes.*in a dict begin at 0"):
        names_of(names, torch.zeros(1, 3))


def test_names_that_share_a_number_stand_together():
    assert class_names({"cat": 0, "kitten": 0, "dog": 1}) == ["cat / kitten", "dog"]


@pytest.mark.parametrize(
    "categories",
    [None, nn.Linear(8, 3), "cat", 3, [], {}, {"cat": "dog"}, {-1: "cat"}, torch.zeros(3), len],
)
def test_what_holds_no_names_is_ignored(categories):
    assert class_names(categories) is None


@pytest.mark.parametrize(
    "categories, names",
    [(None, ["no", "yes"]), (["cat"], ["not cat", "cat"]), (["dog", "cat"], ["dog", "cat"])],
)
@pytest.mark.parametrize("shape", [(4,), (4, 1), (1,), (1, 1)])
def test_one_logit_has_two_names(categories, names, shape):
    assert names_of(categories, torch.zeros(shape)) == names


def test_three_names_are_too_many_for_one_logit():
    with pytest.raises(ClassError, match="3 names.*one logit, for no and yes: give it the two"):
        names_of(THREE, torch.zeros(4, 1))


# Suggestions


def test_suggestions_read_as_a_sentence_with_the_nearest_first():
    names = ["abcdefg", "abcde", "abcdef"]
    assert closest("abcd", names) == " Did you mean 'abcde', 'abcdef' or 'abcdefg'?"


def test_one_suggestion_stands_alone():
    assert closest("resnet5", ["resnet50", "vgg"]) == " Did you mean 'resnet50'?"


def test_no_suggestion_is_nothing():
    assert closest("xyzzy", ["resnet50", "vgg"]) == ""


def test_suggestions_do_not_mind_case():
    assert closest("TIGER CAT", NAMES).startswith(" Did you mean 'tiger cat'")


def test_suggestions_are_no_more_than_asked():
    assert closest("layer", [f"layer{i}" for i in range(9)], n=2).count("'") == 4


def test_an_empty_name_is_near_nothing():
    assert closest("", ["resnet50"]) == ""


def test_names_of_which_it_is_a_word_come_first():
    names = ["crate", "oxcart", "tiger cat", "catamaran", "Persian cat", "cart"]
    assert closest("cat", names) == " Did you mean 'tiger cat', 'Persian cat' or 'cart'?"


@pytest.mark.parametrize(
    "first, shape, size",
    [
        (nn.Conv2d(12, 8, 3), (2, 64, 48, 12), (64, 48)),  # bands of a satellite, last
        (nn.Conv2d(12, 8, 3), (2, 12, 64, 48), (64, 48)),
        (nn.Conv2d(48, 8, 3), (2, 3, 64, 48), (64, 48)),  # registered first, and runs later
        (nn.Conv2d(48, 8, 3), (2, 8, 64, 48), (64, 48)),
        (nn.Conv3d(1, 8, 3), (2, 16, 24, 32, 1), (16, 24, 32)),
        (nn.Conv3d(5, 8, 3), (2, 16, 24, 32, 5), (16, 24, 32)),
        (nn.Conv3d(1, 8, 3), (2, 1, 16, 24, 32), (16, 24, 32)),
        (nn.Conv2d(10, 8, 3), (2, 4, 10, 32, 48), (4, 32, 48)),  # dates before bands
    ],
)
def test_channels_are_told_from_sides_by_what_the_first_convolution_reads(first, shape, size):
    assert size_of(torch.zeros(shape), nn.Sequential(first)) == size


class Last(nn.Module):
    """Reads volumes with their channels last."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.c, self.h = nn.Conv3d(2, 4, 3, 2, 1), nn.Linear(4, 3)

    def forward(self, x):
        return self.h(self.c(x.movedim(-1, 1)).mean(dim=(2, 3, 4)))


def test_a_volume_with_its_channels_last_has_a_map_of_depth_height_and_width():
    answer = GradCAM(Last())(torch.randn(1, 8, 10, 12, 2))
    assert answer.maps.shape == (1, 1, 8, 10, 12)


@pytest.mark.parametrize(
    "categories",
    [
        [("dog", 1), ("cat", 0), ("owl", 2)],
        [("1", "dog"), ("0", "cat"), ("2", "owl")],
        [{"id": 2, "name": "owl"}, {"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}],
    ],
)
def test_names_that_stand_beside_all_the_numbers_are_put_in_their_order(categories):
    assert class_names(categories) == ["cat", "dog", "owl"]


class Series:
    """As a series of pandas: it runs over its values, and its index stands beside them."""

    def __init__(self, values, index):
        self.values, self.index = values, index

    def __iter__(self):
        return iter(self.values)

    def items(self):
        return zip(self.index, self.values)


@pytest.mark.parametrize(
    ("values", "index"),
    [
        (["cat", "dog", "owl"], [0, 1, 2]),
        (["owl", "cat", "dog"], [2, 0, 1]),
        ([2, 0, 1], ["owl", "cat", "dog"]),
        (["cat", "dog", "owl"], [7, 9, 4]),
    ],
)
def test_the_index_of_a_series_that_holds_all_numbers_or_the_names_is_heeded(values, index):
    assert class_names(Series(values, index)) == ["cat", "dog", "owl"]


@pytest.mark.parametrize(
    "categories",
    [[("n3", "cat"), ("n1", "dog")], [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}]],
)
def test_names_beside_other_numbers_stand_in_the_order_of_the_outputs(categories):
    assert class_names(categories) == ["cat", "dog"]


def test_of_each_input_the_first_images_part_is_taken():
    x, boxes = torch.zeros(2, 3, 8, 8), [torch.ones(2, 4), torch.zeros(5, 4)]
    image, few, text = one_image((x, boxes, {"text": torch.zeros(2, 7)}))
    assert len(image) == 1 and len(few) == 1 and few[0] is boxes[0] and text["text"].shape == (1, 7)
    (streams,) = one_image(([x, x[:, :, ::2]],))
    assert [len(stream) for stream in streams] == [1, 1]


def test_all_images_are_taken_where_another_inputs_rows_are_no_images():
    x = torch.zeros(2, 3, 8, 8)
    boxes = torch.tensor([[0, 0, 0, 4, 4], [1, 0, 0, 4, 4], [1, 2, 2, 8, 8]])
    assert one_image((x, boxes))[0] is x


@pytest.mark.parametrize(
    ("first", "shape", "size"),
    [
        (nn.Linear(3, 8), (2, 24, 16, 3), (24, 16)),
        (nn.LayerNorm(3), (2, 24, 16, 3), (24, 16)),
        (nn.Linear(2, 8), (1, 8, 16, 16, 2), (8, 16, 16)),
        (nn.Linear(16, 8), (2, 3, 24, 16), (24, 16)),
        (nn.Conv2d(24, 8, 1), (2, 24, 16, 3), (16, 3)),
    ],
)
def test_channels_last_are_seen_where_a_linear_layer_reads_pixel_by_pixel(first, shape, size):
    network = nn.Sequential(first, nn.Conv2d(8, 8, 1), nn.Linear(3, 2))
    assert size_of(torch.zeros(shape), network) == size


def test_a_signal_lies_along_its_last_axis_where_no_layer_tells():
    assert size_of(torch.zeros(2, 30, 4), nn.Sequential(nn.ReLU())) == (4,)
