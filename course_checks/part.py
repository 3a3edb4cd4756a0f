"""One part of an exercise: what is asked, how an answer is judged, which mistakes are known.

A part is used three times: by the check that a learner runs in the notebook, by `make grade` on
hidden cases, and by the tests, which feed it wrong submissions.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from .answers import AnswerError, Failure, plain
from .networks import Network

Case = tuple  # the arguments of one call of the learner's function
CHANGED = "ChangedArguments"  # the `Failure` of a function that leaves its arguments otherwise
VISIBLE = 0  # the seed of the cases that the notebook's check uses


@dataclass(frozen=True)
class Verdict:
    """How much of one answer is right, 0 to 1, and a sentence for the learner ("" if all is)."""

    share: float
    says: str = ""


RIGHT = Verdict(1.0)
NOT_ATTEMPTED = Verdict(0.0, "not attempted yet")


@dataclass(frozen=True)
class Mistake:
    """A common mistake: `makes(*case)` is the answer that it gives, `says` names it and teaches.

    `share` is what it is worth all the same, 0 to 1.
    """

    says: str
    makes: Callable[..., Any]
    share: float = 0.0


@dataclass(frozen=True)
class Part:
    """A part that a learner answers by a function (or, with `is_value`, by a plain value).

    Attributes:
        name: of the part and of its check, "ex02_weights".
        title: a few words for reports.
        points: the most it gives.
        answer: the name that the learner's notebook defines, a function or a value.
        cases: seed -> the calls to be answered, tuples of arguments made of numbers, strings, lists,
            dictionaries, tensors and `Network`s. Seed 0 is what the notebook's check shows; other
            seeds give other values and other shapes. For a value: one empty tuple.
        reference: the right answer to a case (not needed with `judge`).
        mistakes: known wrong ways; tried in their order.
        judge: (answer, *case) -> Verdict, instead of comparing with `reference`, where several
            answers are right; the answer is made of plain types but otherwise unchecked.
        axes: for an answer that is one tensor: the names of its axes, "N, C", for messages.
        tolerance: relative to the largest absolute value of the right answer.
        failures: (words of an exception's class or message, sentence that teaches).
        expects: what a right answer looks like in numbers, shown with a pass.
    """

    name: str
    title: str
    points: float
    answer: str
    cases: Callable[[int], list[Case]]
    reference: Callable[..., Any] | None = None
    mistakes: tuple[Mistake, ...] = ()
    judge: Callable[..., Verdict] | None = None
    axes: str = ""
    tolerance: float = 1e-4
    is_value: bool = False
    failures: tuple[tuple[str, str], ...] = field(default=())
    expects: str = ""

    def verdict(self, answer: Any, case: Case) -> Verdict:
        """Judge one answer, of any type whatever; never raises for what the answer is."""
        try:
            answer = plain(answer)
        except AnswerError as error:
            return Verdict(0.0, f"{error} {self._wanted(case)}")
        if answer is None and not self.is_value:
            return Verdict(0.0, f"`{self.answer}` returned None: is its `return` missing?")
        if answer is None or answer == [] or answer == {}:
            return NOT_ATTEMPTED
        if isinstance(answer, Failure):
            return self._failed(answer)
        if self.judge is not None:
            return self.judge(answer, *_built(case))
        return self._compared(answer, case)

    def _wanted(self, case: Case) -> str:
        return f"`{self.answer}` must give {kind(self.right(case))}." if self.reference else ""

    def right(self, case: Case) -> Any:
        """The right answer to a case, made of plain types."""
        return plain(self.reference(*_built(case)))

    def _failed(self, failure: Failure) -> Verdict:
        if failure.error == "NotImplementedError":
            return NOT_ATTEMPTED
        if failure.error == CHANGED:
            return Verdict(0.0, failure.message)
        where = f" (line {failure.line} of your function)" if failure.line else ""
        text = f"{failure.error}: {failure.message}"
        teaches = next((says for words, says in self.failures if words.lower() in text.lower()), "")
        return Verdict(0.0, f"your code stopped with {text}{where}. {teaches}".strip())

    def _compared(self, answer: Any, case: Case) -> Verdict:
        right = self.right(case)
        if close(answer, right, self.tolerance):
            return RIGHT
        for mistake in self.mistakes:
            if close(answer, plain(mistake.makes(*_built(case))), self.tolerance):
                return Verdict(mistake.share, mistake.says)
        return Verdict(0.0, self._differs(answer, right))

    def _differs(self, answer: Any, right: Any) -> str:
        got, wanted = kind(answer), kind(right)
        if got != wanted:
            axes = f", that is ({self.axes}{',' * (',' not in self.axes)})" if self.axes else ""
            return f"expected {wanted}{axes}, got {got}."
        if _infinite(answer):
            return (
                "your answer holds NaN or infinity: look for a division by zero, or the exponential "
                "of a large number."
            )
        if isinstance(answer, Tensor) and right.is_floating_point():
            gap = (answer.double() - right.double()).abs()
            at = tuple(int(i) for i in torch.unravel_index(gap.argmax(), gap.shape))
            return (
                f"the shape is right, but the values are not: at {list(at)} you have "
                f"{answer[at]:.4g}, and {right[at]:.4g} is right."
            )
        if isinstance(answer, (int, float)) and not isinstance(answer, bool):
            return f"you have {answer:.4g}, which is not right."
        return "this is of the right type, but not the right answer."


def _built(case: Case) -> Case:
    """The case with its networks made."""
    return tuple(item.build() if isinstance(item, Network) else item for item in case)


def _infinite(value: Any) -> bool:
    """Whether NaN or infinity is anywhere in a plain value."""
    if isinstance(value, Tensor):
        return not value.isfinite().all()
    if type(value) in (list, dict):
        return any(map(_infinite, value.values() if type(value) is dict else value))
    return type(value) is float and not isfinite(value)


def kind(value: Any) -> str:
    """A value's type and shape in words."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    names = {
        bool: "True or False",
        int: "a whole number (int)",
        float: "a number (float)",
        str: "a string",
    }
    if type(value) in (list, dict):
        return f"a {'list' if type(value) is list else 'dictionary'} of {len(value)}"
    return names.get(type(value), type(value).__name__)


def close(answer: Any, right: Any, tolerance: float) -> bool:
    """Whether two values made of plain types are the same, floats up to the tolerance."""
    if isinstance(right, Tensor):
        if not isinstance(answer, Tensor) or answer.shape != right.shape:
            return False
        if not right.is_floating_point():
            return bool((answer == right).all())
        answer, right = answer.double(), right.double()
        scale = right.abs().max() if right.numel() else 0
        return bool(
            answer.isfinite().all() and ((answer - right).abs() <= tolerance * scale + 1e-9).all()
        )
    if type(right) is float:
        number = answer.item() if isinstance(answer, Tensor) and answer.numel() == 1 else answer
        return type(number) in (int, float) and abs(number - right) <= tolerance * abs(right) + 1e-9
    if type(right) is int and isinstance(answer, Tensor) and answer.numel() == 1:
        answer = answer.item()
    if type(answer) is not type(right):
        return False
    if type(right) is list:
        return len(answer) == len(right) and all(
            map(close, answer, right, [tolerance] * len(right))
        )
    if type(right) is dict:
        return answer.keys() == right.keys() and all(
            close(answer[k], right[k], tolerance) for k in right
        )
    return answer == right


def call(function: Any, case: Case) -> Any:
    """A function's answer to one case, of any type, or a `Failure`: it raised, or changed its arguments."""
    given = _copies(_built(case))
    before = _copies(given), _hooks(given)
    try:
        answer = function(*given)
        said = _changed(function, given, *before)
        return Failure(CHANGED, said) if said else answer
    except Exception as error:  # whatever a learner's code may raise is an answer to be judged
        trace, line = error.__traceback__, 0
        code = getattr(function, "__code__", None)
        while trace is not None:
            if code is not None and trace.tb_frame.f_code is code:
                line = trace.tb_lineno - code.co_firstlineno
            trace = trace.tb_next
        return Failure(type(error).__name__, str(error)[:300], line)


def _changed(function: Any, given: Case, before: Case, hooks: int) -> str:
    """What the function did to its arguments, as a sentence; "" if nothing."""
    if _hooks(given) > hooks:
        return "a hook is still on the network: keep what `register_...hook` returns, and call its `remove()`."
    code = getattr(function, "__code__", None)
    for place, (now, then) in enumerate(zip(given, before)):
        if not _same(now, then):
            name = f" `{code.co_varnames[place]}`" if code and place < code.co_argcount else ""
            return (
                f"your function changed its argument{name}; others still need it. Work on a clone."
            )
    return ""


def _same(now: Any, then: Any) -> bool:
    if isinstance(then, dict):
        return now.keys() == then.keys() and all(_same(now[key], then[key]) for key in then)
    if isinstance(then, (list, tuple)):
        return len(now) == len(then) and all(map(_same, now, then))
    return now is then or (
        torch.equal(now.detach(), then) if isinstance(then, Tensor) else now == then
    )


def _hooks(case: Case) -> int:
    """How many hooks are on the networks of a case."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    modules = [m for item in case if isinstance(item, torch.nn.Module) for m in item.modules()]
    return sum(len(getattr(module, kind)) for module in modules for kind in kinds)


def _copies(case: Case) -> Case:
    """Tensors, lists and dictionaries anew: code that works in place changes its own only."""
    return tuple(_copy(item) for item in case)


def _copy(item: Any) -> Any:
    if isinstance(item, Tensor):
        return item.clone()
    if isinstance(item, (list, tuple)):
        return type(item)(_copy(one) for one in item)
    return {key: _copy(one) for key, one in item.items()} if isinstance(item, dict) else item
