"""Networks of odd construction, and what may stand around a call: right, or a sentence."""

import copy
import os
import signal
import threading
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import torch
from tiny_networks import start_at
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from course_utils.errors import ChanceWarning, ClassError, LayerError
from course_utils.methods.cams import ContrastCAM, GradCAM
from course_utils.methods.forward_pass import ForwardPass
from course_utils.methods.layers import default_layer
from course_utils.methods.running import undisturbed
from course_utils.methods.tensors import alike
from course_utils.networks.classifiers import load_classifier
from course_utils.quality.load import load_assessor


class Plain(nn.Module):
    """Two convolutions and a head of two layers; `f` is the layer."""

    def __init__(self, classes=5):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.f = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3)
        self.h = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, classes))
        self.eval()

    def head(self, a):
        return self.h(a.mean(dim=(2, 3)))

    def forward(self, x):
        return self.head(self.f(self.stem(x).relu()))


def images(n=2, side=16):
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(1))


def by_autograd(model, layer, x, classes=5):
    """S^c of every class by plain autograd, with a hook of its own: N x classes x h x w."""
    (a, y), maps = start_at(model, layer, x), []
    for c in range(classes):
        (gradient,) = torch.autograd.grad(y[:, c].sum(), a, retain_graph=True)
        maps.append((gradient.mean(dim=(2, 3), keepdim=True) * a).sum(dim=1).detach())
    return torch.stack(maps, dim=1)


@pytest.mark.parametrize("head", [nn.Linear(6, 5), None])
def test_inside_autocast_evidence_is_summed_in_full(head):
    """Weights of 1/(hw) vanish in float16: sums made under autocast were up to a third wrong."""
    model, x = Plain(), images(1, 256)
    model.h = head or model.h
    expected = by_autograd(model, "f", x)
    with torch.autocast("cpu", dtype=torch.float16):
        found = GradCAM(model, "f")(x, range(5)).evidence
        seen = ForwardPass(model, x, "f")
        maps, asked = seen.class_maps(), seen.evidence(v=torch.eye(5))
    for one in (found, maps, asked):
        assert one.dtype == torch.float32
        assert (one - expected).abs().max() < 0.004 * expected.abs().max()


def test_a_default_device_of_the_session_does_not_matter():
    """Under set_default_device("cuda") a generator of the CPU makes no random numbers there."""
    model, x, labels = Plain(), images(), torch.tensor([1, 2])
    torch.set_default_device("meta")
    try:
        found = ContrastCAM(model)(x, 1, [0, 2]).evidence, GradCAM(model)(x, labels).evidence
        assert default_layer(model) == "f"
    finally:
        torch.set_default_device(None)
    torch.testing.assert_close(found[1], GradCAM(Plain(), "f")(x, labels).evidence)
    assert torch.isfinite(found[0]).all()


def test_the_layer_of_a_network_made_under_inference_mode_is_found():
    with torch.inference_mode():
        model = Plain()
    found = GradCAM(model)(images(), 1)
    assert found.layer == "f"
    torch.testing.assert_close(found.evidence, GradCAM(Plain(), "f")(images(), 1).evidence)


@pytest.mark.parametrize("what", ["images", "network", "untrained head"])
def test_the_layer_is_found_inside_inference_mode(what):
    model, x = Plain(), images()
    with torch.inference_mode():
        x, model = (x.clone(), model) if what == "images" else (x, Plain())
        if what == "untrained head":
            nn.init.zeros_(model.h[2].weight)
        assert ForwardPass(model, x).layer == "f"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_does_not_wait_for_threads_that_it_does_not_have():
    model, held, done = Plain(), threading.Event(), threading.Event()

    def hold():
        with undisturbed(model):
            held.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(10)  # ends it if it waits for ever
        with undisturbed(model):
            os._exit(0)
    status = os.waitpid(child, 0)[1]
    done.set()
    thread.join()
    assert status == 0


class AmongImages(Plain):
    """The head compares an image with the others: one alone has no gradient."""

    def head(self, a):
        pooled = a.mean(dim=(2, 3))
        return self.h(pooled - pooled.mean(dim=0))


def test_a_network_that_compares_images_is_watched_with_all_of_them():
    model, x = AmongImages(), images(3)
    found = GradCAM(model)(x, range(5))
    assert found.layer == "f"
    torch.testing.assert_close(found.evidence, by_autograd(model, "f", x))


def test_an_image_without_a_gradient_does_not_spoil_the_next():
    model = Plain()
    model.h = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5))
    with torch.no_grad():
        model.h[0].bias.fill_(-1)
        model.stem.bias.zero_()
        model.f.bias.zero_()
    with pytest.raises(LayerError, match="zero all over"):
        GradCAM(model)(torch.zeros(1, 3, 16, 16))
    assert GradCAM(model)(100 * images()).layer == "f"


class Experts(Plain):
    """Each image goes to one of two experts: those of a positive mean to the second."""

    def __init__(self):
        super().__init__()
        self.expert = nn.ModuleList(nn.Conv2d(6, 6, 3, padding=1) for _ in range(2))
        self.eval()

    def forward(self, x):
        a = self.f(self.stem(x).relu())
        chosen, out = (x.mean(dim=(1, 2, 3)) > 0).long(), torch.zeros_like(a)
        for number, expert in enumerate(self.expert):
            some = (chosen == number).nonzero().flatten()
            if len(some):
                out = out.index_add(0, some, expert(a[some]))
        return self.head(out)


def test_an_expert_that_saw_some_images_only_gives_way():
    model, x = Experts(), images(3) + torch.tensor([1.0, -1, 1])[:, None, None, None]
    found = GradCAM(model)(x, range(5))
    assert found.layer == "f"
    torch.testing.assert_close(found.evidence, by_autograd(model, "f", x))
    with pytest.raises(LayerError, match="2 x 6 x 12 x 12.* ran for some images only"):
        GradCAM(model, "expert.1")(x)


def test_views_that_the_network_makes_itself_are_named():
    class Flipped(Plain):
        def forward(self, x):
            return super().forward(torch.cat([x, x.flip(3)])).view(2, len(x), -1).mean(dim=0)

    with pytest.raises(LayerError, match="'f' gives 2 grids for 1 item of x: .*folds views"):
        GradCAM(Flipped())(images())


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_part_in_torchscript_does_not_hide_the_layer():
    model = Plain()
    model.stem = torch.jit.script(model.stem)
    assert GradCAM(model)(images()).layer == "f"
    model = nn.Sequential(torch.jit.script(Plain().stem), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(LayerError, match="'0' of this Sequential is TorchScript"):
        GradCAM(model)(images())
    with pytest.raises(ValueError, match="float64"):  # not the scripted part's fault
        GradCAM(model)(images().double())


def test_inside_a_functorch_transform_the_sentence_says_so():
    model = Plain()

    def strength(x):
        return GradCAM(model, "f")(x[None], 1).evidence.sum()

    with pytest.raises(RuntimeError, match=r"Inside torch.func .* Ask outside of it"):
        torch.func.vmap(strength)(images())
    with pytest.raises(RuntimeError, match=r"Inside torch.func .* Ask outside of it"):
        torch.func.grad(strength)(images()[0])


def test_beside_an_improbable_p_a_large_strength_is_said_to_be_grad_cams_weakness():
    model, x = Plain(), images(1)
    with torch.no_grad():
        model.h[-1].weight[1] *= 1e-3
    found = ContrastCAM(model, "f", loss="logit_difference")(x, [1], list(range(5)))
    large = [q for q, s in zip(found.questions[0], found.strength[0]) if s > 10]
    assert large and all(f"{q}  (strength" in repr(found) for q in large)
    assert repr(found).count("Grad-CAM's own map is weak beside it") == len(large)


# --- what a user meets in the first ten minutes: the true cause, and a cure that works ------------


class Returning(Plain):
    """Returns what a function makes of the logits."""

    def __init__(self, pack):
        super().__init__()
        self.pack = pack

    def forward(self, x):
        return self.pack(super().forward(x))


class Labelled(Plain):
    def forward(self, x, *, labels):
        return super().forward(x)


class LacksAnInput(Plain):
    """Its own code calls a part without an input that the part needs."""

    def __init__(self):
        super().__init__()
        self.part = Labelled()

    def forward(self, x):
        return self.part(x)


class Rounding(Plain):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(self.f)
        self.f.register_forward_hook(lambda _module, _inputs, a: a.long())

    def head(self, a):
        return super().head(a.float())


def grey():
    model = Plain()
    model.stem = nn.Conv2d(1, 6, 3)
    return model


def ask(model=None, x=None, **more):
    return GradCAM(model or Plain(), "f", **more)(images() if x is None else x, 1)


def spoilt_weights():
    model = Plain()
    with torch.no_grad():
        model.h[0].weight[0, 0] = torch.nan
    return model


def with_nan(n):
    return images().index_fill(0, torch.tensor([n]), torch.nan)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: ask(x=images().numpy()), r"not ndarray.*torch.from_numpy\(x\).float\(\)"),
        (lambda: ask(x=list(images())), r"not list.*torch.stack\(x\)"),
        (lambda: ask(x=DataLoader(TensorDataset(images()))), "its batches one by one"),
        (lambda: ask(x=tuple(images())), r"2 items of the tuple.*torch.stack\(x\)"),
        (
            lambda: ask(x={"image": images()}),
            r"'image': the names in x must be those of its forward method, x\.$",
        ),
        (lambda: ask(x=images().to_sparse()), r"torch.sparse_coo.*x.to_dense\(\)"),
        (lambda: ask(x=images() + 0j), r"complex64.*x.abs\(\)"),
        (lambda: ask(x=images()[:, :, :0]), "2 x 3 x 0 x 16: images without pixels"),
        (lambda: ask(x=torch.nested.nested_tensor(list(images()))), "nested.*one at a time"),
        (lambda: ask(x=with_nan(1)), "^x holds NaN"),
        (lambda: ask(Returning(lambda y: y[:, 1]), with_nan(1)), "^x holds NaN"),  # one logit, N
        (lambda: ask(spoilt_weights()), r"weights hold NaN \('h.0.weight'\)"),
        (lambda: ask(Returning(lambda y: y.argmax(1))), "returned int64 numbers, as argmax"),
        (lambda: ask(Returning(lambda y: y + 0j)), r"complex numbers.*y.abs\(\)"),
        (lambda: ask(Returning(lambda y: y.T)), r"5 rows for 2 images.*y\.T"),
        (lambda: ask(Returning(lambda y: y[:, None])), r"2 x 1 x 5.*lambda y: y.flatten\(1\)"),
        (lambda: ask(Returning(lambda y: torch.tensor(y.numpy()))), "NumPy.*no gradient passes"),
        (lambda: ask(output="logits"), "output= is a function.*not a str"),
        (lambda: ask(output=lambda y: y[:, 9]), "output= failed: IndexError.*returned a Tensor"),
        (lambda: ask(output=lambda y: y.detach()), "output= cuts the gradient"),
        (lambda: ask(output=lambda y: y.numpy()), "output= cuts the gradient"),
        (lambda: ask(output=lambda y, z: y), r"^output= failed: TypeError: .*missing 1"),
        (lambda: ask(reshape_transform=lambda a, b: a), r"^reshape_transform= failed.*missing 1"),
        (lambda: ask(reshape_transform=lambda a: a.sum()), "read as a grid, is a single number"),
        (lambda: ask(reshape_transform=lambda a: a.long()), "tensor of torch.int64, not"),
        (
            lambda: ask(reshape_transform=lambda a: a.mean((2, 3), keepdim=True)),
            "x 1 x 1, a single place, of the layer's",
        ),
        (lambda: ask(x=(images(), torch.arange(2))), r"\(images, labels\).* x\[0\]"),
        (lambda: ask(x=images()[0].movedim(0, -1)), r"floats: x.movedim\(-1, 0\)\[None\]\.$"),
        (lambda: ask(x=images()[None]), r"floats: x.flatten\(0, 1\)\.$"),
        (lambda: ask(x=images()[:, :1]), r"floats: x.expand\(-1, 3, -1, -1\) repeats"),
        (lambda: ask(x=images()[:, [0, 1, 2, 2]]), r"floats: x\[:, :3\] leaves"),
        (lambda: ask(grey(), images()), r"floats: x.mean\(1, keepdim=True\) makes it grey\.$"),
        (lambda: ask(grey(), images()[:, 0]), r"floats: x\[:, None\]\.$"),
        (lambda: ask(Rounding()), r"'f' returns a tensor of torch.int64, not"),
        (lambda: GradCAM(Plain(), "module.f"), "no layer 'module.f'. Did you mean 'f'"),
        (lambda: GradCAM(nn.DataParallel(Plain()), "f"), "Did you mean 'module.f'"),
        (lambda: load_assessor(images()), r"not a Tensor.*score\(photo, reference\)"),
        (lambda: ask(Labelled()), r"'labels'\).*: x=\{'x': images, 'labels': ...\}\.$"),
        (lambda: ask(LacksAnInput()), r"^Labelled\.forward\(\) missing"),
        (lambda: GradCAM(partial(Plain())), "not a partial. If it calls a network"),
        (
            lambda: ForwardPass(Plain(), images()).ask(lambda y: y),
            r"\(2, 5\). One to this output is",
        ),
        (lambda: load_classifier(Plain()), r"network of your own .* GradCAM\(model\)"),
        (lambda: ask(reshape_transform="vit"), "reshape_transform= is a function"),
        (lambda: ask(reshape_transform=lambda a: [a]), "reshape_transform= gave a list"),
        (lambda: GradCAM(Plain(), nn.Conv2d), "not as the class Conv2d"),
        (lambda: GradCAM(Plain(), images()), "not as Tensor"),
        (lambda: GradCAM(Plain), r"not the class Plain: make a network of it, Plain\(...\)"),
        (lambda: GradCAM(Plain().state_dict()), r"model.load_state_dict\(weights\)"),
        (lambda: GradCAM(Plain().forward), "not a function"),
        (lambda: GradCAM(), "^GradCAM takes model, layer"),
        (lambda: GradCAM(Plain())(images(), 1, 2), "^GradCAM takes x, why, keep"),
        (lambda: GradCAM(Plain())(ForwardPass(Plain(), images())), "of another network"),
        (lambda: ForwardPass(Plain(), images()).ask(3), "A question is a function.*not an int"),
    ],
)
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_a_misuse_is_called_by_its_cause_with_a_cure(call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call()


def test_a_pass_at_the_first_layer_by_number_is_not_taken_for_one_at_the_default():
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 5),
    )  # fmt: skip
    cam = GradCAM(model)
    assert cam(images()).layer == "1"
    with pytest.raises(
        ValueError, match="was kept at '0' of a Sequential; this method asks at '1'"
    ):
        cam(ForwardPass(model, images(), 0))


def test_a_slice_of_the_network_brings_the_layer_to_name():
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)
    )
    with pytest.raises(LayerError, match="no module of this Sequential.*last of them, '1'"):
        GradCAM(model, model[:2])
    assert GradCAM(model, "1")(images()).evidence.shape == (2, 1, 14, 14)


@pytest.mark.parametrize(
    "pack, way",
    [
        (lambda y: {"logits": [y, y]}, "y['logits'][0]"),
        (lambda y: {"logits": None, "p": y}, "y['p']"),
    ],
)
def test_the_line_for_logits_that_are_no_tensor_works(pack, way):
    with pytest.raises(TypeError) as error:
        ask(Returning(pack))
    assert f"GradCAM(model, output=lambda y: {way})(x)" in str(error.value)
    found = ask(Returning(pack), output=eval(f"lambda y: {way}"))
    torch.testing.assert_close(found.evidence, ask().evidence)


def test_a_class_that_is_ruled_out_by_minus_infinity_may_stand_beside_others():
    masked = Returning(lambda y: y.masked_fill(torch.arange(5) == 2, -torch.inf))
    torch.testing.assert_close(ask(masked).evidence, ask().evidence)
    found = ContrastCAM(masked, "f")(images(), 1, [0, 2]).evidence
    assert found.isfinite().all()
    with pytest.raises(ValueError, match="answer holds NaN or infinity"):
        ask(Returning(lambda y: y - torch.inf))


def test_cotangents_may_be_an_array_or_a_list():
    seen = ForwardPass(Plain(), images(), "f")
    rows = [[0, 1, 0, 0, 0], [1, 0, 0, 0, -1]]
    expected = seen.evidence(torch.tensor(rows).float())
    torch.testing.assert_close(seen.evidence(rows), expected)
    torch.testing.assert_close(seen.evidence(np.array(rows, float)), expected)


@pytest.mark.parametrize(
    "v, words",
    [
        ("tabby", r"not a str\. To ask about a class by number or name: GradCAM"),
        (None, "not a NoneType"),
        (torch.ones(1, 5) * 1j, "these are complex64"),
        (torch.ones(1, 5).to_sparse(), "these are sparse_coo"),
        (torch.ones(1, 5, device="meta"), "these are meta"),  # it was read as numbers of chance
        (torch.ones(2, 0, 5), "are 2 x 0 x 5; questions to this output are 2 x K x 5"),
        (1, "are 1; questions"),
    ],
)
def test_cotangents_that_are_no_plain_numbers_have_their_sentence(v, words):
    seen = ForwardPass(Plain(), images(), "f")
    with pytest.raises(ValueError, match=words):
        seen.evidence(v)


@pytest.mark.parametrize(
    "pack", [lambda y: y, lambda y: y[:, 0], lambda y: y[:, :, None, None].expand(-1, -1, 4, 4)]
)
def test_the_question_that_a_sentence_names_can_be_put_to_this_output(pack):
    seen = ForwardPass(Returning(pack), images(), "f")
    with pytest.raises(ValueError, match="One to this output is ") as said:
        seen.ask(lambda y: (y, y))
    code = str(said.value).partition("output is ")[2].removesuffix(".")
    assert seen.ask(eval(code)).shape == (2, 1, 12, 12)


def test_a_complex_question_is_refused():
    with pytest.raises(ValueError, match="ask for a real number"):
        ForwardPass(Plain(), images(), "f").ask(lambda y: y[:, 0] * 1j)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda y: y.to_sparse(), r"sparse tensor.*output=lambda y: y\.to_dense\(\)"),
        (lambda y: y[:, :0], "is 2 x 0: it holds no class"),
        (lambda y: y.to("meta"), "is on the device 'meta'"),
    ],
)
def test_an_output_that_no_question_can_be_put_to_has_its_sentence(change, words):
    with pytest.raises((TypeError, ClassError), match=words):
        ask(Returning(change))
    with pytest.raises((TypeError, ClassError), match=words):
        GradCAM(Returning(change))(images())


def test_a_sparse_outputs_cure_is_right():
    found = GradCAM(Returning(lambda y: y.to_sparse()), "f", output=lambda y: y.to_dense())
    torch.testing.assert_close(
        found(images(), 1).evidence, GradCAM(Plain(), "f")(images(), 1).evidence
    )


class Spectrogram(nn.Module):
    """Signals N x L, made a picture of frequencies and times inside."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.f, self.h = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, 5)
        self.eval()

    def forward(self, x):
        window = torch.hann_window(16)
        a = self.f(torch.stft(x, 16, window=window, return_complex=True).abs()[:, None])
        return self.h(a.mean(dim=(2, 3)))


def test_a_spectrogram_of_signals_is_explained_as_the_sentence_says():
    model, x = Spectrogram(), torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    with pytest.raises(LayerError, match=r"'f', reshape_transform=lambda a: a\.mean\(2\)"):
        GradCAM(model)(x)
    whole = by_autograd(model, "f", x)
    found = GradCAM(model, "f", reshape_transform=lambda a: a.mean(2))(x, 1)
    torch.testing.assert_close(found.evidence[:, 0], whole[:, 1].mean(1))


def test_where_the_first_layer_leaves_one_place_x_itself_can_be_explained():
    model = nn.Sequential(nn.Conv2d(3, 4, 16), nn.Flatten(), nn.Linear(4, 5))
    with pytest.raises(LayerError) as error:
        GradCAM(model)(images())
    line = "GradCAM(torch.nn.Sequential(torch.nn.Identity(), model))"
    assert line in str(error.value)
    names = {"GradCAM": GradCAM, "torch": torch, "model": model}
    found = eval(line, names)(images(), range(5))
    torch.testing.assert_close(
        found.evidence, by_autograd(nn.Sequential(nn.Identity(), model), "0", images())
    )


class Rows(nn.Module):
    """Two inputs, each read as one row of numbers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.h = nn.Sequential(nn.Linear(3 * 16 * 16 + 2, 8), nn.ReLU(), nn.Linear(8, 5))
        self.eval()

    def forward(self, age, image):
        return self.h(torch.cat([image.flatten(1), age], dim=1))


@pytest.mark.parametrize("kind", [tuple, dict])
def test_of_several_inputs_too_the_line_for_x_itself_works(kind):
    model, inputs = Rows(), {"age": torch.ones(2, 2), "image": images()}
    x = inputs if kind is dict else tuple(inputs.values())
    with pytest.raises(LayerError) as error:
        GradCAM(model)(x)
    code = str(error.value).partition("hands it on: ")[2].partition(". This network")[0]
    *lines, last = code.split(", then ")
    names = {"GradCAM": GradCAM, "torch": torch, "model": model}
    for line in lines:
        exec(line, names)
    found = eval(last, names)(x, range(5)).evidence
    reference = nn.Sequential(nn.Identity(), Fixed(Rows(), inputs["age"]))
    torch.testing.assert_close(found, by_autograd(reference, "0", images()))


class Fixed(nn.Module):
    """A network of two inputs with the first one given."""

    def __init__(self, model, age):
        super().__init__()
        self.model, self.age = model, age

    def forward(self, x):
        return self.model(self.age, x)


class Patched(nn.Module):
    """A series N x L x V; each variable is cut into patches of its own, which join the batch."""

    def __init__(self, apart):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.mix, self.h = nn.Linear(16, 8), nn.Linear(8, 8), nn.Linear(24 * 6, 5)
        self.apart = apart
        self.eval()

    def forward(self, x):
        t = self.embed(x.mT.unfold(-1, 16, 16))  # N x V x T x d
        t = self.mix(t if self.apart else t.flatten(0, 1))
        return self.h(t.relu().reshape(len(x), 3, 6, 8).movedim(1, 3).flatten(1))


@pytest.mark.parametrize("apart", [True, False])
def test_patches_of_each_variable_are_explained_as_the_sentence_says(apart):
    model, x = Patched(apart), torch.randn(2, 96, 3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(LayerError, match="each of the 3 variables of x into 6 patches") as error:
        GradCAM(model)(x)
    code = str(error.value).partition("variables: ")[2].partition(". This network")[0]
    found = eval(code, {"GradCAM": GradCAM, "model": model})(x, 2)
    assert found.layer == "mix" and found.maps.shape == (2, 1, 96)
    kept = []
    model.mix.register_forward_hook(lambda m, i, a: kept.append(a.retain_grad() or a))
    model(x)[:, 2].sum().backward()
    a, g = (t.view(2, 3, 6, 8).mean(1) for t in (kept[0].detach(), kept[0].grad))
    torch.testing.assert_close(found.evidence[:, 0], (g.mean(1, keepdim=True) * a).sum(2))


class Frames(Plain):
    """Of N x T x C x H x W it reads each frame by itself, and takes the mean of their answers."""

    def forward(self, x):
        return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2]).mean(dim=1)


def test_frames_in_the_batch_are_explained_together_as_the_sentence_says():
    x = images(6).unflatten(0, (2, 3))
    with pytest.raises(LayerError) as error:
        GradCAM(Frames())(x)
    code = str(error.value).partition("at once: ")[2].partition(", a map of d x h x w")[0]
    found = eval(code, {"GradCAM": GradCAM, "model": Frames()})(x, range(5))
    assert found.maps.shape == (2, 5, 3, 16, 16)
    kept, model = [], Frames()
    model.f.register_forward_hook(lambda m, i, a: kept.append(a.retain_grad() or a))
    model(x)[:, 4].sum().backward()
    a, g = (t.unflatten(0, (2, 3)).movedim(1, 2) for t in (kept[0].detach(), kept[0].grad))
    expected = (g.mean(dim=(2, 3, 4), keepdim=True) * a).sum(1)
    torch.testing.assert_close(found.evidence[:, 4], expected)


class Bag(Plain):
    """All images together have one answer."""

    def head(self, a):
        return super().head(a).amax(dim=0, keepdim=True)


def test_a_bag_of_images_with_one_answer_is_asked_as_the_sentence_says():
    with pytest.raises(LayerError, match="gave 1 row for 4 images.*bag with one answer") as error:
        GradCAM(Bag())(images(4))
    code = str(error.value).partition("of each: output=")[2].partition(", whose")[0]
    found = GradCAM(Bag(), output=eval(code, {"torch": torch}))(images(4), range(5)).evidence / 4
    torch.testing.assert_close(found, by_autograd(Bag(), "f", images(4)))


# --- the network's own ways to switch gradients off -----------------------------------------------


class Frozen(Plain):
    """Its backbone runs in a block of its own."""

    def __init__(self, block):
        super().__init__()
        self.block, self.backbone = block, nn.Sequential(self.stem, nn.ReLU(), self.f)

    def forward(self, x):
        with self.block():
            a = self.backbone(x)
        return self.head(a)


@pytest.mark.parametrize("layer", [None, "backbone", "backbone.2"])
def test_behind_a_block_of_inference_mode_the_map_is_that_without_it(layer):
    found = GradCAM(Frozen(torch.inference_mode), layer)(images(), range(5))
    assert found.layer == (layer or "backbone")
    torch.testing.assert_close(
        found.evidence, by_autograd(Frozen(nullcontext), "backbone", images())
    )


def test_a_layer_behind_a_block_of_inference_mode_is_found():
    model = Frozen(torch.inference_mode)
    model.then = nn.Conv2d(6, 6, 3)
    model.head = lambda a: model.h(model.then(a).mean(dim=(2, 3)))
    assert GradCAM(model)(images()).layer == "then"


def test_inside_a_block_of_inference_mode_the_sentence_says_so():
    with pytest.raises(LayerError, match="no gradient at any layer inside but the last. Remove"):
        GradCAM(Frozen(torch.inference_mode), "stem")(images())
    assert GradCAM(Frozen(nullcontext), "stem")(images()).layer == "stem"


class Detached(Frozen):
    """Cuts what its backbone gives out of the graph."""

    def forward(self, x):
        return self.head(self.grid(self.backbone(x).detach()))


def test_behind_a_cut_the_layer_that_the_sentence_names_is_found():
    model = Detached(nullcontext)
    model.grid = lambda a: a
    with pytest.raises(LayerError, match=r"self\.grid = torch\.nn\.Identity\(\)"):
        GradCAM(model)(images())
    del model.grid
    model.grid = torch.nn.Identity()
    found = GradCAM(model)(images(), range(5))
    assert found.layer == "grid"
    torch.testing.assert_close(found.evidence, by_autograd(model, "grid", images()))


class Sensitive(Plain):
    """Reads the gradient of its own features, back to the image."""

    def __init__(self):
        super().__init__()
        self.grid = nn.Identity()

    def forward(self, x):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            energy = self.f(self.stem(x).relu()).square().sum()
            (gradient,) = torch.autograd.grad(energy, x, create_graph=True)
        return self.head(self.grid(gradient.repeat(1, 2, 1, 1)))


def test_a_network_that_takes_gradients_itself_is_asked_behind_them():
    model = Sensitive()
    with pytest.raises(RuntimeError, match="takes gradients of its own .* Name a layer behind"):
        GradCAM(model)(images())
    found = GradCAM(model, "grid")(images(), range(5)).evidence
    torch.testing.assert_close(found, by_autograd(model, "grid", images()))


# --- weights that are not there yet, or cannot be computed with -----------------------------------


def test_a_lazy_network_that_never_ran_is_made_by_the_first_question():
    model = nn.Sequential(
        nn.LazyConv2d(4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(5)
    ).eval()
    found = GradCAM(model)(images(), range(5))
    assert found.layer == "1"
    torch.testing.assert_close(found.evidence, by_autograd(model, "1", images()))


def test_weights_in_float8_have_their_sentence_and_its_cure_works():
    model = Plain()
    model.h.to(torch.float8_e4m3fn)
    with pytest.raises(TypeError, match=r"float8.*copy\.deepcopy\(model\)\.float\(\)"):
        GradCAM(model)(images())
    assert GradCAM(copy.deepcopy(model).float())(images()).layer == "f"


@pytest.mark.parametrize("layer", ["f", None])
def test_an_iterator_that_is_used_up_inside_the_network_is_named(layer):
    model = Plain()
    model.head = lambda a: a * next(nn.Identity().parameters())
    with pytest.raises(RuntimeError, match=r"Plain itself fails: next\(\) was called"):
        GradCAM(model, layer)(images())


# --- layers that pass the rule, and are not what one wants ----------------------------------------


class Gated(Plain):
    """The mean of its places, each weighed by a gate of one channel."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Conv2d(6, 1, 1)

    def forward(self, x):
        a = self.f(self.stem(x).relu())
        return self.head(a * self.gate(a).sigmoid())


def test_a_gate_of_one_channel_gives_way_to_the_layer_that_it_weighs():
    found = GradCAM(Gated())(images(), range(5))
    assert found.layer == "f" and "but for 'gate', which has one channel" in found.layer_reason
    torch.testing.assert_close(found.evidence, by_autograd(Gated(), "f", images()))


class Branches(nn.Module):
    """Two networks whose answers are averaged."""

    def __init__(self):
        super().__init__()
        self.one, self.two = Plain(), Plain()

    def forward(self, x):
        return (self.one(x) + self.two(x)) / 2


def test_of_a_layer_in_one_branch_of_several_the_reason_names_another():
    assert "beside which 'one.f' stands" in GradCAM(Branches())(images()).layer_reason
    assert "beside" not in GradCAM(Plain())(images()).layer_reason


class InARow(nn.Module):
    """Places in a row, N x C x T, read by 1-D convolutions; 16 channels would fit 4 x 4 places."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.mix = nn.Conv2d(3, 16, 4, 4), nn.Conv1d(16, 16, 3, padding=1)
        self.norm, self.h = nn.BatchNorm1d(16), nn.Linear(16, 5)
        self.eval()

    def forward(self, x):
        return self.h(self.norm(self.mix(self.embed(x).flatten(2))).relu().mean(dim=2))


def test_channels_before_a_row_of_places_are_not_taken_for_places():
    seen = ForwardPass(InARow(), images(2, 32))
    assert seen.layer == "norm" and seen.activations.shape == (2, 16, 8, 8)
    assert torch.equal(seen.activations.flatten(2), seen._leaf.detach())
    assert ForwardPass(InARow(), images(2, 32), "mix").activations.shape == (2, 16, 8, 8)


def test_a_layer_that_gives_no_token_at_all_has_the_sentence_of_a_layer_without_places():
    model = Plain()
    model.prompts = nn.Identity()
    model.head = lambda a: model.prompts(a.new_zeros(2, 0, 5)).sum(1) + Plain.head(model, a)
    with pytest.raises(LayerError, match="'prompts' gives 2 x 0 x 5, which is not N x C x h x w"):
        GradCAM(model, "prompts")(images())


class Between(nn.Module):
    """Registers stand between the tokens of an image, as a class token in the middle does."""

    def __init__(self, at):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.extra = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.randn(len(at), 8))
        self.norm, self.h, self.at = nn.LayerNorm(8), nn.Linear(8, 5), list(at)
        self.eval()

    def forward(self, x):
        t = self.embed(x).flatten(2).mT
        for i, extra in zip(self.at, self.extra):
            t = torch.cat([t[:, :i], extra.expand(len(x), 1, -1), t[:, i:]], dim=1)
        return self.h(self.norm(t).relu().cumsum(1)[:, self.at].mean(1))


@pytest.mark.parametrize("at", [(32,), (5, 20, 50), (0, 40)])
def test_tokens_between_those_of_the_image_are_no_places(at):
    seen = ForwardPass(Between(at), images(2, 32))
    assert seen.layer == "norm" and seen.activations.shape == (2, 8, 8, 8)
    others = [i for i in range(64 + len(at)) if i not in at]
    assert torch.equal(seen.activations.flatten(2).mT, seen._leaf.detach()[:, others])
    expected = seen.gradients(torch.eye(5)).mean(dim=(3, 4))
    torch.testing.assert_close(seen.weights(torch.eye(5)), expected)


# --- networks that draw random numbers in evaluation mode -----------------------------------------


class Drawing(Plain):
    """Draws in each pass: noise before the layer, a dropout that stays on behind it, or in vain."""

    def __init__(self, draw):
        super().__init__()
        self.draw = draw

    def forward(self, x):
        x = x + float(np.random.rand()) if self.draw == "noise" else x
        a = self.f(self.stem(x).relu())
        drawn = nn.functional.dropout(a, 0.5)
        return self.head(drawn if self.draw == "dropout" else a)


@pytest.mark.parametrize(("draw", "first"), [("noise", "stem"), ("dropout", "h.0")])
@pytest.mark.parametrize("layer", [None, "f"])
def test_of_a_network_that_answers_by_chance_it_is_warned(layer, draw, first):
    cam = GradCAM(Drawing(draw), layer)
    with pytest.warns(ChanceWarning, match=f"Drawing draws .* differ from '{first}' on") as said:
        cam(images())
    assert [one.filename for one in said] == [__file__]


@pytest.mark.parametrize("seed", range(6))
def test_it_is_warned_of_a_coin_that_falls_on_the_same_side_twice(seed):
    class Mirroring(Plain):
        def forward(self, x):
            return super().forward(x.flip(3) if torch.rand(()) < 0.5 else x)

    model = Mirroring()
    torch.manual_seed(seed)
    with pytest.warns(ChanceWarning, match="Mirroring mirrors, turns or shuffles x at random"):
        GradCAM(model, "stem")(images())


def test_numbers_of_chance_beside_infinity_are_no_round_off():
    one, two = (
        torch.tensor([-torch.inf, torch.nan, 1.0]),
        torch.tensor([-torch.inf, torch.nan, 2.0]),
    )
    assert alike(one, one.clone()) and not alike(one, two)
    assert not alike(one[:1], two[2:])


class Shuffling(Plain):
    """As ViLT: the patches are put into a random order; the mean of all of them hides it."""

    def __init__(self):
        super().__init__()
        self.f = nn.Conv2d(6, 6, 1)

    def forward(self, x):
        a = self.stem(x).flatten(2)
        a = self.f(a[:, :, torch.randperm(a.shape[2])].unflatten(2, (14, 14)))
        return self.head(a)


def test_of_passes_that_keep_other_numbers_of_tokens_it_is_warned():
    class Sampling(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.some, self.head = nn.Conv2d(3, 4, 4, 4), nn.Identity(), nn.Linear(4, 3)

        def forward(self, x):
            tokens = self.embed(x).flatten(2).mT
            return self.head(self.some(tokens[:, : int(torch.randint(2, 9, ()))]).mean(1))

    with pytest.warns(ChanceWarning, match="two passes of one image differ from 'some' on"):
        GradCAM(Sampling(), "embed")(images())


def test_of_places_in_a_random_order_it_is_warned_and_the_layer_before_is_named():
    model = Shuffling()
    with pytest.warns(ChanceWarning, match="random order.*'f' on.*before that: layer='stem'"):
        GradCAM(model)(images())
    answer = GradCAM(model, "stem")(images(), why=1)
    torch.testing.assert_close(answer.evidence, by_autograd(model, "stem", images())[:, 1:2])


class Sampling(nn.Module):
    """As a masked autoencoder left on: 16 of 64 patches, which might be a grid of 4 x 4."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.norm, self.h = nn.Conv2d(3, 8, 2, 2), nn.LayerNorm(8), nn.Linear(8, 5)
        self.eval()

    def forward(self, x):
        t = self.embed(x).flatten(2).mT
        t = self.norm(t[:, torch.randperm(64)[:16]])
        return self.h((t + nn.functional.scaled_dot_product_attention(t, t, t)).mean(dim=1))


def test_of_drawn_patches_it_is_warned_that_the_map_lies_anywhere():
    words = "'norm' on.*patches that are drawn.* anywhere.*before that: layer='embed'"
    with pytest.warns(ChanceWarning, match=words):
        grid = lambda a: a.mT.unflatten(2, (4, 4))  # noqa: E731
        GradCAM(Sampling(), "norm", reshape_transform=grid)(images())
    with pytest.warns(ChanceWarning, match="'norm' on, and a map shows one draw of many"):
        assert GradCAM(Sampling())(images()).layer == "embed"


@pytest.mark.parametrize("make", [Plain, lambda: Drawing("in vain")])
def test_of_what_gives_the_same_map_each_time_it_is_not_warned(make, recwarn):
    GradCAM(make())(images())
    assert not recwarn.list


class RunsAgain(torch.autograd.Function):
    """x + f(x), as in reversible networks: f runs again in the backward pass."""

    @staticmethod
    def forward(ctx, x, f):
        ctx.save_for_backward(x)
        ctx.f = f
        return x + f(x)

    @staticmethod
    def backward(ctx, gradient):
        x = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad():
            (x + ctx.f(x)).backward(gradient)
        return x.grad, None


@pytest.mark.parametrize("held", [None, 3.0])
def test_a_function_that_runs_a_part_again_leaves_no_gradient_at_its_weights(held):
    class Reversible(Plain):
        def __init__(self):
            super().__init__()
            self.again = nn.Conv2d(6, 6, 3, padding=1)

        def forward(self, x):
            return self.head(RunsAgain.apply(self.f(self.stem(x)), self.again))

    model, x = Reversible().eval(), torch.randn(2, 3, 8, 8)
    weight = model.again.weight
    weight.grad = None if held is None else torch.full_like(weight, held)
    seen = ForwardPass(model, x)
    GradCAM(model)(seen, why=[0, 1]), GradCAM(model, "f")(x, why=1)
    assert weight.grad is None if held is None else bool((weight.grad == held).all())


class Doing(Plain):
    """As `Plain`, with a forward method of the test's choice."""

    def __init__(self, forward):
        super().__init__()
        self.does = forward

    def forward(self, x):
        return self.does(self, self.f(self.stem(x).relu()))


def times_what_keeps_no_gradient(model, a):
    with torch.inference_mode():
        factors = a.mean().repeat(6)
    return model.h(a.mean(dim=(2, 3)) * factors)


def checkpointed(model, a):
    return checkpoint(model.h, a.mean(dim=(2, 3)), use_reentrant=True)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # of checkpoint
@pytest.mark.parametrize(
    "forward, words",
    [
        (lambda m, a: m.head(a).detach(), "No gradient of Doing's output reaches a layer"),
        (times_what_keeps_no_gradient, "or of a part of it, runs under torch.inference_mode"),
        (checkpointed, r"old kind \(use_reentrant=True\) stands after the layer"),
    ],
)
def test_what_keeps_the_gradient_from_all_layers_is_named(forward, words):
    with pytest.raises(LayerError, match=words):
        GradCAM(Doing(forward))(images())


def test_a_wrapper_that_hands_on_all_it_is_given_lacks_an_input_as_the_network_inside_does():
    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = nn.Bilinear(2, 2, 2)

        def forward(self, *inputs):
            return self.inside(*inputs)

    with pytest.raises(TypeError, match="Wrapper wants more than one input .*'input2': ..."):
        GradCAM(Wrapper())(images())


def test_of_a_dense_output_there_is_no_map_of_each_class():
    dense = ForwardPass(Doing(lambda m, a: a), images(), "f")
    with pytest.raises(ValueError, match=r"not N x classes: evidence\(v\) answers any question"):
        dense.class_maps()


def test_of_pixels_that_a_linear_layer_reads_one_by_one_the_channels_stand_last():
    class Pixelwise(nn.Module):
        def __init__(self):
            super().__init__()
            self.pixels, self.f, self.h = nn.Linear(4, 5), nn.Conv2d(5, 6, 3), nn.Linear(6, 5)

        def forward(self, x):
            return self.h(self.f(self.pixels(x).movedim(-1, 1)).relu().mean(dim=(2, 3)))

    model, x = Pixelwise(), torch.randn(2, 14, 18, 4)
    found = GradCAM(model, "f")(x, range(5))
    assert found.maps.shape[2:] == (14, 18)
    torch.testing.assert_close(found.evidence, by_autograd(model, "f", x))


def test_a_named_layer_is_answered_where_the_network_cannot_be_watched():
    """With a hook at each layer, what becomes an array has a gradient, which NumPy refuses."""

    class Arrays(Plain):
        def forward(self, x):
            a = self.stem(x.repeat(1, 3, 1, 1))
            return self.head(self.f(torch.from_numpy(a.numpy())))

    class Tensors(Plain):
        def forward(self, x):
            return self.head(self.f(self.stem(x.repeat(1, 3, 1, 1))))

    x = images()[:, :1, :, :12]
    found = GradCAM(Arrays(), "f")(x, range(5))
    torch.testing.assert_close(found.evidence, by_autograd(Tensors(), "f", x))


def test_what_a_network_packs_away_is_not_unpacked_to_look_for_percent():
    def refuse(_packed):
        raise AssertionError("unpacked")

    def hundred(model, a):
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t, refuse):
            return model.head(a) * torch.tensor(100.0)

    assert ForwardPass(Doing(hundred), images(), "f").probabilities().shape == (2, 5)
