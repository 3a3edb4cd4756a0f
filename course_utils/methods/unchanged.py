"""Whether weights still are what they were: no kept pass may mix old activations with new weights.

PyTorch counts changes of a tensor, but not those made through `.data` (averaging of weights,
clipping, many a tool). So values are kept beside the counts: of a small weight all, of a large one
a sample that meets every row and every column. Copies would double the memory, and reading all
weights would cost more than an answer. The limit: a few single numbers of a large matrix may be
changed through `.data` without being seen.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from math import gcd
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction

from .graph import graph_nodes
from .running import every_module

SMALL = 4096  # numbers: such a weight is compared as a whole


class Unchanged:
    """A record of some weights, to be compared with later.

    Args:
        weights: parameters, of any shapes; none where nothing is recorded yet.
        output: what was computed from them, with its graph; a weight that is not in the graph may
            change. None: all weights count.
    """

    def __init__(self, weights: Iterable[Tensor] = (), output: Tensor | None = None):
        self._given: list[tuple[Tensor, tuple[int, int]]] = []
        self.record(weights, output)

    def also(self, *tensors: Tensor) -> None:
        """Notice, too, where one of these is written into: answers are made of them."""
        self._given += [(tensor, _state(tensor)) for tensor in tensors]

    def record(
        self,
        weights: Iterable[Tensor],
        output: Tensor | None = None,
        again: Callable[[], list[Tensor]] | None = None,
    ) -> None:
        """Record these weights as they are now.

        Args:
            again: finds them anew, where code of the network's own runs for each answer: it reads
                what has been put in their place.
        """
        self._weights, self._output, self._again = list(weights), output, again
        self._states = [_state(weight) for weight in self._weights]
        self._views = [_sample(weight) for weight in self._weights]
        self._values = self._read()

    def _read(self) -> list[Tensor]:
        """The samples, one tensor for each device."""
        devices: dict[torch.device, list[Tensor]] = {}
        for view in self._views:
            devices.setdefault(view.device, []).append(view)
        return [torch.cat(views) for views in devices.values()]

    def check(self) -> None:
        """Raise a RuntimeError if a weight has changed."""
        if any(_state(tensor) != state for tensor, state in self._given):
            raise RuntimeError(
                "The activations, logits or class maps of this forward pass were written into, so "
                "that its answers would be wrong. Make a new ForwardPass, and change copies only: "
                ".clone()."
            )
        if self._again is not None:
            self._weights = self._again()
        same = self._states == [_state(weight) for weight in self._weights] and all(
            torch.equal(now, before) or torch.allclose(now, before, rtol=0, atol=0, equal_nan=True)
            for now, before in zip(self._read(), self._values)
        )
        changed = set() if same else self._changed()
        if changed and (self._output is None or _in_graph(self._output, changed)):
            raise RuntimeError(
                "The network's weights changed after this forward pass. Make a new ForwardPass."
            )

    def _changed(self) -> set[int]:
        """Where the changed weights lie in memory."""
        values = torch.cat([v.cpu() for v in self._values]).split([len(v) for v in self._views])
        return {
            _place(weight)
            for weight, state, view, value in zip(self._weights, self._states, self._views, values)
            if state[0] != _state(weight)[0] or not _equal(_sample(weight), view, value)
        }


def weights_of_head(model: nn.Module, output: Tensor, *leaves: Tensor | None) -> list[Tensor]:
    """The weights that later answers may need: those with a node in the graph, or saved in one.

    The leaves, where the graph starts, are none of them.

    Frozen weights have no node: they are the saved numbers that need no gradient. All that the
    network stores is recorded only where they are out of sight: going through the modules of a
    small network would cost a fiftieth of its forward pass.
    """
    nodes = list(graph_nodes(output))
    weights = [n.variable for n in nodes if n.name() == "torch::autograd::AccumulateGrad"]
    weights = [weight for weight in weights if not any(weight is leaf for leaf in leaves)]
    saved = _saved(nodes)
    if saved is not None:
        return weights + [t for t in saved if t.is_floating_point() and not t.requires_grad]
    stored = [(m._parameters, m._buffers) for m in every_module(model)]
    everything = (w for kinds in stored for kind in kinds for w in kind.values())
    return weights + [w for w in everything if w is not None and w.is_floating_point()]


def _state(weight: Tensor) -> tuple[int, int]:
    """How often it was changed, as PyTorch counts, and where its values begin in memory."""
    version = -1 if weight.is_inference() else weight._version
    return version, weight.data_ptr() if _is_plain(weight) else 0


def _is_plain(weight: Tensor) -> bool:
    """Whether its values lie open in memory, not packed in some way of its own."""
    return type(weight) in (Tensor, nn.Parameter) and weight.layout == torch.strided


def _equal(now: Tensor, view: Tensor, before: Tensor) -> bool:
    """Whether a sample is what it was, also of another tensor put in a weight's place."""
    same = (now.dtype, now.device) == (view.dtype, view.device)
    return same and torch.equal(now.cpu().to(before.dtype), before)


def _sample(weight: Tensor) -> Tensor:
    """Values of every row and every column: a view, so that later values are seen."""
    if not _is_plain(weight):
        return torch.empty(0)  # its changes are only counted
    size = weight.numel() and 1 + sum((n - 1) * s for n, s in zip(weight.shape, weight.stride()))
    flat = weight.detach().as_strided((size,), (1,))  # as it lies in memory
    return flat[:: _step(len(weight), size // len(weight)) if size > SMALL else 1]


@cache
def _step(rows: int, columns: int) -> int:
    """The largest step that misses no row and no column of a matrix."""
    steps = range(min(rows, columns), 0, -1)
    # a row that is repeated by expand() has no columns of its own
    return next((step for step in steps if gcd(step, rows) == gcd(step, columns) == 1), 1)


def _place(tensor: Tensor) -> int:
    """Where a tensor's values lie in memory."""
    return tensor.untyped_storage().data_ptr()


def runs_own_code(nodes: Iterable[Any]) -> bool:
    """Whether these nodes of a graph may run code of the network's own.

    They do so for functions of its own, and for what is packed away until it is needed, as
    checkpointed parts are.
    """
    for node in nodes:
        if issubclass(type(node), BackwardCFunction):
            return True
        for name in _names_saved(node):
            raw = getattr(node, f"_raw{name}")
            if any(one.unpack_hook for one in (raw if isinstance(raw, tuple) else [raw])):
                return True
    return False


def _names_saved(node: Any) -> list[str]:
    """Under which names a node keeps tensors."""
    kind = type(node)
    if kind not in _known_names:
        raw = [name for name in dir(node) if name.startswith("_raw_saved_")]
        _known_names[kind] = [name.removeprefix("_raw") for name in raw]
    return _known_names[kind]


_known_names: dict[type, list[str]] = {}


def _saved(nodes: Sequence[Any]) -> list[Tensor] | None:
    """The tensors that a graph's nodes keep.

    None: some are out of sight. Functions of the network's own may keep weights anywhere,
    checkpointed parts fetch theirs anew, and PyTorch does not show one that was changed.
    """
    if runs_own_code(nodes):
        return None
    tensors = [node.variable for node in nodes if hasattr(node, "variable")]
    for node in nodes:
        for name in _names_saved(node):
            try:
                value = getattr(node, name)
            except RuntimeError:
                return None
            values = value if isinstance(value, tuple) else [value]
            tensors += [one for one in values if isinstance(one, Tensor)]
    return tensors


def _in_graph(output: Tensor, places: set[int]) -> bool:
    """Whether a graph's nodes hold a tensor that lies at one of these places."""
    saved = _saved(list(graph_nodes(output)))
    return saved is None or any(_place(tensor) in places for tensor in saved)
