"""Networks as they stand in public repositories: the right layer, or a sentence that helps."""

import re
from collections import namedtuple
from enum import Enum, IntEnum

import pytest
import torch
from tiny_networks import by_autograd
from torch import nn

from course_utils import ContrastCAM, ForwardPass, GradCAM
from course_utils.errors import ClassError, LayerError
from course_utils.methods.classes import class_names
from course_utils.methods.inputs import each_tensor
from course_utils.methods.layers import default_layer

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Head(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(c, c // 2) for _ in range(3))

    def forward(self, x):
        return (self.q(x) @ self.k(x).mT).softmax(-1) @ self.v(x)


class Attention(nn.Module):
    """Two heads, each a module; the norm, if any, stands inside."""

    def __init__(self, norm=False, c=8):
        super().__init__()
        self.norm = nn.LayerNorm(c) if norm else nn.Identity()
        self.heads = nn.ModuleList(Head(c) for _ in range(2))
        self.out = nn.Linear(c, c)

    def forward(self, x):
        x = self.norm(x)
        return self.out(torch.cat([head(x) for head in self.heads], -1))


class Block(nn.Module):
    def __init__(self, c=8):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(c), Attention()
        self.norm2, self.mlp = nn.LayerNorm(c), nn.Sequential(nn.Linear(c, c), nn.GELU())

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Patches(nn.Module):
    """8 x 8 patches behind a class token, which the head reads."""

    read = staticmethod(lambda tokens: tokens[:, 0])

    def __init__(self, c=8):
        super().__init__()
        torch.manual_seed(0)
        self.patches, self.head = nn.Conv2d(3, c, 2, 2), nn.Linear(c, 5)
        self.class_vector = nn.Parameter(torch.randn(1, 1, c))
        self.places = nn.Parameter(torch.randn(1, 65, c))

    def forward(self, x):
        x = self.patches(x).flatten(2).mT
        x = torch.cat([self.class_vector.expand(len(x), -1, -1), x], 1) + self.places
        return self.head(self.read(self.encode(x)))


PICKS = {
    "gather": lambda x, i: x.gather(1, i[..., None].expand(-1, -1, x.shape[2])),
    "take_along_dim": lambda x, i: torch.take_along_dim(x, i[..., None], 1),
    "index": lambda x, i: x[torch.arange(len(x))[:, None], i],
    "index, image by image": lambda x, i: torch.stack([one[j] for one, j in zip(x, i)]),
    "index_select": lambda x, i: x.index_select(1, i[0]),
    "mask": lambda x, i: x[torch.zeros(x.shape[:2]).scatter(1, i, 1) > 0].view(len(x), -1, 8),
    "order, then the first": lambda x, i: PICKS["gather"](x, x[..., 0].argsort(1))[:, :16],
    "largest of each channel": lambda x, i: x.topk(16, 1).values,
}


class Picking(Patches):
    """The class token and 16 picked patches, which are no 4 x 4 grid, go through a last block."""

    def __init__(self, pick):
        super().__init__()
        self.blocks, self.last, self.pick = nn.Sequential(Block(), Block()), Block(), PICKS[pick]
        self.eval()

    def encode(self, x):
        x = self.blocks(x)
        picked = self.pick(x[:, 1:], x[:, 1:].sum(2).topk(16).indices)
        return self.last(torch.cat([x[:, :1], picked], 1))


@pytest.mark.parametrize("pick", PICKS)
def test_picked_tokens_are_no_grid_though_their_number_is_a_square(pick):
    model = Picking(pick)
    seen = GradCAM(model)(IMAGES)
    assert seen.layer == "blocks.1.norm1"
    assert seen.evidence.shape == (2, 1, 8, 8)
    with pytest.raises(LayerError, match="gives 2 x 17 x 8, .*reshape_transform="):
        GradCAM(model, "last.norm1")(IMAGES)


class Joining(Patches):
    """2 x 2 patches become one by slices, as in Swin: a grid of 4 x 4."""

    def __init__(self):
        super().__init__()
        self.first, self.join, self.last = Block(), nn.Linear(32, 8), Block()
        self.eval()

    def encode(self, x):
        x = self.first(x)[:, 1:].unflatten(1, (8, 8))
        joined = [x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
        return self.last(self.join(torch.cat(joined, -1).flatten(1, 2)))


def test_patches_joined_by_slices_still_are_a_grid():
    seen = GradCAM(Joining())(IMAGES)
    assert (seen.layer, seen.evidence.shape[2:]) == ("last.norm1", (4, 4))


class Layer(nn.ModuleDict):
    """As lucidrains writes it: x = attention(x) + x, x = mlp(x) + x, with the norms inside."""

    def __init__(self, attention, kind, norm):
        mlp = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8), nn.GELU())
        super().__init__({attention: type(kind, (Attention,), {})(norm), "mlp": mlp})


class Bare(Patches):
    """No block is a module that runs: the sums are in the network's own forward method."""

    read = staticmethod(lambda tokens: tokens.mean(1))

    def __init__(self, attention, kind, norm):
        super().__init__()
        self.layers = nn.ModuleList(Layer(attention, kind, norm) for _ in range(2))
        self.eval()

    def encode(self, x):
        for layer in self.layers:
            for branch in layer.values():
                x = branch(x) + x
        return x


# by the attention's name, or by its class's
@pytest.mark.parametrize(
    "attention, kind",
    [(name, "Mix") for name in ("attn", "self_attention", "sa", "att", "msa")]
    + [("mix", kind) for kind in ("Attention", "WindowAttn", "MSA", "MHSA")],
)
@pytest.mark.parametrize("norm, layer", [(True, "layers.1.{}.norm"), (False, "layers.0.mlp")])
def test_no_part_of_an_attention_is_the_layer_but_a_norm_that_reads_the_stream(
    attention, kind, norm, layer
):
    assert default_layer(Bare(attention, kind, norm), IMAGES) == layer.format(attention)


class Spectrum(nn.Module):
    """A signal's spectrogram, time along its height or its width."""

    def __init__(self, time):
        super().__init__()
        torch.manual_seed(0)
        self.time, self.f, self.head = time, nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, 5)
        self.eval()

    def forward(self, x):
        pitch_by_time = torch.stft(x, 16, window=torch.hann_window(16), return_complex=True).abs()
        a = self.f((pitch_by_time if self.time == 3 else pitch_by_time.mT)[:, None])
        return self.head(a.relu().mean(5 - self.time).amax(2))


@pytest.mark.parametrize("time", [2, 3])
def test_the_axis_of_time_is_found_by_a_change_in_the_signals_second_half(time):
    x = torch.randn(2, 512, generator=torch.Generator().manual_seed(0))
    with pytest.raises(
        LayerError, match=rf"'f', reshape_transform=lambda a: a\.mean\({5 - time}\)"
    ):
        GradCAM(Spectrum(time))(x)


class TwoPaths(nn.Module):
    """A video in two speeds, a list, as SlowFast takes it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.slow, self.fast = nn.Conv3d(3, 4, 3, padding=1), nn.Conv3d(3, 4, 3, padding=1)
        self.head = nn.Linear(8, 5)
        self.eval()

    def forward(self, x):
        both = self.slow(x[0]).relu(), self.fast(x[1]).relu()
        return self.head(torch.cat([a.mean(dim=(2, 3, 4)) for a in both], 1))


@pytest.mark.parametrize("given", [lambda x: (x,), lambda x: {"x": x}, lambda x: (tuple(x),)])
def test_a_list_of_tensors_among_the_inputs_is_handed_on(given):
    model, paths = TwoPaths(), [torch.randn(2, 3, 2, 6, 6), torch.randn(2, 3, 8, 6, 6)]
    seen = GradCAM(model, "slow")(given(paths), 1)
    a = model.slow(paths[0]).detach().requires_grad_()
    y = model.head(torch.cat([v.relu().mean(dim=(2, 3, 4)) for v in (a, model.fast(paths[1]))], 1))
    (gradient,) = torch.autograd.grad(y[:, 1].sum(), a)
    expected = (gradient.mean(dim=(2, 3, 4), keepdim=True) * a).sum(1).detach()
    torch.testing.assert_close(seen.evidence[:, 0], expected)


def test_a_named_tuple_of_inputs_is_looked_into_as_any_tuple():
    given = namedtuple("Given", "image, unused")(IMAGES, None)
    assert each_tensor(given, lambda t: t[:1])[0].shape == (1, 3, 16, 16)


class Rows(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3 * 16 * 16, 5)

    def forward(self, x):
        while not isinstance(x, torch.Tensor):
            x = x["image"] if isinstance(x, dict) else x[0]
        return {"scores": self.head(x.flatten(1)), "other": None}


@pytest.mark.parametrize("x", [IMAGES, ([IMAGES, 3],), {"x": [IMAGES]}, ({"image": [IMAGES]},)])
def test_the_line_that_explains_x_itself_works_wherever_the_images_stand(x):
    model, output = Rows(), lambda y: y["scores"]
    with pytest.raises(LayerError) as error:
        GradCAM(model, output=output)(x)
    lines = re.search(r"hands it on: (.*?\))\. This network has", str(error.value))[1]
    *before, last = lines.split(", then ")
    names = {"model": model, "torch": torch, "GradCAM": GradCAM, "output": output}
    for line in before:
        exec(line, names)
    assert eval(last, names)(x, 1).evidence.shape == (2, 1, 16, 16)


class Frames(nn.Module):
    """A video's frames, N x T x C x H x W, folded into the batch or one after the other."""

    def __init__(self, looped):
        super().__init__()
        torch.manual_seed(0)
        self.looped, self.head, self.view = looped, nn.Linear(4, 5), lambda a: a
        self.cnn = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.eval()

    def forward(self, x):
        if self.looped:
            grids = [self.cnn(x[:, i]) for i in range(x.shape[1])]
            grids[1] = self.view(grids[1])
            return self.head(sum(a.mean(dim=(2, 3)) for a in grids))
        pooled = self.pool(self.cnn(x.flatten(0, 1))).flatten(1)
        return self.head(pooled.unflatten(0, x.shape[:2]).sum(1))


VIDEOS = torch.randn(2, 4, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def test_folded_frames_are_explained_before_they_are_pooled():
    model = Frames(looped=False)
    with pytest.raises(
        LayerError, match=r"GradCAM\(model, 'cnn', reshape_transform=(.*?), output=out"
    ):
        GradCAM(model, output=lambda y: y)(VIDEOS)
    unfold = lambda a: a.unflatten(0, (-1, 4)).transpose(1, 2)  # noqa: E731  as the sentence says
    evidence = GradCAM(model, "cnn", reshape_transform=unfold)(VIDEOS, 2).evidence
    a = model.cnn(VIDEOS.flatten(0, 1)).detach().unflatten(0, (2, 4))
    expected = (
        torch.einsum("c,ntchw->nthw", model.head.weight[2], a) / 16 / 4
    )  # of 4 x 4 x 4 places
    torch.testing.assert_close(evidence[:, 0], expected.detach() * 4)


def test_frames_one_after_the_other_are_told_how_often_the_layer_runs():
    model = Frames(looped=True)
    with pytest.raises(
        LayerError, match=r"'cnn' 4 times.*layer='view', with reshape.*\[:, :, None\]"
    ):
        GradCAM(model)(VIDEOS)
    del model.view
    model.view = nn.Identity()
    seen = GradCAM(model, "view", reshape_transform=lambda a: a[:, :, None])(VIDEOS, 2)
    a = model.cnn(VIDEOS[:, 1]).detach()
    expected = torch.einsum("c,nchw->nhw", model.head.weight[2], a) / 16
    torch.testing.assert_close(seen.evidence[:, 0, 0], expected.detach())
    assert seen.maps.shape == (2, 1, 4, 6, 6)


def test_times_that_stand_before_the_images_are_exchanged_as_the_sentence_says():
    class Read(nn.Module):
        """T x N x classes, as CTC takes it."""

        def __init__(self):
            super().__init__()
            self.f, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

        def forward(self, x):
            return self.head(self.f(x).mean(2).permute(2, 0, 1))

    with pytest.raises(LayerError, match=r"14 rows for 2 images.* y\.transpose\(0, 1\)"):
        GradCAM(Read())(IMAGES)
    seen = ForwardPass(Read(), IMAGES, output=lambda y: y.transpose(0, 1))
    assert seen.ask(lambda y: y[:, 3, 4]).shape == (2, 1, 14, 14)


class Numbered(IntEnum):
    OWL = 1
    CAT = 0


class Worded(Enum):
    CAT = "tabby cat"
    OWL = "owl"


@pytest.mark.parametrize(
    "categories, names",
    [
        (Numbered, ["CAT", "OWL"]),
        (list(Numbered), ["CAT", "OWL"]),
        ({Numbered.OWL: "owl", Numbered.CAT: "cat"}, ["cat", "owl"]),
        (Worded, ["tabby cat", "owl"]),
        ({1.0: "owl", 0.0: "cat"}, ["cat", "owl"]),
        ({"owl": torch.tensor(1), "cat": torch.tensor(0)}, ["cat", "owl"]),
    ],
)
def test_names_stand_in_an_enum_and_numbers_in_floats_or_tensors(categories, names):
    assert class_names(categories) == names


def test_classes_of_one_name_are_told_apart_by_their_numbers():
    names = ["crane", "owl", "crane"]
    told = ["crane (0)", "owl", "crane (2)"]
    assert class_names(names) == class_names(dict(enumerate(names))) == told
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)]
    model = nn.Sequential(nn.Conv2d(3, 4, 3), *head)
    model.categories = names
    asked = ContrastCAM(model)(IMAGES[:1], "crane (0)", "crane (2)")
    assert asked.questions == [["Why crane (0), rather than crane (2)?"]]
    with pytest.raises(ClassError, match="'crane' is more than one class: give the number, 0 "):
        GradCAM(model)(IMAGES[:1], "crane")


@pytest.mark.parametrize("categories, member", [(Numbered, Numbered.OWL), (Worded, Worded.OWL)])
def test_a_member_of_an_enum_asks_for_its_class(categories, member):
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    model.categories = categories
    name = class_names(categories)[1]
    assert GradCAM(model)(IMAGES[:1], member).questions == [[f"Why {name}?"]]


class Turning(nn.Module):
    """A spectrogram N x 1 x T x F, normalised and read as N x 1 x F x T."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, 5)

    def forward(self, x):
        return self.head(self.net(2 * x.mT - 1).relu().mean(dim=(2, 3)))


def test_images_from_another_framework_may_be_turned_too():
    """N x H x W x C, of which the network makes N x C x W x H."""

    class Turned(Turning):
        def forward(self, x):
            return super().forward(x.movedim(-1, 1))

    model = Turned()
    model.net = nn.Conv2d(3, 4, 3, padding=1)
    x = torch.randn(2, 16, 24, 3, generator=torch.Generator().manual_seed(0))
    expected = by_autograd(model, "net", x, lambda a: a.mT).detach()
    torch.testing.assert_close(GradCAM(model)(x).evidence, expected)


class Weighed(nn.Module):
    """A map of one channel, made in two steps, weighs the features, or is the answer itself."""

    def __init__(self, gate):
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
        self.score = nn.Sequential(nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 1, 1))
        self.gate, self.head = gate, nn.Linear(8, 5)
        self.eval()

    def forward(self, x):
        a = self.features(x)
        score = self.score(a)
        return self.head((a * score.sigmoid()).mean((2, 3))) if self.gate else score.mean((2, 3))


def test_rows_of_a_bag_are_explained_as_the_sentence_says():
    """Features K x C of one item, as of a slide's patches: attention weighs them."""
    torch.manual_seed(0)
    score, head = nn.Linear(8, 1), nn.Linear(8, 3)

    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.score, self.head = score, head

        def forward(self, x):
            return self.head(self.score(x).softmax(0).mT @ x)

    model, x = Bag(), torch.randn(6, 8)
    with pytest.raises(LayerError) as error:
        GradCAM(model)(x)
    line = re.search(r"GradCAM.*\(x\[None\]\)", str(error.value))[0].replace(
        "(x[None])", "(x[None], 1)"
    )
    found = eval(line, {"GradCAM": GradCAM, "torch": torch, "model": model, "x": x})
    rows = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(rows)[0, 1], rows)
    expected = (gradient.mean(0) * x).sum(1)
    torch.testing.assert_close(found.evidence[0, 0], expected)


def test_of_several_tensors_returned_the_one_with_classes_is_named():
    class Both(Weighed):
        def forward(self, x):
            return {"mask": self.score(self.features(x)), "label": super().forward(x)}

    with pytest.raises(TypeError, match=r"GradCAM\(model, output=lambda y: y\['label'\]\)\(x\)"):
        GradCAM(Both(gate=True))(IMAGES)


class EarlyExit(nn.Module):
    """Answers from its first stage where that is sure."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.near = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU())
        self.far = nn.Sequential(nn.Conv2d(6, 6, 3, 2, 1), nn.ReLU())
        self.heads = nn.ModuleList([nn.Linear(6, 4), nn.Linear(6, 4)])

    def forward(self, x):
        a = self.near(x)
        if x.mean() > 0:
            return self.heads[0](a.mean(dim=(2, 3)))
        return self.heads[1](self.far(a).mean(dim=(2, 3)))


def test_behind_an_exit_that_is_not_taken_the_later_layer_is_found():
    model, x = EarlyExit().eval(), torch.rand(1, 3, 16, 16)
    found = [GradCAM(model)(image).layer for image in (x, -x, x, -x)]
    assert found == ["near", "far", "near", "far"]


def test_of_a_stage_behind_an_exit_that_was_taken_no_part_is_named():
    model, x = EarlyExit().eval(), torch.rand(1, 3, 16, 16)
    GradCAM(model)(-x)
    with pytest.raises(LayerError, match="'far' never ran .* By default it is 'near'"):
        GradCAM(model, "far")(x)


def test_a_layer_whose_forward_method_is_called_is_told_so():
    class Direct(EarlyExit):
        def forward(self, x):
            return self.heads[0](self.near.forward(x).mean(dim=(2, 3)))

    with pytest.raises(LayerError, match="or calls its forward method: .* such as 'near.1'"):
        GradCAM(Direct().eval(), "near")(torch.rand(1, 3, 16, 16))


def test_a_list_of_images_is_asked_as_the_sentence_says():
    class Listed(EarlyExit):
        def forward(self, images):
            return super().forward(torch.stack(images))

    images = list(torch.rand(2, 3, 16, 16))
    x, model = (images,), Listed().eval()
    with pytest.raises(LayerError, match="takes a list of images") as error:
        GradCAM(model)(x)
    before, after = str(error.value).split("one batch: ")[1].rstrip(".").split(", then ")
    exec(before)  # noqa: S102
    assert torch.equal(eval(after).logits, model(torch.stack(images)))  # noqa: S307
