"""What a network's output says of classes: logits, probabilities, the predicted class.

Most networks answer with logits y, N x classes, and p = softmax(y). Two kinds are read otherwise:

- One logit y for "yes or no" is the pair (-y/2, +y/2). The softmax of the pair is
  (1 - sigmoid(y), sigmoid(y)): the same probabilities, and every question about two classes has its
  answer.
- Of several classes that do not compete, because an image may show more than one, each has its own
  p_c = sigmoid(y_c).
"""

import re
from math import isclose, prod
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from ..errors import ClassError, ProbabilitiesWarning, warn_outside
from .unchanged import runs_own_code


def is_one_logit(output: Tensor) -> bool:
    """Whether the output is one logit for each image, of the answers no and yes: N, N x 1, ..."""
    return prod(output.shape[1:]) == 1


def are_classes(output: Tensor) -> bool:
    """Whether the output is N, N x classes, or N x classes x 1 x 1."""
    return output.dim() == 1 or prod(output.shape[1:]) == output.shape[1]


def check_classes(output: Tensor) -> None:
    """Raise a ClassError that says what to do unless the output is classes."""
    if are_classes(output):
        return
    shape = " x ".join(map(str, output.shape))
    cure = "output=lambda y: y.flatten(1) takes the other axes away"
    if prod(output.shape[1:]) > max(output.shape[1:]):
        cure = (
            "say with output= which numbers are meant: of each class's map, say, the largest, "
            "output=lambda y: y.flatten(2).amax(2)"
        )
    raise ClassError(f"The network's output is {shape}, not N x classes: {cure}.")


def _rows(output: Tensor) -> Tensor:
    """The output as N x classes, N x 1 of one logit."""
    return output.flatten(1) if output.dim() > 1 else output[:, None]


def class_logits(output: Tensor) -> Tensor:
    """y, N x classes; the pair (-y/2, +y/2), N x 2, of a network with one logit."""
    y = _rows(output)
    return torch.cat([-y / 2, y / 2], dim=1) if is_one_logit(output) else y


def predicted(output: Tensor) -> Tensor:
    """The class of the largest logit, N numbers; of one logit y, 0 ("no") where y < 0, else 1."""
    y = _rows(output)
    return (y[:, 0] >= 0).long() if is_one_logit(output) else y.argmax(dim=1)


def class_probabilities(output: Tensor, sigmoid: bool = False) -> Tensor:
    """p of N x classes x ... logits, in the same shape; N x 2 of a network with one logit.

    Args:
        sigmoid: each class by itself, p_c = sigmoid(y_c), for a network that may find several in
            one image. Otherwise the classes compete: p = softmax(y).
    """
    if is_one_logit(output):
        return class_logits(output).softmax(dim=1)
    if not sigmoid and output.shape[1] == 1:
        shape = " x ".join(map(str, output.shape))
        raise ClassError(
            f"The network's output is {shape}: of one number each a softmax makes 1. Of one logit "
            "at each place: probabilities(sigmoid=True). Of classes on another axis: softmax along "
            "that one."
        )
    return output.sigmoid() if sigmoid else output.softmax(dim=1)


def cotangents_of(v: Tensor, output: Tensor) -> Tensor:
    """From v on the class logits to the same question on the output itself (chain rule).

    Args:
        v: N x K x classes; N x K x 2 for one logit.
        output: the network's, N x ... .

    Returns:
        N x K x ..., for `ForwardPass.evidence`.
    """
    if is_one_logit(output):
        v = (v[..., 1:] - v[..., :1]) / 2
    return v.reshape(*v.shape[:2], *output.shape[1:])


# --- a network that has taken the softmax already -------------------------------------------------

_warned: WeakSet[nn.Module] = WeakSet()
# what a softmax may go through and still be one; clamped: kept away from 0 and 1
_PASSING = (
    *("View", "UnsafeView", "Reshape", "Squeeze", "Unsqueeze", "Clone", "Alias", "ToCopy"),
    *("TBackward", "Transpose", "Permute", "Expand", "Slice", "Select", "Index", "Clamp", "Mean"),
)
# a sigmoid that is written by hand, of whatever function it is made: the last operations, the last
# first, with + where two paths of the graph meet
_BY_HAND = re.compile(
    r"(Mul )?(Reciprocal|Div\+?|Pow) Add Exp "  # 1 / (1 + exp(-y)), exp(y) / (1 + exp(y))
    r"|(Mul|Div) Add (Tanh|Erf) |Add (Mul|Div) (Tanh|Erf|Atan) |(Mul|Div) Erfc "  # (1 + tanh y) / 2
    r"|Exp (LogSigmoid|SpecialLogNdtr|Neg Exp|Neg Softplus) "  # exp(-exp(-y))
    r"|(Rsub Exp|Neg Expm1) Neg (Exp|Softplus) "  # 1 - exp(-exp(y))
    r"|Rsub Sigmoid |(Mul|Div) Hardtanh Add "
    r"|((Mul|Div) Add|Add( Mul| Div)?) "  # (1 + y / (1 + |y|)) / 2, (1 + y / sqrt(1 + y^2)) / 2
    r"(Div[+] Add Abs|(Div[+] Sqrt|Mul[+] Rsqrt) Add (Pow|Mul[+])) "
)
_PRODUCTS = ("Addmm", "Addbmm", "Mm", "Bmm")  # of a matrix: what comes out are logits
# what probabilities are averaged by, multiplied, or chosen from
_JOINING = ("Add", "Sub", "Rsub", "Mul", "Div", "Sum", "Stack", "Cat", "Maximum", "Minimum", "Sqrt")
_CURE = {
    ("softmax", 1): "torch.log",
    ("softmax", 100): "torch.log",  # log 100 is added to all alike
    ("sigmoid", 1): "torch.logit",
    ("sigmoid", 100): "lambda y: torch.logit(y / 100)",
}


def warn_of_probabilities(model: nn.Module, output: Tensor) -> None:
    """Warn, once for each network, where the output is probabilities and not logits.

    Args:
        output: the network's, with its graph.
    """
    if model in _warned:
        return
    found = _probabilities_by(output)
    if found is None:
        return
    _warned.add(model)
    kind, whole = found
    percent = " in percent" if whole == 100 else ""
    second = "A softmax" if kind == "clamp" else f"A second {kind}"
    warn_outside(
        f"{type(model).__name__} ends in a {kind}: its output is probabilities{percent}, not "
        f"logits. {second} flattens them, and where p is nearly 1 hardly any gradient is "
        f"left. To ask the logits, {_way_to_logits(model, kind, whole)}.",
        ProbabilitiesWarning,
    )


def _way_to_logits(model: nn.Module, kind: str, whole: int) -> str:
    """What to do about probabilities of this kind, as the end of a sentence."""
    way = f"return what comes before the {kind}"
    name, last = next(reversed(list(model.named_children())), ("", None))
    if isinstance(last, (nn.Softmax, nn.Sigmoid, nn.Hardsigmoid)) and whole == 1:
        place = f"model[{name}]" if name.isdecimal() else f"model.{name}"
        way = f"take it off ({place} = torch.nn.Identity())"
    if (kind, whole) in _CURE:
        cure = _CURE[kind, whole]
        way += f"; or, where the network returns a tensor alone, pass output={cure}"
    if kind == "softmax":
        way += ", with which probabilities and contrasts are right and Grad-CAM asks about log p"
    return way


def _probabilities_by(output: Tensor) -> tuple[str, int] | None:
    """What the probabilities come from, "softmax", "sigmoid" or "clamp"; certainty is 1 or 100.

    None for logits, or if nobody can tell. The graph knows its last operation. Where it does not
    say (compiled networks, averages of several softmaxes), rows that are >= 0 and sum to 1 or
    100 are a softmax's. Values between 0 and 1 alone prove no sigmoid: logits may lie there, too.
    """
    if output.grad_fn is not None and output.grad_fn.name().startswith(_PRODUCTS):
        return None
    node, y, whole = _last_operation(output.grad_fn), output.detach().float(), 1
    if _times_a_hundred(node):
        node, y, whole = _last_operation(_before(node)[0]), y / 100, 100
    last = node.name() if node is not None else ""
    kind = last.removesuffix("0").removesuffix("Backward").lower()
    if kind in ("sigmoid", "hardsigmoid"):  # 1 - p beside p: log p is what a softmax takes
        return _softmax_by_sums(output) or (kind, whole)
    if kind == "softmax":
        return kind, whole
    clamp = ("clamp", 1) if _is_clamped(output.grad_fn) else None
    if last.startswith(_PRODUCTS):
        return clamp
    by_hand = _BY_HAND.match(_operations(node)) or _sigmoids(node) > 1
    if by_hand and bool(((y >= 0) & (y <= 1)).all()):
        return _softmax_by_sums(output) or ("sigmoid", whole)
    return _softmax_by_sums(output) or clamp


def _softmax_by_sums(output: Tensor) -> tuple[str, int] | None:
    """As `_probabilities_by`, where every row is >= 0 and sums to 1 or 100."""
    if is_one_logit(output) or bool((output < 0).any()):
        return None
    tolerance = 1e-5 if output.dtype in (torch.float32, torch.float64) else 1e-2
    sums = output.detach().float().sum(dim=1)
    for whole in (1, 100):
        if bool(((sums / whole - 1).abs() <= tolerance).all()):
            return "softmax", whole
    return None


def _is_clamped(node: Any) -> bool:
    """Whether the end is cut off below 0 and above 1."""
    *passing, last = _from_the_end(node)
    # the other kinds of Clamp have tensors for limits, or one limit
    clamps = [one for one in passing if one.name() == "ClampBackward1"]
    if any((one._saved_min, one._saved_max) == (0, 1) for one in clamps):
        return True
    hard = last is not None and last.name().startswith("Hardtanh")
    return hard and (last._saved_min_val, last._saved_max_val) == (0, 1)


def _times_a_hundred(node: Any) -> bool:
    """Whether the operation makes percent: a product with 100, or a quotient by 0.01."""
    if node is None or not node.name().startswith(("Mul", "Div")) or len(_before(node)) != 1:
        return False
    if runs_own_code([node]):
        return False
    factor: Any = node._saved_other
    wanted = 100 if node.name().startswith("Mul") else 0.01
    factor = getattr(node, "_saved_self", None) if factor is None else factor
    number = isinstance(factor, float) or isinstance(factor, Tensor) and factor.numel() == 1
    return number and isclose(float(factor), wanted, rel_tol=1e-6)


def _before(node: Any) -> list[Any]:
    """The nodes that an operation reads, the last first; constants have none."""
    return [before for before, _ in reversed(node.next_functions) if before is not None]


def _from_the_end(node: Any) -> list[Any]:
    """The last nodes of autograd's graph, back to the one that says what comes out, or to None."""
    nodes = [node]
    while node is not None and node.name().startswith(_PASSING):
        node = node.next_functions[0][0]
        nodes.append(node)
    return nodes


def _last_operation(node: Any) -> Any:
    """The last node of autograd's graph that says what comes out, None without one.

    Where heads are put together, each of its own, that of the first if all end alike.
    """
    node = _from_the_end(node)[-1]
    if node is not None and node.name().startswith(("Cat", "Stack")):
        ends = [_last_operation(part) for part, _ in node.next_functions]
        if len({end and end.name() for end in ends}) == 1:
            return ends[0]
    return node


def _sigmoids(node: Any, steps: int = 6) -> int:
    """Of how many sigmoids the output is made and of nothing else, as an average of networks is."""
    name = "" if node is None else node.name()
    if name.startswith(("Sigmoid", "Hardsigmoid")):
        return 1
    if not steps or not name.startswith((*_PASSING, *_JOINING)):
        return 0
    found = [_sigmoids(before, steps - 1) for before in _before(node)]
    return sum(found) if all(found) else 0


def _operations(node: Any) -> str:
    """The names of the last six operations, the last first."""
    names = ""
    for _ in range(6):
        if node is None:
            break
        before = _before(node)
        names += node.name().partition("Backward")[0] + "+" * (len(before) > 1) + " "
        node = before[0] if before else None
    return names
