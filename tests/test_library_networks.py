"""Networks as the great libraries build them: look-alikes of what was wrong with the real ones.

Each is as small as shows the fault. The right layer, grid and size are worked out by hand.
"""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torchvision.ops import DeformConv2d

from course_utils import ForwardPass, GradCAM
from course_utils.errors import ImageError, LayerError


def tokens_of(grid):
    """N x C x h x w -> N x T x C."""
    return grid.flatten(2).transpose(1, 2)


class WindowAttention(nn.Module):
    """Four heads in windows of 16 tokens each; the weights go through a dropout of their own."""

    def __init__(self, c):
        super().__init__()
        self.qkv, self.dropout = nn.Linear(c, 3 * c), nn.Dropout(0.1)

    def forward(self, t):
        windows = t.unflatten(1, (-1, 16)).flatten(0, 1)
        q, k, v = self.qkv(windows).unflatten(2, (3, 4, -1)).movedim(1, 3).unbind(1)
        weights = self.dropout((q @ k.transpose(2, 3)).softmax(dim=-1))
        return (weights @ v).transpose(1, 2).reshape(t.shape)


class Joined(nn.Module):
    """As Swin: tokens of 2 x 2 patches are joined, and the pooling is a layer, N x C x 1."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.attention = nn.Conv2d(3, 16, 4, 4), WindowAttention(16)
        self.norm, self.pooler, self.h = nn.LayerNorm(16), nn.AdaptiveAvgPool1d(1), nn.Linear(16, 5)
        self.eval()

    def forward(self, x):
        t = tokens_of(F.avg_pool2d(self.embed(x), 2))
        t = self.norm(t + self.attention(t))
        return self.h(self.pooler(t.transpose(1, 2)).flatten(1))


def test_joined_tokens_keep_the_images_shape_and_a_pooled_layer_has_no_places():
    # 64 x 64 pixels, 16 x 16 patches, 8 x 8 tokens; 4 windows x 4 heads x 16 x 16 would make 4 x 16
    seen = ForwardPass(Joined(), torch.randn(2, 3, 64, 64))
    assert seen.layer == "norm"
    assert torch.equal(tokens_of(seen.activations), seen._leaf.detach())
    assert seen.activations.shape == (2, 16, 8, 8)


class Queries(nn.Module):
    """As a detector's decoder: 16 learned queries look at 6 x 6 places."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.norm = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8)
        self.queries = nn.Parameter(torch.randn(1, 16, 8))
        self.decoder, self.h = nn.LayerNorm(8), nn.Linear(8, 5)
        self.eval()

    def forward(self, x):
        t = self.norm(tokens_of(self.embed(x)))
        q = self.queries.expand(len(x), -1, -1)
        q = self.decoder(q + F.scaled_dot_product_attention(q, t, t))
        return self.h(q.mean(dim=1))


def test_learned_queries_are_no_places_though_their_number_is_a_square():
    seen = ForwardPass(Queries(), torch.randn(1, 3, 24, 24))
    assert seen.layer == "norm" and seen.activations.shape == (1, 8, 6, 6)


class Latents(Queries):
    """As a detector's decoder with as many queries as the picture has places, and a norm first."""

    def __init__(self):
        super().__init__()
        self.queries, self.start = nn.Parameter(torch.randn(1, 36, 8)), nn.LayerNorm(8)

    def forward(self, x):
        t = self.norm(tokens_of(self.embed(x)))
        q = self.start(self.queries.expand(len(x), -1, -1))
        q = self.decoder(q + F.scaled_dot_product_attention(q, t[:, :35], t[:, :35]))
        return self.h(q.mean(dim=1))


def test_tokens_that_start_without_the_image_are_no_places_of_it():
    assert ForwardPass(Latents(), torch.randn(1, 3, 24, 24)).layer == "norm"


class Backbone(Queries):
    """Of 24 channels and 4 x 4 places; 96 + 4 queries would fit a grid of 24 x 4."""

    def __init__(self):
        super().__init__()
        self.embed, self.norm = nn.Conv2d(3, 24, 6, 6), nn.LayerNorm(24)
        self.down = nn.Linear(24, 8)
        self.queries = nn.Parameter(torch.randn(1, 100, 8))

    def forward(self, x):
        t = self.down(self.norm(tokens_of(self.embed(x))))
        q = self.queries.expand(len(x), -1, -1)
        q = self.decoder(q + F.scaled_dot_product_attention(q, t, t))
        return self.h(q.mean(dim=1))


def test_channels_and_rows_are_not_taken_for_rows_and_columns():
    assert ForwardPass(Backbone(), torch.randn(1, 3, 24, 24)).activations.shape[2:] == (4, 4)


class Perceiving(Queries):
    """As Perceiver: an attention reads the pixels themselves, and the next one 16 latents."""

    def __init__(self):
        super().__init__()
        self.attention = nn.ModuleDict({"norm": nn.LayerNorm(3), "dropout": nn.Dropout()}).eval()

    def forward(self, x):
        t, q = self.attention["norm"](tokens_of(x)), self.queries[..., :3]
        q = q + F.scaled_dot_product_attention(q, t, t)
        weights = self.attention["dropout"]((q @ q.mT).softmax(-1)[:, None])
        return self.h(F.pad((weights[:, 0] @ q).mean(dim=1), (0, 5)))


def test_attention_weights_of_latents_are_no_places():
    seen = ForwardPass(Perceiving(), torch.randn(1, 3, 24, 24))
    assert seen.layer == "attention.norm" and seen.activations.shape == (1, 3, 24, 24)


class Detector(Queries):
    """As YOLOS: class token, patches and more tokens go through one attention together."""

    def __init__(self, behind):
        super().__init__()
        self.behind, self.norm1 = nn.Parameter(torch.randn(1, behind, 8)), nn.LayerNorm(8)

    def forward(self, x):
        t = tokens_of(self.embed(x))
        first, behind = (q.expand(len(x), -1, -1) for q in (self.queries[:, :1], self.behind))
        t = self.norm1(torch.cat([first, t, behind], dim=1))
        return self.h(F.scaled_dot_product_attention(t[:, 37:], t, t).mean(dim=1))


@pytest.mark.parametrize("behind", [100, 3])
def test_tokens_behind_the_patches_do_not_move_them(behind):
    seen = ForwardPass(Detector(behind), torch.randn(2, 3, 24, 24))
    assert seen.layer == "norm1" and seen.activations.shape == (2, 8, 6, 6)
    assert torch.equal(tokens_of(seen.activations), seen._leaf.detach()[:, 1:37])


class PooledKeys(Queries):
    """As MViT and PVT: 36 tokens hear each other, then what 9 pooled ones say."""

    def __init__(self):
        super().__init__()
        self.norm1, self.mlp, self.norm2 = nn.LayerNorm(8), nn.Linear(8, 8), nn.LayerNorm(8)

    def forward(self, x):
        t = self.norm1(tokens_of(self.embed(x)))
        t = self.norm2(t + self.mlp(F.scaled_dot_product_attention(t, t, t)))
        few = tokens_of(F.avg_pool2d(t.mT.unflatten(2, (6, 6)), 2))
        return self.h((t + F.scaled_dot_product_attention(t, few, few)).mean(dim=1))


def test_an_attention_with_pooled_keys_is_the_last_of_all_tokens_that_ask():
    assert ForwardPass(PooledKeys(), torch.randn(2, 3, 24, 24)).layer == "norm2"


class Texts(Queries):
    """As SigLIP: three texts of 36 words stand for the classes; there are as many patches."""

    def __init__(self):
        super().__init__()
        self.words, self.norm1, self.norm2 = nn.Embedding(9, 8), nn.LayerNorm(8), nn.LayerNorm(8)

    def forward(self, x, texts):
        t = self.norm1(tokens_of(self.embed(x)))
        t = t + F.scaled_dot_product_attention(t, t, t)
        return t.mean(dim=1) @ self.norm2(self.words(texts)).mean(dim=1).T


def test_texts_of_as_many_words_as_patches_do_not_hide_the_layer():
    x = torch.randn(2, 3, 24, 24), torch.arange(108).reshape(3, 36) % 9
    assert ForwardPass(Texts(), x).layer == "norm1"


class Registers(Queries):
    """Patches are cut by unfold, so that no layer gives them as a grid; registers stand behind."""

    def __init__(self):
        super().__init__()
        self.embed, self.norm1 = nn.Linear(48, 8), nn.LayerNorm(8)

    def forward(self, x):
        t = self.embed(F.unfold(x, 4, stride=4).mT)
        t = self.norm1(torch.cat([t, self.queries[:, :4].expand(len(x), -1, -1)], dim=1))
        return self.h((t + F.scaled_dot_product_attention(t, t, t))[:, :24].mean(dim=1))


def test_registers_behind_patches_that_were_no_grid_do_not_hide_the_layer():
    seen = ForwardPass(Registers(), torch.randn(2, 3, 16, 24))
    assert seen.layer == "norm1" and seen.activations.shape == (2, 8, 4, 6)
    assert torch.equal(tokens_of(seen.activations), seen._leaf.detach()[:, :24])


class ApartByHeads(nn.Module):
    """Patches of a volume, and a layer that gives q, k and v of three heads: 3 x N x 3 x T x d."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.h = nn.Linear(8, 27), nn.Linear(9, 5)
        self.attn = nn.ModuleDict({"apart": Apart()})
        self.eval()

    def forward(self, x):
        patches = x.unfold(2, 2, 2).unfold(3, 2, 2).unfold(4, 2, 2).flatten(2, 4).flatten(3)
        q, k, v = self.attn.apart(self.embed(patches[:, 0]))
        return self.h(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2).mean(1))


class Apart(nn.Module):
    def forward(self, x):
        return x.unflatten(2, (3, 3, 3)).permute(2, 0, 3, 1, 4)


def test_heads_apart_are_no_places_of_a_volume():
    seen = ForwardPass(ApartByHeads(), torch.randn(1, 1, 4, 4, 4))
    assert seen.layer == "embed" and seen.activations.shape == (1, 27, 2, 2, 2)
    assert torch.equal(tokens_of(seen.activations), seen._leaf.detach())


class SomePatches(Queries):
    """Of 36 patches it reads 33, behind six words: 39 tokens are no grid, though 39 - 36 is few."""

    def forward(self, x):
        t = torch.cat([self.queries[:, :6].expand(len(x), -1, -1), tokens_of(self.embed(x))], dim=1)
        t = self.norm(t[:, :39])
        return self.h((t + F.scaled_dot_product_attention(t, t, t)).mean(dim=1))


def test_some_of_the_patches_are_no_grid():
    assert ForwardPass(SomePatches(), torch.randn(2, 3, 24, 24)).layer == "embed"


class Places(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(16, 8))

    def forward(self, n):
        return self.table.expand(n, -1, -1)


class WithText(nn.Module):
    """A picture and 16 words: the embeddings come last, and give as many tokens as the picture."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.f, self.h = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.ReLU()), nn.Linear(8, 5)
        self.words, self.places = nn.Embedding(100, 8), Places()
        self.eval()

    def forward(self, x, words):
        image = self.f(x).mean(dim=(2, 3))
        text = self.words(words) * self.places(len(x))
        return self.h(image * text.mean(dim=1))


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("wrap", [lambda m: m, nn.DataParallel])
def test_what_is_the_same_for_every_image_is_not_the_layer(frozen, wrap):
    model = wrap(WithText().requires_grad_(not frozen))
    seen = ForwardPass(model, (torch.randn(2, 3, 16, 16), torch.arange(32).reshape(2, 16)))
    assert seen.layer.endswith("f") and seen.activations.shape == (2, 8, 4, 4)


def test_where_small_random_weights_lose_the_image_the_last_layer_is_explained():
    torch.manual_seed(0)
    steps = (nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)) for _ in range(6))
    model = nn.Sequential(nn.Conv2d(3, 8, 4, 4), *steps, nn.AvgPool2d(4), nn.Flatten())
    for step in model[1:-2]:
        nn.init.normal_(step[0].weight, std=1e-3)
        nn.init.normal_(step[1].bias)
    with torch.no_grad():  # what the image adds is less than the last digit
        assert torch.equal(*model.eval()(torch.randn(2, 3, 16, 16)))
    assert ForwardPass(model, torch.randn(2, 3, 16, 16)).layer == "6"


@pytest.mark.parametrize("wrap", [lambda m: m, nn.DataParallel])
def test_a_head_of_zeros_in_a_wrapper_does_not_hide_the_layer(wrap):
    model = Video()
    nn.init.zeros_(model.h.weight)
    assert ForwardPass(wrap(model), torch.randn(1, 6, 3, 8, 12)).layer.endswith("f")


class Deformed(nn.Module):
    """Reads the picture where the network itself says; code in C++ does not mind what it says."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.offsets, self.features = nn.Conv2d(3, 18, 3, padding=1), DeformConv2d(3, 8, 3, 1, 1)
        self.h = nn.Linear(8, 5)
        self.eval()

    def forward(self, x):
        return self.h(self.features(x, self.offsets(x)).mean((2, 3)))


def test_watching_shows_a_network_nothing_that_code_in_cpp_crashes_on():
    x = torch.randn(2, 3, 12, 12)
    assert ForwardPass(Deformed(), x).layer == "features"


def test_the_images_that_watching_makes_leave_no_trace_in_buffers():
    class Counts(Video):
        def __init__(self):
            super().__init__()
            self.register_buffer("counted", torch.zeros(()))
            self.own, self.calls, self.lent = self.counted, 0, 0

        def forward(self, x):
            self.calls += self.counted is self.own
            self.lent += self.counted is not self.own
            self.counted.add_(1)
            return super().forward(x)

    model = Counts()
    GradCAM(model)(torch.randn(1, 6, 3, 8, 12))
    assert model.counted == model.calls == 2 and model.lent >= 2


class MixAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.queries_keys_values = nn.Linear(c, 3 * c)

    def forward(self, t):
        return F.scaled_dot_product_attention(*self.queries_keys_values(t).chunk(3, dim=2))


class ConvolvingMLP(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.up, self.dwconv, self.down = (
            nn.Linear(c, 12),
            nn.Conv2d(12, 12, 3, 1, 1),
            nn.Linear(12, c),
        )

    def forward(self, t):
        return self.down(tokens_of(self.dwconv(self.up(t).transpose(1, 2).unflatten(2, (4, 4)))))


class Residual(nn.Module):
    """t + module(t), given back in a tuple, so that the sum itself is no layer's output."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, t):
        return (t + self.module(t),)


class Branches(nn.Module):
    """As LeViT and PVTv2: an attention under another name, and a convolution inside the MLP."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.norm = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8)
        self.mixer, self.mlp = Residual(MixAttention(8)), ConvolvingMLP(8)
        self.h = nn.Linear(8, 5)
        self.eval()

    def forward(self, x):
        (t,) = self.mixer(self.norm(tokens_of(self.embed(x))))
        return self.h((t + self.mlp(t)).mean(dim=1))


def test_what_is_inside_an_attention_or_an_mlp_is_not_the_layer():
    answer = GradCAM(Branches())(torch.randn(1, 3, 16, 16), why=1)
    assert answer.layer == "norm" and "before the last attention" in answer.layer_reason


class Grids(nn.Module):
    """Attention, and behind it a layer that hands on a grid, N x C x h x w, as SegFormer's do."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.norm, self.mixer = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8), MixAttention(8)
        self.last, self.stage, self.h = nn.LayerNorm(8), nn.Conv2d(8, 8, 1), nn.Linear(8, 5)
        self.eval()

    def forward(self, x):
        t = self.norm(tokens_of(self.embed(x)))
        t = self.last(t + self.mixer(t))
        return self.h(self.stage(t.transpose(1, 2).unflatten(2, (4, 4))).mean(dim=(2, 3)))


def test_a_layer_behind_the_last_attention_is_not_said_to_be_before_it():
    answer = GradCAM(Grids())(torch.randn(1, 3, 16, 16), why=1)
    assert answer.layer == "stage" and "attention" not in answer.layer_reason


# Videos and sounds


class Video(nn.Module):
    """Reads N x T x C x H x W, as transformers for videos do."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.f, self.h = nn.Conv3d(3, 8, (2, 4, 4), (2, 4, 4)), nn.Linear(8, 5)
        self.eval()

    def forward(self, x):
        return self.h(self.f(x.transpose(1, 2)).mean(dim=(2, 3, 4)))


def test_a_video_with_its_frames_first_has_a_map_of_frames_and_not_of_colours():
    answer = GradCAM(Video())(torch.randn(2, 6, 3, 8, 12), why=1)
    assert answer.evidence.shape == (2, 1, 3, 2, 3) and answer.maps.shape == (2, 1, 6, 8, 12)


class TimeDistributed(nn.Module):
    """As in Keras: one layer for every frame, N x T x C x h x w."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.frames, self.h = Frames(), nn.Linear(8, 5)
        self.eval()

    def forward(self, x):
        return self.h(self.frames(x).mean(dim=(1, 3, 4)))


class Frames(nn.Module):
    def __init__(self):
        super().__init__()
        self.each = nn.Conv2d(3, 8, 4, 4)

    def forward(self, x):
        return self.each(x.flatten(0, 1)).unflatten(0, x.shape[:2]).relu()


@pytest.mark.parametrize("layer, grid", [("frames", (8, 6, 2, 3)), ("0", (3, 6, 8, 12))])
def test_frames_with_a_layer_for_each_have_a_map_of_frames_and_not_of_channels(layer, grid):
    model, x = TimeDistributed(), torch.randn(2, 6, 3, 8, 12)
    model = model if layer == "frames" else nn.Sequential(nn.Identity(), model)
    seen = ForwardPass(model, x, layer)
    assert seen.activations.shape == (2, *grid)
    assert torch.equal(seen.activations, seen._leaf.detach().transpose(1, 2))
    assert GradCAM(model, layer)(x).maps.shape == (2, 1, 6, 8, 12)


class FramesFolded(Video):
    """Reads each frame as an image of the batch, and gives one row of places for each video."""

    def __init__(self):
        super().__init__()
        self.f, self.norm = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8)

    def forward(self, x):
        a = self.f(x.flatten(0, 1)).unflatten(0, x.shape[:2])  # N x T x C x h x w
        return self.h(self.norm(a.permute(0, 3, 4, 1, 2).flatten(1, 3)).mean(dim=1))


def test_folded_frames_are_asked_with_the_cure_that_the_sentence_names():
    model, x = FramesFolded(), torch.randn(2, 5, 3, 8, 12)
    with pytest.raises(LayerError, match="folds views or frames.*reshape_transform=.*d x h x w"):
        GradCAM(model)(x)
    answer = GradCAM(model, "norm", lambda a: a.unflatten(1, (2, 3, 5)).permute(0, 4, 3, 1, 2))(x)
    assert answer.evidence.shape == (2, 1, 5, 2, 3) and answer.maps.shape == (2, 1, 5, 8, 12)


class PooledVideo(Video):
    """As VideoPrism: frames are read one by one, and one query pools the tokens of all of them."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, x):
        t = tokens_of(self.f(x.transpose(1, 2)).transpose(1, 2).flatten(0, 1))
        t = t + F.scaled_dot_product_attention(t, t, t)  # N T x h w x C
        t = t.unflatten(0, (len(x), -1)).flatten(1, 2)
        q = self.q(torch.ones_like(t[:, :1]))
        return self.h(F.scaled_dot_product_attention(q, self.k(t), self.v(t)).flatten(1))


def test_what_has_heard_an_attention_is_preferred_to_bare_patches():
    seen = ForwardPass(PooledVideo(), torch.randn(2, 6, 3, 8, 12))
    assert seen.layer == "v" and seen.activations.shape == (2, 8, 3, 2, 3)


class Sound(nn.Module):
    """Reads N x L, the samples alone, and adds the axis of channels itself."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.f, self.h = nn.Conv1d(1, 8, 4, 4), nn.Linear(8, 5)
        self.eval()

    def forward(self, x):
        return self.h(self.f(x[:, None]).mean(dim=2))


def test_a_sound_without_channels_has_a_map_along_its_samples():
    answer = GradCAM(Sound())(torch.randn(2, 40), why=1)
    assert answer.evidence.shape == (2, 1, 10) and answer.maps.shape == (2, 1, 40)


class Sequence(nn.Module):
    """Reads N x L x C, as transformers do, or N x C x L, which it turns."""

    def __init__(self, turn):
        super().__init__()
        torch.manual_seed(0)
        self.turn, self.up, self.norm = turn, nn.Linear(5, 8), nn.LayerNorm(8)
        self.h = nn.Linear(8, 5)
        if turn:
            self.up = nn.Conv1d(5, 8, 1)
        self.eval()

    def forward(self, x):
        t = self.norm(self.up(x).mT if self.turn else self.up(x))
        return self.h((t + F.scaled_dot_product_attention(t, t, t)).mean(dim=1))


def test_words_have_a_map_along_their_length_whatever_normalises_them():
    class Words(Sequence):
        def __init__(self):
            super().__init__(turn=False)
            self.up, self.norm = nn.Embedding(20, 8), nn.RMSNorm(8)

    answer = GradCAM(Words(), "norm")(torch.arange(24).reshape(2, 12) % 20, why=1, keep=True)
    assert answer.maps.shape == (2, 1, 12)
    assert answer.forward_pass.activations.shape == (2, 8, 12)


@pytest.mark.parametrize("turn", [False, True])
@pytest.mark.parametrize("length", [12, 3])
def test_a_sequence_with_its_channels_last_has_a_map_along_its_length(turn, length):
    x = torch.randn(2, 5, length) if turn else torch.randn(2, length, 5)
    answer = GradCAM(Sequence(turn))(x, why=1, keep=True)
    assert answer.layer == "norm" and answer.maps.shape == (2, 1, length)
    for layer in ("up", "norm"):
        assert ForwardPass(Sequence(turn), x, layer).activations.shape == (2, 8, length)


class Kept(nn.Module):
    """Keeps a layer's output by a hook of its own, as networks do that hand out hidden states."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.f, self.g, self.h = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Linear(8, 5)
        self.f.register_forward_hook(lambda _m, _i, a: setattr(self, "a", a))
        self.eval()

    def forward(self, x):
        return self.h((self.g(self.f(x)) + self.a**2).mean(dim=(2, 3)))


def test_what_a_networks_own_hook_keeps_of_the_layer_belongs_to_the_graph():
    model, x = Kept(), torch.randn(1, 3, 8, 8)
    evidence = GradCAM(model, "f")(x, why=1).evidence
    a = model.a.detach().requires_grad_()  # dy/da = (1 where a > 0, + 2 a) W / 36
    y = model.h((a.relu() + a**2).mean(dim=(2, 3)))
    (gradient,) = torch.autograd.grad(y[0, 1], a)
    right = (gradient.mean(dim=(2, 3), keepdim=True) * a.detach()).sum(dim=1, keepdim=True)
    torch.testing.assert_close(evidence, right)


def faded_in_place(a):
    a.mul_(torch.linspace(0, 1, 6))


CHANGES = {
    "another tensor": lambda a: a * torch.linspace(0, 1, 6),
    "in place": faded_in_place,
    "one of several": lambda a: a[0],
}


@pytest.mark.parametrize("kind", CHANGES)
def test_what_a_hook_makes_of_the_layers_output_is_what_is_explained(kind):
    class Layer(nn.Conv2d):
        def forward(self, x):
            a = super().forward(x)
            return (a, x) if kind == "one of several" else a

    torch.manual_seed(0)
    model, x = (
        nn.Sequential(Layer(3, 8, 3), nn.Flatten(), nn.Linear(288, 5)),
        torch.randn(1, 3, 8, 8),
    )
    model[0].register_forward_hook(lambda _m, _i, a: CHANGES[kind](a))
    kept = []
    handle = model[0].register_forward_hook(lambda _m, _i, a: kept.append(a))
    y = model(x)
    handle.remove()
    (gradient,) = torch.autograd.grad(y[0, 1], kept)
    right = (gradient.mean(dim=(2, 3), keepdim=True) * kept[0].detach()).sum(dim=1, keepdim=True)
    torch.testing.assert_close(GradCAM(model, "0")(x, why=1).evidence, right)


class Spectrogram(nn.Module):
    """Reads N x T x F, adds the axis of channels and, as audio transformers, reads it as F x T."""

    def __init__(self, turn):
        super().__init__()
        torch.manual_seed(0)
        self.turn, self.embed, self.norm = turn, nn.Conv2d(1, 8, 4, 4), nn.LayerNorm(8)
        self.first, self.h = nn.Parameter(torch.randn(1, 2, 8)), nn.Linear(8, 5)
        self.eval()

    def forward(self, x):
        t = tokens_of(self.embed((x.mT if self.turn else x)[:, None]))
        t = self.norm(torch.cat([self.first.expand(len(x), -1, -1), t], dim=1))
        return self.h((t + F.scaled_dot_product_attention(t, t, t))[:, 0])


@pytest.mark.parametrize("turn", [False, True])
@pytest.mark.parametrize("size", [(24, 8), (12, 12)])
def test_a_spectrogram_has_a_map_of_its_own_axes(turn, size):
    model, x = Spectrogram(turn), torch.randn(2, *size)
    answer = GradCAM(model)(x, why=1, keep=True)
    grid = (size[0] // 4, size[1] // 4)
    assert answer.layer == "norm" and answer.maps.shape == (2, 1, *size)
    tokens = answer.forward_pass._leaf.detach()[:, 2:].transpose(1, 2)
    right = tokens.unflatten(2, grid[::-1]).mT if turn else tokens.unflatten(2, grid)
    assert torch.equal(answer.forward_pass.activations, right)


# Traced and exported networks, and several inputs


def test_a_kept_pass_at_the_default_layer_is_asked_though_it_gave_way_to_another():
    # torch.fx keeps the family's name, but calls the parts of layer4 and not layer4 itself
    traced = torch.fx.symbolic_trace(torchvision.models.resnet18(num_classes=5).eval())
    kept = ForwardPass(traced, torch.randn(1, 3, 64, 64))
    assert kept.layer.startswith("layer4.")
    assert GradCAM(traced)(kept, why=1).layer == kept.layer
    with pytest.raises(ValueError, match="Make the two the same"):
        GradCAM(traced, "layer3.0.conv1")(kept)


def test_an_exported_network_in_a_wrapper_is_called_by_its_cause():
    x = torch.randn(1, 6, 3, 8, 12)
    exported = Lit(torch.export.export(Video(), (x,)).module())
    with pytest.raises(LayerError, match="An exported network calls no layer"):
        GradCAM(exported)(x)


def test_where_another_input_is_at_fault_the_networks_own_words_are_handed_on():
    x = torch.randn(2, 1, 16, 16), torch.full((2, 16), 100)  # the table has 100 words: 0 to 99
    with pytest.raises(ImageError, match="The network itself says: RuntimeError: "):
        GradCAM(WithText())(x)
    with pytest.raises(IndexError, match="out of range"):
        GradCAM(WithText())((torch.randn(2, 3, 16, 16), x[1]))


def test_a_dicts_entry_is_called_by_its_name_and_the_cure_works():
    x = {"x": torch.randn(6, 3, 8, 12)}
    with pytest.raises(ImageError, match="x.'x'. is 6 x 3 x 8 x 12") as error:
        GradCAM(Video())(x)
    assert "The network itself says: " in str(error.value)
    with pytest.raises(ImageError, match="return_tensors='pt'"):
        GradCAM(Video())({"x": [[0.5]]})


def test_a_sound_that_becomes_a_picture_inside_is_asked_with_the_line_of_the_sentence():
    class Folded(Spectrogram):
        def forward(self, x):
            return self.h(self.embed(x.unflatten(1, (1, 8, -1))).mean(dim=(2, 3)))

    model, x = Folded(turn=False), torch.randn(2, 96)
    with pytest.raises(LayerError, match="x is signals. .*model, .embed., resh"):
        GradCAM(model)(x)
    answer = GradCAM(model, "embed", reshape_transform=lambda a: a.mean(dim=2))(x, why=1)
    assert answer.evidence.shape == (2, 1, 3) and answer.maps.shape == (2, 1, 96)


# Layers of a known name that pool


class MobileNetV2(nn.Module):
    """Of a third library: torchvision's class name and layer, but the pooling is part of it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.output = nn.Linear(8, 5)
        self.eval()

    def forward(self, x):
        return self.output(self.features(x).flatten(1))


@pytest.mark.parametrize("wrap", [nn.Identity, nn.DataParallel])
def test_a_known_layer_that_pools_at_its_end_gives_way_to_the_last_with_places(wrap):
    model = MobileNetV2() if wrap is nn.Identity else wrap(MobileNetV2())
    assert GradCAM(model)(torch.randn(1, 3, 9, 9), why=1).layer.endswith("features.1")


class ResNet(nn.Module):
    """Somebody's own: a class name and a layer of torchvision's, with another layer after it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer4, self.layer5 = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)
        self.fc = nn.Linear(8, 5)
        self.eval()

    def forward(self, x):
        return self.fc(self.layer5(self.layer4(x)).relu().mean((2, 3)))


class VisionTransformer(nn.Module):
    """Somebody's own: the norms stand after the attention, as in the first transformers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.token = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.randn(1, 1, 8))
        layers = (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) for _ in range(2))
        self.blocks, self.head = nn.Sequential(*layers), nn.Linear(8, 5)
        self.eval()

    def forward(self, x):
        t = torch.cat([self.token.expand(len(x), -1, -1), tokens_of(self.embed(x))], dim=1)
        return self.head(self.blocks(t)[:, 0])


@pytest.mark.parametrize(("own", "layer"), [(ResNet, "layer5"), (VisionTransformer, "blocks.0")])
def test_a_network_that_only_shares_a_familys_name_is_watched(own, layer):
    answer = GradCAM(nn.Sequential(own()))(torch.randn(1, 3, 16, 16), why=1)
    assert answer.layer == f"0.{layer}" and answer.evidence.any()


class Neck(nn.Module):
    """A network of a known family, and what somebody added behind its last layer."""

    def __init__(self, neck):
        super().__init__()
        torch.manual_seed(0)
        self.body = torchvision.models.resnet18(num_classes=5)
        self.body.avgpool = self.body.fc = nn.Identity()
        self.neck, self.fc = neck, nn.Linear(512, 5)
        self.eval()

    def forward(self, x):
        grid = self.body(x).unflatten(1, (512, 2, 2))  # torchvision flattens it
        return self.fc(self.neck(grid).flatten(2).mean(dim=2))


def known(**parts):
    torch.manual_seed(0)
    model = torchvision.models.resnet18(num_classes=5)
    for name, make in parts.items():
        setattr(model, name, make(getattr(model, name)))
    return model.eval()


def pooled(*layers):
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1))


@pytest.mark.parametrize(
    ("make", "layer"),
    [
        (lambda: Neck(nn.Conv2d(512, 512, 1)), "neck"),
        (lambda: Neck(nn.Sequential(nn.BatchNorm2d(512), nn.Tanh())), "neck"),
        (lambda: Neck(torchvision.models.convnext.LayerNorm2d(512)), "neck"),
        (lambda: Neck(nn.AdaptiveAvgPool2d(1)), "body.layer4"),
        (
            lambda: known(avgpool=lambda pool: pooled(nn.Conv2d(512, 512, 1), nn.SELU())),
            "avgpool.1",
        ),
        (lambda: known(avgpool=lambda pool: pooled(nn.Tanh())), "avgpool.0"),
        (lambda: known(layer4=lambda stage: pooled(*stage)), "layer4.1"),
        (lambda: known(layer4=lambda stage: nn.Sequential(stage, nn.Tanh())), "layer4"),
        (lambda: known(fc=lambda fc: nn.Sequential(nn.Dropout(), fc, nn.Tanh())), "layer4"),
    ],
)
def test_what_was_added_behind_a_known_layer_is_explained(make, layer):
    model, x = make(), torch.randn(1, 3, 64, 64)
    kept, answer = [], GradCAM(model)(x, why=1)
    model.get_submodule(layer).register_forward_hook(lambda _m, _i, a: kept.append(a))
    (gradient,) = torch.autograd.grad(model(x)[0, 1], kept)
    evidence = (gradient.mean(dim=(2, 3), keepdim=True) * kept[0]).sum(dim=1)
    assert answer.layer == layer
    torch.testing.assert_close(answer.evidence[:, 0], evidence, rtol=1e-4, atol=1e-5)


class Fused(nn.Module):
    """A network of a known family, and a small one beside it that runs later."""

    def __init__(self):
        super().__init__()
        self.body, self.small = known(), nn.Sequential(nn.Conv2d(3, 5, 3), nn.Tanh())
        self.eval()

    def forward(self, x):
        return self.body(x) + self.small(x).mean(dim=(2, 3))


def test_an_added_layer_that_does_not_read_the_known_one_is_not_behind_it():
    assert GradCAM(Fused())(torch.randn(1, 3, 64, 64), why=1).layer == "body.layer4"


class Scaled(nn.Module):
    def forward(self, x):
        return (x - 0.5) / 0.2


def test_what_stands_before_a_known_network_in_a_sequence_needs_no_images():
    assert GradCAM(nn.Sequential(Scaled(), known())).layer == "1.layer4"


def test_a_known_family_whose_features_are_of_another_kind_is_watched():
    model = torchvision.models.vgg11(num_classes=5)
    model.features = nn.Conv2d(3, 512, 8, 8)
    assert GradCAM(model.eval())(torch.randn(1, 3, 56, 56), why=1).layer == "avgpool"


# Names of the classes


class Config:
    def __init__(self, id2label):
        self.id2label = id2label


def with_config(id2label, categories=None):
    model = Video()
    model.config = Config(id2label)
    if categories is not None:
        model.categories = categories
    return model


class Lit(nn.Module):
    """A module that trains another, as Lightning's do, beside a loss."""

    def __init__(self, model):
        super().__init__()
        self.loss, self.model = nn.CrossEntropyLoss(), model

    def forward(self, x):
        return self.model(x)


FIVE = {i: name for i, name in enumerate(["cat", "dog", "cup", "bird", "car"])}


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (with_config(FIVE), "dog"),
        (with_config({str(i): name for i, name in FIVE.items()}), "dog"),
        (with_config(FIVE, ["a", "b", "c", "d", "e"]), "b"),  # its own come first
        (nn.DataParallel(with_config(FIVE)), "dog"),
        (Lit(with_config(FIVE)), "dog"),
        (Lit(with_config({}, ["a", "b", "c", "d", "e"])), "b"),
        (
            with_config({i: f"LABEL_{i}" for i in range(5)}),
            "class 1",
        ),  # what stands there untouched
        (with_config({0: "cat", 1: "dog"}), "class 1"),  # of another head
        (Lit(with_config({}, ["a", "b"])), "class 1"),
        (with_config({"cat": "dog"}), "class 1"),
        (with_config(None), "class 1"),
    ],
)
def test_names_are_those_of_the_configuration_where_the_network_states_none(model, name):
    assert GradCAM(model)(torch.randn(1, 6, 3, 8, 12), why=1).questions == [[f"Why {name}?"]]


def test_a_class_is_asked_for_by_its_name_in_the_configuration():
    answer = GradCAM(with_config(FIVE))(torch.randn(1, 6, 3, 8, 12), why="car")
    assert answer.questions == [["Why car?"]]


class WeightedPlaces(nn.Module):
    """As in attention pooling: a softmax over all places says how much each of them counts."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.features, self.scores = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 1, 1)
        self.h = nn.Linear(8, 5)
        self.eval()

    def forward(self, x):
        a = self.features(x)
        return self.h((a * self.scores(a).flatten(2).softmax(2).view_as(a[:, :1])).sum((2, 3)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_layer_whose_gradients_cancel_over_the_places_is_not_the_layer(dtype):
    # a softmax does not change if all its inputs rise alike, so Grad-CAM's weights there are 0
    x = torch.randn(2, 3, 12, 12, dtype=dtype)
    assert ForwardPass(WeightedPlaces().to(dtype), x).layer == "features"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "over_places",
    [nn.InstanceNorm2d(8), nn.Sequential(nn.Flatten(2), nn.Softmax(2), nn.Unflatten(2, (12, 12)))],
    ids=["norm", "softmax"],
)
def test_a_named_layer_before_a_norm_over_the_places_has_its_sentence(over_places, dtype):
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), over_places, nn.Conv2d(8, 4, 3),
                          nn.ReLU(), nn.Flatten(), nn.Linear(400, 5)).eval().to(dtype)  # fmt: skip
    x = torch.randn(2, 3, 12, 12, dtype=dtype)
    with pytest.raises(LayerError, match="gradients at '0' add up to 0 over the places"):
        GradCAM(model, "0")(x, why=[1, 2])
    assert not GradCAM(model, "1")(x, why=1).empty.all()
    with torch.no_grad():
        model[5].weight.zero_()  # no gradient at all is an empty map
    assert GradCAM(model, "0")(x, why=[1, 2]).empty.all()


class TwoViews(nn.Module):
    """Two views of different sizes, each with layers of its own."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3)
        self.h = nn.Linear(16, 5)
        self.eval()

    def forward(self, x, other):
        return self.h(torch.cat([self.first(x).mean((2, 3)), self.second(other).mean((2, 3))], 1))


def test_a_map_of_another_view_is_not_enlarged_to_the_first_ones_size():
    x = torch.randn(2, 3, 12, 12), torch.randn(2, 3, 20, 16)
    seen = ForwardPass(TwoViews(), x)
    assert (seen.layer, seen.size) == ("first", (12, 12))
