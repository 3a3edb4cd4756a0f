"""What other packages, and version 1, call our arguments: a sentence for who comes from there."""

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any

_LAYER = "layer=, one layer, by name or as a module"
_CLASS = "why=, a class by number or name, where the question is put: GradCAM(model)(x, why=...)"
_IMAGES = "x, the images themselves, as the first argument"
_DEVICE = "nothing: move network and images yourself, as in model.cuda() and x.cuda()"
_SMOOTH = "nothing: the map is that of the equations, and is smoothed by none"
_CONTRAST = "ContrastCAM(model)(x, rather_than=...), which asks why P, rather than Q"
_INPUTS = "x as a tuple or a dict of all that the network is given"
OURS = {
    **dict.fromkeys(("target_layers", "target_layer", "layer_name"), _LAYER),
    **dict.fromkeys(("layers", "layer_names", "conv_layer", "penultimate_layer"), _LAYER),
    **dict.fromkeys(("targets", "target", "target_category", "target_class"), _CLASS),
    **dict.fromkeys(("class_idx", "class_index", "category"), _CLASS),
    **dict.fromkeys(("class_id", "label", "labels"), _CLASS),
    **dict.fromkeys(("input_tensor", "input", "inputs", "images", "img", "scores"), _IMAGES),
    **dict.fromkeys(("use_cuda", "device"), _DEVICE),
    **dict.fromkeys(("eigen_smooth", "aug_smooth"), _SMOOTH),
    **dict.fromkeys(("rather_than", "loss"), _CONTRAST),
    "sigmoid": "ContrastCAM(model, sigmoid=True)",
    "additional_forward_args": _INPUTS,
    "to_grid": "reshape_transform=, its name since version 2.0",
}


def own_keywords(call: Callable) -> Callable:
    """For methods: a keyword that only another package knows is answered with ours."""
    given = [one for one in signature(call).parameters.values() if one.name != "self"]
    known = [one.name for one in given]
    takes = ", ".join(one.name + "=" * (one.kind is one.KEYWORD_ONLY) for one in given)

    def refusal(name: str, error: TypeError, keywords: dict[str, Any]) -> str:
        foreign = [keyword for keyword in keywords if keyword not in known]
        for keyword in foreign:
            if keyword in OURS:
                return f"{name} has no {keyword}=: write {OURS[keyword]}."
        if foreign:
            return f"{name} has no {foreign[0]}= here. It takes {takes}."
        return f"{name} takes {takes} here." if "positional argument" in str(error) else str(error)

    @wraps(call)
    def checked(self: Any, *args: Any, **keywords: Any) -> Any:
        try:
            return call(self, *args, **keywords)
        except TypeError as error:
            frame = error.__traceback__
            if frame is not None and frame.tb_next is not None:
                raise  # the call began: the fault is inside of it
            raise TypeError(refusal(type(self).__name__, error, keywords)) from None

    return checked
