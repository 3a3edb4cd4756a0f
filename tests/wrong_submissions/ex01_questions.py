"""Wrong submissions to ex01_questions."""

from . import Wrong

_SORT = "logits.softmax(dim=1).sort(dim=1, descending=True, stable=True)"
_PAIRS = "[[[categories[c], p] for c, p in zip(*row)] for row in rows]"
_CHOICE = '{"P": categories[row[0]], "near Q": categories[row[1]], "far Q": categories[row[-1]]}'
_UNKNOWN = "if why not in categories or rather_than not in categories:"

WRONG = (
    Wrong(
        "ex01_asked",
        ('["contrast", "van", "minibus"]', '["contrast", "minibus", "van"]'),
        3.75,
        "7 of 8 are right. The judge: P and Q have changed places",
    ),
    Wrong(
        "ex01_asked",
        ('"dog owner": ["contrast", "wolf", "husky"]', '"dog owner": ["why", "wolf"]'),
        3.5,
        "The dog owner: this is more than",
    ),
    Wrong(
        "ex01_asked",
        ('"journalist": ["none"]', '"journalist": ["why", "wrong"]'),
        3.5,
        "Could one map of one photo answer at all?",
    ),
    Wrong(
        "ex01_asked",
        ('["counterfactual", "salt dome"]', '["none"]'),
        3.5,
        "The geologist: a map over the photo can answer this one",
    ),
    Wrong(
        "ex01_asked",
        ('["why", "pneumonia"]', '["Why", "Pneumonia", "healthy"]'),
        3.75,
        'the kind is right. Write it as ["why", P]',
    ),
    Wrong(
        "ex01_asked",
        ('"curator": ["counterfactual", "oil painting"],', ""),
        3.5,
        'The curator: there is no entry "curator"',
    ),
    Wrong(
        "ex01_asked",
        ('["why", "pneumonia"]', '"why pneumonia"'),
        3.5,
        'The radiologist: write a list of words, such as ["why", P]',
    ),
    Wrong(
        "ex01_asked",
        ('["counterfactual", "salt dome"]', '["counterfactal", "salt dome"]'),
        3.5,
        'The geologist: "counterfactal" is none of why, counterfactual',
    ),
    Wrong(
        "ex01_top",
        (_SORT, "logits.sort(dim=1, descending=True, stable=True)"),
        0,
        "these are logits",
    ),
    Wrong("ex01_top", ("softmax(dim=1)", "softmax(dim=0)"), 0, "runs over the images"),
    Wrong("ex01_top", ("logits.softmax(dim=1)", "logits.sigmoid()"), 0, "this is a sigmoid"),
    Wrong("ex01_top", ("softmax(dim=1)", "log_softmax(dim=1)"), 0, "these are *logarithms*"),
    Wrong("ex01_top", ("[categories[c], p] for", "[categories[c], round(p, 3)] for"), 0, "rounded"),
    Wrong(
        "ex01_top",
        (
            _SORT,
            "logits.sort(dim=1, descending=True)\n    probabilities = probabilities[:, "
            ":k].softmax(dim=1)",
        ),
        0.75,
        "have their share of the belief, too",
    ),
    Wrong("ex01_top", ("descending=True", "descending=False"), 0, "these are the *least* probable"),
    Wrong(
        "ex01_top",
        (
            _SORT,
            "logits.softmax(1).flip(1).sort(dim=1, descending=True, stable=True)\n    order = "
            "logits.shape[1] - 1 - order",
        ),
        2.25,
        "the one with the lower number comes first",
    ),
    Wrong(
        "ex01_top",
        ("logits.softmax(dim=1)", "(logits.exp() / logits.exp().sum(dim=1, keepdim=True))"),
        2.25,
        "NaN or infinity",
    ),
    Wrong("ex01_top", (_PAIRS, f"{_PAIRS}[0]"), 0, "one list for each image"),
    Wrong("ex01_top", ("[categories[c], p] for", "[c, p] for"), 0, "give names, from `categories`"),
    Wrong("ex01_choose", ("logits.argsort", "logits.softmax(0).argsort"), 0, "(dim 0)"),
    Wrong("ex01_choose", ("row[1]", "row[0]"), 1.5, "The runner-up is the *second*"),
    Wrong("ex01_choose", ("row[-1]", "row[2]"), 1.5, "take the *least* probable class"),
    Wrong(
        "ex01_choose",
        ("descending=True", "descending=False"),
        0,
        "your P is the least probable class",
    ),
    Wrong(
        "ex01_choose",
        ("logits.argsort", "logits.abs().argsort"),
        0,
        "ranked by size without the sign",
    ),
    Wrong(
        "ex01_choose",
        (_CHOICE, _CHOICE.replace("categories[row[0]]", "row[0]")),
        0,
        '[0]["P"]: expected a string, got a whole number',
    ),
    Wrong("ex01_sensible", (_UNKNOWN, "if False:"), 0, "before you look for its number"),
    Wrong(
        "ex01_sensible",
        ('append("sensible")', 'append("Sensible")'),
        0,
        "letter by letter",
    ),
    Wrong(
        "ex01_sensible",
        ("row[categories.index(why)] >", "0 < row[categories.index(why)] >"),
        0.9,
        "a logit below 0 is no refusal",
    ),
    Wrong("ex01_sensible", ("] > row", "] < row"), 0, "P and Q have changed places"),
    Wrong("ex01_sensible", ("] > row", "] >= row"), 1.5, "`>`, not `>=`"),
    Wrong(
        "ex01_sensible",
        ("elif why == rather_than:", "elif False:"),
        1.5,
        "a comparison with itself",
    ),
    Wrong(
        "ex01_sensible",
        ("row[categories.index(why)] >", "row.max() == row[categories.index(why)] >"),
        0.9,
        "P need not be the predicted class",
    ),
    Wrong(
        "ex01_taxonomy", ('"CAM": "D",', '"CAM": "T",'), 1.88, "16 of 17 are right. CAM is not 'T'"
    ),
    Wrong(
        "ex01_taxonomy",
        ('"RISE": "D",', '"Rise": "D",'),
        1.88,
        "RISE has no label yet: is",
    ),
    Wrong(
        "ex01_taxonomy",
        ('"Graph-CNN": "I",', '"Graph-CNN": "direct",'),
        1.88,
        "Graph-CNN is not 'D'",
    ),
    # the same slip in all lines at once
    Wrong("ex01_choose", ("categories[row[", "categories[order[0]["), 1, "the first one", lines=3),
    # known mistakes that none of these makes
    Wrong(
        "ex01_top", ("[categories[c], p]", "[categories[c], 100 * p]"), 0, "these are percentages"
    ),
    Wrong("ex01_choose", ("row[-1]", "row[-2]"), 1.5, "is the last but one"),
    Wrong(
        "ex01_choose",
        ("categories[row[-1]]", "categories[-1]"),
        1.5,
        "the last *column* of the table",
    ),
    Wrong(
        "ex01_choose",
        (
            '"near Q": categories[row[1]], "far Q": categories[row[-1]]',
            '"near Q": categories[row[-1]], "far Q": categories[row[1]]',
        ),
        0.9,
        "near and far have changed places",
    ),
    Wrong(
        "ex01_choose",
        (
            '"P": categories[row[0]], "near Q": categories[row[1]], "far Q": categories[row[-1]]',
            '"P": row[0], "near Q": row[1], "far Q": row[-1]',
        ),
        1.5,
        "these are class numbers",
    ),
    Wrong(
        "ex01_sensible",
        (
            "if why not in categories or rather_than not in categories:\n"
            '            answers.append("no such class")\n'
            "        elif why == rather_than:\n"
            '            answers.append("same class")',
            "if why == rather_than:\n"
            '            answers.append("same class")\n'
            "        elif why not in categories or rather_than not in categories:\n"
            '            answers.append("no such class")',
        ),
        1.5,
        "ask first whether the network knows the words",
    ),
    Wrong(
        "ex01_sensible",
        (" or rather_than not in categories", ""),
        1.5,
        "only P was looked up",
        also=(
            (
                "categories.index(rather_than)",
                "categories.index(rather_than) if rather_than in categories else row.argmin()",
            ),
        ),
    ),
    Wrong(
        "ex01_sensible",
        ("why not in categories or ", ""),
        1.5,
        "only Q was looked up",
        also=(
            (
                "row[categories.index(why)] > row",
                "(row[categories.index(why)] if why in categories else -1e9) > row",
            ),
        ),
    ),
)
