"""Which part of the image a network looks at: networks that cut or pad their images themselves."""

import gc
import re
import warnings
import weakref

import pytest
import torch
import torch.nn.functional as F
import torchvision.transforms as T
from torch import nn

from course_utils import ForwardPass, GradCAM
from course_utils.errors import GridWarning
from course_utils.methods.as_classes import AsClasses


def behind(step, *first):
    """A small network behind a step that changes its images."""
    torch.manual_seed(0)
    first = first or (nn.Conv2d(3, 6, 3, 2, 1),)
    pool = nn.Sequential(nn.Flatten(2), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    return nn.Sequential(step, *first, nn.ReLU(), pool, nn.Linear(6, 4)).eval()


class Step(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.forward = change


IMAGE = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
ASKEW = {  # the step, and what part of height and width it leaves
    "the middle": (T.CenterCrop((32, 48)), "25 to 75 % of its height, 25 to 75 % of its width"),
    "enlarged, then the middle": (
        nn.Sequential(T.Resize(96), T.CenterCrop((48, 72))),
        "25 to 75 % of its height, 25 to 75 % of its width",
    ),
    "grey, then the middle": (
        nn.Sequential(T.Grayscale(3), T.CenterCrop((32, 96))), "25 to 75 % of its height, 0 to 100"
    ),
    "made square with zeros": (Step(lambda x: F.pad(x, (0, 0, 16, 16))), "-25 to 125 % of its"),
    "made square at the bottom": (Step(lambda x: F.pad(x, (0, 0, 0, 32))), "0 to 150 % of its"),
    "made square by reflection": (nn.ReflectionPad2d((0, 0, 16, 16)), "-25 to 125 % of its height"),
    "the middle, mirrored": (
        Step(lambda x: x[:, :, 16:48, 24:72].flip(3)), "25 to 75 % of its height, 25 to 75 % of its"
    ),
    "the upper left, turned": (
        Step(lambda x: x[:, :, :32, :48].rot90(1, (2, 3))), "0 to 50 % of its height, 0 to 50 % of"
    ),
}  # fmt: skip


@pytest.mark.parametrize("step", ASKEW)
def test_a_network_that_cuts_or_pads_its_images_is_named_with_the_part_it_looks_at(step):
    change, words = ASKEW[step]
    with pytest.warns(GridWarning, match=f"looks at {words}"):
        assert words in GradCAM(behind(change))(IMAGE).layer_reason


def test_behind_the_step_that_cuts_the_map_lies_on_what_was_handed_over():
    model = behind(T.CenterCrop((32, 48)))
    with pytest.warns(GridWarning, match="behind that step"):
        whole = GradCAM(model)(IMAGE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        part = GradCAM(model[1:])(model[0](IMAGE))
    assert torch.equal(part.evidence, whole.evidence)


SILENT = {
    "another size": behind(Step(lambda x: F.interpolate(x, (40, 40), mode="bilinear"))),
    "each image standardised": behind(nn.InstanceNorm2d(3)),
    "left to right": behind(Step(lambda x: x.flip(3))),
    "frequencies": behind(Step(lambda x: torch.fft.fft2(x).abs())),
    "padding that the convolution takes off": behind(nn.ZeroPad2d(5), nn.Conv2d(3, 6, 11, 1)),
    "no padding": behind(nn.Identity(), nn.Conv2d(3, 6, 11, 1, padding="valid")),
}


@pytest.mark.parametrize("step", SILENT)
def test_of_a_network_that_looks_at_the_whole_image_nothing_is_said(step):
    with warnings.catch_warnings():
        warnings.simplefilter("error", GridWarning)
        assert "looks at" not in GradCAM(SILENT[step], "2")(IMAGE).layer_reason


MIDDLE, WHOLE = "25 to 75 % of its height, 25 to 75 % of its width", "0 to 100 % of its height"


class Both(nn.Module):
    """Two branches, of which one sees the middle of the image, and a layer that joins them."""

    def __init__(self):
        super().__init__()
        self.near = nn.Sequential(T.CenterCrop((32, 48)), nn.Conv2d(3, 6, 3, 1, 1), nn.ReLU())
        self.far = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU())
        self.join, self.head = nn.Conv2d(12, 6, 1), nn.Linear(18, 4)

    def forward(self, x):
        near, far = self.near(x), self.far(x)
        each = near, far, self.join(torch.cat([near, far], 1))
        return self.head(torch.cat([a.mean(dim=(2, 3)) for a in each], 1))


@pytest.mark.parametrize(
    ("layer", "words"),
    [("near.2", MIDDLE), ("join", f"{MIDDLE} and, beside it, at {WHOLE}"), ("far.1", "")],
)
def test_of_several_branches_that_counts_from_which_a_layer_comes(layer, words):
    torch.manual_seed(0)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", GridWarning)
        assert words in GradCAM(Both().eval(), layer)(IMAGE).layer_reason
    assert [words in str(one.message) for one in said] == [True] * bool(words)


def test_of_convolutions_that_follow_one_another_the_last_one_counts():
    model = behind(nn.Conv2d(3, 3, 3, 1, 1), T.CenterCrop((32, 48)), nn.Conv2d(3, 6, 3, 2, 1))
    with pytest.warns(GridWarning, match=f"looks at {MIDDLE}. A map"):
        GradCAM(model, "3")(IMAGE)


def test_what_a_network_keeps_of_its_last_pass_is_of_the_callers_images_also_of_branches():
    class Keeping(Both):
        def forward(self, x):
            self.kept = x
            return super().forward(x)

    model = Keeping().eval()
    ForwardPass(model, IMAGE, "far.1")
    assert model.kept.equal(IMAGE)


def test_branches_are_found_in_a_wrapper_too_and_without_it_again():
    model = Both().eval()
    for network, layer in (AsClasses(model), "network.near.2"), (model, "near.2"):
        with pytest.warns(GridWarning, match=f"looks at {MIDDLE}. A map"):
            GradCAM(network, layer)(IMAGE)


def test_views_that_are_stacked_as_channels_are_named():
    halves = Step(lambda x: torch.cat([x[:, :, :, :48], x[:, :, :, 48:]], 1))
    model = behind(halves, nn.Conv2d(6, 6, 3, 2, 1))
    with pytest.warns(
        GridWarning, match="0 to 50 % of its width and, beside it, at .* 50 to 100 %"
    ):
        GradCAM(model, "2")(IMAGE)


class Patches(nn.Module):
    """A transformer whose patches, 8 x 8, are embedded by a linear layer."""

    def __init__(self, change):
        super().__init__()
        torch.manual_seed(0)
        block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.blocks = nn.TransformerEncoder(block, 3, enable_nested_tensor=False)
        self.change, self.embed, self.head = change, nn.Linear(192, 8), nn.Linear(8, 4)

    def forward(self, x):
        tokens = self.embed(F.unfold(self.change(x), 8, stride=8).mT)
        return self.head(self.blocks(tokens).mean(dim=1))


@pytest.mark.parametrize("cut", [True, False])
def test_of_a_network_without_convolutions_the_layer_is_measured(cut):
    """Behind attention, where each place has heard of all others."""
    model = Patches(lambda x: x[:, :, 16:48, 24:72] if cut else x).eval()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", GridWarning)
        found = GradCAM(model, "blocks.layers.2.norm1")(IMAGE)
    part = "looks at 2[456] to 7[456] % of its height, 2[456] to 7[456] % of its width"
    assert len(said) == cut and bool(re.search(part, found.layer_reason)) == cut


@pytest.mark.parametrize("switch", ["a flag", "a number", "a function", "a part"])
def test_a_network_that_is_switched_to_cutting_is_measured_anew(switch):
    class Switched(nn.Module):
        crop = False

        def __init__(self):
            super().__init__()
            self.margin, self.change = 0, torch.clone
            self.step, self.rest = nn.Identity(), behind(nn.Identity())

        def forward(self, x):
            x = x[:, :, 16:-16] if self.crop else x
            return self.rest(self.step(self.change(x[:, :, self.margin : 64 - self.margin])))

    model = Switched().eval()
    model.change = lambda x: x
    with warnings.catch_warnings():
        warnings.simplefilter("error", GridWarning)
        GradCAM(model, "rest.2")(IMAGE)
    name, value = {
        "a flag": ("crop", True), "a number": ("margin", 16),
        "a function": ("change", lambda x: x[:, :, 16:-16]),
        "a part": ("step", T.CenterCrop((32, 96))),
    }[switch]  # fmt: skip
    setattr(model, name, value)
    with pytest.warns(GridWarning, match="looks at 25 to 75 % of its height"):
        GradCAM(model, "rest.2")(IMAGE)


def test_of_a_signal_the_part_of_its_time_is_named():
    model = behind(Step(lambda x: x[..., :250]), nn.Conv1d(1, 6, 9, 2))
    with pytest.warns(GridWarning, match="looks at 0 to 25 % of its time"):
        ForwardPass(model, torch.randn(2, 1, 1000, generator=torch.Generator().manual_seed(1)))


def test_a_network_whose_functions_hold_it_is_forgotten_with_its_last_name():
    def asked():
        model = behind(Step(lambda x: x))
        model[0].other = lambda x: model(x)
        GradCAM(model, "1")(IMAGE)
        return weakref.ref(model)

    forgotten = asked()
    gc.collect()
    assert forgotten() is None


def test_images_in_bytes_are_measured_too():
    model = behind(Step(lambda x: x[:, :, 16:48].float() / 255))
    with pytest.warns(GridWarning, match="looks at 25 to 75 % of its height"):
        GradCAM(model)((IMAGE * 50 + 128).to(torch.uint8))


@pytest.mark.parametrize("learned", [True, False])
def test_a_spatial_transformer_is_named_and_a_fixed_one_measured(learned):
    class Transformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.rest = behind(nn.Identity())
            self.theta = nn.Linear(3, 6)
            nn.init.zeros_(self.theta.weight)
            self.theta.bias.data = torch.tensor([0.5, 0, 0, 0, 0.5, 0])

        def forward(self, x):
            theta = self.theta(x.mean(dim=(2, 3))).view(-1, 2, 3)
            theta = theta if learned else theta.detach()
            return self.rest(
                F.grid_sample(x, F.affine_grid(theta, x.shape, False), align_corners=False)
            )

    words = "moves the places of x" if learned else "looks at 25 to 75 % of its height"
    with pytest.warns(GridWarning, match=words):
        GradCAM(Transformer().eval(), "rest.2")(IMAGE)
