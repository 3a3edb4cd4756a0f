"""Several branches, views, heads: none of them is taken for the whole, and pairs for no grid."""

import pytest
import torch
from test_strangers import assert_explains, images, patches
from torch import nn

from course_utils.errors import LayerError
from course_utils.methods.cams import GradCAM


class SideBySide(nn.Module):
    """Layers that all read the same one, whose answers are joined."""

    def __init__(self, layers):
        super().__init__()
        torch.manual_seed(0)
        self.f, self.layers = nn.Conv2d(3, 6, 4, 4), layers
        self.fc = nn.LazyLinear(4)

    def forward(self, x):
        a = self.f(x)
        return self.fc(torch.cat([layer(a).relu().flatten(1) for layer in self.layers], dim=1))


def capsules(many):
    return nn.ModuleList(nn.Conv2d(6, 3, 3, 2) for _ in range(many))


@pytest.mark.parametrize(
    ("layers", "last"),
    [(nn.ModuleList(map(nn.AdaptiveMaxPool2d, (1, 2, 4))), 2), (capsules(4), 3)],
    ids=["pyramid", "capsules"],
)
def test_of_layers_side_by_side_the_one_that_all_of_them_read_is_explained(layers, last):
    model = SideBySide(layers)
    model(images())
    found = assert_explains(model, images(), "f")
    assert f"but for 'layers.{last}', one of several that read it" in found.layer_reason


class Chosen(SideBySide):
    """Of each place's channels a softmax keeps the largest: no attention of its rows."""

    def forward(self, x):
        a = self.f(x)
        a = a * a.softmax(dim=1)
        return self.fc(torch.cat([layer(a).flatten(1) for layer in self.layers], dim=1))


def test_a_softmax_over_channels_is_no_attention():
    model = Chosen(nn.ModuleList(map(nn.AdaptiveMaxPool2d, (1, 2, 4))))
    model(images())
    assert_explains(model, images(), "f")


def test_a_tower_beside_others_is_explained_itself():
    towers = [nn.Sequential(nn.Conv2d(6, 3, 3), nn.ReLU(), nn.Conv2d(3, 3, 3)) for _ in "12"]
    model = SideBySide(nn.ModuleList(towers))
    model(images())
    assert (
        "beside which 'layers.0' stands"
        in assert_explains(model, images(), "layers.1").layer_reason
    )


class TwoViews(nn.Module):
    """An encoder for each view."""

    def __init__(self, channels=3):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Conv2d(3, 6, 4, 4), nn.Conv2d(channels, 6, 4, 4)
        self.fc = nn.Linear(12, 4)

    def forward(self, a, b):
        return self.fc(torch.cat([self.one(a), self.two(b)], dim=1).relu().mean(dim=(2, 3)))


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.filterwarnings("error")
def test_of_two_views_with_an_encoder_each_the_first_ones_layer_is_explained(channels):
    model, views = TwoViews(channels), (images(), torch.randn(2, channels, 32, 32))
    found = GradCAM(model)(views, 0)
    a = model.one(views[0]).detach().requires_grad_()
    y = model.fc(torch.cat([a, model.two(views[1])], dim=1).relu().mean(dim=(2, 3)))
    (gradient,) = torch.autograd.grad(y[:, 0].sum(), a)
    expected = (gradient.mean(dim=(2, 3), keepdim=True) * a).sum(dim=1, keepdim=True)
    torch.testing.assert_close(found.evidence, expected.detach())
    assert found.layer == "one" and "but for 'two', which reads another" in found.layer_reason


class MadeAnew(nn.Module):
    """A decoder's grid is made from a row of numbers, each place from the whole image."""

    def __init__(self, skip):
        super().__init__()
        torch.manual_seed(0)
        self.f, self.row = nn.Conv2d(3, 6, 4, 4), nn.Linear(384, 384)
        self.grid, self.g, self.fc = nn.Unflatten(1, (6, 8, 8)), nn.Conv2d(6, 6, 3), nn.Linear(6, 4)
        self.skip = skip

    def forward(self, x):
        a = self.f(x).relu()
        b = self.grid(self.row(a.flatten(1)).relu())
        return self.fc(self.g(a + b if self.skip else b).relu().mean(dim=(2, 3)))


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(("skip", "layer"), [(False, "f"), (True, "g")])
def test_a_grid_that_is_made_from_a_row_of_numbers_is_not_explained(skip, layer, frozen):
    found = assert_explains(MadeAnew(skip).requires_grad_(not frozen), images(), layer)
    assert ("but for 'g', which is made from a row" in found.layer_reason) == (not skip)


class Turned(nn.Module):
    """Numbers of the whole image say where it is sampled: what is sampled is still the image."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.where, self.f = nn.Linear(3, 6), nn.Conv2d(3, 6, 4, 4)
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        turn = self.where(x.mean(dim=(2, 3))).reshape(-1, 2, 3)
        grid = nn.functional.affine_grid(turn, x.shape, align_corners=False)
        seen = nn.functional.grid_sample(x, grid, align_corners=False)
        return self.fc(self.f(seen).relu().mean(dim=(2, 3)))


def test_what_is_sampled_from_the_image_is_not_made_from_a_row_of_numbers():
    model = Turned()
    model.first = nn.Conv2d(3, 3, 4, 4)
    model.where.register_forward_pre_hook(lambda _m, row: (row[0] + model.first(images()).mean(),))
    with pytest.warns(UserWarning, match="grid_sample"):
        found = GradCAM(model)(images())
    assert found.layer == "f" and "row of numbers" not in found.layer_reason


class Relation(nn.Module):
    """Pairs of places, N x T x T x C, as relation networks compare them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.f, self.g, self.fc = nn.Conv2d(3, 6, 8, 8), nn.Linear(12, 8), nn.Linear(8, 4)

    def forward(self, x):
        t = self.f(x).relu().flatten(2).mT
        one, other = torch.broadcast_tensors(t[:, :, None], t[:, None])
        return self.fc(self.g(torch.cat([one, other], dim=-1)).relu().mean(dim=(1, 2)))


def test_pairs_of_places_are_no_grid():
    assert_explains(Relation(), images(), "f")
    with pytest.raises(LayerError, match="'g' gives 2 x 16 x 16 x 8, which is not N x C x h x w"):
        GradCAM(Relation(), "g")(images())


class TwoScales(nn.Module):
    """Fine and coarse patches as tokens of one attention: 64 and 16, which are no class tokens."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fine, self.coarse = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(3, 8, 8, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 8, 0.0, batch_first=True, norm_first=True)
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        tokens = [patch(x).flatten(2).mT for patch in (self.fine, self.coarse)]
        return self.fc(self.block(torch.cat(tokens, dim=1)).mean(dim=1))


def test_coarse_patches_beside_fine_ones_are_no_class_tokens():
    reason = assert_explains(TwoScales().eval(), images(), "coarse").layer_reason
    assert "beside which 'fine' stands" in reason
    with pytest.raises(LayerError, match="'block.norm1' gives 2 x 80 x 8, which is not N x C"):
        GradCAM(TwoScales().eval(), "block.norm1")(images())


class Mix(nn.Module):
    """An attention of heads, whose queries may have a norm; no name tells what it is."""

    def __init__(self, heads, normed, width=16):
        super().__init__()
        self.a, self.b, self.heads = nn.Linear(width, 3 * width), nn.Linear(width, width), heads
        self.c = nn.LayerNorm(width // heads) if normed else nn.Identity()
        self.d, self.e = nn.Identity(), nn.Softmax(dim=-1)

    def forward(self, x):
        q, k, v = (t.unflatten(2, (self.heads, -1)).transpose(1, 2) for t in self.a(x).chunk(3, 2))
        mixed = self.e(self.c(q) @ k.mT) @ self.d(v)
        return self.b(mixed.transpose(1, 2).flatten(2))


class Nameless(nn.Module):
    """A transformer whose patches a linear layer reads, of parts whose names tell nothing."""

    def __init__(self, heads, side, class_token, normed=True):
        super().__init__()
        torch.manual_seed(0)
        self.read, self.start = nn.Linear(3 * (32 // side) ** 2, 16), torch.randn(1, 1, 16)
        self.u = nn.ModuleList(nn.LayerNorm(16) for _ in "12")
        self.m = nn.ModuleList(Mix(heads, normed) for _ in "12")
        self.fc, self.side, self.class_token = nn.Linear(16, 4), side, class_token

    def forward(self, x):
        n = 32 // self.side
        t = self.read(x.unfold(2, n, n).unfold(3, n, n).movedim(1, 3).flatten(3).flatten(1, 2))
        if self.class_token:
            t = torch.cat([self.start.expand(len(x), -1, -1), t], dim=1)
        for u, m in zip(self.u, self.m):
            t = t + m(u(t))
        return self.fc(t[:, 0] if self.class_token else t.mean(dim=1))


@pytest.mark.parametrize("class_token", [False, True])
@pytest.mark.parametrize(("heads", "side", "normed"), [(4, 8, True), (4, 4, True), (1, 4, False)])
def test_heads_of_an_attention_are_no_grid(heads, side, normed, class_token):
    model = Nameless(heads, side, class_token, normed)
    assert_explains(model, images(), "u.1", patches(side, before=int(class_token)))


class AlongRows(nn.Module):
    """Attention along each row: N x h x w x C, whose weights N x h x w x w are no heads' ones."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.f, self.norm, self.fc = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8), nn.Linear(8, 4)

    def forward(self, x):
        a = self.norm(self.f(x).movedim(1, -1))
        return self.fc(((a @ a.mT).softmax(dim=-1) @ a).mean(dim=(1, 2)))


def test_rows_that_attend_are_no_heads():
    assert_explains(AlongRows(), images(), "norm", lambda a: a.movedim(-1, 1))


class Gated(nn.Module):
    """Of what is seen at each place a sigmoid, a module of its own, says how much is read."""

    def __init__(self, gate):
        super().__init__()
        torch.manual_seed(0)
        self.f, self.says, self.gate = nn.Conv2d(3, 6, 4, 4), nn.Conv2d(6, 6, 1), gate
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        a = self.f(x)
        return self.fc((a * self.gate(self.says(a))).mean(dim=(2, 3)))


@pytest.mark.parametrize("gate", [nn.Sigmoid(), nn.Hardsigmoid(), nn.Softmax2d()])
def test_a_gate_that_is_a_module_gives_way_to_what_it_weighs(gate):
    reason = assert_explains(Gated(gate), images(), "f").layer_reason
    assert "but for 'gate', by which others are weighed" in reason


class SigmoidBetween(Gated):
    """The sigmoid's places are read by a linear layer, beside what they come from."""

    def forward(self, x):
        a = self.f(x)
        return self.fc(a.mean(dim=(2, 3))) + self.row(self.gate(self.says(a)).flatten(1))


def test_a_sigmoid_between_layers_is_no_gate():
    model = SigmoidBetween(nn.Sigmoid())
    model.row = nn.Linear(384, 4)
    assert_explains(model, images(), "gate")


class Template(nn.Module):
    """The same layers read the image and a template that is the network's own."""

    def __init__(self, view):
        super().__init__()
        torch.manual_seed(0)
        self.f, self.fc = nn.Conv2d(3, 6, 4, 4), nn.Linear(6, 4)
        self.register_buffer("template", images(3)[2:])
        self.view = nn.Identity() if view else lambda a: a

    def forward(self, x):
        seen = self.view(self.f(x)) - self.f(self.template)
        return self.fc(seen.relu().mean(dim=(2, 3)))


def test_layers_that_read_a_template_too_are_said_to_run_twice():
    with pytest.raises(LayerError, match=r"'f' 2 times.*self.view = nn.Identity\(\)"):
        GradCAM(Template(view=False))(images())
    assert_explains(Template(view=True), images(), "view")
