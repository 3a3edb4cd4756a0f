"""Networks as their owners write them: the map is autograd's, the network is left as it was."""

import re
import warnings

import pytest
import torch
from timm.models import VisionTransformer
from tiny_networks import by_autograd, state
from torch import nn

from course_utils.errors import ChanceWarning, GridWarning, LayerError
from course_utils.measures import margin_between
from course_utils.methods import watching
from course_utils.methods.cams import ContrastCAM, GradCAM


def images(n=2, size=(16, 12)):
    return torch.randn(n, 3, *size, generator=torch.Generator().manual_seed(7))


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.f = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.fc = nn.Linear(6, 4)
        self.eval()

    def forward(self, x):
        return self.fc(self.f(x).mean(dim=(2, 3)))


class Normalising(Plain):
    def forward(self, x):
        x -= 0.5
        x *= 2
        return super().forward(x)


def test_a_network_that_writes_into_its_images_is_asked_about_those_that_were_given():
    model, x = Normalising(), images()
    wanted = by_autograd(model, "f", x)
    for _ in range(2):
        assert torch.allclose(GradCAM(model)(x).evidence, wanted, atol=1e-6)
    assert torch.equal(x, images())


def test_a_margin_of_a_network_that_writes_into_its_images_leaves_them_as_they_were():
    x = images()
    margin_between(Normalising(), 0, 1)(x)
    assert torch.equal(x, images())


class Renamed(Plain):
    """Its parts stand in two places, as where a backbone's children are taken into a Sequential."""

    def __init__(self, head_of_zeros=False):
        super().__init__()
        if head_of_zeros:
            nn.init.zeros_(self.fc.weight)
        self.features, self.classifier = nn.Sequential(*self.f), self.fc

    def forward(self, x):
        return self.classifier(self.features(x).mean(dim=(2, 3)))


@pytest.mark.parametrize("head_of_zeros", [False, True])
def test_a_network_whose_parts_stand_in_two_places_is_left_as_it_was(head_of_zeros):
    model, x = Renamed(head_of_zeros), images()
    before = state(model)
    explanation = GradCAM(model)(x)
    ContrastCAM(model)(x, rather_than=1)
    assert state(model) == before
    assert torch.allclose(explanation.evidence, by_autograd(model, explanation.layer, x), atol=1e-6)


class Setting(Plain):
    """Sets something while it runs, and sets it back at the end."""

    def forward(self, x):
        handle = self.fc.register_forward_hook(lambda _m, _x, y: y)
        self.busy = True
        y = super().forward(x)
        handle.remove()
        self.busy = False
        return y


def test_a_network_that_sets_something_while_it_runs_has_set_it_back():
    model = Setting()
    model(images())
    before = state(model)
    GradCAM(model)(images())
    assert state(model) == before and not model.busy


class Zooming(nn.Module):
    """One stem for the image and for its middle."""

    def __init__(self, middle):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.middle = nn.Conv2d(3, 6, 3, padding=1), middle
        self.post, self.fc = nn.Conv2d(12, 6, 3, padding=1), nn.Linear(6, 4)
        self.eval()

    def forward(self, x):
        near = x[..., 8:24, 8:24] if self.middle else x[..., ::2, ::2]
        near = nn.functional.interpolate(near, x.shape[2:])
        both = [self.stem(x).relu(), self.stem(near).relu()]
        return self.fc(self.post(torch.cat(both, dim=1)).relu().mean(dim=(2, 3)))


def test_one_stem_that_looks_at_the_image_and_at_its_middle_is_named(recwarn):
    GradCAM(Zooming(middle=False))(images(size=(32, 32)))
    assert not recwarn
    with pytest.warns(GridWarning, match="0 to 100 % of its height.* at 24 to 76 % of its height"):
        GradCAM(Zooming(middle=True))(images(size=(32, 32)))


class Members(Plain):
    """Several heads at once, by torch.vmap."""

    def forward(self, x):
        a = self.f(x).mean(dim=(2, 3))
        weights = torch.stack([self.fc.weight, 2 * self.fc.weight])
        place = {"bias": self.fc.bias}
        each = torch.vmap(
            lambda w: torch.func.functional_call(self.fc, {**place, "weight": w}, (a,))
        )
        return each(weights).mean(dim=0)


def test_members_that_run_in_vmap_do_not_hide_the_layer_before_them():
    model = Members()
    explanation = GradCAM(model)(images())
    assert explanation.layer == "f"
    assert torch.allclose(explanation.evidence, by_autograd(model, "f", images()), atol=1e-6)


class Hiding(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks, self.fc = [nn.Conv2d(3, 6, 3).eval()], nn.Linear(6, 4)

    def forward(self, x):
        return self.fc(self.blocks[0](x).mean(dim=(2, 3)))


def test_layers_in_a_list_of_python_are_told_so_and_the_cure_works():
    model = Hiding()
    with pytest.raises(LayerError, match="stand in 'blocks', a list .* nn.ModuleList"):
        GradCAM(model)(images())
    model.blocks = nn.ModuleList(model.blocks)
    assert GradCAM(model)(images()).layer == "blocks.0"


class Joined(nn.Module):
    """Views N x V x C x H x W: features of each, their largest, one more layer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.each, self.post = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3)
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        a = self.each(x.flatten(0, 1)).unflatten(0, x.shape[:2]).amax(dim=1)
        return self.fc(self.post(a).mean(dim=(2, 3)))


def test_views_whose_features_are_joined_are_explained_as_the_sentence_says():
    model, x = Joined(), torch.randn(2, 5, 3, 12, 10)
    with pytest.raises(LayerError, match="'each' gives 5 grids") as said:
        GradCAM(model)(x)
    line = re.search(r"at once: (GradCAM\(.*\)), a map", str(said.value))[1]
    explanation = eval(line)(x)  # noqa: S307
    wanted = by_autograd(model, "each", x, lambda a: a.unflatten(0, (2, 5)).transpose(1, 2))
    assert torch.allclose(explanation.evidence, wanted, atol=1e-6)


class Hearing(nn.Module):
    """A sound N x 1 x L, of which a spectrogram is made."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.f, self.fc = nn.Conv2d(1, 6, 3, padding=1), nn.Linear(6, 4)

    def forward(self, x):
        window = torch.hann_window(32)
        pitches = torch.stft(x[:, 0], 32, 8, window=window, return_complex=True).abs()
        return self.fc(self.f(pitches[:, None]).relu().mean(dim=(2, 3)))


def test_a_sound_with_one_channel_is_no_picture_of_one_row():
    model, x = Hearing(), torch.randn(2, 1, 256)
    with pytest.raises(LayerError, match="mean over the axis of pitch, its height") as said:
        GradCAM(model)(x)
    line = re.search(r"height: (GradCAM\(.*?\))[.]", str(said.value))[1]
    explanation = eval(line)(x)  # noqa: S307
    wanted = by_autograd(model, "f", x).mean(dim=2)
    assert torch.allclose(explanation.evidence, wanted, atol=1e-6)
    assert explanation.maps.shape == (2, 1, 256)


def test_one_electrode_under_filters_of_one_row_has_a_map_along_its_time():
    layers = nn.Conv2d(1, 6, (1, 5)), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    model = nn.Sequential(nn.Unflatten(1, (1, -1)), *layers, nn.Linear(6, 4))
    explanation = GradCAM(model)(torch.randn(2, 1, 128))
    assert explanation.evidence.shape == (2, 1, 1, 124)


class Causal(nn.Module):
    """A convolution padded on both sides, of which the end is cut off, as many TCNs are written."""

    def __init__(self, dilation):
        super().__init__()
        torch.manual_seed(0)
        self.f = nn.Conv1d(2, 6, 3, padding=2 * dilation, dilation=dilation)
        self.fc, self.cut = nn.Linear(6, 4), 2 * dilation

    def forward(self, x):
        return self.fc(self.f(x)[..., : -self.cut].relu().mean(dim=2))


def test_of_a_padded_signal_whose_end_is_cut_off_the_reason_has_the_cure():
    model, x = Causal(16), torch.randn(2, 2, 100)
    reason = GradCAM(model)(x).layer_reason
    assert "6 x 132, of which the output reads the first 100 only" in reason
    cure = re.search(r"with (layer=.*\])", reason)[1]
    explanation = eval(f"GradCAM(model, {cure})")(x)  # noqa: S307
    wanted = by_autograd(model, "f", x, lambda a: a[..., :100])
    assert torch.allclose(explanation.evidence, wanted, atol=1e-6)


def test_of_a_sound_the_reason_names_the_picture_that_is_made_of_it():
    class Filtered(Hearing):
        def __init__(self):
            super().__init__()
            self.bank = nn.Conv1d(1, 16, 9, stride=4)

        def forward(self, x):
            return self.fc(self.f(self.bank(x)[:, None]).relu().mean(dim=(2, 3)))

    explanation = GradCAM(Filtered())(torch.randn(2, 1, 256))
    assert explanation.layer == "bank" and "but for 'f', which has a height" in (
        explanation.layer_reason
    )


def test_frames_before_colours_are_times_without_a_convolution_too():
    model = nn.Sequential(nn.Flatten(3), nn.Linear(64, 6), nn.Flatten(1), nn.Linear(4 * 3 * 6, 4))
    with pytest.raises(LayerError, match="for a 4 x 8 x 8 image"):
        GradCAM(model)(torch.randn(2, 4, 3, 8, 8))


class Streams(nn.Module):
    """A transformer whose layers stand in lists by their kind, and share their norms (docTR)."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.norm = nn.LayerNorm(8)
        self.attention = nn.ModuleList(
            nn.MultiheadAttention(8, 2, batch_first=True) for _ in range(2)
        )
        self.feed_forward = nn.ModuleList(
            nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)) for _ in range(2)
        )
        self.fc = nn.Linear(8, 4)
        self.eval()

    def forward(self, x):
        tokens = self.patches(x).flatten(2).mT
        for attention, feed_forward in zip(self.attention, self.feed_forward):
            normed = self.norm(tokens)
            tokens = tokens + attention(normed, normed, normed)[0]
            tokens = tokens + feed_forward(self.norm(tokens))
        return self.fc(tokens.mean(dim=1))


def test_a_list_of_branches_is_no_branch_itself():
    model, x = Streams(), images(size=(16, 12))
    explanation = GradCAM(model)(x)
    assert explanation.layer == "feed_forward.0"  # the last before the last attention
    wanted = by_autograd(model, "feed_forward.0", x, lambda a: a.mT.unflatten(2, (4, 3)))
    assert torch.allclose(explanation.evidence, wanted, atol=1e-6)


def test_a_compiled_network_is_compiled_still_when_it_was_asked():
    model, seen = torch.compile(Plain(), backend="eager"), []
    GradCAM(model)(images())

    @torch.compile(backend="eager")
    def compiled(x):
        seen.append(torch.compiler.is_compiling())
        return x + 1

    compiled(torch.ones(2))
    assert seen == [True]


class Remembering(Plain):
    """Adds what it saw last."""

    def __init__(self, resets):
        super().__init__()
        self.resets, self.last = resets, 0.0

    def forward(self, x):
        if self.resets:
            self.last = 0.0
        a = self.f(x).mean(dim=(2, 3)) + self.last
        self.last = a.detach().mean()
        return self.fc(a)


def test_of_a_network_that_remembers_earlier_passes_it_is_warned(recwarn):
    GradCAM(Remembering(resets=True))(images())
    assert not recwarn
    with pytest.warns(ChanceWarning, match="remembers earlier passes") as said:
        GradCAM(Remembering(resets=False))(images())
    assert said[0].filename == __file__


class EarlyBlock(nn.Module):
    """Reads the tokens of a known network's first block; the later ones run for nothing."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.backbone = VisionTransformer(
            img_size=32, patch_size=8, embed_dim=8, depth=2, num_heads=2, num_classes=0
        )
        self.fc = nn.Linear(8, 4)
        self.eval()

    def forward(self, x):
        return self.fc(self.backbone.get_intermediate_layers(x, n=[0])[0].mean(dim=1))


def test_a_known_layer_that_the_output_does_not_read_gives_way():
    model, x = EarlyBlock(), images(size=(32, 32))
    explanation = GradCAM(model)(x)
    assert explanation.layer == "backbone.blocks.0.norm1"
    wanted = by_autograd(model, explanation.layer, x, lambda a: a[:, 1:].mT.unflatten(2, (4, 4)))
    assert torch.allclose(explanation.evidence, wanted, atol=1e-6)


def test_functions_written_anew_for_each_question_do_not_pile_up():
    model = Plain()
    for _ in range(40):
        GradCAM(model, output=lambda y: y)(images(1))
    assert len(watching._kept[model]) <= watching.MOST_KEPT < 40


class TwoImages(nn.Module):
    """Two images of different sizes, each with a convolution of its own."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = (nn.Conv2d(3, 4, 3, padding=1) for _ in "12")
        self.head = nn.Linear(8, 3)

    def forward(self, x, y):
        pooled = [part(t).relu().mean(dim=(2, 3)) for part, t in ((self.one, x), (self.two, y))]
        return self.head(torch.cat(pooled, dim=1))


def test_a_layer_that_reads_the_second_of_two_images_is_told_so():
    x = torch.randn(1, 3, 32, 32), torch.randn(1, 3, 16, 24)
    with pytest.warns(GridWarning, match=r"'two' reads x\[1\], and not x\[0\], over which its map"):
        GradCAM(TwoImages().eval(), "two")(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GradCAM(TwoImages().eval(), "one")(x)
