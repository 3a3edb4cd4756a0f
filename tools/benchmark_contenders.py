"""What `make benchmark` compares: each library, asked in the fastest way its interface offers.

All do the same work for one network, target layer and image: Grad-CAM maps of given classes, and
Contrast-CAM maps (J = cross-entropy with Q) for given Q. `disagreement` measures that they do.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils import ContrastCAM, ForwardPass, GradCAM

# Copies of an image in one batch. Of 1, 2, 5 and 10, five are the fastest or within 8 % of it, for
# both libraries on both networks: fewer cost more passes, more a graph that outgrows the caches.
COPIES = 5


class Contender:
    """One library at work on one network.

    Attributes:
        title: how the table names it.
        package: the distribution that it needs, None for the course itself.
        a_pass_per_question: it runs the network again for every class, so that the time for many
            classes is the time for a few, multiplied.
        frozen: which weights are frozen while it works: None, "all", or "before" (all but the
            target layer's own, which the library needs as the start of its graph).
    """

    title: str
    package: str | None = None
    a_pass_per_question = False
    frozen: str | None = None

    def __init__(self, model: nn.Module, layer: str, x: Tensor):
        self.model, self.layer, self.x = model, layer, x
        self.module = model.get_submodule(layer)

    def gradcam(self, classes: Sequence[int]) -> Tensor:
        """One map of each class (a batch: of one class, one map of each image), maps x h x w."""
        raise NotImplementedError

    def contrast(self, classes: Sequence[int]) -> Tensor:
        """One map for each class Q, "Why the posterior, rather than Q?", maps x h x w."""
        raise NotImplementedError

    def every_class(self, total: int) -> Tensor:
        """One map of each class that the network knows, total x h x w."""
        return self.gradcam(range(total))

    def keep(self, first: int) -> None:
        """Answer a first question and keep what the library can keep for the next ones: nothing."""

    def further(self, question: int) -> Tensor:
        """A new question about the same image after `keep`, 1 x h x w."""
        return self.gradcam([question])

    def render(self, evidence: Tensor) -> Tensor:
        """What this library makes of signed evidence, maps x h x w: nothing, a ReLU, a picture."""
        return evidence

    def close(self) -> None:
        """Take every hook off the network."""

    def _batches(self, classes: Sequence[int]) -> Iterator[tuple[Tensor, list[int]]]:
        """Copies of the image with a class each, a few at a time; a batch of images as it is."""
        if len(self.x) > 1:
            yield self.x, [*classes] * len(self.x)
            return
        for start in range(0, len(classes), COPIES):
            few = list(classes[start : start + COPIES])
            yield self.x.expand(len(few), *self.x.shape[1:]), few


class Course(Contender):
    title = "**this course**"

    reshape_transform = None

    def __init__(self, model, layer, x):
        super().__init__(model, layer, x)
        self.grad_cam = GradCAM(model, layer, self.reshape_transform)
        self.contrast_cam = ContrastCAM(model, layer, self.reshape_transform)

    def gradcam(self, classes):
        return self.grad_cam(self.x, why=list(classes)).evidence.flatten(0, 1)

    def contrast(self, classes):
        return self.contrast_cam(self.x, rather_than=list(classes)).evidence.flatten(0, 1)

    def every_class(self, total):
        return ForwardPass(self.model, self.x, self.layer, self.reshape_transform).class_maps()[0]

    def keep(self, first):
        self.kept = self.grad_cam(self.x, why=first, keep=True).forward_pass

    def further(self, question):
        return self.grad_cam(self.kept, why=question).evidence[0]


class CourseByBackward(Course):
    """As for a network whose head is more than pooling and one linear layer: no closed form."""

    title = "this course, closed form off"

    @staticmethod
    def reshape_transform(output):  # any function of one's own switches the closed form off
        return output


class TorchCAM(Contender):
    """One forward pass; its graph is retained, so that each further class is one backward pass."""

    title, package = "torchcam", "torchcam"

    def __init__(self, model, layer, x):
        from torchcam.methods import GradCAM as Extractor

        super().__init__(model, layer, x)
        self.extractor = Extractor(model, layer)

    def gradcam(self, classes):
        scores = self.model(self.x)
        return torch.cat([self._ask(scores, class_idx=c) for c in classes])

    def contrast(self, classes):
        scores = self.model(self.x)
        rather_than = [lambda y, q=q: F.cross_entropy(y[None], torch.tensor([q])) for q in classes]
        return torch.cat([self._ask(scores, targets=question) for question in rather_than])

    def keep(self, first):
        self.scores = self.model(self.x)
        self._ask(self.scores, class_idx=first)

    def further(self, question):
        return self._ask(self.scores, class_idx=question)

    def _ask(self, scores, **question):
        return self.extractor(scores=scores, normalized=False, retain_graph=True, **question)[0]

    def render(self, evidence):
        return evidence.relu()

    def close(self):
        self.extractor.remove_hooks()


class Captum(Contender):
    """Several classes are batches of copies of the image, a class for each."""

    title, package = "captum", "captum"
    a_pass_per_question = True

    def __init__(self, model, layer, x):
        from captum.attr import LayerGradCam

        super().__init__(model, layer, x)
        self.attribution = LayerGradCam(model, self.module)
        self.loss = LayerGradCam(lambda images: -model(images).log_softmax(dim=1), self.module)

    def gradcam(self, classes):
        return self._maps(self.attribution, classes)

    def contrast(self, classes):
        return self._maps(self.loss, classes)

    def _maps(self, attribution, classes):
        maps = [attribution.attribute(*batch) for batch in self._batches(classes)]
        return torch.cat(maps)[:, 0].detach()


class PytorchGradCAM(Contender):
    """Several classes are batches of copies of the image, a class for each."""

    title, package = "grad-cam", "grad-cam"
    a_pass_per_question = True

    def __init__(self, model, layer, x):
        from pytorch_grad_cam import GradCAM as Extractor

        super().__init__(model, layer, x)
        self.extractor = Extractor(model, [self.module])

    def gradcam(self, classes):
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        return self._maps(ClassifierOutputTarget, classes)

    def contrast(self, classes):
        def loss(q):
            return lambda y: F.cross_entropy(y[None], torch.tensor([q]))

        return self._maps(loss, classes)

    def _maps(self, target, classes):
        batches = self._batches(classes)
        maps = [self.extractor(images, [target(c) for c in few]) for images, few in batches]
        return torch.from_numpy(np.concatenate(maps))

    def render(self, evidence):
        """This library always enlarges, and stretches each map to [0, 1] before and after that."""

        def stretched(maps):
            maps = maps - maps.amin(dim=(-2, -1), keepdim=True)
            return maps / (1e-7 + maps.amax(dim=(-2, -1), keepdim=True))

        small, size = stretched(evidence.relu())[None], self.x.shape[-2:]
        return stretched(F.interpolate(small, size=size, mode="bilinear", align_corners=False)[0])

    def close(self):
        self.extractor.activations_and_grads.release()


class FrozenTorchCAM(TorchCAM):
    title, frozen = "torchcam, weights frozen by hand", "before"


class FrozenCaptum(Captum):
    title, frozen = "captum, weights frozen by hand", "all"


class FrozenPytorchGradCAM(PytorchGradCAM):
    title, frozen = "grad-cam, weights frozen by hand", "before"


COURSE = (Course, CourseByBackward)
AS_DOCUMENTED = (TorchCAM, Captum, PytorchGradCAM)
FROZEN = (FrozenTorchCAM, FrozenCaptum, FrozenPytorchGradCAM)
CONTENDERS = (*COURSE, *AS_DOCUMENTED, *FROZEN)


def label(contender: type[Contender]) -> str:
    """The contender's name in the table, with the library's version."""
    title = contender.title
    if contender.package is None:
        return title
    return title.replace(contender.package, f"{contender.package} {version(contender.package)}", 1)


@contextmanager
def at_work(
    contender: type[Contender], model: nn.Module, layer: str, x: Tensor
) -> Iterator[Contender]:
    """The contender set up on the network; afterwards the network is as it was."""
    trained = {name: p.requires_grad for name, p in model.named_parameters()}
    if contender.frozen:
        model.requires_grad_(False)
    if contender.frozen == "before":
        model.get_submodule(layer).requires_grad_(True)
    worker = contender(model, layer, x)
    try:
        yield worker
    finally:
        worker.close()
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(trained[name])
            parameter.grad = None


def one_hook(
    model: nn.Module, layer: str, x: Tensor, c: int, fold: Callable[[Tensor], Tensor] = lambda a: a
) -> Tensor:
    """Grad-CAM's evidence for class c, N x h x w, by the least that PyTorch needs for it.

    A hook starts the graph at the layer, one backward pass, equations 1 and 2. Nothing is checked:
    what an explanation costs beyond this, it spends on care.
    """
    kept = []

    def start(_module, _inputs, output):
        kept.append(output.detach().requires_grad_())
        torch.set_grad_enabled(True)
        return kept[0].clone()  # what follows may work in place

    handle = model.get_submodule(layer).register_forward_hook(start)
    with torch.no_grad():
        y = model(x)
    handle.remove()
    (gradient,) = torch.autograd.grad(y[:, c].sum(), kept[0])
    return equations(fold(gradient), fold(kept[0].detach()))


def equations(gradient: Tensor, activations: Tensor) -> Tensor:
    """Grad-CAM's equations 1 and 2: both N x C x h x w -> N x h x w, signed."""
    return (gradient.mean(dim=(-2, -1), keepdim=True) * activations).sum(dim=1)


def reference(
    model: nn.Module,
    layer: str,
    x: Tensor,
    classes: Sequence[int],
    fold: Callable[[Tensor], Tensor] = lambda a: a,
) -> tuple[Tensor, Tensor]:
    """Grad-CAM and Contrast-CAM evidence by their definitions, one backward pass a map.

    Returns:
        Two tensors, classes x h x w, signed: S^c of each class, and of J = CE(y, Q) for each Q.
    """
    kept = []

    def keep(_module, _inputs, output):
        kept.append(output)
        return output.clone()  # what follows may work in place

    handle = model.get_submodule(layer).register_forward_hook(keep)
    try:
        y = model(x)
    finally:
        handle.remove()

    def evidence(question: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(question, kept[0], retain_graph=True)
        return equations(fold(gradient), fold(kept[0].detach()))[0]

    losses = [F.cross_entropy(y, torch.tensor([q])) for q in classes]
    return torch.stack([evidence(y[0, c]) for c in classes]), torch.stack(
        list(map(evidence, losses))
    )


def disagreement(
    contender: type[Contender],
    model: nn.Module,
    layer: str,
    x: Tensor,
    classes: Sequence[int],
    total: int | None,
    fold: Callable[[Tensor], Tensor] = lambda a: a,
) -> float:
    """How far a contender's answers are from the definitions', for every kind of question.

    Args:
        contender, model, layer, x: as for `at_work`; x is one image.
        classes: asked for as Grad-CAM, as Contrast-CAM and as further questions.
        total: how many classes the network knows; None: maps of all of them are not compared.
        fold: reads the layer's output as N x C x h x w.

    Returns:
        The largest max |maps - expected| / max |expected|.
    """
    gradcam, contrast = reference(model, layer, x, classes, fold)
    with at_work(contender, model, layer, x) as worker:
        worker.keep(classes[0])
        further = torch.cat([worker.further(c) for c in classes])
        answers = [(worker.gradcam(classes), gradcam), (worker.contrast(classes), contrast)]
        answers.append((further, gradcam))
        if total is not None and not worker.a_pass_per_question:
            answers.append((worker.every_class(total)[list(classes)], gradcam))
        return max(_difference(maps, worker.render(expected)) for maps, expected in answers)


def _difference(maps: Tensor, expected: Tensor) -> float:
    if maps.shape != expected.shape:
        raise ValueError(f"maps of {tuple(maps.shape)}, expected {tuple(expected.shape)}")
    return float((maps - expected).abs().max() / expected.abs().max())
