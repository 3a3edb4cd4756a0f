"""Heads that read the first tokens only: what follows the last attention is run for them alone.

Most vision transformers (ViTs) answer from their class token, the first; some (DeiT) from a second,
too. After the last attention no token reads another, so that all the work for the patches is lost,
forwards and in each backward pass. Here the attention is asked for the tokens before the patches,
and what follows runs on them.

The places of the patches hold NaN. NaN spreads: an answer without NaN has read none of them.
"""

import inspect
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .backward import backward
from .grids import Fold
from .head import run_from_layer
from .inputs import Inputs
from .output import Picker
from .tensors import alike, random_like

_ATTENTION = inspect.signature(F.multi_head_attention_forward)
_TOKEN_BY_TOKEN = {"linear", "layer_norm", "gelu", "silu", "relu", "dropout", "add", "mul"}
# what F.multi_head_attention_forward is given beside self-attention of packed weights, and no more
_PLAIN = {"bias_k": None, "bias_v": None, "add_zero_attn": False, "key_padding_mask": None,
          "need_weights": False, "attn_mask": None, "use_separate_proj_weight": False,
          "static_k": None, "static_v": None, "is_causal": False}  # fmt: skip

_known: WeakKeyDictionary[nn.Module, dict[str, dict[int, int]]] = WeakKeyDictionary()


class Run(NamedTuple):
    """A network's run: A as the leaf of a graph, the output, and the shift of A's patches, if any.

    The shift is N x 1 x C zeros: dJ/dshift is the sum of dJ/dA over all patches.
    """

    leaf: Tensor
    output: Tensor
    shift: Tensor | None


def _of(model: nn.Module, name: str) -> dict[int, int]:
    """What earlier passes found out about a layer.

    Returns:
        Tokens -> how many of them come before the patches; 0: the shorter way is not taken.
    """
    return _known.setdefault(model, {}).setdefault(name, {})


class FirstToken(TorchFunctionMode):
    """Runs what follows the target layer for the tokens before the patches, as far as it can.

    Args:
        prefixes: tokens -> how many of them come before the patches; the way is taken for these
            numbers of tokens only.

    Attributes:
        shift: as in `Run`.
        attended: whether an attention was asked for these tokens.
    """

    def __init__(self, prefixes: dict[int, int]):
        super().__init__()
        self.prefixes, self.attended, self._on = prefixes, False, False
        self.shift: Tensor | None = None

    def begin(self, leaf: Tensor) -> Tensor:
        """From here on; what is handed on in place of the layer's output."""
        prefix = self.prefixes.get(leaf.shape[1], 0) if leaf.dim() == 3 else 0
        if not prefix or self._on or leaf.dtype not in (torch.float32, torch.float64):
            return leaf.clone()
        self._shape, self._leaf, self.attended = leaf.shape[:2], leaf, False
        self._count = prefix
        # padded tensors, held so that no id is used twice, and what they were made of
        self._firsts: dict[int, tuple[Tensor, Tensor]] = {}
        self.shift = torch.zeros_like(leaf[:, :1]).requires_grad_()
        self._patches = (torch.arange(leaf.shape[1], device=leaf.device) >= prefix).to(leaf)[
            :, None
        ]
        self._start = leaf + self._patches * self.shift
        self.__enter__()
        self._on = True
        return self._start

    def end(self) -> None:
        """The forward pass is over, or starts anew."""
        if self._on:
            self.__exit__(None, None, None)
        self._on = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        answer: Any = None
        if self.attended:
            if func.__name__ in _TOKEN_BY_TOKEN and args and self._all_tokens(args[0]):
                first = func(*map(self._first, args), **kwargs)
                answer = self._padded(first) if first.shape[1] == self._count else None
        elif func is F.linear and args and args[0] is self._start:
            answer = self._linear(*args, **kwargs)
        elif func is F.scaled_dot_product_attention:
            answer = self._attention(*args, **kwargs)
        elif func is F.multi_head_attention_forward:
            answer = self._packed_attention(**_ATTENTION.bind(*args, **kwargs).arguments)
        return func(*args, **kwargs) if answer is None else answer

    def _padded(self, first: Tensor, dim: int = 1) -> Tensor:
        """The first tokens' values, and NaN for all the others'."""
        shape = [*first.shape]
        shape[dim] = self._shape[1] - self._count
        padded = torch.cat([first, first.new_full(shape, torch.nan)], dim)
        self._firsts[id(padded)] = padded, first
        return padded

    def _all_tokens(self, value: Any) -> bool:
        return isinstance(value, Tensor) and value.shape[:-1] == self._shape

    def _first(self, value: Any) -> Any:
        """The first tokens' values: of a padded tensor those it was made of."""
        if not self._all_tokens(value):
            return value
        padded = self._firsts.get(id(value))
        return value[:, : self._count] if padded is None else padded[1]

    def _linear(self, a: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """W a + b; the shift goes its own way, so that patches are summed before W^T multiplies."""
        if a is not self._start or self.shift is None:
            return F.linear(a, weight, bias)
        return F.linear(self._leaf, weight, bias) + self._patches * F.linear(self.shift, weight)

    def _attention(
        self, q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None,
        dropout_p: float = 0, is_causal: bool = False, scale: float | None = None, **other: Any,
    ) -> Tensor | None:  # fmt: skip
        """As `F.scaled_dot_product_attention`, N x heads x tokens x d; None for other kinds."""
        same = q.shape == k.shape == v.shape and q.dim() == 4 and q.shape[2] == self._shape[1]
        if not same or attn_mask is not None or dropout_p or is_causal or any(other.values()):
            return None
        self.attended = True
        return self._padded(_attend(q[:, :, : self._count], k, v, scale), dim=2)

    def _packed_attention(
        self, query: Tensor, key: Tensor, value: Tensor, num_heads: int, in_proj_weight: Tensor,
        in_proj_bias: Tensor | None, out_proj_weight: Tensor, out_proj_bias: Tensor | None,
        **other: Any,
    ) -> tuple[Tensor, None] | None:  # fmt: skip
        """As `F.multi_head_attention_forward`, tokens x N x C; None for other kinds."""
        plain = all(other.get(name, wanted) is wanted for name, wanted in _PLAIN.items())
        same = query is key is value and query.dim() == 3 and in_proj_weight is not None
        if not (plain and same and query.shape[:2] == self._shape[::-1]):
            return None
        a = self._start if key._base is self._start else key.transpose(0, 1)
        c = a.shape[2]
        bias_q, bias_kv = (None, None) if in_proj_bias is None else in_proj_bias.split([c, 2 * c])
        weight_q, weight_kv = in_proj_weight.split([c, 2 * c])
        both = self._linear(a, weight_kv, bias_kv).chunk(2, dim=2)
        q, k, v = (
            t.unflatten(2, (num_heads, -1)).transpose(1, 2)
            for t in (F.linear(a[:, : self._count], weight_q, bias_q), *both)
        )
        self.attended = True
        out = F.linear(_attend(q, k, v).transpose(1, 2).flatten(2), out_proj_weight, out_proj_bias)
        return self._padded(out).transpose(0, 1), None


def _attend(q: Tensor, k: Tensor, v: Tensor, scale: float | None = None) -> Tensor:
    """Attention of few queries, in operations that vmap batches well."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return (scale * q @ k.transpose(-2, -1)).softmax(dim=-1) @ v


def run_shorter(
    model: nn.Module,
    name: str,
    layer: nn.Module,
    x: Inputs,
    output: Picker | None = None,
    shorter: bool = True,
) -> Run:
    """The network's run, shorter where earlier passes through this layer found that to be right.

    Args:
        shorter: False: the plain way, whatever is known.
    """
    prefixes = _of(model, name) if shorter else {}
    way = FirstToken(prefixes) if any(prefixes.values()) else None
    leaf, y = run_from_layer(model, name, layer, x, output, way)
    shift = None if way is None else way.shift
    if shift is not None and not y.isfinite().all():  # this time another token was read
        prefixes[leaf.shape[1]] = 0
        leaf, y = run_from_layer(model, name, layer, x, output)
        shift = None
    return Run(leaf, y, shift)


def find_shorter(
    model: nn.Module, name: str, x: Inputs, output: Picker | None, plain: Run, fold: Fold
) -> Run:
    """At the first pass through a layer: the shorter run if it gives the same, else the plain one.

    Args:
        plain: the run that there is.
        fold: reads A as N x C x h x w.
    """
    leaf, y, shift = plain
    prefixes = _of(model, name)
    tokens = leaf.shape[1]
    if shift is not None or leaf.dim() != 3 or tokens in prefixes:
        return plain
    prefixes[tokens] = 0
    numbers = torch.arange(tokens, device=leaf.device).to(leaf)[None, :, None].expand(leaf.shape)
    patches = fold(numbers)[0, 0]
    before_patches = int(patches.min())
    # others may stand behind the patches, as learned prompts do
    if before_patches != tokens - patches.numel() or not before_patches or leaf.shape[0] != len(y):
        return plain
    way = FirstToken({tokens: before_patches})
    try:
        leaf, y = run_from_layer(model, name, model.get_submodule(name), x, output, way)
    except Exception:  # noqa: BLE001
        return plain  # a network may refuse NaN in any way of its own
    if not way.attended or way.shift is None or not _agree(Run(leaf, y, way.shift), plain, fold):
        return plain
    prefixes.update(way.prefixes)
    return Run(leaf, y, way.shift)


def _agree(short: Run, plain: Run, fold: Fold) -> bool:
    """Whether the short run gives the plain one's answer, and the weights of a random question."""
    if not alike(plain.output.detach(), short.output.detach()):
        return False
    v = random_like(plain.output)[None]
    assert short.shift is not None
    sums = backward(short.output, short.shift, v)
    gradient = backward(plain.output, plain.leaf, v)
    if sums is None or gradient is None:
        return False
    return alike(fold(gradient[0]).flatten(2).sum(dim=2), sums[0, :, 0])
