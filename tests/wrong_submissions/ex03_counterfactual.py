"""Wrong submissions to ex03_counterfactual."""

from . import Wrong

_SUM = 'torch.einsum("nk,nkij->nij", alpha, A).relu()'
_HIGHEST = "flat.topk(int(share * flat.shape[1]), dim=1).indices"
_PAIRED = "change[torch.arange(len(x)), P]"
_SCALED_AGAINST = "drawn_against * largest_against[:, None, None]"

WRONG = (
    Wrong("ex03_against", ("-gradient.mean", "gradient.mean"), 0, "you forgot to negate"),
    Wrong(
        "ex03_against",
        (
            "-gradient.mean(dim=(2, 3))\n    return " + _SUM,
            "gradient.mean(dim=(2, 3))\n    return -" + _SUM,
        ),
        0,
        "you negated *after* the ReLU",
    ),
    Wrong("ex03_against", (_SUM, _SUM.removesuffix(".relu()")), 1.5, "the ReLU is missing"),
    Wrong("ex03_against", (_SUM, _SUM.replace("relu", "abs")), 0, "this is the absolute value"),
    Wrong(
        "ex03_against",
        ("-gradient.mean(dim=(2, 3))", "(-gradient.mean(dim=(2, 3))).relu()"),
        0,
        "only the channels",
    ),
    Wrong("ex03_against", ("-gradient.mean", "-gradient.amax"), 0, "pool by the mean"),
    Wrong("ex03_against", ("-gradient.mean", "-gradient.sum"), 1.5, "this is their sum"),
    Wrong(
        "ex03_against",
        (
            "alpha, A).relu()",
            "-alpha, A).relu()\n    return (S := "
            + _SUM.replace("alpha,", "-alpha,")
            + ").amax((1, 2), keepdim=True) - S",
        ),
        0,
        "you forgot to negate",
    ),
    Wrong(
        "ex03_violations",
        (
            "gap = (map_for - map_against - S).abs().amax",
            "gap = (map_for - map_against - S).abs().mean",
        ),
        2.25,
        "the second measure is a mean",
    ),
    Wrong("ex03_violations", (".abs()", ""), 2.25, "a gap of -3 is a large one"),
    Wrong(
        "ex03_violations",
        ("(map_for - map_against - S)", "(map_for + map_against - S)"),
        1.5,
        "you added the two maps",
    ),
    Wrong(
        "ex03_violations",
        ("(map_for - map_against - S)", "(map_against - map_for - S)"),
        1.5,
        "have changed places",
    ),
    Wrong(
        "ex03_violations",
        ("(map_for * map_against)", "torch.minimum(map_for, map_against)"),
        2.25,
        "the smaller of the two",
    ),
    Wrong(
        "ex03_violations",
        ("[overlap, gap]", "[overlap.max(), gap.max()]"),
        0.9,
        "one number for the whole batch",
    ),
    Wrong("ex03_violations", ("[overlap, gap]", "[gap, overlap]"), 1.88, "in the other order"),
    Wrong(
        "ex03_rebuild",
        ("drawn_for * largest_for[:, None, None]", "drawn_for"),
        0,
        "the values are not",
    ),
    Wrong(
        "ex03_rebuild",
        ("speaks_for - speaks_against", "drawn_for - drawn_against"),
        0,
        "a whisper counts as much as a shout",
    ),
    Wrong(
        "ex03_rebuild",
        ("speaks_for - speaks_against", "speaks_for + speaks_against"),
        0,
        "Take it off",
    ),
    Wrong(
        "ex03_rebuild",
        ("speaks_for - speaks_against", "speaks_against - speaks_for"),
        0,
        "the wrong sign",
    ),
    Wrong(
        "ex03_rebuild",
        (_SCALED_AGAINST, _SCALED_AGAINST.replace("largest_against", "largest_for")),
        0,
        "on both pictures: each has its own",
    ),
    Wrong("ex03_delete", (" & (flat > 0)", ""), 1.5, "points nowhere, and yet you delete"),
    Wrong(
        "ex03_delete",
        (_HIGHEST, _HIGHEST.replace("dim=1", "dim=1, largest=False")),
        0,
        "the values are not",
        "you deleted the *lowest*",
    ),
    Wrong("ex03_delete", ("fill, x)", "x, fill)"), 0.9, "you kept what should go"),
    Wrong(
        "ex03_delete",
        (
            "torch.where(mask.view(heat.shape)[:, None], fill, x)",
            "torch.where((heat > 1 - share)[:, None], fill, x)",
        ),
        0,
        "you compared the map's *values* with the share",
    ),
    Wrong("ex03_delete", ("fill, x)", "torch.zeros_like(x), x)"), 1.5, "you put zeros in the hole"),
    Wrong(
        "ex03_change",
        ("model(x_after) - model(x)", "model(x_after).softmax(1) - model(x).softmax(1)"),
        0,
        "no softmax",
    ),
    Wrong(
        "ex03_change",
        ("model(x_after) - model(x)", "model(x) - model(x_after)"),
        0.6,
        "after minus before",
    ),
    Wrong("ex03_change", (_PAIRED, "change[:, P]"), 0.6, "pair row n with P[n]"),
    Wrong(
        "ex03_change",
        (_PAIRED, "model(x_after).amax(1) - model(x).amax(1)"),
        0,
        "you followed the predicted class",
    ),
    Wrong("ex03_change", (_PAIRED, f"{_PAIRED}.abs()"), 0.87, "keep the sign"),
    Wrong(
        "ex03_control",
        ("S[:, None]", "S.abs()[:, None]"),
        1.33,
        "the absolute value before enlarging",
    ),
    Wrong("ex03_control", ("return 1 - large", "return large"), 0.6, "Turn it round"),
    Wrong("ex03_control", (".abs()", ".relu()"), 0, "evidence against looks like none"),
    Wrong(
        "ex03_control",
        ("large.amax(dim=(1, 2), keepdim=True)", "large.max()"),
        1.67,
        "one maximum for the whole batch",
    ),
    Wrong("ex03_control", ("torch.where(largest > 0, largest, 1)", "largest"), 1.33, "NaN"),
    Wrong(
        "ex03_control",
        ("torch.where(largest > 0, largest, 1)", "largest.clamp(min=1)"),
        1.33,
        "below 1 was not divided",
    ),
    Wrong(
        "ex03_compare", ("(changes > controls)", "(changes >= controls)"), 0.75, "a tie is no win"
    ),
    Wrong("ex03_compare", ("- controls.mean()", ""), 0.75, "*minus* the control's"),
    Wrong(
        "ex03_compare",
        ("(changes.mean() - controls.mean())", "(changes.mean() - controls.mean()).abs()"),
        0.92,
        "the advantage has lost its sign",
    ),
    Wrong("ex03_compare", ("changes > controls", "controls > changes"), 0.75, "the control's wins"),
    Wrong(
        "ex03_compare",
        ("(changes > controls)", "((changes > 0) & (controls <= 0))"),
        0.75,
        "question by question",
    ),
    Wrong(
        "ex03_against", ("-gradient.mean", "gradient.mean"), 0, "S itself", also=((".relu()", ""),)
    ),
    Wrong(
        "ex03_compare",
        ("(changes > controls).float()", "100 * (changes > controls).float()"),
        0.75,
        "these are percentages",
    ),
    Wrong(
        "ex03_compare",
        (
            "(changes > controls).float().mean().item()",
            "round((changes > controls).float().mean().item(), 2)",
        ),
        0.75,
        "this is rounded",
    ),
    Wrong(
        "ex03_compare",
        ("(changes.mean() - controls.mean())", "(changes - controls).sum()"),
        0.75,
        "the sum over the questions",
    ),
    # the same slip in all lines at once
    Wrong("ex03_violations", (".amax(dim=(1, 2))", ".mean(dim=(1, 2))"), 0, "the mean", lines=2),
    Wrong("ex03_violations", (".amax(dim=(1, 2))", ".sum(dim=(1, 2))"), 1.5, "the sum", lines=2),
    Wrong("ex03_violations", (".amax(dim=(1, 2))", ".amax()"), 0.9, "N numbers", lines=2),
    Wrong("ex03_rebuild", ("[:, None, None]", "[:1, None, None]"), 0.67, "first image's", lines=2),
    Wrong("ex03_compare", ("> 0", ">= 0"), 0.5, "exactly 0 is no rise", lines=2),
    Wrong("ex03_compare", (" > ", " >= "), 0.25, "exactly 0 is no rise", lines=3),
    Wrong("ex03_compare", (".float().mean()", ".float().sum()"), 0.25, "Give shares", lines=3),
    Wrong(
        "ex03_compare",
        ("(changes > 0).float().mean()", "(changes > 0).mean()"),
        0,
        "before they are numbers",
    ),
    Wrong(
        "ex03_rebuild", ("largest_for[:, None, None]", "largest_for"), 0.67, "two axes of length 1"
    ),
    Wrong(
        "ex03_delete",
        ("mask.view(heat.shape)[:, None]", "mask.view(heat.shape)"),
        0.75,
        "length 1 for the colours",
    ),
    Wrong(
        "ex03_delete",
        ("int(share * flat.shape[1])", "share * flat.shape[1]"),
        0,
        "k is a whole number",
    ),
    # known mistakes that none of these makes
    Wrong(
        "ex03_against",
        (
            '    return torch.einsum("nk,nkij->nij", alpha, A).relu()',
            '    S = torch.einsum("nk,nkij->nij", alpha, A).relu()\n'
            "    return S / S.amax(dim=(1, 2), keepdim=True).clamp(min=1e-9)",
        ),
        1.5,
        "you divided by the maximum",
    ),
    Wrong(
        "ex03_violations",
        ("(map_for - map_against - S).abs()", "(S - map_for + map_against)"),
        2.62,
        "has lost half of its gaps",
    ),
    Wrong(
        "ex03_violations",
        ("(map_for * map_against)", "torch.maximum(map_for, map_against)"),
        1.5,
        "is the larger map, not the product",
    ),
    Wrong(
        "ex03_violations",
        ("(map_for - map_against - S)", "(map_for + map_against - S.abs())"),
        2.25,
        "compares the maps' sum with |S|",
    ),
    Wrong(
        "ex03_delete",
        ("int(share * flat.shape[1])", "round(share * flat.shape[1])"),
        2.62,
        "You rounded to the nearest whole number",
    ),
    Wrong(
        "ex03_delete",
        ("int(share * flat.shape[1])", "-int(-share * flat.shape[1] // 1)"),
        2.25,
        "You rounded up",
    ),
    Wrong("ex03_delete", ("fill, x)", "fill[:1], x)"), 1.88, "each has a fill of its own"),
    Wrong(
        "ex03_delete",
        (
            "    highest = flat.topk(int(share * flat.shape[1]), dim=1).indices\n"
            "    mask = torch.zeros_like(flat, dtype=torch.bool).scatter_(1, "
            "highest, True) & (flat > 0)\n",
            "    mask = torch.zeros_like(flat, dtype=torch.bool)\n"
            "    for one, row in zip(mask, flat):\n"
            "        one[row.topk(int(share * (row > 0).sum())).indices] = True\n",
        ),
        2.62,
        "k is a share of *all* pixels",
    ),
    Wrong(
        "ex03_change",
        ("return change[torch.arange(len(x)), P]", "return change[torch.arange(len(x)), P].mean()"),
        0.6,
        "give one number for each image",
    ),
    Wrong(
        "ex03_control",
        (
            "largest = large.amax(dim=(1, 2), keepdim=True)",
            "largest = S.abs().amax(dim=(1, 2), keepdim=True)",
        ),
        1.33,
        "largest |S| of the *small* map",
    ),
    Wrong(
        "ex03_control",
        ("align_corners=False", "align_corners=True"),
        1.33,
        "this is `align_corners=True`",
    ),
    Wrong(
        "ex03_control",
        ('mode="bilinear", align_corners=False', 'mode="nearest"'),
        1.33,
        "these are blocks",
    ),
)
