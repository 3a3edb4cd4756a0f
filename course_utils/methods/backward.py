"""One backward pass through the head, for many questions at once."""

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from ..errors import LayerError

# float16 holds nothing below 6e-8: gradients of a mean over many places vanish, large ones overflow
SCALES = [2.0**power for power in (14, 7, 0, -7, -14)]


def backward(
    output: Tensor | GradientEdge, leaf: Tensor | GradientEdge, v: Tensor
) -> Tensor | None:
    """dJ/dA of K questions.

    Args:
        output: what the network returned, with its graph; or a node of it, of float32 or wider.
        leaf: A, of any shape, where the graph starts; or a node between, of float32 or wider.
        v: dJ/dy, K x the output's shape.

    Returns:
        K x the leaf's shape; float32 where the network runs in float16. None: y does
        not depend on A.
    """
    with torch.inference_mode(False), torch.no_grad():
        v = v.clone() if v.is_inference() else v
        if not isinstance(output, Tensor):
            return _send(output, leaf, v)
        if torch.float16 not in (output.dtype, getattr(leaf, "dtype", None)):
            return _send(output, leaf, v.to(output.dtype))
        # scaled before, divided after: the largest scale at which nothing overflows
        largest = v.float().flatten(1).abs().amax(dim=1).clamp_min(1e-30)
        unit = v.float() / _factors(largest, v)
        for scale in SCALES:
            gradient = _send(output, leaf, (unit * scale).to(output.dtype))
            if gradient is None or gradient.isfinite().all():
                break
        return None if gradient is None else gradient.float() * _factors(largest / scale, gradient)


def cancels(gradient: Tensor, dtype: torch.dtype | None = None) -> bool:
    """Whether all that the places of a gradient say adds up to nothing, but for round-off.

    So it is before a softmax or a norm over the places: Grad-CAM's weights are means over them.

    Args:
        gradient: ... x places.
        dtype: of the numbers it was worked out in; None: its own.
    """
    tolerance = min(100 * torch.finfo(dtype or gradient.dtype).eps, 0.02)
    sums, sizes = gradient.sum(dim=-1), gradient.abs().sum(dim=-1)
    return bool((sums.abs() <= tolerance * sizes).all())


def _factors(numbers: Tensor, values: Tensor) -> Tensor:
    """K numbers in a shape that multiplies K x ... values."""
    return numbers.reshape(-1, *[1] * (values.dim() - 1))


def _send(output: Tensor | GradientEdge, leaf: Tensor | GradientEdge, v: Tensor) -> Tensor | None:
    try:
        if len(v) > 1:
            try:
                return _grad(output, leaf, v, batched=True)
            except Exception:  # noqa: BLE001
                pass  # an operation without a batched rule, or a true fault: one by one it shows
        each = [_grad(output, leaf, one) for one in v]
    except RuntimeError as error:
        if "use_reentrant" in str(error):
            raise LayerError(reentrant("after the layer")) from None
        raise
    gradients = [gradient for gradient in each if gradient is not None]
    if len(gradients) == 1:
        return gradients[0][None]  # stack would copy it
    return torch.stack(gradients) if gradients else None


def _grad(
    output: Tensor | GradientEdge, leaf: Tensor | GradientEdge, v: Tensor, batched: bool = False
) -> Tensor | None:
    (gradient,) = torch.autograd.grad(
        output, leaf, v, retain_graph=True, is_grads_batched=batched, allow_unused=True
    )
    return gradient


def reentrant(where: str) -> str:
    """The sentence for activation checkpointing of the old kind."""
    return (
        f"Activation checkpointing of the old kind (use_reentrant=True) stands {where}, and keeps "
        "no gradient there. Switch checkpointing off, or use checkpoint(..., use_reentrant=False)."
    )
