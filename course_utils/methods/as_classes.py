"""A network of any output as one that gives N x classes, for what reads nothing else."""

from typing import Any

from torch import Tensor, nn

from .classes import names_in
from .output import Picker, the_output
from .scores import check_classes, class_logits


class AsClasses(nn.Module):
    """The same network, its logits N x classes; of one logit y the pair (-y/2, +y/2).

    Args:
        network: it returns a tensor, or more, as for `GradCAM`.
        output: a function from what it returns to the logits, as for `GradCAM`.
        categories: the classes' names; None for the network's own.
    """

    def __init__(
        self, network: nn.Module, output: Picker | None = None, categories: list[str] | None = None
    ):
        super().__init__()
        self.network, self.output = network, output
        self.categories = names_in(network) if categories is None else categories
        if callable(preprocess := getattr(network, "preprocess", None)):
            self.preprocess = preprocess
        self.train(network.training)

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        found = the_output(self.network, self.network(*inputs, **named), self.output)
        check_classes(found)
        return class_logits(found)
