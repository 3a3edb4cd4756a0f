"""What a check says of answers that are right by luck, missing, of another kind, or at others'
cost.
"""

import warnings
from collections import ChainMap, OrderedDict, UserDict, defaultdict, deque
from contextlib import ExitStack
from fractions import Fraction
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

import course_checks as checks
from course_checks.answers import AnswerError, Failure, from_bytes, plain, to_bytes
from course_checks.networks import Network
from course_checks.part import Mistake, Part, Verdict, call
from course_checks.report import LUCK, judge, marks


def cases(seed):
    """Three rows; the right answers are their positive parts, the first of which is all zeros."""
    return [
        (torch.tensor([-1.0, -2.0]),),
        (torch.tensor([1.0, -2.0]),),
        (torch.tensor([3.0, 4.0, 5.0]),),
    ]


RELU = Part("ex99_relu", "positive part", 3, "relu", cases, lambda x: x.clamp(min=0))
NAMED = Part(
    "ex99_sign", "sign", 2, "sign", cases, lambda x: "none" if (x < 0).all() else f"{len(x)} places"
)


def test_nothing_but_zeros_earns_nothing_where_zeros_are_right():
    verdicts = judge(RELU, lambda x: torch.zeros_like(x))
    assert (
        [v.share for v in verdicts] == [0, 0, 0]
        and verdicts[0].says == LUCK
        and marks(RELU, verdicts) == 0
    )


def test_the_easy_case_counts_beside_a_harder_one():
    assert [v.share for v in judge(RELU, lambda x: x.clamp(min=0, max=2))] == [1, 1, 0]


def test_a_harder_case_alone_counts():
    assert [v.share for v in judge(RELU, lambda x: x)] == [0, 0, 1]


def test_all_right_is_all_right():
    assert marks(RELU, judge(RELU, lambda x: x.clamp(min=0))) == 3


def test_always_the_same_word_earns_nothing():
    assert marks(NAMED, judge(NAMED, lambda x: "none")) == 0


def test_a_function_that_forgets_its_return():
    def relu(x):
        x.clamp(min=0)

    assert {v.says for v in judge(RELU, relu)} == {"`relu` returned None: is its `return` missing?"}


def test_a_function_that_changes_its_argument_is_named_with_it():
    def relu(values):
        return values.clamp_(min=0)

    says = judge(RELU, relu)[1].says
    assert (
        says
        == "your function changed its argument `values`; others still need it. Work on a clone."
    )


class Relu:
    def __call__(self, x):
        return x.clamp(min=0)

    def method(self, x):
        return x.clamp(min=0)


class Picture(torch.Tensor):
    """As torchvision's tv_tensors are."""


def _named_tuple(x):
    """Fields of their own names, as many as there are numbers."""
    numbers = x.clamp(min=0).tolist()
    return NamedTuple("Row", [(f"n{place}", float) for place in range(len(numbers))])(*numbers)


def _twice(function):
    """A decorator without functools.wraps."""
    return lambda *args: function(*args)


@pytest.mark.parametrize(
    "relu",
    [
        lambda x: np.maximum(x.numpy(), 0),
        lambda x: np.maximum(x.double().numpy(), 0),
        lambda x: x.clamp(min=0).tolist(),
        lambda x: list(x.clamp(min=0)),
        lambda x: tuple(max(float(item), 0) for item in x),
        lambda x: x.clamp(min=0).double(),
        lambda x: x.clamp(min=0).half(),
        lambda x: x.clamp(min=0).long(),
        lambda x: nn.Parameter(x.clamp(min=0)),
        partial(torch.clamp, min=0),
        torch.relu,
        nn.ReLU(),
        Relu(),
        Relu().method,
        _twice(Relu()),
        lambda x: x.clamp(min=0).as_subclass(Picture),
        lambda x: np.maximum(x.numpy(), 0).astype(object),
        lambda x: torch.Size(x.clamp(min=0).int().tolist()),
        lambda x: [Fraction(max(item, 0)) for item in x.tolist()],
        lambda x: deque(max(item, 0) for item in x.tolist()),
        lambda x: {place: max(item, 0) for place, item in enumerate(x.tolist())}.values(),
        _named_tuple,
    ],
)
def test_the_right_numbers_count_in_whatever_form_they_come(relu):
    assert marks(RELU, judge(RELU, relu)) == 3


@pytest.mark.parametrize(
    "make",
    [
        OrderedDict,
        UserDict,
        lambda pairs: defaultdict(int, pairs),
        lambda pairs: MappingProxyType(dict(pairs)),
        lambda pairs: ChainMap({}, dict(pairs)),
        lambda pairs: {np.str_(key): value for key, value in pairs},
    ],
)
def test_every_kind_of_dictionary_counts_and_whole_numbers_with_a_point(make):
    right = [("class", 3), ("place", [1, 2])]
    part = Part("ex99_dict", "dict", 2, "f", lambda seed: [()], lambda: dict(right))
    assert part.verdict(make(right), ()).share == 1
    assert part.verdict(make([("class", 3.0), ("place", [1.0, 2.0])]), ()).share == 1
    assert part.verdict(make([("class", 3.5), ("place", [1, 2])]), ()).share == 0.5


BATCH = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])


@pytest.mark.parametrize(
    ("right", "answer"),
    [
        (BATCH[0], [True, False, False]),
        (BATCH[0], [np.True_, torch.tensor(False), 0]),
        (BATCH[0] > 0, [1.0, 0.0, 0.0]),
        (BATCH, BATCH.tolist()),
        (BATCH, list(BATCH)),
        (BATCH, tuple(row.numpy() for row in BATCH)),
        (BATCH[0, 0], 1),
        ([1, 0, 0], BATCH[0]),
        (BATCH.tolist(), BATCH.numpy()),
        ([BATCH[0], BATCH[1]], BATCH.double()),
        ({"for": [1, 2], "map": BATCH}, {"for": np.array([1, 2]), "map": BATCH.tolist()}),
        ("P is not preferred", " P is not  preferred\n"),
        (["sensible", "same class"], ("sensible ", "same class")),
        (["sensible", "same class"], np.array(["sensible", "same class"])),
    ],
)
def test_a_list_of_lists_a_list_of_tensors_and_a_tensor_are_the_same(right, answer):
    part = Part("ex99_form", "form", 2, "f", lambda seed: [()], lambda: right)
    assert part.verdict(answer, ()) == Verdict(
        1.0, right=tuple(right) if isinstance(right, dict) else ()
    )


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ([[1.0, 0.0, 0.0], [0.0, 1.0, 5.0]], "at [1, 2] you have 5, and 1 is right"),
        ([[1.0, 0.0], [0.0]], "expected a tensor of shape (2, 3), got a list of 2."),
        ([BATCH], "The tensor is in a list or tuple: take it out, by `[0]`."),
        (iter([]), "A list_iterator is no answer."),
        (map(int, "123"), "A map is no answer. Make a list of it: `list(...)`."),
        ({1, 2}, "A set is no answer. It has no order"),
        (b"123", "A bytes is no answer."),
        (1j, "A complex is no answer."),
    ],
)
def test_what_is_wrong_with_a_list_is_said_of_its_values_where_its_form_is_right(answer, words):
    part = Part("ex99_form", "form", 2, "f", lambda seed: [()], lambda: BATCH)
    verdict = part.verdict(answer, ())
    assert verdict.share == 0 and words in verdict.says


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (-torch.tensor([1.0, 2.0, -3.0]), "but every value is -1 times the right one."),
        ([255.0, 510.0, -765.0], "but every value is 255 times the right one."),
        (
            [1.001, 2.002, -3.003],
            "but the values are not: at [2] you have -3.003, and -3 is right.",
        ),
        ([1.0, 2.0, -6.0], "but the values are not: at [2] you have -6, and -3 is right."),
        (torch.zeros(3), "but the values are not: at [2] you have 0, and -3 is right."),
    ],
)
def test_a_factor_before_all_values_is_named(answer, words):
    part = Part("ex99_a", "", 1, "a", lambda seed: [(0,)], lambda _: torch.tensor([1.0, 2.0, -3.0]))
    assert part.verdict(answer, (0,)).says == f"the shape is right, {words}"


def test_an_array_of_what_no_answer_is_made_of_is_sent_back():
    says = judge(RELU, lambda x: np.array([b"a"]))[1].says
    assert says.startswith("A numpy array of |S1 is no answer: return a list, or a torch tensor.")


def test_one_number_in_lists_of_any_length_is_the_same_answer_in_all_cases():
    """Half of the marks go to a mistake that is right by chance: not to who always gives it."""
    halves = Mistake("halves.", lambda x: torch.full_like(x, 0.5), share=0.5)
    part = Part("ex99_half", "half", 3, "f", cases, lambda x: x + 7, (halves,))
    assert marks(part, judge(part, lambda x: torch.full_like(x, 0.5))) == 0
    assert marks(part, judge(part, lambda x: [0.5] * len(x))) == 0


def forward(network: nn.Module) -> float:
    return network(torch.ones(1, 3, 16, 16)).sum().item()


@pytest.mark.parametrize(
    "kind", ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"]
)
def test_a_hook_left_behind_is_found(kind):
    part = Part("ex99_hook", "hook", 1, "f", lambda seed: [(Network("small"),)], forward)

    def f(network):
        getattr(network.features, kind)(lambda *_: None)
        return forward(network)

    assert judge(part, forward)[0].share == 1
    assert judge(part, f)[0].says.startswith("a hook is still on the network")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda network: network.train(), "the network is in another mode than before"),
        (lambda network: network.pool.train(), "the network is in another mode than before"),
        (lambda network: network.head.requires_grad_(False), "`requires_grad` of the network's"),
    ],
)
def test_a_network_that_is_left_otherwise_is_found(change, says):
    part = Part("ex99_left", "left", 1, "f", lambda seed: [(Network("small"),)], forward)

    def f(network):
        answer = forward(network)
        change(network)
        return answer

    def back_again(network):
        answer = f(network)
        network.eval().requires_grad_(True)
        return answer

    assert judge(part, f)[0].says.startswith(says)
    assert judge(part, back_again)[0].share == 1


# --- what a notebook sets for all of torch --------------------------------------------------------


def _gradient(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Of the first class, by the image."""
    assert x.dtype == torch.float32
    x = x.clone().requires_grad_()
    return torch.autograd.grad(network(x)[:, 0].sum(), x)[0]


def _images(seed):
    return [(Network("small", seed + n), dice(seed, n)) for n in range(2)]


def dice(seed, number):
    return torch.randn(1, 3, 12, 12, generator=torch.Generator().manual_seed(10 * seed + number))


@pytest.fixture
def settings():
    """Settings for all of torch, taken back after the test."""
    with ExitStack() as stack, warnings.catch_warnings(), np.errstate():
        yield stack
    torch.set_default_device(None)
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)


SETTINGS = {
    "double": lambda stack: torch.set_default_dtype(torch.float64),
    "bfloat16": lambda stack: torch.set_default_dtype(torch.bfloat16),
    "meta": lambda stack: torch.set_default_device("meta"),
    "no GPU": lambda stack: torch.set_default_device("cuda:99"),
    "no gradients": lambda stack: torch.set_grad_enabled(False),
    "inference": lambda stack: stack.enter_context(torch.inference_mode()),
    "autocast": lambda stack: stack.enter_context(torch.autocast("cpu")),
    "anomalies": lambda stack: stack.enter_context(torch.autograd.set_detect_anomaly(True)),
    "numpy raises": lambda stack: np.seterr(all="raise"),
    "warnings raise": lambda stack: warnings.simplefilter("error"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_for_all_of_torch_costs_nothing(settings, name):
    part = Part("ex99_grad", "gradient", 3, "f", _images, _gradient)
    SETTINGS[name](settings)
    verdicts = judge(part, _gradient, seed=4)
    assert [verdict.says for verdict in verdicts] == ["", ""]


def test_a_setting_stays_and_a_function_that_needs_it_counts(settings):
    part = Part("ex99_sum", "sums", 3, "f", cases, lambda x: x.sum().item())
    torch.set_default_dtype(torch.float64)
    assert marks(part, judge(part, lambda x: x.double() @ torch.ones(len(x)))) == 3
    assert torch.get_default_dtype() == torch.float64
    torch.set_grad_enabled(False)
    seen = Part("ex99_logits", "logits", 3, "f", _images, lambda network, x: network(x)[0])
    assert marks(seen, judge(seen, lambda network, x: network(x)[0].numpy())) == 3
    assert not torch.is_grad_enabled()


def test_a_persons_name_with_a_capital_counts():
    part = next(one for one in checks.parts("ex01_questions") if one.name == "ex01_asked")
    right = {"ornithologist": ["contrast", "spoonbill", "flamingo"], "radiologist": ["why", "x"]}
    capital = {who.capitalize(): entry for who, entry in right.items()}
    assert part.verdict(capital, ()) == part.verdict(right, ())
    assert part.verdict(right, ()).share == 1.5 / 8


def test_the_line_that_stops_is_counted_as_the_cell_counts_it():
    """The function's first line, that of `def`, is line 1, as in a cell that begins with it."""

    def stops():
        raise ZeroDivisionError

    assert call(stops, ()).line == 2


def test_what_a_function_switches_off_is_on_again_for_the_next_one(settings):
    part = Part("ex99_logits", "logits", 3, "f", _images, lambda network, x: network(x)[0])

    def f(network, x):
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        return network(x)[0]

    assert marks(part, judge(part, f)) == 3
    assert torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32


# --- answers as bytes


def test_an_answer_comes_out_of_the_sandbox_as_it_was():
    answer = {
        "numbers": [1, 2.5, float("inf"), True, None, "words"],
        "tensors": [
            torch.tensor([[1.5, -2], [3, 4]]),
            torch.tensor([1 + 1e-12], dtype=torch.float64),
            torch.tensor([2**40, -1]),
            torch.tensor([True, False]),
            torch.empty(0, 3),
        ],
        "after the tensors": [torch.tensor(7.0)],
    }
    found = from_bytes(to_bytes(answer))
    assert found["numbers"] == answer["numbers"] and list(found) == list(answer)
    for key in ("tensors", "after the tensors"):
        for one, other in zip(found[key], answer[key], strict=True):
            assert one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)
    failure = Failure("ValueError", "no", 3)
    assert from_bytes(to_bytes(failure)) == failure


@pytest.mark.parametrize(
    "given, kept", [(torch.bfloat16, torch.float32), (torch.int32, torch.int64),
                    (torch.float64, torch.float64)]
)  # fmt: skip
def test_a_tensor_of_another_type_becomes_the_nearest_that_an_answer_has(given, kept):
    assert plain(torch.ones(2, dtype=given)).dtype == kept


def test_a_tensor_of_very_many_axes_is_no_answer():
    assert plain(torch.zeros([1] * 16)).dim() == 16
    with pytest.raises(AnswerError, match="holds a tensor of 17 axes"):
        plain(torch.zeros([1] * 17))
