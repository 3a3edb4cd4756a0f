"""One part of an exercise: what is asked, how an answer is marked, which mistakes are known.

A part is used three times: by the check that a learner runs in the notebook, by `make grade` on
hidden cases, and by the tests, which feed it wrong submissions.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from math import isnan
from typing import Any

import torch
from torch import Tensor

from .answers import AnswerError, Failure, plain
from .comparing import brief, close, difference, in_form_of, kind, number, shown
from .drawing import drawn
from .known import Known, known
from .networks import built, hooks_on, modules_of, settings_of
from .settings import are_changed, as_at_the_start

Case = tuple  # the arguments of one call of the learner's function
_ALONG = (
    "`max` along one axis returns values and places; `amax` returns the values alone, and takes "
    "several axes."
)
COMMON = (("TypeError: max()", _ALONG), ("return_types.max", _ALONG))  # failures in any part
CHANGED = "ChangedArguments"  # the `Failure` of a function that leaves its arguments otherwise


@dataclass(frozen=True)
class Verdict:
    """What one answer is worth.

    Attributes:
        share: how much of it is right, 0 to 1.
        says: a sentence for the learner, "" if all is right.
        right: of an answer that is a dictionary, the keys that are right.
        names: what all the known mistakes say that give this very answer, `says` among them.
        given: the answer in brief, by its key (`comparing.brief`): a constant is found by it.
    """

    share: float
    says: str = ""
    right: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    given: dict[str, Any] = field(default_factory=dict, compare=False)


RIGHT = Verdict(1.0)
NOT_ATTEMPTED = Verdict(0.0, "not attempted yet")


@dataclass(frozen=True)
class Mistake:
    """A common mistake: `makes(*case)` is the answer that it gives, `says` names it and teaches.

    `share` is what it is worth all the same, 0 to 1. Where the answer is a dictionary, each key is
    compared by itself, `says` is shown with the key, and `share` does not count.
    """

    says: str
    makes: Callable[..., Any]
    share: float = 0.0


@dataclass(frozen=True, eq=False)  # each is itself: it is a key, and all its fields take long
class Part:
    """A part that a learner answers by a function (or, with `is_value`, by a plain value).

    If the right answer is a dictionary, every key is worth the same.

    Attributes:
        name: of the part and of its check, "ex02_weights".
        title: a few words for reports.
        points: the most it gives.
        answer: the name that the learner's notebook defines, a function or a value.
        draws: seed -> one case of each kind, always in the same order of kinds. A case is a tuple
            of arguments made of numbers, strings, lists, dictionaries, tensors and `Network`s.
            Seeds give other values and other shapes. For a value: one empty tuple.
        reference: the right answer to a case (not needed with `marker`).
        mistakes: known wrong ways; tried in their order.
        explains: for a dictionary, (key, the learner's value, *case) -> what is wrong with a value
            of the right type that no mistake has named ("" if that is not known).
        marker: (answer, *case) -> Verdict, instead of comparing with `reference`, where several
            answers are right; the answer is made of plain types but otherwise unchecked.
        axes: for an answer that is one tensor: the names of its axes, "N, C", for messages.
        tolerance: relative to the largest absolute value of the right answer.
        tiny: absolute error that is allowed beside it.
        failures: (words of an exception's class or message, sentence that teaches).
        expects: what a right answer looks like in numbers, shown with a pass.
        visible: the seed of the cases that the notebook shows, chosen so that they show as many of
            the known mistakes as such cases can. It is not above 0, as no hidden seed is.
    """

    name: str
    title: str
    points: float
    answer: str
    draws: Callable[[int], list[Case]]
    reference: Callable[..., Any] | None = None
    mistakes: tuple[Mistake, ...] = ()
    explains: Callable[..., str] | None = None
    marker: Callable[..., Verdict] | None = None
    axes: str = ""
    tolerance: float = 1e-4
    tiny: float = 1e-9
    is_value: bool = False
    failures: tuple[tuple[str, str], ...] = ()
    expects: str = ""
    visible: int = 0

    def cases(self, seed: int) -> list[Case]:
        """The calls to be answered: what the notebook shows (`VISIBLE`), or hidden ones like it."""
        return list(drawn(self, seed))

    def verdict(self, answer: Any, case: Case) -> Verdict:
        """Judge one answer, of any type whatever; never raises for what the answer is."""
        try:
            answer = plain(answer)
        except AnswerError as error:
            return Verdict(0.0, f"{error} {self._wanted(case)}")
        if answer is None and not self.is_value:
            return Verdict(0.0, f"`{self.answer}` returned None: {self._of_none(case)}")
        if answer is None or ((answer == [] or answer == {}) and not self._is_word(case)):
            return NOT_ATTEMPTED
        if isinstance(answer, Failure):
            return self._failed(answer)
        if self.marker is not None:
            return self.marker(answer, *built(case))
        about = known(self, case)
        verdict = self._compared(answer, about, case)
        return replace(verdict, given=brief(in_form_of(answer, about.right)))

    def _of_none(self, case: Case) -> str:
        if self._is_word(case):  # None may be meant
            return "the answer is a string in this case. Or is a `return` missing?"
        return "is its `return` missing?"

    def _is_word(self, case: Case) -> bool:
        return bool(self.reference) and type(self.right(case)) is str

    def _wanted(self, case: Case) -> str:
        return f"`{self.answer}` must give {kind(self.right(case))}." if self.reference else ""

    def right(self, case: Case) -> Any:
        """The right answer to a case, made of plain types."""
        return known(self, case).right

    def worths(self, case: Case) -> tuple[tuple[float, tuple[str, ...]], ...]:
        """What each known mistake is worth in this case, and which keys it has right."""
        return tuple(known(self, case).worths()) if self.reference else ()

    def shows(self, case: Case, wanted: tuple) -> bool:
        """Whether `worths` are these; found out at the first that is another."""
        if self.reference is None:
            return not wanted
        found = known(self, case).worths()
        return all(one == other for one, other in zip(found, wanted, strict=True))

    def _failed(self, failure: Failure) -> Verdict:
        if failure.error == "NotImplementedError":
            return NOT_ATTEMPTED
        if failure.error == CHANGED:
            return Verdict(0.0, failure.message)
        where = f" (line {failure.line} of your function)" if failure.line else ""
        text = f"{failure.error}: {failure.message}"
        known = (says for words, says in (*self.failures, *COMMON) if words.lower() in text.lower())
        teaches = next(known, "")
        return Verdict(0.0, f"your code stopped with {text}{where}. {teaches}".strip())

    def is_close(self, answer: Any, right: Any) -> bool:
        """Whether an answer is this one, by the part's tolerance."""
        return close(answer, right, self.tolerance, self.tiny)

    def _compared(self, answer: Any, about: Known, case: Case) -> Verdict:
        right = about.right
        if type(right) is dict:
            return self._by_key(answer, right, about, case)
        if self.is_close(answer, right):
            return RIGHT
        made = [mistake for mistake, other in about.mistakes() if self.is_close(answer, other)]
        if made:  # where it may be several, the one that is worth the most
            names = tuple(dict.fromkeys(mistake.says for mistake in made))
            return Verdict(max(mistake.share for mistake in made), names[0], names=names)
        return Verdict(0.0, difference(answer, right, self.tolerance, self.axes))

    def _by_key(self, answer: Any, right: dict, about: Known, case: Case) -> Verdict:
        if type(answer) is not dict or set(answer) != set(right):
            keys = ", ".join(f'"{key}"' for key in right)
            return Verdict(0.0, f"return a dictionary with the keys {keys}, and no others.")
        good = tuple(key for key in right if self.is_close(answer[key], right[key]))
        if len(good) == len(right):
            return Verdict(1.0, right=good)
        wrong, bad = list(about.mistakes()), [key for key in right if key not in good]
        named = {key: self._names(key, answer[key], right[key], wrong) for key in bad}
        # the first that has a name; what is merely "not right" teaches less
        key = next((key for key in bad if named[key]), bad[0])
        fault = self._fault(key, answer[key], right[key], case)
        names = tuple(f'"{key}": {says}' for says in named[key])
        says = names[0] if names else f'"{key}": {fault}'
        return Verdict(len(good) / len(right), says, good, names)

    def _names(self, key: str, got: Any, right: Any, wrong: list) -> list[str]:
        """What the known mistakes say that give this value of a key."""
        says = []
        for mistake, other in wrong:
            value = other.get(key) if type(other) is dict else None
            if value is not None and not self.is_close(value, right) and self.is_close(got, value):
                says.append(mistake.says)
        return list(dict.fromkeys(says))

    def _fault(self, key: str, got: Any, right: Any, case: Case) -> str:
        """What is wrong with the value of a key that no mistake names."""
        if right is None:
            return f"there is none in this case, so it is None, not {shown(got)}."
        wanted, got = _loose_kind(right), number(got) if type(right) in (int, float) else got
        if got is None:
            return f"you have None, where {wanted} is expected."
        if _loose_kind(got) != wanted and not (type(got) is int and type(right) is float):
            return f"expected {wanted}, got {_loose_kind(got)}."
        if _is_nan(got):
            return "it is NaN: look for a division by zero."
        says = self.explains(key, got, *built(case)) if self.explains else ""
        return says or f"you have {shown(got)}, which is not right."


def _loose_kind(value: Any) -> str:
    """A value's type and shape in words; lists of any length are alike."""
    if value is None:
        return "None"
    return "a list" if isinstance(value, list) else kind(value)


def _is_nan(value: Any) -> bool:
    if isinstance(value, Tensor):
        return bool(value.isnan().any())
    return type(value) is float and isnan(value)


def call(function: Any, case: Case) -> Any:
    """A function's answer to one case, of any type, or a `Failure`: it raised, or changed its
    arguments.

    A notebook's own settings, such as a default dtype, make no difference: the function is called
    without them. Should it need them, it is called with them.
    """
    answer = _called(function, case, as_at_the_start())
    if isinstance(answer, Failure) and answer.error != "NotImplementedError" and are_changed():
        other = _called(function, case, nullcontext())
        return answer if isinstance(other, Failure) else other
    return answer


def _called(function: Any, case: Case, settings: AbstractContextManager) -> Any:
    with as_at_the_start():
        given = _copies(built(case))
        modules = modules_of(given)
        before = _copies(given), hooks_on(modules), settings_of(modules)
    try:
        with settings:
            answer = function(*given)
        said = _changed(function, given, *before)
        return Failure(CHANGED, said) if said else answer
    except Exception as error:  # whatever a learner's code may raise is an answer to be judged
        trace, line = error.__traceback__, 0
        code = getattr(function, "__code__", None)
        while trace is not None:
            if code is not None and trace.tb_frame.f_code is code:
                line = trace.tb_lineno - code.co_firstlineno + 1
            trace = trace.tb_next
        return Failure(type(error).__name__, str(error)[:300], line)


def _changed(function: Any, given: Case, before: Case, hooks: int, settings: tuple) -> str:
    """What the function did to its arguments, as a sentence; "" if nothing."""
    if hooks_on(modules_of(given)) > hooks:
        return (
            "a hook is still on the network: keep what `register_...hook` returns, and call "
            "its `remove()`."
        )
    modes, trained = settings_of(modules_of(given))
    if modes != settings[0]:
        return (
            "the network is in another mode than before (`train()`, `eval()`): leave it as it is."
        )
    if trained != settings[1]:
        return (
            "`requires_grad` of the network's parameters is another one than before: leave it as "
            "it is, somebody may be training the network."
        )
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


def _copies(case: Case) -> Case:
    """Tensors, lists and dictionaries anew: code that works in place changes its own only."""
    return tuple(_copy(item) for item in case)


def _copy(item: Any) -> Any:
    if isinstance(item, Tensor):
        return item.clone()
    if isinstance(item, (list, tuple)):
        return type(item)(_copy(one) for one in item)
    return {key: _copy(one) for key, one in item.items()} if isinstance(item, dict) else item
