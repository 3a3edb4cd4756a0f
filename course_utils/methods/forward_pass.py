"""One forward pass, kept: every question about it costs only the head of the network.

A question about an output y is nothing but a cotangent vector v = dJ/dy. The chain rule is linear
in v. So with Grad-CAM's class maps S^c (Selvaraju et al. 2017, eq. 1 and 2) the answer to *any*
question is S = sum_c v_c S^c. "Places" are spatial positions: the h x w of a layer's output.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property, partial, wraps
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..errors import GridWarning, LayerError, a_kind_of, warn_outside
from .backward import backward, cancels
from .checks import check_evidence, check_logits, cotangents
from .closed_form import (
    CHUNK,
    ClosedForm,
    LastLinear,
    are_class_numbers,
    pooling_linear_head,
    spelled_out,
)
from .diagnosis import diagnosed, of_the_network
from .field_of_view import field_of_view_at, fields_of_view
from .first_token import find_shorter
from .graph import graph_nodes
from .grids import Fold, Seen, check_grid, grid_fold, own_grid, skew, tokens_first
from .head import not_on_the_way
from .inputs import Inputs, images_of, name_of, size_of
from .keywords import own_keywords
from .layers import Target, find_layer, run_from_target
from .orientation import Orientation, orientation_of, other_axis_order, unknown_network
from .pooled_head import PooledHead, pooled_head
from .roles import channels_first
from .running import own_gradients, undisturbed
from .scores import are_classes, class_probabilities, warn_of_probabilities
from .tensors import alike, random_like
from .unchanged import Unchanged, runs_own_code, weights_of_head
from .watched import Watched
from .watching import watch

FEW_TOKENS = 16  # questions answered at once by the first token: more outgrow a CPU's caches


def without_autocast(answer: Callable) -> Callable:
    """For methods: answers are worked out in the numbers' own types, also inside torch.autocast.

    The network ran under it, as the caller wants; sums of weights as small as 1/(hw) do not bear
    half precision.
    """

    @wraps(answer)
    def answered(self: Any, *args: Any, **named: Any) -> Tensor:
        kind = self.logits.device.type
        if not torch.is_autocast_enabled(kind):
            return answer(self, *args, **named)
        with torch.autocast(kind, enabled=False):
            return answer(self, *args, **named)

    return answered


class ForwardPass:
    """A network's answer to a batch of images, ready to be questioned again and again.

    The layers before the target run without a graph; the graph starts at the target layer and
    ends at the output. Frozen parameters, `torch.no_grad()` and `torch.inference_mode()` around
    the call make no difference, and the network is left exactly as it was found (but for what its
    own code changes in every forward pass, such as the observers before a quantisation).

    Args:
        model: any `nn.Module` from N x 3 x H x W to a tensor N x ... (class scores: N x classes).
        x: the images, N x 3 x H x W floats, preprocessed as the network expects; also volumes,
            N x C x D x H x W, and signals, N x C x L. For a network with several inputs, a tuple of
            them, handed on in this order, or a dict, by name.
        layer: the target layer, by name or module; None for the last one with places.
        reshape_transform: for layers of unusual shape or order, a function from their output to
            N x C x h x w. Without it, tokens are read row by row, as the image is; nothing tells
            that a network holds them otherwise, as Hiera does (by windows) before its last stage.
            A network that turns or mirrors its images is noticed, and its maps are turned back;
            that is measured once, in a few more passes, where the network is of no library.
        output: a function from what the network returns to the tensor that is asked about. Without
            it, that is the tensor returned, or the `logits` in a dict or an object.

    Attributes:
        logits: the network's output, N x classes (any shape N x ... is kept), detached.
        activations: A, N x C x h x w, detached. Answers are made of both: change copies only.
        size: (H, W) of the images; (L,) of signals, (D, H, W) of volumes.
        layer: the target layer's name.
        layer_reason: why this layer, in words.

    Raises:
        ImageError, LayerError, ClassError: with a sentence that says what to do.
        TypeError: the network does not return one tensor, or is none.

    Warns:
        GridWarning: a layer that was named has channels in the place of height or width, or the
            network cuts or pads its images itself.
        ChanceWarning: the network draws random numbers in evaluation mode, or remembers
            earlier passes.
    """

    _without: Sequence[str] = ()  # the names of functions that were not given

    @own_keywords
    def __init__(
        self,
        model: nn.Module,
        x: Inputs,
        layer: str | nn.Module | Target | None = None,
        reshape_transform: Callable[[Tensor], Tensor] | None = None,
        output: Callable[[Any], Tensor] | None = None,
    ):
        self._run(model, x, layer, reshape_transform, output)
        functions = {"reshape_transform": reshape_transform, "output": output}
        self._without = [name for name, function in functions.items() if function is None]
        self._unchanged.also(self.activations, self.logits)
        if self._closed_form is not None:
            self._unchanged.record([self._closed_form.stored], self._output)
            return
        of_head = partial(weights_of_head, model, self._output, self._leaf, self._shift)
        self._unchanged.record(of_head(), self._output, of_head if self._runs_own_code else None)

    @classmethod
    def at_once(cls, *how: Any) -> Self:
        """A pass that is questioned at once and let go; arguments as above.

        It does not record the head's weights, to notice later that they have changed: that takes
        a hundredth of a small network's forward pass.
        """
        forward_pass = cls.__new__(cls)
        forward_pass._run(*how)
        return forward_pass

    def _run(
        self,
        model: nn.Module,
        x: Inputs,
        layer: str | nn.Module | Target | None,
        reshape_transform: Callable[[Tensor], Tensor] | None,
        output: Callable[[Any], Tensor] | None,
    ) -> None:
        target = find_layer(model, layer)
        images = images_of(x)
        self.model, self.size = model, size_of(images, model)
        own_reshape = reshape_transform is not None
        if own_reshape and not callable(reshape_transform):
            kind = a_kind_of(reshape_transform)
            raise TypeError(f"reshape_transform= is a function of the layer's output, not {kind}.")
        self._one_by_one = own_reshape  # only where N stands first can K questions stand there, too
        views = fields_of_view(model, x)  # before the run, whose traces in the network are to stay
        with diagnosed(model, x, target, output):
            target, run = run_from_target(model, x, target, output, shorter=not own_reshape)
            self.layer, self.layer_reason = target.name, target.reason
            self._named = target.named
            check_logits(run.output.detach())
            self._reshape_transform = reshape_transform or self._fold(
                run.leaf, len(run.output), lambda: watch(model, x, output), x
            )
            if not self._one_by_one:
                run = find_shorter(model, self.layer, x, output, run, self._reshape_transform)
            self._leaf, self._output, self._shift = run
            self.logits = self._output.detach()
            grid, leaf = self._reshape_transform, self._leaf.detach()
            self.activations = self._wide(own_grid(grid, leaf) if own_reshape else grid(leaf))
            check_grid(self.activations, self.layer, self.logits.shape, len(self.size), len(images))
        view = field_of_view_at(model, x, self.layer, self._reshape_transform, views)
        if view.differs:
            self.layer_reason += f"; the network looks at {view.in_words()}"
            warn_outside(view.warning(model), GridWarning)
        self._read_head(own_reshape)
        self._class_maps: Tensor | None = None
        self._last = LastLinear(self._output)
        self.grad_cams: dict[tuple, Tensor] = {}  # S^P by P: every contrast is compared with it

    def _fold(self, leaf: Tensor, n: int, watched: Callable[[], Watched], x: Inputs) -> Fold:
        """How the layer's output is read as a grid; tokens may lie as T x N x C, too."""
        name, shape = self.layer, leaf.shape
        kind = channels_first(self.model.get_submodule(name))
        first = tokens_first(shape, n)
        if len(shape) == 3 and shape[0] == shape[1] == n > 1:  # seen with one image, it is plain
            first = tokens_first(watched().shapes.get(name, shape), 1)
        self._one_by_one = first = first and kind is not True
        read = leaf.transpose(0, 1) if first else leaf

        def fold_of(turned: bool, by_columns: bool = False) -> Fold:
            size = self.size[::-1] if turned else self.size

            def seen() -> Seen:
                known = watched().seen_of(name, size)
                return known.exchanged() if by_columns else known

            fold = grid_fold(self.model, name, read, size, seen, kind)
            return (lambda a: fold(a.transpose(0, 1))) if first else fold

        def oriented(turned: bool, by_columns: bool = False) -> tuple[Fold, Orientation]:
            plain = fold_of(turned, by_columns)
            return plain, orientation_of(self.model, x, name, plain, turned)

        if unknown_network(self.model) is None:
            return fold_of(turned=False)
        turned = self._turns(shape, images_of(x), watched)
        plain, how = oriented(turned)
        doubtful = how.axes == (1, 0) or not how.clear
        if len(shape) == 3 and doubtful and not turned and len(set(self.size)) == 2:
            again = oriented(True, by_columns=True)
            plain, how = again if again[1].clear and again[1].axes == (1, 0) else (plain, how)
        if how.unrelated and kind is None and len(shape) == len(self.size) + 2:
            as_it_is = plain(leaf) is leaf
            plain, how = other_axis_order(self.model, x, name, as_it_is, turned) or (plain, how)
        self.layer_reason += how.in_words()
        self._warn_of_places(how, watched, x)
        return how.align(plain)

    def _warn_of_places(self, how: Orientation, watched: Callable[[], Watched], x: Inputs) -> None:
        """Of channels where places should be, and of a layer that reads another image of several
        than the first, over which the map is drawn."""
        seen = _watched_or_none(watched) if how.unrelated else None
        if seen is not None and seen.shows_channels(self.layer):
            warn_outside(how.warning(self.layer), GridWarning)
        if how.instead:
            first, other = name_of(images_of(x), x), how.instead
            said = (
                f"'{self.layer}' reads {other}, and not {first}, over which its map is drawn: it "
                f"lies on {other}, and may have another size. Name a layer that reads {first}, or "
                f"hand {other} on as the first, by a wrapper whose forward takes it first."
            )
            warn_outside(said, GridWarning)

    def _turns(self, shape: Sequence[int], images: Tensor, watched: Callable[[], Watched]) -> bool:
        """Whether the network exchanges height and width, as the first convolution's input shows.

        It is watched where that is likely, as of images of one channel (spectrograms), of channels
        last, and where the grid is more like the exchanged image; and where tokens do not show it.
        """
        if len(self.size) != 2 or self.size[0] == self.size[1]:
            return False
        if images.dim() == 4 and images.shape[1] > 1 and images.shape[2:] == self.size:
            if len(shape) == 4 and skew(shape[2:], self.size) <= skew(shape[2:], self.size[::-1]):
                return False
        seen = _watched_or_none(watched)
        return seen is not None and seen.turned

    def _read_head(self, own_reshape: bool) -> None:
        """Whether the head is of a kind that has a shorter way than a backward pass through all."""
        leaf, as_it_is = self._leaf, self.activations.shape == self._leaf.shape
        plain = as_it_is and not own_reshape
        matrix = pooling_linear_head(self._output, leaf) if plain else None
        self._unchanged = Unchanged()
        self._closed_form: ClosedForm | None = None
        self._pooled_head: PooledHead | None = None
        if matrix is not None:
            self._closed_form = ClosedForm(matrix, self.activations, self._unchanged)
        elif not self._one_by_one and self._shift is None:
            channels = 1 if as_it_is else leaf.dim() - 1
            fold = self._reshape_transform
            self._pooled_head = pooled_head(self._output, leaf, channels, fold)

    @cached_property
    def _runs_own_code(self) -> bool:
        """Whether checkpointed parts or functions of the network's own run in a backward pass."""
        head = self._pooled_head
        return runs_own_code(graph_nodes(self._output) if head is None else head.path)

    def _undisturbed(self) -> AbstractContextManager[None]:
        """For a backward pass: the network is touched only where code of its own runs."""
        return _run_again(self.model) if self._runs_own_code else nullcontext()

    def __len__(self) -> int:
        return len(self.logits)

    def __getstate__(self) -> dict:
        raise TypeError(
            "A ForwardPass holds a graph of the network, which can be neither copied nor saved. "
            "Keep its answers: an Explanation, or the tensors that evidence() and ask() give."
        )

    @staticmethod
    def _wide(values: Tensor) -> Tensor:
        """Sums over channels and places are made in float32 at least."""
        return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values

    def probabilities(self, sigmoid: bool = False) -> Tensor:
        """p = softmax(y), N x classes, float32 or wider; of one logit, N x 2 ("no" and "yes").

        Args:
            sigmoid: p_c = sigmoid(y_c) instead, where an image may show several classes.
        """
        warn_of_probabilities(self.model, self._output)
        return class_probabilities(self._wide(self.logits), sigmoid)

    @without_autocast
    def gradients(self, v: Tensor) -> Tensor:
        """dJ/dA for K questions, at every place: N x K x C x h x w. One backward pass of the head.

        Args:
            v: dJ/dy, N x K x classes (or K x classes, the same for every image).
        """
        return self._wide(self._backward(self._per_image(v)))

    @without_autocast
    def weights(self, v: Tensor) -> Tensor:
        """alpha = mean_ij dJ/dA_ij (eq. 1): N x K x C. Arguments as for `gradients`."""
        return self._weights(self._per_image(v))

    def _weights(self, v: Tensor) -> Tensor:
        """alpha, of questions that are N x K x classes, or N x K class numbers."""
        if self._closed_form is not None:
            return self._closed_form.weights(v)
        if self._pooled_head is not None:
            with self._undisturbed():
                self._unchanged.check()
                return self._pooled_head.weights(v)
        chunk = CHUNK if self._shift is None else FEW_TOKENS
        chunks = v.split(max(1, chunk // len(self)), dim=1)
        return torch.cat([self._weights_by_backward(few) for few in chunks], dim=1)

    def evidence(self, v: Tensor) -> Tensor:
        """S = sum_k alpha_k A^k (eq. 2), signed, before the ReLU: N x K x h x w.

        Arguments as for `gradients`. The unit is the question's, per place.

        Raises:
            ValueError: v is of another shape, or no real numbers.
            RuntimeError: the head's weights have changed since the pass, or its activations or
                logits were written into.
            LayerError: nothing but round-off is left of the weights.
            ImageError: the evidence is NaN or infinite.
        """
        return self._evidence(self._per_image(v))

    @without_autocast
    def _evidence(self, v: Tensor) -> Tensor:
        """S of questions that are N x K x classes, or N x K class numbers, which take less time."""
        if self._reads_class_maps(v):
            self.check_weights()
            evidence = self._sum_of_class_maps(v)  # S = sum_c v_c S^c, the same
        else:
            evidence = _weighted_sum(self._weights(v), self.activations)
        return check_evidence(evidence, self.logits, v)

    def _weights_by_backward(self, v: Tensor) -> Tensor:
        """alpha by a backward pass: N x K x C."""
        if self._shift is None:
            gradient = self._wide(self._backward(spelled_out(v, self.logits))).flatten(3)
            self._check_sums(gradient)
            return gradient.mean(dim=3)
        with self._undisturbed():
            self._unchanged.check()
            start, v = self._last.behind(v)
            sums = backward(start, self._shift, v.transpose(0, 1))
        assert sums is not None  # the shift was found to be on the way
        return sums[:, :, 0].transpose(0, 1) / self.activations[0, 0].numel()

    def _check_sums(self, gradient: Tensor) -> None:
        """Raise a LayerError if nothing is left of dJ/dA, N x K x C x places, but its round-off."""
        first, dtype = gradient[0, 0], self._leaf.dtype  # one question tells as a rule
        if cancels(first, dtype) and first.any() and cancels(gradient, dtype):
            raise LayerError(
                f"The gradients at '{self.layer}' add up to 0 over the places, as before a norm or "
                "a softmax over them, so that Grad-CAM's weights are round-off. Choose the layer "
                "after it."
            )

    def check_weights(self) -> None:
        """Raise a RuntimeError if the weights that answers need have changed since the pass."""
        self._unchanged.check()

    def _reads_class_maps(self, v: Tensor) -> bool:
        """Whether to answer from class maps: kept ones, or where they are cheap and asked for."""
        if self._closed_form is not None:
            return self._closed_form.prefers_class_maps(v)
        return self._class_maps is not None and self._maps_add_up

    @cached_property
    def _maps_add_up(self) -> bool:
        """Whether the kept class maps answer any v: not where a norm over the batch mixes images,
        since v of the others counts there, too.
        """
        if len(self) == 1:
            return True
        v = random_like(self.logits)[:, None]
        evidence = _weighted_sum(self._weights(v), self.activations)
        return alike(evidence, self._sum_of_class_maps(v))

    def _sum_of_class_maps(self, v: Tensor) -> Tensor:
        """sum_c v_c S^c; v of an output N, or N x classes x 1 x 1, has other sides."""
        if are_class_numbers(v):
            return torch.stack([maps[c] for maps, c in zip(self.class_maps(), v)])
        return _weighted_sum(v.reshape(*v.shape[:2], -1), self.class_maps())

    def _per_image(self, v: Tensor) -> Tensor:
        """N x K x classes, checked; K x classes are asked of every image."""
        v = cotangents(v, self._output.device)
        if v.dim() == self._output.dim():
            v = v.expand(len(self), *v.shape)
        n, *answer = self._output.shape
        if v.shape[:1] + v.shape[2:] != self._output.shape or not v.numel():
            got, wanted = (" x ".join(map(str, s)) for s in (v.shape or [1], (n, "K", *answer)))
            raise ValueError(f"The cotangents are {got}; questions to this output are {wanted}.")
        return v

    def _backward(self, v: Tensor) -> Tensor:
        """dJ/dA, N x K x C x h x w, of all questions in one backward pass."""
        with self._undisturbed():
            self._unchanged.check()
            gradient = backward(self._output, self._leaf, v.transpose(0, 1))
        if gradient is None:
            fault = not_on_the_way(self.layer)
            raise of_the_network(fault, self.model) or fault
        with torch.inference_mode(False):
            if self._one_by_one:
                return torch.stack([self._reshape_transform(one) for one in gradient], dim=1)
            grids = self._reshape_transform(gradient.flatten(0, 1))
            return grids.unflatten(0, gradient.shape[:1] + (len(self),)).transpose(0, 1)

    @without_autocast
    def class_maps(self) -> Tensor:
        """S^c for every class c, N x classes x h x w; kept, so that later questions read it.

        Of one logit the one map is S of the logit itself.

        Raises:
            ValueError: the output is not N x classes.
            RuntimeError: the head's weights have changed since the pass.
        """
        if self._class_maps is None:
            if self._closed_form is not None:
                self._class_maps = self._closed_form.class_maps()
            else:
                shape = self._output.shape[1:]
                if not are_classes(self._output):
                    got = " x ".join(map(str, self._output.shape))
                    raise ValueError(
                        f"The output is {got}, not N x classes: evidence(v) answers any question."
                    )
                classes = torch.eye(shape.numel(), device=self._output.device)
                maps = self._place_by_place()
                maps = self.evidence(classes.reshape(-1, *shape)) if maps is None else maps
                self._class_maps = maps
            self._unchanged.also(self._class_maps)
        return self._class_maps

    def _place_by_place(self) -> Tensor | None:
        """All class maps, where there are fewer places than classes and the head allows it."""
        if self._pooled_head is None:
            return None
        with self._undisturbed():
            self._unchanged.check()
            maps = self._pooled_head.class_maps(self.activations)
        return None if maps is None else check_evidence(maps, self.logits, self.logits)

    def cotangent(self, question: Callable[[Tensor], Tensor]) -> Tensor:
        """v = dJ/dy of any differentiable question J, one number per image.

        Args:
            question: maps the output, N x classes, to N numbers (each from its own image's row).

        Returns:
            N x 1 x classes.

        Raises:
            TypeError: the question is no function.
            ValueError: it does not give one number per image, from its own row, or none that can
                be differentiated.
        """
        if not callable(question):
            raise TypeError(
                f"A question is a function of the output, such as {self._a_question}, not "
                f"{a_kind_of(question)}."
            )
        with torch.inference_mode(False), torch.enable_grad():
            y = self._output.detach().clone().requires_grad_()
            answer = question(y.clone())  # a copy can be written into
            if not isinstance(answer, Tensor) or answer.numel() != len(self):
                got = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
                averaged = isinstance(answer, Tensor) and answer.numel() == 1
                raise ValueError(
                    f"A question must give one number per image, {len(self)} here, but it gave "
                    f"{got}. "
                    + "Do not average over the batch (reduction='none')." * averaged
                    + f"One to this output is {self._a_question}." * (not averaged)
                )
            v, ends = None, []
            if answer.requires_grad and not answer.is_complex():
                v, *ends = (
                    torch.autograd.grad(one, y, retain_graph=True, allow_unused=True)[0]
                    for one in (answer.sum(), answer.flatten()[0], answer.flatten()[-1])
                )
        if v is None:
            raise ValueError(
                "The question's answer is no differentiable function of the output that it is "
                "given: ask for a real number made of the logits by arithmetic, not by argmax, "
                "detach or item, nor by another pass."
            )
        if any(rows.any() for rows in (ends[0][1:], ends[1][:-1])):
            raise ValueError(
                "The question's answer for one image depends on the logits of others, as that of "
                f"y[0] or softmax(0) does. Let each image's come from its own row: "
                f"{self._a_question}, softmax(1)."
            )
        return v.unsqueeze(1)

    @property
    def _a_question(self) -> str:
        """A simple question, as code that this output takes."""
        axes = self._output.dim()
        return "lambda y: y" + "[:, 0]" * (axes > 1) + ".flatten(1).sum(1)" * (axes > 2)

    def ask(self, question: Callable[[Tensor], Tensor]) -> Tensor:
        """The signed evidence, N x 1 x h x w, for any differentiable question about the output.

        >>> seen.ask(lambda y: y[:, 282] - y[:, 285])  # why tiger cat, rather than Egyptian cat?
        """
        return self.evidence(self.cotangent(question))


def _watched_or_none(watched: Callable[[], Watched]) -> Watched | None:
    """What was seen of a network whose layer was named: it answers also where watching fails."""
    try:
        return watched()
    except Exception:  # noqa: BLE001
        return None


@contextmanager
def _run_again(model: nn.Module) -> Iterator[None]:
    """Parts of a network may run again inside, which keep nothing under inference_mode."""
    with undisturbed(model), own_gradients(model), torch.inference_mode(False), torch.no_grad():
        yield


def _weighted_sum(weights: Tensor, maps: Tensor) -> Tensor:
    """N x K x C weights and N x C x h x w maps: N x K x h x w."""
    return torch.bmm(weights.to(maps.dtype), maps.flatten(2)).unflatten(2, maps.shape[2:])
