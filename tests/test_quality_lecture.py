"""What lecture 5 plays and draws: paired choices, the slider for q, pictures of answers."""

import html
import json
import math
import re
from pathlib import Path

import ipywidgets as w
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from course_utils.explorers.duel import Duel
from course_utils.explorers.quality import QualityExplorer
from course_utils.quality import figures as quality_figures
from course_utils.quality.assessor import Assessor, LocalScores, QualityExplanation
from course_utils.quality.distort import Distorted, distort
from course_utils.quality.paired_comparison import Votes, bradley_terry, poll, simulated_observer

LECTURES = Path(__file__).parent.parent / "lectures"
NAMES = ["good", "fair", "bad"]


def picture(value: int) -> Image.Image:
    return Image.new("RGB", (8, 6), (value, value, value))


def duel(seed: int = 0, observer=min) -> Duel:
    """By default the observer chooses the name that comes first in the alphabet: bad, fair,
    good.
    """
    return Duel(picture(128), {n: picture(40 * i) for i, n in enumerate(NAMES)}, observer, seed)


def words(panel) -> str:
    return html.unescape(re.sub("<[^>]+>", " ", panel.status.value)).strip()


def alts(page: str) -> list[str]:
    return [html.unescape(alt) for alt in re.findall('alt="([^"]*)"', page)]


class TestVotes:
    def test_wins_are_counted_for_the_chosen_one(self):
        votes = Votes(NAMES)
        for chosen, other in [("good", "bad"), ("good", "fair"), ("fair", "bad"), ("good", "bad")]:
            votes.add(chosen, other)
        assert votes.wins == {"good": 3, "fair": 1, "bad": 0}
        assert votes.won[0].tolist() == [0, 1, 2]

    def test_a_picture_does_not_meet_itself(self):
        with pytest.raises(ValueError, match="'good' cannot be compared with itself"):
            Votes(NAMES).add("good", "good")

    def test_names_must_tell_the_pictures_apart(self):
        with pytest.raises(ValueError, match="Two pictures have one name"):
            Votes(["a", "b", "a"])
        with pytest.raises(ValueError, match="called 'blurr'. Did you mean 'blur'"):
            Votes(["blur", "jpeg"]).add("jpeg", "blurr")

    def test_everybody_sees_every_pair_once(self):
        votes = poll(NAMES, [min, max, min])
        met = votes.won + votes.won.T
        assert met.tolist() == [[0, 3, 3], [3, 0, 3], [3, 3, 0]]
        assert votes.won[2, 0] == 2  # "bad" before "good" in the alphabet


class TestBradleyTerry:
    def test_two_pictures_worked_by_hand(self):
        """3 wins to 1: the odds are 3, so the strengths differ by log 3."""
        u = bradley_terry(torch.tensor([[0.0, 3.0], [1.0, 0.0]]), prior=0)
        assert u.tolist() == pytest.approx([np.log(3) / 2, -np.log(3) / 2])

    def test_counts_as_expected_give_back_the_strengths(self):
        u = torch.tensor([1.5, 0.2, -0.4, -1.3], dtype=torch.float64)
        won = 1000 * torch.sigmoid(u[:, None] - u) * (1 - torch.eye(4))
        assert torch.allclose(bradley_terry(won, prior=0), u, atol=1e-6)
        assert torch.equal(bradley_terry(won.tolist()), bradley_terry(won))

    def test_who_never_lost_is_strong_but_not_infinitely(self):
        u = bradley_terry(torch.tensor([[0.0, 9.0], [0.0, 0.0]]))
        assert u[0] == pytest.approx(np.log(9.5 / 0.5) / 2)

    @pytest.mark.parametrize("won", [[[0, 3, 1]], [[0, -3], [1, 0]], [1, 2]])
    def test_what_is_no_table_of_counts_is_refused(self, won):
        with pytest.raises(ValueError, match="Counts are n x n numbers from 0"):
            bradley_terry(won)

    def test_without_a_prior_a_winner_of_everything_is_named(self):
        with pytest.raises(ValueError, match="give a prior above 0"):
            bradley_terry([[0, 3], [0, 0]], prior=0)
        assert bradley_terry([[0, 3], [1, 0]], prior=0).tolist() == pytest.approx(
            [math.log(3) / 2, -math.log(3) / 2]
        )

    def test_the_mean_is_zero(self):
        assert bradley_terry(torch.rand(5, 5)).mean().item() == pytest.approx(0, abs=1e-9)


class TestSimulatedObserver:
    def test_how_often_it_prefers_the_better_one(self):
        choose = simulated_observer({"a": 1.0, "b": 0.0}, seed=3)
        share = np.mean([choose("a", "b") == "a" for _ in range(4000)])
        assert share == pytest.approx(1 / (1 + np.exp(-1)), abs=0.03)

    def test_the_side_does_not_matter(self):
        choose = simulated_observer({"a": 9.0, "b": -9.0})
        assert {choose("a", "b"), choose("b", "a")} == {"a"}

    def test_the_same_seed_errs_alike(self):
        runs = [simulated_observer({"a": 0.0, "b": 0.0}, seed=5) for _ in range(2)]
        one, other = ([choose("a", "b") for _ in range(50)] for choose in runs)
        assert one == other and len(set(one)) == 2


def boxes(widget):
    """The widget, and all boxes in it."""
    return [widget, *(b for child in getattr(widget, "children", ()) for b in boxes(child))]


def shown(panel):
    """All HTML of the pictures of a duel, from left to right and down."""
    return "".join(b.value for b in boxes(panel) if isinstance(b, w.HTML) and "<img" in b.value)


def test_no_cell_plays_the_learners_own_game():
    """Pressed by code, its last button would take the focus, and with it the notebook's place."""
    cells = json.loads((LECTURES / "05_image_quality.ipynb").read_text())["cells"]
    assert not re.findall(r"\bduel\.\w+", "\n".join("".join(cell["source"]) for cell in cells))


class TestDuel:
    def test_each_button_counts_for_its_side(self):
        for side in (0, 1):
            panel = duel()
            chosen, other = panel.pair[side], panel.pair[1 - side]
            (panel.left, panel.right)[side].click()
            assert panel.votes.wins[chosen] == 1 and panel.votes.wins[other] == 0

    def test_all_pairs_come_once_and_then_it_ends(self):
        panel, met = duel(), []
        while panel.pair:
            met.append(frozenset(panel.pair))
            panel.left.click()
        assert len(met) == len(set(met)) == 3
        assert panel.left.disabled and panel.right.disabled and "All pairs" in words(panel)
        panel.left.click()  # pressed once more
        assert sum(panel.votes.wins.values()) == 3 and "All pairs" in words(panel)

    def test_the_observer_finishes_what_was_begun(self):
        panel = duel()
        mine = panel.pair[1]
        panel.right.click()
        panel.finish.click()
        assert sum(panel.votes.wins.values()) == 3 and panel.votes.wins[mine] >= 1
        assert panel.votes.won[2].sum() >= 1  # "bad" comes before "fair" and "good"

    def test_the_table_has_the_best_first_and_comes_at_the_end_only(self):
        panel = duel()
        assert panel.result.value == ""
        panel.finish.click()
        rows = re.findall(
            r"<tr><td[^>]*>(\w+)</td><td[^>]*>(\d) of 2</td><td[^>]*>([+-][\d.]+)",
            panel.result.value,
        )
        assert [row[:2] for row in rows] == [("bad", "2"), ("fair", "1"), ("good", "0")]
        assert float(rows[0][2]) > 0 > float(rows[2][2])

    def test_beginning_again_forgets(self):
        panel = duel()
        panel.finish.click()
        panel.again.click()
        assert sum(panel.votes.wins.values()) == 0 and not panel.left.disabled
        assert words(panel).startswith("Pair 1 of 3") and panel.result.value == ""

    def test_no_name_is_told_before_the_end(self):
        page = shown(duel()) + duel().status.value
        assert not [name for name in NAMES if name in page]

    def test_three_pictures_with_alt_text(self):
        told = alts(shown(duel()))
        assert (
            len(told) == 3 and "left" in told[0] and "right" in told[1] and "reference" in told[2]
        )

    def test_pictures_may_be_arrays(self):
        pixels = np.full((6, 8, 3), 128, np.uint8)
        by_array = Duel(pixels, {"a": pixels, "b": pixels}, min)
        assert shown(by_array) == shown(Duel(picture(128), dict.fromkeys("ab", picture(128)), min))

    def test_what_distort_made_is_its_picture(self):
        photo = Image.new("RGB", (6, 8), (100, 100, 100))
        made = {kind: distort(photo, kind, 3) for kind in ("mean shift", "white noise")}
        plain = {kind: one.image for kind, one in made.items()}
        first = made["mean shift"]
        assert shown(Duel(first, made, min)) == shown(Duel(first.image, plain, min))

    @pytest.mark.parametrize(("width", "on_the_page"), [(192, 384), (200, 400), (201, 201)])
    def test_pixels_are_shown_one_to_one_or_doubled_never_smoothed(self, width, on_the_page):
        photo = Image.new("RGB", (width, 100))
        panel = Duel(photo, {"a": photo, "b": photo}, min)
        styles = re.findall(r"<img [^>]*style='([^']*)'", shown(panel))
        assert len(styles) == 3
        for style in styles:
            assert f"width:{on_the_page}px;max-width:none;image-rendering:pixelated" in style

    def test_each_button_stands_under_its_picture(self):
        panel = duel()
        columns = {tuple(box.children) for box in boxes(panel) if isinstance(box, w.VBox)}
        assert {(panel.sides[0], panel.left), (panel.sides[1], panel.right)} <= columns

    def test_the_reference_stands_beside_the_two_where_there_is_room(self):
        rows = [box for box in boxes(duel()) if isinstance(box, w.Box) and len(box.children) == 3]
        (row,) = [
            box for box in rows if "The reference" in str(getattr(box.children[2], "value", ""))
        ]
        assert row.layout.flex_flow == "row wrap"

    def test_at_the_end_the_keyboard_goes_on_with_the_button_to_begin_again(self, monkeypatch):
        focused = []
        monkeypatch.setattr(w.Button, "focus", lambda self: focused.append(self.description))
        panel = duel()
        panel.left.click()
        assert not focused
        panel.finish.click()
        assert focused == ["Begin again"]

    def test_sides_and_order_depend_on_the_seed(self):
        assert len({duel(seed).pair for seed in range(60)}) == 6

    def test_an_observer_who_raises_is_seen(self):
        def broken(left, right):
            raise RuntimeError("asleep")

        panel = duel(observer=broken)
        panel.finish.click()
        assert "That did not work" in words(panel)

    def test_names_may_be_numbers_and_a_list_is_told_how_to_get_some(self):
        numbered = Duel(picture(0), dict(enumerate(map(picture, (9, 8, 7)))), lambda a, b: a)
        numbered.finish.click()
        assert "of 2</td>" in numbered.result.value
        with pytest.raises(TypeError, match=r"dict\(enumerate\(pictures\)\) numbers them"):
            Duel(picture(0), [picture(9), picture(8)], lambda a, b: a)

    def test_one_picture_is_no_choice(self):
        with pytest.raises(ValueError, match="two pictures or more"):
            Duel(picture(0), {"alone": picture(1)}, min)


class Half(torch.nn.Module):
    """Scores a patch by its mean brightness; one map A, 2 x 2, the brightness of each quarter."""

    reference, layer = False, "seen"

    def __init__(self):
        super().__init__()
        self.seen = torch.nn.Identity()

    def extract(self, pixels):
        return pixels

    def features(self, seen, wanted=None):
        return [self.seen(F.adaptive_avg_pool2d(seen.mean(dim=1, keepdim=True), 2))]

    def scores_and_weights(self, maps):
        return maps.flatten(1).mean(dim=1), torch.ones(len(maps))

    def forward(self, pixels):
        return self.scores_and_weights(*self.features(self.extract(pixels)))


def halves(left: int, right: int) -> Image.Image:
    photo = Image.new("RGB", (128, 64), (left,) * 3)
    photo.paste((right,) * 3, (64, 0, 128, 64))
    return photo


class TestExplorer:
    @pytest.fixture
    def explorer(self):
        scenes = {"one": (halves(51, 204), None), "two": (halves(204, 204), None)}
        return QualityExplorer(Assessor(Half()), scenes, q=0.5, step=32)

    def test_worked_by_hand(self, explorer):
        """Scores 0.2 and 0.8, asked about 0.5; each of 4 places holds a quarter of its patch's
        score:
        2 (0.2 - 0.5) 0.2 / 4 = -0.03 and 2 (0.8 - 0.5) 0.8 / 4 = 0.12."""
        assert explorer.evidence[10, [10, 100]].tolist() == pytest.approx([-0.03, 0.12], abs=1e-5)
        assert explorer.largest == pytest.approx(2 * 0.8 * 0.8 / 4, abs=1e-5)  # 0.8, rather than 0

    @pytest.mark.parametrize("q", [0.0, 0.25, 0.9, 1.0])
    def test_two_answers_give_them_all(self, explorer, q):
        explorer.slider.value = q
        asked = Assessor(Half()).explain(halves(51, 204), None, [q], 32).evidence[0]
        assert torch.allclose(explorer.evidence, asked, atol=1e-5)

    def test_the_slider_runs_no_network(self, explorer):
        runs = []
        explorer._assessor.network.seen.register_forward_hook(lambda *_: runs.append(1))
        explorer.slider.value = 0.9
        assert not runs
        explorer.scene.value = "two"
        assert runs  # the hook counts
        before = len(runs)
        explorer.scene.value = "one"
        assert len(runs) == before  # kept

    def test_the_picture_and_the_words_follow(self, explorer):
        before = explorer.pictures.value
        assert "Why 0.50, rather than 0.50?" in words(explorer)
        assert "50% of it pulls the score down" in words(explorer) and "50% holds it up" in words(
            explorer
        )
        explorer.slider.value = 0.9
        assert explorer.pictures.value != before and "100% of it pulls" in words(explorer)
        assert "Why 0.50, rather than 0.90?" in alts(explorer.pictures.value)[1]

    def test_white_is_said_in_words(self, explorer):
        explorer.scene.value = "two"
        explorer.slider.value = 0.8
        assert "Nothing speaks either way." in words(explorer)

    def test_a_photo_that_cannot_be_scored_is_named_and_the_one_before_stays(self):
        scenes = {"one": (halves(51, 204),), "small": (picture(0).resize((20, 20)), None)}
        explorer = QualityExplorer(Assessor(Half()), scenes, q=0.5, step=32)
        explorer.scene.value = "small"
        assert "small: The photo is 20 x 20 pixels" in words(explorer)
        assert explorer.scene.value == "one"
        explorer.slider.value = 0.9
        assert "Why 0.50, rather than 0.90?" in words(explorer)

    def test_what_distort_made_is_shown_as_its_picture(self):
        made = Distorted(halves(51, 204), "blur", 1, 33.0, 33.0, 1.0)
        explorer = QualityExplorer(Assessor(Half()), {"made": (made, None)}, step=32)
        assert "Why 0.50, rather than 1.00?" in words(explorer)
        answer = explorer.answer
        for drawn in (
            quality_figures.contrasts(made, answer),
            quality_figures.patches(made, answer),
        ):
            assert drawn.png()

    @pytest.mark.parametrize(
        "change, words",
        [
            ({"q": 75}, "q=75"),
            ({"q": "1"}, "q='1' must be a score"),
            ({"assessor": Half()}, "Half"),
        ],
    )
    def test_what_would_be_cut_off_or_fail_later_is_refused(self, change, words):
        given = {"assessor": Assessor(Half()), "scenes": {"one": (halves(51, 204), None)}}
        with pytest.raises((ValueError, TypeError), match=words):
            QualityExplorer(**given | change)

    def test_no_scene_is_refused(self):
        with pytest.raises(ValueError, match="scenes is empty"):
            QualityExplorer(Assessor(Half()), {})
        with pytest.raises(TypeError, match=r"a name -> \(distorted, reference\), two pictures"):
            QualityExplorer(Assessor(Half()), {"a": picture(0)})
        with pytest.raises(TypeError, match=r"scenes is a dict, name -> .* not a list"):
            QualityExplorer(Assessor(Half()), [(picture(0), None)])


def explanation() -> QualityExplanation:
    """Two answers: the left half pulls down; nothing at all."""
    evidence = torch.zeros(2, 6, 9)
    evidence[0, :, :3] = -4
    local = LocalScores(torch.ones(1, 1), torch.ones(1, 1))
    return QualityExplanation(0.4, (1.0, 0.4), evidence, local)


class TestFigures:
    def test_alt_text_says_the_sign_and_the_place(self):
        told = quality_figures.contrasts(np.full((6, 9, 3), 0.5), explanation()).alt
        assert "rather than 1.00? 33% of it pulls the score down, most at the middle left" in told
        assert "rather than 0.40? Nothing speaks either way." in told

    def test_what_cannot_be_drawn_is_said(self):
        photo = np.full((6, 9, 3), 0.5)
        with pytest.raises(ValueError, match="2 maps, 1 titles"):  # one map was left out
            quality_figures.contrasts(photo, explanation(), titles=["one"])
        with pytest.raises(
            TypeError, match="an Assessor's answer about it are drawn, not a Tensor"
        ):
            quality_figures.contrasts(photo, torch.zeros(2, 6, 9))
        with pytest.raises(ValueError, match="There is nothing to show"):
            quality_figures.over_levels({})

    def test_of_an_answer_the_patches_are_drawn(self):
        photo = np.full((6, 9, 3), 0.5)
        drawn = quality_figures.patches(photo, explanation().local).alt
        assert quality_figures.patches(photo, explanation()).alt == drawn

    def test_one_scale_for_all_panels(self):
        """Half the evidence is half the colour, though each panel has its own largest value."""
        answer = explanation()
        answer.evidence[1, :, 6:] = 2
        shown = quality_figures.contrasts(np.full((6, 9, 3), 0.5), answer).figure.axes
        panels = [axis.get_images()[0].get_array() for axis in shown[1:3]]
        assert answer.signed_maps.abs().amax((1, 2)).tolist() == [1.0, 0.5]
        assert panels[0][0, 0, 2] > panels[0][0, 0, 0]  # blue: pulls down
        assert panels[1][0, 8, 0] > panels[1][0, 8, 2]  # red: holds up
        assert panels[1][0, 8, 1] > panels[0][0, 0, 1]  # paler

    def test_the_bar_speaks_in_words(self):
        figure = quality_figures.contrasts(np.full((6, 9, 3), 0.5), explanation()).figure
        labels = [
            label.get_text().replace("\n", " ") for label in figure.axes[-1].get_yticklabels()
        ]
        assert labels == ["pulls the score down", "as good as q", "holds it up"]

    def test_the_known_region_is_outlined(self):
        mask = np.zeros((40, 60), bool)
        mask[10:30, 20:40] = True
        answer = QualityExplanation(0.4, (1.0,), torch.zeros(1, 40, 60), explanation().local)
        made = quality_figures.contrasts(np.full((40, 60, 3), 0.5), answer, mask=mask)
        pixels = made.figure.axes[0].get_images()[0].get_array()
        assert pixels[9, 30].tolist() == [1, 1, 1] and pixels[20, 30, 0] == 0.5
        assert "outlined" in made.alt

    def test_patches_say_where_the_worst_one_is(self):
        scores = torch.ones(3, 3)
        scores[2, 0] = 0.25
        weights = torch.ones(3, 3)
        weights[0, 2] = 3
        made = quality_figures.patches(np.zeros((96, 96, 3)), LocalScores(scores, weights))
        assert "lowest score lies at the lower left" in made.alt
        assert "largest weight at the upper right" in made.alt
        assert made.figure.axes[1].images[0].get_clim() == (0.25, 1)
        ends = [[t.get_text() for t in axis.get_yticklabels()] for axis in made.figure.axes[3:]]
        assert ends == [["0.25", "1.00"], ["0.82", "2.45"]]  # 9 / 11 and 27 / 11 of the mean

    def test_patches_that_are_all_alike_are_drawn(self):
        local = LocalScores(torch.ones(3, 3), torch.ones(3, 3))
        made = quality_figures.patches(np.zeros((96, 96, 3)), local)
        assert made.png() and "everywhere alike" in made.alt and "at the every" not in made.alt

    def test_values_that_a_chart_would_not_show_are_refused(self):
        with pytest.raises(ValueError, match="run from 0.2 to 60, and the charts from 0 to 1"):
            quality_figures.over_levels({"blur": [60, 40], "jpeg": [0.2, math.nan]})
        with pytest.raises(TypeError, match="a dict from kind to its values, not a list"):
            quality_figures.over_levels([0.1, 0.2])
        with pytest.raises(TypeError, match="local_scores of it are drawn, not an Image"):
            quality_figures.patches(picture(0), picture(0))

    @pytest.mark.parametrize("columns", [0, -1, 1.5, "2"])
    def test_charts_stand_in_one_column_or_more(self, columns):
        with pytest.raises(ValueError, match="is the most panels in a row: 1, 2"):
            quality_figures.over_levels({"blur": [0.9]}, columns=columns)

    def test_levels_are_told_in_numbers(self):
        made = quality_figures.over_levels(
            {"blur": [0.9, 0.5], "jpeg": [0.8, 0.1], "x": [1, 0]}, columns=2
        )
        assert "blur: 0.90, 0.50; jpeg: 0.80, 0.10" in made.alt
        drawn = made.figure.axes[1].get_lines()[0].get_xydata().tolist()
        assert drawn == [[1, 0.8], [2, 0.1]] and not made.figure.axes[3].axison
