"""Wrong submissions of assignment 6."""

from . import Wrong

_DISTANCE = "double().square().sum(dim=1).min().sqrt()"
_SORT = "argsort(descending=True, stable=True)"
_HEIGHTS = "(relative[:, 1:] + relative[:, :-1]) / 2"
_RANKS = "average_ranks(one.flatten())"

WRONG = (
    # 1. pointing
    Wrong("ex06_pointing", ("one_map.max() <= 0 or ", ""), 2.25, "An empty map is a miss"),
    Wrong(
        "ex06_pointing",
        ("one_map.argmax()", "one_map.abs().argmax()"),
        1.5,
        "largest absolute value",
    ),
    Wrong(
        "ex06_pointing", (_DISTANCE, "abs().amax(dim=1).min()"), 1.88, "your tolerance is a square"
    ),
    Wrong(
        "ex06_pointing", ("distance <= tolerance", "distance < tolerance"), 0.75, "is a hit, too"
    ),
    Wrong(
        "ex06_pointing",
        ("distance <= tolerance", "distance <= 0"),
        1.31,
        "you leave the tolerance aside",
    ),
    Wrong(
        "ex06_pointing",
        ("one_map.shape[1]", "one_map.shape[0]"),
        0,
        "rows and columns are mixed up",
    ),
    Wrong(
        "ex06_pointing",
        ("one_map.shape[1]))", "one_map.shape[1])[::-1])"),
        0,
        "a place is (row, column)",
    ),
    Wrong("ex06_pointing", ("return hits", "return hits.mean()"), 0, "Give one for every image"),
    Wrong("ex06_pointing", (_DISTANCE, "abs().sum(dim=1).min()"), 1.88, "the way a taxi drives"),
    # 2. deletion
    Wrong(
        "ex06_deletion",
        ("descending=True", "descending=False"),
        0,
        "with the LOWEST evidence go first",
    ),
    Wrong("ex06_deletion", ("y[:, P] - y[:, Q]", "y[:, P]"), 1, "The question names Q as well"),
    Wrong("ex06_deletion", ("y[:, P] - y[:, Q]", "y[:, Q] - y[:, P]"), 1, "the sign is wrong"),
    Wrong(
        "ex06_deletion",
        ("network(pictures)", "network(pictures).softmax(dim=1)"),
        1,
        "not of probabilities",
    ),
    Wrong("ex06_deletion", ("blurred, x) for", "x, blurred) for"), 0, "called insertion"),
    Wrong(
        "ex06_deletion", ("rank < count, blurred", "rank < count, 0 * x"), 0, "A hole is a shape"
    ),
    Wrong("ex06_deletion", (_SORT, "argsort(stable=True).flip(0)"), 2.67, "sort with stable=True"),
    Wrong(
        "ex06_deletion",
        ("rank[order] = torch.arange(len(order))", "rank = order"),
        0,
        "the rank is its inverse",
    ),
    # 3. the area
    Wrong("ex06_area", (_HEIGHTS, "relative"), 1, "count half (trapezoids)"),
    Wrong("ex06_area", ("kept / kept[:, :1]", "kept"), 1, "by that of its own first step"),
    Wrong(
        "ex06_area",
        ("margins[margins[:, 0] > 0]", "margins"),
        1,
        "whose margin begins above 0",
    ),
    Wrong(
        "ex06_area",
        ("heights.mean()", "heights.sum(dim=1).mean()"),
        1,
        "divide by the number of intervals",
    ),
    Wrong("ex06_area", ("kept[:, :1]", "kept.amax(dim=1, keepdim=True)"), 1, "not by the largest"),
    # 4. how alike
    Wrong("ex06_alike", (_RANKS, "one.flatten()"), 0, "Spearman's is that of their ranks"),
    Wrong(
        "ex06_alike",
        (_RANKS, "one.flatten().argsort(stable=True).argsort().double()"),
        1.5,
        "share their mean rank",
    ),
    Wrong(
        "ex06_alike",
        ("        a, b = a - a.mean(), b - b.mean()\n", ""),
        0,
        "take the mean of the ranks away",
    ),
    Wrong("ex06_alike", ("if size > 0:", "if True:"), 2.25, "NaN"),
    Wrong(
        "ex06_alike",
        ("(a @ b) / size", "((a @ b) / size).abs()"),
        1.31,
        "A map that has turned over",
    ),
    Wrong(
        "ex06_alike",
        (_RANKS, "one.flatten().argsort().argsort().double()"),
        1.5,
        "share their mean rank",
    ),
    # 5. the verdict
    Wrong(
        "ex06_verdict",
        ('scores[name]["randomised"] > limit', 'abs(scores[name]["randomised"]) > limit'),
        1.8,
        "mind the sign",
    ),
    Wrong(
        "ex06_verdict",
        ('-scores[name]["pointing"]', 'scores[name]["pointing"]'),
        2,
        "the one with the fewest hits",
    ),
    Wrong(
        "ex06_verdict", ('scores[name]["area"])', '-scores[name]["area"])'), 2.8, "lower is better"
    ),
    Wrong(
        "ex06_verdict",
        ("for name in scores if name not in network", "for name in scores"),
        1.8,
        "one list at most",
    ),
    Wrong(
        "ex06_verdict",
        ('(-scores[name]["pointing"], scores[name]["area"])', '-scores[name]["pointing"]'),
        2.8,
        "lower is better",
    ),
    Wrong("ex06_pointing", ("one_map.max() <= 0", "one_map.max() == 0"), 2.62, "An empty map is"),
    Wrong("ex06_verdict", (", default=None", ""), 2.4, "Can it be that no method is left?"),
    # the same slip in all lines at once
    Wrong("ex06_verdict", ("> limit", ">= limit"), 2.4, "is not above it", lines=2),
    Wrong("ex06_verdict", ("sorted(", "list("), 2.8, "not sorted", lines=2),
    Wrong(
        "ex06_verdict",
        ('scores[name]["randomised"] >', 'abs(scores[name]["randomised"]) >'),
        1.8,
        "mind the sign",
        also=(('scores[name]["other Q"] >', 'abs(scores[name]["other Q"]) >'),),
    ),
    Wrong(
        "ex06_verdict",
        ('scores[name]["randomised"] >', 'scores[name]["randomised"] <'),
        0,
        "did notice",
        also=(('scores[name]["other Q"] >', 'scores[name]["other Q"] <'),),
    ),
    Wrong(
        "ex06_verdict",
        ('(-scores[name]["pointing"], scores[name]["area"])', 'scores[name]["area"]'),
        2.8,
        "hits come first",
    ),
    Wrong("ex06_area", ("kept / kept[:, :1]", "(kept / kept[:, :1]).abs()"), 1, "with its sign"),
    Wrong(
        "ex06_deletion",
        ("y = network(pictures)", "y = torch.stack([network(one) for one in pictures])"),
        0,
        "into one batch",
    ),
    # known mistakes that none of these makes
    Wrong(
        "ex06_pointing",
        ("double().square().sum(dim=1).min().sqrt()", "double().square().sum(dim=1).min()"),
        1.31,
        "your distance is squared",
    ),
    Wrong(
        "ex06_pointing",
        (
            "            continue",
            "            hits[n] = float(not mask.any())\n            continue",
        ),
        2.62,
        "There is nothing to hit: a miss",
    ),
    Wrong(
        "ex06_pointing",
        (
            "(mask.nonzero() - peak).double()",
            "(mask.nonzero().double().mean(0, keepdim=True) - peak)",
        ),
        0.75,
        "to the part's middle",
    ),
    Wrong(
        "ex06_deletion",
        ("order = evidence.flatten()", "order = evidence.relu().flatten()"),
        1.33,
        "went through a ReLU before it was sorted",
    ),
    Wrong(
        "ex06_deletion",
        ("order = evidence.flatten()", "order = evidence.abs().flatten()"),
        1.33,
        "you sorted by absolute values",
    ),
    Wrong("ex06_deletion", ("rank < count", "rank <= count"), 0, "one place too many is removed"),
    Wrong(
        "ex06_deletion",
        (
            "rank = rank.view(evidence.shape)",
            "e = evidence.flatten()\n"
            "    heights = e.sort(descending=True).values\n"
            "    reached = [(e >= heights[c - 1]).sum() if c else 0 for c in counts]\n"
            "    rank = rank.view(evidence.shape)",
        ),
        2.67,
        "A step removes exactly `count`",
        also=(("for count in counts]", "for count in reached]"),),
    ),
    Wrong(
        "ex06_deletion",
        ("for count in counts]", "for count in torch.tensor(counts).cumsum(0)]"),
        0,
        "Each begins with x anew",
    ),
    Wrong(
        "ex06_alike",
        ("found = torch.zeros(len(before))", "found = torch.ones(len(before))"),
        2.62,
        "has no ranking: 0, not 1",
    ),
    Wrong(
        "ex06_alike",
        ("average_ranks(one.flatten())", "one.flatten().argsort(stable=True).double()"),
        0,
        "gives the order of the places, not their ranks",
    ),
    Wrong(
        "ex06_alike",
        ("zip(before, after)", "zip(before[:1].expand_as(after), after)"),
        0,
        "Compare image n with image n",
    ),
    Wrong(
        "ex06_alike",
        (
            "found = torch.zeros(len(before))",
            "before, after = before.flatten()[None], after.flatten()[None]\n"
            "    found = torch.zeros(1)",
        ),
        0,
        "one number for the whole batch?",
        also=(("    return found", "    return found[0]"),),
    ),
)
