"""Sentences for networks in which no layer can be explained by default: why, and what to do."""

from collections.abc import Mapping, Sequence
from math import inf, prod
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import LayerError
from .head import not_under_inference_mode
from .inputs import (
    Inputs,
    are_variables,
    each_tensor,
    first_convolution,
    images_of,
    in_words,
    name_of,
    places_in_words,
    size_of,
)
from .running import call, hooked, undisturbed
from .tensors import random_like
from .watched import Watched


def nothing_fits(model: nn.Module, x: Inputs, watched: Watched) -> LayerError:
    """The error where no layer passes the rule: why, and what to do."""
    if watched.cut and watched.inference:
        return not_under_inference_mode(model)
    images = images_of(x)
    if watched.one_place and len(size_of(images, model)) == 1:
        said = _of_variables(model, images, watched)
        if said is not None:
            return LayerError(said)
    said = _no_gradient(model, x, watched) or _held_in_a_list(model)
    return LayerError(said or _no_grid(model, x, watched))


def _no_gradient(model: nn.Module, x: Inputs, watched: Watched) -> str | None:
    """The sentence where there are layers with places, but hardly a gradient; else None."""
    name = type(model).__name__
    if watched.one_place and isinstance(x, Tensor) and are_variables(x, model):
        picked = ", output=output" if watched.output is not None else ""
        return (
            f"Each layer of this {name} reads one of the {x.shape[2]} variables of x at a time, "
            f"all its {x.shape[1]} times at once, so no layer has times. Explain x itself, time by "
            "time, here for the first number that is answered: "
            "ForwardPass(torch.nn.Sequential(torch.nn.Identity(), model), x, '0', reshape_transform"
            f"=lambda a: a.mT{picked}).ask(lambda y: y.flatten(1)[:, 0])."
        )
    if watched.one_place:
        return (
            f"{name} reads each class at one place only of every layer, as where the largest of "
            "all places is taken: no layer shows what else speaks for it. Where one place is what "
            f"you want to see, name a layer: layer='{watched.one_place}'."
        )
    again = next((n for n in watched.several if watched.runs[n] > 1), None)
    if watched.cut and again is not None:
        return _repeated(name, again, watched, images_of(x))
    if watched.cut:
        return (
            f"No gradient of {name}'s output reaches a layer with more than one place: the "
            "network's own code cuts it (no_grad, detach, argmax), or it is zero all over, as "
            "where a softmax or sigmoid at the end answers exactly 1: then ask the logits. Take "
            "the cut out, or let a layer hand on what comes behind it, as a = self.grid(a) with "
            "self.grid = torch.nn.Identity() in the network."
        )
    return None


def _no_grid(model: nn.Module, x: Inputs, watched: Watched) -> str:
    """The sentence where no layer that runs once has places."""
    images = images_of(x)
    name, size = type(model).__name__, size_of(images, model)
    modules = dict(model.named_modules())
    if all(any(modules[gave].children()) for gave in watched.shapes):
        return (
            f"No layer of this {name} gave a tensor of floats. An exported network calls no layer, "
            "and in torch.vmap no graph begins: ask the nn.Module that it was made from. Where one "
            "forward method does it all, let a layer hand the grid on, as a = self.grid(a) with "
            "self.grid = nn.Identity()."
        )
    axes = places_in_words(len(size))
    again = watched.repeated or _one_by_one(images, watched)
    if again:
        return _repeated(name, again, watched, images)
    folded = _one_axis_more(name, watched, len(size)) or _views_folded(name, images, size, watched)
    again = _on_others_too(watched, len(size))
    if folded or again:
        return folded or _repeated(name, again, watched, images)
    names = f"This network has: {', '.join([n for n in modules if n][:12])}."
    if max(map(len, watched.shapes.values())) < 3:
        return f"{_of_rows(name, x, watched)} {names}"
    grids = [n for n, s in watched.shapes.items() if len(s) == 4 and prod(s[2:]) > 1]
    if _images_in_a_list(model, x):
        return (
            f"This {name} takes a list of images. Let it make the list, and give it one batch: "
            "model.register_forward_pre_hook(lambda m, x: (list(x[0]),)), then "
            f"{_grad_cam('model', watched)}(torch.stack({name_of(images, x).rpartition('[')[0]}))."
        )
    if len(size) == 1 and grids:
        of_a_sound = _of_variables(model, images, watched) or _of_a_sound(model, x, watched, grids)
        return f"{of_a_sound} {names}"
    said = _of_tokens(watched, len(size)) or (
        f"No layer of this {name} that runs once gives a grid of more than one place for "
        f"{in_words(size)}. Name one, with reshape_transform=, a function from its output to "
        f"N x C x {axes}, or pass a larger image. Where it takes none, explain x itself: "
        f"{_x_itself(x, watched)}."
    )
    return f"{said} {names}"


def _held_in_a_list(model: nn.Module) -> str | None:
    """The sentence where a list, tuple or dict holds modules unseen; else None."""
    for name, module in model.named_modules():
        for attribute, value in vars(module).items():
            items = value.values() if isinstance(value, dict) else value
            plain = attribute != "_modules" and isinstance(value, (list, tuple, dict))
            if plain and any(isinstance(item, nn.Module) for item in items):
                hidden = f"{name}.{attribute}".removeprefix(".")
                return (
                    f"No layer of this {type(model).__name__} that takes hooks has places. Parts "
                    f"stand in '{hidden}', a list or dict of Python, where PyTorch does not see "
                    "them, nor their weights: make it an nn.ModuleList or nn.ModuleDict."
                )
    return None


def _of_rows(name: str, x: Inputs, watched: Watched) -> str:
    """The sentence where all layers give rows of numbers."""
    if images_of(x).dim() == 2:
        bag = "torch.nn.Sequential(torch.nn.Identity(), torch.nn.Flatten(0, 1), model)"
        return (
            f"This {name} reads rows of numbers, which have no places that a map could show. If "
            "the rows of x are the parts of one item, a bag, give x one axis more: "
            f"{_grad_cam(bag, watched)}(x[None]), a number for each row."
        )
    return (
        f"No layer of this {name} has places, as where each image is read as one row of numbers, "
        "or in complex ones. Where x has places, explain x itself, by a layer that hands it on: "
        f"{_x_itself(x, watched)}."
    )


def _grad_cam(arguments: str, watched: Watched) -> str:
    """The working line, as code: what the caller picks of the output is picked again."""
    return f"GradCAM({arguments}{', output=output' if watched.output is not None else ''})"


def _x_itself(x: Inputs, watched: Watched) -> str:
    """What puts a layer before the network that hands the images on, as code."""
    if isinstance(x, Tensor):
        return _grad_cam("torch.nn.Sequential(torch.nn.Identity(), model)", watched)
    code = _with_seen(x, "x", name_of(images_of(x), x))
    hook = f"lambda m, x: {code}"
    if isinstance(x, Mapping):
        hook = f"lambda m, _, x: ((), {code}), with_kwargs=True"
    line = _grad_cam("model, 'seen'", watched)
    return (
        "model.seen = torch.nn.Identity(), then "
        f"model.register_forward_pre_hook({hook}), then {line}"
    )


def _with_seen(value: Any, code: str, images: str) -> str:
    """The inputs once more, as code, in which the images go through `seen`."""
    if code == images:
        return f"m.seen({code})"
    if not images.startswith(code):
        return code
    if isinstance(value, Mapping):
        way = {key: f"{code}[{key!r}]" for key in value}
        key = next(key for key in way if images.startswith(way[key]))
        return f"{{**{code}, {key!r}: {_with_seen(value[key], way[key], images)}}}"
    items = [_with_seen(item, f"{code}[{i}]", images) for i, item in enumerate(value)]
    if isinstance(value, list):
        return f"[{', '.join(items)}]"
    return f"({', '.join(items)}{',' * (len(items) == 1)})"


def _one_by_one(images: Tensor, watched: Watched) -> str:
    """The last layer with places that runs on one frame, or slice, after the other; "" if none."""
    again = _again(watched, 4) if images.dim() == 5 else []
    return next((n for n in reversed(again) if watched.shapes[n][0] == watched.n), "")


def _on_others_too(watched: Watched, sides: int) -> str:
    """The last layer with places that also runs on what is no input, as a template; "" if none."""
    return next(reversed(_again(watched, sides + 2)), "")


def _again(watched: Watched, axes: int) -> list[str]:
    """The layers with places, and so many axes, that run more than once."""
    grids = [n for n, s in watched.shapes.items() if len(s) == axes and prod(s[2:]) > 1]
    return [n for n in grids if watched.runs[n] > 1 and n not in watched.inside]


def _repeated(name: str, again: str, watched: Watched, images: Tensor) -> str:
    """The sentence where each layer runs more than once."""
    frame = ""
    if len(watched.shapes[again]) == images.dim() - 1 == 4:
        frame = ", with reshape_transform=lambda a: a[:, :, None]: all frames show that one's map"
    return (
        f"Each layer of this {name} that has places, and is read, runs more than once in one "
        f"forward pass, '{again}' {watched.runs[again]} times, as where several views, or times, "
        "go through the same layers. Give the run that you mean a layer of its own: self.view = "
        f"nn.Identity() in the network, self.view(...) around that call, and layer='view'{frame}."
    )


def _images_in_a_list(model: nn.Module, x: Inputs) -> bool:
    """Whether the only input is a list of images C x H x W, as detectors take it."""
    images, first = images_of(x), first_convolution(model)
    alone = isinstance(x, tuple) and len(x) == 1 and isinstance(x[0], list)
    return alone and isinstance(first, nn.Conv2d) and images.shape[:-2] == (first.in_channels,)


def _of_a_sound(model: nn.Module, x: Inputs, watched: Watched, grids: list[str]) -> str:
    """The sentence where signals become pictures in the network: where time runs is measured."""
    shares = _later_shares(model, x, grids[-1])
    pitch = "width" if shares and shares[0] > shares[1] else "height"
    cure = f"model, '{grids[-1]}', reshape_transform=lambda a: a.mean({2 + (pitch == 'width')})"
    other = " If time runs along that one, over the other." * (not shares)
    return (
        f"The layers of this {type(model).__name__} have a height and a width, as a spectrogram "
        f"has, and x is signals. Name one and take the mean over the axis of pitch, its {pitch}: "
        f"{_grad_cam(cure, watched)}.{other}"
    )


def _later_shares(model: nn.Module, x: Inputs, layer: str) -> list[float]:
    """Along a layer's height, then its width: how much of a change in the signals' second half
    shows in the second half there; nothing where it cannot be told."""
    axes = images_of(x).dim()

    def later(t: Tensor) -> Tensor:
        if t.dim() != axes or not t.is_floating_point():
            return t
        first = torch.arange(t.shape[-1], device=t.device) < t.shape[-1] // 2
        return torch.where(first, t, t + random_like(t))

    seen: list[Tensor] = []
    keep = model.get_submodule(layer).register_forward_hook(lambda _m, _x, a: seen.append(a))
    with hooked([keep]), undisturbed(model), torch.no_grad():
        for inputs in (x, each_tensor(x, later)):
            call(model, inputs)
    changed = (seen[len(seen) // 2 - 1] - seen[-1]).abs().sum(dim=(0, 1))
    if not changed.any():
        return []
    along = (changed.sum(dim=1 - axis) for axis in (0, 1))
    return [float(each[(len(each) + 1) // 2 :].sum() / each.sum()) for each in along]


def _of_variables(model: nn.Module, images: Tensor, watched: Watched) -> str | None:
    """The sentence where each variable of a signal is cut into patches of its own; else None."""
    shapes = {n: s for n, s in watched.shapes.items() if n not in watched.inside}
    fours = {n: s for n, s in shapes.items() if len(s) == 4 and s[2] > 1}
    apart = [n for n, s in fours.items() if 1 < s[1] in images.shape[1:]]
    if not apart or isinstance(first_convolution(model), nn.Conv2d):
        return None
    variables, tokens = shapes[apart[-1]][1:3]
    patches = min(shapes[apart[0]][2], tokens)
    rows = ((n, s) for n, s in shapes.items() if len(s) == 3 and s[0] == variables)
    folded = [n for n, s in rows if patches <= s[1] <= max(tokens, patches + 2)]
    tokens = shapes[folded[-1]][1] if folded else tokens
    class_tokens = f"[:, :, {tokens - patches}:]" if tokens > patches else ""
    one_by_one = f".unflatten(0, (-1, {variables}))" if folded else ""
    mean = f"reshape_transform=lambda a: a{one_by_one}.mean(1).mT{class_tokens}"
    # as of all tokens: behind the last attention only a class token may be read
    named, last = folded or apart, watched.attentions.get(tokens, inf)
    named = [n for n in named if watched.ends[n] < last] or named
    cure = f"model, '{named[-1]}', {mean}"
    return (
        f"This {type(model).__name__} cuts each of the {variables} variables of x into {patches} "
        "patches of its own. Name a layer of them and take the mean over the variables: "
        f"{_grad_cam(cure, watched)}."
    )


def _of_tokens(watched: Watched, sides: int) -> str | None:
    """The sentence where tokens attend to one another whose grid nothing shows; else None."""
    shapes = {n: s for n, s in watched.shapes.items() if n not in watched.inside}
    tokens = {n: s for n, s in shapes.items() if watched.tokens(n) in watched.attentions}
    tokens = {n: s for n, s in tokens.items() if watched.runs[n] == 1 and s[0] == watched.n < s[1]}
    before = [n for n, s in tokens.items() if watched.ends[n] < watched.attentions[s[1]]]
    if sides < 2 or not tokens:
        return None
    layer, along = [*tokens, *before][-1], "dhw"[-sides:]
    fold = f"a[:, -{' * '.join(along)}:].mT.unflatten(2, ({', '.join(along)}))"
    return (
        f"'{layer}' gives {tokens[layer][1]} tokens, and no layer shows how those of the image lie "
        f"in {' x '.join(along)} places. Put the numbers of patches along its sides in place of "
        f"{', '.join(along)}, where they stand last of the tokens: "
        f"""{_grad_cam(f"model, '{layer}', reshape_transform=lambda a: {fold}", watched)}."""
    )


def _one_axis_more(name: str, watched: Watched, sides: int) -> str | None:
    """The sentence where layers have times, rotations or views on an axis of their own; else None.

    Read as channels, each of them is weighed by itself.
    """
    grids = [n for n, s in watched.shapes.items() if len(s) == sides + 3 and prod(s[3:]) > 1]
    grids = [n for n in grids if watched.n in watched.shapes[n][:2] and watched.runs[n] == 1]
    if sides < 2 or not grids:
        return None
    shape = watched.shapes[grids[-1]]
    first = "" if shape[0] == watched.n else ".transpose(0, 1)"
    cure = f"model, '{grids[-1]}', reshape_transform=lambda a: a{first}.flatten(1, 2)"
    return (
        f"'{grids[-1]}' of this {name} gives {' x '.join(map(str, shape))} for one image: one axis "
        "more than channels and places have, as of times, rotations or views. Let each of them be "
        f"channels of its own: {_grad_cam(cure, watched)}."
    )


def _views_folded(name: str, images: Tensor, size: Sequence[int], watched: Watched) -> str | None:
    """The sentence where a layer gives more grids than there are items of x; else None."""
    axes = places_in_words(len(size))
    # views may have an axis of their own in x, or be made in the network
    sides = (images.dim() - 1, images.dim())
    shapes = {n: s for n, s in watched.shapes.items() if n not in watched.inside}  # no heads
    grids = {n: s for n, s in shapes.items() if len(s) in sides and len(s) > 3}
    grids = {n: s for n, s in grids.items() if prod(s[2:]) > 1}  # not what is pooled
    folded = [(n, s[0]) for n, s in grids.items() if s[0] > watched.n]
    if not folded:
        return None
    last, many = folded[-1]
    cure = (
        "name a layer that gives all of them at once, with reshape_transform=, a function from its "
        f"output to N x C x {axes}."
    )
    if len(size) == 3 and many == size[0] * watched.n:
        unfold = f"lambda a: a.unflatten(0, (-1, {size[0]})).transpose(1, 2)"
        if len(shapes[last]) == 5 and shapes[last][1] == watched.n:  # T x N x C x h x w
            unfold = "lambda a: a.movedim(0, 2)"
        line = _grad_cam(f"model, '{last}', reshape_transform={unfold}", watched)
        cure = f"explain all of them at once: {line}, a map of {axes} places."
    return (
        f"'{last}' gives {many} grids for {watched.n} item of x: this {name} folds views or "
        "frames into the batch, so one map cannot stand for x. Let it take the views as images of "
        f"their own, N x C x H x W, and join the answers outside; or {cure}"
    )
