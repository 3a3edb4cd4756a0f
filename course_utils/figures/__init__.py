"""Pictures for the page: photos with maps, grids of questions, signed maps, feature maps.

Every function returns a `Picture`, which carries its alt text and caption to the page (JupyterLab
drops alt metadata of ordinary figures; only HTML arrives).
"""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from ..errors import a_kind_of
from ..methods.strength import strength_in_words
from ..networks.pictures import as_rgb
from .overlays import (
    SIGNED,
    STRENGTH,
    as_map,
    as_pixels,
    outlined,
    overlay,
    overlay_colours,
    signed_overlay,
    strongest,
    where,
)
from .panels import (
    PANEL,
    PAPER,
    as_stack,
    axes,
    bar,
    decimals,
    defaults,
    in_digits,
    most_lines,
    note,
    panel,
    same_length,
)
from .picture import Picture, figure_html
from .slices import flattened, panels_of

__all__ = ["Picture", "figure_html", "photos", "questions", "signed", "feature_maps"]
__all__ += ["birds", "on_whole_photo", "overlay", "signed_overlay", "where"]

SMALLEST, LARGEST = 500, 1000  # pixels of a whole photo's longer side, as it is drawn
TOGETHER = 2  # photos with several maps each, in one piece of a picture: more is cut by a slide
DARK = 0.25  # how light what the network did not see is drawn


@defaults()
def photos(
    images: Sequence, titles: Sequence[str], alt: str, caption: str = "", columns: int | None = None
) -> Picture:
    """Pictures side by side, each under its title.

    Args:
        images: PIL images or H x W x 3 numbers, of any sizes.
        titles: as many titles.
        columns: at most so many in a row.
    """
    same_length(images=images, titles=titles)
    pictures = [as_pixels(_not_larger(image)) for image in images]
    tallest = max(pixels.shape[0] / pixels.shape[1] for pixels in pictures)
    figure, drawn = axes(len(images), columns, False, most_lines(titles), tallest)
    for axis, pixels, title in zip(drawn, pictures, titles):
        panel(axis, pixels, title)
    return Picture(figure, alt, caption)


def _not_larger(image):
    """The image with as many pixels as a page can show: matplotlib takes minutes for more."""
    photo = as_rgb(image)
    if max(photo.size) <= 2 * LARGEST:
        return image
    photo.thumbnail((2 * LARGEST, 2 * LARGEST))
    return photo


def questions(
    images: Sequence, maps: Tensor, titles: Sequence[Sequence[str]], caption: str = "",
    opacity: float = STRENGTH, alt: str | None = None,
    strength: Tensor | None = None, scale: str = "own",
    outlines: Sequence[Sequence] | None = None,
) -> Picture:  # fmt: skip
    """For each image: the image, then one overlay for each question about it.

    Args:
        images: N photos as the network saw them, H x W x 3; of volumes the C x D x H x W numbers
            that it read, and of signals the C x L.
        maps: N x K x H x W in [0, 1], an `Explanation`'s `.maps`. Of volumes, N x K x D x H x W,
            the slice with each map's peak is shown; signals, N x K x L, are strips.
        titles: N lists of K sentences, an `Explanation`'s `.questions`.
        opacity: of the overlays where the maps are 1, 0 to 1.
        strength: N x K, an `Explanation`'s `.strength`; it then stands in the titles.
        scale: "own", each map on its own scale; "shared", all maps of one photo on Grad-CAM's
            scale, so that a weak one looks weak (needs `strength`).
        outlines: N lists of K masks, H x W, True where the answer is known to lie; None, of one
            question, of an image or of all: unknown.

    Raises:
        ValueError: lists of unequal lengths, another scale, or a shared one without `strength`.
    """
    same_length(images=images, maps=maps, titles=titles)
    maps = as_stack(maps)
    outlines = [None] * len(titles) if outlines is None else outlines
    same_length(outlines=outlines, titles=titles)
    outlines = [[None] * len(t) if o is None else o for o, t in zip(outlines, titles)]
    slices = [""] * len(images)
    if maps.dim() != 4:
        drawn = [panels_of(*row) for row in zip(images, maps, titles, outlines)]
        images, flat, titles, outlines, slices = (list(column) for column in zip(*drawn))
        maps = torch.stack(flat)
    else:
        images = [[image] * (maps.shape[1] + 1) for image in images]
    titles = titles if strength is None else _with_strength(titles, strength)
    maps = on_scale(maps, strength, scale)

    def picture(part: slice, words: str | None, below: str, parts=()) -> Picture:
        rows = images[part], slices[part], maps[part], titles[part], outlines[part]
        told = words or _told(range(len(images))[part], len(images), maps, titles, outlines)
        return Picture(_questions(*rows, opacity, scale), told, below, parts)

    starts = range(0, len(images), TOGETHER) if maps.shape[1] > 1 else [0]
    parts = []
    for n, start in enumerate(starts if len(starts) > 1 else (), 1):
        words = alt and f"{alt} (Part {n} of {len(starts)}.)"
        below = caption if n == len(starts) else ""
        parts.append(picture(slice(start, start + TOGETHER), words, below))
    return picture(slice(None), alt, caption, parts)


def _told(shown: range, count: int, maps: Tensor, titles, outlines) -> str:
    """What a picture of some of `count` photos shows, for those who do not see it."""
    what = "A photo" if len(shown) == 1 else f"{len(shown)} photos"
    said = []
    for i in shown:
        which = f"Image {i + 1}: " if count > 1 else ""
        same_length(**{f"maps of image {i}": maps[i], f"titles of image {i}": titles[i]})
        said += [f"{which}{title} {strongest(one)}" for one, title in zip(maps[i], titles[i])]
    told = f"{what}, and maps of the evidence laid over. " + " ".join(said)
    if any(mask is not None for i in shown for mask in outlines[i]):
        told += " The known answers are outlined."
    return told


@defaults()
def _questions(images, slices, maps, titles, outlines, opacity: float, scale: str) -> Figure:
    n, k = len(images), maps.shape[1]
    read = {id(one): as_pixels(one) for row in images for one in row}
    pictures = [[read[id(one)] for one in row] for row in images]
    aspect = max(row[0].shape[0] / row[0].shape[1] for row in pictures)
    above = k == 1 and n in (3, 5)  # the photos above their maps: pairs would leave a hole
    beside = n if above else 2 if k == 1 and n > 2 else 1  # so many photos in a row
    saw = [f"{'What the network saw' * (i < beside)} {at}".strip() for i, at in enumerate(slices)]
    lines = most_lines([*saw, *(title for row in titles for title in row)])
    columns = None if n == 1 else beside * (1 if above else k + 1)
    figure, drawn = axes(n * (k + 1), columns, True, lines, aspect, n == 1)
    if above:
        drawn = [axis for pair in zip(drawn[:n], drawn[n:]) for axis in pair]
    for i, (pixels, *beneath) in enumerate(pictures):
        of_image = {f"{name} of image {i}": values[i] for name, values in
                    (("maps", maps), ("titles", titles), ("outlines", outlines))}  # fmt: skip
        same_length(**of_image)
        first, *others = drawn[i * (k + 1) : (i + 1) * (k + 1)]
        panel(first, pixels, saw[i])
        for axis, under, values, title, mask in zip(others, beneath, *of_image.values()):
            shown = overlay(under, values, opacity, line=mask is None)  # one line is enough
            panel(axis, shown if mask is None else outlined(shown, mask), title)
            if where(values) == "nowhere":
                note(axis, "no positive evidence")
    most = "most" if scale == "own" else "most of\nthe photo"
    bar(figure, drawn, overlay_colours(opacity), ["none", most])
    return figure


def _with_strength(titles: Sequence[Sequence[str]], strength: Tensor) -> list[list[str]]:
    """Each title with its map's strength in words; the panel itself says that a map is empty."""
    same_length(titles=titles, strengths=strength)
    made = []
    for i, (row, strengths) in enumerate(
        zip(titles, torch.as_tensor(strength, device="cpu").tolist())
    ):
        same_length(**{f"titles of image {i}": row, f"strengths of image {i}": strengths})
        more = [f" ({strength_in_words(one)})" if one != 0 else "" for one in strengths]
        made.append([f"{title}{after}" for title, after in zip(row, more)])
    return made


def on_scale(maps: Tensor, strength: Tensor | None, scale: str) -> Tensor:
    """Maps of one photo, each on its "own" scale as they come, or on the "shared" one.

    On the shared scale 1 is the peak of Grad-CAM's map, or of the strongest map if one is stronger.
    A map of no known strength (NaN) keeps its own scale.

    Args:
        maps: N x K x H x W in [0, 1].
        strength: N x K, 0 or more.
    """
    if scale not in ("own", "shared"):
        raise ValueError(f"scale={scale!r} is not known: choose 'own' or 'shared'.")
    if scale == "own":
        return maps
    if strength is None:
        raise ValueError("scale='shared' needs strength=, an Explanation's .strength.")
    strength = torch.as_tensor(strength, device="cpu").nan_to_num(nan=1.0, posinf=1.0)
    share = (strength / strength.amax(dim=1, keepdim=True).clamp(min=1)).to(maps)
    return maps * share.reshape(*share.shape, *[1] * (maps.dim() - 2))


@defaults()
def signed(
    maps: Tensor, titles: Sequence[str], image=None, caption: str = "", columns: int | None = None,
    low: str = "against", high: str = "for", alt: str | None = None,
) -> Picture:  # fmt: skip
    """Signed maps on one shared scale, zero in white.

    Args:
        maps: K x H x W in [-1, 1], as from `methods.maps.signed_maps`; of volumes the slice of the
            largest magnitude is shown, signals are strips.
        titles: K titles.
        image: the photo as the network saw it, drawn faintly beneath; None for the maps alone.
        low, high: what blue and red mean, in words.
    """
    same_length(maps=maps, titles=titles)
    maps, titles = zip(*map(flattened, as_stack(maps), map(str, titles)))
    aspect = maps[0].shape[0] / maps[0].shape[1]
    figure, drawn = axes(len(maps), columns, lines=most_lines(titles), aspect=aspect)
    said = []
    for axis, values, title in zip(drawn, maps, titles):
        pixels = as_map(values, -1, 1) if image is None else signed_overlay(image, values)
        panel(axis, pixels, title, cmap=SIGNED, vmin=-1, vmax=1)
        said.append(f"{title.rstrip('.:')}: {high}, {where(values)}; {low}, {where(-values)}.")
    bar(figure, drawn, SIGNED, [low, "neither", high])
    return Picture(figure, alt or "Signed maps on one scale. Strongest: " + " ".join(said), caption)


@defaults()
def feature_maps(
    activations: Tensor, weights: Tensor | None = None, count: int = 10, caption: str = ""
) -> Picture:
    """The feature maps A^k that matter most: largest |alpha_k mean(A^k)|, or largest mean(A^k).

    A map that is the same number everywhere (ReLU6 cuts at 6) has that number written on it.

    Args:
        activations: C x h x w (of volumes the slice with each map's peak is shown).
        weights: alpha, C numbers; None to show the most active maps.
        count: how many.
    """
    activations = as_stack(activations).detach().float()
    if activations.dim() == 4 and len(activations) == 1:
        got = " x ".join(map(str, activations.shape))
        raise ValueError(
            f"The activations are {got}; those of one image are drawn: activations[0]."
        )
    if count < 1 or not len(activations):
        raise ValueError(f"There is nothing to show: count={count} of {len(activations)} maps.")
    if weights is not None:
        weights = as_stack(weights).detach().float()
        same_length(**{"feature maps": activations, "weights": weights})
    means = activations.flatten(1).mean(dim=1)
    order = (means if weights is None else (weights * means).abs()).argsort(descending=True)
    order = order[:count].tolist()
    figure, drawn = axes(len(order), min(5, len(order)), aspect=0.8)
    digits = 0 if weights is None else decimals(weights[order].tolist())
    for axis, k in zip(drawn, order):
        flat, at = flattened(activations[k], "")
        values = as_map(flat)
        alpha = "" if weights is None else rf",  $\alpha$ = {in_digits(float(weights[k]), digits)}"
        panel(axis, values, f"$A^{{{k}}}${alpha} {at}".strip(), math=True, cmap="viridis")
        if np.ptp(values) <= 1e-6 * abs(values).max():
            note(axis, f"{values.max():.3g} everywhere")
    bar(figure, drawn, "viridis", ["least\n(of each)", "most\n(of each)"])
    by = "activation" if weights is None else "contribution (weight times mean activation)"
    chosen = f"The {len(drawn)} of {len(means)} feature maps with the largest {by}"
    places = ", ".join(f"map {k} {where(flattened(activations[k], '')[0])}" for k in order)
    return Picture(figure, f"{chosen}, as coarse grids. Strongest: {places}.", caption)


@defaults()
def on_whole_photo(
    photo: Image.Image, preprocess, values: Tensor, title: str = "", caption: str = "",
    opacity: float = STRENGTH,
) -> Picture:  # fmt: skip
    """A map back in its place on the whole photo, the part that the network did not see darkened.

    Args:
        photo: the whole photo.
        preprocess: the classifier's `.preprocess`, which knows where it cropped.
        values: H x W in [0, 1], at the resolution of the crop.
        opacity: of the overlay where the map is 1, 0 to 1.
    """
    preprocess = getattr(preprocess, "preprocess", preprocess)  # a classifier's
    if not hasattr(preprocess, "crop_box"):
        raise TypeError(
            "The classifier's .preprocess is needed, which says where it cropped the photo, as "
            f"course_utils.networks.preprocess.Preprocess does, not {a_kind_of(preprocess)}."
        )
    photo = as_rgb(photo)  # upright, as preprocess reads it
    longer = max(photo.size)
    scale = min(max(longer, SMALLEST), LARGEST) / longer
    small = photo.resize([max(1, round(side * scale)) for side in photo.size])
    left, top, right, bottom = (round(edge * scale) for edge in preprocess.crop_box(photo.size))
    _check_shape(values, preprocess.crop_box(photo.size))
    pixels = as_pixels(small)
    whole = DARK * pixels
    right, bottom = max(right, left + 1), max(bottom, top + 1)  # of a photo like a line
    large = Image.fromarray(as_map(values, 0, 1).astype("float32"))
    large = np.asarray(large.resize((right - left, bottom - top), Image.Resampling.BILINEAR))
    # a photo narrower than the crop is padded: the box then reaches outside it
    y0, x0, y1, x1 = max(top, 0), max(left, 0), min(bottom, small.height), min(right, small.width)
    inside = large[y0 - top : y1 - top, x0 - left : x1 - left]
    whole[y0:y1, x0:x1] = overlay(pixels[y0:y1, x0:x1], inside.clip(0, 1), opacity)
    fit = min(5.2 / small.width, 3.8 / small.height)
    width, height = max(small.width * fit, PANEL), small.height * fit
    across = int(11 * width)  # characters of a title
    figure, (axis,) = axes(1)
    figure.set_size_inches(width + PAPER, height + 0.2 + 0.17 * most_lines([title], across))
    panel(axis, whole.clip(0, 1), title, across)
    bar(figure, [axis], overlay_colours(opacity), ["none", "most"])
    alt = "The whole photo, with the map on the part that the network saw."
    return Picture(figure, f"{alt} {title} {strongest(values)}", caption)


def _check_shape(values: Tensor, box: tuple[float, float, float, float]) -> None:
    """Raise a ValueError where a map is of another shape than the part that the network saw."""
    left, top, right, bottom = box
    height, width = as_map(values).shape
    if abs(height / width / ((bottom - top) / (right - left)) - 1) > 0.1:
        raise ValueError(
            f"The map is {height} x {width}, of another shape than what the network saw of the "
            "photo: give it at the resolution of the crop, as an Explanation's .maps are."
        )


from .drawn_birds import birds  # noqa: E402  (it builds on `questions`)
