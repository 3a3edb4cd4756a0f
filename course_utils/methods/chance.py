"""Networks of which two passes of one image differ: by chance, or by what they remember.

A dropout that stays on, noise, patches that are sampled or shuffled: a map shows one draw of many.
"""

import pickle
import random
from contextlib import suppress
from itertools import takewhile
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ChanceWarning, warn_outside
from .inputs import Inputs, first_convolution, images_of
from .output import Picker, the_output
from .running import call, call_on_copies, hookable, hooked, undisturbed
from .tensors import alike

ENTERED = "what the first convolution is given"
TRIES = 8  # a coin, as of images that are mirrored or not, may fall on one side several times

_asked: WeakKeyDictionary[nn.Module, set[str]] = WeakKeyDictionary()


def first_time(model: nn.Module, layer: str) -> bool:
    """Whether this layer of this network is asked for the first time; then chance is looked for."""
    asked = _asked.setdefault(model, set())
    new = layer not in asked
    asked.add(layer)
    return new


def random_states(x: Inputs) -> bytes:
    """How the generators stand that a network may draw from: other bytes after it drew."""
    states = [torch.get_rng_state().numpy(), random.getstate(), np.random.get_state()]
    if images_of(x).is_cuda:
        states.append(torch.cuda.get_rng_state(images_of(x).device).numpy())
    return pickle.dumps(states)


def warn_of_chance(model: nn.Module, x: Inputs, layer: str, output: Picker | None) -> None:
    """Warn where more passes of the same images differ, at the layer or in the answer."""
    one, two, differ = _two_that_differ(model, x, layer, output)
    if not differ:
        return
    name, first, axes = type(model).__name__, differ[0], images_of(x).dim()
    cure = "lies anywhere but on the image. Name a layer before that"
    # with as many axes as the images have, as grids do
    before = [n for n in takewhile(lambda n: n != first, one) if n != ENTERED]
    grids = [n for n in before if one[n].dim() == axes]
    if grids:
        cure += f": layer='{grids[-1]}'"
    entered = ENTERED in one and ENTERED in two and not alike(one[ENTERED], two[ENTERED])
    if entered and _reordered(one, two, ENTERED):
        said = (
            f"{name} mirrors, turns or shuffles x at random in each pass, in evaluation mode, too: "
            "a map shows one draw, and may lie as another one does. Switch that off, or ask the "
            "part of the network behind it"
        )
    elif layer in differ and _reordered(one, two, layer):
        said = (
            f"{name} puts the places of '{layer}' into another random order in each pass, from "
            f"'{first}' on: a map of them {cure}"
        )
    else:
        begins = f"from '{first}' on" if first else "at its end"
        said = (
            f"{name} draws random numbers in each pass, in evaluation mode, too: two passes of one "
            f"image differ {begins}, and a map shows one draw of many. Switch that off (F.dropout, "
            "say, wants training=self.training), or average the maps of several passes"
        )
        if layer in differ and one[layer].dim() == 3:
            said += f". If it is patches that are drawn, a map of them {cure}"
    warn_outside(f"{said}.", ChanceWarning)


def answer_before(model: nn.Module, x: Inputs, output: Picker | None) -> Tensor | None:
    """The network's answer in a pass before the one that is explained; None where it fails."""
    with undisturbed(model), torch.inference_mode(False), torch.no_grad(), suppress(Exception):
        return the_output(model, call_on_copies(model, x), output)
    return None


def warn_of_state(model: nn.Module) -> None:
    """Warn where two passes of the same images differ, though no random number was drawn."""
    warn_outside(
        f"{type(model).__name__} remembers earlier passes, as by a hidden state or the membranes "
        "of spiking neurons: the same images have another answer each time, and a map is of one of "
        "them. An explanation takes several passes. Let the network set that back at the start of "
        "each.",
        ChanceWarning,
    )


def _reordered(one: dict[str, Tensor], two: dict[str, Tensor], name: str) -> bool:
    """Whether two passes have the same numbers there, in whatever order."""
    return alike(*(run[name].flatten().sort().values for run in (one, two)))


def _two_that_differ(
    model: nn.Module, x: Inputs, layer: str, output: Picker | None
) -> tuple[dict[str, Tensor], dict[str, Tensor], list[str]]:
    """Two passes' outputs, and which differ; none if neither the layer nor the answer does so."""
    one = two = _outputs(model, x, layer, output)
    for _ in range(TRIES):
        two = _outputs(model, x, layer, output)
        both = [name for name in one if name in two and name != ENTERED]
        differ = [name for name in both if not alike(one[name], two[name])]
        if layer in differ or "" in differ:
            return one, two, differ
    return one, two, []


def _outputs(model: nn.Module, x: Inputs, layer: str, output: Picker | None) -> dict[str, Tensor]:
    """What the modules give for the first image, in the order they end; the layer for all of them.

    The network's own answer is called "", what its first convolution is given ENTERED.
    """
    kept: dict[str, Tensor] = {}

    def enter(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        kept.update((ENTERED, given[:1].detach().clone()) for given in inputs[:1])

    def keep(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, value: Any) -> None:
            if isinstance(value, Tensor) and value.dim():
                kept[name] = (value if name == layer else value[:1]).detach().clone()

        return hook

    first = [m for m in [first_convolution(model)] if m is not None]
    with undisturbed(model), torch.inference_mode(False), torch.no_grad():
        handles = [m.register_forward_hook(keep(n)) for n, m in hookable(model)]
        handles += [m.register_forward_pre_hook(enter) for m in first]
        with hooked(handles):
            answer = the_output(model, call(model, x), output)
    return {**kept, "": answer}
