"""Heads that pool first are answered through vectors: the same numbers, without grids."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from course_utils import ForwardPass
from course_utils.methods.closed_form import LARGE, Products, product


class Net(nn.Module):
    """A target layer of 4 channels on a 4 x 6 grid, and a head of one's choice."""

    def __init__(self, head, *modules):
        super().__init__()
        torch.manual_seed(1)
        self.target = nn.Conv2d(3, 4, 3, padding=1)
        self.parts, self.head = nn.ModuleList(m() for m in modules), head

    def forward(self, x):
        return self.head(self.target(x), *self.parts)


def flat(pool):
    return lambda a, one, two: two(one(pool(a).flatten(1)).relu())


def last(a, norm, linear):
    """Channels last, pooled, a norm between."""
    return linear(norm(a.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).mean((2, 3)))


def convolved(a, convolution, norm, linear):
    """MobileNetV4's head: what is pooled stays N x C x 1 x 1."""
    return linear(norm(convolution(a.mean((2, 3), keepdim=True))).relu().flatten(1))


def norm_of_7(**how):
    norm = nn.BatchNorm2d(7, **how)
    nn.init.normal_(norm.weight)
    return norm


def layer_norm(channels):
    norm = nn.LayerNorm(channels)
    nn.init.normal_(norm.weight)
    return norm


HEADS = {
    "relu, mean, linear": Net(lambda a, f: f(F.relu(a).mean((2, 3))), lambda: nn.Linear(4, 5)),
    "mean, norm, linear": Net(
        lambda a, n, f: f(n(a.mean((2, 3)))), lambda: layer_norm(4), lambda: nn.Linear(4, 5)
    ),
    "mean, mean, linear": Net(lambda a, f: f(a.mean(3).mean(2)), lambda: nn.Linear(4, 5)),
    "averages of averages that overlap": Net(
        lambda a, f: f(
            F.adaptive_avg_pool2d(F.adaptive_avg_pool2d(a, (3, 5)), 1).flatten(1).relu()
        ),
        lambda: nn.Linear(4, 5),
    ),
    "the rows' means, flattened": Net(
        lambda a, f: f(a.mean(3).flatten(1)), lambda: nn.Linear(16, 5)
    ),
    "mean, norm with channels last, linear": Net(
        lambda a, n, f: f(n(a.mean((2, 3), keepdim=True).permute(0, 2, 3, 1)).flatten(1)),
        lambda: layer_norm(4),
        lambda: nn.Linear(4, 5),
    ),
    "mean, norm without weights, tanh, layers without bias": Net(
        lambda a, n, f, g: g(torch.tanh(f(n(a.mean((2, 3))))) ** 2),
        lambda: nn.LayerNorm(4, elementwise_affine=False),
        lambda: nn.Linear(4, 7, bias=False),
        lambda: nn.Linear(7, 5, bias=False),
    ),
    "functions without a second derivative": Net(
        lambda a, f, g: g(F.hardsigmoid(f(F.hardsigmoid(a).mean((2, 3)))) ** 2),
        lambda: nn.Linear(4, 7),
        lambda: nn.Linear(7, 5),
    ),
    "a norm of single numbers, which leaves nothing": Net(
        lambda a, n, f: f(n(a.mean((2, 3), keepdim=True)).flatten(1)),
        lambda: nn.LayerNorm((1, 1)),
        lambda: nn.Linear(4, 5),
    ),
    "a scale and a shift that were learned": Net(
        lambda a, f, g: g(
            1.5 * f(a.mean((2, 3))).relu() * g.weight[0].detach() - g.weight[1].detach()
        ),
        lambda: nn.Linear(4, 7),
        lambda: nn.Linear(7, 5),
    ),
    "a scale that repeats the values": Net(
        lambda a, f, g: g(f(a.mean((2, 3))) * g.weight.data[0]),
        lambda: nn.Linear(4, 1),
        lambda: nn.Linear(7, 5),
    ),
    "a convolution that reads its padding": Net(
        convolved,
        lambda: nn.Conv2d(4, 7, 1, stride=3, padding=1),
        norm_of_7,
        lambda: nn.Linear(7, 5),
    ),
    "a convolution of one channel": Net(
        lambda a, c, f: f(c(a.mean((2, 3)).view(-1, 1, 1, 4)).flatten(1)),
        lambda: nn.Conv2d(1, 1, 1),
        lambda: nn.Linear(4, 5),
    ),
    "a norm of each half": Net(
        lambda a, n, f: f(n(a.mean((2, 3)).unflatten(1, (2, 2))).flatten(1)),
        lambda: nn.LayerNorm(2),
        lambda: nn.Linear(4, 5),
    ),
    "two images side by side": Net(
        lambda a, f: f(a.mean((2, 3)).reshape(1, 8)).reshape(2, 5), lambda: nn.Linear(8, 10)
    ),
    "images and channels exchanged": Net(
        lambda a, f, g: g(f(a.mean((2, 3))).view(2, 2, 1, 1).permute(1, 0, 2, 3).flatten(1)),
        lambda: nn.Linear(4, 2),
        lambda: nn.Linear(2, 5),
    ),
    "mean, two layers": Net(
        lambda a, f, g: g(F.hardswish(f(F.adaptive_avg_pool2d(a, 1).flatten(1)))),
        lambda: nn.Linear(4, 7),
        lambda: nn.Linear(7, 5),
    ),
    "mean, convolution, norm, linear": Net(
        convolved, lambda: nn.Conv2d(4, 7, 1), norm_of_7, lambda: nn.Linear(7, 5)
    ),
    "mean, convolution of single channels": Net(
        convolved, lambda: nn.Conv2d(4, 4, 1, groups=4), nn.Identity, lambda: nn.Linear(4, 5)
    ),
    "a norm over the batch": Net(
        convolved,
        lambda: nn.Conv2d(4, 7, 1),
        lambda: norm_of_7(track_running_stats=False),
        lambda: nn.Linear(7, 5),
    ),
    "maximum, flattened": Net(
        flat(lambda a: F.max_pool2d(a, 2)), lambda: nn.Linear(24, 7), lambda: nn.Linear(7, 5)
    ),
    "maxima that overlap": Net(
        flat(lambda a: F.max_pool2d(a, 3, 2, 1)), lambda: nn.Linear(24, 7), lambda: nn.Linear(7, 5)
    ),
    "the largest of windows of several sizes": Net(
        flat(lambda a: F.adaptive_max_pool2d(a, (1, 4))),
        lambda: nn.Linear(16, 7),
        lambda: nn.Linear(7, 5),
    ),
    "averages that overlap": Net(
        flat(lambda a: F.avg_pool2d(a, 3, 2, 1)), lambda: nn.Linear(24, 7), lambda: nn.Linear(7, 5)
    ),
    "relu, then flattened": Net(
        flat(lambda a: F.adaptive_avg_pool2d(a.relu(), 2)),
        lambda: nn.Linear(16, 7),
        lambda: nn.Linear(7, 5),
    ),
    "as many numbers as the layer has, then a large matrix": Net(
        flat(lambda a: F.adaptive_avg_pool2d(a, (4, 6))),
        lambda: nn.Linear(96, 11_000),
        lambda: nn.Linear(11_000, 5),
    ),
    "the second half of what a layer gives": Net(
        lambda a, f, g: g(f(a.mean((2, 3))).chunk(2, dim=1)[1]),
        lambda: nn.Linear(4, 6),
        lambda: nn.Linear(3, 5),
    ),
    "largest of all": Net(lambda a, f: f(a.amax((2, 3))), lambda: nn.Linear(4, 5)),
    "a norm at every place": Net(last, lambda: layer_norm(4), lambda: nn.Linear(4, 5)),
}
PLAIN = (
    *("the second half of what a layer gives", "largest of all", "a norm at every place"),
    "functions without a second derivative",
)
POOLED = [name for name in HEADS if name not in PLAIN]


def images(n=2):
    return torch.randn(n, 3, 4, 6, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("count", [1, 3, 300])
def test_the_answers_are_those_of_a_backward_pass_to_the_grid(name, count):
    v = torch.randn(2, count, 5, generator=torch.Generator().manual_seed(3))
    got = ForwardPass(HEADS[name], images(), "target").weights(v)
    plain = ForwardPass(HEADS[name], images(), "target", reshape_transform=lambda a: a)
    torch.testing.assert_close(got, plain.weights(v), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["a norm over the batch", "mean, two layers"])
def test_answers_are_the_same_after_class_maps_were_made(name):
    """Other images' v counts where a norm mixes the batch, which class maps do not tell."""
    v = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(3))
    seen = ForwardPass(HEADS[name], images(), "target")
    before = seen.evidence(v)
    seen.class_maps()
    torch.testing.assert_close(seen.evidence(v), before, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", HEADS)
def test_questions_of_whole_numbers_are_asked_in_any_type(name):
    wide = copy.deepcopy(HEADS[name]).double()
    seen, v = ForwardPass(wide, images().double(), "target"), torch.eye(5, dtype=torch.long)
    torch.testing.assert_close(seen.weights(v), seen.weights(v.double()))


@pytest.mark.parametrize("name", POOLED)
def test_no_gradient_of_a_grid_is_made_for_further_questions(name, monkeypatch):
    seen, sizes, grad = ForwardPass(HEADS[name], images(), "target"), [], torch.autograd.grad
    seen.weights(torch.eye(5))

    def watched(*args, **options):
        found = grad(*args, **options)
        sizes.extend(g.numel() for g in found)
        return found

    monkeypatch.setattr(torch.autograd, "grad", watched)
    seen.weights(torch.eye(5)[:1])
    assert max(sizes, default=0) <= 2 * 24  # of the grids of two images, 2 x 96


@pytest.mark.parametrize("shape", ["N x 5 x 1 x 1", "N"])
def test_outputs_of_other_shapes_are_answered_too(shape):
    def head(a, c, d):
        y = d(c(a.mean((2, 3), keepdim=True)).relu())
        return y if shape != "N" else y[:, 0].flatten()

    model = Net(head, lambda: nn.Conv2d(4, 7, 1), lambda: nn.Conv2d(7, 5, 1))
    v = torch.ones(2, 3, 5, 1, 1) if shape != "N" else torch.ones(2, 3)
    got = ForwardPass(model, images(), "target").weights(v)
    plain = ForwardPass(model, images(), "target", reshape_transform=lambda a: a)
    torch.testing.assert_close(got, plain.weights(v))


@pytest.mark.parametrize("shape", [(-1, 5, 1, 1), (-1,)])
def test_outputs_of_other_shapes_are_answered_from_class_maps_too(shape):
    def head(a, f, g):
        y = g(f(a.mean((2, 3))).relu())
        return (y if len(shape) > 1 else y[:, :1]).reshape(shape)

    seen = ForwardPass(
        Net(head, lambda: nn.Linear(4, 7), lambda: nn.Linear(7, 5)), images(), "target"
    )
    v = torch.randn(2, 3, *seen.logits.shape[1:], generator=torch.Generator().manual_seed(3))
    before = seen.evidence(v)
    seen.class_maps()
    torch.testing.assert_close(seen.evidence(v), before)


def mixed(a, linear):
    """The weights depend on A: the second way must not be forgotten."""
    return F.linear(a.relu().mean((2, 3)), linear.weight * a.mean())


def transposed(a, linear):
    """Height and width are taken for channels."""
    return linear(a[..., :4].transpose(1, 2).relu().mean((2, 3)))


@pytest.mark.parametrize("axis", [-1, -2, 1, 2])
def test_axes_counted_from_the_end_are_those_counted_from_the_front(axis):
    """Of a signal, N x C x L: autograd stores -1 as 2^64 - 1, which divided by 3 leaves 0."""
    model = Net(lambda a, f: f(a.mean(axis)), lambda: nn.Linear(4 if axis in (-1, 2) else 24, 5))
    model.target = nn.Conv1d(3, 4, 1)
    seen = ForwardPass(model, images().flatten(2), "target")
    plain = ForwardPass(model, images().flatten(2), "target", reshape_transform=lambda a: a)
    torch.testing.assert_close(seen.weights(torch.eye(5)), plain.weights(torch.eye(5)))
    assert (seen._pooled_head is not None) == (axis in (-1, 2))


class Exchanged(nn.Module):
    """Tokens N x T x C are pooled as N x C x T."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.embed, self.target, self.h = nn.Conv2d(3, 4, 1), nn.LayerNorm(4), nn.Linear(4, 5)

    def forward(self, x):
        tokens = self.target(self.embed(x).flatten(2).mT)
        return self.h(tokens.permute(0, -1, 1).mean(-1))


def test_tokens_whose_axes_are_exchanged_are_answered():
    seen = ForwardPass(Exchanged(), images(), "target")
    expected = seen.gradients(torch.eye(5)).mean(dim=(3, 4))
    torch.testing.assert_close(seen.weights(torch.eye(5)), expected)


@pytest.mark.parametrize("head", [mixed, transposed], ids=lambda h: h.__name__)
def test_a_head_that_resembles_pooling_is_answered_rightly(head):
    model = Net(head, lambda: nn.Linear(4, 5))
    got = ForwardPass(model, images(), "target").weights(torch.eye(5))
    plain = ForwardPass(model, images(), "target", reshape_transform=lambda a: a)
    torch.testing.assert_close(got, plain.weights(torch.eye(5)))


class Checkpointed(nn.Module):
    """A part of its head runs again in each backward pass."""

    def __init__(self, part=lambda f, z: f(z).relu()):
        super().__init__()
        torch.manual_seed(1)
        self.target, self.f, self.g = nn.Conv2d(3, 4, 3), nn.Linear(4, 7), nn.Linear(7, 5)
        self.part = part

    def forward(self, x):
        pooled = self.target(x).mean((2, 3))
        return self.g(checkpoint(lambda z: self.part(self.f, z), pooled, use_reentrant=False))


@pytest.mark.parametrize("way", ["a module", "weights", "one weight"])
def test_what_was_put_in_a_checkpointed_weights_place_is_noticed(way):
    model, v = Checkpointed(), torch.eye(5)
    seen = ForwardPass(model, images(), "target")
    before = seen.weights(v)
    model.load_state_dict(copy.deepcopy(model.state_dict()), assign=True)
    torch.testing.assert_close(seen.weights(v), before)  # the same numbers: nothing has changed
    if way == "a module":
        model.f = nn.Linear(4, 7)
    elif way == "weights":
        model.load_state_dict({k: 2 * w for k, w in model.state_dict().items()}, assign=True)
    else:
        model.f.weight = nn.Parameter(2 * model.f.weight.detach())
    with pytest.raises(RuntimeError, match="weights changed"):
        seen.weights(v)


@pytest.mark.parametrize("part", [lambda f, z: f(z), lambda f, z: f(z).relu()])
def test_a_checkpointed_head_is_asked_under_inference_mode_too(part):
    model = Checkpointed(part)
    wanted = ForwardPass(model, images(), "target").weights(torch.eye(5))
    with torch.inference_mode():
        kept = ForwardPass(model, images(), "target")
        got = ForwardPass(model, images(), "target").weights(torch.eye(5))
    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(kept.weights(torch.eye(5)), wanted)


def test_answers_hold_no_graph_of_the_question():
    v = torch.eye(5, requires_grad=True)
    assert not ForwardPass(HEADS["mean, two layers"], images(), "target").evidence(v).requires_grad


def test_weights_changed_between_two_questions_are_noticed():
    model = Net(HEADS["mean, two layers"].head, lambda: nn.Linear(4, 7), lambda: nn.Linear(7, 5))
    seen = ForwardPass(model, images(), "target")
    seen.weights(torch.eye(5))
    model.parts[1].weight.data.mul_(2)
    with pytest.raises(RuntimeError, match="weights changed"):
        seen.weights(torch.eye(5))


MANY = {
    "mean, two layers": ("mean, two layers", lambda: nn.Linear(4, 7), lambda: nn.Linear(7, 40)),
    "relu, then flattened": (
        "relu, then flattened", lambda: nn.Linear(16, 7), lambda: nn.Linear(7, 40)
    ),
    "maximum, flattened": (
        "maximum, flattened", lambda: nn.Linear(24, 7), lambda: nn.Linear(7, 40)
    ),
    "averages that overlap": (
        "averages that overlap", lambda: nn.Linear(24, 7), lambda: nn.Linear(7, 40)
    ),
    "mean, convolution, norm, linear": (
        "mean, convolution, norm, linear",
        lambda: nn.Conv2d(4, 7, 1), norm_of_7, lambda: nn.Linear(7, 40),
    ),
    "a norm between": ("mean, norm, linear", lambda: layer_norm(4), lambda: nn.Linear(4, 40)),
    "a norm with channels last": (
        "mean, norm with channels last, linear", lambda: layer_norm(4), lambda: nn.Linear(4, 40)
    ),
    "a norm without weights": (
        "mean, norm without weights, tanh, layers without bias",
        lambda: nn.LayerNorm(4, elementwise_affine=False),
        lambda: nn.Linear(4, 7, bias=False), lambda: nn.Linear(7, 40, bias=False),
    ),
    "a scale and a shift": (
        "a scale and a shift that were learned",
        lambda: nn.Linear(4, 7), lambda: nn.Linear(7, 40),
    ),
    "a norm of each half": (
        "a norm of each half", lambda: nn.LayerNorm(2), lambda: nn.Linear(4, 40)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MANY)
def test_all_class_maps_place_by_place_are_those_of_each_class(name):
    """40 classes, 24 places; a norm of each half works on no vector, so that classes are asked."""
    head, *modules = MANY[name]
    seen = ForwardPass(Net(HEADS[head].head, *modules), images(), "target")
    assert (seen._place_by_place() is None) == (name == "a norm of each half")
    plain = ForwardPass(seen.model, images(), "target", reshape_transform=lambda a: a)
    torch.testing.assert_close(seen.class_maps(), plain.class_maps(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("images, questions", [(1, 1), (1, 3), (2, 5), (1, 65)])
@pytest.mark.parametrize("rows", [1504, 1501], ids=["whole parts", "no whole parts"])
@pytest.mark.parametrize("form", [torch.clone, lambda w: w.T.clone().T], ids=["rows", "columns"])
def test_a_large_matrix_read_in_parts_gives_the_same(rows, form, images, questions):
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(images, questions, rows, generator=generator, dtype=torch.float64)
    matrix = form(torch.randn(rows, 700, generator=generator, dtype=torch.float64))
    assert matrix.numel() > LARGE
    torch.testing.assert_close(product(v, matrix), v @ matrix, rtol=0, atol=1e-11)


def test_a_contrast_after_another_is_as_exact_as_alone_where_p_is_nearly_1():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(400, 30, generator=generator)
    p = torch.full((1, 1, 400), 1e-7)
    p[..., 7] = 1 - 399e-7
    other, itself = p.clone(), p.clone()
    other[..., 3] -= 1
    itself[..., 7] -= 1  # "Why not 100 %?": 4e-5 of the other's size
    products = Products()
    for v in (other, itself):
        exact = v.double() @ matrix.double()
        error = (products.times(v, matrix) - exact).abs().max() / exact.abs().max()
        assert error < 1e-5


QUESTIONS = {
    "a contrast": lambda p, q: p - q,
    "a weak contrast": lambda p, q: 1e-4 * (p - q),
    "why not 100 %": lambda p, q: p - F.one_hot(p.argmax(-1), 400),
    "a class": lambda p, q: q,
    "a difference": lambda p, q: F.one_hot(p.argmax(-1), 400) - q,
    "another image's posterior": lambda p, q: p.flip(0) - q,
    "all classes": lambda p, q: p.flip(-1).log() + q,
    "nothing": lambda p, q: 0 * q,
}


@pytest.mark.parametrize("first", QUESTIONS)
def test_a_question_is_answered_alike_whatever_was_asked_before(first):
    """What all contrasts share is kept: after each kind of question, each other is right."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(400, 30, generator=generator)
    p = (6 * torch.randn(2, 1, 400, generator=generator)).softmax(-1)
    for second in QUESTIONS:
        products = Products()
        for kind in (first, second, first):
            q = F.one_hot(torch.randint(400, (2, 3), generator=generator), 400).float()
            v = QUESTIONS[kind](p, q).expand(2, 3, 400)
            exact = v.double() @ matrix.double()
            error = (products.times(v, matrix) - exact).abs().amax(-1)
            assert (error <= 1e-5 * exact.abs().amax(-1)).all(), (kind, second)


def test_a_logit_that_lost_its_axis_and_got_it_back_is_answered_as_autograd_does():
    """sigmoid(y.squeeze(1)).unsqueeze(1), as heads for regression are written."""
    head = lambda a, f: f(a.relu().mean((2, 3))).squeeze(1).sigmoid()[:, None]  # noqa: E731
    model, kept = Net(head, lambda: nn.Linear(4, 1)), []
    got = ForwardPass(model, images(), "target").weights(torch.ones(2, 1, 1))
    with model.target.register_forward_hook(lambda m, i, a: kept.append(a)):
        y = model(images())
    (gradient,) = torch.autograd.grad(y.sum(), kept[0])
    torch.testing.assert_close(got[:, 0], gradient.mean((2, 3)))
