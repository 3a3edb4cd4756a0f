"""What in a network depends on the images: modules, and of tokens those that are the image's."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from .grids import MOST_PREFIX_TOKENS, tokens_first
from .inputs import Inputs, each_tensor, images_of, tensors_in
from .output import the_output
from .running import call_on_copies, hooked, undisturbed
from .tensors import other_images
from .watched import Watched


def look_for_the_image(
    watched: Watched, model: nn.Module, x: Inputs, weights: dict[str, Tensor], names: Iterable[str]
) -> set[str]:
    """The modules that give the same whatever the images show: embeddings of places and of texts.

    Of several images as large, those that give the same whatever the first one shows are
    `elsewhere`. Of tokens, those that differ are the image's (`image_tokens`).
    """
    images = images_of(x)
    views = [t for _, t in tensors_in(x, "x") if t.is_floating_point() and _as_large(t, images)]
    fixed = _the_same(watched, model, x, weights, names, views)
    if len(views) > 1:
        watched.elsewhere = _the_same(watched, model, x, weights, names, [images]) - fixed
    return fixed


def _as_large(t: Tensor, images: Tensor) -> bool:
    """Whether a tensor is another view; one of another size has places of its own."""
    return t.dim() == images.dim() and t.shape[2:] == images.shape[2:]


def _the_same(
    watched: Watched, model: nn.Module, x: Inputs, weights: dict[str, Tensor],
    names: Iterable[str], views: list[Tensor],
) -> set[str]:  # fmt: skip
    """The modules that give the same whatever these views show.

    In two more forward passes their outputs are the same with these images and with random ones.
    NaN would spread more surely, but code in C++ that reads where the network says has crashed on
    it. Where the answer is the same, too, as of many layers with weights drawn too small, nothing
    is known.
    """
    sums: dict[str, list[list[Tensor | None]]] = {name: [] for name in names}
    free, answers, first_pass = dict[str, bool](), list[Tensor | None](), [True]

    def other(t: Tensor) -> Tensor:
        return other_images(t) if any(t is view for view in views) else t

    def look(name: str) -> Any:
        def hook(_module: nn.Module, inputs: Any, value: Any) -> None:
            now = [_sums(tokens) for tokens in (*inputs[:1], value)]
            if first_pass:
                sums[name].append(now)
                return
            before = sums[name].pop(0) if sums[name] else [None, None]
            differ = [_differ(a, b) for a, b in zip(before, now)]
            free[name] = differ[-1] is not None and not differ[-1].any()
            if free[name] and len(differ) == 2 and differ[0] is not None and differ[0].any():
                watched.silent.add(name)
            for tokens in differ:
                _note_image_tokens(watched, tokens)

        return hook

    with undisturbed(model), torch.inference_mode(False), torch.no_grad():
        handles = [model.get_submodule(n).register_forward_hook(look(n)) for n in names]
        # a network may refuse random images; what ran before it did is known
        with suppress(Exception), hooked(handles):
            for inputs in (x, each_tensor(x, other)):
                returned = call_on_copies(model, inputs, weights)
                answers.append(_sums(the_output(model, returned, watched.output)))
                first_pass.clear()
    differ = _differ(*answers) if len(answers) == 2 else None
    blind = differ is not None and not differ.any()
    return set() if blind else {name for name in free if free[name]}


def _sums(value: Any) -> Tensor | None:
    """What is kept of a tensor to see whether another is the same: sums along its last axis.

    Of every other number: behind a LayerNorm or a softmax all of them have the same sum.
    """
    if not isinstance(value, Tensor) or value.is_nested or not value.dim():
        return None
    return value[..., ::2].sum(dim=-1)


def _differ(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return None if a is None or b is None or a.shape != b.shape else a.ne(b)


def _note_image_tokens(watched: Watched, differ: Tensor | None) -> None:
    """Keep which tokens are the image's, where a few are not: they differ.

    The first time counts: behind an attention all of them do.

    Args:
        differ: N x T (or T x N) booleans, True where a token differs with another image.
    """
    if differ is None or differ.dim() != 2 or watched.n not in differ.shape:
        return
    first = tokens_first((*differ.shape, 0), watched.n)
    found = differ.any(dim=1 if first else 0).nonzero().flatten().tolist()
    tokens = differ.shape[0 if first else 1]
    if len(found) == tokens:
        watched.whole.add(tokens)
        return
    if tokens in watched.whole and found and found[-1] - found[0] >= len(found):
        return  # only round-off hides that those between differ, too
    if 0 < len(found) and found[-1] - found[0] < len(found) + MOST_PREFIX_TOKENS:
        watched.image_tokens.setdefault(tokens, found)
