"""How a grid lies on the image: networks that turn, mirror or exchange what they are given."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from tiny_networks import by_autograd
from torch import nn

from course_utils import ForwardPass, GradCAM, load_classifier
from course_utils.errors import GridWarning
from course_utils.methods.as_classes import AsClasses
from course_utils.methods.graph import channels_become_places
from course_utils.methods.orientation import Orientation, _read


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
    class Counting(Changing):
        count = 0

        def forward(self, x):
            self.count += 1
            return super().forward(x)

    passes = []
    model, x = Counting(lambda x: x).eval(), torch.randn(2, 3, 16, 16)
    model.register_forward_hook(lambda *_: passes.append(1))
    GradCAM(model, "net")(x), passes.clear()
    GradCAM(model, "net")(x), GradCAM(model, "net")(torch.randn(1, 3, 24, 24))
    assert len(passes) == 3  # which part of the image it looks at is measured for each size


def test_in_a_wrapper_made_anew_for_each_question_a_network_is_measured_once():
    passes = []
    model, x = Changing(lambda x: x.flip(2)).eval(), torch.randn(1, 3, 16, 16)
    model.register_forward_hook(lambda *_: passes.append(1))
    for _ in "12":
        passes.clear()
        found = GradCAM(AsClasses(model), "network.net.2")(x)
    expected = by_autograd(model, "net.2", x, lambda a: a.flip(2)).detach()
    torch.testing.assert_close(found.evidence, expected)
    assert len(passes) == 2  # that of `by_autograd`, too


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_courses_own_networks_are_known_to_take_the_image_as_it_is(wrapped):
    passes, birds = [], load_classifier("birds")
    birds.register_forward_hook(lambda *_: passes.append(1))
    GradCAM(AsClasses(birds) if wrapped else birds)(torch.randn(1, 3, 128, 128))
    assert len(passes) == 1


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


def test_a_network_that_takes_batches_of_one_size_only_is_measured_with_all_images():
    class OfTwo(Changing):
        def forward(self, x):
            if len(x) != 2:
                raise ValueError("two images are compared")
            return super().forward(x)

    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    model = OfTwo(lambda x: x.flip(2)).eval()
    found = GradCAM(model, "net")(x)
    expected = by_autograd(model, "net", x, lambda a: a.flip(2)).detach()
    torch.testing.assert_close(found.evidence, expected)


@pytest.mark.parametrize("refuses", [True, False])
def test_where_other_images_are_refused_or_go_elsewhere_it_is_said_that_nothing_was_seen(refuses):
    class Particular(Changing):
        def forward(self, x):
            if x.equal(self.only):
                return super().forward(x)
            if refuses:
                raise ValueError("an image of another set")
            return torch.zeros(len(x), 4)

    model, x = Particular(lambda x: x).eval(), torch.randn(1, 3, 16, 16)
    model.only = x.clone()
    found = GradCAM(model, "net")(x)
    assert "places lie as those of the image could not be seen" in found.layer_reason
    torch.testing.assert_close(found.evidence, by_autograd(model, "net", x).detach())


def test_a_reading_is_straightened_along_each_axis():
    """h follows W, w follows H backwards: the image's rows are the grid's columns, from the end."""
    grid = torch.arange(6.0).reshape(1, 1, 2, 3)
    straight = Orientation((1, 0), (0,)).align(lambda a: a)(grid)
    assert straight[0, 0].tolist() == [[2, 5], [1, 4], [0, 3]]


def test_what_no_grid_shows_is_not_known():
    """Of a single place, and of places that all see as much of both halves."""
    nothing = torch.full((2, 2), torch.nan)
    assert _read(nothing) is None and _read(torch.full((2, 2), 0.1)) is None
    assert _read(torch.tensor([[-0.9, torch.nan], [0.1, torch.nan]])) == Orientation((0, 1), (0,))
    assert _read(torch.tensor([[0.0, 0.9], [-0.7, 0.1]])) == Orientation((1, 0), (1,))
    assert _read(torch.tensor([[0.1, 0.9], [0.0, 0.1]])) == Orientation((1, 0), (), (0,))


def convolutions(depth, channels=3, convolution=nn.Conv2d):
    """Two of stride 2, then others: behind many, each place sees the whole image."""
    layers = []
    for i in range(depth):
        given = channels if i == 0 else 8
        layers += [convolution(given, 8, 3, 2 if i < 2 else 1, 1), nn.ReLU()]
    return nn.Sequential(*layers)


class TwoBranches(nn.Module):
    """The branch that is registered first sees the image otherwise than the other."""

    def __init__(self, main, beside):
        super().__init__()
        torch.manual_seed(0)
        self.beside, self.net, self.head = convolutions(2), convolutions(8), nn.Linear(8, 4)
        self.changes = main, beside

    def forward(self, x):
        main, beside = (change(x) for change in self.changes)
        return self.head(self.net(main).mean(dim=(2, 3)) + self.beside(beside).mean(dim=(2, 3)))


@pytest.mark.parametrize("main", ["as it is", "left to right"])
def test_a_branch_is_turned_as_it_sees_the_image_not_as_the_one_registered_first(main):
    beside = {"as it is": "left to right", "left to right": "as it is"}[main]
    model = TwoBranches(CHANGES[main][0], CHANGES[beside][0]).eval()
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    expected = by_autograd(model, "net", x, CHANGES[main][1]).detach()
    torch.testing.assert_close(GradCAM(model, "net")(x).evidence, expected, rtol=1e-4, atol=1e-6)


class Between(nn.Module):
    """A network that turns what lies between its layers, of which many follow."""

    def __init__(self, change):
        super().__init__()
        torch.manual_seed(0)
        self.change, self.head = change, nn.Linear(8, 4)
        self.stem, self.net = convolutions(2), nn.Sequential(*[*convolutions(16)][4:])

    def forward(self, x):
        return self.head(self.net(self.change(self.stem(x))).mean(dim=(2, 3)))


@pytest.mark.parametrize("width", [32, 40])
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_turned_between_layers_is_turned_back_however_many_follow(change, width):
    forth, back, _ = CHANGES[change]
    model = Between(forth).eval()
    x = torch.randn(2, 3, 32, width, generator=torch.Generator().manual_seed(1))
    expected = by_autograd(model, "net", x, back).detach()
    torch.testing.assert_close(GradCAM(model, "net")(x).evidence, expected, rtol=1e-4, atol=1e-6)


def test_a_first_convolution_that_runs_twice_tells_how_the_image_lies():
    class Twice(Between):
        def forward(self, x):
            return self.head(self.net(self.stem(self.stem(self.change(x)))).mean(dim=(2, 3)))

    model = Twice(lambda x: x.flip(2)).eval()
    model.stem, model.net = nn.Conv2d(3, 3, 3, 1, 1), convolutions(8)
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    expected = by_autograd(model, "net", x, lambda a: a.flip(2)).detach()
    torch.testing.assert_close(GradCAM(model, "net")(x).evidence, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["bytes", "0 to 1"])
def test_images_that_must_be_in_a_range_are_measured_with_numbers_of_their_own(kind):
    class InRange(Changing):
        def forward(self, x):
            if x.min() < 0 or kind == "bytes" and x.dtype != torch.uint8:
                raise ValueError("no pixels")
            return super().forward(x.float() / 255)

    x = torch.randint(0, 256, (2, 3, 16, 16), generator=torch.Generator().manual_seed(1))
    x = x.to(torch.uint8) if kind == "bytes" else x / 255
    model = InRange(lambda x: x.flip(3)).eval()
    found = GradCAM(model, "net")(x)
    kept = []
    model.net.register_forward_hook(lambda m, i, a: kept.append(a))
    gradient = torch.autograd.grad(model(x).max(dim=1).values.sum(), kept)[0]
    expected = (gradient.mean(dim=(2, 3), keepdim=True) * kept[0]).sum(1, keepdim=True).flip(3)
    torch.testing.assert_close(found.evidence, expected.detach(), rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("sizes", [[(16, 24), (24, 16), (16, 16)], [(24, 16), (16, 24), (16, 16)]])
def test_a_network_that_turns_upright_images_only(sizes):
    model = Changing(lambda x: x.rot90(1, (2, 3)) if x.shape[2] > x.shape[3] else x).eval()
    for size in sizes:
        x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
        back = (lambda a: a.rot90(-1, (2, 3))) if size[0] > size[1] else (lambda a: a)
        expected = by_autograd(model, "net", x, back).detach()
        torch.testing.assert_close(
            GradCAM(model, "net")(x).evidence, expected, rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("seed", range(4))
def test_axes_of_a_volume_whose_places_are_mixed_stay_where_they_are(seed):
    """Attention within each slice, with no way round it: only depth is followed."""

    class Slices(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, a):
            n, c, d, h, w = a.shape
            t = a.permute(0, 2, 3, 4, 1).reshape(n * d, h * w, c)
            return self.attention(t, t, t)[0].reshape(n, d, h, w, c).permute(0, 4, 1, 2, 3)

    torch.manual_seed(seed)
    ends = [nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(8, 4)]
    model = nn.Sequential(convolutions(2, convolution=nn.Conv3d), Slices(), *ends).eval()
    x = torch.randn(1, 3, 12, 12, 12, generator=torch.Generator().manual_seed(1))
    assert "undoes" not in ForwardPass(model, x, "1").layer_reason


@pytest.mark.parametrize("embedding", ["linear", "convolution"])
@pytest.mark.parametrize("change", ["exchanged", "a quarter"])
def test_tokens_of_an_oblong_image_that_stand_column_by_column(change, embedding):
    forth, back, _ = CHANGES[change]

    class Patches(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            linear = embedding == "linear"
            self.embed = nn.Linear(48, 8) if linear else nn.Conv2d(3, 8, 4, 4)
            self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.head = nn.Linear(8, 4)

        def forward(self, x):
            if embedding == "linear":
                cut = forth(x).unfold(2, 4, 4).unfold(3, 4, 4)  # N x 3 x h x w x 4 x 4
                tokens = self.embed(cut.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2))
            else:
                tokens = forth(self.embed(x)).flatten(2).mT
            return self.head(self.block(tokens).mean(dim=1))

    model, x = Patches().eval(), torch.randn(2, 3, 16, 24)
    expected = by_autograd(model, "block.norm1", x, lambda t: back(t.mT.unflatten(2, (6, 4))))
    found = GradCAM(model, "block.norm1")(x)
    torch.testing.assert_close(found.evidence, expected.detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("depth", [2, 8])
def test_a_first_convolution_called_by_keywords_shows_nothing_the_others_do(depth):
    class ByKeywords(Between):
        def forward(self, x):
            return self.head(self.net(self.stem(input=x.flip(3))).mean(dim=(2, 3)))

    model = ByKeywords(None).eval()
    model.stem, model.net = nn.Conv2d(3, 3, 1), convolutions(depth)
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    expected = by_autograd(model, "net", x, lambda a: a.flip(3)).detach()
    torch.testing.assert_close(GradCAM(model, "net")(x).evidence, expected, rtol=1e-4, atol=1e-6)


def test_what_one_pair_of_images_shows_by_chance_turns_nothing():
    """A decoder alone: each place of its 4 x 4 grid comes from the whole image."""
    torch.manual_seed(5)
    whole = [nn.Flatten(), nn.Linear(192, 16), nn.Unflatten(1, (4, 2, 2)), nn.Upsample(None, 2)]
    ends = [nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)]
    model = nn.Sequential(*whole, nn.Conv2d(4, 8, 3, 1, 1), *ends).eval()
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    assert "undoes" not in ForwardPass(model, x, "4").layer_reason


@pytest.mark.parametrize("size", [16, 24, 64])
@pytest.mark.parametrize("layers", [2, 5])
def test_halves_that_are_exchanged_are_no_reversal(size, layers):
    """As fftshift does; what a network moves about otherwise is not undone, and that is said."""
    torch.manual_seed(0)
    x = torch.randn(1, 3, size, size)
    model = Changing(lambda x: torch.fft.fftshift(x, 2)).eval()
    more = [part for _ in range(layers - 2) for part in (nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU())]
    model.net.extend(more)
    found = GradCAM(model, "net")(x)
    torch.testing.assert_close(found.evidence, by_autograd(model, "net", x).detach())
    assert "could not be seen" in found.layer_reason and "undoes" not in found.layer_reason


@pytest.mark.filterwarnings("ignore:This Changing cuts, pads or shifts x")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x.roll(x.shape[2] // 4, 2), "not seen to follow the image's along height"),
        (lambda x: torch.fft.fft2(x).abs(), "whether its places lie as those of the image could"),
    ],
    ids=["rows moved on by a quarter", "frequencies"],
)
def test_places_that_are_not_the_images_are_called_so(change, words):
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert words in ForwardPass(Changing(change).eval(), x, "net").layer_reason


class Joined(nn.Module):
    """A layer that joins two views of the image, of which the second is a third as strong."""

    def __init__(self, shared, one, two, undo=lambda a: a):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.views, self.undo = convolutions(2), (one, two), undo
        self.two = self.one if shared else convolutions(2)
        self.join, self.head = nn.Conv2d(8, 8, 1), nn.Linear(8, 4)

    def forward(self, x):
        one, two = (view(x) for view in self.views)
        return self.head(self.join(self.one(one) + self.undo(self.two(two)) / 3).mean(dim=(2, 3)))


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("stronger", ["as it is", "left to right"])
def test_of_views_that_lie_otherwise_and_are_joined_it_is_said(stronger, shared):
    forth, back, words = CHANGES[stronger]
    weaker = CHANGES[{"as it is": "left to right", "left to right": "as it is"}[stronger]][0]
    x = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    model = Joined(shared, forth, weaker).eval()
    found = GradCAM(model, "join")(x)
    expected = by_autograd(model, "join", x, back).detach()
    torch.testing.assert_close(found.evidence, expected, rtol=1e-4, atol=1e-6)
    assert words in found.layer_reason and "views of the image that lie" in found.layer_reason


@pytest.mark.parametrize("shared", [True, False])
def test_of_views_that_are_turned_back_before_they_are_joined_nothing_is_said(shared):
    forth, back, _ = CHANGES["left to right"]
    model = Joined(shared, lambda x: x, forth, undo=back).eval()
    x = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    assert GradCAM(model, "join")(x).layer_reason == "named by you"


def quadrants(x):
    """As a step of a wavelet transform is drawn: rows and columns, the even ones first."""
    rows = torch.cat([x[:, :, ::2], x[:, :, 1::2]], 2)
    return torch.cat([rows[..., ::2], rows[..., 1::2]], 3)


def puzzle(x):
    """4 x 4 parts in another order."""
    parts = x.unflatten(3, (4, -1)).unflatten(2, (4, -1)).permute(0, 1, 2, 4, 3, 5).flatten(2, 3)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(3))
    n, c, _, h, w = parts.shape
    parts = parts[:, :, order].reshape(n, c, 4, 4, h, w)
    return parts.permute(0, 1, 2, 4, 3, 5).reshape(x.shape)


def askew(x):
    """Turned by 30 degrees."""
    turn = torch.tensor([[[0.87, -0.5, 0], [0.5, 0.87, 0]]]).expand(len(x), -1, -1)
    grid = F.affine_grid(turn, x.shape, align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


NOT_SEEN = "not seen to follow the image's along height and width"


@pytest.mark.parametrize(
    ("network", "change"),
    [(Changing, quadrants), (Changing, puzzle), (Changing, askew), (Between, quadrants),
     (Between, puzzle)],
)  # fmt: skip
def test_of_places_that_stand_in_another_order_it_is_said(network, change):
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    model = network(change).eval()
    found = GradCAM(model, "net.0")(x)
    assert NOT_SEEN in found.layer_reason
    torch.testing.assert_close(found.evidence, by_autograd(model, "net.0", x).detach())


def test_of_tokens_that_stand_window_by_window_it_is_said():
    class Windows(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.embed, self.norm, self.head = (
                nn.Conv2d(3, 8, 4, 4),
                nn.LayerNorm(8),
                nn.Linear(8, 4),
            )

        def forward(self, x):
            a = self.embed(x).unflatten(3, (-1, 2)).unflatten(2, (-1, 2))  # windows of 2 x 2
            tokens = a.permute(0, 2, 4, 3, 5, 1).flatten(1, 4)
            return self.head(self.norm(tokens).mean(dim=1))

    x = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    assert "not seen to follow" in ForwardPass(Windows().eval(), x, "norm").layer_reason


def test_of_a_layer_that_sees_one_stripe_of_the_features_it_is_said():
    """As networks do that look at the parts of a body: each branch reads some rows."""
    model = Between(lambda a: a[:, :, :4]).eval()
    x = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    words = "not seen to follow the image's along height"
    assert words in ForwardPass(model, x, "net.0").layer_reason
    assert "not seen" not in ForwardPass(model, x, "stem").layer_reason


def test_a_network_that_is_switched_to_turning_is_measured_anew():
    class Switched(Changing):
        upside_down = False

        def forward(self, x):
            return super().forward(x.flip(2) if self.upside_down else x)

    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    model = Switched(lambda x: x).eval()
    for upside_down in (False, True, False):
        model.upside_down = upside_down
        found = GradCAM(model, "net")(x)
        assert ("reverses height" in found.layer_reason) == upside_down
