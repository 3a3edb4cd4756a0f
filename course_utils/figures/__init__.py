"""Pictures for the page: photos with maps, grids of questions, signed maps, feature maps.

Every function returns a `Picture`, which carries its alt text and caption to the page (JupyterLab
drops alt metadata of ordinary figures; only HTML arrives).
"""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from ..methods.strength import strength_in_words
from ..pictures import as_rgb
from .overlays import (
    SIGNED,
    STRENGTH,
    as_map,
    as_pixels,
    overlay,
    overlay_colours,
    signed_overlay,
    strongest,
    where,
)
from .picture import Picture, figure_html

__all__ = ["Picture", "figure_html", "photos", "questions", "signed", "feature_maps"]
__all__ += ["on_whole_photo", "overlay", "signed_overlay", "where"]

PANEL = 2.2  # inches; four side by side fill a notebook's width with the text at its own size
COLUMNS = 4
SMALLEST, LARGEST = 500, 1000  # pixels of a whole photo's longer side, as it is drawn


def _axes(
    count: int, columns: int | None = None, bar: bool = True, lines: int = 1, height: float = PANEL
):
    """A figure with `count` empty panels in even rows, and room for titles and a colour bar."""
    rows = -(-count // (columns or COLUMNS))
    columns = min(columns or -(-count // rows), count)
    size = (PANEL * columns + (0.9 if bar else 0), (height + 0.15 + 0.17 * lines) * rows)
    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.12)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    return figure, axes[:count]


def _lines(title: str, width: int = 26) -> list[str]:
    return textwrap.wrap(title, width)


def _panel(axis, pixels, title: str = "", width: int = 26, math: bool = False, **how) -> None:
    axis.imshow(pixels, **how)
    text = title if math else "\n".join(_lines(title, width))
    axis.set_title(text, fontsize=10, parse_math=math)


def _bar(figure: Figure, axes, colours, words: Sequence[str]) -> None:
    """A colour bar that speaks in words rather than numbers, as tall as one panel."""
    low = -1 if len(words) == 3 else 0
    rows = axes[0].get_gridspec().nrows
    bar = figure.colorbar(
        ScalarMappable(Normalize(low, 1), colours), ax=list(axes), fraction=0.05, pad=0.02,
        shrink=0.9 / rows, aspect=18, anchor=(0, 0.5), panchor=False,
    )  # fmt: skip
    bar.set_ticks(np.linspace(low, 1, len(words)), labels=words)
    bar.ax.tick_params(labelsize=9, length=0)
    bar.outline.set_visible(False)


def _same_length(**lists) -> None:
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            "These must match: " + ", ".join(f"{n} {name}" for name, n in lengths.items())
        )


def photos(
    images: Sequence, titles: Sequence[str], alt: str, caption: str = "", columns: int | None = None
) -> Picture:
    """Pictures side by side, each under its title.

    Args:
        images: PIL images or H x W x 3 numbers, of any sizes.
        titles: as many titles.
    """
    _same_length(images=images, titles=titles)
    pictures = [as_pixels(image) for image in images]
    lines = max(len(_lines(title)) for title in titles)
    tallest = max(pixels.shape[0] / pixels.shape[1] for pixels in pictures)
    figure, axes = _axes(len(images), columns, False, lines, PANEL * min(tallest, 1.5))
    for axis, pixels, title in zip(axes, pictures, titles):
        _panel(axis, pixels, title)
    return Picture(figure, alt, caption)


def questions(
    images: Sequence, maps: Tensor, titles: Sequence[Sequence[str]], caption: str = "",
    opacity: float = STRENGTH, alt: str | None = None,
    strength: Tensor | None = None, scale: str = "own",
) -> Picture:  # fmt: skip
    """For each image: the image, then one overlay for each question about it.

    Args:
        images: N photos as the network saw them, H x W x 3.
        maps: N x K x H x W in [0, 1], an `Explanation`'s `.maps`.
        titles: N lists of K sentences, an `Explanation`'s `.questions`.
        opacity: of the overlays where the maps are 1, 0 to 1.
        strength: N x K, an `Explanation`'s `.strength`; it then stands in the titles.
        scale: "own", each map on its own scale; "shared", all maps of one photo on Grad-CAM's
            scale, so that a weak one looks weak (needs `strength`).

    Raises:
        ValueError: lists of unequal lengths, another scale, or a shared one without `strength`.
    """
    _same_length(images=images, maps=maps, titles=titles)
    if strength is not None:
        titles = _with_strength(titles, strength)
    maps = on_scale(maps, strength, scale)
    n, k = len(images), maps.shape[1]
    columns = None if n == 1 else k + 1
    lines = max(len(_lines(title)) for row in titles for title in row)
    figure, axes = _axes(n * (k + 1), columns, lines=lines)
    said = []
    for i, (image, row) in enumerate(zip(images, axes.reshape(n, k + 1))):
        _panel(row[0], as_pixels(image), "What the network saw")
        _same_length(**{f"maps of image {i}": maps[i], f"titles of image {i}": titles[i]})
        for axis, values, title in zip(row[1:], maps[i], titles[i]):
            _panel(axis, overlay(image, values, opacity), title)
            if where(values) == "nowhere":
                axis.text(0.5, 0.5, "no positive evidence", transform=axis.transAxes, ha="center",
                          bbox={"facecolor": "white", "alpha": 0.85, "edgecolor": "none"})  # fmt: skip
            said.append((f"Image {i + 1}: " if n > 1 else "") + f"{title} {strongest(values)}")
    most = "most" if scale == "own" else "most of\nthe photo"
    _bar(figure, axes, overlay_colours(opacity), ["none", most])
    what = "A photo" if n == 1 else f"{n} photos"
    return Picture(
        figure, alt or f"{what}, and maps of the evidence laid over. " + " ".join(said), caption
    )


def _with_strength(titles: Sequence[Sequence[str]], strength: Tensor) -> list[list[str]]:
    """Each title with its map's strength in words; the panel itself says that a map is empty."""
    _same_length(titles=titles, strengths=strength)
    made = []
    for i, (row, strengths) in enumerate(zip(titles, strength.tolist())):
        _same_length(**{f"titles of image {i}": row, f"strengths of image {i}": strengths})
        words = [f" ({strength_in_words(one)})" if one != 0 else "" for one in strengths]
        made.append([title + more for title, more in zip(row, words)])
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
    strength = strength.nan_to_num(nan=1.0, posinf=1.0)
    share = strength / strength.amax(dim=1, keepdim=True).clamp(min=1)
    return maps * share.to(maps.dtype)[..., None, None]


def signed(
    maps: Tensor, titles: Sequence[str], image=None, caption: str = "", columns: int | None = None,
    low: str = "against", high: str = "for", alt: str | None = None,
) -> Picture:  # fmt: skip
    """Signed maps on one shared scale, zero in white.

    Args:
        maps: K x H x W in [-1, 1], as from `methods.maps.signed_maps`.
        titles: K titles.
        image: the photo as the network saw it, drawn faintly beneath; None for the maps alone.
        low, high: what blue and red mean, in words.
    """
    _same_length(maps=maps, titles=titles)
    figure, axes = _axes(len(maps), columns, lines=max(len(_lines(title)) for title in titles))
    said = []
    for axis, values, title in zip(axes, maps, titles):
        pixels = as_map(values, -1, 1) if image is None else signed_overlay(image, values)
        _panel(axis, pixels, title, cmap=SIGNED, vmin=-1, vmax=1)
        said.append(f"{title.rstrip('.:')}: {high}, {where(values)}; {low}, {where(-values)}.")
    _bar(figure, axes, SIGNED, [low, "neither", high])
    return Picture(figure, alt or "Signed maps on one scale. Strongest: " + " ".join(said), caption)


def feature_maps(
    activations: Tensor, weights: Tensor | None = None, count: int = 10, caption: str = ""
) -> Picture:
    """The feature maps A^k that matter most: largest |alpha_k mean(A^k)|, or largest mean(A^k).

    Args:
        activations: C x h x w.
        weights: alpha, C numbers; None to show the most active maps.
        count: how many.
    """
    if weights is not None:
        _same_length(**{"feature maps": activations, "weights": weights})
    means = activations.mean(dim=(1, 2))
    order = (means if weights is None else (weights * means).abs()).argsort(descending=True)
    figure, axes = _axes(min(count, len(order)), 5)
    for axis, k in zip(axes, order.tolist()):
        alpha = "" if weights is None else rf",  $\alpha$ = {float(weights[k]):+.2g}"
        _panel(axis, as_map(activations[k]), f"$A^{{{k}}}${alpha}", math=True, cmap="viridis")
    _bar(figure, axes, "viridis", ["least\n(of each)", "most\n(of each)"])
    by = "activation" if weights is None else "contribution (weight times mean activation)"
    chosen = f"The {len(axes)} of {len(order)} feature maps with the largest {by}"
    places = ", ".join(f"map {k} {where(activations[k])}" for k in order[: len(axes)].tolist())
    return Picture(figure, f"{chosen}, as coarse grids. Strongest: {places}.", caption)


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
    photo = as_rgb(photo)  # upright, as preprocess reads it
    longer = max(photo.size)
    scale = min(max(longer, SMALLEST), LARGEST) / longer
    small = photo.resize([max(1, round(side * scale)) for side in photo.size])
    left, top, right, bottom = (round(edge * scale) for edge in preprocess.crop_box(photo.size))
    pixels = as_pixels(small)
    whole = 0.35 * pixels
    large = Image.fromarray(as_map(values, 0, 1).astype("float32"))
    large = np.asarray(large.resize((right - left, bottom - top), Image.Resampling.BILINEAR))
    # a photo narrower than the crop is padded: the box then reaches outside it
    y0, x0, y1, x1 = max(top, 0), max(left, 0), min(bottom, small.height), min(right, small.width)
    inside = large[y0 - top : y1 - top, x0 - left : x1 - left]
    whole[y0:y1, x0:x1] = overlay(pixels[y0:y1, x0:x1], inside.clip(0, 1), opacity)
    fit = min(5.2 / small.width, 3.8 / small.height)
    width, height = max(small.width * fit, PANEL), small.height * fit
    columns = int(11 * width)  # characters of a title across it
    figure, (axis,) = _axes(1)
    figure.set_size_inches(width + 0.9, height + 0.2 + 0.17 * len(_lines(title, columns)))
    _panel(axis, whole.clip(0, 1), title, columns)
    _bar(figure, [axis], overlay_colours(opacity), ["none", "most"])
    alt = "The whole photo, with the map on the part that the network saw."
    return Picture(figure, f"{alt} {title} {strongest(values)}", caption)
