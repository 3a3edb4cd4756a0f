"""Whether weights still are what they were: no kept pass may mix old activations with new weights.

PyTorch counts changes of a tensor, but not those made through `.data` (averaging of weights,
clipping, many a tool). So a sample of the values is kept beside the counts: of every row one
number, each from another column. Copies would double the memory, and reading all weights would cost
more than an answer.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from .head import every_module


class Unchanged:
    """A record of some weights, to be compared with later.

    Args:
        weights: parameters, of any shapes.
        output: what was computed from them, with its graph; a weight that is not in the graph may
            change. None: all weights count.
    """

    def __init__(self, weights: Iterable[Tensor], output: Tensor | None = None):
        self._weights, self._output = list(weights), output
        self._counts = [_count(weight) for weight in self._weights]
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
        same = self._counts == [_count(weight) for weight in self._weights] and all(
            torch.equal(now, before) or torch.allclose(now, before, rtol=0, atol=0, equal_nan=True)
            for now, before in zip(self._read(), self._values)
        )
        if not same and (self._output is None or _in_graph(self._output, self._changed())):
            raise RuntimeError(
                "The network's weights changed after this forward pass. Make a new ForwardPass."
            )

    def _changed(self) -> set[int]:
        """Where the changed weights lie in memory."""
        values = torch.cat([v.cpu() for v in self._values]).split([len(v) for v in self._views])
        return {
            weight.untyped_storage().data_ptr()
            for weight, count, view, value in zip(self._weights, self._counts, self._views, values)
            if count != _count(weight) or not torch.equal(view.cpu().to(value.dtype), value)
        }


def weights_of_head(model: nn.Module, output: Tensor) -> list[Tensor]:
    """The weights that later answers may need: those in the graph, and all that are frozen.

    Frozen weights leave no node in the graph. Reading every weight of a network would cost a small
    one a twentieth of its forward pass.
    """
    weights = [
        n.variable for n in graph_nodes(output) if n.name() == "torch::autograd::AccumulateGrad"
    ]
    known = {id(weight) for weight in weights}
    stored = [w for m in every_module(model) for w in m._parameters.values() if w is not None]
    return weights + [w for w in stored if not w.requires_grad and id(w) not in known]


def graph_nodes(output: Tensor) -> Iterator[Any]:
    """Every node of a graph, once."""
    nodes: list[Any] = [output.grad_fn]
    seen: set[Any] = {None}
    while nodes:
        node = nodes.pop()
        if node not in seen:
            seen.add(node)
            nodes += [following for following, _ in node.next_functions]
            yield node


def _count(weight: Tensor) -> int:
    return -1 if weight.is_inference() else weight._version


def _sample(weight: Tensor) -> Tensor:
    """One value of every row, each from another column: a view, so that later values are seen."""
    row = weight[0].numel() if weight.dim() > 1 and len(weight) else 0
    flat = weight.detach()
    flat = flat.T if flat.dim() == 2 and not flat.is_contiguous() else flat
    return flat.reshape(-1)[:: row + 1]


def _in_graph(output: Tensor, places: set[int]) -> bool:
    """Whether a graph's nodes hold a tensor that lies at one of these places."""
    for node in graph_nodes(output):
        for name in dir(node):
            if name.startswith("_saved_") or name in ("variable", "saved_tensors"):
                try:
                    value = getattr(node, name)
                except RuntimeError:  # PyTorch itself has seen the change
                    return True
                values = value if isinstance(value, (tuple, list)) else [value]
                for tensor in values:
                    if isinstance(tensor, Tensor) and tensor.untyped_storage().data_ptr() in places:
                        return True
    return False
