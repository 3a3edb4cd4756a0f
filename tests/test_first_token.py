"""Heads that read the first token only are run for it alone: the same answers, in less time."""

import copy

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from course_utils import ContrastCAM, ForwardPass

SMALL = {"image_size": 32, "patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 16,
         "mlp_dim": 32, "num_classes": 12}  # fmt: skip
TIMM = {"img_size": 32, "patch_size": 8, "depth": 2, "num_heads": 2, "embed_dim": 16,
        "num_classes": 12}  # fmt: skip


class Both(nn.Module):
    """A ViT whose head reads a patch, too, and hides NaN."""

    def __init__(self, hides=False):
        super().__init__()
        self.vit, self.hides = timm.create_model("vit_tiny_patch16_224", **TIMM), hides

    def forward(self, x):
        tokens = self.vit.forward_features(x)
        other = tokens[:, 3].nan_to_num() if self.hides else tokens[:, 3]
        return self.vit.head(tokens[:, 0] + other)


class Refusing(Both):
    """It reads the class token alone, but bears no NaN in others."""

    def forward(self, x):
        tokens = self.vit.forward_features(x)
        if tokens.isnan().any():
            raise FloatingPointError("a token is NaN")
        return self.vit.head(tokens[:, 0])


def weighing():
    """Its last attention gives the weights, too, as those do that are drawn."""
    model = torchvision.models.VisionTransformer(**SMALL)
    attention = model.encoder.layers[-1].self_attention
    plain = attention.forward
    attention.forward = lambda q, k, v, need_weights: plain(q, k, v, need_weights=True)
    return model


MAKE = {
    "torchvision": lambda: torchvision.models.VisionTransformer(**SMALL),
    "timm": lambda: timm.create_model("vit_tiny_patch16_224", **TIMM),
    "layer scale": lambda: timm.create_model("vit_tiny_patch16_224", init_values=0.5, **TIMM),
    "registers": lambda: timm.create_model("vit_tiny_patch16_224", reg_tokens=2, **TIMM),
    "mean of patches": lambda: timm.create_model(
        "vit_tiny_patch16_224", global_pool="avg", class_token=False, **TIMM
    ),
    "two tokens read": lambda: timm.create_model("deit_tiny_distilled_patch16_224", **TIMM),
    "a patch read": Both,
    "a patch read, NaN hidden": lambda: Both(hides=True),
    "NaN refused": Refusing,
    "attention with weights": weighing,
}
SHORT = ["torchvision", "timm", "layer scale", "registers", "two tokens read"]


def drawn(name):
    """Every weight drawn: fresh ViTs have heads and biases of zeros, which answer nothing."""
    torch.manual_seed(0)
    model = MAKE[name]().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def images(n=2, side=32):
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(2))


def plain_evidence(model, seen, x, v):
    """S by a hook of the test's own, one backward pass a question."""
    kept = []
    module = model.get_submodule(seen.layer)
    handle = module.register_forward_hook(lambda _m, _i, out: kept.append(out))
    y = model(x)
    handle.remove()
    a, places = kept[0], seen.activations[0, 0].numel()
    maps = []
    for one in v:
        (gradient,) = torch.autograd.grad((y * one).sum(), a, retain_graph=True)
        alpha = gradient[:, -places:].mean(dim=1, keepdim=True)
        maps.append((alpha * a.detach()[:, -places:]).sum(dim=2))
    return y.detach(), torch.stack(maps, dim=1).unflatten(2, seen.activations.shape[2:])


def agree(model, x, count=10, layer=None):
    v = torch.randn(count, 12, generator=torch.Generator().manual_seed(3))
    seen = ForwardPass(model, x, layer)
    y, expected = plain_evidence(model, seen, x, v)
    torch.testing.assert_close(seen.logits, y, rtol=1e-4, atol=1e-5)
    scale = float(expected.abs().max())
    torch.testing.assert_close(seen.evidence(v), expected, rtol=0, atol=1e-5 * scale)
    return seen


@pytest.mark.parametrize("name", MAKE)
def test_the_answers_are_those_of_plain_autograd_at_the_first_pass_and_later(name):
    model = drawn(name)
    for count in (1, 10):
        assert (agree(model, images(), count)._shift is not None) == (name in SHORT)


def test_a_wrapped_network_is_answered_the_same_way():
    model = drawn("timm")
    wrapped = nn.Sequential(nn.Identity(), model)
    assert agree(wrapped, images())._shift is not None
    want = ForwardPass(model, images()).class_maps()
    torch.testing.assert_close(ForwardPass(wrapped, images()).class_maps(), want)


class Prompted(nn.Module):
    """Learned prompts stand behind the patches; the attention is almost even."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.vit = timm.create_model("vit_tiny_patch16_224", **TIMM)
        self.prompts = nn.Parameter(torch.randn(1, 5, 16))
        self.eval()

    def forward(self, x):
        tokens = self.vit._pos_embed(self.vit.patch_embed(x))
        tokens = torch.cat([tokens, self.prompts.expand(len(x), -1, -1)], dim=1)
        return self.vit.head(self.vit.norm(self.vit.blocks(tokens))[:, 0])


def test_learned_tokens_behind_the_patches_are_no_patches():
    model, x, kept = Prompted(), images(), []
    nn.init.normal_(model.vit.head.weight)
    nn.init.normal_(model.vit.blocks[1].attn.qkv.weight, std=0.005)
    seen = ForwardPass(model, x)
    model.get_submodule(seen.layer).register_forward_hook(lambda _m, _i, out: kept.append(out))
    (gradient,) = torch.autograd.grad(model(x)[:, 3].sum(), kept)
    g, a = gradient[:, 1:17], kept[0].detach()[:, 1:17]
    expected = (g.mean(dim=1, keepdim=True) * a).sum(dim=2).unflatten(1, (4, 4))
    found = seen.evidence(torch.eye(12)[3:4])[:, 0]
    assert seen._shift is None
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_gradients_at_every_place_are_the_plain_ones():
    model, v = drawn("timm"), torch.eye(12)
    ForwardPass(model, images())
    seen = ForwardPass(model, images())
    plain = ForwardPass(model, images(), reshape_transform=seen._reshape_transform)
    assert seen._shift is not None and plain._shift is None
    torch.testing.assert_close(seen.gradients(v), plain.gradients(v), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "layer"), [("timm", "blocks.0"), ("torchvision", "encoder.layers.encoder_layer_0")]
)
def test_a_layer_that_is_also_added_further_on(name, layer):
    assert agree(drawn(name), images(), layer=layer)._shift is not None


@pytest.mark.parametrize("name", ["timm", "two tokens read"])
def test_what_was_found_out_is_remembered(name):
    model, runs = drawn(name), []
    model.register_forward_hook(lambda *_: runs.append(1))
    for _ in range(3):
        ForwardPass(model, images())
    assert len(runs) == 4  # twice at the first pass


def test_a_default_device_of_the_session_does_not_matter():
    model, x = drawn("timm"), images()
    torch.set_default_device("meta")
    try:
        seen = ForwardPass(model, x)
    finally:
        torch.set_default_device(None)
    assert seen._shift is not None


def test_an_earlier_layer_takes_the_plain_way():
    """A second attention follows it: that reads all tokens."""
    model = drawn("timm")
    seen = ForwardPass(model, images(), "blocks.0.norm1")
    plain = ForwardPass(model, images(), "blocks.0.norm1", seen._reshape_transform)
    assert seen._shift is None
    torch.testing.assert_close(seen.class_maps(), plain.class_maps())


def test_half_precision_takes_the_plain_way():
    seen = ForwardPass(drawn("timm").bfloat16(), images().bfloat16())
    assert seen._shift is None and seen.class_maps().isfinite().all()


def test_a_head_that_changes_between_two_passes_is_noticed():
    """NaN stands where the mean now reads."""
    model = drawn("timm")
    assert agree(model, images())._shift is not None
    model.global_pool = "avg"
    assert agree(model, images())._shift is None


def test_another_image_size_is_learnt_anew():
    model = copy.deepcopy(drawn("timm"))
    model.patch_embed.strict_img_size, model.dynamic_img_size = False, True
    model.patch_embed.flatten, model.patch_embed.output_fmt = False, "NHWC"
    for side in (32, 48, 32):
        assert agree(model, images(side=side))._shift is not None


def test_nothing_is_left_switched_on():
    model = drawn("torchvision")
    for _ in range(2):
        ContrastCAM(model)(images(), rather_than=[1, 2])
    assert torch.overrides._get_current_function_mode_stack() == []


def test_a_question_multiplies_a_fraction_of_the_numbers():
    model = drawn("timm")
    counts = []
    for reshape_transform in (None, None, ForwardPass(model, images())._reshape_transform):
        seen = ForwardPass(model, images(), reshape_transform=reshape_transform)
        with FlopCounterMode(display=False) as counter:
            seen.weights(torch.ones(1, 12))
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] < counts[2] / 8
