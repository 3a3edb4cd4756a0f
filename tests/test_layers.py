"""Which layer is explained by default, how layers are named, and how their output becomes a
grid.
"""

import pytest
import timm
import torch
import torchvision
from tiny_networks import PHOTO, HandNet, RandomNet, random_images
from torch import nn

from course_utils import ForwardPass, GradCAM, layer_names
from course_utils.errors import LayerError
from course_utils.methods.grids import Seen, check_grid, grid_fold
from course_utils.methods.layers import default_layer, find_layer


def fault(act):
    with pytest.raises(LayerError) as error:
        act()
    text = str(error.value)
    assert "\n" not in text and text[-1] == "."
    return text


def without_weights(library, name):
    """The network's layers only: on the device "meta" no weight takes memory or time."""
    computed = name.startswith("regnet")  # works out its widths with tensors
    with torch.device("cpu" if computed else "meta"):
        if library == "timm":
            return timm.create_model(name)
        slow = {"init_weights": False} if name in ("inception_v3", "googlenet") else {}
        return torchvision.models.get_model(name, weights=None, **slow)


# A layer that is put in another's place after the method was made


def wrapped(network, name="layer4"):
    """The layer, and one more that doubles what it gives, under its name."""
    more = nn.Conv2d(512, 512, 1, bias=False)
    more.weight.data = 2 * torch.eye(512)[:, :, None, None]
    before = network.get_submodule(name)
    setattr(network, name, nn.Sequential(before, more))
    return before


@pytest.mark.parametrize("named", [None, "layer4"])
def test_a_name_means_the_layer_that_has_it_when_it_is_asked(named):
    torch.manual_seed(0)
    network, x = torchvision.models.resnet18().eval(), torch.randn(1, 3, 64, 64)
    method = GradCAM(network, named)
    method(x)
    wrapped(network)
    got = method(x, why=3)
    assert got.layer == "layer4"
    torch.testing.assert_close(got.evidence, GradCAM(network, "layer4")(x, why=3).evidence)
    torch.testing.assert_close(got.evidence, GradCAM(network, "layer4.1")(x, why=3).evidence)


def test_a_module_is_asked_wherever_it_stands():
    network = torchvision.models.resnet18().eval()
    method, x = GradCAM(network, network.layer4), torch.randn(1, 3, 64, 64)
    before = wrapped(network)
    assert method(x).layer == "layer4.0"
    network.layer4 = nn.Identity()
    assert "is not a part of this ResNet" in fault(lambda: method(x))
    assert before is method._target.module


# The default layer

DEFAULTS = [
    ("torchvision", "resnet50", "layer4"),
    ("torchvision", "resnext50_32x4d", "layer4"),
    ("torchvision", "vgg16", "features.29"),
    ("torchvision", "vgg16_bn", "features.42"),
    ("torchvision", "alexnet", "features.11"),
    ("torchvision", "densenet121", "features"),
    ("torchvision", "squeezenet1_1", "features"),
    ("torchvision", "mobilenet_v2", "features"),
    ("torchvision", "mobilenet_v3_large", "features"),
    ("torchvision", "efficientnet_b0", "features"),
    ("torchvision", "efficientnet_v2_s", "features"),
    ("torchvision", "convnext_tiny", "features"),
    ("torchvision", "inception_v3", "Mixed_7c"),
    ("torchvision", "googlenet", "inception5b"),
    ("torchvision", "shufflenet_v2_x1_0", "conv5"),
    ("torchvision", "mnasnet1_0", "layers"),
    ("torchvision", "regnet_y_400mf", "trunk_output"),
    ("torchvision", "vit_b_16", "encoder.layers.encoder_layer_11.ln_1"),
    ("torchvision", "swin_t", "norm"),
    ("torchvision", "swin_v2_t", "norm"),
    ("torchvision", "maxvit_t", "blocks.3"),
    ("timm", "tf_efficientnet_lite0", "bn2"),
    ("timm", "resnet18", "layer4"),
    ("timm", "densenet121", "features"),
    ("timm", "vgg11", "features.19"),
    ("timm", "mobilenetv3_small_050", "blocks"),
    ("timm", "convnext_atto", "stages"),
    ("timm", "inception_v3", "Mixed_7c"),
    ("timm", "regnety_002", "final_conv"),
    ("timm", "vit_tiny_patch16_224", "blocks.11.norm1"),
    ("timm", "deit_tiny_distilled_patch16_224", "blocks.11.norm1"),
    ("timm", "swin_tiny_patch4_window7_224", "norm"),
    ("timm", "swinv2_tiny_window8_256", "norm"),
]


@pytest.mark.parametrize(
    ("library", "name", "layer"), DEFAULTS, ids=[f"{n}-{lib}" for lib, n, _ in DEFAULTS]
)
def test_every_family_has_its_default_layer(library, name, layer):
    model = without_weights(library, name)
    assert default_layer(model) == layer
    assert layer in layer_names(model)


def test_a_layer_that_was_taken_away_since_is_named():
    model = RandomNet()
    cam = GradCAM(model, "stem")
    model.conv = model.stem
    del model.stem
    assert "RandomNet has no layer 'stem'." in fault(lambda: cam(random_images()))


def test_a_network_that_states_its_layer_is_believed():
    model = RandomNet()
    model.layer = "stem"
    assert default_layer(model) == "stem"


def test_a_network_that_states_a_layer_it_lacks_is_told_so():
    model = RandomNet()
    model.layer = "stam"
    assert "model.layer says 'stam', but RandomNet has no such layer." in fault(
        lambda: ForwardPass(model, random_images())
    )


def test_a_network_with_a_module_called_layer_states_nothing():
    model = RandomNet()
    model.layer = nn.Identity()
    assert default_layer(model) == "target"


def test_a_network_without_a_grid_is_told_so_and_its_layers_are_listed():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    text = fault(lambda: ForwardPass(model, torch.zeros(1, 3, 2, 2)))
    assert "No layer of this Sequential has places" in text
    assert "This network has: 0, 1." in text
    assert GradCAM(nn.Sequential(nn.Identity(), model))(torch.zeros(1, 3, 2, 2)).layer == "0"


def test_of_what_is_no_network_there_are_no_layer_names():
    with pytest.raises(TypeError, match="The network must be an nn.Module.*not a str"):
        layer_names("resnet50")


def test_layer_names_are_in_the_order_of_registration_and_leave_the_network_itself_out():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.ReLU(), nn.Identity()))
    assert layer_names(model) == ["0", "1", "1.0", "1.1"]


# Finding a layer


def test_a_layer_is_found_by_name():
    model = RandomNet()
    assert find_layer(model, "stem")[:2] == ("stem", model.stem)


def test_a_layer_is_found_by_its_module():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.ReLU()))
    assert find_layer(model, model[1][0])[:2] == ("1.0", model[1][0])


def test_an_unknown_layer_brings_the_closest_ones_and_the_way_to_all():
    text = fault(lambda: find_layer(without_weights("torchvision", "resnet18"), "layer5"))
    assert "ResNet has no layer 'layer5'. Did you mean 'layer" in text
    assert text.endswith("layer_names(model) lists them all.")


def test_a_layer_like_no_other_brings_no_guess():
    assert fault(lambda: find_layer(RandomNet(), "xyzzy")).startswith(
        "RandomNet has no layer 'xyzzy'. layer_names"
    )


@pytest.mark.parametrize("layer", [5, "stem.weight", "stem.0"])
def test_what_is_no_layer_is_refused_in_the_same_words(layer):
    assert f"RandomNet has no layer '{layer}'." in fault(lambda: find_layer(RandomNet(), layer))


def test_a_layer_of_another_network_is_refused():
    text = fault(lambda: find_layer(RandomNet(), RandomNet().stem))
    assert (
        "That Conv2d is not a part of this RandomNet. Pass a layer of the same network object"
        in text
    )


def test_a_pooled_layer_is_refused_with_a_better_one():
    text = fault(lambda: ForwardPass(HandNet(), PHOTO, "fc"))
    assert "'fc' gives 1 x 3: no height and width are left of the image" in text
    assert text.endswith("By default it is 'layer1'.")


def test_a_pooled_layer_is_refused_where_there_is_no_better_one():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    text = fault(lambda: ForwardPass(model, torch.zeros(1, 3, 2, 2), "1"))
    assert text.endswith("Choose a layer that still has them.")


def test_a_linear_layer_with_places_is_explained():
    model = nn.Sequential(Moved(), nn.Linear(3, 4), Mean())  # N x h x w x C
    assert ForwardPass(model, random_images(size=(4, 6)).float(), "1").activations.shape[1:] == (
        4,
        4,
        6,
    )


class Moved(nn.Module):
    def forward(self, x):
        return x.movedim(1, -1)


class Mean(nn.Module):
    def forward(self, x):
        return x.mean(dim=(1, 2))


class LastPlace(nn.Module):
    """What a causal network reads of N x C x L, where `cut` places were padded behind."""

    def __init__(self, cut):
        super().__init__()
        self.cut = cut

    def forward(self, x):
        return x[:, :, -1 - self.cut]


# Reading an output as a grid


def fold(shape, size, model=None, name="stem"):
    output = torch.arange(float(torch.Size(shape).numel())).reshape(shape)
    return output, grid_fold(model or RandomNet(), name, output, size)(output)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((2, 5, 7, 7), (224, 224)),
        ((1, 96, 56, 56), (224, 224)),
        ((1, 64, 3, 9), (96, 300)),  # 96 / 32 = 3 and 300 / 32 = 9.4
        ((1, 64, 1, 2), (33, 64)),  # 33 / 32 rounded down
        ((1, 6, 10, 18), (12, 20)),  # 6 x 10 would be an even fifth, but channels first is the rule
        ((1, 7, 7, 7), (224, 224)),
        ((1, 2, 4, 2), (64, 32)),
        ((1, 8, 8, 8), (64, 100)),  # stretched to a square: both readings are alike
        ((2, 8, 8, 8, 8), (8, 32, 32)),  # the depth kept, height and width a fourth
        ((2, 4, 8, 8, 8), (8, 32, 32)),  # 4 x 8 x 8 would have the more even strides
        ((2, 32, 5, 4, 3), (16, 100, 80)),
    ],
)
def test_channels_first_pass_through(shape, size):
    output, grid = fold(shape, size)
    assert torch.equal(grid, output)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((2, 7, 7, 768), (224, 224)),
        ((1, 56, 56, 96), (224, 224)),  # 56 x 96 is not far from a square, 56 x 56 is one
        ((1, 3, 9, 64), (96, 300)),
        ((1, 8, 7, 7, 768), (16, 224, 224)),
        ((1, 8, 56, 56, 48), (16, 224, 224)),  # 56 x 48 is nearly a square, but deeper than 16
    ],
)
def test_channels_last_are_moved(shape, size):
    output, grid = fold(shape, size)
    assert torch.equal(grid, output.movedim(-1, 1))


def test_a_signal_made_longer_by_padding_is_no_row_of_channels():
    # a causal network pads by 4 and cuts 4 off again; its last place alone is read
    causal = nn.Sequential(nn.Conv1d(4, 4, 3, padding=4, dilation=2), nn.ReLU())
    model = nn.Sequential(nn.Conv1d(1, 4, 3, padding=1), causal, LastPlace(4), nn.Linear(4, 2))
    answer = GradCAM(model.eval())(torch.randn(1, 1, 16), why=0)
    assert (answer.layer, answer.evidence.shape) == ("0", (1, 1, 16))
    assert GradCAM(model, layer="1.0")(torch.randn(1, 1, 16)).evidence.shape == (1, 1, 20)


def test_a_family_known_for_channels_last_is_believed_when_both_orders_are_possible():
    model = without_weights("torchvision", "swin_t")
    output, grid = fold((1, 96, 96, 96), (384, 384), model)
    assert torch.equal(grid, output.permute(0, 3, 1, 2))


def test_a_network_that_only_shares_such_a_familys_name_is_read_in_pytorchs_order():
    other = type("SwinTransformer", (nn.Module,), {})()
    output, grid = fold((1, 3, 8, 8, 8), (8, 8, 8), other)
    assert torch.equal(grid, output)


def test_channels_first_pass_through_in_a_family_known_for_channels_last():
    output, grid = fold((1, 96, 56, 56), (224, 224), without_weights("torchvision", "swin_t"))
    assert torch.equal(grid, output)


class Tokens(nn.Module):
    num_prefix_tokens = 2


def test_tokens_are_folded_row_by_row_after_the_prefix():
    # two prefix tokens, then a grid of 2 x 3 with 2 channels: token t holds 10 t and 10 t + 1
    output = torch.stack([torch.arange(8) * 10.0, torch.arange(8) * 10.0 + 1], dim=-1)[None]
    grid = grid_fold(Tokens(), "blocks", output, (32, 48))(output)
    assert grid.tolist() == [[[[20, 30, 40], [50, 60, 70]], [[21, 31, 41], [51, 61, 71]]]]


@pytest.mark.parametrize(
    ("size", "grid"),
    [((48, 32), (3, 2)), ((32, 48), (2, 3)), ((16, 96), (1, 6)), ((96, 16), (6, 1))],
)
def test_tokens_are_folded_to_the_images_shape(size, grid):
    assert fold((1, 8, 5), size, Tokens())[1].shape == (1, 5, *grid)


def test_torchvisions_vit_has_one_class_token():
    model = torchvision.models.VisionTransformer(32, 8, 1, 2, 8, 8)
    output, grid = fold((1, 17, 8), (32, 32), model)
    assert torch.equal(grid[0, :, 1, 2], output[0, 1 + 4 + 2])


@pytest.mark.parametrize("shape", [(5,), (2, 5), (1, 2, 5)])
def test_class_tokens_are_counted_in_every_shape(shape):
    model = nn.Module()
    model.class_token = nn.Parameter(torch.zeros(shape))
    prefix = 1 if shape == (5,) else 2
    output, grid = fold((1, prefix + 6, 5), (32, 48), model)
    assert torch.equal(grid[0, :, 1, 2], output[0, prefix + 5])


def test_the_tokens_of_a_volume_have_the_patches_grid():
    output = torch.randn(1, 1 + 24, 5)
    read = grid_fold(RandomNet(), "norm", output, (8, 48, 64), lambda: Seen([(4, 6), (2, 3, 4)]))
    assert torch.equal(read(output)[0, :, 1, 2, 3], output[0, 24])


def test_gradients_of_many_questions_are_folded_alike():
    read = grid_fold(Tokens(), "blocks", torch.zeros(1, 8, 5), (32, 48))
    assert read(torch.zeros(64, 8, 5)).shape == (64, 5, 2, 3)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (RandomNet(), (2, 18, 8)),  # tokens of a network that does not say how many come first
        (Tokens(), (2, 7, 8)),  # 5 tokens are no grid of a square image
        (Tokens(), (2, 1, 8)),  # fewer tokens than the prefix
        (RandomNet(), (2, 4, 9, 30)),  # neither order has the image's shape
        (RandomNet(), (2, 3, 4, 4, 4)),
    ],
)
def test_an_output_without_a_grid_is_named_beside_the_image(model, shape):
    text = fault(lambda: fold(shape, (64, 64), model))
    dimensions = " x ".join(map(str, shape))
    assert f"'stem' gives {dimensions}, which is not N x C x h x w for a 64 x 64 image." in text
    assert "or pass reshape_transform=, a function from this output to N x C x h x w." in text


@pytest.mark.parametrize(("side", "layer"), [(64, "layer4"), (32, "layer3"), (16, "layer2")])
def test_of_small_images_the_last_layer_that_still_has_places_is_explained(side, layer):
    torch.manual_seed(0)
    model, x = torchvision.models.resnet18().eval(), torch.randn(2, 3, side, side)
    got, expected = GradCAM(model)(x, why=1), GradCAM(model, layer)(x, why=1)
    assert got.layer == layer == default_layer(model, x) and got.evidence.shape[2:] == (2, 2)
    assert torch.equal(got.evidence, expected.evidence)


def test_a_single_place_asks_for_a_larger_image_or_an_earlier_layer():
    text = fault(lambda: fold((2, 10, 1, 1), (32, 32)))
    assert "'stem' gives 2 x 10 x 1 x 1: a single place is left of the image." in text
    assert text.endswith("Pass a larger image, or choose an earlier layer.")


def test_a_single_place_is_refused_with_channels_last_and_in_wide_images_too():
    assert "a single place is left" in fault(lambda: fold((1, 1, 1, 768), (32, 32)))
    assert "a single place is left" in fault(lambda: fold((1, 768, 1, 1), (32, 96)))


def test_a_layer_named_in_a_network_without_convolutions_is_used():
    model = nn.Sequential(nn.PixelUnshuffle(2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert ForwardPass(model, random_images(size=(4, 6)), "1").activations.shape == (2, 12, 2, 3)


def test_a_grid_passes():
    check_grid(torch.zeros(2, 3, 4, 5), "stem", [2])


@pytest.mark.parametrize(("shape", "n"), [((2, 3, 4), 2), ((4, 3, 2, 2), 2)])
def test_what_is_no_grid_of_the_batch_is_refused(shape, n):
    text = fault(lambda: check_grid(torch.zeros(shape), "stem", [n]))
    assert (
        f"'stem', read as a grid, is {' x '.join(map(str, shape))}, not N x C x h x w with N = {n}"
        in text
    )


def test_a_name_in_place_of_a_network():
    with pytest.raises(TypeError, match="must be an nn.Module, such as load_classifier"):
        find_layer("efficientnet_lite0")


def test_a_row_that_is_much_longer_than_the_signal_lies_along_another_axis():
    with pytest.raises(LayerError, match="'f' gives 1 x 4 x 50, which is not N x C x w for a sig"):
        grid_fold(nn.Conv1d(2, 4, 3), "f", torch.zeros(1, 4, 50), (10,), kind=True)


@pytest.mark.parametrize(
    ("first", "read"),
    [(nn.Conv2d(3, 4, 3), (1, 4, 8, 6, 6)), (nn.Conv3d(3, 8, 3), (1, 8, 4, 6, 6))],
)
def test_frames_stand_before_channels_where_layers_of_images_read_each(first, read):
    """Of 8 frames: N x 8 x 4 x 6 x 6 is T x C behind 2-D layers, and C x T behind 3-D ones."""
    output = torch.zeros(1, 8, 4, 6, 6)
    assert grid_fold(nn.Sequential(first), "f", output, (8, 24, 24))(output).shape == read
