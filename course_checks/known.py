"""What is known of a case: its right answer, and what each known mistake answers."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from operator import is_
from typing import TYPE_CHECKING, Any

from torch import Tensor

from .answers import Failure, plain
from .comparing import ready
from .networks import built, hooks_on, modules_of

if TYPE_CHECKING:
    from .part import Case, Mistake, Part


class Known:
    """The right answer to a case, and the mistakes' answers; none is made before it is needed.

    All are made from the same tensors and networks.

    Raises:
        RuntimeError: the reference or a mistake left a hook on a network, or wrote into a tensor:
            the next one would be asked something else.
    """

    def __init__(self, part: "Part", case: "Case"):
        self.part, self._case = part, built(case)
        self._modules = modules_of(self._case)
        self._before = self._marks()
        self.right = self._untouched(part.reference, plain(part.reference(*self._case)))
        self._ready = ready(self.right)
        self._answers: dict[int, tuple[Any, Any]] = {}

    def mistakes(self) -> "Iterator[tuple[Mistake, Any]]":
        """Each mistake and its answer, a `Failure` if it stops."""
        return ((mistake, self._made(n)[0]) for n, mistake in enumerate(self.part.mistakes))

    def worths(self) -> Iterator[tuple[float, tuple[str, ...]]]:
        """What each mistake is worth, and which keys it has right: cases are drawn by this."""
        return (self._worth(self._made(n)[1]) for n in range(len(self.part.mistakes)))

    def _made(self, number: int) -> tuple[Any, Any]:
        """A mistake's answer, as it is and `ready`."""
        if number not in self._answers:
            makes = self.part.mistakes[number].makes
            answer = self._untouched(makes, _tried(makes, self._case))
            self._answers[number] = answer, ready(answer)
        return self._answers[number]

    def _worth(self, answer: Any) -> tuple[float, tuple[str, ...]]:
        close, right = self.part.is_close, self._ready
        if isinstance(answer, Failure):
            return 0.0, ()
        if type(right) is dict:
            if type(answer) is not dict or set(answer) != set(right):
                return 0.0, ()
            good = tuple(key for key in right if close(answer[key], right[key]))
            return len(good) / len(right), good
        if close(answer, right):
            return 1.0, ()
        shares = ((mistake.share, n) for n, mistake in enumerate(self.part.mistakes))
        near = (share for share, n in shares if share and close(answer, self._made(n)[1]))
        return max(near, default=0.0), ()

    def _untouched(self, made_by: Callable, answer: Any) -> Any:
        if self._marks() != self._before:
            raise RuntimeError(
                f"{self.part.name}: {made_by} left a hook behind, or wrote into its arguments."
            )
        return answer

    def _marks(self) -> tuple:
        """What changes if a hook is left on a network, or a tensor is written into."""
        tensors = [one for one in self._case if isinstance(one, Tensor) and not one.is_inference()]
        return hooks_on(self._modules), *(tensor._version for tensor in tensors)


def _tried(makes: Callable, case: "Case") -> Any:
    try:
        return plain(makes(*case))
    except Exception as error:  # wrong code stops in its own ways
        return Failure(type(error).__name__, str(error)[:300])


def known(part: "Part", case: "Case") -> Known:
    """The same for the very same case: many answers, and guesses, are judged against it."""
    return _known(part, _Same(case))


class _Same:
    """A case as a key: the same if it is the very same object.

    The key holds the case, so that nothing else can have its `id` while it is kept.
    """

    def __init__(self, case: "Case"):
        self.case = case

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.case is self.case

    def __hash__(self) -> int:
        return id(self.case)


@lru_cache(maxsize=128)
def _known(part: "Part", key: _Same) -> Known:
    return Known(part, key.case)


def remembering(function: Callable, last: int = 8) -> Callable:
    """The function with its last results, each kept with its arguments for the very same ones.

    What several mistakes begin with is computed once.
    """
    kept: list[tuple[tuple, Any]] = []

    def remembered(*given: Any) -> Any:
        for before, result in kept:
            if len(before) == len(given) and all(map(is_, before, given)):
                return result
        result = function(*given)
        kept.insert(0, (given, result))
        del kept[last:]
        return result

    return remembered
