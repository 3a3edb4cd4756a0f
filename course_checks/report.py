"""What a learner sees of a check, and what a part's answers are worth."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .comparing import ROUNDING, guessable
from .drawing import VISIBLE
from .part import NOT_ATTEMPTED, Case, Part, Verdict, call
from .settings import as_at_the_start

# of a case that a constant would get right
LUCK = (
    "the easy case is right, as it would be for a function that always gives the same; get another "
    "one right."
)
CONSTANT = "your function gives the same answer in every case, whatever it is given."
_passed: set[str] = set()  # the parts whose check passed in this session


class Check:
    """Call it with your function (or value): it prints how far the part is solved."""

    def __init__(self, part: Part):
        self.part = part
        self.__doc__ = f"{part.title} ({part.points:g} points): checks `{part.answer}`."

    def __call__(self, answer: Any = None) -> None:
        _passed.discard(self.part.name)
        try:
            verdicts = judge(self.part, answer)
            print(sentence(self.part, verdicts))
            if all(verdict.share == 1 for verdict in verdicts):
                _passed.add(self.part.name)
        except Exception as error:  # Run All must reach the end, whatever was passed in
            print(f"✗ {self.part.name}: it could not be checked ({type(error).__name__}: {error}).")

    def __repr__(self) -> str:
        return f"<check {self.part.name}: {self.__doc__}>"


def passed(part: Part) -> bool:
    """Whether the part's check was run in this session and found everything right, the last
    time.
    """
    return part.name in _passed


def judge(part: Part, answer: Any, seed: int = VISIBLE) -> list[Verdict]:
    """One verdict for each case of this seed."""
    if not part.is_value and answer is not None and not callable(answer):
        wanted = f"pass the function itself, `{part.answer}`, not what it returns."
        return [Verdict(0.0, f"this is a {type(answer).__name__}: {wanted}")]
    if answer is None:
        return [NOT_ATTEMPTED]
    with as_at_the_start():
        cases = part.cases(seed)
    answers = [answer if part.is_value else call(answer, case) for case in cases]
    with as_at_the_start():
        return without_luck(part, list(map(part.verdict, answers, cases)), cases)


def without_luck(part: Part, verdicts: Sequence[Verdict], cases: Sequence[Case]) -> list[Verdict]:
    """The verdicts, without the marks that one and the same answer to all cases would earn.

    What is right only in cases with the same, guessable right answer (0, None, one word) is luck
    and counts nothing; so does what is worth no more in any case than a row of zeros, ones or minus
    ones, and what is the same in all cases. In a dictionary this is so for each key. Who has all
    cases right was not lucky.
    """
    constant = _constants(verdicts)
    verdicts = _without_false_names(verdicts, constant)
    given = [number for number, verdict in enumerate(verdicts) if verdict.share > 0]
    if part.reference is None or not given or all(verdict.share == 1 for verdict in verdicts):
        return list(verdicts)
    answers = [part.right(case) for case in cases]
    if type(answers[0]) is dict:
        return _keys_without_luck(verdicts, answers, constant)
    if (
        "" not in constant
        and not _guessed([answers[number] for number in given])
        and not any(
            all(v.share <= by_luck for v, by_luck in zip(verdicts, shares))
            for shares in (_by_constant(part, answers, cases, number) for number in (0, 1, -1))
        )
    ):
        return list(verdicts)
    return [Verdict(0.0, LUCK) if n in given else verdict for n, verdict in enumerate(verdicts)]


def _constants(verdicts: Sequence[Verdict]) -> list[str]:
    """The keys ("" if there are none) whose answer is the same in several cases, that is in all."""
    first, *others = verdicts
    same = {
        key: all(one.given.get(key, one) == value for one in others)
        for key, value in first.given.items()
    }
    return [key for key in same if others and same[key]]


def _without_false_names(verdicts: Sequence[Verdict], constant: list[str]) -> list[Verdict]:
    """A constant is no known mistake, though it meets one in some case: it must meet it in all."""
    made = list(verdicts)
    for key in constant:
        begins = f'"{key}": ' if key else ""
        wrong = [v for v in made if v.share < 1 and (not key or key not in v.right)]
        # names of another key say nothing about this one
        named = [set(v.names) for v in wrong if not v.names or v.says.startswith(begins)]
        fits = set.intersection(*named) if named else set()
        made = [_with_names_of(verdict, fits, begins) for verdict in made]
    return made


def _with_names_of(verdict: Verdict, fits: set[str], begins: str) -> Verdict:
    """The verdict with those of its names that fit, where it speaks of what begins so."""
    if verdict.says not in verdict.names or not verdict.says.startswith(begins):
        return verdict
    names = tuple(name for name in verdict.names if name in fits)
    return replace(verdict, names=names, says=names[0] if names else begins + CONSTANT)


def _keys_without_luck(
    verdicts: Sequence[Verdict], answers: list[dict], constant: list[str]
) -> list[Verdict]:
    """Keys that are right by luck count nothing."""
    lucky = set()
    for key in answers[0]:
        right = [one[key] for one, verdict in zip(answers, verdicts) if key in verdict.right]
        if len(right) < len(answers) and (_guessed(right) or key in constant):
            lucky.add(key)
    made = []
    for verdict in verdicts:
        earned = tuple(key for key in verdict.right if key not in lucky)
        says = verdict.says or (LUCK if len(earned) < len(verdict.right) else "")
        share = len(earned) / len(answers[0])
        made.append(replace(verdict, share=share, says=says, right=earned))
    return made


def _guessed(right: list) -> bool:
    """Whether these right answers are all the same, and such as anybody may guess."""
    return bool(right) and guessable(right[0]) and all(_alike(one, right[0]) for one in right)


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and one.numel() and isinstance(other, Tensor) and other.numel():
        return bool((one == one.flatten()[0]).all()) and one.flatten()[0] == other.flatten()[0]
    if type(one) is type(other) is float:
        return abs(one - other) < ROUNDING
    return type(one) is type(other) and one == other


def _by_constant(part: Part, answers: list, cases: Sequence[Case], number: int) -> list[float]:
    """What an answer with nothing but this number in it is worth in each case."""
    given = [filled(one, number) for one in answers]
    return [part.verdict(one, case).share for one, case in zip(given, cases)]


def filled(value: Any, number: int) -> Any:
    """The same with nothing but this number in it, and without words."""
    if isinstance(value, Tensor):
        return torch.full_like(value, number)
    if type(value) is list:
        return [filled(item, number) for item in value]
    if type(value) is dict:
        return {key: filled(item, number) for key, item in value.items()}
    if type(value) in (int, float, bool):
        return type(value)(number)
    return "" if value else value


def marks(part: Part, verdicts: Sequence[Verdict]) -> float:
    """Points for the answers to all hidden cases: the part's points times their mean share."""
    return round(part.points * sum(v.share for v in verdicts) / max(1, len(verdicts)), 2)


def sentence(part: Part, verdicts: Sequence[Verdict]) -> str:
    """One line or two: a pass, not attempted yet, or the first thing that is wrong."""
    if all(verdict == NOT_ATTEMPTED for verdict in verdicts):
        return f"… {part.name}: not attempted yet."
    wrong = [(number, v) for number, v in enumerate(verdicts, 1) if v.share < 1]
    if not wrong:
        many = f" in all {len(verdicts)} cases" if len(verdicts) > 1 else ""
        return f"✓ {part.name}: right{many}. {part.expects}".rstrip()
    # the first that is not luck: it has a diagnosis
    number, first = next((pair for pair in wrong if pair[1].says != LUCK), wrong[0])
    says = _agreed(first, verdicts)
    if len(verdicts) == 1:
        return f"✗ {part.name}: {says}"
    right = f"{len(verdicts) - len(wrong)} of {len(verdicts)} cases right"
    partly = sum(0 < verdict.share < 1 for verdict in verdicts)
    if partly:
        right += f", {partly} in part"
    lucky = sum(verdict.says == LUCK for verdict in verdicts)
    if lucky and first.says != LUCK:
        right += (
            f"; {'an easy one does' if lucky == 1 else f'{lucky} easy ones do'} not count alone"
        )
    return f"✗ {part.name} ({right}): case {number}: {says}"


def _agreed(first: Verdict, verdicts: Sequence[Verdict]) -> str:
    """What it says; where several mistakes give this answer, what most other cases say as well."""
    if not first.names:
        return first.says
    return max(first.names, key=lambda name: sum(name in verdict.names for verdict in verdicts))
