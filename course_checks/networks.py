"""Networks that a case may hand to a learner's code: named, so that they travel as a few words."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Network:
    """The recipe of a network: `kind` and `seed`; `build()` makes it, in eval mode.

    Kinds: "small" (a random CNN of `classes` classes, target layer "features.3", the same weights
    for the same seed), "in place" (the same, but its target layer is followed by an in-place ReLU),
    "guarded" (as "small", but it stops if it is not left as it was found), the drawn birds'
    networks ("birds" ...) and "efficientnet_lite0".
    """

    kind: str
    seed: int = 0
    classes: int = 5

    def build(self) -> nn.Module:
        if self.kind in ("small", "in place", "guarded"):
            return _small(self.seed, self.classes, self.kind)
        # not at the top: a grader's sandbox starts much sooner without timm
        from course_utils.networks.birds import VARIANTS, load_birds_network
        from course_utils.networks.classifiers import load_classifier

        if self.kind in VARIANTS:
            return load_birds_network(self.kind)
        return load_classifier(self.kind)


def built(case: tuple) -> tuple:
    """The case with its networks made."""
    return tuple(item.build() if isinstance(item, Network) else item for item in case)


def modules_of(case: tuple) -> list[nn.Module]:
    """All modules of the networks of a case."""
    return [m for item in case if isinstance(item, nn.Module) for m in item.modules()]


def hooks_on(modules: list[nn.Module]) -> int:
    """How many hooks are on these modules."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in modules for kind in kinds)


def settings_of(modules: list[nn.Module]) -> tuple[list, list]:
    """What must stay as it is: the modules' modes, and which parameters are to be trained."""
    parameters = (p for module in modules for p in module.parameters(recurse=False))
    return [module.training for module in modules], [p.requires_grad for p in parameters]


class Guarded(nn.Sequential):
    """Stops at a gradient that is written into its parameters, and at a hook left behind.

    A hook was left behind if a later forward pass meets it together with a new one; to go through
    several passes with the same hook is nobody's fault.
    """

    def __init__(self):
        super().__init__()
        self._met: set[int] = set()

    def guard(self) -> None:
        for parameter in self.parameters():
            parameter.register_post_accumulate_grad_hook(self._written)

    @staticmethod
    def _written(parameter) -> None:
        raise RuntimeError("a gradient was written into the network's parameters")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
        there = {
            key for module in self.modules() for kind in kinds for key in getattr(module, kind)
        }
        if there & self._met and there - self._met:
            raise RuntimeError("a hook of an earlier call is still on the network")
        self._met |= there
        return super().forward(x)


def _small(seed: int, classes: int, kind: str) -> nn.Module:
    """Two convolutions and a linear head with a hidden layer: its gradients differ from place to
    place.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # `torch.manual_seed` keeps a traceback each time
        network = Guarded() if kind == "guarded" else nn.Sequential()
        network.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 6, 3, stride=2, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(inplace=kind == "in place"),
        )
        network.pool = nn.AdaptiveAvgPool2d(4)
        network.flat = nn.Flatten()
        network.head = nn.Sequential(nn.Linear(96, 16), nn.Tanh(), nn.Linear(16, classes))
        for parameter in network.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=1.5 / parameter[0].numel() ** 0.5)
    if kind == "guarded":
        network.guard()
    return network.eval()
