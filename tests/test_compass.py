"""How a grid lies on the image: networks that turn, mirror or exchange what they are given."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from tiny_networks import by_autograd
from torch import nn

from course_utils import ForwardPass, GradCAM
from course_utils.errors import GridWarning
from course_utils.methods.compass import Lie, _read
from course_utils.methods.graph import channels_become_places


class Changing(nn.Module):
    """Two convolutions and a linear head, behind a change of the image."""

    def __init__(self, change, channels=3, convolution=nn.Conv2d):
        super().__init__()
        torch.manual_seed(0)
        self.change = change
        self.net = nn.Sequential(
            convolution(channels, 6, 3, 2, 1), nn.ReLU(), convolution(6, 8, 3, 1, 1), nn.ReLU()
        )
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.net(self.change(x)).flatten(2).mean(dim=2))


CHANGES = {  # what the network does, what undoes it, and the words for it
    "as it is": (lambda x: x, lambda a: a, ""),
    "upside down": (lambda x: x.flip(2), lambda a: a.flip(2), "reverses height"),
    "left to right": (lambda x: x.flip(3), lambda a: a.flip(3), "reverses width"),
    "half a turn": (lambda x: x.flip(2, 3), lambda a: a.flip(2, 3), "reverses height and width"),
    "exchanged": (lambda x: x.mT, lambda a: a.mT, "exchanges height and width"),
    "a quarter": (lambda x: x.rot90(1, (2, 3)), lambda a: a.rot90(-1, (2, 3)), "and reverses"),
    "back": (lambda x: x.rot90(-1, (2, 3)), lambda a: a.rot90(1, (2, 3)), "and reverses"),
}


@pytest.mark.parametrize("layer", [None, "net"])
@pytest.mark.parametrize("size", [(16, 16), (16, 24)])
@pytest.mark.parametrize("change", CHANGES)
def test_a_map_lies_on_the_image_whatever_the_network_does_to_it(change, size, layer):
    forth, back, words = CHANGES[change]
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    model = Changing(forth).eval()
    found = GradCAM(model, layer)(x)
    expected = by_autograd(model, found.layer, x, back).detach()
    torch.testing.assert_close(found.evidence, expected, rtol=1e-4, atol=1e-6)
    if size == (16, 16):  # of others, that height and width are exchanged is seen in the shape
        assert words in found.layer_reason and bool(words) == ("undoes" in found.layer_reason)


def test_time_that_runs_backwards_is_reversed():
    x = torch.randn(2, 3, 40, generator=torch.Generator().manual_seed(1))
    model = Changing(lambda x: x.flip(2), convolution=nn.Conv1d).eval()
    found = GradCAM(model, "net")(x)
    expected = by_autograd(model, "net", x, lambda a: a.flip(2)).detach()
    torch.testing.assert_close(found.evidence, expected)
    assert "reverses time" in found.layer_reason


def test_a_volume_that_is_turned_is_turned_back():
    """Depth becomes width, backwards: d = W, h = D reversed, w = H."""
    x = torch.randn(1, 3, 12, 12, 12, generator=torch.Generator().manual_seed(1))
    model = Changing(lambda x: x.flip(2).permute(0, 1, 4, 2, 3), convolution=nn.Conv3d).eval()
    found = GradCAM(model, "net")(x)
    expected = by_autograd(model, "net", x, lambda a: a.permute(0, 1, 3, 4, 2).flip(2)).detach()
    torch.testing.assert_close(found.evidence, expected)
    assert "exchanges depth and height and width and reverses depth" in found.layer_reason


@pytest.mark.parametrize("width", [24, 16])
@pytest.mark.parametrize("change", CHANGES)
def test_tokens_are_folded_to_the_grid_that_the_network_sees(change, width):
    forth, back, _ = CHANGES[change]

    class Patches(Changing):
        def __init__(self):
            super().__init__(forth)
            self.net = nn.Conv2d(3, 8, 4, 4)
            self.blocks = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

        def forward(self, x):
            return self.head(self.blocks(self.net(self.change(x)).flatten(2).mT).mean(dim=1))

    x = torch.randn(2, 3, 24, width, generator=torch.Generator().manual_seed(1))
    model = Patches().eval()
    grid = model.net(forth(x)).shape[2:]

    def fold(t):
        return back(t.mT.unflatten(2, grid))

    expected = by_autograd(model, "blocks.norm1", x, fold).detach()
    found = GradCAM(model, "blocks.norm1")(x)
    torch.testing.assert_close(found.evidence, expected, rtol=1e-4, atol=1e-6)


def test_a_grid_that_is_read_by_the_callers_function_is_left_as_it_is():
    x = torch.randn(2, 3, 16, 16)
    model = Changing(lambda x: x.flip(2)).eval()
    found = GradCAM(model, "net", reshape_transform=lambda a: a)(x)
    torch.testing.assert_close(found.evidence, by_autograd(model, "net", x).detach())


def test_what_a_network_keeps_of_its_last_pass_is_of_the_callers_images():
    class Keeping(Changing):
        def forward(self, x):
            self.kept = x
            return super().forward(x)

    model, x = Keeping(lambda x: x).eval(), torch.randn(2, 3, 16, 16)
    GradCAM(model, "net")(x)
    assert model.kept.equal(x)


def test_it_is_measured_once_for_each_layer_where_it_is_clear():
    passes = []
    model, x = Changing(lambda x: x).eval(), torch.randn(2, 3, 16, 16)
    model.register_forward_hook(lambda *_: passes.append(1))
    GradCAM(model, "net")(x), passes.clear()
    GradCAM(model, "net")(x), GradCAM(model, "net")(torch.randn(1, 3, 24, 16))
    assert len(passes) == 2


class Filters(nn.Module):
    """As a widespread EEGNet: the filters of the first layer become the next one's height."""

    def __init__(self, moved):
        super().__init__()
        torch.manual_seed(0)
        self.moved = moved
        self.first, self.second = nn.Conv2d(1, 16, (1, 12)), nn.Conv2d(1, 4, (2, 9), padding=(0, 4))
        self.pool, self.head = nn.MaxPool2d(2), nn.Linear(4, 3)

    def forward(self, x):
        a = F.elu(self.first(x))  # N x 16 x T x 1
        a = a.permute(0, 3, 1, 2) if self.moved else a.transpose(1, 3).transpose(2, 3)
        return self.head(self.pool(F.elu(self.second(a))).mean(dim=(2, 3)))


@pytest.mark.parametrize("moved", [False, True])
def test_channels_in_the_place_of_height_are_no_places(moved):
    model = Filters(moved).eval()
    x = torch.randn(2, 1, 60, 12, generator=torch.Generator().manual_seed(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error", GridWarning)
        found = GradCAM(model)(x)
    assert found.layer == "first" and found.evidence.shape == (2, 1, 60, 1)
    assert "but for 'pool', which has channels in the place of height" in found.layer_reason
    with pytest.warns(GridWarning, match="'second' has no places along the image's width"):
        assert GradCAM(model, "second")(x).evidence.shape == (2, 1, 60, 15)


def test_axes_that_are_exchanged_and_back_hold_no_channels_as_places():
    """As round a LayerNorm over the channels."""
    one, two = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
    y = two(nn.LayerNorm(4)(one(torch.randn(1, 3, 9, 9)).permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
    assert channels_become_places(y) == float("inf")
    assert channels_become_places(two(one(torch.randn(1, 3, 6, 6)).transpose(1, -1))) < float("inf")


@pytest.mark.parametrize("channels", [1, 8])
@pytest.mark.parametrize("seed", range(4))
def test_a_layer_whose_places_all_see_everything_is_not_turned(seed, channels):
    torch.manual_seed(seed)
    grid = nn.Unflatten(1, (channels, 4, 4))
    ends = [nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 4)]
    model = nn.Sequential(
        nn.Conv2d(3, 4, 4, 4), nn.Flatten(), nn.Linear(64, 16 * channels), grid, *ends
    ).eval()
    x = torch.randn(1, 3, 16, 16)
    assert "undoes" not in ForwardPass(model, x, "3").layer_reason


def test_where_random_images_are_refused_the_grid_is_taken_as_it_lies():
    class Refusing(Changing):
        def forward(self, x):
            if x.min() < 0:
                raise ValueError("pixels are 0 to 1")
            return super().forward(x)

    model, x = Refusing(lambda x: x).eval(), torch.rand(2, 3, 16, 16)
    found = GradCAM(model, "net")(x)
    torch.testing.assert_close(found.evidence, by_autograd(model, "net", x).detach())


def test_a_reading_is_straightened_along_each_axis():
    """h follows W, w follows H backwards: the image's rows are the grid's columns, from the end."""
    grid = torch.arange(6.0).reshape(1, 1, 2, 3)
    straight = Lie((1, 0), (0,)).straighten(lambda a: a)(grid)
    assert straight[0, 0].tolist() == [[2, 5], [1, 4], [0, 3]]


def test_what_no_grid_shows_is_not_known():
    """Of a single place, and of places that all see as much of both halves."""
    nothing = torch.full((2, 2), torch.nan)
    assert _read(nothing) is None and _read(torch.full((2, 2), 0.1)) is None
    assert _read(torch.tensor([[-0.9, torch.nan], [0.1, torch.nan]])) == Lie((0, 1), (0,))
    assert _read(torch.tensor([[0.0, 0.9], [-0.7, 0.1]])) == Lie((1, 0), (1,))
    assert _read(torch.tensor([[0.1, 0.9], [0.0, 0.1]])) == Lie((1, 0), (), (0,))
