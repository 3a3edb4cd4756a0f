"""What a check says of answers that are right by luck, missing, of another kind, or at others'
cost.
"""

from collections import OrderedDict, defaultdict
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from course_checks.networks import Network
from course_checks.part import Part
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
    ],
)
def test_the_right_numbers_count_in_whatever_form_they_come(relu):
    assert marks(RELU, judge(RELU, relu)) == 3


@pytest.mark.parametrize(
    "make",
    [
        OrderedDict,
        lambda pairs: defaultdict(int, pairs),
        lambda pairs: {np.str_(key): value for key, value in pairs},
    ],
)
def test_every_kind_of_dictionary_counts_and_whole_numbers_with_a_point(make):
    right = [("class", 3), ("place", [1, 2])]
    part = Part("ex99_dict", "dict", 2, "f", lambda seed: [()], lambda: dict(right))
    assert part.verdict(make(right), ()).share == 1
    assert part.verdict(make([("class", 3.0), ("place", [1.0, 2.0])]), ()).share == 1
    assert part.verdict(make([("class", 3.5), ("place", [1, 2])]), ()).share == 0.5


def test_an_array_of_words_is_sent_back():
    says = judge(RELU, lambda x: np.array(["a"]))[1].says
    assert says.startswith("A numpy array of <U1 is no answer: return a list, or a torch tensor.")


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
