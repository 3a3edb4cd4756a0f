"""The engine against others' answers: captum, finite differences, transformers by hand.

Random weights, fixed seeds, small images: what is compared are numbers, not pictures.
"""

import copy
import warnings
from collections import OrderedDict
from functools import lru_cache

import pytest
import timm
import torch
import torchvision
from captum.attr import LayerGradCam
from torch import nn

from course_utils import ForwardPass, GradCAM

QUESTIONS = [1, 5, 7]

# library, network, layer (None: the default), side of the image
CASES = [
    ("torchvision", "resnet18", None, 64),
    ("torchvision", "resnet50", None, 64),
    ("torchvision", "resnet50", "layer4.2.bn3", 64),  # `out += identity` follows
    ("torchvision", "resnet18", "layer2", 64),
    ("torchvision", "vgg16", "features.28", 64),  # an in-place ReLU follows
    ("torchvision", "densenet121", "features", 64),  # an in-place ReLU follows
    ("torchvision", "mobilenet_v2", None, 64),
    ("torchvision", "mobilenet_v3_small", None, 64),
    ("torchvision", "efficientnet_b0", None, 64),
    ("torchvision", "convnext_tiny", None, 64),
    ("torchvision", "inception_v3", None, 112),
    ("torchvision", "googlenet", None, 64),
    ("torchvision", "squeezenet1_1", None, 64),
    ("torchvision", "shufflenet_v2_x0_5", None, 64),
    ("torchvision", "mnasnet0_5", None, 64),
    ("torchvision", "regnet_y_400mf", None, 64),
    ("timm", "tf_efficientnet_lite0", None, 64),
    ("timm", "resnet10t", None, 64),
    ("timm", "mobilenetv3_small_050", None, 64),
    ("timm", "convnext_atto", None, 64),
    ("timm", "regnety_002", None, 64),
]
NAMES = [f"{name}-{layer or 'default'}-{library}" for library, name, layer, _ in CASES]


def narrow_vgg16():
    """VGG-16 with 32 hidden units in place of 4096: 16 million weights, not 138."""
    return nn.Sequential(
        OrderedDict(
            features=torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"]),
            avgpool=nn.AdaptiveAvgPool2d(7),
            flatten=nn.Flatten(),
            classifier=nn.Sequential(
                nn.Linear(25088, 32), nn.ReLU(inplace=True), nn.Linear(32, 10)
            ),
        )
    )


@lru_cache(maxsize=3)  # every test leaves its network as it was, which test_engine.py proves
def build(library, name):
    """A network of ten classes; batch norm's statistics and the head drawn, so none is zero."""
    torch.manual_seed(0)
    if library == "timm":
        model = timm.create_model(name, num_classes=10)
    elif name == "vgg16":
        model = narrow_vgg16()
    else:
        slow = {"init_weights": False} if name in ("inception_v3", "googlenet") else {}
        model = torchvision.models.get_model(name, weights=None, num_classes=10, **slow)
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and name == "vgg16":  # as torchvision draws them
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    for parameter in list(model.parameters())[-2:]:
        nn.init.normal_(parameter, std=0.1)
    return model.eval()


def images(side, n=2):
    size = (side, side) if isinstance(side, int) else side
    return torch.randn(n, 3, *size, generator=torch.Generator().manual_seed(1))


def apart(got, expected):
    """The largest difference, relative to the largest expected value, map by map."""
    error = (got - expected).abs().amax(dim=(-2, -1))
    return float((error / expected.abs().amax(dim=(-2, -1))).max())


@pytest.mark.parametrize(("library", "name", "layer", "side"), CASES, ids=NAMES)
def test_architectures_agree_with_captum_and_with_themselves(library, name, layer, side):
    model, x = build(library, name), images(side)
    seen = ForwardPass(model, x, layer)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "error"
        )  # also: torch has a batched rule for every operation of the head
        together = GradCAM(model, layer)(seen, why=QUESTIONS).evidence
    other = LayerGradCam(model, model.get_submodule(seen.layer))
    for k, c in enumerate(QUESTIONS):
        captum = other.attribute(x, target=c, relu_attributions=False).detach()
        assert apart(together[:, k : k + 1], captum) < 1e-5

    one_by_one = [
        GradCAM(model, layer)(ForwardPass(model, x, layer), why=c).evidence for c in QUESTIONS
    ]
    assert apart(together, torch.cat(one_by_one, dim=1)) < 1e-5

    by_autograd = ForwardPass(model, x, layer, reshape_transform=lambda a: a)  # no closed form
    assert apart(together, by_autograd.evidence(torch.eye(10)[QUESTIONS])) < 1e-5


def slopes(model, x, layer, direction, step=1e-5):
    """d y / d t at t = 0 when t times `direction`, one number a channel, is added everywhere."""

    def y(t):
        shift = (t * direction).view(1, -1, 1, 1)
        handle = model.get_submodule(layer).register_forward_hook(lambda _m, _i, a: a + shift)
        with torch.no_grad():
            answer = model(x)
        handle.remove()
        return answer

    return (y(step) - y(-step)) / (2 * step)


IN_PLACE = [
    ("densenet121", "features"),
    ("vgg16", "features.28"),
    ("resnet50", "layer4.2.bn3"),
    ("resnet18", "layer4.1.bn2"),
]


@pytest.mark.parametrize(("name", "layer"), IN_PLACE)
def test_in_place_operations_after_the_layer_agree_with_finite_differences(name, layer):
    model, x = copy.deepcopy(build("torchvision", name)).double(), images(64, n=1).double()
    seen = ForwardPass(model, x, layer)
    alpha = seen.weights(torch.eye(10))[0]
    direction = images((1, alpha.shape[1]), n=1)[0, 0, 0].double()
    expected = slopes(model, x, layer, direction)[0] / seen.activations[0, 0].numel()
    torch.testing.assert_close(
        alpha @ direction, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max())
    )


@pytest.mark.parametrize(("name", "layer"), IN_PLACE)
def test_activations_are_those_before_an_in_place_operation(name, layer):
    model, x = build("torchvision", name), images(64, n=1)
    kept = []
    handle = model.get_submodule(layer).register_forward_hook(
        lambda _m, _i, a: kept.append(a.clone())
    )
    with torch.no_grad():
        model(x)
    handle.remove()
    assert torch.equal(ForwardPass(model, x, layer).activations, kept[0])


# Transformers: the last layers written out, one backward pass a class, the fold written as loops


def folded(a, y, grid, first=0):
    """sum_k alpha_k A_k from tokens a, 1 x T x C, of which the grid's start at `first`."""
    h, w = grid
    maps = torch.zeros(1, y.shape[1], h, w)
    for c in range(y.shape[1]):
        (gradient,) = torch.autograd.grad(y[0, c], a, retain_graph=True)
        alpha = gradient[0, first:].mean(dim=0)
        for i in range(h):
            for j in range(w):
                maps[0, c, i, j] = alpha @ a[0, first + i * w + j].detach()
    return maps


def drawn(model, seed=0):
    """Every parameter drawn: the heads of torchvision's ViT start at zero."""
    torch.manual_seed(seed)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model.eval()


def test_torchvisions_vit_agrees_with_its_last_block_written_out():
    model = torchvision.models.VisionTransformer(
        image_size=32,
        patch_size=8,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=32,
        num_classes=4,
    )
    model, x = drawn(model), images(32, n=1)
    tokens = torch.cat([model.class_token, model._process_input(x)], dim=1)
    *before, last = model.encoder.layers
    t = tokens + model.encoder.pos_embedding
    for block in before:
        t = block(t)
    a = last.ln_1(t).detach().requires_grad_()
    t = t + last.self_attention(a, a, a, need_weights=False)[0]
    t = t + last.mlp(last.ln_2(t))
    y = model.heads(model.encoder.ln(t)[:, 0])

    seen = ForwardPass(model, x)
    assert apart(seen.evidence(torch.eye(4)), folded(a, y, (4, 4), first=1)) < 1e-5


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("vit_tiny_patch16_224", 1),
        ("deit_tiny_distilled_patch16_224", 2),
        ("vit_little_patch16_reg4_gap_256", 4),
    ],
)
def test_timms_vit_agrees_with_its_last_block_written_out_on_a_wide_image(name, prefix):
    model, x = (
        drawn(timm.create_model(name, img_size=(32, 64), depth=2, num_classes=4)),
        images((32, 64), 1),
    )
    t = model.patch_embed(x)
    t = model.norm_pre(model.patch_drop(model._pos_embed(t)))
    t = model.blocks[0](t)
    last = model.blocks[1]
    a = last.norm1(t).detach().requires_grad_()
    t = t + last.ls1(last.attn(a))
    t = t + last.ls2(last.mlp(last.norm2(t)))
    y = model.forward_head(model.norm(t))

    seen = ForwardPass(model, x)
    assert seen.activations.shape[-2:] == (2, 4)
    assert apart(seen.evidence(torch.eye(4)), folded(a, y, (2, 4), first=prefix)) < 1e-5


@pytest.mark.parametrize("size", [(32, 32), (32, 48)])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_torchvisions_swin_agrees_with_its_head_written_out(size, version):
    from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformerBlockV2

    newer = (
        {"block": SwinTransformerBlockV2, "downsample_layer": PatchMergingV2}
        if version == "v2"
        else {}
    )
    model = torchvision.models.SwinTransformer(
        [4, 4], 12, [1, 1], [2, 2], [2, 2], num_classes=4, **newer
    )
    model, x = drawn(model), images(size, n=1)
    a = model.norm(model.features(x)).detach().flatten(1, 2).requires_grad_()
    y = model.head(a.mean(dim=1))

    seen = ForwardPass(model, x)
    expected = folded(a, y, (size[0] // 8, size[1] // 8))
    assert apart(seen.evidence(torch.eye(4)), expected) < 1e-5


def test_a_layer_inside_swin_agrees_with_the_rest_written_out():
    # 8 x 8 x 12 channels last: both orders look possible, the family settles it
    model = drawn(
        torchvision.models.SwinTransformer([4, 4], 12, [1, 1], [2, 2], [2, 2], num_classes=4)
    )
    x = images(32, n=1)
    a = model.features[1](model.features[0](x)).detach().flatten(1, 2).requires_grad_()
    t = model.norm(model.features[3](model.features[2](a.unflatten(1, (8, 8)))))
    y = model.head(t.mean(dim=(1, 2)))
    seen = ForwardPass(model, x, "features.1")
    assert apart(seen.evidence(torch.eye(4)), folded(a, y, (8, 8))) < 1e-5


def test_timms_swin_agrees_with_its_head_written_out():
    model = timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=32, window_size=2, depths=(1, 1), num_heads=(2, 2),
        embed_dim=12, num_classes=4,
    )  # fmt: skip
    model, x = drawn(model), images(32, n=1)
    t = model.layers(model.patch_embed(x))
    a = model.norm(t).detach().flatten(1, 2).requires_grad_()
    y = model.head.fc(a.mean(dim=1))
    assert apart(ForwardPass(model, x).evidence(torch.eye(4)), folded(a, y, (4, 4))) < 1e-5


@pytest.mark.parametrize(
    ("library", "name", "grid"),
    [
        ("torchvision", "swin_t", (7, 7)),
        ("timm", "vit_tiny_patch16_224", (14, 14)),
        ("torchvision", "maxvit_t", (7, 7)),
        ("timm", "swin_tiny_patch4_window7_224", (7, 7)),
    ],
)
def test_transformers_in_full_size_answer_many_questions_as_one_by_one(library, name, grid):
    model, x = build(library, name), images(224, n=1)
    seen = ForwardPass(model, x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        together = GradCAM(model)(seen, why=QUESTIONS).evidence
    assert together.shape[-2:] == grid
    alone = torch.cat([GradCAM(model)(seen, why=c).evidence for c in QUESTIONS], dim=1)
    assert apart(together, alone) < 1e-5
