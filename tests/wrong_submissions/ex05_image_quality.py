"""Wrong submissions of assignment 5."""

from . import Wrong

_POOLED = "(weights * scores).sum(dim=1) / weights.sum(dim=1)"
_SPREAD = "maps[side].amax(dim=0) - maps[side].amin(dim=0)"

WRONG = (
    # 1. pooling
    Wrong("ex05_pool", (_POOLED, "scores.mean(dim=1)"), 0, "this is the plain mean (DIQaM)"),
    Wrong("ex05_pool", (_POOLED, "(weights * scores).sum(dim=1)"), 0, "do not add up to 1"),
    Wrong(
        "ex05_pool",
        (_POOLED, "(weights * scores).mean(dim=1)"),
        0,
        "Divide by the sum of the weights",
    ),
    Wrong(
        "ex05_pool",
        (_POOLED, "(weights.softmax(dim=1) * scores).sum(dim=1)"),
        0,
        "through a softmax",
    ),
    Wrong(
        "ex05_pool",
        (_POOLED, "(weights * scores).sum(dim=0) / weights.sum(dim=0)"),
        0,
        "that is (N,), got a tensor of shape",
    ),
    # 2. the trap
    Wrong(
        "ex05_trap",
        ("return maps / torch.where(largest > 0, largest, 1.0)", "return maps / largest"),
        1.5,
        "NaN or infinity",
    ),
    Wrong("ex05_trap", ("2 * (s - one)", "2 * (one - s)"), 0, "it is not negated"),
    Wrong(
        "ex05_trap",
        (
            "(factors[:, None, None] * evidence).relu()",
            "(factors[:, None, None] * evidence.relu()).relu()",
        ),
        0,
        "the ReLU came before the factor",
    ),
    Wrong(
        "ex05_trap",
        ("maps.amax(dim=(1, 2), keepdim=True)", "maps.max()"),
        0,
        "each map by its own maximum",
    ),
    Wrong(
        "ex05_trap",
        ("largest = maps", "return maps\n    largest = maps"),
        0,
        "not divided by their maxima",
    ),
    Wrong(
        "ex05_trap", ("* evidence).relu()", "* evidence)"), 0, "the negative part is still there"
    ),
    Wrong(
        "ex05_trap",
        ("torch.tensor([2 * (s - one) for one in q])", "2 * (s - q)"),
        0,
        "make a tensor of it",
    ),
    # 3. the trap, measured
    Wrong("ex05_proof", ("if one > s]", "if one >= s]"), 1.6, "belongs to no side"),
    Wrong(
        "ex05_proof", (_SPREAD, "maps[side] - maps[side[0]]"), 0, "take its size before the maximum"
    ),
    Wrong(
        "ex05_proof",
        (
            "        [k for k, one in enumerate(q) if one < s],\n"
            "        [k for k, one in enumerate(q) if one > s],\n",
            "        list(range(len(q))),\n",
        ),
        1.2,
        "maps from different sides of s are compared",
    ),
    Wrong("ex05_proof", ("        if side:", "        if True:"), 1.6, "nothing to compare"),
    # 4. every patch
    Wrong(
        "ex05_patches",
        ("(scores[:, None] -", "(scores.mean().expand(len(scores), 1) -"),
        0,
        "That is the trap again",
    ),
    Wrong(
        "ex05_patches",
        ("2 * (scores[:, None] - torch.tensor(q))", "2 * (torch.tensor(q) - scores[:, None])"),
        0,
        "the sign is turned round",
    ),
    Wrong("ex05_patches", ("2 * (scores", "(scores"), 1.5, "has a 2 in it"),
    Wrong(
        "ex05_patches",
        ("2 * (scores[:, None] - torch.tensor(q))", "(scores[:, None] - torch.tensor(q)) ** 2"),
        0,
        "this is the loss",
    ),
    Wrong(
        "ex05_patches",
        (
            "factors[:, :, None, None] * maps[:, None]",
            "(factors[:, :, None, None] * maps[:, None]).relu()",
        ),
        0,
        "the answer is signed",
    ),
    # 5. laid back
    Wrong("ex05_lay_back", ("total / count.clamp(min=1)", "total"), 1, "you have their sum"),
    Wrong(
        "ex05_lay_back",
        ("left : left + side] += patch", "left : left + side] = patch"),
        1,
        "the last patch covers",
    ),
    Wrong("ex05_lay_back", ("count.clamp(min=1)", "count"), 1.5, "NaN or infinity"),
    Wrong(
        "ex05_lay_back",
        ("total / count.clamp(min=1)", "total / len(maps)"),
        0,
        "divided by the number of patches",
    ),
    Wrong("ex05_lay_back", ("for (top, left), patch", "for (left, top), patch"), 0, "rows"),
    # 6. drawn
    Wrong(
        "ex05_picture",
        ("largest = evidence.abs().max()", "largest = evidence.max()"),
        0,
        "take magnitudes",
    ),
    Wrong("ex05_picture", ("red, blue =", "blue, red ="), 0, "the colours are turned round"),
    Wrong(
        "ex05_picture",
        (
            "largest = evidence.abs().max()",
            "evidence = evidence.relu()\n    largest = evidence.abs().max()",
        ),
        0,
        "the blue is missing",
    ),
    Wrong("ex05_picture", (" if largest > 0 else evidence", ""), 1.5, "NaN or infinity"),
    Wrong(
        "ex05_picture",
        (
            "v = evidence / largest if largest > 0 else evidence",
            "v = evidence / evidence.abs().amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)",
        ),
        1,
        "one scale for all",
    ),
    # 7. found
    Wrong(
        "ex05_find", ("(-evidence).relu()", "evidence.relu()"), 0, "this window holds the score up"
    ),
    Wrong("ex05_find", ("(-evidence).relu()", "-evidence"), 0, "must not make up for a fault"),
    Wrong(
        "ex05_find",
        ("sums.shape[1]))", "sums.shape[1]))[::-1]"),
        0,
        "rows and columns have changed places",
    ),
    Wrong(
        "ex05_find",
        ("sums = pulls.unfold(0, height, 1).unfold(1, width, 1).sum(dim=(2, 3))", "sums = pulls"),
        0,
        "one lowest pixel",
    ),
    Wrong(
        "ex05_find",
        ('        return "nowhere"', "        return [0, 0]"),
        2.25,
        'the answer is "nowhere"',
    ),
    # the same slip in all lines at once
    Wrong("ex05_lay_back", ("+= ", "= "), 1, "the last patch covers", lines=2),
    Wrong(
        "ex05_proof",
        ("one < s", "one <= s"),
        1.6,
        "belongs to no side",
        also=(("one > s", "one >= s"),),
    ),
    Wrong("ex05_find", ("(-evidence).relu()", "evidence.abs()"), 0, "of *any* sign"),
    Wrong("ex05_find", ("(-evidence).relu()", "evidence.square()"), 0, "squares lose the sign"),
    Wrong("ex05_find", ('return "nowhere"', "return None"), 2.25, "the answer is a string"),
    Wrong(
        "ex05_trap",
        ("torch.where(largest > 0, largest, 1.0)", "largest.clamp(min=1)"),
        0.75,
        "lies below 1 was not divided",
    ),
    Wrong(
        "ex05_patches",
        ("(scores[:, None] - torch.tensor(q))", "(scores[:, None] - q)"),
        0,
        "make a tensor of it",
    ),
    Wrong(
        "ex05_patches",
        ("factors[:, :, None, None] * maps[:, None]", "factors * maps"),
        0,
        "the same four axes",
    ),
    Wrong(
        "ex05_find",
        (
            "return list(divmod(sums.argmax().item(), sums.shape[1]))",
            "return [1 + n for n in divmod(sums.argmax().item(), sums.shape[1])]",
        ),
        0,
        "you count from 1",
    ),
    Wrong("ex05_find", ('return "nowhere"', "return []"), 2.25, "expected a string"),
    # known mistakes that none of these makes
    Wrong(
        "ex05_picture",
        (
            "return torch.stack([red, 1 - v.abs(), blue], dim=-1)",
            "return 255 * torch.stack([red, 1 - v.abs(), blue], dim=-1)",
        ),
        1,
        "the colours run from 0 to 255 here",
    ),
    Wrong(
        "ex05_picture", ("blue], dim=-1)", "blue], dim=1)"), 1, "the axis of the colours comes last"
    ),
    Wrong(
        "ex05_proof",
        (
            "spread = maps[side].amax(dim=0) - maps[side].amin(dim=0)\n"
            "            largest = max(largest, spread.max().item())",
            "largest = max(largest, (maps[side] - maps[side[0]]).abs().max().item())",
        ),
        1.6,
        "with the first one of its side only",
    ),
    Wrong(
        "ex05_proof",
        (
            "spread = maps[side].amax(dim=0) - maps[side].amin(dim=0)\n"
            "            largest = max(largest, spread.max().item())",
            "largest = max(largest, (maps[side][1:] - "
            "maps[side][:-1]).abs().amax().item() if len(side) > 1 else 0.0)",
        ),
        1.2,
        "you compared neighbours only",
    ),
    Wrong(
        "ex05_proof",
        (
            "spread = maps[side].amax(dim=0) - maps[side].amin(dim=0)\n"
            "            largest = max(largest, spread.max().item())",
            "largest = max([largest, *((maps[a] - maps[b]).max().item() for a in "
            "side for b in side if a < b)])",
        ),
        1.6,
        "take its size before the maximum",
    ),
)
