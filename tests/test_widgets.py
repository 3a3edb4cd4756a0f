"""The explorer without a page: what each control does, what the status line says, what it costs."""

import base64
import datetime
import html
import io
import re
from html.parser import HTMLParser
from urllib.error import URLError

import ipywidgets
import nbformat
import numpy as np
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook
from notebook_run import run_notebook
from PIL import Image
from static_widgets import WidgetError
from torch import nn

from course_utils import ContrastCAM, GradCAM, load_classifier
from course_utils.birds import draw
from course_utils.errors import ClassError, ImageError
from course_utils.explorers.birds import bird_explorer, known_parts
from course_utils.explorers.contrast import NONE, OPACITIES, ContrastExplorer
from course_utils.explorers.contrast_view import _percent, in_digits, search_in_words
from course_utils.figures import overlay
from course_utils.measures import energy_inside
from course_utils.networks.preprocess import Preprocess

SIDE = 8


class Tiny(nn.Module):
    """Two features, the photo's red and its green, and four classes: maps that can be worked out
    by hand.
    """

    categories = ["cat", "dog", "cup", "red fox"]
    layer = "second"
    preprocess = Preprocess(SIDE, SIDE, (0,) * 3, (1,) * 3)

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 1, bias=False), nn.Conv2d(3, 2, 1, bias=False)
        self.head = nn.Linear(2, 4, bias=False)
        with torch.no_grad():
            self.first.weight[:] = torch.eye(3)[..., None, None]
            self.second.weight[:] = torch.eye(3)[:2, :, None, None]
            self.head.weight[:] = torch.tensor([[4.0, 0.0], [0.0, 4.0], [0.0, 0.0], [-4.0, -4.0]])
        self.eval()

    def forward(self, x):
        return self.head(self.second(self.first(x)).mean(dim=(2, 3)))


def half(left=(255, 0, 0), right=(0, 255, 0)) -> Image.Image:
    """A photo of two colours; red on the left, green on the right."""
    photo = Image.new("RGB", (SIDE, SIDE), right)
    photo.paste(left, (0, 0, SIDE // 2, SIDE))
    return photo


PHOTOS = {"red": half((255, 0, 0), (255, 128, 0)), "halves": half()}


def tiny(**how) -> ContrastExplorer:
    return ContrastExplorer(classifier=Tiny(), photos=PHOTOS, **how)


@pytest.fixture(scope="module")
def network():
    return load_classifier()


@pytest.fixture
def explorer(network):
    """On the cat, with 1000 classes; its network runs once, here."""
    return ContrastExplorer(
        classifier=network, photo="chelsea", why="tiger cat", rather_than=["tabby", "espresso"]
    )


def words(explorer) -> str:
    """The status line as it is read."""
    return html.unescape(re.sub("<[^>]+>", "", explorer.status.value))


class Figures(HTMLParser):
    """The pictures on a page, with their alt texts and captions."""

    def __init__(self, explorer):
        super().__init__()
        self.alts, self.captions, self._inside = [], [], False
        self.feed(explorer.pictures.value)

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.alts.append(dict(attributes).get("alt", ""))
        self._inside = tag == "figcaption"

    def handle_data(self, data):
        if self._inside:
            self.captions.append(data)


def pixels(explorer) -> list[np.ndarray]:
    """The pictures themselves, H x W x 3 numbers."""
    found = re.findall("base64,([^']+)'", explorer.pictures.value)
    files = [io.BytesIO(base64.b64decode(data)) for data in found]
    return [np.asarray(Image.open(file), float) for file in files]


def upload(explorer, name: str, content: bytes) -> None:
    now = datetime.datetime(2026, 1, 1)
    file = {"name": name, "type": "image/png", "size": len(content), "content": memoryview(content)}
    explorer.upload.value = ({**file, "last_modified": now},)


def png(photo: Image.Image) -> bytes:
    buffer = io.BytesIO()
    photo.save(buffer, "png")
    return buffer.getvalue()


class TestTheForwardPassIsKept:
    def test_a_new_question_runs_no_layer_before_the_head(self, network, explorer):
        runs = []
        handles = [
            m.register_forward_hook(lambda *_: runs.append(1)) for m in (network, network.conv_stem)
        ]
        explorer.rather_than[0].value = network.categories.index("Egyptian cat")
        explorer.why.value = network.categories.index("lynx")
        explorer.loss.value = "logit_difference"
        explorer.overlay.value = OPACITIES["strong"]
        explorer.search.value = "espr"
        asked = len(runs)
        explorer.layer.value = "blocks.4"
        for handle in handles:
            handle.remove()
        assert (asked, len(runs)) == (0, 2)  # the hooks count: a new layer runs the network

    def test_each_change_is_answered_once(self, explorer, monkeypatch):
        drawn, draw = [], explorer._redraw
        monkeypatch.setattr(explorer, "_redraw", lambda: (drawn.append(1), draw()))
        explorer.photo.value = "coffee"  # also fills the class lists anew
        explorer.rather_than[0].value = 0
        assert len(drawn) == 2


class TestStatusLine:
    def test_probabilities_are_those_of_the_kept_pass(self, explorer):
        p, names = explorer.scene.forward_pass.probabilities()[0], explorer.classifier.categories
        for role, name in [("P", "tiger cat"), ("Q", "tabby"), ("Q", "espresso")]:
            said = re.search(rf"p\({role} = {name}\) = ([\d.e-]+)[,.]", words(explorer))[1].rstrip(
                "."
            )
            assert float(said) == pytest.approx(float(p[names.index(name)]), rel=0.05, abs=0.0005)

    def test_hand_worked_probabilities(self):
        """Means of red and green are 1/2 and 1/2: logits 2, 2, 0, -4."""
        explorer = tiny(photo="halves", why="dog", rather_than=["cup", "red fox"])
        assert "p(P = dog) = 0.468, p(Q = cup) = 0.063, p(Q = red fox) = 0.001." in words(explorer)

    @pytest.mark.parametrize(
        "p, said", [(0, "0.000"), (1, "1.000"), (0.0123, "0.012"), (0.00042, "4e-4")]
    )
    def test_a_small_probability_is_not_called_zero(self, p, said):
        assert in_digits(p) == said

    @pytest.mark.parametrize(
        "p, said",
        [(0.004, "less than 1%"), (0.994, "99%"), (0.9996, "more than 99%"), (1, "100%")],
    )
    def test_what_is_not_certain_is_not_called_so(self, p, said):
        assert _percent(p) == said

    def test_strength_is_said(self):
        """S^cat peaks at 4, on red; S^cat - S^dog too, and S^cat - S^fox at 8, where both are."""
        explorer = tiny(photo="halves", why="cat", rather_than=["dog", "red fox"])
        explorer.loss.value = "logit_difference"
        assert "“Why cat, rather than dog?” has strength 1.00." in words(explorer)
        assert "“Why cat, rather than red fox?” has strength 2.00." in words(explorer)
        assert "Why cat, rather than dog? (strength 1.00)" in Figures(explorer).captions

    def test_a_weak_map_is_said_to_be_weak(self, explorer):
        said = "“Why tiger cat, rather than tabby?” is weak: 9.7 % of Grad-CAM's peak."
        assert said in words(explorer)
        assert any("(weak: 9.7 % of" in caption for caption in Figures(explorer).captions)

    def test_a_weak_map_looks_weak_on_grad_cams_scale(self, explorer):
        own = pixels(explorer)
        explorer.scale.value = "shared"
        shared = pixels(explorer)
        assert np.array_equal(own[1], shared[1])  # Grad-CAM itself
        empty = 255 * overlay(explorer.scene.pixels, np.zeros(own[3].shape[:2]))
        assert np.abs(shared[3] - empty).mean() < np.abs(own[3] - empty).mean()

    def test_share_of_the_map_in_known_regions(self, explorer):
        explorer.photo.value = "coffee"
        values, scene = explorer.answers[-1].maps[0, 0], explorer.scene
        for region in ("cup", "coffee", "spoon"):
            inside = scene.regions[region]
            lies, covers = float(values[inside].sum() / values.sum()), float(inside.float().mean())
            assert f"{lies:.0%} in the {region} ({covers:.0%} of the picture)" in words(explorer)

    def test_a_region_as_large_as_the_picture_is_left_out(self, explorer):
        assert "in the face" not in words(explorer) and "in the eyes" in words(explorer)


class TestQuestionsAtTheirEdges:
    def test_the_same_q_twice_is_shown_once(self):
        explorer = tiny(photo="halves", why="cat", rather_than=["dog", "dog", "cup"])
        assert explorer.answers[-1].questions == [
            ["Why cat, rather than dog?", "Why cat, rather than cup?"]
        ]
        assert "chosen twice is shown once" in words(explorer)

    def test_q_equal_to_p_is_explained_for_cross_entropy(self):
        explorer = tiny(photo="red", why="cat", rather_than="cat")
        assert "why not P with 100 % confidence?" in words(explorer)

    def test_q_equal_to_p_is_empty_for_the_logit_difference(self):
        explorer = tiny(photo="red", why="cat", rather_than="cat")
        explorer.loss.value = "logit_difference"
        assert "the difference of the logits is 0" in words(explorer)
        assert not explorer.answers[-1].maps.any()

    def test_an_empty_map_is_said_in_words_everywhere(self):
        explorer = tiny(photo="red", why="cat", rather_than="dog")
        question = "What if cat's evidence were absent?"
        page = Figures(explorer)
        assert f"“{question}” has an empty map: no positive evidence." in words(explorer)
        assert f"{question} The map is empty: no positive evidence." in page.captions
        assert any(
            alt.startswith(question) and "Empty: no positive evidence." in alt for alt in page.alts
        )

    def test_no_loss_but_the_chosen_one_is_drawn(self, explorer):
        before = explorer.pictures.value
        explorer.loss.value = "logit_difference"
        expected = ContrastCAM(explorer.classifier, loss="logit_difference")(
            explorer.scene.forward_pass, why="tiger cat", rather_than=["tabby", "espresso"]
        )
        assert torch.equal(explorer.answers[-1].evidence, expected.evidence)
        assert explorer.pictures.value != before

    def test_the_overlay_changes_the_maps_and_not_the_photo(self, explorer):
        before = re.findall("base64,([^']+)'", explorer.pictures.value)
        explorer.overlay.value = OPACITIES["faint"]
        after = re.findall("base64,([^']+)'", explorer.pictures.value)
        assert before[0] == after[0] and before[-1] != after[-1]


class TestClassLists:
    def test_most_probable_first_with_all_1000(self, explorer):
        assert len(explorer.why.options) == 1000
        assert [value for _, value in explorer.why.options[:3]] == explorer.scene.p.topk(
            3
        ).indices.tolist()

    def test_search_narrows_over_all_classes_and_keeps_the_choice(self, explorer):
        names = explorer.classifier.categories
        chosen = [c.value for c in (explorer.why, *explorer.rather_than)]
        explorer.search.value = "TERRIER"
        found = {i for i, name in enumerate(names) if "terrier" in name.lower()}
        assert len(found) > 10 and f"{len(found)} class names contain “TERRIER”." in words(explorer)
        assert [c.value for c in (explorer.why, *explorer.rather_than)] == chosen
        for control in (explorer.why, *explorer.rather_than):
            assert {value for _, value in control.options} == found | {control.value, NONE} - (
                {NONE} if control in (explorer.why, explorer.rather_than[0]) else set()
            )

    def test_search_does_not_mind_capitals(self, explorer):
        explorer.search.value = "eGyptian C"
        assert "One class name contains “eGyptian C”." in words(explorer)

    def test_a_search_that_finds_nothing_names_the_closest(self, explorer):
        explorer.search.value = "expresso"
        assert "No class name contains “expresso”. Did you mean 'espresso'" in words(explorer)

    @pytest.mark.parametrize(
        "count, said", [(1, "One class name contains"), (2, "2 class names contain")]
    )
    def test_what_a_search_found_in_words(self, count, said):
        assert search_in_words(" <b ", count, []) == f"{said} “&lt;b”."

    def test_an_empty_search_lists_all_again(self, explorer):
        explorer.search.value = "terrier"
        explorer.search.value = ""
        assert len(explorer.why.options) == 1000 and "contain" not in words(explorer)

    def test_runner_up_is_the_default_q(self):
        assert tiny(photo="red").rather_than[0].value == 1
        assert tiny(photo="red", why="dog").rather_than[0].value == 0

    @pytest.mark.parametrize("how", [{"why": "expresso"}, {"rather_than": ["tabby", "expresso"]}])
    def test_an_unknown_class_gives_the_closest_names(self, network, how):
        with pytest.raises(
            ClassError, match="No class is called 'expresso'. Did you mean 'espresso'"
        ):
            ContrastExplorer(classifier=network, **how)

    def test_no_more_than_three_q(self):
        with pytest.raises(ValueError, match="up to three Q, but 4"):
            tiny(rather_than=[0, 1, 2, 3])


class TestPhotosAndNetworks:
    def test_another_photo_asks_about_its_own_prediction(self, explorer):
        explorer.search.value = "terrier"
        explorer.photo.value = "coffee"
        assert (
            words(explorer).startswith("The network says espresso") and explorer.search.value == ""
        )
        assert explorer.why.value == explorer.classifier.categories.index("espresso")

    def test_own_photo(self, explorer):
        upload(explorer, "my <cup>.png", png(Image.new("RGB", (300, 200), (200, 30, 30))))
        assert explorer.photo.value == "my <cup>.png"
        assert Figures(explorer).alts[0] == "The photo my <cup>.png, as the network saw it."
        assert np.allclose(explorer.scene.pixels, np.array([200, 30, 30]) / 255, atol=0.01)

    def test_an_upload_is_said_to_be_read(self, monkeypatch):
        explorer, said = tiny(photo="red"), []
        monkeypatch.setattr(explorer, "say", said.append)
        upload(explorer, "my <cup>.png", png(Image.new("RGB", (9, 9))))
        assert said[0] == "Reading my &lt;cup&gt;.png ..."

    def test_the_same_name_again_is_the_new_photo(self):
        explorer = tiny(photo="red")
        for colour in [(255, 0, 0), (0, 255, 0)]:
            upload(explorer, "mine.png", png(Image.new("RGB", (9, 9), colour)))
            assert np.allclose(explorer.scene.pixels, np.array(colour) / 255)

    def test_a_broken_upload_is_said_and_the_old_photo_stays(self, explorer):
        before = explorer.scene
        upload(explorer, "x<y.png", b"no picture")
        assert words(explorer).startswith("x<y.png:") and "cannot be read as a picture" in words(
            explorer
        )
        assert explorer.scene is before and explorer.photo.value == "chelsea"

    def test_an_unknown_photo_gives_the_closest_names(self, network):
        with pytest.raises(FileNotFoundError, match="Did you mean 'chelsea'"):
            ContrastExplorer(photo="chelsee", classifier=network)

    def test_an_unknown_network_gives_the_closest_names(self):
        with pytest.raises(
            ValueError, match="No classifier is called 'resnet5O'. Did you mean 'resnet50'"
        ):
            ContrastExplorer(network="resnet5O")

    def test_a_second_name_of_a_photo(self, network):
        explorer = ContrastExplorer(photo="motorcycle", classifier=network)
        assert explorer.photo.value == "motorcycle_left" and "in the headlight" in words(explorer)

    def test_without_a_connection_the_old_network_stays(self, monkeypatch):
        def offline(*_args, **_kwargs):
            raise URLError("no route to host")

        monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
        explorer = ContrastExplorer(photo="coffee", why="espresso", rather_than="cup")
        before, picture = explorer.scene, explorer.pictures.value
        explorer.network.value = "resnet50"
        assert "must be downloaded once, and that failed (no route to host)" in words(explorer)
        assert (explorer.network.value, explorer.scene, explorer.pictures.value) == (
            "efficientnet_lite0",
            before,
            picture,
        )
        explorer.network.value = "efficientnet_lite1"  # and it is not stuck
        assert explorer.scene is not before and len(explorer.scene.forward_pass.size) == 2
        assert explorer.why.value == explorer.classifier.categories.index(
            "espresso"
        )  # the question is kept

    def test_another_layer(self, explorer):
        chosen = explorer.rather_than[0].value
        before = explorer.answers[-1].evidence.shape
        explorer.layer.value = "blocks.3"
        assert (
            explorer.scene.forward_pass.layer == "blocks.3"
            and explorer.answers[-1].evidence.shape != before
        )
        assert explorer.rather_than[0].value == chosen

    def test_a_layer_that_cannot_answer_is_said_and_the_old_one_stays(self, explorer, monkeypatch):
        explorer.set(explorer.layer, explorer.layer.value, [*explorer.layer.options, "classifier"])
        before = explorer.scene
        explorer.layer.value = "classifier"
        assert "'classifier' gives 1 x 1000: no height and width are left" in words(explorer)
        assert explorer.layer.value == before.forward_pass.layer and explorer.scene is before

    def test_another_network_begins_at_its_own_layer(self):
        explorer = ContrastExplorer(photo="coffee")
        own = explorer.layer.value
        explorer.layer.value = "blocks.3"
        explorer.network.value = "efficientnet_lite1"
        assert explorer.layer.value == explorer.scene.forward_pass.layer == own

    def test_an_own_photo_is_not_taken_for_one_of_the_same_name(self):
        photos = {"coffee": half()}
        explorer = ContrastExplorer(classifier=Tiny(), photos=photos)
        assert explorer.photo.value == "coffee" and explorer.scene.regions == {}
        assert "in the cup" not in words(explorer)

    def test_one_logit_is_a_question_of_no_and_yes(self):
        """y = 4 mean(red) = 4, so p(yes) = 0.982; half of it speaks for yes, half against no."""
        network = Tiny()
        network.head, network.categories = nn.Linear(2, 1, bias=False), None
        network.head.weight.data[:] = torch.tensor([[4.0, 0.0]])
        explorer = ContrastExplorer(classifier=network, photos=PHOTOS)
        assert explorer.answers[-1].questions == [["Why yes, rather than no?"]]
        assert "p(P = yes) = 0.982, p(Q = no) = 0.018" in words(explorer)

    def test_several_labels_have_probabilities_of_their_own(self):
        """y = (4, 0, 0, -4) on red: p(cat) = sigmoid(4) = 0.982, p(dog) = sigmoid(0) = 0.5; the
        contrast is -(1 - p_Q) S^Q."""
        explorer = tiny(photo="halves", sigmoid=True, why="cat", rather_than="red fox")
        seen = GradCAM(explorer.classifier)(explorer.scene.forward_pass, why="red fox").evidence
        p_q = torch.sigmoid(torch.tensor(-4.0))  # y = -4 (1/2 + 1/2)
        torch.testing.assert_close(explorer.answers[-1].evidence, -(1 - p_q) * seen)
        explorer.photo.value = "red"
        assert "The network says cat (98%). p(P = cat) = 0.982" in words(explorer)

    def test_what_a_network_returns_is_read_as_output_says(self):
        class Wrapped(nn.Module):
            preprocess, categories = Tiny.preprocess, Tiny.categories

            def __init__(self):
                super().__init__()
                self.inner = Tiny()

            def forward(self, x):
                return {"classes": self.inner(x), "other": x}

        with pytest.raises(TypeError, match=r"output=lambda y: y\['classes'\]"):
            ContrastExplorer(classifier=Wrapped(), photos=PHOTOS)
        explorer = ContrastExplorer(
            classifier=Wrapped(), photos=PHOTOS, output=lambda y: y["classes"]
        )
        assert words(explorer) == words(tiny())
        assert explorer.network.options == (("Wrapped (given)", "efficientnet_lite0"),)

    def test_a_small_probability_is_not_called_nothing(self):
        network = Tiny()
        network.head, network.categories = nn.Linear(2, 1000), None
        nn.init.zeros_(network.head.weight)
        explorer = ContrastExplorer(classifier=network, photos=PHOTOS)
        assert "(less than 1%)" in words(explorer)

    def test_no_classes_are_refused(self):
        network = Tiny()
        network.head = nn.Sequential(network.head, nn.Unflatten(1, (2, 2)))
        with pytest.raises(ClassError, match=r"output is 1 x 2 x 2, not N x classes.*amax\(2\)"):
            ContrastExplorer(classifier=network, photos=PHOTOS)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
    def test_the_photo_is_given_in_the_networks_own_type_of_numbers(self, dtype):
        explorer = ContrastExplorer(classifier=Tiny().to(dtype), photos=PHOTOS)
        assert explorer.scene.x.dtype == dtype

    def test_what_is_no_network_is_called_so(self):
        with pytest.raises(TypeError, match="The network must be an nn.Module"):
            ContrastExplorer(classifier=3, photos=PHOTOS)

    def test_pictures_of_ones_own_may_be_arrays_also_where_preprocess_reads_pil(self):
        network = Tiny()
        network.preprocess = lambda photo: torch.full((3, 8, 8), 0.1 * (photo.mode == "RGB"))
        explorer = ContrastExplorer(classifier=network, photos={"mine": np.zeros((9, 9, 3))})
        assert explorer.scene.x.shape == (1, 3, 8, 8)

    def test_a_network_without_preprocess_is_told_what_to_set(self):
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        with pytest.raises(ImageError, match="Set its preprocess to a function.*model.categories"):
            ContrastExplorer(classifier=network, photos=PHOTOS)

    @pytest.mark.parametrize(
        "change, made, cure",
        [
            (lambda x: x[None], "1 x 3 x 8 x 8 float32", r"\[0\] takes the axis of the batch"),
            (lambda x: x.numpy(), "an ndarray", r"torch\.from_numpy"),
            (lambda x: {"pixel_values": x}, "a dict", r"\['pixel_values'\]\[0\]"),
            (lambda x: None, "a NoneType", ""),
            (lambda x: (255 * x).byte(), "3 x 8 x 8 uint8", r"\.float\(\) / 255"),
        ],
    )
    def test_what_prepares_the_photo_must_make_one_tensor(self, change, made, cure):
        network = Tiny()
        network.preprocess = lambda photo: change(torch.zeros(3, 8, 8))
        words = f"preprocess made {made} of the photo, and must make one tensor.*{cure}"
        with pytest.raises(ImageError, match=words):
            ContrastExplorer(classifier=network, photos=PHOTOS)

    def test_one_p_is_shown(self):
        with pytest.raises(ValueError, match="shows one P, but 2 were named"):
            ContrastExplorer(classifier=Tiny(), photos=PHOTOS, why=[0, 1])

    def test_any_function_may_prepare_the_photo(self):
        network = Tiny()
        network.preprocess = lambda photo: 2 * Tiny.preprocess(photo) - 1
        explorer = ContrastExplorer(classifier=network, photos=PHOTOS, photo="halves")
        assert np.allclose(explorer.scene.pixels, np.asarray(half()) / 255)

    def test_names_may_be_a_mapping(self):
        network = Tiny()
        network.categories = {str(i): name for i, name in enumerate(Tiny.categories)}
        explorer = ContrastExplorer(classifier=network, photos=PHOTOS, why="dog", rather_than="cup")
        assert explorer.answers[-1].questions == [["Why dog, rather than cup?"]]

    def test_classes_without_names_are_called_by_number(self):
        network = Tiny()
        network.categories = None
        explorer = ContrastExplorer(
            classifier=network, photos=PHOTOS, photo="red", why=0, rather_than=2
        )
        assert explorer.answers[-1].questions == [["Why class 0, rather than class 2?"]]


class TestKnownAnswer:
    LEFT = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    LEFT[:, : SIDE // 2] = True

    def explorer(self, truth):
        return tiny(photo="halves", why="cat", rather_than=["dog", "cup"], truth=truth)

    def answer(self, photo, p, q):
        return self.LEFT if (photo, p, q) == ("halves", "cat", "dog") else None

    def test_hidden_at_first(self):
        explorer = self.explorer(self.answer)
        assert (
            "known answer" not in words(explorer).lower() + "".join(Figures(explorer).alts).lower()
        )

    def test_share_is_worked_by_hand(self):
        """S^cat - S^dog is positive on the red half, negative on the green."""
        explorer = self.explorer(self.answer)
        explorer.loss.value = "logit_difference"
        explorer.known.value = True
        assert "100% in the known answer (50% of the picture)" in words(explorer)

    def test_outlined_on_the_panels_of_the_question_it_answers(self):
        explorer = self.explorer(self.answer)
        explorer.known.value = True
        outlined = ["The known answer is outlined." in alt for alt in Figures(explorer).alts]
        assert outlined == [
            True,
            True,
            True,
            True,
            False,
        ]  # photo, P, absent, dog; nothing is known of cup

    def test_an_unknown_answer_is_said(self):
        explorer = self.explorer(self.answer)
        explorer.known.value = True
        explorer.why.value = 3
        assert "answer to the first contrast is not known" in words(explorer)

    def test_offered_only_with_a_truth_and_only_for_its_photos(self):
        with_truth, without = self.explorer(self.answer), tiny()
        assert list(with_truth.photo.options) == ["red", "halves"]
        assert with_truth.known in controls(with_truth) and without.known not in controls(without)

    def test_a_mask_of_another_size_is_refused(self):
        explorer = self.explorer(lambda *_: torch.ones(3, 3, dtype=torch.bool))
        with pytest.raises(
            ValueError, match=r"truth\('halves', 'cat', 'dog'\) gave torch.bool of \(3, 3\)"
        ):
            explorer.known.value = True


class TestBirds:
    """Flamingo and spoonbill differ in the bill only; flamingo and egret in colour, bill and
    legs.
    """

    def test_the_known_answer_is_the_parts_in_which_the_two_differ(self):
        bird = draw("flamingo", 7)
        assert np.array_equal(known_parts(bird, "flamingo", "spoonbill"), bird.masks["bill"])
        three = bird.masks["body"] | bird.masks["bill"] | bird.masks["legs"]
        assert np.array_equal(known_parts(bird, "flamingo", "egret"), three)

    @pytest.mark.parametrize("p, q", [("spoonbill", "flamingo"), ("flamingo", "flamingo")])
    def test_nobody_knows_why_a_bird_is_what_it_is_not(self, p, q):
        assert known_parts(draw("flamingo", 7), p, q) is None

    def test_explorer_shows_the_share_on_the_bill(self):
        explorer = bird_explorer("flamingo", rather_than="spoonbill", seed=7)
        explorer.known.value = True
        values = explorer.answers[-1].maps[0, 0]
        bill = torch.as_tensor(draw("flamingo", 1_000_007).masks["bill"])
        assert f"{energy_inside(values, bill):.0%} in the known answer" in words(explorer)
        assert "The known answer is outlined." in Figures(explorer).alts[-1]

    def test_an_upload_has_no_known_answer(self):
        explorer = bird_explorer("flamingo")
        explorer.known.value = True
        upload(explorer, "mine.png", png(draw("flamingo", 3).image))
        assert "answer to the first contrast is not known" in words(explorer)

    def test_other_networks_of_birds_are_offered(self):
        explorer = bird_explorer()
        assert explorer.network.value == "birds"
        assert [name for _, name in explorer.network.options] == [
            "birds",
            "birds_shortcut",
            "birds_blurry",
        ]


def controls(widget):
    """Every control in a widget, however deep."""
    for child in getattr(widget, "children", ()):
        yield from controls(child) if isinstance(child, ipywidgets.Box) else [child]


class TestForEveryone:
    def test_every_picture_says_its_question_and_where_the_map_is(self, explorer):
        page = Figures(explorer)
        questions = [q for answer in explorer.answers for q in answer.questions[0]]
        assert len(page.alts) == len(page.captions) == 1 + len(questions) == 5
        for alt, question in zip(page.alts[1:], questions, strict=True):
            assert alt.startswith(question) and re.search("Strongest at the|Empty", alt)

    def test_every_control_has_a_label(self):
        found = list(controls(tiny(truth=lambda *_: None)))
        inputs = [c for c in found if not isinstance(c, (ipywidgets.HTML, ipywidgets.Output))]
        assert len(inputs) == 17 and all(control.description for control in inputs)

    def test_nothing_is_printed_outside_a_notebook(self, capsys):
        explorer = tiny(photo="red")
        explorer.rather_than[0].value = 2
        explorer.photo.value = "halves"
        assert capsys.readouterr() == ("", "")


class TestAnErrorInACallback:
    def test_is_raised_outside_a_notebook_and_the_explorer_lives_on(self, monkeypatch):
        explorer = tiny(photo="red", why="cat", rather_than="dog")
        with monkeypatch.context() as broken:
            broken.setattr("course_utils.explorers.contrast_view.panels", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                explorer.rather_than[0].value = 2
            assert "That did not work: the error is shown below" in words(explorer)
        explorer.rather_than[0].value = 3
        assert explorer.answers[-1].questions == [["Why cat, rather than red fox?"]]
        assert words(explorer).startswith("The network says cat")

    def test_is_shown_in_a_notebook(self, tmp_path):
        source = (
            "from course_utils.explorers import contrast, contrast_view\n"
            "explorer = contrast.ContrastExplorer()\n"
            "contrast_view.panels = lambda *_: 1 / 0\n"
            "explorer.rather_than[0].value = 5\n"
            "explorer"
        )
        nbformat.write(new_notebook(cells=[new_code_cell(source)]), tmp_path / "broken.ipynb")
        with pytest.raises(WidgetError, match="ZeroDivisionError: division by zero"):
            run_notebook(tmp_path / "broken.ipynb")


@pytest.mark.parametrize("seed", [-5, 1.5, "7"])
def test_birds_that_were_seen_in_training_are_not_shown(seed):
    with pytest.raises(ValueError, match="a whole number from 0"):
        bird_explorer(seed=seed)


def test_a_network_in_the_place_of_a_photo_is_called_so():
    with pytest.raises(TypeError, match=r"given as ContrastExplorer\(classifier=model\)"):
        ContrastExplorer(torch.nn.Identity())


@pytest.mark.parametrize("given", [{"photo": Image.new("RGB", (9, 9))}, {"photos": [1]}])
def test_pictures_without_names_bring_the_line_that_names_them(given):
    with pytest.raises(TypeError, match=r"ContrastExplorer\(photos=\{'mine': picture\}\)"):
        ContrastExplorer(**given)
