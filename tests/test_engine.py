"""What ForwardPass promises: right maps of one forward pass, and a network left as it was."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from tiny_networks import (
    A0,
    A1,
    PHOTO,
    HandNet,
    Looking,
    RandomNet,
    hooks,
    random_images,
    state,
)
from torch import nn

from course_utils import ForwardPass, GradCAM
from course_utils.errors import ImageError, LayerError
from course_utils.methods.backward import backward

ONE_HOT = torch.eye(3)


def close(got, expected, tolerance=1e-6):
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


def slow_evidence(model, x, layer="target"):
    """S^c for every class by the definition: one backward pass a class, sums written as loops."""
    kept = []

    def keep(_module, _inputs, output):
        kept.append(output)
        return output.clone()

    handle = model.get_submodule(layer).register_forward_hook(keep)
    logits = model(x)
    handle.remove()
    (a,) = kept
    n, channels, h, w = a.shape
    maps = torch.zeros(n, logits.shape[1], h, w, dtype=a.dtype)
    for image in range(n):
        for c in range(logits.shape[1]):
            (gradient,) = torch.autograd.grad(logits[image, c], a, retain_graph=True)
            for k in range(channels):
                alpha = sum(gradient[image, k, i, j] for i in range(h) for j in range(w)) / (h * w)
                maps[image, c] += alpha * a[image, k].detach()
    return maps


# Maps worked out by hand


def test_logits_are_the_networks_own():
    close(ForwardPass(HandNet(), PHOTO).logits, torch.tensor([[11.0, 1.0, 15.0]]))


def test_activations_are_the_layers_output():
    close(ForwardPass(HandNet(), PHOTO).activations, torch.stack([A0, A1])[None])


@pytest.mark.parametrize("reshape_transform", [None, lambda a: a], ids=["closed form", "autograd"])
def test_class_maps_are_the_channels_weighted_by_their_mean_gradient(reshape_transform):
    seen = ForwardPass(HandNet(), PHOTO, reshape_transform=reshape_transform)
    close(seen.evidence(ONE_HOT), torch.stack([A0, A1, A0 - 2 * A1])[None])


def test_weights_are_the_mean_gradients():
    close(
        ForwardPass(HandNet(), PHOTO).weights(ONE_HOT), torch.tensor([[[1.0, 0], [0, 1], [1, -2]]])
    )


def test_an_in_place_relu_after_the_layer_does_not_touch_the_activations():
    # alpha_1 = W_1 / 16, one place in four passes a gradient: S^1 = A_1 / 4, S^2 = A_0 - A_1 / 2
    seen = ForwardPass(HandNet("inplace"), PHOTO, "layer1")
    close(seen.evidence(ONE_HOT), torch.stack([A0, A1 / 4, A0 - A1 / 2])[None])


def test_an_in_place_sum_after_the_layer_does_not_touch_the_activations():
    class Residual(HandNet):
        def forward(self, x):
            a = self.layer1(x)
            a += 10
            return self.fc(a.mean(dim=(2, 3)))

    close(ForwardPass(Residual(), PHOTO, "layer1").evidence(ONE_HOT)[0, 1], A1)


def test_activations_outlive_a_network_that_recycles_its_memory():
    class Recycling(HandNet):
        def forward(self, x):
            a = self.layer1(x)
            y = self.fc(
                self.relu(a).mean(dim=(2, 3))
            )  # in place: the ReLU's output lies where a does
            a.zero_()
            return y

    close(ForwardPass(Recycling(), PHOTO, "relu").activations, torch.stack([A0, A1.relu()])[None])


def test_the_gradient_of_a_maximum_falls_on_one_place():
    # y = W max(A): at one place of four dy/dA = W, so that alpha = W / 4 as in the mean
    class Maximum(HandNet):
        def forward(self, x):
            return self.fc(self.layer1(x).amax(dim=(2, 3)))

    close(ForwardPass(Maximum(), PHOTO, "layer1").evidence(ONE_HOT)[0, 2], A0 - 2 * A1)


def test_a_head_that_weighs_places_differently_is_pooled_over_the_places():
    # y = 1 A(0,0) + 2 A(0,1) + 3 A(1,0) + 6 A(1,1) for each channel: alpha = 12 / 4 = 3 for both
    head = nn.Linear(8, 1, bias=False)
    head.weight.data = torch.tensor([[1.0, 2, 3, 6, 1, 2, 3, 6]])
    model = nn.Sequential(HandNet().layer1, nn.Flatten(), head)
    close(ForwardPass(model, PHOTO, "0").evidence(torch.ones(1, 1)), 3 * (A0 + A1)[None, None])


@pytest.mark.parametrize("head", RandomNet.heads)
def test_evidence_is_the_definition_written_as_loops(head):
    model, x = RandomNet(head), random_images()
    close(ForwardPass(model, x, "target").evidence(torch.eye(4)), slow_evidence(model, x), 1e-12)


def test_layers_before_a_non_linearity_are_explained_as_well():
    model, x = RandomNet("relu"), random_images()
    close(
        ForwardPass(model, x, "stem").evidence(torch.eye(4)), slow_evidence(model, x, "stem"), 1e-12
    )


def test_images_of_a_batch_do_not_mix():
    model, x = RandomNet("mlp"), random_images(n=3)
    together = ForwardPass(model, x, "target").evidence(torch.eye(4))
    alone = [ForwardPass(model, image[None], "target").evidence(torch.eye(4)) for image in x]
    close(together, torch.cat(alone), 1e-12)


@pytest.mark.parametrize("head", ["gap", "mlp"])
def test_each_image_can_have_questions_of_its_own(head):
    seen = ForwardPass(RandomNet(head), random_images(n=2), "target")
    v = torch.tensor([[[1.0, 0, 0, 0], [0, -2, 0, 0]], [[0, 0, 1, 1], [0, 0, 0, 3]]])
    s = seen.evidence(torch.eye(4))
    expected = [torch.stack([s[0, 0], -2 * s[0, 1]]), torch.stack([s[1, 2] + s[1, 3], 3 * s[1, 3]])]
    close(seen.evidence(v), torch.stack(expected), 1e-12)


@pytest.mark.parametrize("head", ["gap", "mlp"])
def test_more_questions_than_one_chunk_keep_their_order(head):
    seen = ForwardPass(RandomNet(head), random_images(n=3), "target")
    v = torch.randn(3, 150, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = torch.einsum("nkc,nchw->nkhw", v, slow_evidence(seen.model, random_images(n=3)))
    close(seen.evidence(v), expected, 1e-12)


@pytest.mark.parametrize("head", ["gap", "mlp"])
def test_class_maps_are_those_of_every_class(head):
    model, x = RandomNet(head), random_images()
    close(ForwardPass(model, x, "target").class_maps(), slow_evidence(model, x), 1e-12)


@pytest.mark.parametrize("head", ["gap", "mlp"])
def test_answers_read_from_class_maps_are_those_without_them(head):
    first, second = (ForwardPass(RandomNet(head), random_images(), "target") for _ in range(2))
    second.class_maps()
    v = random_images(2, (5, 4), 3)[:, :, 0]  # 2 x 3 x 4 numbers
    close(second.evidence(v), first.evidence(v), 1e-12)


@pytest.mark.parametrize("alike", [True, False], ids=["differ in a few classes", "differ in all"])
def test_questions_about_all_classes_are_answered_together_as_one_by_one(alike):
    """Contrasts share the posterior; W is then multiplied once for all of them."""
    torch.manual_seed(0)
    model, x = torchvision.models.resnet18(num_classes=200).eval(), torch.rand(2, 3, 64, 64)
    v = torch.rand(2, 1, 200).expand(2, 3, 200).clone() if alike else torch.rand(2, 3, 200)
    v[:, torch.arange(3), torch.arange(3)] -= 1
    by_autograd = ForwardPass(model, x, reshape_transform=lambda a: a)
    close(ForwardPass(model, x).evidence(v), by_autograd.evidence(v), 1e-5)


def test_size_is_height_and_width_of_the_images():
    assert ForwardPass(RandomNet(), random_images(size=(6, 9)), "target").size == (6, 9)


def test_len_is_the_number_of_images():
    assert len(ForwardPass(RandomNet(), random_images(n=3), "target")) == 3


def test_probabilities_are_the_softmax_of_the_logits():
    seen = ForwardPass(HandNet(), PHOTO)
    e = torch.tensor([11.0, 1, 15]).exp()
    close(seen.probabilities(), (e / e.sum())[None])


# Questions as functions of the output


def test_ask_is_the_evidence_of_the_questions_gradient():
    # J = y_0^2 y_1 = 121: dJ/dy = (2 y_0 y_1, y_0^2, 0) = (22, 121, 0)
    seen = ForwardPass(HandNet(), PHOTO)
    close(seen.ask(lambda y: y[:, 0] ** 2 * y[:, 1]), (22 * A0 + 121 * A1)[None, None], 1e-5)


def test_a_question_of_one_image_may_be_a_single_number():
    close(ForwardPass(HandNet(), PHOTO).ask(lambda y: 2 * y[0, 0]), 2 * A0[None, None])


def test_losses_of_torch_can_be_asked():
    seen = ForwardPass(RandomNet(), random_images(n=2), "target")
    target = torch.tensor([1, 3])
    v = seen.probabilities() - F.one_hot(target, 4)
    got = seen.ask(lambda y: F.cross_entropy(y, target, reduction="none"))
    close(got, seen.evidence(v[:, None]), 1e-12)


@pytest.mark.parametrize("view", [lambda y: y.squeeze(1), lambda y: y], ids=["N", "N x 1"])
def test_a_regression_network_can_be_asked(view):
    class Score(HandNet):
        def forward(self, x):
            return view(super().forward(x)[:, 2:])

    # S^2 = A_0 - 2 A_1 and y_2 = 15: (15 - 14)^2 asks 2 (15 - 14) S^2
    seen = ForwardPass(Score(), PHOTO, "layer1")
    close(seen.ask(lambda s: (s - 14) ** 2), 2 * (A0 - 2 * A1)[None, None], 1e-5)


def test_a_one_number_linear_head_that_is_squeezed_can_be_asked():
    class Score(HandNet):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(2, 1, bias=False)
            self.fc.weight.data = torch.tensor([[4.0, -8.0]])

        def forward(self, x):
            return super().forward(x).squeeze(1)

    close(ForwardPass(Score(), PHOTO, "layer1").ask(lambda s: s), (A0 - 2 * A1)[None, None])


def test_outputs_of_further_dimensions_can_be_asked():
    class Pairs(HandNet):
        def forward(self, x):
            return super().forward(x).unsqueeze(1).expand(-1, 2, -1)

    close(ForwardPass(Pairs(), PHOTO, "layer1").ask(lambda y: y[:, 1, 1]), A1[None, None])


def test_a_question_averaged_over_the_batch_is_refused():
    seen = ForwardPass(RandomNet(), random_images(n=2), "target")
    with pytest.raises(
        ValueError, match=r"one number per image, 2 here, but it gave \(\).*reduction='none'"
    ):
        seen.ask(lambda y: y.mean())


def test_a_question_that_is_no_tensor_is_refused():
    with pytest.raises(ValueError, match="it gave float"):
        ForwardPass(HandNet(), PHOTO).ask(lambda y: 1.0)


def test_a_question_without_a_gradient_is_refused():
    with pytest.raises(ValueError, match="no differentiable function of the output.*argmax"):
        ForwardPass(HandNet(), PHOTO).ask(lambda y: y.argmax(dim=1))


@pytest.mark.parametrize("question", [lambda y: y.softmax(0)[:, 1], lambda y: y[0], lambda y: y[1]])
def test_a_question_that_mixes_images_is_refused(question):
    seen = ForwardPass(HandNet(), torch.cat([PHOTO, PHOTO + 1, PHOTO - 1]))
    with pytest.raises(ValueError, match=r"the logits of others.*own row: lambda y: y\[:, 0\]"):
        seen.ask(question)
    assert seen.ask(lambda y: y.softmax(1)[:, 1]).any()


def test_a_question_about_another_pass_is_refused():
    model = HandNet()
    with pytest.raises(ValueError, match="function of the output that it is given.*another pass"):
        ForwardPass(model, PHOTO).ask(lambda y: model(PHOTO)[:, 0])


def test_a_question_may_write_into_what_it_is_given():
    seen = ForwardPass(HandNet(), PHOTO)
    torch.testing.assert_close(seen.ask(lambda y: y.mul_(2)[:, 1]), 2 * A1[None, None])
    torch.testing.assert_close(seen.logits, torch.tensor([[11.0, 1, 15]]))


@pytest.mark.parametrize("shape", [(2, 1, 4), (1, 1, 5), (1, 1, 4, 1)])
def test_cotangents_of_a_wrong_shape_are_refused(shape):
    seen = ForwardPass(RandomNet(), random_images(n=1), "target")
    with pytest.raises(
        ValueError, match=f"cotangents are {' x '.join(map(str, shape))}.*are 1 x K x 4"
    ):
        seen.evidence(torch.ones(shape))


# Other methods, made of what is public


@pytest.mark.parametrize("head", RandomNet.heads)
def test_gradients_are_autograds_own(head):
    model, x, v = RandomNet(head), random_images(), random_images(2, (3, 4), 7)[:, :, 0]
    a = []
    handle = model.target.register_forward_hook(lambda _m, _i, out: a.append(out) or out.clone())
    y = model(x)
    handle.remove()
    own = [torch.autograd.grad((y * v[:, k]).sum(), a[0], retain_graph=True)[0] for k in range(3)]
    seen = ForwardPass(model, x, "target")
    close(seen.gradients(v), torch.stack(own, dim=1), 1e-12)
    close(seen.weights(v), seen.gradients(v).mean(dim=(-2, -1)), 1e-12)


def test_hirescam_is_one_line():
    # y_2 = 1 A_0(0,0) + 2 A_0(0,1) + 3 A_0(1,0) + 6 A_0(1,1): dy/dA is (1 2 / 3 6), A_0 (1 2 / 3 4)
    head = nn.Linear(8, 1, bias=False)
    head.weight.data = torch.tensor([[1.0, 2, 3, 6, 0, 0, 0, 0]])
    seen = ForwardPass(nn.Sequential(HandNet().layer1, nn.Flatten(), head), PHOTO, "0")
    hires = (seen.gradients(torch.ones(1, 1)) * seen.activations.unsqueeze(1)).sum(dim=2)
    close(hires, torch.tensor([[[[1.0, 4], [9, 24]]]]))


def test_layercam_is_one_line():
    seen = ForwardPass(HandNet(), PHOTO)  # dy_2/dA is 1 and -2 all over: A_0 is left
    layercam = (seen.gradients(ONE_HOT).relu() * seen.activations.unsqueeze(1)).sum(dim=2)
    close(layercam[0, 2], A0)


def test_grad_cam_plus_plus_is_four_lines():
    """Chattopadhay et al. 2018, eq. 10 and 19, beside sums written as loops."""
    model, x = RandomNet("mlp"), random_images(n=1)
    seen = ForwardPass(model, x, "target")

    g, A = seen.gradients(torch.eye(4)), seen.activations.unsqueeze(1)
    alpha = g**2 / (2 * g**2 + A.sum(dim=(-2, -1), keepdim=True) * g**3)
    w = (alpha * g.relu()).sum(dim=(-2, -1))
    plus_plus = torch.einsum("nkc,nchw->nkhw", w, seen.activations)

    expected = torch.zeros_like(plus_plus)
    for c in range(4):
        for k in range(3):
            d, a = seen.gradients(torch.eye(4)[[c]])[0, 0, k], seen.activations[0, k]
            for i in range(3):
                for j in range(4):
                    s = d[i, j] ** 2 / (2 * d[i, j] ** 2 + a.sum() * d[i, j] ** 3)
                    expected[0, c] += s * max(d[i, j], 0) * a
    close(plus_plus, expected, 1e-9)


# What it costs


def test_a_kept_pass_answers_without_running_the_network_again():
    model = RandomNet("mlp")
    seen = ForwardPass(model, random_images(), "target")
    model.forwards = 0
    seen.evidence(torch.eye(4)), seen.ask(lambda y: y[:, 0]), seen.class_maps()
    GradCAM(model, "target")(seen, why=[0, 1, 2])
    assert model.forwards == 0


def test_a_pooling_and_linear_head_needs_no_backward_pass(monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("a backward pass")

    seen = ForwardPass(HandNet(), PHOTO)
    monkeypatch.setattr(torch.autograd, "grad", refuse)
    close(seen.evidence(ONE_HOT)[0, 1], A1)


def test_a_pooling_and_linear_head_of_channels_last_needs_no_backward_pass_either(monkeypatch):
    model, x = torchvision.models.resnet18(num_classes=10).eval(), torch.rand(2, 3, 64, 96)
    by_autograd = ForwardPass(model, x, reshape_transform=lambda a: a).evidence(torch.eye(10))
    seen = ForwardPass(model.to(memory_format=torch.channels_last), x)
    monkeypatch.delattr(torch.autograd, "grad")
    close(seen.evidence(torch.eye(10)), by_autograd, 1e-5)


def test_sixty_four_cotangents_go_back_at_once(monkeypatch):
    sent, grad = [], torch.autograd.grad
    monkeypatch.setattr(
        torch.autograd, "grad", lambda *a, **o: sent.append(a[2].shape) or grad(*a, **o)
    )
    model, x = RandomNet("mlp"), random_images(n=2)
    ForwardPass(model, x, "target", reshape_transform=lambda a: a).evidence(torch.ones(80, 4))
    assert sent == [(32, 2, 4), (32, 2, 4), (16, 2, 4)]


def test_gradients_are_recorded_after_the_layer_only():
    class Recorded(HandNet):
        def forward(self, x):
            self.before = torch.is_grad_enabled()
            y = super().forward(x)
            self.after = torch.is_grad_enabled()
            return y

    model = Recorded()
    for _ in "12":  # how the grid lies is measured the first time
        ForwardPass(model, PHOTO, "layer1")
    assert (model.before, model.after) == (False, True)


def test_what_is_kept_has_no_graph():
    seen = ForwardPass(RandomNet("mlp"), random_images().requires_grad_(), "target")
    assert not seen.activations.requires_grad and not seen.logits.requires_grad
    assert not seen.evidence(torch.eye(4)).requires_grad


# Heads that only look like pooling and a linear layer: every one is answered by autograd


class Lookalike(RandomNet):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, x):
        a = self.target(self.stem(x).tanh())
        mean, w, b = a.mean(dim=(2, 3)), self.fc.weight.t(), self.fc.bias
        return {
            "bias made of A": lambda: torch.addmm(self.fc(a.amax(dim=(2, 3))), mean, w),
            "weights made of A": lambda: torch.addmm(b, mean, w * a.mean()),
            "scaled": lambda: torch.addmm(b, mean, w, alpha=3),
            "pooled over one side": lambda: self.fc(a.mean(dim=2)[..., 0]),
            "pooled twice": lambda: self.fc(a.mean(dim=(2, 3)) + a.amax(dim=(2, 3))),
            "scaled afterwards": lambda: 2 * self.fc(mean),
            "pooled over channels": lambda: self.fc(
                a.mean(dim=(1, 2))
            ),  # three columns, as channels
            "shuffled": lambda: self.fc(mean.as_strided((1, 3, 1, 1), (3, 0, 1, 1)).view(1, 3)),
            "two layers": lambda: F.linear(self.fc(mean), self.fc.weight[:, :1].expand(4, 4), b),
        }[self.kind]()


LOOKALIKES = [
    "bias made of A",
    "weights made of A",
    "scaled",
    "pooled over one side",
    "pooled twice",
]
LOOKALIKES += ["scaled afterwards", "pooled over channels", "two layers", "shuffled"]


@pytest.mark.parametrize("kind", LOOKALIKES)
def test_a_head_that_resembles_pooling_and_linear_is_answered_rightly(kind):
    model, x = Lookalike(kind), random_images(n=1, size=(4, 3))
    seen, expected = ForwardPass(model, x, "target"), slow_evidence(model, x)
    close(seen.evidence(torch.eye(4)), expected, 1e-12)
    close(seen.class_maps(), expected, 1e-12)


def test_a_reshape_transform_of_the_same_shape_switches_the_closed_form_off():
    seen = ForwardPass(HandNet(), PHOTO, reshape_transform=lambda a: 2 * a)
    close(seen.evidence(ONE_HOT)[0, 0], 4 * A0)  # doubled in the activations and in the gradients


def test_weights_changed_after_the_pass_are_noticed():
    model = HandNet()
    seen = ForwardPass(model, PHOTO)
    with torch.no_grad():
        model.fc.weight.zero_()
    with pytest.raises(RuntimeError, match="weights changed after this forward pass"):
        seen.evidence(ONE_HOT)


# The network is left as it was found


class Everything(nn.Module):
    """What a pass could disturb: flags, buffers, dropout, in-place operations, several layers."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.shared = nn.ReLU()
        self.unused = nn.Conv2d(4, 4, 1)
        self.pair = Pair()
        self.fc = nn.Linear(4, 3)
        self.broken, self.inside = None, None

    def forward(self, x):
        if self.broken == "before":
            raise KeyboardInterrupt
        a = self.drop(self.shared(self.norm(self.conv(x)).relu_()))
        self.inside = hooks(self), [m.training for m in self.modules()], torch.is_grad_enabled()
        if self.broken == "after":
            raise ZeroDivisionError
        y = self.fc(self.shared(self.pair(a)[0]).mean(dim=(2, 3)))
        return y / 0 if self.broken == "nan" else [y, y] if self.broken == "list" else y


class Pair(nn.Module):
    def forward(self, a):
        return a, a


def everything():
    """Mixed training flags, one frozen parameter, one .grad filled and the others None."""
    torch.manual_seed(5)
    model = Everything().train()
    model.norm.eval()
    model.conv.weight.requires_grad_(False)
    model.fc.bias.grad = torch.tensor([1.0, 2.0, 3.0])
    model.norm.running_mean.fill_(0.25)
    return model


TINY = random_images(n=2, size=(8, 8), dtype=torch.float32)


def test_the_network_is_left_as_it_was_found():
    model = everything()
    before = state(model)
    GradCAM(model, "conv")(TINY, why=[0, 1, 2])
    assert state(model) == before


def test_buffers_of_a_batch_norm_in_training_mode_are_left_alone():
    model = everything()
    model.norm.train()
    before = state(model)
    ForwardPass(model, TINY, "conv").evidence(torch.eye(3))
    assert state(model) == before


def test_the_pass_is_made_in_evaluation_mode():
    model = everything()
    seen = ForwardPass(model, TINY, "conv")
    assert model.inside[1] == [False] * len(list(model.modules()))
    close(seen.logits, model.eval()(TINY).detach())


def test_eval_and_train_of_the_network_are_not_called():
    def refuse(*args):  # networks with adapters, for one, merge them into their weights here
        raise AssertionError("eval() or train() was called")

    model = HandNet().train()
    model.eval = model.train = refuse
    ForwardPass(model, PHOTO)
    assert model.training


def test_one_hook_hangs_on_the_network_during_the_pass_only():
    model = everything()
    model.fc.register_forward_hook(lambda *_: None)  # the caller's own
    ForwardPass(model, TINY, "conv")  # how the grid lies is measured the first time
    ForwardPass(model, TINY, "conv")
    assert (model.inside[0], hooks(model)) == (2, 1)


FAULTS = [
    ("before", "conv", KeyboardInterrupt),
    ("after", "conv", ZeroDivisionError),
    ("nan", "conv", ImageError),
    ("list", "conv", TypeError),
    (None, "shared", LayerError),
    (None, "unused", LayerError),
    (None, "pair", LayerError),
    (None, "fc", LayerError),
]


@pytest.mark.parametrize(("broken", "layer", "error"), FAULTS)
def test_the_network_is_left_as_it_was_found_after_an_exception(broken, layer, error):
    model = everything()
    model.broken = broken
    before = state(model)
    with pytest.raises(error):
        ForwardPass(model, TINY, layer)
    assert state(model) == before


def test_images_that_require_a_gradient_get_none():
    x = random_images().requires_grad_()
    ForwardPass(RandomNet("mlp"), x, "target").evidence(torch.eye(4))
    assert x.grad is None and x.requires_grad


# Frozen parameters, no_grad, inference_mode


@pytest.mark.parametrize("head", ["gap", "mlp"])
@pytest.mark.parametrize("around", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_gradient_modes_around_the_call_make_no_difference(head, around):
    model, x = RandomNet(head), random_images()
    with around():
        got = ForwardPass(model, x, "target").evidence(torch.eye(4))
    close(got, slow_evidence(model, x), 1e-12)


@pytest.mark.parametrize("head", ["gap", "mlp"])
def test_frozen_parameters_make_no_difference(head):
    model, x = RandomNet(head), random_images()
    expected = slow_evidence(model, x)
    model.requires_grad_(False)
    close(ForwardPass(model, x, "target").evidence(torch.eye(4)), expected, 1e-12)


@pytest.mark.parametrize("head", ["gap", "mlp"])
@pytest.mark.parametrize("ask_inside", [False, True])
def test_a_network_built_under_inference_mode_can_be_asked(head, ask_inside):
    x = random_images()
    with torch.inference_mode():
        model = RandomNet(head)
        y = model(x)
    with torch.inference_mode(ask_inside):
        seen = ForwardPass(model, x, "target")
        got = seen.evidence(torch.eye(4))
    close(seen.logits, y, 1e-12)
    close(got, slow_evidence(RandomNet(head), x), 1e-12)


def test_a_network_of_which_one_layer_was_built_under_inference_mode_can_be_asked():
    model, x = RandomNet("mlp"), random_images()
    with torch.inference_mode():
        model.fc = RandomNet("mlp").fc
    got = ForwardPass(model, x, "target").evidence(torch.eye(4))
    close(got, slow_evidence(RandomNet("mlp"), x), 1e-12)


def test_images_made_under_inference_mode_can_be_asked():
    with torch.inference_mode():
        x = random_images()
    got = ForwardPass(RandomNet("mlp"), x, "stem").evidence(torch.eye(4))
    close(got, slow_evidence(RandomNet("mlp"), random_images(), "stem"), 1e-12)


def test_images_made_under_inference_mode_may_be_used_after_the_layer():
    class Gated(HandNet):
        def forward(self, x):
            return self.fc((self.layer1(x) * x[:, :2]).mean(dim=(2, 3)))

    with torch.inference_mode():
        x = PHOTO.clone()
    # y_0 = mean(4 A_0 red): alpha_0 = 4 mean(red) / 4 = 2.5
    close(ForwardPass(Gated(), x, "layer1").evidence(ONE_HOT)[0, 0], 2.5 * A0)


@pytest.mark.parametrize("head", ["gap", "mlp"])
def test_a_pass_kept_inside_inference_mode_is_asked_outside_and_back(head):
    with torch.inference_mode():
        seen = ForwardPass(RandomNet(head), random_images(), "target")
        inside = seen.evidence(torch.eye(4)), seen.ask(lambda y: y[:, 1] ** 2)
    close(seen.evidence(torch.eye(4)), inside[0].clone(), 1e-12)
    close(seen.ask(lambda y: y[:, 1] ** 2), inside[1].clone(), 1e-12)


def test_the_callers_gradient_mode_survives_a_fault_inside_the_network():
    model = everything()
    model.broken = "after"
    with torch.no_grad():
        with pytest.raises(ZeroDivisionError):
            ForwardPass(model, TINY, "conv")
        assert not torch.is_grad_enabled()


# Number formats


@pytest.mark.parametrize("head", RandomNet.heads)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_answers_in_float32_and_nearly_the_same(head, dtype):
    model, x = RandomNet(head), random_images()
    expected = slow_evidence(model, x)
    got = ForwardPass(model.to(dtype), x.to(dtype), "target").evidence(torch.eye(4))
    assert got.dtype == torch.float32
    error = (got - expected).abs().max() / expected.abs().max()
    assert error < (0.01 if dtype == torch.float16 else 0.06)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("head", ["gap", "mlp"])
def test_full_precision_is_kept(head, dtype):
    seen = ForwardPass(RandomNet(head).to(dtype), random_images(dtype=dtype), "target")
    for answer in (seen.evidence(torch.eye(4)), seen.class_maps()):
        assert answer.dtype == dtype


@pytest.mark.parametrize("head", ["gap", "mlp"])
def test_sums_of_half_precision_are_made_in_float32(head):
    # 4096 channels of 1 and one of 1/8: in float16 the last is lost, for 4096 + 1/8 rounds to 4096
    model = nn.Sequential(
        nn.Conv2d(3, 4097, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4097, 2)
    )
    if head == "mlp":
        model.append(nn.Identity()).insert(3, nn.Hardtanh(-9, 9))
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        model[0].bias.fill_(1)[-1] = 1 / 8
        model[-1 if head == "gap" else -2].weight.fill_(1)
    seen = ForwardPass(model.half(), torch.zeros(1, 3, 1, 2).half(), "0")
    assert float(seen.evidence(torch.eye(2))[0, 0, 0, 0]) == (4096 + 1 / 8) / 2


TINY_HALF = 2.0**-14  # float16 holds nothing below 2^-24, and 65504 at most


@pytest.mark.parametrize("last, times", [(lambda y: y, 1), (Looking.apply, 2)])
def test_in_float16_every_question_has_a_scale_of_its_own(last, times):
    """y = 2^-14 (A_0 + 2 A_1); of v = 1, of 2^-14 and of 2^14 all gradients are exact."""
    A = torch.ones(1, 2, dtype=torch.float16, requires_grad=True)
    y = last((A * torch.tensor([1.0, 2.0]).half()) * TINY_HALF).sum(1, keepdim=True)
    v = torch.tensor([1.0, TINY_HALF, -1 / TINY_HALF]).view(3, 1, 1)
    found = backward(y, A, v)
    expected = times * v * torch.tensor([1.0, 2.0]) * TINY_HALF
    assert found.dtype == torch.float32 and torch.equal(found, expected)


def test_in_float16_what_overflows_is_scaled_down_only_so_far_that_the_small_stays():
    """y = 2^20 A_0 + 2^-13 A_1: 2^20 overflows, and 2^-13 times 2^-14 would be nothing."""
    A = torch.ones(1, 2, dtype=torch.float16, requires_grad=True)
    y = (A * torch.tensor([1024.0, 2.0**-13]).half())[:, :, None]
    y = torch.cat([y[:, :1] * 1024, y[:, 1:]], 1).sum(1)
    found = backward(y, A, torch.ones(1, 1, 1))
    assert found.tolist() == [[[2.0**20, 2.0**-13]]]


@pytest.mark.parametrize("then", [[], [nn.Unflatten(1, (2, 1)), nn.Flatten()]])
def test_logits_that_happen_to_sum_to_one_are_logits(then, recwarn):
    """What a matrix gives is no softmax's output, whatever its numbers are."""
    model = nn.Sequential(
        nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2), *then
    ).eval()
    with torch.no_grad():
        model[3].weight.zero_()
        model[3].bias.copy_(torch.tensor([0.25, 0.75]))
    GradCAM(model, "0")(PHOTO)
    assert not recwarn.list
    found = ForwardPass(model, PHOTO, "0").probabilities()
    torch.testing.assert_close(found, torch.tensor([[0.25, 0.75]]).softmax(1))


# Layers that cannot be explained


def test_a_layer_that_runs_twice_is_refused():
    with pytest.raises(LayerError, match="'shared' ran 2 times.*runs exactly once"):
        ForwardPass(everything(), TINY, "shared")


def test_a_layer_that_never_runs_is_refused():
    with pytest.raises(LayerError, match="'unused' never ran.*runs exactly once"):
        ForwardPass(everything(), TINY, "unused")


def test_a_layer_that_returns_a_tuple_is_refused():
    with pytest.raises(LayerError, match="'pair' returns a tuple, not one tensor"):
        ForwardPass(everything(), TINY, "pair")


@pytest.mark.parametrize("frozen", [True, False])
def test_a_layer_off_the_way_to_the_output_is_refused(frozen):
    class Dead(HandNet):
        def __init__(self):
            super().__init__()
            self.dead = nn.Conv2d(3, 2, 1)

        def forward(self, x):
            self.dead(x)
            return super().forward(x)

    model = Dead().requires_grad_(not frozen)
    with pytest.raises(LayerError, match="does not depend on 'dead'.*on the way to the output"):
        GradCAM(model, "dead")(PHOTO)


class Cut(HandNet):
    """Layer 1 is run in a block of its own, and what it gives is perhaps detached."""

    def __init__(self, block, detached):
        super().__init__()
        self.block, self.detached = block, detached

    def forward(self, x):
        with self.block():
            a = self.layer1(x)
        a = a.detach() if self.detached else a
        return self.fc(a.mean(dim=(2, 3)))


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("layer", ["layer1", None])
def test_a_backbone_that_the_network_runs_without_gradients_is_explained(trained, layer):
    model, plain = (made.requires_grad_(trained) for made in (Cut(torch.no_grad, False), HandNet()))
    got = GradCAM(model, layer)(PHOTO, why=[0, 1, 2])
    assert torch.equal(got.evidence, GradCAM(plain, "layer1")(PHOTO, why=[0, 1, 2]).evidence)
    assert got.layer == "layer1" and torch.is_grad_enabled()


@pytest.mark.parametrize("trained", [True, False])
def test_a_network_that_cuts_the_gradient_itself_is_told_so(trained):
    words = r"'layer1', or the network's own code cuts the gradient.* requires_grad_\(False\) on"
    model = Cut(torch.enable_grad, True).requires_grad_(trained)
    with pytest.raises(LayerError, match=words):
        GradCAM(model, "layer1")(PHOTO)


def test_a_single_place_is_refused():
    with pytest.raises(
        LayerError, match="'layer1' gives 1 x 2 x 1 x 1: a single place.*larger image"
    ):
        ForwardPass(HandNet(), torch.ones(1, 3, 1, 1), "layer1")


def test_a_layer_that_mixes_the_batch_is_refused():
    class Tiles(HandNet):
        def forward(self, x):
            tiles = x.unflatten(2, (2, 2)).movedim(2, 1).flatten(0, 1)
            return super().forward(tiles).unflatten(0, (-1, 2)).mean(dim=1)

    with pytest.raises(LayerError, match="'layer1', read as a grid, is 4 x .*with N = 2 as in"):
        ForwardPass(Tiles(), torch.ones(2, 3, 4, 4), "layer1")


def test_a_reshape_transform_that_gives_no_grid_is_refused():
    with pytest.raises(LayerError, match="is 1 x 2 x 4, not N x C x h x w.*reshape_transform="):
        ForwardPass(HandNet(), PHOTO, reshape_transform=lambda a: a.flatten(2))


# Networks that do not answer as they should


def test_a_network_that_returns_no_tensor_is_refused():
    model = everything()
    model.broken = "list"
    with pytest.raises(
        TypeError, match=r"Everything returned a list of 2, not a tensor.*output=lambda y: y\[0\]"
    ):
        ForwardPass(model, TINY, "conv")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_answer_of_nan_or_infinity_is_refused(value):
    with pytest.raises(ImageError, match="^x holds NaN or infinity"):
        ForwardPass(HandNet(), torch.full_like(PHOTO, value))


def test_an_answer_too_large_for_its_type_is_refused():
    with pytest.raises(ImageError, match="network's answer holds NaN or infinity.*try float32"):
        ForwardPass(HandNet().half(), (1e4 * PHOTO).half())


def test_a_gradient_of_nan_is_refused():
    class Root(HandNet):
        def forward(self, x):  # the root of 0 is 0, its slope infinite, and 0 times infinity NaN
            return self.fc((0 * self.layer1(x)).sqrt().mean(dim=(2, 3)))

    with pytest.raises(ImageError, match="evidence holds NaN or infinity"):
        GradCAM(Root(), "layer1")(PHOTO)


HEADS = {
    "pooling and a linear layer": lambda: [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)],
    "pooling and two": lambda: [
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 6), nn.Hardswish(), nn.Linear(6, 5))
    ],
    "classes, then pooling": lambda: [nn.Conv2d(4, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()],
    "flattened": lambda: [nn.Flatten(), nn.Linear(4 * 6 * 6, 5)],
    "a norm of each image": lambda: [
        *(nn.GroupNorm(1, 4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 5))
    ],
}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("maps_first", [False, True])
def test_class_numbers_ask_what_one_hot_cotangents_ask(head, maps_first):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), *HEADS[head]()).eval()
    seen = ForwardPass(model, torch.randn(2, 3, 8, 8), "1")
    if maps_first:
        seen.class_maps()
    classes = torch.tensor([[3, 0], [1, 1]])
    wanted = seen.evidence(F.one_hot(classes, 5).float())
    assert torch.allclose(seen._evidence(classes), wanted, rtol=1e-5, atol=1e-7)


def test_whole_numbers_as_cotangents_are_cotangents_and_no_class_numbers():
    seen = ForwardPass(HandNet(), PHOTO)
    ask = torch.tensor([[1, 0, 2]])
    assert torch.equal(seen.evidence(ask), seen.evidence(ask.double()))
