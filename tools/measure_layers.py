"""Measure the default layer on one network of every family of torchvision and timm.

    .venv/bin/python tools/measure_layers.py [part of a name]

For each: the layer, its grid, at how many places the gradient reaches the output, and how far the
evidence is from plain autograd with a hook. The layer passes the rule where it runs once, and both
the grid and the gradient have more than one place.
"""

import sys
import time

import timm
import torch
import torchvision
from torch import Tensor, nn

from course_utils import ForwardPass

# library, name, side of the image
NETWORKS = [
    *(("torchvision", name, 96) for name in (
        "alexnet", "vgg11", "resnet18", "wide_resnet50_2", "resnext50_32x4d", "densenet121",
        "squeezenet1_1", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny",
        "googlenet", "shufflenet_v2_x0_5", "mnasnet0_5", "regnet_y_400mf",
    )),
    ("torchvision", "inception_v3", 128),
    *(("torchvision", name, 224) for name in ("vit_b_32", "swin_t", "swin_v2_t", "maxvit_t")),
    *(("timm", name, 96) for name in (
        "resnet10t", "resnetv2_50x1_bit", "dla34", "tresnet_m", "tf_efficientnet_lite0",
        "mobilenetv3_small_050", "convnext_atto", "convnextv2_atto", "regnety_002", "nfnet_f0",
        "ghostnet_050", "hrnet_w18_small", "repvgg_a0", "cspresnet50", "res2net50_14w_8s",
        "skresnet18", "poolformer_s12", "edgenext_xx_small", "fastvit_t8", "mobileone_s0",
        "starnet_s1", "inception_next_atto", "rexnet_100", "vovnet39a", "xception41",
        "mobilenetv4_conv_small",
    )),
    ("timm", "mobilevit_xxs", 128),
    ("timm", "mobilevitv2_050", 128),
    *(("timm", name, 224) for name in (
        "vit_tiny_patch16_224", "deit3_small_patch16_224", "deit_tiny_distilled_patch16_224",
        "beit_base_patch16_224", "eva02_tiny_patch14_224", "cait_xxs24_224", "convit_tiny",
        "levit_128s", "mixer_s16_224", "resmlp_12_224", "xcit_nano_12_p16_224", "pvt_v2_b0",
        "coatnet_nano_rw_224", "swin_tiny_patch4_window7_224", "swinv2_cr_tiny_224", "nest_tiny",
        "twins_svt_small", "visformer_tiny", "volo_d1_224", "tnt_s_legacy_patch16_224",
        "pit_ti_224", "coat_tiny", "efficientformer_l1", "gmlp_s16_224", "davit_tiny",
        "focalnet_tiny_srf",
    )),
    ("timm", "crossvit_tiny_240", 240),
    ("timm", "maxvit_nano_rw_256", 256),
]  # fmt: skip
QUICK = [
    "resnet18", "squeezenet1_1", "mobilenetv3_small_050", "dla34",
    "convnext_atto", "edgenext_xx_small", "mobilevit_xxs", "eva02_tiny_patch14_224",
    "xcit_nano_12_p16_224", "pvt_v2_b0", "starnet_s1",
]  # fmt: skip


def build(library: str, name: str) -> nn.Module:
    """The network with ten classes and drawn weights."""
    torch.manual_seed(0)
    if library == "timm":
        model = timm.create_model(name, num_classes=10)
    else:
        slow = {"init_weights": False} if name in ("inception_v3", "googlenet") else {}
        model = torchvision.models.get_model(name, weights=None, num_classes=10, **slow)
    for parameter in model.parameters():  # heads and scales that begin at zero
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    return model.eval()


def plainly(model: nn.Module, x: Tensor, layer: str, shape: torch.Size, c: int) -> dict:
    """Grad-CAM of one class with a hook and one backward pass.

    Args:
        shape: N x C x h x w, as which the layer's output is read.

    Returns:
        "runs": how often the layer ran, "reached": places with a gradient, "evidence": h x w.
    """
    kept: list[Tensor] = []

    def keep(_module, _inputs, output):
        kept.append(output)
        return output.clone()

    handle = model.get_submodule(layer).register_forward_hook(keep)
    y = model(x.clone().requires_grad_())
    handle.remove()
    (gradient,) = torch.autograd.grad(y[0, c], kept[0])
    a, (_, channels, h, w) = kept[0].detach(), shape
    if a.dim() == 3:  # tokens: the grid's are the last
        a, gradient = a[:, -h * w :].transpose(1, 2), gradient[:, -h * w :].transpose(1, 2)
    elif tuple(a.shape[1:]) != (channels, h, w):
        a, gradient = a.movedim(3, 1), gradient.movedim(3, 1)
    a, gradient = a.reshape(channels, h * w), gradient.reshape(channels, h * w)
    evidence = (gradient.mean(dim=1, keepdim=True) * a).sum(dim=0).reshape(h, w)
    reached = int(gradient.ne(0).any(dim=0).sum())
    return {"runs": len(kept), "reached": reached, "evidence": evidence}


def measure(library: str, name: str, side: int) -> dict:
    """The layer by default, and what speaks for it."""
    model = build(library, name)
    x = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    seen = ForwardPass(model, x)
    plain = plainly(model, x, seen.layer, seen.activations.shape, 3)
    got = seen.evidence(torch.eye(10)[[3]])[0, 0]
    error = (got - plain["evidence"]).abs().max() / plain["evidence"].abs().max()
    grid = tuple(seen.activations.shape[2:])
    passes = plain["runs"] == 1 and grid[0] * grid[1] > 1 and plain["reached"] > 1
    return {
        "layer": seen.layer, "grid": grid, "reached": plain["reached"], "error": float(error),
        "passes": passes,
    }  # fmt: skip


def main() -> None:
    part = sys.argv[1] if len(sys.argv) > 1 else ""
    faults = 0
    for library, name, side in NETWORKS:
        if part not in name:
            continue
        start = time.perf_counter()
        try:
            m = measure(library, name, side)
        except Exception as error:
            faults += 1
            print(f"{library:11s} {name:32s} {type(error).__name__}: {error}", flush=True)
            continue
        faults += not (m["passes"] and m["error"] < 1e-4)
        print(
            f"{library:11s} {name:32s} {m['layer']:38s} grid {m['grid']} reached {m['reached']:4d} "
            f"error {m['error']:.0e} {'' if m['passes'] else 'FAILS THE RULE '}"
            f"{time.perf_counter() - start:.1f} s",
            flush=True,
        )
    print(f"{faults} faults")


if __name__ == "__main__":
    main()
