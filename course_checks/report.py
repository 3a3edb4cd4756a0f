"""What a learner sees of a check, and what a part's answers are worth."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from .part import NOT_ATTEMPTED, VISIBLE, Case, Part, Verdict, call, close

# of a case that a constant would get right
LUCK = "the easy case is right, as it would be for a function that always gives the same; get another one right."
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
    """Whether the part's check was run in this session and found everything right, the last time."""
    return part.name in _passed


def judge(part: Part, answer: Any, seed: int = VISIBLE) -> list[Verdict]:
    """One verdict for each case of this seed."""
    if not part.is_value and answer is not None and not callable(answer):
        wanted = f"pass the function itself, `{part.answer}`, not what it returns."
        return [Verdict(0.0, f"this is a {type(answer).__name__}: {wanted}")]
    if answer is None:
        return [NOT_ATTEMPTED]
    cases = part.cases(seed)
    answers = [answer if part.is_value else call(answer, case) for case in cases]
    return without_luck(part, list(map(part.verdict, answers, cases)), cases)


def without_luck(part: Part, verdicts: Sequence[Verdict], cases: Sequence[Case]) -> list[Verdict]:
    """The verdicts, but what is right by luck counts only beside something that is not.

    Luck is what a function gets that always answers the same: nothing but 0, 1 or -1, or one string.
    """
    right = {number for number, verdict in enumerate(verdicts) if verdict.share > 0}
    if part.reference is None or not right or len(right) == len(cases):
        return list(verdicts)
    answers = [part.right(case) for case in cases]
    first = answers[min(right)]
    one_word = [float(type(first) is str and one == first) for one in answers]
    lucky = chain([one_word], (_by_constant(part, answers, cases, number) for number in (0, 1, -1)))
    if not any(all(v.share <= by_luck for v, by_luck in zip(verdicts, shares)) for shares in lucky):
        return list(verdicts)
    return [
        Verdict(0.0, LUCK) if number in right else verdict
        for number, verdict in enumerate(verdicts)
    ]


def _by_constant(part: Part, answers: list, cases: Sequence[Case], number: int) -> list[float]:
    """What an answer with nothing but this number in it is worth in each case.

    Of several pieces, some of which are always right by luck: nothing, unless all are in some case.
    """
    given = [filled(one, number) for one in answers]
    if part.judge is not None and not any(close(*pair, 0) for pair in zip(given, answers)):
        return [0.0] * len(cases)
    return [part.verdict(one, case).share for one, case in zip(given, cases)]


def filled(value: Any, number: int) -> Any:
    """The same with nothing but this number in it, and without words."""
    if isinstance(value, Tensor):
        return torch.full_like(value, number)
    if type(value) is list:
        return [filled(item, number) for item in value]
    if type(value) is dict:
        return {key: filled(item, number) for key, item in value.items()}
    return type(value)(number) if type(value) in (int, float, bool) else "" if value else value


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
    number, first = wrong[0]
    right = (
        f" ({len(verdicts) - len(wrong)} of {len(verdicts)} cases right)"
        if len(verdicts) > 1
        else ""
    )
    where = f"case {number}: " if len(verdicts) > 1 else ""
    return f"✗ {part.name}{right}: {where}{first.says}"
