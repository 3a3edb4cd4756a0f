"""Why a network could not be explained: asked after a failure, never before."""

import inspect
import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ClassError, ImageError, LayerError
from .backward import reentrant
from .checks import check_images, check_numbers
from .head import not_under_inference_mode
from .inputs import Inputs, first_convolution, images_of, name_of
from .layers import Target, default_targets, in_torchscript, known_target
from .output import Picker, the_output
from .running import call, hookable, hooked, undisturbed
from .watching import forget, watch


@contextmanager
def diagnosed(
    model: nn.Module, x: Inputs, target: Target | None, output: Picker | None
) -> Iterator[None]:
    """What fails inside fails with the sentence that names its cause, where the cause is known."""
    try:
        yield
    except ImageError as error:
        if "holds NaN" in str(error):
            check_numbers(images_of(x), model)
        raise
    except Exception as error:
        found = _cause(error, model, x, target, output)
        if found is None:
            raise
        raise found from (None if isinstance(error, LayerError) else error)


def _cause(
    error: Exception, model: nn.Module, x: Inputs, target: Target | None, output: Picker | None
) -> Exception | None:
    """The error to raise in place of this one; None if it says what there is to say."""
    found = of_the_network(error, model)
    if found is not None:
        return found
    if isinstance(error, LayerError):
        return _of_the_layer(error, model, x, target, output)
    of_the_call = _of_the_call(error, model, x)
    if of_the_call is not None:
        return TypeError(of_the_call)
    try:
        with undisturbed(model), torch.no_grad():
            answer = call(model, x)
    except Exception:
        pass  # the network itself fails
    else:
        named = target is not None and target.named
        said = _of_the_answer(model, answer, output) or _of_the_surroundings(error, model)
        return said or (None if named else _of_the_watch(error, model))
    try:
        _check_arrays(x)
        images = images_of(x)
        check_images(images, model, name_of(images, x))
    except ImageError as fault:
        if isinstance(x, Tensor) and _taken_as_they_are(x, model):
            return None
        if isinstance(x, Tensor) and isinstance(error, RuntimeError):  # of torch, less plain
            return fault
        says = str(error).strip().partition("\n")[0]  # it may be another input's fault
        return ImageError(f"{fault} The network itself says: {type(error).__name__}: {says}.")
    return None


def _check_arrays(x: Inputs) -> None:
    """Raise an ImageError if an input is an array of numpy, which no layer of torch reads."""
    items = x.items() if isinstance(x, Mapping) else enumerate(x) if isinstance(x, tuple) else ()
    for key, item in items:
        if isinstance(item, np.ndarray):
            raise ImageError(
                f"x[{key!r}] is an array: torch.from_numpy(x[{key!r}]) makes a tensor."
            )


def _taken_as_they_are(x: Tensor, model: nn.Module) -> bool:
    """Whether the network's first layer took the images, so that it fails for another reason.

    The first convolution that is registered may not be the first layer that runs.
    """
    ran, first = list[nn.Module](), first_convolution(model)
    layers = [module for _, module in hookable(model) if [*module.parameters(recurse=False)]]
    if any(weight.is_meta for weight in model.parameters()):
        return False
    if first is None and any(isinstance(layer, nn.Embedding) for layer in layers):
        return not x.is_floating_point()  # words, or pixels as words
    handles = [m.register_forward_hook(lambda m, _x, _y: ran.append(m)) for m in layers]
    with suppress(Exception), hooked(handles), undisturbed(model), torch.no_grad():
        call(model, x)
    unbatched = first is not None and x.dim() != len(first.kernel_size) + 2
    return bool(ran) and (first not in ran or not unbatched)


def _of_the_call(error: Exception, model: nn.Module, x: Inputs) -> str | None:
    """The sentence where the network was called with other inputs than it takes, or left torch."""
    name, text = type(model).__name__, str(error)
    if text.startswith(("output= ", "reshape_transform= ")):
        return None  # it names its own cause
    if "numpy() on Tensor that requires grad" in text:
        return (
            f"{name}, or an array among its inputs, turns a tensor into numbers of NumPy, through "
            "which no gradient passes. Write what follows the layer in torch, and make tensors of "
            "arrays: torch.from_numpy(...)."
        )
    if "float8" in text.lower():
        return (
            f"{name} has weights in float8, in which its layers do not compute here ({text}). Ask "
            "a copy in wider numbers: copy.deepcopy(model).float()."
        )
    if not isinstance(error, TypeError):
        return None
    missing = re.search(r"forward\(\) missing .* required (positional|keyword-only) arg", text)
    if missing and not _takes(model, x):
        named = "".join(f", '{other}': ..." for other in re.findall(r"'(\w+)'", text))
        in_order = "x=(images, other), in the order of its forward method, or "
        return (
            f"{name} wants more than one input ({error}). Hand them over together: "
            f"{in_order * (missing[1] == 'positional')}"
            f"x={{'{_first_input(model)}': images{named}}}."
        )
    too_many = re.search(r"positional arguments? but \d+ were given", text)
    if too_many and not isinstance(x, tuple):
        return _by_name_alone(model, x)
    if too_many:
        return (
            f"The {len(x)} items of the tuple x are handed to {name} as so many inputs, and it "
            "takes fewer. Of (images, labels), as a DataLoader gives them, take the images, x[0]. "
            "Several images of C x H x W make one batch by torch.stack(x), several batches by "
            "torch.cat(x)."
        )
    if isinstance(x, Mapping) and "unexpected keyword argument" in text:
        takes = ", ".join(inspect.signature(model.forward).parameters)
        return f"{text}: the names in x must be those of its forward method, {takes}."
    return None


def _takes(model: nn.Module, x: Inputs) -> bool:
    """Whether the network's own forward method can be called with x, by its named parameters.

    Then an input is missing further inside, which is the network's own fault. A wrapper that hands
    on whatever it is given names none.
    """
    named = inspect.signature(model.forward)
    if any(p.kind is p.VAR_POSITIONAL for p in named.parameters.values()):
        return False
    bind: Any = named.bind
    try:
        call(bind, x)
        return True
    except TypeError:
        return False


def _by_name_alone(model: nn.Module, x: Inputs) -> str | None:
    """The sentence where the network takes no input by its place; else None."""
    takes = inspect.signature(model.forward).parameters.values()
    named = [p.name for p in takes if p.kind is p.KEYWORD_ONLY]
    if not named or _takes(model, x):
        return None
    return f"{type(model).__name__} takes its inputs by name alone: x={{'{named[0]}': images}}."


def _first_input(model: nn.Module) -> str:
    """What the network calls its first input; "name" where it does not say."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = inspect.signature(model.forward).parameters.values()
    return next((p.name for p in known if p.kind in kinds), "name")


def _of_the_answer(model: nn.Module, answer: Any, output: Picker | None) -> Exception | None:
    """The error where the answer is a tensor of a kind that no question can be put to."""
    try:
        y = the_output(model, answer, output)
    except Exception:
        return None  # it has said why
    said = f"The output of this {type(model).__name__}"
    if y.is_nested or y.layout != torch.strided:
        kind, cure = ("nested", "to_padded_tensor(0)") if y.is_nested else ("sparse", "to_dense()")
        return TypeError(f"{said} is a {kind} tensor. Make a plain one: output=lambda y: y.{cure}.")
    if y.is_meta:
        return TypeError(f"{said} is on the device 'meta', where tensors hold no numbers.")
    if not y.numel():
        shape = " x ".join(map(str, y.shape))
        return ClassError(f"{said} is {shape}: it holds no class that could be asked about.")
    return None


def _of_the_surroundings(error: Exception, model: nn.Module) -> RuntimeError | None:
    """What stands around the call, or what was cut, where the network by itself answers."""
    if "not have been used in the graph" in str(error):
        return RuntimeError(
            f"{type(model).__name__} takes gradients of its own in its forward method, back to "
            "before the layer, where the graph of an explanation begins. Name a layer behind them: "
            "self.grid = torch.nn.Identity() in the network, say, which hands on what it reads."
        )
    if "functorch transform" in str(error) or str(error).startswith("vmap:"):
        return RuntimeError(
            "Inside torch.func (grad, vmap and their like) no explanation can be made, because it "
            "takes gradients of its own. Ask outside of it; a whole batch can be asked at once."
        )
    return None


def _of_the_watch(error: Exception, model: nn.Module) -> LayerError | None:
    """The network answers by itself, but not as it is watched to find a layer."""
    if not isinstance(error, RuntimeError):
        return None
    says = str(error).strip().partition("\n")[0].rstrip(".")
    return LayerError(
        f"{type(model).__name__} answers, but not with gradients and a hook at each of its layers, "
        f"by which one is found ({type(error).__name__}: {says}). Name a layer behind the part "
        "that fails: layer_names(model) lists them."
    )


def of_the_network(error: Exception, model: nn.Module) -> LayerError | None:
    """Networks of a kind that gives no gradient, or takes no hooks, whatever the layer."""
    name, text = type(model).__name__, str(error)
    scripted = [n for n, m in model.named_modules() if isinstance(m, torch.jit.ScriptModule)]
    if not isinstance(error, LayerError) and "ScriptModule" not in text:
        scripted = []  # something else failed
    if scripted and scripted[0]:
        return LayerError(
            f"'{scripted[0]}' of this {name} is TorchScript, whose layers take no hooks. Put the "
            "nn.Module that it was made from in its place, or choose a layer after it: "
            "nn.Identity(), say, through which its output is handed on."
        )
    if scripted:
        return LayerError(in_torchscript(model))
    if re.search("never ran|No layer of this", text) and _compiled_inside(model):
        return LayerError(
            f"A method of this {name} was compiled (torch.compile), and what is compiled calls no "
            'hooks. Ask inside a block: with torch.compiler.set_stance("force_eager"):'
        )
    if "Inference tensors cannot be saved for backward" in text:
        return not_under_inference_mode(model)
    if "use_reentrant" in text:
        return LayerError(reentrant("after the layer"))
    quantised = ("torch.ao.nn", "torchao")
    kinds = {type(m).__module__ for m in model.modules()}
    packed = any(kind.startswith(quantised) and "qat" not in kind for kind in kinds)
    if packed and not isinstance(error, TypeError):
        return LayerError(
            f"{name} is quantised: its layers have no gradient. Ask the network of floats that it "
            "was made from."
        )
    return None


def _compiled_inside(model: nn.Module) -> bool:
    """Whether a network holds a method or function that was compiled, such as its forward."""
    holders = {holder for m in model.modules() for holder in (m, *type(m).__mro__)}
    held = (value for holder in holders for value in vars(holder).values())
    return any(hasattr(value, "_torchdynamo_orig_callable") for value in held)


def _of_the_layer(
    error: LayerError, model: nn.Module, x: Inputs, target: Target | None, output: Picker | None
) -> LayerError | None:
    """The same sentence with what is known about the layer, and a better one."""
    text = str(error)
    times_first = _times_first(text, images_of(x))
    if times_first is not None:
        return times_first
    if target is None or not target.named:
        cut = "the network's own code cuts it" in text
        around = cut and _checkpointed(model, list(model.modules())[1:], x)
        return LayerError(reentrant("around every layer")) if around else None
    if "does not depend on" in text and _checkpointed(model, [target.module], x):
        return LayerError(reentrant("around the layer"))
    if "never ran" in text:
        ran = _parts_that_ran(model, x, target, output)
        if ran:
            return LayerError(
                f"'{target.name}' itself never ran: the network calls its parts directly, as "
                "traced (torch.fx) and checkpointed networks do, or calls its forward method: no "
                f"hook runs there. Choose one of its parts, such as '{ran}'. Where more of "
                f"'{target.name}' follows it, as the sum does in a residual block, that is another "
                "map: for its own, ask the network untraced, without checkpointing, or let it call "
                "the layer itself, layer(x)."
            )
    better = _better(model, x, target, output)
    return LayerError(f"{text} By default it is '{better}'.") if better else None


def _times_first(text: str, images: Tensor) -> LayerError | None:
    """The error for T x N x C x H x W, as spiking networks take their images; None for others."""
    answered = re.match(r"The network gave (\d+) row", text)
    if answered is None or images.dim() != 5 or images.shape[1] != int(answered[1]):
        return None
    return LayerError(
        f"x is {' x '.join(map(str, images.shape))}, and the network gave {answered[1]} answers: "
        "its times seem to stand first, T x N x C x H x W. Give the batch first, and let the "
        "network exchange them: model.register_forward_pre_hook(lambda m, x: (x[0].transpose(0, "
        "1),)), then ask with x.transpose(0, 1)."
    )


def _better(model: nn.Module, x: Inputs, target: Target, output: Picker | None) -> str | None:
    try:
        name = next(default_targets(model, x, output, known_target(model))).name
    except Exception:
        return None
    return name if name != target.name else None


def _parts_that_ran(
    model: nn.Module, x: Inputs, target: Target, output: Picker | None
) -> str | None:
    forget(model)  # for these images other parts may run than for those seen before
    try:
        watched = watch(model, x, output)
    except Exception:
        return None
    inside = [name for name in watched.fitting if name.startswith(f"{target.name}.")]
    return inside[0] if inside else None


def _checkpointed(model: nn.Module, modules: list[nn.Module], x: Inputs) -> bool:
    """Whether one of the modules is called by torch's checkpointing."""
    seen: list[bool] = []

    def hook(_module: nn.Module, _inputs: Any, _value: Tensor) -> None:
        frames = traceback.extract_stack()
        seen.append(any(f.filename.endswith("utils/checkpoint.py") for f in frames))

    handles = [module.register_forward_hook(hook) for module in modules]
    with hooked(handles), undisturbed(model), torch.no_grad():
        call(model, x)
    return any(seen)
