"""The two parts of ex01_questions that are answered by heart: who asks what, and the taxonomy."""

from hashlib import sha256

from .part import RIGHT, Verdict

# The two keys hold salted digests in place of the answers, so that nobody reads them in passing.
# That is all they do: with four kinds of question and three labels, whoever wants to can guess.
# who -> (digest of the kind of question, digest of the whole answer)
_ASKED = {
    "ornithologist": ("cca9e3674d5a", "5f9b1a0ce0b9"),
    "radiologist": ("798e24f8a736", "a80e04c0800b"),
    "judge": ("713b2b98e0c8", "d57b8a80ef3d"),
    "developer": ("4f4e94fc88d6", "f0702c5157e5"),
    "geologist": ("904a68065d62", "45622a864038"),
    "dog owner": ("d759f06e9649", "00f30696b6f3"),
    "journalist": ("56b7bf1e8634", "bd233a00a4cf"),
    "curator": ("3e0198d75c22", "e3b680507cc3"),
}
# method -> digest of its label, as published
_TAXONOMY = {
    "Deconvolution": "1fd491f74f0b",
    "Inverted Representations": "ae81d99a016f",
    "Guided-Backprop": "3e76f233e572",
    "SmoothGrad": "6dc6dbbb0aa0",
    "LIME": "95045edf0d82",
    "CAM": "4ca7bcf51954",
    "Graph-CNN": "a947b2ee95d2",
    "Grad-CAM": "36433c7baeb7",
    "TCAV": "900880aab51d",
    "Grad-CAM++": "11cb9aa4bbbf",
    "RISE": "0ed46e35d046",
    "Causal-CAM": "3afafd675e79",
    "Counterfactual-CAM": "945315223e1e",
    "Goyal et al.": "f4941bd0dd07",
    "CEM": "03675ff1ca24",
    "Contrast-CAM": "afb3679f948a",
    "Contrastive reasoning": "d5b0d3bbcde2",
}
# method -> digest of a second label that can be argued: one can ask it about a class that one names
_OR_ELSE = {"LIME": "5c66f0502d82", "RISE": "9b168a33ea9c", "TCAV": "8bf00427370e"}
_PATTERNS = {
    "why": '["why", P]',
    "counterfactual": '["counterfactual", P]',
    "contrast": '["contrast", P, Q]',
    "none": '["none"]',
}


# more of one kind than this is a guess: three of the eight compare, and with labels that can be
# argued eleven of the seventeen are targeted
_MOST_ASKED, _MOST_LABELLED = 5, 13


def _seal(*words: str) -> str:
    return sha256("|".join(("ex01_questions", *words)).encode()).hexdigest()[:12]


# --- who asks what --------------------------------------------------------------------------------


def judge_asked(answer) -> Verdict:
    """One eighth for each person: half of it for the kind, half for P and Q."""
    if type(answer) is not dict:
        return Verdict(0.0, "return a dictionary: eight people, and a list for each.")
    answer = {" ".join(str(who).lower().split()): entry for who, entry in answer.items()}
    found = {who: _judge_one(who, answer.get(who)) for who in _ASKED}
    right = sum(verdict == RIGHT for verdict in found.values())
    kinds = [str(answer[who]).lower().split(",")[0] for who in _ASKED if who in answer]
    if max(map(kinds.count, kinds), default=0) > _MOST_ASKED:
        return Verdict(0.0, "eight people do not all ask the same.")
    if right == len(found):
        return RIGHT
    who = next(who for who, verdict in found.items() if verdict != RIGHT)
    share = sum(verdict.share for verdict in found.values()) / len(found)
    return Verdict(share, f"{right} of 8 are right. The {who}: {found[who].says}")


def _judge_one(who: str, entry) -> Verdict:
    if entry is None:
        return Verdict(0.0, f'there is no entry "{who}".')
    words = [entry] if str(entry).lower() in _PATTERNS else entry  # "why", without its brackets
    if type(words) is not list or not words or not all(type(word) is str for word in words):
        return Verdict(0.0, 'write a list of words, such as ["why", P].')
    words = [" ".join(word.lower().split()) for word in words]
    if words[0] not in _PATTERNS:
        return Verdict(0.0, f'"{words[0]}" is none of {", ".join(_PATTERNS)}.')
    kind, whole = _ASKED[who]
    if _seal(who, words[0]) != kind:
        return Verdict(0.0, _other_kind(words[0]))
    if _seal(who, "whole", *words) == whole:
        return RIGHT
    if len(words) != _PATTERNS[words[0]].count(",") + 1:
        return Verdict(0.5, f"the kind is right. Write it as {_PATTERNS[words[0]]}.")
    if _seal(who, "whole", words[0], *words[:0:-1]) == whole:
        return Verdict(0.5, "P and Q have changed places: P is what the network said.")
    return Verdict(
        0.5, "the kind is right. Take P and Q from the list of class names, letter by letter."
    )


def _other_kind(said: str) -> str:
    return {
        "why": "this is more than, or something else than, 'what speaks for P?'. Is another class "
        "expected? Is the evidence against P wanted? Could one map of one photo answer at all?",
        "counterfactual": "they do not ask what speaks against P. Do they want its reasons, or "
        "compare it with another class, or ask what no map of one photo can show?",
        "contrast": "which Q would that be? Nobody here expected another class in its place.",
        "none": "a map over the photo can answer this one. What does the person expect to see "
        "on it: evidence for P, against P, or for P and not for another class?",
    }[said]


# --- the taxonomy ---------------------------------------------------------------------------------


def judge_taxonomy(answer) -> Verdict:
    """One seventeenth for each method."""
    if type(answer) is not dict:
        return Verdict(0.0, "return a dictionary: method -> 'I', 'D' or 'T'.")
    labels = {m: answer.get(m).strip()[:1].upper() for m in _TAXONOMY if type(answer.get(m)) is str}
    given = list(labels.values())
    if max(map(given.count, given), default=0) > _MOST_LABELLED:
        return Verdict(0.0, "one label for nearly all does not sort anything.")
    wrong = [m for m in _TAXONOMY if not _is_label_of(m, labels.get(m, ""))]
    if not wrong:
        return RIGHT
    first = wrong[0]
    missing = "has no label yet: is its name written as in the list?"
    how = f"is not '{labels[first]}'." if first in labels else missing
    right = len(_TAXONOMY) - len(wrong)
    return Verdict(
        right / len(_TAXONOMY), f"{right} of 17 are right. {first} {how} {_reader(first)}"
    )


def _is_label_of(method: str, label: str) -> bool:
    return _seal(method, label) in (_TAXONOMY[method], _OR_ELSE.get(method))


def _reader(method: str) -> str:
    if method == "CAM":
        return "Its picture is Grad-CAM's here, but the label goes by the question it was made for."
    return (
        "Who can read its result: one who can interpret units and layers (I), one who knows what "
        "'mattered' means to the method (D), or one who "
        "knows the classes that a question named (T)?"
    )
