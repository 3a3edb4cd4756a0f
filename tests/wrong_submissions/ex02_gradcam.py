"""Wrong submissions to ex02_gradcam."""

from . import Wrong

_ASKED = "y[torch.arange(len(x)), c].sum()"
_GRADIENT = "(gradient,) = torch.autograd.grad(asked, kept[0])"
_ENLARGE = 'F.interpolate(S.relu()[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]'
_LARGEST = "largest = large.amax(dim=(1, 2), keepdim=True)"
_DIVIDE = "return large / torch.where(largest > 0, largest, 1)"

WRONG = (
    Wrong(
        "ex02_capture",
        ("return output.clone()", "pass"),
        3,
        "the layer after this one works *in place*",
    ),
    Wrong(
        "ex02_capture",
        ("kept.append(output)\n        return output.clone()", "kept.append(output.clone())"),
        0,
        "Let the hook *return* the tensor that it keeps",
    ),
    Wrong(
        "ex02_capture",
        (
            "kept.append(output)\n        return output.clone()",
            "kept.extend([output.clone(), output])\n        kept[0].detach_()",
        ),
        0,
        "The graph is cut",
    ),
    Wrong(
        "ex02_capture",
        ("y = model(x)", "y = model(x).softmax(dim=1)"),
        0,
        "no softmax before the gradient",
    ),
    Wrong("ex02_capture", (_ASKED, "y[:, c].sum()"), 1, "the classes of *all* images"),
    Wrong(
        "ex02_capture",
        (_ASKED, "y.max(dim=1).values.sum()"),
        0,
        "you asked about the predicted class",
    ),
    Wrong("ex02_capture", (_ASKED, "y.sum()"), 0, "no class at all"),
    Wrong("ex02_capture", (".sum()", ".mean()"), 2.5, "divides every gradient by N"),
    Wrong("ex02_capture", ("c].sum()", "c]"), 1, "Autograd starts from one number"),
    Wrong(
        "ex02_capture",
        ("return [kept[0].detach(), gradient]", "return [gradient, kept[0]]"),
        2,
        "in the other order",
    ),
    Wrong(
        "ex02_capture",
        (_GRADIENT, "kept[0].retain_grad()\n    asked.backward()\n    gradient = kept[0].grad"),
        3,
        "`backward()` writes a gradient into every parameter",
    ),
    Wrong(
        "ex02_capture",
        ("kept[0].detach(), gradient]", "kept[0].detach(), None]"),
        0,
        "`.grad` stays empty",
    ),
    Wrong(
        "ex02_capture",
        ("handle.remove()", "handle.remove()\n    model.requires_grad_(False)"),
        0,
        "`requires_grad` of the network's parameters",
    ),
    Wrong(
        "ex02_weights",
        ("gradient.mean(dim=(2, 3))", "gradient.amax(dim=(2, 3))"),
        0,
        "the *maximum* over the places",
    ),
    Wrong("ex02_weights", ("mean(dim=(2, 3))", "sum(dim=(2, 3))"), 1, "the *sum* over the places"),
    Wrong("ex02_weights", ("dim=(2, 3)", "dim=1"), 0, "you averaged over the channels"),
    Wrong("ex02_weights", ("dim=(2, 3)", "dim=(0, 2, 3)"), 0, "averaged over the batch as well"),
    Wrong(
        "ex02_weights",
        ("gradient.mean", "gradient.relu().mean"),
        0,
        "cut the negative gradients off",
    ),
    Wrong(
        "ex02_evidence",
        ('torch.einsum("nk,nkij->nij", alpha, A)', "(alpha[:, :, None, None] * A).mean(dim=1)"),
        1.25,
        "this is the *mean* over the channels",
    ),
    Wrong("ex02_evidence", ("alpha, A)", "alpha, A).relu()"), 1, "no ReLU yet"),
    Wrong(
        "ex02_evidence",
        (
            'torch.einsum("nk,nkij->nij", alpha, A)',
            "(alpha[:, :, None, None] * A).relu().sum(dim=1)",
        ),
        0.25,
        "*before* the sum",
    ),
    Wrong("ex02_evidence", ("alpha, A)", "alpha, A.relu())"), 1.5, "negative activations are gone"),
    Wrong("ex02_evidence", ("->nij", "->ij"), 0, "you summed over the images as well"),
    Wrong("ex02_evidence", ("alpha, A)", "alpha.abs(), A)"), 0, "lost their sign"),
    Wrong(
        "ex02_evidence",
        ('torch.einsum("nk,nkij->nij", alpha, A)', "(alpha * A).sum(1)"),
        0,
        "two axes of length 1",
    ),
    Wrong(
        "ex02_weights",
        ("dim=(2, 3))", "dim=(2, 3)).squeeze()"),
        1.33,
        "the axis of the images is missing",
    ),
    Wrong(
        "ex02_capture",
        ("[kept[0].detach(), gradient]", "gradient"),
        0,
        "expected a list of 2, got a tensor",
    ),
    Wrong(
        "ex02_map",
        (
            'S.relu()[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]',
            'S[:, None], size=size, mode="bilinear", align_corners=False)[:, 0].relu()',
        ),
        0,
        "you enlarged first and cut at zero afterwards",
    ),
    Wrong(
        "ex02_map",
        ("align_corners=False", "align_corners=True"),
        1.88,
        "`align_corners=True`, which stretches",
    ),
    Wrong("ex02_map", (_LARGEST, "largest = large.max()"), 2.25, "one maximum for the whole batch"),
    Wrong(
        "ex02_map", (_DIVIDE, "return large / largest"), 1.5, "your answer holds NaN or infinity"
    ),
    Wrong("ex02_map", (_DIVIDE, "return large"), 1.88, "the division is missing"),
    Wrong(
        "ex02_map",
        ("torch.where(largest > 0, largest, 1)", "largest.clamp(min=1)"),
        2.62,
        "lies below 1 was not divided",
    ),
    Wrong(
        "ex02_map",
        (_LARGEST, "largest = large.max(dim=(1, 2), keepdim=True)"),
        0,
        "`amax` returns the values alone",
    ),
    Wrong(
        "ex02_map", ("size=size", "size=size[::-1]"), 0.75, "height and width have changed places"
    ),
    Wrong(
        "ex02_map",
        ('mode="bilinear", align_corners=False', 'mode="nearest"'),
        1.88,
        "the nearest place, repeated",
    ),
    Wrong("ex02_map", ("S.relu()", "S.abs()"), 0, "ReLU, not the absolute value"),
    Wrong(
        "ex02_overlay",
        ("a = (opacity * heat)[..., None]", "a = opacity"),
        0,
        "the same opacity everywhere",
    ),
    Wrong(
        "ex02_overlay", ("(1 - a) * image", "image"), 0.6, "without taking any of the photo away"
    ),
    Wrong(
        "ex02_overlay",
        ("(1 - a) * image + a * colour", "a * image + (1 - a) * colour"),
        0,
        "the photo stays where",
    ),
    Wrong("ex02_overlay", ("[..., None]", ""), 0, "give it one of length 1"),
    Wrong("ex02_overlay", ("(opacity * heat)", "heat"), 1, "the opacity is missing"),
    Wrong("ex02_pipeline", ("dim=1", "dim=0"), 1.25, "layers and images have changed places"),
    Wrong(
        "ex02_pipeline",
        ("model, layer_name, x, c)\n", "model, layer_names[0], x, c)\n"),
        0.5,
        "use each name of the list",
    ),
    Wrong(
        "ex02_pipeline",
        ("model, layer_name, x, c)\n", "model, layer_name, x, model(x).argmax(1).tolist())\n"),
        0,
        "maps of the predicted class",
    ),
    Wrong(
        "ex02_pipeline",
        ("channel_weights(gradient)", "gradient.amax(dim=(2, 3))"),
        0,
        "not the maximum",
    ),
    Wrong(
        "ex02_pipeline",
        (
            "A, gradient = activations_and_gradients(model, layer_name, x, c)",
            "kept = []\n        model.get_submodule(layer_name).register_forward_hook("
            "lambda m, i, o, kept=kept: (kept.append(o), o.clone())[1])\n"
            "        y = model(x)[torch.arange(len(x)), c].sum()\n"
            "        A, gradient = kept[0].detach(), torch.autograd.grad(y, kept[0])[0]",
        ),
        0,
        "a hook is still on the network",
    ),
    Wrong(
        "ex02_share",
        ("top:bottom, left:right", "left:right, top:bottom"),
        0,
        "rows and columns have changed places",
    ),
    Wrong(
        "ex02_share",
        ("top:bottom, left:right", "top : bottom + 1, left : right + 1"),
        1.25,
        "just *outside* the box",
    ),
    Wrong(
        "ex02_share",
        ("torch.where(total > 0, total, 1)", "total.clamp(min=1)"),
        1.75,
        "a faint map",
    ),
    Wrong("ex02_share", ("maps.relu()", "maps"), 1.65, "negative places are counted"),
    Wrong(
        "ex02_share",
        ("total = positive.sum(dim=(1, 2))", "total = positive.sum()"),
        0.95,
        "each map is its own whole",
    ),
    Wrong(
        "ex02_share",
        (
            ".sum(dim=(1, 2))\n    total = positive.sum(dim=(1, 2))",
            ".mean(dim=(1, 2))\n    total = positive.mean(dim=(1, 2))",
        ),
        0.95,
        "compares the two *sums*",
    ),
    Wrong(
        "ex02_share", ("torch.where(total > 0, total, 1)", "total"), 1.5, "your answer holds NaN"
    ),
    # the same slip in all lines at once
    Wrong("ex02_share", (".sum(dim=(1, 2))", ".mean(dim=(1, 2))"), 0.95, "mean inside", lines=2),
    Wrong("ex02_share", (".sum(dim=(1, 2))", ".sum()"), 0, "that is (N,), got", lines=2),
    Wrong(
        "ex02_share",
        ("maps.relu()", "maps"),
        1.65,
        "negative places are counted",
        also=(("where(total > 0, total", "where(total != 0, total"),),
    ),
    # known mistakes that none of these makes
    Wrong(
        "ex02_weights",
        ("dim=(2, 3)", "dim=(2, 3), keepdim=True"),
        1,
        "Drop the two axes of length 1",
    ),
    Wrong(
        "ex02_evidence",
        ('"nk,nkij->nij"', '"nk,nkij->nkij"'),
        0.6,
        "still have to be summed over the channels",
    ),
    Wrong(
        "ex02_map",
        ("large.amax(dim=(1, 2), keepdim=True)", "S.amax(dim=(1, 2), keepdim=True)"),
        1.88,
        "maximum of the *small* map",
    ),
    Wrong(
        "ex02_map",
        (
            "return large / torch.where(largest > 0, largest, 1)",
            "return (large / torch.where(largest > 0, largest, 1))[:, None]",
        ),
        1.5,
        "drop the axis of length 1: expected (N, H, W)",
    ),
    Wrong(
        "ex02_overlay",
        ("(1 - a) * image + a * colour", "(image + a * colour).clamp(max=1)"),
        0.6,
        "cut the sum at 1",
    ),
    Wrong(
        "ex02_overlay",
        ("(1 - a) * image + a * colour", "255 * ((1 - a) * image + a * colour)"),
        1,
        "the colours run from 0 to 255 here",
    ),
    Wrong(
        "ex02_overlay",
        ("(1 - a) * image", "(1 - opacity) * image"),
        0.6,
        "the colour is faded a second time",
    ),
    Wrong(
        "ex02_pipeline",
        (
            "return torch.stack(maps, dim=1)",
            "maps = torch.stack(maps, dim=1)\n"
            "    return maps / maps.amax(dim=(1, 2, 3), keepdim=True)",
        ),
        1.25,
        "each map has its own maximum",
        also=(
            (
                "maps.append(drawn_map(S, x.shape[-2:]))",
                "maps.append(F.interpolate(S.relu()[:, None], size=x.shape[-2:], "
                "mode='bilinear', align_corners=False)[:, 0])",
            ),
        ),
    ),
)
