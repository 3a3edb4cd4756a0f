"""Networks of unknown kinds: what looks like a grid and is none, and what the reason must say."""

import re

import pytest
import torch
from tiny_networks import by_autograd
from torch import nn

from course_utils.errors import ClassError, LayerError
from course_utils.methods.cams import GradCAM


def images(n=2, size=(32, 32)):
    return torch.randn(n, 3, *size, generator=torch.Generator().manual_seed(3))


def assert_explains(model, x, layer, fold=lambda a: a, named=False):
    """That the layer is found (or named), and that its map is that of plain autograd."""
    explanation = GradCAM(model, layer if named else None)(x)
    assert explanation.layer == layer
    assert torch.allclose(explanation.evidence, by_autograd(model, layer, x, fold), atol=1e-6)
    return explanation


def patches(side, before=0):
    """Reads tokens as a square grid, but for those that stand before."""
    return lambda a: a[:, before:].mT.unflatten(2, (side, side))


class HeatMap(nn.Module):
    """One channel, whose axis is then taken away: N x h x w, read number by number."""

    def __init__(self, after):
        super().__init__()
        torch.manual_seed(0)
        self.f, self.one = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 1, 1)
        self.after, self.fc = after, nn.Linear(256, 4)

    def forward(self, x):
        heat = self.one(self.f(x).relu()).squeeze(1)
        return self.fc(self.after(heat).flatten(1))


@pytest.mark.parametrize("after", [nn.ReLU(), nn.Linear(16, 16)])
def test_a_grid_that_lost_its_one_channel_is_no_row_of_tokens(after):
    model, x = HeatMap(after).eval(), images()
    assert "which has one channel" in assert_explains(model, x, "f").layer_reason
    assert_explains(model, x, "after", lambda a: a[:, None], named=True)


class Talking(nn.Module):
    """Attention whose weights go through a convolution over the heads; no name tells what it is."""

    def __init__(self):
        super().__init__()
        self.read, self.talk = nn.Linear(8, 24), nn.Conv2d(2, 2, 1)

    def forward(self, tokens):
        q, k, v = self.read(tokens).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        weights = self.talk((q @ k.mT).softmax(dim=-1))
        return (weights @ v).transpose(1, 2).flatten(2)


class OfTokens(nn.Module):
    def __init__(self, *blocks):
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.blocks, self.fc = nn.ModuleList(block() for block in blocks), nn.Linear(8, 4)
        self.eval()

    def forward(self, x):
        tokens = self.patches(x).flatten(2).mT
        for block in self.blocks:
            tokens = tokens + block(tokens)
        return self.fc(tokens.mean(dim=1))


@pytest.mark.parametrize(("blocks", "layer"), [(1, "patches"), (2, "blocks.0")])
def test_weights_of_each_pair_of_tokens_are_no_grid_of_the_image(blocks, layer):
    fold = (lambda a: a) if blocks == 1 else patches(8)
    assert_explains(OfTokens(*[Talking] * blocks), images(), layer, fold)


class Bilinear(nn.Module):
    """Features that are multiplied by others, as an attention's weights are by the values."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 6, 3, 2, 1)
        self.one, self.two = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.fc = nn.Linear(36, 4)

    def forward(self, x):
        a = self.stem(x).relu()
        return self.fc((self.one(a).flatten(2) @ self.two(a).flatten(2).mT).flatten(1))


def test_features_that_are_multiplied_by_others_are_no_weights():
    assert GradCAM(Bilinear())(images()).layer == "two"


class Recurrent(nn.Module):
    """One convolution, three times; the one that reads the image runs once."""

    def __init__(self):
        super().__init__()
        self.first, self.step = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        a = self.first(x)
        for _ in range(3):
            a = self.step(a).relu()
        return self.fc(a.mean(dim=(2, 3)))


class InWindows(Recurrent):
    """The convolution looks at the four quarters of what it reads, one behind the other."""

    def forward(self, x):
        a = self.first(x)
        quarters = [half for side in a.chunk(2, dim=2) for half in side.chunk(2, dim=3)]
        return self.fc(
            self.step(torch.cat(quarters)).relu().mean(dim=(2, 3)).unflatten(0, (4, -1)).mean(dim=0)
        )


@pytest.mark.parametrize(("make", "many"), [(Recurrent, 3), (InWindows, 4)])
def test_of_what_runs_again_or_on_windows_the_reason_for_an_earlier_layer_says_so(make, many):
    found = GradCAM(make())(images())
    assert found.layer == "first"
    assert f"but for 'step', which gives {many} outputs for each image" in found.layer_reason


class TwoTasks(nn.Module):
    """The encoder runs for each of two tasks; the decoder of one is not read by the other."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Conv2d(3, 6, 3, 2, 1), nn.ConvTranspose2d(6, 2, 2, 2)
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        picture = self.decoder(self.encoder(x).relu())
        return {"picture": picture, "logits": self.fc(self.encoder(x).relu().mean(dim=(2, 3)))}


def test_where_all_that_is_read_runs_again_no_cut_is_blamed():
    with pytest.raises(LayerError, match="places, and is read, runs .* 'encoder' 2 times"):
        GradCAM(TwoTasks())(images())


class Compared(OfTokens):
    """Two images of one x, each of which goes through all blocks."""

    def __init__(self, named):
        super().__init__(lambda: nn.Linear(8, 8))
        self.view, self.named = nn.Identity(), named

    def forward(self, x):
        tokens = [self.patches(half).flatten(2).mT for half in x.chunk(2, dim=1)]
        one, two = (self.blocks[0](each).relu() for each in tokens)
        return self.fc(((self.view(one) if self.named else one) - two).mean(dim=1))


def test_of_tokens_that_run_twice_the_run_that_was_named_needs_no_other_reading():
    x = torch.cat([images(), images().flip(2)], dim=1)
    with pytest.raises(LayerError, match=r"layer='view'\.$"):
        GradCAM(Compared(named=False))(x)
    assert_explains(Compared(named=True), x, "view", patches(8), named=True)


class ByName(Recurrent):
    def forward(self, *, image, mask=None):
        return super().forward(image)


def test_a_network_that_takes_its_images_by_name_alone_is_handed_them_as_the_sentence_says():
    with pytest.raises(TypeError, match="by name alone") as said:
        GradCAM(ByName())(images())
    x = eval(re.search(r"x=(\{.*\})", str(said.value))[1], {"images": images()})  # noqa: S307
    assert GradCAM(ByName())(x).layer == "first"


def test_a_function_in_place_of_a_class_is_told_where_it_goes():
    with pytest.raises(ClassError, match=r"goes to ForwardPass\(model, x\)\.ask"):
        GradCAM(Recurrent())(images(), why=lambda y: y[:, 0])


class Columns(nn.Module):
    """Columns of a square grid, one after the other, as a text is read."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.f = nn.Conv2d(3, 6, 3, 2, 1)
        self.read = nn.Sequential(nn.Linear(6 * 16, 8), nn.ReLU())
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        columns = self.f(x).relu().permute(0, 3, 1, 2).flatten(2)
        return self.fc(self.read(columns).mean(dim=1))


def test_columns_are_no_grid_though_their_number_is_a_square():
    assert_explains(Columns(), images(), "f")


class Mixed(nn.Module):
    """A linear layer over the places of each channel; 20 channels are no 16 places and 4 more."""

    def __init__(self, channels):
        super().__init__()
        torch.manual_seed(0)
        self.f, self.over_places = nn.Conv2d(3, channels, 8, 8), nn.Linear(16, 16)
        self.fc = nn.Linear(channels, 4)

    def forward(self, x):
        return self.fc(nn.functional.gelu(self.over_places(self.f(x).flatten(2))).mean(dim=2))


@pytest.mark.parametrize("channels", [6, 20, 64])
def test_what_a_linear_layer_makes_of_the_places_of_each_channel_lies_as_they_do(channels):
    model = Mixed(channels)
    assert_explains(model, images(), "over_places", lambda a: a.unflatten(2, (4, 4)), named=True)


class Hybrid(nn.Module):
    """16 tokens of 64 channels, behind a grid of 16 channels and 64 places."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.f = nn.Conv2d(3, 16, 4, 4), nn.Conv2d(16, 64, 2, 2)
        self.read, self.fc = nn.Linear(64, 64), nn.Linear(64, 4)

    def forward(self, x):
        tokens = self.f(self.stem(x).relu()).relu().flatten(2).mT
        return self.fc(self.read(tokens).relu().mean(dim=1))


def test_tokens_and_channels_are_not_exchanged_where_an_earlier_grid_has_their_numbers():
    assert_explains(Hybrid(), images(), "read", patches(4), named=True)


class JoinedTwice(nn.Module):
    """Patches whose neighbours are joined 2 x 2, as one row of tokens, two times (Swin)."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.f, self.fc = nn.Conv2d(3, 6, 2, 2), nn.Linear(6, 4)
        self.join = nn.ModuleList(nn.Sequential(nn.Linear(24, 6), nn.GELU()) for _ in "12")

    def forward(self, x):
        tokens, side = self.f(x).flatten(2).mT, 16
        for join in self.join:
            side //= 2
            grid = tokens.unflatten(1, (side, 2, side, 2)).movedim(2, 3).flatten(3)
            tokens = join(grid.flatten(1, 2))
        return self.fc(tokens.mean(dim=1))


def test_tokens_that_were_joined_twice_are_a_grid():
    assert_explains(JoinedTwice(), images(), "join.1", patches(4))


class JoinedAtOnce(nn.Module):
    """Patches of 4 x 4 places of a finer grid each, joined at once (TNT)."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.f, self.join, self.fc = nn.Conv2d(3, 2, 2, 2), nn.Linear(32, 6), nn.Linear(6, 4)
        self.read = nn.LayerNorm(6)

    def forward(self, x):
        tokens = self.join(nn.functional.unfold(self.f(x), 4, stride=4).mT)
        return self.fc(self.read(tokens).tanh().mean(dim=1))


def test_patches_of_a_finer_grid_are_a_grid():
    assert_explains(JoinedAtOnce(), images(size=(64, 64)), "read", patches(8))


class Pooled(nn.Module):
    """As many tokens, and numbers in each, as an earlier grid has rows and columns."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.f = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 16, 3, 2, 1)
        self.read, self.fc = nn.LayerNorm(16), nn.Linear(16, 4)

    def forward(self, x):
        tokens = nn.functional.adaptive_avg_pool2d(self.f(self.stem(x)), 4).flatten(2).mT
        return self.fc(self.read(tokens).relu().mean(dim=1))


def test_tokens_are_no_earlier_grid_that_lost_its_channel():
    assert_explains(Pooled(), images(), "read", patches(4))


class Square(nn.Module):
    """16 tokens of 16 numbers, which an attention has weighed by 16 x 16 weights."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.patches, self.weights = nn.Conv2d(3, 16, 8, 8), nn.Conv2d(1, 1, 1)
        self.first, self.last = nn.LayerNorm(16), nn.LayerNorm(16)
        self.fc = nn.Linear(16, 4)

    def forward(self, x):
        tokens = self.first(self.patches(x).flatten(2).mT)
        weights = self.weights((tokens @ tokens.mT).softmax(dim=2)[:, None])[:, 0]
        return self.fc(self.last(tokens + weights @ tokens).relu().mean(dim=1))


@pytest.mark.parametrize("layer", ["first", "last"])
def test_as_many_tokens_as_numbers_in_each_are_still_tokens(layer):
    assert_explains(Square(), images(), layer, patches(4), named=True)


class Channels(nn.Module):
    """Numbers of each channel: 20 channels are no 16 places behind 4 other tokens."""

    def __init__(self, channels):
        super().__init__()
        torch.manual_seed(0)
        self.f, self.read = nn.Conv2d(3, channels, 8, 8), nn.Linear(16, 12)
        self.norm, self.fc = nn.LayerNorm(12), nn.Linear(12, 4)

    def forward(self, x):
        return self.fc(self.norm(self.read(self.f(x).relu().flatten(2))).relu().mean(dim=1))


@pytest.mark.parametrize("channels", [17, 20, 32])
def test_channels_are_no_places_behind_other_tokens(channels):
    assert GradCAM(Channels(channels))(images()).layer == "f"


class Attend(nn.Module):
    """softmax(q k^T) v, of one head."""

    def forward(self, q, k, v):
        return ((q @ k.mT / 4).softmax(dim=-1)[:, None] @ v[:, None]).relu()


class OfLinearPatches(nn.Module):
    """Patches by a linear layer, a class token, attentions whose parts no name tells."""

    def __init__(self, width, class_token):
        super().__init__()
        torch.manual_seed(0)
        self.read, self.start = nn.Linear(192, width), nn.Parameter(torch.randn(1, 1, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in "12")
        self.product, self.out = nn.ModuleList(Attend() for _ in "12"), nn.Linear(width, width)
        self.weigh, self.fc, self.class_token = nn.Softmax(dim=-1), nn.Linear(width, 4), class_token

    def tokens(self, x):
        tokens = self.read(x.unfold(2, 8, 8).unfold(3, 8, 8).movedim(1, 3).flatten(3).flatten(1, 2))
        if self.class_token:
            tokens = torch.cat([self.start.expand(len(x), -1, -1), tokens], dim=1)
        return tokens

    def forward(self, x):
        tokens = self.tokens(x)
        for norm, product in zip(self.norms, self.product):
            t = norm(tokens)
            weights = nn.functional.linear(product(t, t, t), self.out.weight)
            tokens = tokens + weights[:, 0]
        return self.fc(tokens[:, 0] if self.class_token else tokens.mean(dim=1))


@pytest.mark.parametrize(("width", "class_token"), [(16, False), (17, True)])
def test_an_attentions_answer_is_not_its_weights_though_it_may_be_as_square(width, class_token):
    model = OfLinearPatches(width, class_token)
    assert_explains(model, images(), "norms.1", patches(4, before=int(class_token)))


class Weighing(OfLinearPatches):
    """The weights themselves are handed on by a layer."""

    def forward(self, x):
        tokens = self.tokens(x)
        for norm in self.norms:
            t = norm(tokens)
            tokens = tokens + (self.weigh((t @ t.mT)[:, None] / 4) @ t[:, None])[:, 0]
        return self.fc(tokens[:, 0])


def test_an_attentions_weights_are_no_grid_that_tokens_must_come_from():
    model, x = Weighing(8, class_token=True), images()
    assert GradCAM(model)(x).layer == "norms.1"
