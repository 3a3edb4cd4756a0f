"""Networks built as those of other libraries are, in small: right, or a sentence that helps."""

import pytest
import torch
import torch.nn.functional as F
from tiny_networks import start_at
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.ops import deform_conv2d, roi_align

from course_utils.errors import ImageError, LayerError
from course_utils.methods.cams import GradCAM
from course_utils.methods.forward_pass import ForwardPass


def images(n=2, side=16):
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(7))


def by_autograd(model, layer, x, c=0, grid=lambda a: a):
    """S^c by plain autograd, with a hook of its own, which reads the layer as a grid."""
    a, y = start_at(model, layer, x)
    (gradient,) = torch.autograd.grad(y[:, c].sum(), a)
    weights = grid(gradient).flatten(2).mean(dim=2)
    return torch.einsum("nc,nchw->nhw", weights, grid(a.detach()))


def in_the_sentence(error):
    """The call of GradCAM that a sentence spells, evaluated with `model`."""
    said = str(error.value)
    return said[said.index("GradCAM(") :].rstrip(".")


class Registers(nn.Module):
    """A ViT of vit-pytorch in small: patches between norms, registers behind the patches."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.patches = nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 8), nn.LayerNorm(8))
        self.registers = nn.Parameter(torch.randn(1, 4, 8))
        self.layers = nn.ModuleList([Attention(), Attention()])
        self.linear = nn.Linear(8, 5)
        self.eval()

    def forward(self, x):
        cut = x.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
        a = torch.cat([self.patches(cut), self.registers.expand(len(x), -1, -1)], dim=1)
        for layer in self.layers:
            a = a + layer(a)
        return self.linear(a[:, :-4].mean(dim=1))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.qkv = nn.LayerNorm(8), nn.Linear(8, 24)

    def forward(self, a):
        q, k, v = self.qkv(self.norm(a)).chunk(3, dim=2)
        return (q @ k.mT).softmax(dim=2) @ v


@pytest.mark.parametrize("seed", [0, 1, 77])
def test_images_drawn_from_a_small_seed_are_not_those_that_are_compared(seed):
    """With torch.manual_seed(0) the other images were these, and no token seemed to change."""
    torch.manual_seed(seed)
    x = torch.randn(1, 3, 32, 32)
    assert GradCAM(Registers())(x).layer == "layers.1.norm"


class Times(nn.Module):
    """A spiking network in small: T copies of the images, T x N x C x h x w, its answers averaged.

    `second`: with N first, as frames stand in other networks.
    """

    def __init__(self, second=False):
        super().__init__()
        torch.manual_seed(2)
        self.f, self.leaky, self.linear = nn.Conv2d(3, 6, 3), nn.Identity(), nn.Linear(6, 5)
        self.second = second
        self.eval()

    def forward(self, x):
        times = torch.stack([x + t for t in range(5)], dim=int(self.second))
        a = self.f(times.flatten(0, 1)).relu().unflatten(0, times.shape[:2])
        return self.linear(self.leaky(a).mean(dim=(3, 4))).relu().mean(dim=int(self.second))


class Rotations(nn.Module):
    """A group convolution of p4 in small: each channel in four rotations, N x C x 4 x h x w."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.kernels, self.turned = nn.Parameter(torch.randn(6, 3, 3, 3)), nn.Identity()
        self.linear = nn.Linear(6, 5)
        self.eval()

    def forward(self, x):
        each = [F.conv2d(x, self.kernels.rot90(turn, (2, 3))) for turn in range(4)]
        return self.linear(self.turned(torch.stack(each, dim=2)).amax(dim=2).mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("make", "layer", "grid"),
    [
        (Times, "leaky", lambda a: a.transpose(0, 1).flatten(1, 2)),
        (lambda: Times(second=True), "leaky", lambda a: a.flatten(1, 2)),
        (Rotations, "turned", lambda a: a.flatten(1, 2)),
    ],
)
def test_times_and_rotations_are_explained_as_the_sentence_says(make, layer, grid):
    """Five times were read as 2 x 2 patches and a class token, and the map was one of nothing."""
    model, x = make(), images()
    with pytest.raises(LayerError, match="times, rotations or views") as error:
        GradCAM(model)(x)
    found = eval(in_the_sentence(error))(x, 0)  # noqa: S307
    assert found.layer == layer
    torch.testing.assert_close(found.evidence[:, 0], by_autograd(model, layer, x, grid=grid))


class SoftAssignment(nn.Module):
    """NetVLAD in small: how far each place belongs to each centre weighs what is seen there."""

    def __init__(self, norm=False):
        super().__init__()
        torch.manual_seed(4)
        self.f, self.near = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 1)
        self.norm = nn.BatchNorm2d(4) if norm else nn.Identity()
        self.centres, self.linear = nn.Parameter(torch.randn(4, 6)), nn.Linear(24, 5)
        self.eval()

    def forward(self, x):
        a = self.f(x)
        near = self.norm(self.near(a)).flatten(2).softmax(dim=1)
        far = a.flatten(2)[:, None] - self.centres[None, :, :, None]
        return self.linear((near[:, :, None] * far).sum(dim=3).flatten(1))


class Offsets(nn.Module):
    """A deformable convolution: `where` says at which places `f` is read, `mask` how much."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.f, self.kernel = nn.Conv2d(3, 6, 3), nn.Parameter(torch.randn(6, 6, 3, 3))
        self.where, self.mask = nn.Conv2d(6, 18, 3, padding=1), nn.Conv2d(6, 9, 3, padding=1)
        self.linear = nn.Linear(6, 5)
        self.eval()

    def forward(self, x):
        a = self.f(x)
        mask = self.mask(a).sigmoid()
        read = deform_conv2d(a, self.where(a), self.kernel, padding=1, mask=mask)
        return self.linear(read.mean(dim=(2, 3)))


class Coordinates(nn.Module):
    """Coordinate attention: gates of the rows and of the columns."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(18)
        self.f, self.rows, self.columns = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 1), nn.Conv2d(6, 6, 1)
        self.linear = nn.Linear(6, 5)
        self.eval()

    def forward(self, x):
        a = self.f(x)
        rows = self.rows(a.mean(dim=3, keepdim=True)).sigmoid()
        columns = self.columns(a.mean(dim=2, keepdim=True)).sigmoid()
        return self.linear((a * rows * columns).mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("make", "passed"),
    [
        (Coordinates, "columns"),
        (SoftAssignment, "near"),
        (lambda: SoftAssignment(norm=True), "norm"),
        (Offsets, "where"),
    ],
)
def test_what_only_weighs_or_says_where_to_read_gives_way_to_what_is_read(make, passed):
    model, x = make(), images()
    found = GradCAM(model)(x, 0)
    assert found.layer == "f" and f"but for '{passed}', by which others" in found.layer_reason
    torch.testing.assert_close(found.evidence[:, 0], by_autograd(model, "f", x))


def test_a_convolution_before_a_sigmoid_that_multiplies_nothing_else_is_the_layer():
    class Sigmoids(nn.Sequential):
        def forward(self, x):
            return super().forward(x).sigmoid().mean(dim=(2, 3))

    model = Sigmoids(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 3)).eval()
    assert ForwardPass(model, images()).layer == "2"


@pytest.mark.parametrize("fused", [False, True])
def test_tokens_merged_by_queries_of_the_network_are_no_patches(fused):
    """Sixteen of 64 tokens have the grid of patches joined 2 x 2, but each is made of all."""

    class Merging(Registers):
        def __init__(self):
            super().__init__()
            self.queries = nn.Parameter(torch.randn(16, 8))

        def forward(self, x):
            cut = x.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).flatten(3)
            a = self.patches(cut.flatten(1, 2))
            a = k = a + self.layers[0](a)
            if fused:
                queries = self.queries.expand(len(x), -1, -1)
                a = F.scaled_dot_product_attention(queries, k, k)
            else:
                a = (self.queries @ k.mT / 3).softmax(dim=2) @ k
            return self.linear((a + self.layers[1](a)).mean(dim=1))

    found = GradCAM(Merging())(images(side=32), 0)
    assert found.evidence.shape[2:] == (8, 8) and found.layer == "layers.0"


@pytest.mark.parametrize("name", ["layer", "categories", "config", "class_token", "patch_embed"])
def test_a_property_that_fails_is_none_of_the_networks_statements(name):
    """Only an AttributeError was borne, and GradCAM fell over what it does not need."""

    class Failing(SoftAssignment):
        pass

    def fails(self):
        raise RuntimeError("not set up yet")

    setattr(Failing, name, property(fails))
    model, x = Failing(), images()
    assert torch.equal(GradCAM(model)(x, 0).evidence, GradCAM(SoftAssignment())(x, 0).evidence)


def test_a_decoder_on_a_known_network_has_its_layer_in_a_wrapper_too():
    """The wrapped network's own output has places, so that the backbone's layer was taken."""

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(6)
            self.backbone = ResNet(BasicBlock, [1, 1, 1, 1])
            self.up, self.head = nn.Conv2d(512, 8, 1), nn.Conv2d(8, 5, 3, padding=1)
            self.eval()

        def forward(self, x):
            net = self.backbone
            a = net.maxpool(net.relu(net.bn1(net.conv1(x))))
            a = net.layer4(net.layer3(net.layer2(net.layer1(a))))
            return self.head(F.interpolate(self.up(a), scale_factor=4).relu())

    def output(y):
        return y.mean(dim=(2, 3))

    model, x = Decoder(), images(1, 64)
    bare = GradCAM(model, output=output)(x, 0)
    wrapped = GradCAM(nn.Sequential(model), output=output)(x, 0)
    assert bare.layer == "head" and torch.equal(wrapped.evidence, bare.evidence)


class Boxes(nn.Module):
    """Answers for boxes, as the second stage of a detector: a row for each box."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(8)
        self.f, self.linear = nn.Conv2d(3, 6, 3), nn.Linear(24, 5)
        self.eval()

    def forward(self, x, boxes):
        return self.linear(roi_align(self.f(x).relu(), boxes, 2).flatten(1))


A, B = [1.0, 1, 9, 9], [4.0, 2, 12, 13]


@pytest.mark.parametrize(
    ("boxes", "sentence"),
    [
        (torch.tensor([[0, *A], [1, *A], [1, *B]]), "gave 3 rows for 2 images.* rows are of boxes"),
        (torch.tensor([[1, *A], [1, *B]]), "Row 0 of the output reads image 1"),  # it crashed
        (torch.tensor([[1, *A], [0, *B]]), "Row 0 of the output reads image 1"),
        ([torch.tensor([A, B]), torch.zeros(0, 4)], "Row 1 of the output reads image 0"),
    ],
)
def test_rows_of_boxes_are_no_rows_of_images_and_the_cure_works(boxes, sentence):
    """Where they were as many, one image had the evidence of both, and the other none."""
    model, x = Boxes(), images()
    with pytest.raises(LayerError, match=f"{sentence}.*output=lambda y: y.:1."):
        GradCAM(model)((x, boxes))
    one = GradCAM(model, output=lambda y: y[:1])((x[:1], [torch.tensor([A, B])]), 0)
    alone = GradCAM(model)((x[:1], [torch.tensor([A])]), 0)
    torch.testing.assert_close(one.evidence, alone.evidence)
    assert len(GradCAM(model)((x, torch.tensor([[0, *A], [1, *B]])), 0).evidence) == 2


def test_times_that_stand_before_the_batch_are_exchanged_as_the_sentences_say():
    class TimesFirst(Times):
        def forward(self, x):
            a = self.leaky(self.f(x.flatten(0, 1)).relu().unflatten(0, x.shape[:2]))
            return self.linear(a.mean(dim=(3, 4))).relu().mean(dim=0)

    model, x = TimesFirst(), torch.stack([images() + t for t in range(5)])
    with pytest.raises(LayerError, match=r"times seem to stand first.*x.0..transpose\(0, 1\)"):
        GradCAM(model)(x)
    expected = by_autograd(model, "leaky", x, grid=lambda a: a.movedim(0, 2).flatten(3))
    model.register_forward_pre_hook(lambda m, x: (x[0].transpose(0, 1),))
    with pytest.raises(LayerError, match="gives 5 grids") as error:
        GradCAM(model)(x.transpose(0, 1))
    call = in_the_sentence(error).partition(", a map of")[0]
    found = eval(call)(x.transpose(0, 1), 0)  # noqa: S307
    torch.testing.assert_close(found.evidence[:, 0].flatten(2), expected)


@pytest.mark.parametrize("numbers", ["grey", "classes"])
def test_images_without_an_axis_of_channels_have_maps_of_their_sides(numbers):
    """They were told that they are signals, of which a spectrogram is made."""

    class Coloured(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(9)
            self.f, self.linear = nn.Conv2d(3 if numbers == "grey" else 7, 6, 3), nn.Linear(6, 5)

        def forward(self, x):
            if numbers == "grey":
                a = x[:, None].expand(-1, 3, -1, -1).float() / 255
            else:
                a = F.one_hot(x.long() % 7, 7).movedim(3, 1).float()
            return self.linear(self.f(a).mean(dim=(2, 3)))

    x = torch.randint(0, 256, (2, 24, 16), dtype=torch.uint8, generator=torch.Generator())
    found = GradCAM(Coloured().eval())(x, 0)
    assert found.maps.shape == (2, 1, 24, 16)
    torch.testing.assert_close(found.evidence[:, 0], by_autograd(Coloured(), "f", x))


@pytest.mark.parametrize("repeats", [False, True])
def test_where_the_first_layer_took_the_images_the_networks_own_error_is_not_hidden(repeats):
    """The first convolution that is registered was said to read x: "the network reads N x 8"."""

    class Failing(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside, self.patches = nn.Conv2d(3 if repeats else 8, 8, 3), nn.Linear(16, 8)

        def forward(self, x):
            a = self.inside(x.expand(-1, 3, -1, -1)) if repeats else self.patches(x)
            return nn.functional.layer_norm(a, (7,))

    with pytest.raises(RuntimeError, match=r"normalized_shape=\[7\]"):
        GradCAM(Failing())(images()[:, :1])


def test_numbers_of_words_out_of_range_are_told_so():
    model = nn.Sequential(nn.Embedding(5, 8), nn.Flatten(), nn.LazyLinear(3))
    with pytest.raises(IndexError, match="out of range"):
        GradCAM(model)(torch.full((1, 6), 7))


class Forecast(nn.Module):
    """DLinear in small: all times of each variable, by one linear layer; N x L x C."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(10)
        self.linear = nn.Linear(24, 4)

    def forward(self, x):
        return self.linear(x.mT).mT


def test_times_of_a_forecast_by_variables_are_explained_as_the_sentence_says():
    """It was said to read "each class at one place only, as where the largest of all is taken"."""
    model, x = Forecast().eval(), torch.randn(2, 24, 3)
    output = lambda y: y[:, :, 1]  # noqa: E731
    with pytest.raises(LayerError, match="one of the 3 variables of x at a time") as error:
        GradCAM(model, output=output)(x)
    said = str(error.value)
    evidence = eval(said[said.index("ForwardPass(") :].rstrip("."))  # noqa: S307
    weight = model.linear.weight.detach()[0].mean()
    torch.testing.assert_close(evidence[:, 0], weight * x[:, :, 1])
    found = GradCAM(model, output=lambda y: y.sum(dim=2))(x)
    assert "found for the 3 variables of 24 times" in found.layer_reason


class Variables(nn.Module):
    """PatchTST in small: patches of each variable, with or without a class token, N x L x V."""

    def __init__(self, class_token):
        super().__init__()
        torch.manual_seed(11)
        self.patches, self.layers = nn.Linear(4, 8), nn.ModuleList([Attention(), Attention()])
        self.token = nn.Parameter(torch.randn(1, 1, 1, 8)) if class_token else None
        self.flatten, self.linear = nn.Flatten(2), nn.Linear(8, 5)
        self.eval()

    def forward(self, x):
        a = self.patches(x.mT.unfold(2, 4, 4))
        if self.token is not None:
            a = torch.cat([self.token.expand(*a.shape[:2], -1, -1), a], dim=2)
        shape, a = a.shape, a.flatten(0, 1)
        for layer in self.layers:
            a = a + layer(a)
        a = a.view(shape)
        a = a.mean(dim=2) if self.token is None else a[:, :, 0]
        return self.linear(self.flatten(a)).mean(dim=1)


@pytest.mark.parametrize("class_token", [False, True])
def test_patches_of_variables_are_explained_before_the_last_attention(class_token):
    """The variables' features were read as times; the sentence's map began with a class token, and
    was zero behind the last attention."""
    model, x = Variables(class_token), torch.randn(2, 24, 3)
    with pytest.raises(LayerError, match="each of the 3 variables of x into 6 patches") as error:
        GradCAM(model)(x)
    call = in_the_sentence(error).partition(". This network")[0]
    found = eval(call)(x, 0)  # noqa: S307
    grid = lambda a: a.unflatten(0, (-1, 3)).mean(dim=1).mT[:, :, None, int(class_token) :]  # noqa: E731
    expected = by_autograd(model, "layers.1.norm", x, grid=grid)
    assert found.layer == "layers.1.norm" and expected.any()
    torch.testing.assert_close(found.evidence, expected)


def test_a_network_that_bears_no_hooks_inside_is_asked_at_a_layer_that_is_named():
    """As reversible networks, which free what they read under no_grad."""

    class Freeing(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(12)
            self.stem, self.inside = nn.Conv2d(3, 3, 3), nn.Identity()
            self.f, self.linear = nn.Conv2d(3, 6, 3), nn.Linear(6, 5)
            self.eval()

        def forward(self, x):
            x = self.stem(x)
            with torch.no_grad():
                part = x.chunk(3, dim=1)[0]
                self.inside(x)
                part.mul_(1)
            return self.linear(self.f(x).mean(dim=(2, 3)))

    model, x = Freeing(), images()
    with pytest.raises(LayerError, match="answers, but not with gradients and a hook"):
        GradCAM(model)(x)
    found = GradCAM(model, "f")(x, 0)
    torch.testing.assert_close(found.evidence[:, 0], by_autograd(model, "f", x))


def test_fresh_adapters_of_low_rank_do_not_make_the_tokens_behind_them_foreign():
    """Their last matrix is zero: what gave the same of any image was taken for learned queries."""

    class LoRA(nn.Module):
        def __init__(self, base):
            super().__init__()
            self.base_layer, self.lora_A = base, nn.Linear(8, 2, bias=False)
            self.lora_B = nn.Linear(2, 24, bias=False)
            nn.init.zeros_(self.lora_B.weight)

        def forward(self, x):
            return self.base_layer(x) + self.lora_B(self.lora_A(x))

    plain, adapted = Registers(), Registers()
    for layer in adapted.layers:
        layer.qkv = LoRA(layer.qkv)
    x = images(side=32)
    found = GradCAM(adapted.eval())(x, 0)
    assert found.layer == "layers.1.norm"
    torch.testing.assert_close(found.evidence, GradCAM(plain)(x, 0).evidence)


def test_what_goes_into_the_weights_of_a_pooling_by_attention_gives_way_too():
    """Attentive statistics, as of ECAPA: `hidden` is read by the weights of the times alone."""

    class Attentive(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(13)
            self.f, self.hidden = nn.Conv1d(3, 6, 3), nn.Conv1d(6, 4, 1)
            self.weigh, self.linear = nn.Conv1d(4, 6, 1), nn.Linear(6, 5)
            self.eval()

        def forward(self, x):
            a = self.f(x).relu()
            weights = self.weigh(self.hidden(a).tanh()).masked_fill(a.isnan(), -1).softmax(dim=2)
            return self.linear((weights * a).sum(dim=2))

    model, x = Attentive(), torch.randn(2, 3, 20)
    found = GradCAM(model)(x, 0)
    assert found.layer == "f"
    torch.testing.assert_close(
        found.evidence, by_autograd(model, "f", x, grid=lambda a: a[:, :, None])
    )


def test_channels_at_the_end_are_seen_where_one_side_alone_was_made_smaller():
    """As SpeechBrain's blocks hand on N x time x pitch x C: time was read as 24 channels."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.f = nn.Conv2d(1, 3, 3, padding=1)

        def forward(self, x):
            return F.avg_pool2d(self.f(x[:, None]), (1, 4)).movedim(1, -1)

    torch.manual_seed(14)
    blocks = nn.Sequential(Block(), nn.Flatten(1), nn.Linear(24 * 4 * 3, 5)).eval()
    x = torch.randn(2, 24, 16)
    found = GradCAM(blocks)(x, 0)
    assert found.layer == "0"
    expected = by_autograd(blocks, "0", x, grid=lambda a: a.movedim(-1, 1))
    torch.testing.assert_close(found.evidence[:, 0], expected)


def test_what_goes_only_into_a_gate_gives_way_whatever_the_gate_does():
    """A gate of one channel that multiplies as it is, without a sigmoid."""

    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(16)
            self.f, self.linear = nn.Conv2d(3, 6, 3), nn.Linear(6, 5)
            self.hidden, self.gate = nn.Conv2d(6, 4, 1), nn.Conv2d(4, 1, 1)
            self.eval()

        def forward(self, x):
            a = self.f(x)
            return self.linear((a * self.gate(self.hidden(a).relu())).mean(dim=(2, 3)))

    model, x = Gated(), torch.randn(2, 3, 12, 12)
    found = GradCAM(model)(x, 0)
    assert found.layer == "f"
    expected = by_autograd(model, "f", x, grid=lambda a: a)
    torch.testing.assert_close(found.evidence[:, 0], expected)


def test_channels_first_are_seen_where_the_width_alone_was_made_smaller():
    """N x 8 x 8 x 2 of a square image looks like 8 x 8 places of 2 channels."""

    class Narrow(nn.Module):
        def forward(self, a):
            return F.avg_pool2d(a, (1, 4))

    torch.manual_seed(15)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(128, 5))
    model, x = (
        nn.Sequential(nn.Conv2d(3, 8, 4, 4), Narrow(), flat).eval(),
        torch.randn(2, 3, 32, 32),
    )
    expected = by_autograd(model, "1", x, grid=lambda a: a)
    torch.testing.assert_close(GradCAM(model, "1")(x, 0).evidence[:, 0], expected)


def test_round_off_behind_the_patches_does_not_take_some_of_them_for_others():
    """A gate drawn near 1, as gMLP's: some of its sums are the same of any image."""

    class NearlyOne(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(15)
            self.patches, self.gate = nn.Conv1d(3, 64, 1), nn.Conv1d(40, 40, 1)
            nn.init.normal_(self.gate.weight, std=3e-7)
            nn.init.ones_(self.gate.bias)
            self.norm, self.linear = nn.LayerNorm(64), nn.Linear(64, 5)
            self.eval()

        def forward(self, x):
            a = self.patches(x).mT
            return self.linear(self.norm(a * self.gate(a)).mean(dim=1))

    model, x = NearlyOne(), torch.randn(2, 3, 40)
    found = GradCAM(model)(x, 0)
    assert found.layer == "norm"
    expected = by_autograd(model, "norm", x, grid=lambda a: a.mT[:, :, None])
    torch.testing.assert_close(found.evidence, expected)


def test_times_of_one_variable_after_the_other_are_no_row_of_times():
    """As BIOT reads electrodes: the tokens of all of them in one row were taken for time."""

    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(16)
            self.patches, self.norm, self.linear = nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 5)
            self.eval()

        def forward(self, x):
            rows = [self.patches(x[:, c].unfold(1, 8, 8)) for c in range(x.shape[1])]
            return self.linear(self.norm(torch.cat(rows, dim=1)).mean(dim=1))

    with pytest.raises(LayerError, match="runs more than once.*'patches' 3 times"):
        GradCAM(Rows())(torch.randn(2, 3, 64))


@pytest.mark.parametrize("linear_first", [False, True])
def test_a_linear_layer_over_the_times_of_each_channel_does_not_turn_the_signal(linear_first):
    """As wavelets of mWDN: a convolution behind it says which axis is the channels'."""

    class Wavelet(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(17)
            self.mix = nn.Linear(20, 20) if linear_first else nn.Identity()
            self.f, self.linear = nn.Conv1d(3, 6, 3), nn.Linear(6, 5)
            self.eval()

        def forward(self, x):
            return self.linear(self.f(self.mix(x)).mean(dim=2))

    found = GradCAM(Wavelet())(torch.randn(2, 3, 20), 0)
    assert found.layer == "f" and found.maps.shape == (2, 1, 20)


@pytest.mark.parametrize("added", [True, False])
def test_of_a_branch_whose_sum_no_layer_gives_the_reason_says_so(added):
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.f, self.linear = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 1), nn.Linear(6, 5)

        def forward(self, x):
            a = self.stem(x)
            b = self.f(a)
            return self.linear((a + b if added else b).mean(dim=(2, 3)))

    found = GradCAM(Sum().eval())(images())
    assert found.layer == "f"
    assert ("a branch that is added to what it reads" in found.layer_reason) == added


def test_a_token_that_pads_is_no_place_though_all_were_before():
    """As SEW squeezes 13 steps to 6, makes 12 of them again and pads one: 12 x 8 are times."""

    class Squeezed(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(19)
            self.f, self.squeeze = nn.Conv1d(3, 8, 3), nn.Conv1d(8, 8, 2, stride=2)
            self.norm, self.up, self.padded = nn.LayerNorm(8), Halves(), nn.Linear(8, 16)
            self.project, self.linear = nn.Linear(8, 8), nn.Linear(16, 5)
            self.eval()

        def forward(self, x):
            a = self.project(self.f(x).mT).mT
            a = self.up(self.norm(self.squeeze(a).mT).repeat(1, 1, 2))
            return self.linear(self.padded(F.pad(a, (0, 0, 0, 1))).mean(dim=1))

    class Halves(nn.Module):
        def forward(self, a):
            return a.reshape(len(a), -1, a.shape[2] // 2)

    model, x = Squeezed(), torch.randn(2, 3, 15)
    expected = by_autograd(model, "up", x, grid=lambda a: a.mT[:, :, None])
    torch.testing.assert_close(GradCAM(model, "up")(x, 0).evidence, expected)


def test_what_a_network_itself_says_of_its_input_is_said_beside_our_guess():
    """LaBraM asks for the electrodes' names, and was hidden by a guess at its first convolution."""

    class Choosy(SoftAssignment):
        def forward(self, x):
            raise ValueError("22 electrodes, but no names of them")

    with pytest.raises(ImageError, match="The network itself says: ValueError: 22 electrodes"):
        GradCAM(Choosy())(torch.zeros(2, 22, 100))
