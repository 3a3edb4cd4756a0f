"""Which part of the image a network looks at: networks that cut or pad their images themselves."""

import warnings

import pytest
import torch
import torch.nn.functional as F
import torchvision.transforms as T
from torch import nn

from course_utils import ForwardPass, GradCAM
from course_utils.errors import GridWarning
from course_utils.methods.framing import frame_of


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
    "two parts of the image": behind(
        Step(lambda x: torch.cat([x[:, :, :, :48], x[:, :, :, 48:]], 1)), nn.Conv2d(6, 6, 3, 2, 1)
    ),
}


@pytest.mark.parametrize("step", SILENT)
def test_of_a_network_that_looks_at_the_whole_image_nothing_is_said(step):
    with warnings.catch_warnings():
        warnings.simplefilter("error", GridWarning)
        assert "looks at" not in GradCAM(SILENT[step], "2")(IMAGE).layer_reason


def test_beside_a_branch_that_sees_the_whole_image_one_that_sees_a_part_is_not_named():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.near, self.far = behind(T.CenterCrop(32)), behind(nn.Identity())

        def forward(self, x):
            return self.near(x) + self.far(x)

    with warnings.catch_warnings():
        warnings.simplefilter("error", GridWarning)
        GradCAM(Both().eval(), "far.2")(IMAGE)


def test_of_a_signal_the_part_of_its_time_is_named():
    model = behind(Step(lambda x: x[..., :250]), nn.Conv1d(1, 6, 9, 2))
    with pytest.warns(GridWarning, match="looks at 0 to 25 % of its time"):
        ForwardPass(model, torch.randn(2, 1, 1000, generator=torch.Generator().manual_seed(1)))


def test_what_is_measured_runs_no_further_than_the_first_convolution():
    model, seen = behind(T.CenterCrop(32)), []
    for part in (model[1], model[4]):
        part.register_forward_hook(lambda _m, _x, y: seen.append(y.requires_grad))
    assert frame_of(model, IMAGE).askew and not seen


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
