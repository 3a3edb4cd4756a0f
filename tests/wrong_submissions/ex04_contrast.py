"""Wrong submissions of assignment 4."""

from . import Wrong

_SUM = 'torch.einsum("nc,ncij->nij", p, table)'

WRONG = (
    # 1. the vector
    Wrong(
        "ex04_vector", ("return speaks[:, None] - q", "return q - speaks[:, None]"), 0, "wrong sign"
    ),
    Wrong(
        "ex04_vector",
        ("return speaks[:, None] - q", "return (speaks[:, None] - q) / len(logits)"),
        1.5,
        "takes the *mean* over a batch",
    ),
    Wrong(
        "ex04_vector",
        ("speaks = logits.softmax(dim=1)", "speaks = F.one_hot(torch.tensor(P), classes)"),
        0.75,
        "The gradient of the cross-entropy does not know P",
    ),
    Wrong(
        "ex04_vector",
        ('if loss == "cross_entropy":', "if True:"),
        2.25,
        "this is the vector of cross_entropy",
    ),
    Wrong(
        "ex04_vector", ("softmax(dim=1)", "softmax(dim=0)"), 0.75, "mind the axis of the softmax"
    ),
    Wrong(
        "ex04_vector",
        ("logits.softmax(dim=1)", "logits.exp() / logits.exp().sum(dim=1, keepdim=True)"),
        2.25,
        "NaN or infinity",
    ),
    # 2. the maps
    Wrong(
        "ex04_maps",
        ("believed[:, None] - table[:, Q]", "table[:, Q] - believed[:, None]"),
        0,
        "the weights are not negated",
    ),
    Wrong(
        "ex04_maps",
        ("believed[:, None] - table[:, Q]", "(believed[:, None] - table[:, Q]).relu()"),
        0,
        "the ReLU belongs to the drawing",
    ),
    Wrong("ex04_maps", (_SUM, "table.mean(dim=1)"), 0, "all classes count alike here"),
    Wrong("ex04_maps", ("logits.softmax(dim=1)", "logits"), 0, "Make probabilities of them first"),
    Wrong(
        "ex04_maps",
        (_SUM, "table[range(len(table)), logits.argmax(dim=1)]"),
        0,
        "each by its probability",
    ),
    Wrong(
        "ex04_maps",
        ("believed[:, None] - table[:, Q]", "believed - table[:, Q[0]]"),
        0,
        "(N, K, h, w), got",
    ),
    Wrong(
        "ex04_maps",
        ("logits.softmax(dim=1)", "logits.softmax(dim=0)"),
        0,
        "the axis of the softmax",
    ),
    Wrong("ex04_maps", ("believed[:, None]", "believed"), 1.5, "an axis of length 1 for the Q"),
    # 3. the identities
    Wrong(
        "ex04_identities",
        ("(maps - right).abs().max()", "(maps - right).max()"),
        2.25,
        "take the size before the maximum",
    ),
    Wrong(
        "ex04_identities",
        ("(maps - right).abs().max()", "(right - maps).max()"),
        2.62,
        "take the size before the maximum",
    ),
    Wrong(
        "ex04_identities",
        ('torch.einsum("nq,nqij->nij", p, maps)', "maps.sum(dim=1)"),
        1.5,
        "weigh each map by its p_Q",
    ),
    Wrong(
        "ex04_identities",
        ('torch.einsum("nq,nqij->nij", p, maps)', 'torch.einsum("nq,nqij->nij", p, right)'),
        1.5,  # 0 is right in two cases, and a guess
        "as they were handed over",
    ),
    Wrong(
        "ex04_identities",
        ("(maps - right).abs().max()", "(maps - right).abs().mean()"),
        1.5,
        "One bad place hides in a mean",
    ),
    Wrong(
        "ex04_identities", ('"cancel": total', '"sum": total'), 0, 'the keys "from table", "cancel"'
    ),
    # 4. which Q
    Wrong(
        "ex04_which",
        ('torch.einsum("c,cij->ij", p, table) - table', "table[P] - table"),
        2.0,
        "this is the choice by the maps S^P - S^Q",
    ),
    Wrong(
        "ex04_which",
        ("torch.arange(len(p)) != P", "torch.ones(len(p), dtype=torch.bool)"),
        2.33,
        "is P itself",
    ),
    Wrong(
        "ex04_which",
        ("rival & (p < 1 / len(p))", "rival"),
        2.67,
        "below 1 / classes; this one has more",
    ),
    Wrong(
        "ex04_which", ("(strength > 0) & (strength < 0.1)", "strength > 0"), 2.67, "not below 0.1"
    ),
    Wrong(
        "ex04_which",
        ("(strength > 0) & (strength < 0.1)", "(strength > 0) & (strength < 0.2)"),
        2.67,
        "no class meets the conditions here",
        "not below 0.1",
    ),
    Wrong(
        "ex04_which",
        ("best(places, ", "best(-strength, "),
        2.67,
        "the weakest map, but not the most spread",
    ),
    Wrong("ex04_which", ("rival & weak", "weak"), 3.67, "this is P itself"),
    Wrong(
        "ex04_which",
        (
            "rank_correlation(maps, table[P])",
            "torch.corrcoef(torch.cat([table[P][None], maps]).flatten(1))[0, 1:]",
        ),
        2.67,
        "Compare their *ranks*",
    ),
    Wrong("ex04_which", ("p < 1 / len(p)", "p < 0.01"), 2.67, "you took a smaller bound"),
    Wrong(
        "ex04_which",
        ("peak[:, None, None] / 2", "table[P].max() / 2"),
        2.67,
        "which no weak map does",
    ),
    Wrong("ex04_which", ("strength < 0.1", "strength < 0.05"), 2.67, "you took a smaller bound"),
    Wrong("ex04_which", ("nonzero()[0]", "nonzero()[-1]"), 3.33, "the lower number wins"),
    Wrong(
        "ex04_which",
        ("        if not allowed.any():\n            return -1\n", ""),
        3.67,
        "no class meets the conditions here",
    ),
    Wrong(
        "ex04_which",
        ("(strength > 0) & (strength < 0.1)", "strength < 0.1"),
        3.67,
        "its strength is not above 0",
    ),
    # 5. the error
    Wrong(
        "ex04_error",
        ("table[P] - table[truth]", "table[truth] - table[P]"),
        0.75,
        "P and Q are swapped",
    ),
    Wrong(
        "ex04_error",
        ("        if evidence.max() <= 0:\n            return None\n", ""),
        2.44,
        "so it is None",
    ),
    Wrong(
        "ex04_error",
        ("evidence.shape[1]))", "evidence.shape[1]))[::-1]"),
        1.5,
        "looks like [column, row]",
    ),
    Wrong(
        "ex04_error",
        ('"map": difference,', '"map": difference.relu(),'),
        2.62,
        "keep the negative evidence",
    ),
    Wrong(
        "ex04_error",
        (
            "difference = table[P] - table[truth]",
            'difference = torch.einsum("c,cij->ij", logits.softmax(dim=0), table) - table[truth]',
        ),
        0.75,
        "this is the cross-entropy contrast",
    ),
    # the same slip in all lines at once
    Wrong(
        "ex04_identities", (".abs().max()", ".max().abs()"), 0.75, "take the size before", lines=2
    ),
    Wrong("ex04_identities", (".abs().max()", ".max()"), 0.75, "take the size before", lines=2),
    Wrong("ex04_identities", (".abs().max()", ".abs().mean()"), 0, "hides in a mean", lines=2),
    Wrong("ex04_identities", (".abs().max()", ".mean().abs()"), 0, "cancel", lines=2),
    Wrong("ex04_identities", (".abs().max()", ".abs().sum()"), 0, "the sum of all", lines=2),
    Wrong("ex04_identities", (".abs().max()", "[0].abs().max()"), 0, "only the first", lines=2),
    Wrong("ex04_identities", ("softmax(dim=1)", "softmax(dim=0)"), 0, "mind the axis"),
    Wrong("ex04_maps", (_SUM, "table.sum(dim=1)"), 0, "the plain sum of all class maps"),
    Wrong(
        "ex04_vector",
        ("F.one_hot(torch.tensor(Q), classes)", "F.one_hot(torch.tensor(Q))"),
        0.75,
        "how many classes there are",
    ),
    Wrong(
        "ex04_identities",
        ('{"from table": (maps - right)', '{"cancel": (maps - right)'),
        1.5,
        "have changed places",
        also=(('"cancel": total', '"from table": total'),),
    ),
    Wrong(
        "ex04_which",
        ("best(places, rival & weak)", "best(-strength, rival)"),
        2.67,
        "the weakest map of all",
    ),
    # known mistakes that none of these makes
    Wrong(
        "ex04_which",
        ("strength = peak / table[P].max()", "strength = peak"),
        2.67,
        "you compared the peak itself",
    ),
    Wrong(
        "ex04_which",
        (
            "    places = (maps >= peak[:, None, None] / 2).sum(dim=(1, 2))",
            "    from scipy.ndimage import label\n"
            "    halves = maps >= peak[:, None, None] / 2\n"
            "    places = torch.tensor([label(half.numpy())[1] for half in halves])",
        ),
        2.67,
        "you counted *pieces*",
    ),
    Wrong(
        "ex04_which",
        ("(maps >= peak[:, None, None] / 2)", "(maps > 0)"),
        2.67,
        "you counted all positive places",
    ),
    Wrong(
        "ex04_which",
        ("best(places, rival & weak)", "best(strength, rival & weak)"),
        2.67,
        "the strongest of the weak maps",
    ),
    Wrong(
        "ex04_which",
        ("best(places, rival & weak)", "best(-places, rival & weak)"),
        2.67,
        "the most concentrated of the weak maps",
    ),
    Wrong(
        "ex04_which",
        ("best(rho,", "best(-rho,"),
        2.67,
        "you looked for the lowest rank correlation",
    ),
    Wrong(
        "ex04_which",
        ("best(rho,", "best(rho.abs(),"),
        2.67,
        "or for the largest size: the *highest*",
    ),
    Wrong(
        "ex04_which",
        ("peak = maps.amax(dim=(1, 2))", "maps = maps.abs()\n    peak = maps.amax(dim=(1, 2))"),
        2.67,
        "*with its sign*: you took absolute values",
    ),
)
