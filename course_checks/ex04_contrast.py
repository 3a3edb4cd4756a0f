"""Checks of ex04_contrast: questions as vectors, contrast maps, their identities, and errors."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .chance import dice
from .ex04_choosing import ERROR, WHICH
from .known import remembering
from .part import Mistake, Part

_MAPS = "N, K, h, w"
_NOT_OVER_CLASSES = (
    "your probabilities add up to 1 over the images, not over the classes: mind the axis of the "
    "softmax."
)


def _classes(rng: torch.Generator, many: int, count: int) -> list[int]:
    """Different class numbers."""
    return torch.randperm(many, generator=rng)[:count].tolist()


def _vector_cases(seed: int) -> list[tuple]:
    made = []
    for number, (n, k, loss) in enumerate(
        [
            (1, 1, "cross_entropy"),
            (2, 3, "logit_difference"),
            (3, 2, "cross_entropy"),
            (2, 4, "cross_entropy"),
        ]
    ):
        rng = dice(seed, number)
        n, classes = n + seed % 2, 5 + number + seed % 4
        logits = 2 * torch.randn(n, classes, generator=rng)
        p, q = logits.argmax(dim=1).tolist(), _classes(rng, classes, k)
        if number == 1:
            p[0] = q[0]  # Q = P is a question, too
        if number == 3:
            logits = logits + 200  # a softmax by hand, exp(y) / sum, overflows
        made.append((logits, p, q, loss))
    return made


def _by_autograd(logits: Tensor, p: list[int], q: list[int], loss: str) -> Tensor:
    """dJ/dy, by differentiating the loss itself."""
    vectors = []
    for other in q:
        y = logits.detach().clone().requires_grad_()
        if loss == "cross_entropy":
            j = F.cross_entropy(y, torch.full((len(y),), other), reduction="sum")
        else:
            j = y[range(len(y)), p].sum() - y[:, other].sum()
        vectors.append(torch.autograd.grad(j, y)[0])
    return torch.stack(vectors, dim=1)


def _by_formula(logits: Tensor, p: list[int], q: list[int], loss: str) -> Tensor:
    """The same, sooner: the mistakes are tried many times."""
    ce = loss == "cross_entropy"
    speaks = logits.softmax(dim=1) if ce else F.one_hot(torch.tensor(p), logits.shape[1]).float()
    return speaks[:, None] - F.one_hot(torch.tensor(q), logits.shape[1])


def _against_one(logits, p, q, loss):
    """One-hot P in place of the posterior."""
    return _by_formula(logits, p, q, "logit_difference")


def _posterior(logits, p, q, loss):
    return _by_formula(logits, p, q, "cross_entropy")


def _softmax_over_images(logits, p, q, loss):
    hot = F.one_hot(torch.tensor(q), logits.shape[1])
    return logits.softmax(dim=0)[:, None] - hot


VECTOR = Part(
    name="ex04_vector",
    visible=-1,
    title="A question as a vector on the output",
    points=3,
    answer="question_vectors",
    draws=_vector_cases,
    reference=_by_autograd,
    axes="N, K, classes",
    mistakes=(
        Mistake(
            "every number has the wrong sign. In training one steps against the gradient; here the"
            " gradient of J is taken as it stands: negated, it asks what speaks FOR Q.",
            lambda *case: -_by_formula(*case),
        ),
        Mistake(
            "this is onehot(P) - onehot(Q), the vector of logit_difference. The gradient of the"
            " cross-entropy does not know P: all classes pull, each by its probability.",
            _against_one,
        ),
        Mistake(
            "this is the vector of cross_entropy. For logit_difference, J = y_P - y_Q is"
            " differentiated: only two numbers are not 0.",
            _posterior,
        ),
        Mistake(
            _NOT_OVER_CLASSES,
            _softmax_over_images,
        ),
        Mistake(
            "the logits themselves stand where their probabilities belong.",
            lambda y, p, q, loss: y[:, None] - F.one_hot(torch.tensor(q), y.shape[1]),
        ),
        Mistake(
            "everything is divided by the number of images: F.cross_entropy takes the *mean* over a"
            ' batch unless told otherwise. Each image asks for itself: reduction="sum".',
            lambda *case: _by_formula(*case) / len(case[0]),
            share=0.5,
        ),
        Mistake(
            "this is onehot(P) - onehot(Q) with the *predicted* class for P. P is given, one for "
            "each image.",
            lambda y, p, q, loss: _by_formula(y, y.argmax(1).tolist(), q, loss),
        ),
        Mistake(
            "your Q is P: the cross-entropy was taken with P in place of Q.",
            lambda y, p, q, loss: torch.stack(
                [_by_formula(y[n : n + 1], [p[n]], [p[n]] * len(q), loss)[0] for n in range(len(y))]
            ),
        ),
        Mistake(
            "every image got the probabilities, or the P, of the first one.",
            lambda y, p, q, loss: _by_formula(y[:1], p[:1], q, loss).expand(len(y), -1, -1),
        ),
        Mistake(
            "the probabilities are missing their Q: from p, onehot(Q) has to be taken away.",
            lambda y, p, q, loss: (
                _by_formula(y, p, q, loss) + F.one_hot(torch.tensor(q), y.shape[1])
            ),
        ),
        Mistake(
            "the axes are K x N x classes: one row of the answer belongs to one image, so N comes"
            " first.",
            lambda *case: _by_formula(*case).transpose(0, 1).contiguous(),
        ),
    ),
    failures=(
        ("device", "Build everything from the logits, so that it lies where they lie."),
        (
            "must match the size",
            "`F.one_hot(numbers, classes)` needs to be told how many classes there are. And has "
            "each part an axis of length 1 where the other has its rows?",
        ),
    ),
)


def table(rng: torch.Generator, *shape: int) -> Tensor:
    """Random class maps."""
    return torch.randn(*shape, generator=rng) + 0.3


def _map_cases(seed: int) -> list[tuple]:
    made = []
    for number, (n, k, h, w) in enumerate([(1, 1, 7, 7), (2, 3, 4, 6), (3, 2, 5, 3), (1, 4, 6, 6)]):
        rng = dice(seed, 10 + number)
        classes = 6 + number + seed % 3
        logits = 1.5 * torch.randn(n, classes, generator=rng)
        q = _classes(rng, classes, k)
        if number == 1:
            q[0] = int(logits[0].argmax())
        made.append((table(rng, n, classes, h + seed % 2, w), logits, q))
    return made


def _weighed(maps: Tensor, p: Tensor, q: list[int]) -> Tensor:
    """The contrast maps, with other numbers p in place of the probabilities."""
    return torch.einsum("nc,ncij->nij", p, maps)[:, None] - maps[:, q]


def _contrasts(maps: Tensor, logits: Tensor, q: list[int]) -> Tensor:
    """S_CE(Q) as a mean of pairs, sum_c p_c (S^c - S^Q)."""
    pairs = maps[:, None] - maps[:, q][:, :, None]  # N x K x classes x h x w
    return (logits.softmax(dim=1)[:, None, :, None, None] * pairs).sum(dim=2)


def _of_predicted(maps, logits, q):
    return maps[range(len(maps)), logits.argmax(dim=1)][:, None] - maps[:, q]


def _first_image_only(maps, logits, q):
    return _contrasts(maps, logits[:1].expand_as(logits), q)


MAPS = Part(
    name="ex04_maps",
    title="Contrast maps from one table",
    points=3,
    answer="contrast_maps",
    draws=_map_cases,
    reference=_contrasts,
    axes=_MAPS,
    mistakes=(
        Mistake(
            "every number has the wrong sign: the weights are not negated. S^Q is taken away from"
            " the rest.",
            lambda *case: -_contrasts(*case),
        ),
        Mistake(
            "the negative evidence is gone. This function gives the signed map; the ReLU belongs to"
            " the drawing.",
            lambda *case: _contrasts(*case).relu(),
        ),
        Mistake(
            "a ReLU came before the sum: evidence against a class has to count as well.",
            lambda maps, logits, q: _contrasts(maps.relu(), logits, q),
        ),
        Mistake(
            "this is S^P - S^Q with P the predicted class (logit_difference). Cross-entropy asks on"
            " behalf of every class, each by its probability.",
            _of_predicted,
        ),
        Mistake(
            "all classes count alike here, as in a plain mean. Each has to count by its"
            " probability.",
            lambda maps, logits, q: maps.mean(dim=1, keepdim=True) - maps[:, q],
        ),
        Mistake(
            "this is the plain sum of all class maps. Each has to count by its probability.",
            lambda maps, logits, q: maps.sum(dim=1, keepdim=True) - maps[:, q],
        ),
        Mistake(
            "the class maps are weighted with the logits. Make probabilities of them first.",
            lambda maps, logits, q: _weighed(maps, logits, q),
        ),
        Mistake(
            _NOT_OVER_CLASSES,
            lambda maps, logits, q: _weighed(maps, logits.softmax(0), q),
        ),
        Mistake("every image got the probabilities of the first one.", _first_image_only),
        Mistake(
            "S^Q is weighed by its probability here. What is taken away is S^Q itself, in full.",
            lambda maps, logits, q: (
                _contrasts(maps, logits, q) + (1 - logits.softmax(1))[:, q, None, None] * maps[:, q]
            ),
        ),
        Mistake(
            "this is S^Q alone, or what all believe in alone: the formula has two parts.",
            lambda maps, logits, q: maps[:, q],
        ),
        Mistake(
            "this is what all believe in. From it, S^Q has to be taken away.",
            lambda maps, logits, q: _contrasts(maps, logits, q) + maps[:, q],
        ),
    ),
    failures=(("must match the size", "Has the first part an axis of length 1 for the Q?"),),
)


def _identity_cases(seed: int) -> list[tuple]:
    """Right maps, negated ones, two wrong numbers, and maps of a wrong formula."""
    made = []
    for number, (n, h, w) in enumerate([(1, 5, 5), (2, 3, 4), (2, 4, 4), (3, 2, 5)]):
        rng = dice(seed, 20 + number)
        classes = 4 + number + seed % 3
        logits = torch.randn(n, classes, generator=rng).double()
        given = table(rng, n, classes, h, w + seed % 2).double()
        claimed = _contrasts(given, logits, list(range(classes)))
        if number == 1:
            claimed = -claimed
        elif number == 2:  # the larger of two is positive, but belongs to an improbable class
            low, *_, high = logits[n - 1].argsort().tolist()
            claimed[n - 1, low, 0, 1] += 3 + torch.rand((), generator=rng)
            claimed[n - 1, high, 1, 1] -= 2 + 0.5 * torch.rand((), generator=rng)
        elif number == 3:
            claimed = given.mean(dim=1, keepdim=True) - given
        gap = claimed - _contrasts(given, logits, list(range(classes)))
        if number != 2 and gap.max() > -gap.min():  # so that both signs come
            claimed, given = -claimed, -given
        made.append((claimed, given, logits))
    return made


@remembering
def _of_all(right, given: Tensor, logits: Tensor) -> Tensor:
    """The maps of all Q."""
    return right(given, logits, list(range(logits.shape[1])))


@remembering
def _shares(logits: Tensor) -> Tensor:
    return logits.softmax(dim=1)


@remembering
def _summed(p: Tensor, maps: Tensor) -> Tensor:
    return torch.einsum("nq,nqij->nij", p, maps)


def _largest(values: Tensor) -> Tensor:
    return values.abs().max()


def _measured(measure=_largest, weights=None, maps=None, right=_contrasts):
    """Both gaps, with one thing changed.

    Args:
        measure: what is reported of all the deviations.
        weights: logits -> N x classes, in the second sentence.
        maps: (claimed, right) -> the maps that the second sentence is tried on.
        right: (table, logits, Q) -> what the maps should have been.
    """

    def makes(claimed: Tensor, given: Tensor, logits: Tensor) -> dict[str, float]:
        wanted = _of_all(right, given, logits)
        p = _shares(logits) if weights is None else weights(logits)
        tried = claimed if maps is None else maps(claimed, wanted)
        found = {"from table": claimed - wanted, "cancel": _summed(p, tried)}
        return {key: float(measure(values)) for key, values in found.items()}

    return makes


_gaps = _measured()
_NO_SIZE = "the largest difference may be negative: take the size before the maximum."
_OVER_IMAGES = "your probabilities add up to 1 over the images: mind the axis of the softmax."


IDENTITY_MISTAKES = (
    Mistake(_NO_SIZE, _measured(Tensor.max)),
    Mistake(_NO_SIZE, _measured(lambda values: values.max().abs())),
    Mistake(_NO_SIZE, _measured(lambda values: -values.min())),
    Mistake(_NO_SIZE, _measured(lambda values: values.min().abs())),
    Mistake(
        "this is the mean. One bad place hides in a mean: report the largest.",
        _measured(lambda values: values.abs().mean()),
    ),
    Mistake(
        "this is a mean, in which deviations of both signs cancel: report the largest size.",
        _measured(lambda values: values.mean().abs()),
    ),
    Mistake(
        "this is the sum of all deviations. Report the largest of them.",
        _measured(lambda values: values.abs().sum()),
    ),
    Mistake(
        "you squared the deviations: report the largest size.",
        _measured(lambda values: values.square().max()),
    ),
    Mistake(
        "you squared the deviations: report the largest size.",
        _measured(lambda values: values.square().mean()),
    ),
    Mistake(
        "you summed over the images first. Each image has to satisfy the sentence by itself.",
        _measured(lambda values: values.sum(0).abs().max()),
    ),
    Mistake("only the first image was measured.", _measured(lambda values: values[0].abs().max())),
    Mistake(
        "all classes count alike: weigh each map by its p_Q.", _measured(weights=torch.ones_like)
    ),
    Mistake(
        "all classes count alike: weigh each map by its p_Q.",
        _measured(weights=lambda y: torch.full_like(y, 1 / y.shape[1])),
    ),
    Mistake(
        "the maps are weighed by logits. Make probabilities of them first.",
        _measured(weights=lambda y: y),
    ),
    Mistake(
        "every image got the probabilities of the first one.",
        _measured(weights=lambda y: y[:1].softmax(1).expand_as(y)),
    ),
    Mistake(
        _OVER_IMAGES,
        _measured(
            weights=lambda y: y.softmax(0),
            right=lambda t, y, q: _weighed(t, y.softmax(0), q),
        ),
    ),
    Mistake(
        "this is 0, as for right maps. Measure the maps as they were handed over.",
        _measured(maps=lambda claimed, right: right),
    ),
    Mistake(
        "sum_c p_c S^c is a mean by probability, not the plain mean of the class maps.",
        _measured(right=lambda t, y, q: t.mean(1, keepdim=True) - t[:, q]),
    ),
    Mistake(
        "this measures the class maps; the sentence is about the contrast maps.",
        lambda claimed, given, y: (
            _gaps(claimed, given, y)
            | {"cancel": float(_largest(torch.einsum("nq,nqij->nij", y.softmax(1), given)))}
        ),
    ),
    Mistake(
        "the two numbers have changed places.",
        lambda *case: dict(zip(("cancel", "from table"), _gaps(*case).values())),
    ),
    Mistake(
        "your right side has the wrong sign: it is what all believe in, *minus* S^Q.",
        _measured(right=lambda *case: -_contrasts(*case)),
    ),
    Mistake(
        "your right side is S^P - S^Q, that of logit_difference.", _measured(right=_of_predicted)
    ),
)


IDENTITIES = Part(
    name="ex04_identities",
    title="Two identities, measured",
    points=3,
    answer="identity_gaps",
    draws=_identity_cases,
    reference=_gaps,
    mistakes=IDENTITY_MISTAKES,
    tiny=5e-6,  # single precision will do
)

PARTS = (VECTOR, MAPS, IDENTITIES, WHICH, ERROR)
