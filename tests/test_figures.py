"""Pictures: the map lies where it belongs, zero looks like zero, and the words reach the page."""

import io
import os
import warnings
from html.parser import HTMLParser
from itertools import combinations
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from scipy.ndimage import binary_dilation

from course_utils import figures
from course_utils.birds import draw
from course_utils.figures import overlays, panels
from course_utils.figures.drawn_birds import large
from course_utils.figures.method_table import MethodTable
from course_utils.methods.maps import positive_maps, signed_maps
from course_utils.networks.preprocess import Preprocess

LONG = "Why West Highland white terrier, rather than American Staffordshire terrier?"
GREY = np.full((6, 6, 3), 0.5)


def peak(row: int, column: int, size: int = 6) -> torch.Tensor:
    """A map of zeros with a single 1."""
    values = torch.zeros(size, size)
    values[row, column] = 1
    return values


def texts(picture: figures.Picture):
    """Every piece of text on the figure, with its box in pixels."""
    canvas = FigureCanvasAgg(picture.figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    found = []
    for axis in picture.figure.axes:
        pieces = [axis.title, *axis.texts, *(axis.get_yticklabels() if axis.axison else [])]
        found += [(t.get_text(), t.get_window_extent(renderer)) for t in pieces if t.get_text()]
    return found


def assert_readable(picture: figures.Picture):
    """No text lies on another, on a picture's neighbour, or beyond the paper's edge."""
    page, found = picture.figure.bbox, texts(picture)
    for text, box in found:
        assert (
            page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
        ), text
    for (one, a), (other, b) in combinations(found, 2):
        assert not a.overlaps(b), (one, other)


class Tags(HTMLParser):
    def __init__(self, html: str):
        super().__init__()
        self.images, self.words = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.images.append(dict(attributes))

    def handle_data(self, data):
        self.words += data


class TestPicture:
    def test_alt_text_and_caption_reach_the_page(self):
        alt, caption = 'A cat\'s "eye" & <nose>', "See the <b>nose</b> & more"
        picture = figures.photos([GREY], ["grey"], alt=alt, caption=caption)
        page = Tags(picture._repr_html_())
        assert [image["alt"] for image in page.images] == [alt] and page.words == caption

    def test_none_without_alt_text(self):
        with pytest.raises(ValueError, match="needs alt text"):
            figures.photos([GREY], ["grey"], alt="  ")
        with pytest.raises(ValueError, match="needs alt text"):
            figures.photos([GREY], ["grey"], alt=None)

    def test_of_a_figure_only(self):
        with pytest.raises(TypeError, match="such as axes.figure, not Axes"):
            figures.Picture(Figure().subplots(), "a chart")

    @pytest.mark.parametrize(
        "name, begins",
        [("a.png", b"\x89PNG"), ("a.PDF", b"%PDF"), ("a.svg", b"<?xml"), ("a.jpg", b"\xff\xd8")],
    )
    def test_saved_in_the_format_of_the_name(self, tmp_path, name, begins):
        figures.photos([GREY], ["grey"], alt="grey").save(tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(begins)

    @pytest.mark.parametrize("name", ["grey", "grey.docx"])
    def test_a_name_of_no_format_is_refused_in_a_sentence(self, tmp_path, name):
        with pytest.raises(ValueError, match=f"'{name}' names no format.*end it in .png, .pdf"):
            figures.photos([GREY], ["grey"], alt="grey").save(tmp_path / name)
        assert not list(tmp_path.iterdir())

    def test_an_open_file_is_no_path_and_the_content_is_named(self):
        with pytest.raises(
            TypeError, match=r"saved by a path .* not to a BytesIO. \.png\(\) gives"
        ):
            figures.photos([GREY], ["grey"], alt="grey").save(io.BytesIO())

    def test_saved_in_the_home_folder_and_in_none(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        picture = figures.photos([GREY], ["grey"], alt="grey")
        picture.save("~/grey.png")
        assert (tmp_path / "grey.png").exists()
        with pytest.raises(FileNotFoundError, match="There is no folder .*: make it first."):
            picture.save(tmp_path / "nowhere" / "grey.png")

    @pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
    def test_what_is_no_file_is_not_written_to(self, tmp_path, make):
        make(tmp_path / "grey.png")  # a pipe without a reader would be waited for, for ever
        with pytest.raises(OSError, match="is a folder, a pipe or a device: give the path"):
            figures.photos([GREY], ["grey"], alt="grey").save(tmp_path / "grey.png")

    def test_a_home_of_nobody_is_a_folder_that_is_not_there(self):
        with pytest.raises(FileNotFoundError, match="There is no folder '~nobody-here'"):
            figures.photos([GREY], ["grey"], alt="grey").save("~nobody-here/grey.png")

    def test_a_users_matplotlibrc_changes_nothing(self):
        """Astronomers' origin would turn every photo upside down, usetex ask for LaTeX."""
        photo = np.zeros((6, 6, 3))
        photo[0] = 1

        def drawn():
            maps = torch.stack([peak(0, 0), peak(5, 5)])
            made = [figures.photos([photo], ["Why?"], alt="x"), figures.signed(maps, ["a", "b"])]
            return [picture.png() for picture in made]

        own = {
            "image.origin": "lower",
            "text.usetex": True,
            "font.size": 30,
            "savefig.bbox": "tight",
        }
        plain = drawn()
        with matplotlib.rc_context(own):
            assert drawn() == plain
            assert matplotlib.rcParams["font.size"] == 30

    def test_a_chart_of_ones_own_needs_no_latex(self):
        with matplotlib.rc_context({"text.usetex": True}):
            chart = Figure()
            chart.subplots().set_title("a chart")
            assert figures.Picture(chart, "a chart").png()


class TestTitles:
    @pytest.mark.parametrize(
        "title, lines",
        [
            ("tiger cat 0.39, Egyptian cat 0.36", ["tiger cat 0.39,", "Egyptian cat 0.36"]),
            ("The gradient (built by hand)", ["The gradient", "(built by hand)"]),
            ("Why tiger cat, rather than Egyptian cat?",
             ["Why tiger cat, rather", "than Egyptian cat?"]),
            ("What if tiger cat's evidence were absent?",
             ["What if tiger cat's", "evidence were absent?"]),
            ("one two three four five six seven", ["one two three four", "five six seven"]),
            ("never apart\u00a0these two words here", ["never apart\u00a0these", "two words here"]),
            ("", []),
        ],
    )  # fmt: skip
    def test_lines_are_balanced_and_break_inside_nothing(self, title, lines):
        assert panels.title_lines(title) == lines

    def test_of_a_list_of_classes_no_name_is_parted_from_itself(self):
        listed = "tiger cat 0.39, Egyptian cat 0.36, tabby 0.17"
        assert panels.title_lines(listed) == listed.replace(", ", ",|").split("|")

    @pytest.mark.parametrize("kept", ["0.36 %", "21.3 dB", "(7 x 7)", "p_P = 0.27", "4 %"])
    @pytest.mark.parametrize("before", ["a", "a few", "a few more words", "quite a few more words"])
    def test_a_number_a_bracket_and_a_formula_stay_whole_wherever_they_stand(self, kept, before):
        assert any(kept in line for line in panels.title_lines(f"{before} {kept} and so on and on"))

    def test_all_words_are_kept_and_no_line_is_too_long(self):
        for title in (LONG, "a" * 40 + " b", "word " * 30):
            lines = panels.title_lines(title)
            assert " ".join(lines).split() == title.split()
            assert all(len(line) <= panels.LINE or " " not in line for line in lines)

    @pytest.mark.parametrize(
        "title, drawn",
        [
            ("p_P = 0.27", "$p_P = 0.27$"),
            ("so y_F - y_S = +5.6.", "so $y_F - y_S = +5.6$."),
            ("5 $ a piece", r"5 \$ a piece"),
            ("no formula", "no formula"),
        ],
    )
    def test_formulas_are_set_as_formulas(self, title, drawn):
        assert panels.as_math(title) == drawn


class TestOverlay:
    def test_no_strength_is_the_photo_alone(self):
        photo = np.random.default_rng(0).random((6, 6, 3))
        assert np.allclose(figures.overlay(photo, peak(1, 1), 0), photo)

    def test_full_strength_is_the_map_alone_where_the_map_is_one(self):
        photo = np.random.default_rng(0).random((6, 6, 3))
        drawn = figures.overlay(photo, peak(1, 4), 1)
        assert np.allclose(drawn[1, 4], colormaps["plasma"](1.0)[:3])

    def test_where_the_map_is_zero_the_photo_is_dark_and_nearly_grey(self):
        """0.45 of grey, 0.45 of a quarter of its own colour; the grey of (1, 0.4, 0.1) is 0.5."""
        photo = np.broadcast_to([1.0, 0.4, 0.1], (6, 6, 3))
        drawn = figures.overlay(photo, peak(1, 4))
        assert np.allclose(drawn[5, 0], 0.45 * np.array([0.625, 0.475, 0.4]))

    def test_a_faint_overlay_darkens_the_photo_in_part(self):
        drawn = figures.overlay(GREY, torch.zeros(6, 6), overlays.STRENGTH / 2)
        assert np.allclose(drawn, (0.5 + 0.45 * 0.5) / 2)

    def test_opacity_rises_with_the_map(self):
        """Where the map is 1/16, its opacity is 0.8 times 1/16 to the power 3/4, which is 1/8."""
        drawn = figures.overlay(GREY, torch.full((6, 6), 1 / 16))
        colour = np.array(overlays.FOR(1 / 16)[:3])
        assert np.allclose(drawn, 0.9 * 0.45 * 0.5 + 0.1 * colour)

    def test_a_white_line_runs_around_what_is_above_half(self):
        values = torch.zeros(6, 6)
        values[1:4, 1:4], values[5, 5] = 0.5, 0.49
        white = (figures.overlay(GREY, values) == 1).all(axis=2)
        assert white.sum() == 12 and white[0, 1:4].all() and not white[1:4, 1:4].any()
        assert not (figures.overlay(GREY, values, line=False) == 1).all(axis=2).any()

    def test_colour_bar_shows_the_colours_of_the_overlay(self):
        bar = overlays.overlay_colours(0.6)
        drawn = figures.overlay(
            np.full((1, 2, 3), 0.6), torch.tensor([[0.0, 1.0]]), 0.6, line=False
        )
        assert np.allclose([bar(0.0)[:3], bar(1.0)[:3]], drawn[0])

    @pytest.mark.parametrize("draw", [figures.overlay, figures.signed_overlay, overlays.outlined])
    def test_a_map_of_a_crop_is_never_stretched_over_another_picture(self, draw):
        with pytest.raises(ValueError, match=r"8 x 9 and the map 6 x 6.*on_whole_photo"):
            draw(np.zeros((8, 9, 3)), peak(0, 0))

    @pytest.mark.parametrize("value", [float("nan"), 1.5, -0.5])
    def test_values_that_are_no_map_are_refused(self, value):
        words = "holds NaN" if value != value else "methods.maps.positive_maps puts"
        with pytest.raises(ValueError, match=words):
            figures.overlay(GREY, torch.full((6, 6), value))

    def test_a_whole_explanation_and_a_map_without_places_are_refused(self):
        with pytest.raises(TypeError, match=r"whole Explanation: give its \.maps\[0, 0\]"):
            figures.where(SimpleNamespace(maps=torch.zeros(1, 1, 6, 6)))
        with pytest.raises(ValueError, match="this is 0 x 0"):
            figures.where(torch.zeros(0, 0))

    def test_several_maps_at_once_are_refused(self):
        with pytest.raises(ValueError, match=r"1 x 1 x 6 x 6: pick one, such as maps\[0, 0\]"):
            figures.overlay(GREY, torch.zeros(1, 1, 6, 6))

    def test_signed_zero_is_grey_and_signs_are_red_and_blue(self):
        red, zero, blue = figures.signed_overlay(
            np.ones((1, 3, 3)), torch.tensor([[1.0, 0.0, -1.0]])
        )[0]
        assert red[0] > red[2] and blue[2] > blue[0] and np.ptp(zero) < 0.01 and zero.min() > 0.95

    def test_outline_runs_outside_the_mask(self):
        image, mask = np.full((9, 9, 3), 0.5), np.zeros((9, 9), bool)
        mask[4, 4] = True
        drawn = overlays.outlined(image, mask)[4, :, 0]
        assert drawn.tolist() == [0.5, 0, 1, 1, 0.5, 1, 1, 0, 0.5]
        for low, high in [(0, 255), (-1, 1), (0, 0.5)]:
            numbers = torch.from_numpy(np.where(mask, high, low))
            assert (overlays.outlined(image, numbers)[4, :, 0] == drawn).all()

    @pytest.mark.parametrize("soft", [np.eye(6) + 0.01, np.full((6, 6), np.nan)])
    def test_a_soft_mask_is_not_outlined_as_everything(self, soft):
        with pytest.raises(ValueError, match="must say True or False: mask > "):
            overlays.outlined(GREY, soft)


class TestWhere:
    @pytest.mark.parametrize(
        "row, column, words",
        [
            (0, 0, "upper left"), (0, 3, "upper centre"), (1, 5, "upper right"),
            (2, 1, "middle left"), (3, 2, "centre"), (3, 4, "middle right"),
            (4, 0, "lower left"), (5, 3, "lower centre"), (5, 5, "lower right"),
        ],
    )  # fmt: skip
    def test_a_peak_lies_in_one_of_nine_places(self, row, column, words):
        assert figures.where(peak(row, column)) == words

    def test_a_plateau_lies_at_its_middle(self):
        values = torch.zeros(6, 6)
        values[0:6, 0:2] = 1
        assert figures.where(values) == "middle left"

    @pytest.mark.parametrize(
        "value, words", [(0, "nowhere"), (-1, "nowhere"), (1, "everywhere alike")]
    )
    def test_a_map_without_a_peak(self, value, words):
        assert figures.where(torch.full((6, 6), float(value))) == words


class TestQuestions:
    def draw(self, n, k, title="Why tiger cat, rather than espresso?", **how):
        maps = torch.stack([torch.stack([peak(j, i) for j in range(k)]) for i in range(n)])
        return figures.questions([GREY] * n, maps, [[title] * k] * n, **how)

    @pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
    def test_one_panel_for_the_photo_and_one_for_each_question(self, k):
        panels = [axis for axis in self.draw(1, k).figure.axes if axis.images]
        assert len(panels) == k + 1

    @pytest.mark.parametrize(
        "n, k, columns", [(1, 3, 4), (1, 5, 3), (2, 1, 2), (2, 3, 4), (3, 4, 5)]
    )
    def test_every_image_begins_a_row(self, n, k, columns):
        """One image alone is spread over even rows of at most four."""
        panels = [axis for axis in self.draw(n, k).figure.axes if axis.images]
        first = [axis.get_subplotspec().colspan.start for axis in panels[:: k + 1]]
        assert first == [0] * n and panels[0].get_gridspec().ncols == columns

    @pytest.mark.parametrize("k", [4, 6])
    def test_five_and_seven_panels_are_a_large_photo_and_two_rows(self, k):
        """No grid of them is without a hole."""
        first, *others = [axis for axis in self.draw(1, k).figure.axes if axis.images]
        places = [axis.get_subplotspec() for axis in others]
        assert first.get_subplotspec().colspan == first.get_subplotspec().rowspan == range(0, 2)
        found = [(place.rowspan.start, place.colspan.start) for place in places]
        assert found == [(row, column) for row in (0, 1) for column in range(2, 2 + k // 2)]

    def test_of_three_flat_pictures_the_first_is_large(self):
        mosaic, maps = np.full((6, 12, 3), 0.5), torch.rand(1, 2, 6, 12)
        first, *others = figures.questions([mosaic], maps, [["a", "b"]]).figure.axes[:3]
        assert first.get_subplotspec().rowspan == range(0, 2)
        assert [axis.get_subplotspec().rowspan.start for axis in others] == [0, 1]

    def test_photos_with_one_map_each_stand_in_pairs_beside_each_other(self):
        panels = [axis for axis in self.draw(4, 1).figure.axes if axis.images]
        places = [axis.get_subplotspec() for axis in panels[::2]]
        assert [(one.rowspan.start, one.colspan.start) for one in places] == [
            (0, 0), (0, 2), (1, 0), (1, 2)
        ]  # fmt: skip

    @pytest.mark.parametrize("n", [3, 5])
    def test_an_odd_number_of_photos_stands_above_their_maps(self, n):
        """In pairs they would leave a hole."""
        panels = [axis for axis in self.draw(n, 1).figure.axes if axis.images]
        places = [axis.get_subplotspec() for axis in panels]
        assert sorted((one.rowspan.start, one.colspan.start) for one in places) == [
            (row, column) for row in (0, 1) for column in range(n)
        ]
        shown = [np.asarray(axis.images[0].get_array()).tobytes() for axis in panels]
        assert len(set(shown[:n])) == 1 and not set(shown[:n]) & set(shown[n:])

    def test_of_many_photos_a_piece_holds_two_and_all_are_shown(self):
        picture = self.draw(5, 2, caption="Mind the last.")
        kept = [len([axis for axis in part.figure.axes if axis.images]) for part in picture.parts]
        assert kept == [6, 6, 3]
        shown = picture._repr_html_()
        assert shown.count("<figure ") == 3 and shown.count("Mind the last.") == 1
        assert [f"Image {n}: " in picture.parts[1].alt for n in range(1, 6)] == [
            False, False, True, True, False
        ]  # fmt: skip
        assert not self.draw(2, 2).parts and self.draw(2, 2)._repr_html_().count("<figure ") == 1

    def test_words_of_the_caller_are_kept_in_every_piece(self):
        parts = self.draw(3, 2, alt="Three cats.").parts
        assert [part.alt for part in parts] == [
            "Three cats. (Part 1 of 2.)",
            "Three cats. (Part 2 of 2.)",
        ]

    def test_what_the_network_saw_is_said_once(self):
        assert [text for text, _ in texts(self.draw(3, 2))].count("What the network saw") == 1

    def test_flat_pictures_are_drawn_two_to_a_row(self):
        mosaic, maps = np.full((6, 12, 3), 0.5), torch.rand(1, 3, 6, 12)
        figure = figures.questions([mosaic], maps, [["a", "b", "c"]]).figure
        assert figure.axes[0].get_gridspec().ncols == 2

    def test_three_flat_pictures_stand_in_one_row(self):
        """Two to a row would leave a hole, and a sum of maps is read from the left."""
        figure = figures.signed(torch.rand(3, 6, 12), ["a", "b", "their difference"]).figure
        assert figure.axes[0].get_gridspec().get_geometry() == (1, 3)
        assert figure.get_figwidth() > 9  # each larger than a square panel

    def test_known_answers_are_outlined_and_said(self):
        maps, mask = torch.stack([peak(1, 1), peak(4, 4)])[None], np.zeros((6, 6), bool)
        mask[3, 3] = True
        picture = figures.questions([GREY], maps, [["a", "b"]], outlines=[[mask, None]])
        known, unknown = (np.asarray(a.images[0].get_array()) for a in picture.figure.axes[1:3])
        assert (known == 1).all(axis=2)[3, 4] and not (unknown == 1).all(axis=2)[3, 2]
        assert picture.alt.endswith("The known answers are outlined.")
        two = figures.questions([GREY] * 2, maps.expand(2, -1, -1, -1), [["a", "b"]] * 2,
                                outlines=[None, [mask, None]])  # fmt: skip
        first, second = (np.asarray(two.figure.axes[i].images[0].get_array()) for i in (1, 4))
        assert not (first == 1).all(axis=2)[3, 4] and (second == known).all()

    @pytest.mark.parametrize("columns", [0, -2, 1.5, "two"])
    def test_columns_are_a_whole_number_from_1(self, columns):
        with pytest.raises(ValueError, match="is the most panels in a row: 1, 2,"):
            figures.photos([GREY], ["a"], "A grey square.", columns=columns)

    @pytest.mark.parametrize("title", ["Why cup?", LONG], ids=["short", "long"])
    @pytest.mark.parametrize(
        "n, k", [(1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (2, 1), (2, 3), (3, 2)]
    )
    def test_titles_do_not_collide(self, n, k, title):
        assert_readable(self.draw(n, k, title))

    def test_alt_says_each_question_and_where_its_map_is_strongest(self):
        alt = self.draw(2, 1, "Why cup?").alt
        assert "Image 1: Why cup? Strongest at the upper left." in alt
        assert "2 photos" in alt and "Image 2: Why cup? Strongest at the upper left." in alt

    def test_an_empty_map_is_said_in_words(self):
        picture = figures.questions([GREY], torch.zeros(1, 1, 6, 6), [["Why cup?"]])
        assert "Why cup? Empty: no positive evidence." in picture.alt
        assert "no positive evidence" in [text for text, _ in texts(picture)]

    def test_as_many_titles_as_maps(self):
        with pytest.raises(ValueError, match="2 maps of image 0, 1 titles of image 0"):
            figures.questions([GREY], torch.zeros(1, 2, 6, 6), [["Why cup?"]])

    def test_as_many_images_as_maps(self):
        with pytest.raises(ValueError, match="2 images, 1 maps"):
            figures.questions([GREY] * 2, torch.zeros(1, 1, 6, 6), [["Why cup?"]])

    def test_maps_may_be_a_list_and_titles_numbers(self):
        several = torch.stack([peak(0, 0), peak(5, 5)])[:, None]
        words = figures.questions([GREY] * 2, several, [[1], [2]]).alt
        for maps in (list(several), [one.numpy() for one in several], several.tolist()):
            assert figures.questions([GREY] * 2, maps, [["1"], ["2"]]).alt == words

    STRENGTH = torch.tensor([[1.0, 0.04]])

    def test_strength_stands_in_the_titles_and_in_the_alt_text(self):
        alt = self.draw(1, 2, "Why cup?", strength=self.STRENGTH).alt
        assert "Why cup? (strength 1.00) Strongest at" in alt
        assert "Why cup? (weak: 4 % of Grad-CAM's peak) Strongest at" in alt

    @pytest.mark.parametrize(
        "strength, words",
        [
            (0.04, "(weak: 4 % of Grad-CAM's peak)"),
            (0.0998, "(weak: 9.9 % of Grad-CAM's peak)"),  # weak, so it is not called 10 %
            (0.004, "(weak: less than 1 % of Grad-CAM's peak)"),
            (0.1, "(strength 0.10)"),
        ],
    )
    def test_the_panels_title_says_the_strength_in_the_same_words(self, strength, words):
        shown = self.draw(1, 1, "Why cup?", strength=torch.tensor([[strength]]))
        assert texts(shown)[1][0].replace("\n", " ") == f"Why cup? {words}"

    def test_an_empty_map_is_said_to_be_empty_once(self):
        picture = figures.questions(
            [GREY], torch.zeros(1, 1, 6, 6), [["Why cup?"]], strength=torch.zeros(1, 1)
        )
        assert picture.alt.count("mpty") == 1

    @pytest.mark.parametrize(
        "strength, shares",
        [
            ([1.0, 0.04], [1.0, 0.04]),
            ([1.0, 4.0], [0.25, 1.0]),  # the strongest is the scale: nothing is clipped
            ([0.5, 0.0], [0.5, 0.0]),
            ([float("nan"), 1.0], [1.0, 1.0]),  # of unknown strength: its own scale
        ],
    )
    def test_on_the_shared_scale_a_weak_map_looks_weak(self, strength, shares):
        maps = figures.on_scale(torch.ones(1, 2, 3, 3), torch.tensor([strength]), "shared")
        assert maps[0, :, 0, 0].tolist() == pytest.approx(shares)

    def test_photos_do_not_share_a_scale(self):
        strength = torch.tensor([[4.0], [1.0]])
        assert figures.on_scale(torch.ones(2, 1, 3, 3), strength, "shared").min() == 1

    def test_on_the_shared_scale_the_weak_panel_is_nearly_empty(self):
        own, shared = (
            [axis.images[0].get_array() for axis in picture.figure.axes if axis.images][2]
            for picture in (
                self.draw(1, 2, "Why?", strength=self.STRENGTH, scale=scale)
                for scale in ("own", "shared")
            )
        )
        empty = figures.overlay(GREY, torch.zeros(6, 6))
        assert np.abs(shared - empty).max() < 0.5 * np.abs(own - empty).max()

    def test_a_shared_scale_needs_the_strengths(self):
        with pytest.raises(ValueError, match="needs strength=, an Explanation's .strength"):
            self.draw(1, 1, scale="shared")

    def test_an_unknown_scale_is_refused(self):
        with pytest.raises(ValueError, match="choose 'own' or 'shared'"):
            self.draw(1, 1, strength=torch.ones(1, 1), scale="common")

    def test_as_many_strengths_as_titles(self):
        with pytest.raises(ValueError, match="2 titles of image 0, 1 strengths of image 0"):
            self.draw(1, 2, strength=torch.ones(1, 1))


class TestVolumesAndSignals:
    """A volume of 4 slices whose two maps peak in slices 2 and 4; a signal of 12 numbers."""

    def volume(self):
        values = torch.arange(4 * 6 * 6).reshape(1, 4, 6, 6).float() - 50  # of any range
        maps = torch.zeros(1, 2, 4, 6, 6)
        maps[0, 0, 1], maps[0, 1, 3] = peak(0, 0), peak(5, 5)
        return values, maps

    @pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: v, lambda v: [v[0].numpy()]])
    def test_of_a_volume_the_slice_with_each_maps_peak_is_shown(self, wrap):
        values, maps = self.volume()
        picture = figures.questions(wrap(values), maps, [["Why a?", "Why b?"]])
        seen, first, second = [axis for axis in picture.figure.axes if axis.images]
        assert seen.get_title() == "What the network\nsaw (slice 2 of 4)"
        assert first.get_title() == "Why a? (slice 2 of 4)"
        assert second.get_title() == "Why b? (slice 4 of 4)"
        grey = (values[0] + 50) / 143
        shown = first.images[0].get_array()
        np.testing.assert_allclose(shown, figures.overlay(grey[1], maps[0, 0, 1]))
        np.testing.assert_allclose(seen.images[0].get_array()[..., 0], grey[1], atol=1e-6)
        np.testing.assert_allclose(
            second.images[0].get_array(), figures.overlay(grey[3], maps[0, 1, 3])
        )
        assert "Why b? (slice 4 of 4) Strongest at the lower right." in picture.alt

    def test_of_several_volumes_each_first_panel_names_its_slice(self):
        values, maps = self.volume()
        both = torch.cat([maps, maps.flip(2)])
        picture = figures.questions([values, values], both, [["a", "b"]] * 2)
        titles = [axis.get_title() for axis in picture.figure.axes if axis.images]
        assert titles[0] == "What the network\nsaw (slice 2 of 4)" and titles[3] == "(slice 3 of 4)"

    def test_on_the_shared_scale_a_volumes_weak_map_looks_weak(self):
        values, maps = self.volume()
        strength = np.array([[1.0, 0.04]])
        picture = figures.questions([values], maps, [["a", "b"]], strength=strength, scale="shared")
        faint = [axis for axis in picture.figure.axes if axis.images][2].images[0].get_array()
        grey = (values[0] + 50) / 143
        np.testing.assert_allclose(faint, figures.overlay(grey[3], 0.04 * maps[0, 1, 3]))
        assert "(slice 4 of 4) (weak: 4 % of Grad-CAM's peak)" in picture.alt

    def test_of_an_empty_map_the_middle_slice_is_shown(self):
        values, maps = self.volume()
        picture = figures.questions([values], 0 * maps, [["a", "b"]])
        assert "a (slice 3 of 4) Empty" in picture.alt

    def test_a_known_answer_in_a_volume_is_outlined_in_the_slice_shown(self):
        values, maps = self.volume()
        mask = np.zeros((4, 6, 6), bool)
        mask[1, :2, :2] = True
        picture = figures.questions([values], maps[:, :1], [["a"]], outlines=[[mask]])
        assert "outlined" in picture.alt

    def test_a_signal_is_a_strip(self):
        signal, maps = torch.linspace(-3, 5, 12)[None], torch.eye(12)[None, 9:10]
        picture = figures.questions([signal], maps, [["Why a?"]])
        seen, over = [axis.images[0].get_array() for axis in picture.figure.axes if axis.images]
        assert seen.shape == over.shape == (2, 12, 3)
        assert "Strongest at the" in picture.alt and "right" in picture.alt

    def test_another_size_than_the_maps_is_named(self):
        values, maps = self.volume()
        with pytest.raises(ValueError, match="maps are 4 x 6 x 6 and the image 1 x 3 x 6 x 6"):
            figures.questions([values[:, :3]], maps, [["a", "b"]])

    def test_signed_and_feature_maps_of_a_volume(self):
        _, maps = self.volume()
        signed = figures.signed(-maps[0], ["a", "b"])
        assert "a (slice 2 of 4): for, nowhere; against, upper left" in signed.alt
        features = figures.feature_maps(maps[0])
        assert "map 0 upper left" in features.alt
        titles = [axis.get_title() for axis in features.figure.axes if axis.images]
        assert "$A^{0}$ (slice 2 of 4)" in titles


class TestSigned:
    MAPS = torch.stack([peak(0, 0) - peak(5, 5), -0.5 * peak(0, 5)])

    def test_all_maps_share_one_scale_with_zero_in_the_middle(self):
        picture = figures.signed(self.MAPS, ["a", "b"])
        limits = {axis.images[0].get_clim() for axis in picture.figure.axes if axis.images}
        assert limits == {(-1, 1)}

    def test_a_sessions_default_device_does_not_matter(self):
        with torch.device("meta"):
            maps = self.MAPS.clamp(0, 1)[None]
            strength = torch.ones(1, 2, device="cpu")
            drawn = figures.questions([np.zeros((6, 6, 3))], maps, [["a", "b"]], strength=strength)
            assert "a (strength 1.00) Strongest at the upper left" in drawn.alt
            assert "upper left" in figures.signed(self.MAPS, ["a", "b"]).alt

    def test_zero_is_drawn_white(self):
        figure = figures.signed(torch.zeros(1, 6, 6), ["none"]).figure
        image = figure.axes[0].images[0]
        assert np.allclose(image.cmap(image.norm(0.0))[:3], 1, atol=0.04)

    def test_alt_says_what_is_for_and_what_against(self):
        alt = figures.signed(self.MAPS, ["first", "second"], low="lowers", high="raises").alt
        assert "first: raises, upper left; lowers, lower right." in alt
        assert "second: raises, nowhere; lowers, upper right." in alt

    @pytest.mark.parametrize("k", [1, 2, 5])
    def test_titles_do_not_collide(self, k):
        assert_readable(figures.signed(torch.zeros(k, 6, 6), [LONG] * k, image=GREY))

    def test_evidence_that_is_not_on_the_scale_is_refused(self):
        with pytest.raises(ValueError, match="methods.maps.signed_maps puts"):
            figures.signed(2 * self.MAPS, ["a", "b"], image=GREY)


class TestFeatureMaps:
    # means 1, 3, 2; with weights -9, 1, 2 the contributions are -9, 3, 4
    A = torch.stack([peak(0, 0, 3) * 9, torch.full((3, 3), 3.0), peak(2, 2, 3) * 18])

    def test_the_most_active_come_first(self):
        found = [t for t, _ in texts(figures.feature_maps(self.A, count=2))]
        assert [t for t in found if t.startswith("$A")] == ["$A^{1}$", "$A^{2}$"]

    def test_the_largest_contributions_come_first_with_their_sign(self):
        picture = figures.feature_maps(self.A, torch.tensor([-9.0, 1.0, 2.0]), count=2)
        assert [t for t, _ in texts(picture)][:2] == [
            r"$A^{0}$,  $\alpha$ = -9.00",
            r"$A^{2}$,  $\alpha$ = +2.00",
        ]
        assert (
            "2 of 3 feature maps" in picture.alt
            and "map 0 upper left, map 2 lower right" in picture.alt
        )

    def test_all_weights_show_the_same_digits(self):
        weights = torch.tensor([0.0123456, -0.0000123, 0.5])
        titles = [t for t, _ in texts(figures.feature_maps(self.A, weights)) if "alpha" in t]
        assert [t.split("= ")[1] for t in titles] == ["+0.500", "+0.012", "-0.000"]

    def test_a_flat_map_says_its_number(self):
        flat = torch.full((1, 3, 3), 6.0)
        assert "6 everywhere" in [t for t, _ in texts(figures.feature_maps(flat))]

    def test_arrays_and_whole_numbers_are_drawn_alike(self):
        weights = torch.arange(len(self.A))
        drawn = figures.feature_maps(self.A, weights.float()).alt
        assert figures.feature_maps(self.A.numpy(), weights.tolist()).alt == drawn

    def test_the_maps_of_one_image_are_drawn(self):
        with pytest.raises(ValueError, match=r"are 1 x .* one image are drawn: activations\[0\]"):
            figures.feature_maps(self.A[None])

    @pytest.mark.parametrize("count", [0, -1])
    def test_at_least_one(self, count):
        with pytest.raises(ValueError, match=f"nothing to show: count={count}"):
            figures.feature_maps(self.A, count=count)

    def test_one_weight_for_each_map(self):
        with pytest.raises(ValueError, match="3 feature maps, 2 weights"):
            figures.feature_maps(self.A, torch.ones(2))

    def test_titles_do_not_collide(self):
        weights = torch.full((10,), -1.2345e-5)
        assert_readable(
            figures.feature_maps(torch.rand(10, 7, 7, generator=torch.manual_seed(0)), weights)
        )


class TestOnWholePhoto:
    def drawn(self, size, preprocess, values):
        photo = Image.new("RGB", size, (200, 200, 200))
        picture = figures.on_whole_photo(photo, preprocess, values, "Why cup?", opacity=1)
        pixels = picture.figure.axes[0].images[0].get_array()
        return picture, np.asarray(pixels)

    @pytest.mark.parametrize("size, scale", [((512, 256), 1), ((2048, 1024), 1000 / 2048)])
    def test_only_the_part_that_the_network_saw_is_bright(self, size, scale):
        """The middle half of the height, as wide as it is high; a large photo is drawn smaller."""
        _, pixels = self.drawn(
            size, Preprocess(256, 128, (0,) * 3, (1,) * 3), torch.zeros(128, 128)
        )
        bright = pixels[..., 0] > 0.3
        rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
        height = size[1] * scale
        assert pixels.shape == (height, 2 * height, 3)
        assert (rows[0], rows[-1] + 1) == (height / 4, height * 3 / 4)
        assert (columns[0], columns[-1] + 1) == (height * 3 / 4, height * 5 / 4)
        assert np.allclose(pixels[~bright], figures.DARK * 200 / 255)

    def test_a_peak_returns_to_its_place(self):
        values = torch.zeros(128, 128)
        values[10:20, 100:110] = 1
        _, pixels = self.drawn((512, 256), Preprocess(256, 128, (0,) * 3, (1,) * 3), values)
        hot = np.isclose(pixels, colormaps["plasma"](1.0)[:3], atol=0.02).all(axis=2)
        rows, columns = np.flatnonzero(hot.any(axis=1)), np.flatnonzero(hot.any(axis=0))
        assert (rows[0], rows[-1], columns[0], columns[-1]) == (74, 83, 292, 301)

    def test_a_photo_smaller_than_the_crop_keeps_the_map_in_place(self):
        """Padded by 64 on every side, a 512 x 512 photo shows the inner half of a 256 x 256 map."""
        values = torch.zeros(256, 256)
        values[:, 128:] = 1
        _, pixels = self.drawn((512, 512), Preprocess(128, 256, (0,) * 3, (1,) * 3), values)
        hot = np.isclose(pixels, colormaps["plasma"](1.0)[:3], atol=0.02).all(axis=2)
        assert not hot[:, :252].any() and hot[:, 260:].all()

    @pytest.mark.parametrize(
        "size", [(600, 300), (300, 600), (900, 60), (60, 900), (40, 30), (3000, 2000)]
    )
    def test_titles_stay_on_the_paper(self, size):
        photo = Image.new("RGB", size, (90, 120, 150))
        preprocess = Preprocess(30, 28, (0,) * 3, (1,) * 3)
        picture = figures.on_whole_photo(photo, preprocess, peak(0, 0, 28), LONG)
        assert_readable(picture)
        assert max(picture.figure.get_size_inches()) < 6.5

    def test_a_classifier_stands_for_its_preprocess_and_a_plain_function_for_none(self):
        preprocess = Preprocess(30, 28, (0,) * 3, (1,) * 3)
        photo = Image.new("RGB", (40, 30))
        drawn = figures.on_whole_photo(
            photo, SimpleNamespace(preprocess=preprocess), peak(0, 0, 28)
        )
        assert drawn.png() == figures.on_whole_photo(photo, preprocess, peak(0, 0, 28)).png()
        with pytest.raises(TypeError, match="where it cropped the photo, .* not a function"):
            figures.on_whole_photo(photo, lambda photo: photo, peak(0, 0, 28))

    def test_alt_says_the_question_and_the_place(self):
        alt = self.drawn((40, 30), Preprocess(30, 28, (0,) * 3, (1,) * 3), peak(0, 27, 28))[0].alt
        assert "whole photo" in alt and "Why cup? Strongest at the upper right." in alt


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (300, 300)])
def test_photos_of_any_shape_stand_side_by_side(size):
    images = [Image.new("RGB", size), Image.new("RGB", (120, 90))]
    assert_readable(figures.photos(images, [LONG, "b"], alt="two dark pictures"))


@pytest.mark.parametrize(
    "call",
    [
        lambda: figures.photos([], [], alt="none"),
        lambda: figures.questions([], torch.zeros(0, 1, 6, 6), []),
        lambda: figures.questions([], [], []),
        lambda: figures.signed([], []),
    ],
)
def test_of_nothing_there_is_nothing_to_show(call):
    with pytest.raises(ValueError, match="There is nothing to show: .* are empty"):
        call()


def test_a_large_photo_is_drawn_no_larger_than_a_page_shows():
    """A phone's photo took a minute and gigabytes."""
    picture = figures.photos([Image.new("RGB", (6000, 300), "red")], ["one"], "A red one.")
    drawn = picture.figure.axes[0].images[0].get_array()
    assert drawn.shape == (100, 2000, 3) and np.array_equal(drawn[50, 50], [1, 0, 0])


def test_a_map_of_another_shape_is_not_stretched_over_the_photo():
    preprocess = Preprocess(256, 224, (0,) * 3, (1,) * 3)
    with pytest.raises(ValueError, match="map is 224 x 112, of another shape"):
        figures.on_whole_photo(Image.new("RGB", (300, 200)), preprocess, torch.ones(224, 112))


@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 3)])
def test_on_a_whole_photo_like_a_line_the_map_has_a_pixel(size):
    preprocess = Preprocess(256, 224, (0, 0, 0), (1, 1, 1))
    picture = figures.on_whole_photo(Image.new("RGB", size), preprocess, torch.ones(224, 224))
    drawn = picture.figure.axes[0].images[0].get_array()
    assert min(drawn.shape[:2]) == 1 and drawn.max() > 0.5


def test_as_many_titles_as_photos():
    with pytest.raises(ValueError, match="1 images, 2 titles"):
        figures.photos([GREY], ["a", "b"], alt="grey")


class TestBirds:
    def draw(self, **how):
        bird = draw("flamingo", 1_000_003)
        maps = torch.zeros(1, 1, 128, 128)
        maps[0, 0, 20:40, 30:60] = 1
        return bird, figures.birds([bird], maps, [["Why flamingo, rather than spoonbill?"]], **how)

    def test_the_same_bird_is_shown_three_times_as_fine(self):
        bird, picture = self.draw()
        shown = np.asarray(picture.figure.axes[0].images[0].get_array())
        assert shown.shape == (384, 384, 3)
        coarse = shown.reshape(128, 3, 128, 3, 3).mean(axis=(1, 3))
        assert np.abs(coarse - np.asarray(bird.image) / 255).mean() < 0.02

    def test_a_bird_with_replaced_parts_stays_that_bird(self):
        changed = draw("flamingo", 7, bill="spatula", legs=None)
        assert large(changed).attributes == changed.attributes

    def test_the_caption_says_what_the_network_saw(self):
        assert "The network saw 128 x 128 pixels" in self.draw(caption="Look.")[1].caption

    def test_the_known_answer_is_outlined(self):
        bird, picture = self.draw(known=[[("bill",)]])
        drawn = np.asarray(picture.figure.axes[1].images[0].get_array())
        white = (drawn == 1).all(axis=2)
        bill = large(bird).masks["bill"]
        assert white.any() and not white[bill].any()
        assert binary_dilation(bill, iterations=4)[white].all()
        assert "White outline: the known answer." in picture.caption


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": Image.new("RGB", (6, 6))}, r"images must be a list.*not Image.*: \[image\]"),
        ({"titles": "Why?"}, "titles must be a list or a tensor, not str"),
        ({"maps": peak(1, 1)[None, None] * torch.nan}, "map holds NaN"),
        (
            {"maps": peak(1, 1)[None, None] * 7},
            "from 0 to 7, not .* course_utils.methods.maps.positive_maps puts",
        ),
        ({"opacity": 80}, "opacity is 80, and must be 0 to 1"),
    ],
)
def test_what_cannot_be_drawn_is_called_by_its_cause(change, words):
    given = {"images": [GREY], "maps": peak(1, 1)[None, None], "titles": [["Why?"]]} | change
    with pytest.raises((TypeError, ValueError), match=words):
        figures.questions(**given)


class TestLetters:
    """Class names in letters that matplotlib's own font has not."""

    COMBINED = "\u20dd"  # STIX, which comes with matplotlib, has it; DejaVu has not

    def draw(self, title):
        return figures.questions([GREY], peak(1, 1)[None, None], [[title]])

    def test_missing_letters_are_named_in_one_sentence(self):
        with pytest.warns(UserWarning) as caught:
            self.draw("Why 猫, rather than 犬猫?").png()
        (said,) = [str(one.message) for one in caught]
        assert "has the letters '猫犬'" in said and "fontManager.addfont(file)" in said

    @pytest.mark.parametrize("setting", ["font.family", "font.sans-serif"])
    def test_a_font_that_the_user_names_has_its_letters(self, setting, recwarn):
        with matplotlib.rc_context({setting: ["STIXGeneral"]}):
            picture = self.draw(f"Why {self.COMBINED}?")
            picture.png()
        assert not recwarn.list
        family = picture.figure.axes[1].title.get_fontfamily()
        assert family[0] == "DejaVu Sans"  # all other letters look as ever

    def test_other_warnings_still_come_through(self):
        picture = self.draw("Why?")
        picture.figure.savefig = lambda *_, **__: warnings.warn("something else", stacklevel=1)
        with pytest.warns(UserWarning, match="something else"):
            picture.png()

    @pytest.mark.parametrize("name", ["כלב", "كلب"])
    def test_a_line_that_begins_with_hebrew_or_arabic_still_reads_from_the_left(self, name):
        title = self.draw(f"Why cat, rather than {name}{name}{name}? (strength 6.66)")
        lines = title.figure.axes[1].get_title().split("\n")
        for line in lines:
            assert line.startswith("\u200e") == (name in line)  # the left-to-right mark
        assert any(name in line for line in lines)


def test_of_a_volume_the_numbers_are_drawn_and_no_photo():
    with pytest.raises(TypeError, match="C x D x H x W, not an Image"):
        figures.questions([Image.new("RGB", (4, 4))], torch.ones(1, 1, 2, 4, 4), [["Why?"]])


def test_the_functions_that_a_sentence_names_are_there():
    assert positive_maps(torch.randn(1, 1, 3, 3), (6, 6)).max() <= 1
    assert signed_maps(torch.randn(1, 1, 3, 3), (6, 6)).abs().max() <= 1


def test_the_table_of_methods_says_the_height_of_its_lines():
    """In a widget they would stand twice as far apart as on a page."""
    assert "line-height:1.4" in MethodTable([], {}, None, ["a cat"], "none")._repr_html_()
