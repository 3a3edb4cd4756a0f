"""A copy of a network whose rectifiers captum can find.

captum changes what a ReLU does to the gradient by looking for modules of class `nn.ReLU`. An
`nn.ReLU6` is none, and a ReLU that is called as a function is no module at all: captum then changes
nothing and says nothing, and hands back the plain gradient.
"""

import copy

from torch import Tensor, nn

KINDS = (nn.ReLU, nn.ReLU6)


class Clipped(nn.ReLU):
    """ReLU up to a limit (6, or none), as a kind of `nn.ReLU`; nothing is written in place."""

    def __init__(self, limit: float | None):
        super().__init__(inplace=False)
        self.limit = limit

    def forward(self, values: Tensor) -> Tensor:
        return values.clamp(0, self.limit)


def rectified(network: nn.Module, x: Tensor) -> nn.Module:
    """The same network, as a copy in which every rectifier is an `nn.ReLU`.

    Args:
        x: an image, to see which rectifiers run.

    Raises:
        ValueError: the network has no rectifiers, or calls some as functions.
    """
    twin = copy.deepcopy(network).eval()
    for module in list(twin.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, KINDS):
                setattr(module, name, Clipped(6 if isinstance(child, nn.ReLU6) else None))
    calls = []
    for module in twin.modules():
        if isinstance(module, Clipped):
            module.register_forward_hook(lambda *_: calls.append(1))
    output = twin(x.clone().requires_grad_())
    called = _count(output.grad_fn, ("ReluBackward", "HardtanhBackward"))
    if called or not calls:
        why = f"calls {called} of them as functions" if called else "has no ReLU"
        raise ValueError(
            f"Deconvolution and Guided-Backprop change a network's ReLUs, but "
            f"{type(network).__name__} {why}. Take another method, or a network of nn.ReLU modules."
        )
    for module in twin.modules():
        module._forward_hooks.clear() if isinstance(module, Clipped) else None
    return twin


def _count(node, names: tuple[str, ...]) -> int:
    """How many nodes of a graph have such a name."""
    known, rest = set(), [node]
    while rest:
        node = rest.pop()
        if node is not None and node not in known:
            known.add(node)
            rest += [before for before, _ in node.next_functions]
    return sum(node.name().startswith(names) for node in known)
