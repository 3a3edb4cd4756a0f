"""Networks as others bring them: wrapped, threaded, in half precision, with several
inputs or outputs.

Where a right value exists, it is plain autograd's, with a hook of the test's own.
"""

import copy
import re
import threading
from dataclasses import dataclass

import measure_layers
import pytest
import torch
import torch.nn.functional as F
import torchvision
from tiny_networks import PHOTO, HandNet, Looking, RandomNet, random_images
from torch import nn
from torch.utils.checkpoint import checkpoint

from course_utils import ForwardPass, GradCAM
from course_utils.errors import ClassError, ImageError, LayerError
from course_utils.methods.unchanged import Unchanged


class Wrapped(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)


class Small(nn.Module):
    """A convolution, whatever a subclass does, pooling and a linear layer."""

    def __init__(self, convolution=None):
        super().__init__()
        torch.manual_seed(0)
        self.f = nn.Sequential(convolution or nn.Conv2d(3, 8, 3), nn.ReLU())
        self.h = nn.Linear(8, 5)
        self.eval()

    def forward(self, x):
        return self.h(self.f(x).flatten(2).mean(dim=2))


def plainly(model, module, x, c):
    """Grad-CAM's evidence for class c, N x ..., of a layer whose output is N x C x ..."""
    kept = []
    handle = module.register_forward_hook(lambda _m, _i, a: kept.append(a) or a.clone())
    y = model(x)
    handle.remove()
    (gradient,) = torch.autograd.grad(y[:, c].sum(), kept[0])
    alpha = gradient.flatten(2).mean(dim=2)
    return torch.einsum("nc,nc...->n...", alpha, kept[0].detach())


# The default layer


SIDES = {name: (library, side) for library, name, side in measure_layers.NETWORKS}


@pytest.mark.parametrize("name", measure_layers.QUICK)
def test_the_default_layer_passes_the_rule_and_its_evidence_is_autograds(name):
    library, side = SIDES[name]
    measured = measure_layers.measure(library, name, side)
    assert measured["passes"] and measured["error"] < 1e-4


WRAPPERS = {
    "DataParallel": nn.DataParallel,
    "a module of one's own": Wrapped,
    "Sequential": lambda m: nn.Sequential(nn.Identity(), m),
    "torch.compile": lambda m: torch.compile(m, backend="eager"),
    "twice": lambda m: Wrapped(nn.DataParallel(m)),
}


def small_vit():
    torch.manual_seed(0)
    vit = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5)
    for parameter in vit.parameters():
        nn.init.normal_(parameter, std=0.2)
    return vit.eval()


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize(
    "make",
    [small_vit, lambda: torchvision.models.resnet18(num_classes=5).eval()],
    ids=["ViT", "CNN"],
)
def test_bare_and_wrapped_give_the_same_map(make, wrap):
    model, x = make(), torch.randn(1, 3, 32, 32) if make is small_vit else torch.randn(1, 3, 64, 64)
    bare, wrapped = GradCAM(model)(x, why=1), GradCAM(wrap(model))(x, why=1)
    torch.testing.assert_close(wrapped.evidence, bare.evidence, rtol=1e-6, atol=1e-6)
    assert wrapped.layer.endswith(bare.layer)


def test_beside_a_copy_that_does_not_answer_the_map_is_that_of_the_bare_network():
    class Averaged(nn.Module):  # a student and its teacher, weights and their running mean
        def __init__(self, model):
            super().__init__()
            self.model, self.mean = model, copy.deepcopy(model)

        def forward(self, x):
            return self.mean(x) + self.model(x).detach()

    torch.manual_seed(0)
    model = torchvision.models.squeezenet1_1(num_classes=5).eval()
    x = torch.randn(1, 3, 64, 64)
    bare, beside = GradCAM(model)(x, why=1), GradCAM(Averaged(model))(x, why=1)
    assert (beside.layer, beside.layer_reason) == ("mean.features", bare.layer_reason)
    torch.testing.assert_close(beside.evidence, bare.evidence, rtol=1e-6, atol=1e-6)


def test_a_wrapper_that_resizes_leaves_the_patches_grid():
    class Resized(Wrapped):
        def forward(self, x):
            return self.network(F.interpolate(x, size=(32, 32)))

    seen = ForwardPass(Resized(small_vit()), torch.randn(1, 3, 16, 64))  # 16 tokens, not 2 x 8
    assert seen.activations.shape == (1, 16, 4, 4)


def test_the_layer_of_an_unknown_network_is_found_at_the_first_image():
    cam = GradCAM(RandomNet())
    assert cam.layer is None
    answer = cam(random_images())
    assert cam.layer == answer.layer == "target"
    assert "the last layer that runs once" in answer.layer_reason


def test_a_head_of_zeros_does_not_hide_the_layer():
    model = Small()
    nn.init.zeros_(model.h.weight)
    assert ForwardPass(model, torch.randn(1, 3, 8, 8)).layer == "f"


def test_low_rank_adapters_are_not_taken_for_the_layer():
    class Adapted(nn.Module):
        def __init__(self):
            super().__init__()
            self.base, self.lora_B = nn.Conv2d(3, 8, 3), nn.Conv2d(2, 8, 1)
            self.lora_A = nn.Conv2d(3, 2, 3)

        def forward(self, x):
            return self.base(x) + self.lora_B(self.lora_A(x))

    assert ForwardPass(Small(Adapted()), torch.randn(1, 3, 8, 8)).layer == "f"


def test_a_convolution_after_the_pooling_is_not_the_layer():
    class Late(Small):
        def forward(self, x):
            return nn.functional.conv2d(
                self.f(x).mean((2, 3), True), self.h.weight[..., None, None]
            )[:, :, 0, 0]

    model = nn.Sequential(Small().f, nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 5, 1), nn.Flatten())
    assert ForwardPass(model, torch.randn(1, 3, 8, 8)).layer == "0"
    assert ForwardPass(Late(), torch.randn(1, 3, 8, 8)).layer == "f"


class Encoder(nn.Module):
    """A plain transformer on 4 x 4 patches, read at its class token or at the mean of all."""

    def __init__(self, norm_first, class_token, batch_first=True):
        super().__init__()
        torch.manual_seed(0)
        self.class_token, self.batch_first = class_token, batch_first
        self.embed, self.h = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, 5)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first, norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(8), enable_nested_tensor=False)
        self.eval()

    def forward(self, x):
        t = self.embed(x).flatten(2).transpose(1, 2)
        t = torch.cat([torch.zeros(len(t), 1, 8), t], dim=1) if self.class_token else t
        t = self.encoder(t) if self.batch_first else self.encoder(t.transpose(0, 1)).transpose(0, 1)
        return self.h(t[:, 0] if self.class_token else t.mean(dim=1))


@pytest.mark.parametrize("class_token", [True, False], ids=["class token", "mean"])
@pytest.mark.parametrize("batch_first", [True, False], ids=["N x T", "T x N"])
@pytest.mark.parametrize(
    ("norm_first", "layer"), [(True, "encoder.layers.1.norm1"), (False, "encoder.layers.0")]
)
def test_tokens_are_explained_before_the_last_attention(
    norm_first, layer, batch_first, class_token
):
    model, x = Encoder(norm_first, class_token, batch_first), torch.randn(2, 3, 32, 32)
    answer = GradCAM(model)(x, why=[1, 3])
    assert answer.layer == layer and f"it gives {16 + class_token} x 8" in answer.layer_reason
    kept = []
    hook = model.get_submodule(layer).register_forward_hook(lambda _m, _i, a: kept.append(a))
    y = model(x)
    hook.remove()
    for k, c in enumerate((1, 3)):
        (g,) = torch.autograd.grad(y[:, c].sum(), kept[0], retain_graph=True)
        a, g = (t if batch_first else t.transpose(0, 1) for t in (kept[0].detach(), g))
        a, g = a[:, -16:], g[:, -16:]  # N x T x C
        right = (g.mean(dim=1, keepdim=True) * a).sum(dim=2).reshape(2, 4, 4)
        torch.testing.assert_close(answer.evidence[:, k], right)


def test_as_many_images_as_tokens_are_not_mixed_up():
    model, x = Encoder(True, True, batch_first=False), torch.randn(17, 3, 32, 32)
    together = GradCAM(model)(x, why=[1, 3]).evidence
    alone = torch.cat([GradCAM(model)(one[None], why=[1, 3]).evidence for one in x])
    torch.testing.assert_close(together, alone)


def test_a_class_token_may_stand_last():
    class Last(Encoder):
        def forward(self, x):
            t = self.embed(x).flatten(2).transpose(1, 2)
            t = self.encoder(torch.cat([t, torch.zeros(len(t), 1, 8)], dim=1))
            return self.h(t[:, -1])

    seen = ForwardPass(Last(True, True), torch.randn(1, 3, 32, 32), "encoder.layers.0")
    tokens = seen._leaf.detach()[:, :-1].transpose(1, 2).unflatten(2, (4, 4))
    assert torch.equal(seen.activations, tokens)


def test_the_largest_score_of_all_places_is_no_place_of_several():
    class Largest(Small):
        def forward(self, x):
            return self.h(self.f(x).movedim(1, -1)).flatten(1, 2).amax(dim=1)

    model = Largest()
    model.f = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
    assert ForwardPass(model, torch.randn(1, 3, 9, 9)).layer == "f.1"


def test_a_network_that_reads_channels_last_has_maps_of_its_images_size():
    class ChannelsLast(Wrapped):
        def forward(self, x):
            return self.network(x.movedim(-1, 1))

    x = torch.randn(2, 3, 10, 12)
    bare = GradCAM(Small())(x, why=1)
    got = GradCAM(ChannelsLast(Small()))(x.movedim(1, -1), why=1)
    assert got.layer == f"network.{bare.layer}"
    torch.testing.assert_close(got.maps, bare.maps)


def test_where_every_layer_is_read_at_one_place_the_sentence_says_so():
    model = Small(nn.Conv2d(3, 5, 3))
    model.forward = lambda x: model.f(x).amax(dim=(2, 3))
    x = torch.randn(1, 3, 8, 8)
    with pytest.raises(LayerError, match="reads each class at one place only.*layer='f'") as error:
        GradCAM(model)(x)
    assert "cuts" not in str(error.value)
    assert GradCAM(model, layer="f")(x).evidence.shape == (1, 1, 6, 6)


def test_watching_leaves_no_trace_and_happens_once():
    model = HandNet()
    GradCAM(model)(PHOTO)
    watched_and_asked = model.forwards
    GradCAM(model)(PHOTO)
    assert model.forwards == watched_and_asked + 1 and not model.layer1._forward_hooks


def test_a_network_is_watched_anew_for_another_output_and_with_another_part():
    class Branches(Small):
        def __init__(self):
            super().__init__()
            self.other = nn.Conv2d(3, 8, 3)

        def forward(self, x):
            other = self.other(x).mean(dim=(2, 3))
            return super().forward(x), self.h(other)

    model, x = Branches(), torch.randn(1, 3, 8, 8)
    for output, layer in [(lambda y: y[0], "f"), (lambda y: y[1], "other")]:
        assert GradCAM(model, output=output)(x).layer == layer
    model.f = nn.Conv2d(3, 8, 3)
    answer = GradCAM(model, output=lambda y: y[0])(x)
    assert answer.layer == "f" and "gives 8 x 6 x 6" in answer.layer_reason


# Inputs and outputs


class Aged(Small):
    def __init__(self):
        super().__init__()
        self.h = nn.Linear(9, 5)

    def forward(self, x, age):
        return self.h(torch.cat([self.f(x).mean(dim=(2, 3)), age], dim=1))


def test_several_inputs_are_handed_on_in_order_or_by_name():
    model, x, age = Aged(), torch.randn(2, 3, 8, 9), torch.tensor([[1.0], [2.0]])
    by_order, by_name = GradCAM(model)((x, age), why=2), GradCAM(model)({"age": age, "x": x}, why=2)
    assert by_order.maps.shape == (2, 1, 8, 9)
    assert torch.equal(by_order.evidence, by_name.evidence)
    with pytest.raises(TypeError, match="wants more than one input.*'age'.*x=\\(images, other\\)"):
        GradCAM(model, "f")(x)
    for inputs, name in [((x.numpy(), age), "0"), ({"age": age, "x": x.numpy()}, "'x'")]:
        with pytest.raises(ImageError, match=rf"x\[{name}\] is an array: torch.from_numpy\("):
            GradCAM(model, "f")(inputs)


class Pair(Small):
    """Two views through the same layers."""

    def __init__(self):
        super().__init__()
        self.view = nn.Identity()

    def forward(self, a, b):
        return self.h((self.f(a) + self.view(self.f(b))).mean(dim=(2, 3)))


def test_of_two_views_through_the_same_layers_one_can_be_named():
    model, views = Pair(), (torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8))
    expected = GradCAM(Small(), "f")(views[1], why=1).evidence
    torch.testing.assert_close(GradCAM(model)(views, why=1).evidence, expected)
    model = Pair()
    del model.view
    model.view = lambda a: a
    with pytest.raises(LayerError, match="'f' 2 times, as where several views.*layer='view'"):
        GradCAM(model)(views)


def test_views_in_the_batch_are_named():
    class Folded(Small):
        def forward(self, x):
            return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2]).mean(dim=1)

    with pytest.raises(LayerError, match="'f' gives 4 grids for 1 item of x: .*folds views"):
        GradCAM(Folded())(torch.randn(2, 4, 3, 8, 8))


class Heard(nn.Module):
    """A signal's tokens, N x T x C: from a convolution, or from a matrix; with a class token."""

    def __init__(self, convolution, class_tokens):
        super().__init__()
        torch.manual_seed(0)
        self.f = nn.Conv1d(1, 8, 4, 2) if convolution else nn.Linear(4, 8)
        self.convolution, self.first = convolution, nn.Parameter(torch.randn(1, class_tokens, 8))
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.norm, self.h = nn.LayerNorm(8), nn.Linear(8, 5)
        self.eval()

    def forward(self, x):
        t = self.f(x).transpose(1, 2) if self.convolution else self.f(x[:, 0].unfold(1, 4, 2))
        t = torch.cat([self.first.expand(len(t), -1, -1), t], dim=1)
        return self.h(self.norm(self.block(t)).mean(dim=1))


@pytest.mark.parametrize(("convolution", "class_tokens"), [(True, 0), (True, 1), (False, 0)])
@pytest.mark.parametrize("layer", ["block", "norm"])
def test_the_tokens_of_a_signal_are_not_taken_for_its_channels(convolution, class_tokens, layer):
    model, x = Heard(convolution, class_tokens), torch.randn(2, 1, 42)
    got = GradCAM(model, layer)(x, why=1)
    kept = []
    module = model.get_submodule(got.layer)
    handle = module.register_forward_hook(lambda _m, _i, a: kept.append(a))
    y = model(x)
    handle.remove()
    (gradient,) = torch.autograd.grad(y[:, 1].sum(), kept[0])
    places = slice(class_tokens, None)
    alpha = gradient[:, places].mean(dim=1)
    expected = torch.einsum("nc,ntc->nt", alpha, kept[0][:, places])
    assert got.maps.shape == (2, 1, 42)
    torch.testing.assert_close(got.evidence[:, 0], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("convolution", "size"),
    [(nn.Conv1d(3, 8, 3), (12,)), (nn.Conv3d(3, 8, 3), (5, 7, 6))],
    ids=["signal", "volume"],
)
def test_signals_and_volumes_have_maps_of_their_own_size(convolution, size):
    model, x = Small(convolution), torch.randn(2, 3, *size)
    answer = GradCAM(model)(x, why=[1, 2])
    assert answer.size == size and answer.maps.shape == (2, 2, *size)
    torch.testing.assert_close(answer.evidence[:, 1], plainly(model, model.f, x, 2))


@dataclass
class Output:
    logits: torch.Tensor
    hidden: torch.Tensor


@dataclass
class Heads:
    age: torch.Tensor
    kind: torch.Tensor


OUTPUTS = {
    "dict": lambda y: {"hidden": 2 * y, "logits": y},
    "dataclass": lambda y: Output(y, 2 * y),
    "tuple of one": lambda y: (y,),
}


class Returns(Small):
    def __init__(self, pack):
        super().__init__()
        self.pack = pack

    def forward(self, x):
        return self.pack(super().forward(x))


@pytest.mark.parametrize("pack", OUTPUTS.values(), ids=OUTPUTS)
def test_logits_are_found_in_what_a_network_returns(pack):
    x = torch.randn(1, 3, 8, 8)
    expected = GradCAM(Small())(x, why=1).evidence
    assert torch.equal(GradCAM(Returns(pack))(x, why=1).evidence, expected)


@pytest.mark.parametrize(
    "pack, code",
    [
        (lambda y: y[:, None], "y.flatten(1)"),
        (lambda y: Output(y[:, None], y), "y.logits.flatten(1)"),
        (lambda y: {"logits": y[:, None]}, "y['logits'].flatten(1)"),
    ],
    ids=["tensor", "object", "dict"],
)
def test_the_line_for_an_axis_too_many_works(pack, code):
    model = Returns(pack)
    with pytest.raises(ClassError, match="output is 1 x 1 x 5.*output=lambda y: y") as said:
        GradCAM(model)(torch.randn(1, 3, 8, 8))
    assert code in str(said.value)
    output = eval(f"lambda y: {code}")  # noqa: S307
    assert GradCAM(model, output=output)(torch.randn(1, 3, 8, 8)).logits.shape == (1, 5)


def test_output_picks_one_of_several_tensors():
    model, x = Returns(lambda y: (3 * y, y)), torch.randn(1, 3, 8, 8)
    expected = GradCAM(Small())(x, why=1).evidence
    got = GradCAM(model, output=lambda y: y[1])(x, why=1).evidence
    torch.testing.assert_close(got, expected)


def test_the_line_for_a_dense_output_hands_on_what_was_given():
    model, x = (
        Returns(lambda y: (y, y[:, :, None, None].expand(-1, -1, 4, 4))),
        torch.randn(1, 3, 8, 8),
    )

    def output(y):
        return y[1]

    with pytest.raises(ClassError, match="output=output") as error:
        GradCAM(model, output=output)(x, why=1)
    line = re.search(r"ForwardPass\(.*\)\)", str(error.value))[0]
    assert eval(line).shape[:2] == (1, 1)


@pytest.mark.parametrize(
    "pack",
    [
        lambda y: {"out": y[:, :, None, None].expand(-1, -1, 4, 4), "aux": y},
        lambda y: [{"boxes": y[:, :4], "scores": y[0]}],
        lambda y: (y, 2 * y),
        lambda y: {"loss": None, "heads": Heads(y, 2 * y)},
        lambda y: (y[:, 0], y),
    ],
    ids=["segmentation", "detection", "pair", "nested", "a number for each image"],
)
def test_the_line_that_the_sentence_spells_works(pack):
    model, x = Returns(pack), torch.randn(1, 3, 8, 8)
    with pytest.raises(TypeError, match="Say which number to ask about: ") as error:
        GradCAM(model)(x)
    line = str(error.value).split("ask about: ")[1].rsplit(", one number", 1)[0]
    names = {"ForwardPass": ForwardPass, "model": model, "x": x, "torch": torch}
    assert eval(line, names).shape == (1, 1, 6, 6)


def test_the_line_for_several_heads_works():
    model, x = Returns(lambda y: (3 * y, y)), torch.randn(1, 3, 8, 8)
    with pytest.raises(TypeError) as error:
        GradCAM(model)(x)
    line = re.search(r"classes: (GradCAM.*\))\.", str(error.value))[1]
    assert eval(line).evidence.shape == (1, 1, 6, 6)


@pytest.mark.parametrize(
    ("pack", "sentence"),
    [
        (torch.sum, "returned a single number, as a loss is"),
        (lambda y: None, "NoneType, in which no tensor of floats was found"),
        (lambda y: {}, "returned a dict of nothing, in which no tensor"),
        (lambda y: y.detach().numpy(), "ndarray, in which no tensor of floats was found"),
    ],
)
def test_what_is_no_answer_for_each_image_is_named(pack, sentence):
    with pytest.raises(TypeError, match=sentence):
        GradCAM(Returns(pack))(torch.randn(1, 3, 8, 8))


@pytest.mark.parametrize(
    ("classes", "words", "output"),
    [
        (1, "output=lambda y: y.reshape.1.", lambda y: y.reshape(1)),
        (5, "gave 5 rows for one image.*output=lambda y: y.None.", lambda y: y[None]),
    ],
)
def test_of_one_image_squeeze_leaves_no_batch_and_the_cure_is_named(classes, words, output):
    model, x = Returns(lambda y: y[:, :classes].squeeze()), torch.randn(1, 3, 8, 8)
    with pytest.raises((TypeError, LayerError), match=words):
        GradCAM(model)(x, why=1)
    kept = GradCAM(Returns(lambda y: y[:, :classes]))(x, why=1)
    assert torch.equal(GradCAM(model, output=output)(x, why=1).evidence, kept.evidence)


@pytest.mark.parametrize("places", ["network", "images", "both"])
def test_tensors_without_numbers_are_named(places):
    model, x = Small(), torch.randn(1, 3, 8, 8)
    model = model.to("meta") if places != "images" else model
    with pytest.raises(ImageError, match="device 'meta'"):
        GradCAM(model)(x.to("meta") if places != "network" else x)


@pytest.mark.parametrize(
    "pack", [lambda x: x.repeat(1, 3, 1, 1), lambda x: x.to(torch.float32) / 255]
)
def test_what_the_network_itself_answers_is_not_refused(pack):
    class Grey(Small):
        def forward(self, x):
            return super().forward(pack(x))

    x = torch.rand(1, 1, 8, 8) if pack(torch.rand(1, 1, 2, 2)).shape[1] == 3 else None
    x = torch.randint(0, 255, (1, 3, 8, 8), dtype=torch.uint8) if x is None else x
    assert GradCAM(Grey())(x).maps.shape == (1, 1, 8, 8)


def test_what_the_network_does_not_answer_is_explained():
    with pytest.raises(ImageError, match="one image, not a batch"):
        GradCAM(torchvision.models.resnet18())(torch.randn(3, 64, 64))


# Threads, number formats, weights that change


@pytest.mark.parametrize("training", [False, True])
def test_four_threads_get_the_answers_of_one(training):
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(8, 8, 3),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    ).eval()  # fmt: skip
    front = nn.Conv2d(3, 3, 1)  # two networks, of which one has a weight before the other's first
    cams = [GradCAM(model, "4"), GradCAM(nn.Sequential(front, model).eval(), "1.4")] * 2
    x = torch.randn(4, 3, 12, 12)
    expected = [cam(x[i : i + 1], why=1).evidence for i, cam in enumerate(cams)]
    model.train(training)
    mean, wrong = model[1].running_mean.clone(), []

    def work(i):
        for _ in range(25):
            try:
                got = cams[i](x[i : i + 1], why=1).evidence
                if not torch.allclose(got, expected[i], atol=1e-6):
                    wrong.append(got)
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and torch.equal(model[1].running_mean, mean) and model.training == training


class Two(Small):
    """Two linear layers: no closed form."""

    def __init__(self):
        super().__init__()
        self.g = nn.Linear(8, 8)

    def forward(self, x):
        return self.h(F.relu(self.g(self.f(x).mean(dim=(2, 3)))))


@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float16, 0.01), (torch.bfloat16, 0.05)])
@pytest.mark.parametrize("side", [34, 514])
def test_half_precision_answers_rightly_on_a_large_grid(dtype, allowed, side):
    half = Two().to(dtype)
    whole, x = copy.deepcopy(half).float(), torch.randn(1, 3, side, side).to(dtype)
    expected = plainly(whole, whole.f, x.float(), 1)
    got = GradCAM(half, "f")(x, why=1).evidence[:, 0]
    assert float((got - expected).abs().max() / expected.abs().max()) < allowed


CHANGES = {
    "all": lambda w: w.data.mul_(-3),
    "averaged": lambda w: w.data.lerp_(torch.ones_like(w), 1e-3),
    "clipped": lambda w: w.data.clamp_(-0.1, 0.1),
    "one row": lambda w: w.data[3].zero_(),
    "one number": lambda w: w.data[3, 7].zero_(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("make", [Small, Two])
@pytest.mark.parametrize("frozen", [False, True])
def test_weights_changed_behind_pytorchs_back_are_noticed(make, change, frozen):
    model = make().requires_grad_(not frozen)
    seen = ForwardPass(model, torch.randn(1, 3, 8, 8), "f")
    seen.evidence(torch.eye(5))
    change(model.h.weight)
    with pytest.raises(RuntimeError, match="weights changed after this forward pass. Make a new"):
        seen.evidence(torch.eye(5))


def test_a_linear_layer_that_runs_later_at_every_place_is_named_beside_the_chosen_layer():
    class Projected(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches, self.norm = nn.Conv2d(3, 6, 4, 4), nn.LayerNorm(6)
            self.project, self.head = nn.Linear(6, 7), nn.Linear(7, 5)

        def forward(self, x):
            a = self.norm(self.patches(x).permute(0, 2, 3, 1))
            return self.head(self.project(a).relu().mean(dim=(1, 2)))

    answer = GradCAM(Projected())(torch.randn(1, 3, 16, 16))
    assert answer.layer == "norm" and "but for the linear layer 'project'" in answer.layer_reason


class Scaled(nn.Module):
    """Another head: the pooled values times stored numbers, in a way of one's choice."""

    def __init__(self, way):
        super().__init__()
        self.f, self.way = nn.Conv2d(3, 5, 3), way
        self.scale = nn.Parameter(torch.arange(1.0, 6))

    def forward(self, x):
        return self.way(self.f(x).mean(dim=(2, 3)), self)


class OutOfSight(torch.autograd.Function):
    """Its backward reads a weight that it kept where nobody sees it."""

    @staticmethod
    def forward(ctx, x, network):
        ctx.kept = network.scale
        return x * network.scale

    @staticmethod
    def backward(ctx, g):
        return g * ctx.kept, None


WAYS = {
    "product": lambda z, m: z * m.scale,
    "a function that hides it": lambda z, m: OutOfSight.apply(z, m),
    "checkpointed": lambda z, m: checkpoint(lambda t: t * m.scale, z, use_reentrant=False),
    "worked out, checkpointed": lambda z, m: checkpoint(
        lambda t: t * (2 * m.scale), z, use_reentrant=False
    ),
}


@pytest.mark.parametrize("kind", [nn.Parameter, lambda w: nn.Parameter(w, False), nn.Buffer])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_numbers_put_in_a_weights_place_are_noticed(way, kind):
    """As averaging of weights does it: PyTorch counts nothing, and the old numbers stay alive."""
    model = Scaled(way)
    scale = model.scale.detach()
    del model.scale
    model.scale = kind(scale)
    seen = ForwardPass(model, torch.randn(1, 3, 8, 8), "f")
    seen.evidence(torch.eye(5))
    model.scale.data = model.scale.data.clone()  # the same numbers
    if way is WAYS["product"]:
        seen.evidence(torch.eye(5))
    model.scale.data = -3 * model.scale.data
    with pytest.raises(RuntimeError, match="weights changed after this forward pass"):
        seen.evidence(torch.eye(5))


def test_of_a_checkpointed_head_nothing_runs_before_it_is_asked():
    """Run again in training mode, a BatchNorm would count another image."""
    inside = nn.Sequential(nn.Linear(5, 5), nn.BatchNorm1d(5))
    model = Scaled(lambda z, _: checkpoint(model.inside, z, use_reentrant=False))
    model.inside, runs = inside, []
    inside.register_forward_hook(lambda *_: runs.append(1))
    ForwardPass(model.train(), torch.randn(2, 3, 8, 8), "f")  # how the grid lies is measured
    runs.clear()
    seen = ForwardPass(model, torch.randn(2, 3, 8, 8), "f")
    assert len(runs) == 1
    seen.evidence(torch.eye(5))
    seen.check_weights()
    assert len(runs) <= 6 and inside[1].num_batches_tracked == 0


POOLS = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
CHECKPOINTED = {
    "pooling and a linear layer": lambda: nn.Sequential(*POOLS, nn.Linear(8, 5)),
    "a norm, a linear layer": lambda: nn.Sequential(*POOLS, nn.BatchNorm1d(8), nn.Linear(8, 5)),
    "a large linear layer": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(8 * 14 * 14, 1000), nn.ReLU(), nn.Linear(1000, 5)
    ),
    "dropout last": lambda: nn.Sequential(*POOLS, nn.Linear(8, 5), nn.Dropout()),
}


@pytest.mark.parametrize("name", CHECKPOINTED)
def test_a_checkpointed_head_is_run_again_in_evaluation_mode_only(name):
    """Reading what its graph has saved runs it again, in training mode where the network is."""
    torch.manual_seed(0)
    features, head, modes = nn.Conv2d(3, 8, 3), CHECKPOINTED[name](), []
    plain = nn.Sequential(features, head).eval()
    head.register_forward_pre_hook(lambda *_: modes.append(head.training))

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.features, self.head = features, head

        def forward(self, x):
            return checkpoint(self.head, self.features(x), use_reentrant=False)

    x = torch.randn(2, 3, 16, 16)
    wanted = GradCAM(plain, "0")(x, why=[1, 2]).evidence
    model = Network().train()
    modes.clear()
    torch.testing.assert_close(GradCAM(model, "features")(x, why=[1, 2]).evidence, wanted)
    seen = ForwardPass(model, x, "features")
    torch.testing.assert_close(GradCAM(model, "features")(seen, why=[1, 2]).evidence, wanted)
    torch.testing.assert_close(seen.class_maps()[:, 1:3], wanted)
    assert modes and not any(modes)


@pytest.mark.parametrize("form", [torch.clone, lambda w: w.T.clone().T], ids=["rows", "columns"])
@pytest.mark.parametrize("shape", [(60, 90), (90, 60), (5, 3000), (8, 70, 3, 3)])
def test_of_a_large_weight_every_row_and_every_column_is_looked_at(shape, form):
    weight = form(torch.zeros(shape)) if len(shape) == 2 else torch.zeros(shape)
    if len(shape) == 4 and form is not torch.clone:
        weight = weight.to(memory_format=torch.channels_last)
    for axis in (0, 1):
        for i in range(shape[axis]):
            record = Unchanged([weight])
            weight.data.select(axis, i).add_(1)
            with pytest.raises(RuntimeError):
                record.check()


def test_a_row_that_is_repeated_is_looked_at():
    row = torch.zeros(1, 5000)
    record = Unchanged([row.expand(6000, 5000)])
    record.check()
    row.data[0, 4321] = 1
    with pytest.raises(RuntimeError, match="weights changed"):
        record.check()


def test_of_a_frozen_network_only_the_head_is_recorded():
    model = Two().requires_grad_(False)
    seen = ForwardPass(model, torch.randn(1, 3, 8, 8), "f")
    recorded = {w.data_ptr() for w in seen._unchanged._weights}
    assert recorded == {model.g.weight.data_ptr(), model.h.weight.data_ptr()}


def test_a_question_asked_before_is_not_answered_from_memory_when_weights_changed():
    model = Small()
    seen = ForwardPass(model, torch.randn(1, 3, 8, 8), "f")
    GradCAM(model, "f")(seen, why=1)
    model.h.weight.data.mul_(-3)
    with pytest.raises(RuntimeError, match="weights changed after this forward pass"):
        GradCAM(model, "f")(seen, why=1)


def test_a_step_of_training_is_noticed():
    model, x = Two(), torch.randn(1, 3, 8, 8)
    seen = ForwardPass(model, x, "f")
    model(x).sum().backward()
    torch.optim.SGD(model.parameters(), 0.1).step()
    with pytest.raises(RuntimeError, match="weights changed after this forward pass"):
        seen.evidence(torch.eye(5))


@pytest.mark.parametrize("make", [Small, Two])
def test_weights_before_the_layer_may_change(make):
    model = make()
    seen = ForwardPass(model, torch.randn(1, 3, 8, 8), "f")
    before = seen.evidence(torch.eye(5)[[1]])
    model.f[0].weight.data.mul_(2)
    assert torch.equal(seen.evidence(torch.eye(5)[[1]]), before)


# Heads that cannot be asked several questions at once


def test_questions_that_torch_does_not_batch_are_asked_one_by_one():
    class Custom(Small):
        def forward(self, x):
            return self.h(Looking.apply(self.f(x)).mean(dim=(2, 3)))

    model, x = Custom(), torch.randn(2, 3, 8, 8)
    together = GradCAM(model, "f")(x, why=[0, 1, 2]).evidence
    expected = torch.stack([plainly(model, model.f, x, c) for c in range(3)], dim=1)
    torch.testing.assert_close(together, expected)


# Sentences that name the true cause


class Inference(Small):
    @torch.inference_mode()
    def forward(self, x):
        return super().forward(x)


class Checkpointed(Small):
    def __init__(self, around):
        super().__init__()
        self.around, self.g = around, nn.Conv2d(8, 8, 3)

    def forward(self, x):
        if self.around:
            a = self.g(checkpoint(self.f, x, use_reentrant=True))
        else:
            a = checkpoint(self.g, self.f(x), use_reentrant=True)
        return self.h(a.mean(dim=(2, 3)))


X = torch.randn(1, 3, 12, 12)
CAUSES = {
    "TorchScript": (lambda: torch.jit.trace(Small(), X), "TorchScript.*no layer will do"),
    "TorchScript, scripted": (
        lambda: torch.jit.script(nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten())),
        "TorchScript.*no layer will do",
    ),
    "quantised": (
        lambda: torch.ao.quantization.quantize_dynamic(Small(), {nn.Linear}),
        "quantised: its layers have no gradient",
    ),
    "inference mode": (Inference, "torch.inference_mode.*Remove that decorator"),
    "checkpoint around": (lambda: Checkpointed(True), "use_reentrant=True. stands around"),
    "checkpoint after": (lambda: Checkpointed(False), "use_reentrant=True. stands after"),
    "a container that is bypassed": (
        lambda: torch.fx.symbolic_trace(Small()),
        "'f' itself never ran: .*such as 'f.1'. Where more of .*ask the network untraced",
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("make", "sentence"), CAUSES.values(), ids=CAUSES)
def test_a_failure_is_called_by_its_cause(make, sentence):
    with pytest.raises(LayerError, match=sentence):
        GradCAM(make().eval(), "f")(X)


def checkpointed_all_over():
    model, inner = Small(), Small()
    model.forward = lambda x: model.h(checkpoint(inner.f, x, use_reentrant=True).mean((2, 3)))
    model.f = inner.f
    return model


def quantised_behind_a_pool():
    model = nn.Sequential(Small().f, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    return torch.ao.quantization.quantize_dynamic(model, {nn.Linear})


UNNAMED = {
    "checkpoints": (checkpointed_all_over, "use_reentrant=True. stands around every layer"),
    "exported": (
        lambda: torch.export.export(Small(), (X,)).module(),
        "An exported network calls no layer",
    ),
    "quantised": (quantised_behind_a_pool, "quantised: its layers have no gradient"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("make", "sentence"), UNNAMED.values(), ids=UNNAMED)
def test_a_failure_is_called_by_its_cause_where_no_layer_was_named(make, sentence):
    with pytest.raises(LayerError, match=sentence):
        GradCAM(make())(X)


class Pairs(Small):
    """Takes two images at a time."""

    def forward(self, x):
        return super().forward(x.reshape(2, 3, *x.shape[2:]))


class NoGrad(Small):
    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


class Recomputed(Small):
    def forward(self, x):
        return self.h(checkpoint(self.f, x, use_reentrant=False).mean(dim=(2, 3)))


@pytest.mark.parametrize("make", [Pairs, NoGrad, Recomputed])
@pytest.mark.parametrize("frozen", [False, True])
def test_the_layer_is_found_in_networks_that_are_hard_to_watch(make, frozen):
    x = torch.randn(2, 3, 12, 12)
    answer = GradCAM(make().requires_grad_(not frozen))(x, why=1)
    assert answer.layer in ("f", "f.1")
    torch.testing.assert_close(answer.evidence, GradCAM(Small(), "f")(x, why=1).evidence)


@pytest.mark.parametrize("ran_before", [False, True])
def test_a_compiled_network_answers_as_the_plain_one(ran_before):
    model = Small()
    compiled = torch.compile(model, backend="eager")
    if ran_before:
        compiled(X)
    expected = GradCAM(model, "f")(X, why=[0, 1]).evidence
    assert torch.equal(GradCAM(compiled, "_orig_mod.f")(X, why=[0, 1]).evidence, expected)


@pytest.mark.parametrize("layer", ["f", None])
def test_a_compiled_method_that_was_inherited_is_found(layer):
    class Base(Small):
        @torch.compile(backend="eager")
        def forward(self, x):
            return self.h(self.f(x).mean(dim=(2, 3)))

    class Heir(Base):
        pass

    model = Heir()
    with torch.no_grad():
        model(X)
    with pytest.raises(LayerError, match="A method of this Heir was compiled"):
        GradCAM(model, layer)(X, why=1)


@pytest.mark.parametrize("layer", ["f", None])
def test_a_network_with_a_compiled_method_that_ran_before_is_asked_in_a_block(layer):
    class Own(Small):  # whose forward method no other test compiles
        def forward(self, x):
            return self.h(self.f(x).mean(dim=(2, 3)))

    model = Own()
    expected = GradCAM(model, "f")(X, why=1).evidence
    model.forward = torch.compile(model.forward, backend="eager")
    with torch.no_grad():
        model(X)
    with pytest.raises(LayerError, match="A method of this Own was compiled .*force_eager"):
        GradCAM(model, layer)(X, why=1)
    with torch.compiler.set_stance("force_eager"):
        assert torch.equal(GradCAM(model, layer)(X, why=1).evidence, expected)
