"""Pictures: the map lies where it belongs, zero looks like zero, and the words reach the page."""

from html.parser import HTMLParser
from itertools import combinations

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from course_utils import figures
from course_utils.figures import overlays
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

    def test_saved_as_png(self, tmp_path):
        figures.photos([GREY], ["grey"], alt="grey").save(tmp_path / "grey.png")
        assert Image.open(tmp_path / "grey.png").format == "PNG"


class TestOverlay:
    def test_no_strength_is_the_photo_alone(self):
        photo = np.random.default_rng(0).random((6, 6, 3))
        assert np.allclose(figures.overlay(photo, peak(1, 1), 0), photo)

    def test_full_strength_is_the_map_alone_where_the_map_is_one(self):
        photo = np.random.default_rng(0).random((6, 6, 3))
        drawn = figures.overlay(photo, peak(1, 4), 1)
        assert np.allclose(drawn[1, 4], colormaps["inferno"](1.0)[:3])

    def test_where_the_map_is_zero_no_colour_is_added(self):
        photo = np.broadcast_to([1.0, 0.4, 0.1], (6, 6, 3))  # mean 0.5
        drawn = figures.overlay(photo, peak(1, 4), 0.5)
        assert np.allclose(drawn[3, 3], [0.75, 0.45, 0.3])  # half-way to grey

    def test_opacity_is_strength_times_the_root_of_the_map(self):
        drawn = figures.overlay(GREY, 0.25 * torch.ones(6, 6), 0.6)
        assert np.allclose(drawn, 0.7 * 0.5 + 0.3 * np.array(colormaps["inferno"](0.25)[:3]))

    def test_colour_bar_shows_the_colours_of_the_overlay(self):
        bar = overlays.overlay_colours(0.6)
        drawn = figures.overlay(np.full((1, 2, 3), 0.6), torch.tensor([[0.0, 1.0]]), 0.6)
        assert np.allclose([bar(0.0)[:3], bar(1.0)[:3]], drawn[0])

    @pytest.mark.parametrize("draw", [figures.overlay, figures.signed_overlay, overlays.outlined])
    def test_a_map_of_a_crop_is_never_stretched_over_another_picture(self, draw):
        with pytest.raises(ValueError, match=r"8 x 9 and the map 6 x 6.*on_whole_photo"):
            draw(np.zeros((8, 9, 3)), peak(0, 0))

    @pytest.mark.parametrize("value", [float("nan"), 1.5, -0.5])
    def test_values_that_are_no_map_are_refused(self, value):
        with pytest.raises(ValueError, match="rendering.positive_maps"):
            figures.overlay(GREY, torch.full((6, 6), value))

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
        "n, k, columns", [(1, 3, 4), (1, 4, 3), (1, 5, 3), (2, 1, 2), (2, 3, 4), (3, 4, 5)]
    )
    def test_every_image_begins_a_row(self, n, k, columns):
        """One image alone is spread over even rows of at most four."""
        panels = [axis for axis in self.draw(n, k).figure.axes if axis.images]
        first = [axis.get_subplotspec().colspan.start for axis in panels[:: k + 1]]
        assert first == [0] * n and panels[0].get_gridspec().ncols == columns

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

    STRENGTH = torch.tensor([[1.0, 0.04]])

    def test_strength_stands_in_the_titles_and_in_the_alt_text(self):
        alt = self.draw(1, 2, "Why cup?", strength=self.STRENGTH).alt
        assert "Why cup? (strength 1.00) Strongest at" in alt
        assert "Why cup? (weak: 4 % of Grad-CAM's peak) Strongest at" in alt

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

    def test_on_the_shared_scale_the_weak_panel_is_nearly_the_photo(self):
        own, shared = (
            [axis.images[0].get_array() for axis in picture.figure.axes if axis.images][2]
            for picture in (
                self.draw(1, 2, "Why?", strength=self.STRENGTH, scale=scale)
                for scale in ("own", "shared")
            )
        )
        assert np.abs(shared - GREY).max() < 0.5 * np.abs(own - GREY).max()

    def test_a_shared_scale_needs_the_strengths(self):
        with pytest.raises(ValueError, match="needs strength=, an Explanation's .strength"):
            self.draw(1, 1, scale="shared")

    def test_an_unknown_scale_is_refused(self):
        with pytest.raises(ValueError, match="choose 'own' or 'shared'"):
            self.draw(1, 1, strength=torch.ones(1, 1), scale="common")

    def test_as_many_strengths_as_titles(self):
        with pytest.raises(ValueError, match="2 titles of image 0, 1 strengths of image 0"):
            self.draw(1, 2, strength=torch.ones(1, 1))


class TestSigned:
    MAPS = torch.stack([peak(0, 0) - peak(5, 5), -0.5 * peak(0, 5)])

    def test_all_maps_share_one_scale_with_zero_in_the_middle(self):
        picture = figures.signed(self.MAPS, ["a", "b"])
        limits = {axis.images[0].get_clim() for axis in picture.figure.axes if axis.images}
        assert limits == {(-1, 1)}

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
        with pytest.raises(ValueError, match="rendering.signed_maps"):
            figures.signed(2 * self.MAPS, ["a", "b"], image=GREY)


class TestFeatureMaps:
    # means 1, 3, 2; with weights -9, 1, 2 the contributions are -9, 3, 4
    A = torch.stack([peak(0, 0, 3) * 9, torch.full((3, 3), 3.0), peak(2, 2, 3) * 18])

    def test_the_most_active_come_first(self):
        assert [t for t, _ in texts(figures.feature_maps(self.A, count=2))][:2] == [
            "$A^{1}$",
            "$A^{2}$",
        ]

    def test_the_largest_contributions_come_first_with_their_sign(self):
        picture = figures.feature_maps(self.A, torch.tensor([-9.0, 1.0, 2.0]), count=2)
        assert [t for t, _ in texts(picture)][:2] == [
            r"$A^{0}$,  $\alpha$ = -9",
            r"$A^{2}$,  $\alpha$ = +2",
        ]
        assert (
            "2 of 3 feature maps" in picture.alt
            and "map 0 upper left, map 2 lower right" in picture.alt
        )

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
        bright = pixels[..., 0] > 0.7
        rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
        height = size[1] * scale
        assert pixels.shape == (height, 2 * height, 3)
        assert (rows[0], rows[-1] + 1) == (height / 4, height * 3 / 4)
        assert (columns[0], columns[-1] + 1) == (height * 3 / 4, height * 5 / 4)
        assert np.allclose(pixels[~bright], 0.35 * 200 / 255)

    def test_a_peak_returns_to_its_place(self):
        values = torch.zeros(128, 128)
        values[10:20, 100:110] = 1
        _, pixels = self.drawn((512, 256), Preprocess(256, 128, (0,) * 3, (1,) * 3), values)
        hot = np.isclose(pixels, colormaps["inferno"](1.0)[:3], atol=0.02).all(axis=2)
        rows, columns = np.flatnonzero(hot.any(axis=1)), np.flatnonzero(hot.any(axis=0))
        assert (rows[0], rows[-1], columns[0], columns[-1]) == (74, 83, 292, 301)

    def test_a_photo_smaller_than_the_crop_keeps_the_map_in_place(self):
        """Padded by 64 on every side, a 512 x 512 photo shows the inner half of a 256 x 256 map."""
        values = torch.zeros(256, 256)
        values[:, 128:] = 1
        _, pixels = self.drawn((512, 512), Preprocess(128, 256, (0,) * 3, (1,) * 3), values)
        hot = np.isclose(pixels, colormaps["inferno"](1.0)[:3], atol=0.02).all(axis=2)
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

    def test_alt_says_the_question_and_the_place(self):
        alt = self.drawn((40, 30), Preprocess(30, 28, (0,) * 3, (1,) * 3), peak(0, 27, 28))[0].alt
        assert "whole photo" in alt and "Why cup? Strongest at the upper right." in alt


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (300, 300)])
def test_photos_of_any_shape_stand_side_by_side(size):
    images = [Image.new("RGB", size), Image.new("RGB", (120, 90))]
    assert_readable(figures.photos(images, [LONG, "b"], alt="two dark pictures"))


def test_as_many_titles_as_photos():
    with pytest.raises(ValueError, match="1 images, 2 titles"):
        figures.photos([GREY], ["a", "b"], alt="grey")
