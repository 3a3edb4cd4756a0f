"""Maps laid over photos, as plain pixels; and where a map is strongest, in words."""

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import ListedColormap
from scipy.ndimage import binary_dilation
from torch import Tensor

from ..methods.maps import as_mask
from ..networks.pictures import as_pixels

# The overlay's colours were chosen by measurement (tests/test_overlay_colours.py): on black, grey
# and white photos, for ordinary colour vision and the three dichromacies, more evidence is always
# lighter, and a tenth more is told apart (a step of 3 or more in CIEDE2000).
FOR = ListedColormap(colormaps["plasma"](np.linspace(0.65, 1, 256)), "evidence for")
# red for, blue against, white at zero; the darkest ends are left out: they would hide the photo
SIGNED = ListedColormap(colormaps["RdBu_r"](np.linspace(0.1, 0.9, 257)), "evidence")
STRENGTH = 0.8  # opacity of an overlay: the map is clear, and the photo still to be recognised
HALF = 0.5  # where a line is drawn around the stronger evidence: a second channel beside colour
_GREY = 0.6  # the ground on which a colour bar shows an overlay's colours
_DIM = 0.45  # how light the photo stays beneath an overlay, so that all evidence is lighter
_OWN = 0.25  # how much of its own colour it keeps
_RISE = 0.75  # opacity grows with this power of the map, so that weak evidence is still seen


def _shape(values) -> str:
    return " x ".join(map(str, values.shape)) or "a single number"


def _as_array(values) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def as_map(values, low: float = -np.inf, high: float = np.inf) -> np.ndarray:
    """One map, H x W numbers between low and high, as an array.

    Raises:
        ValueError: several maps at once, or values that are not numbers of that range.
    """
    if hasattr(values, "maps"):
        raise TypeError("One map is drawn, not a whole Explanation: give its .maps[0, 0].")
    values = _as_array(values.float() if isinstance(values, Tensor) else values)
    if values.ndim != 2 or not values.size:
        raise ValueError(
            f"One map is H x W, but this is {_shape(values)}: pick one, such as maps[0, 0]."
        )
    if not np.isfinite(values).all():
        raise ValueError("The map holds NaN or infinity: look at where it comes from.")
    if values.min() < low - 1e-6 or values.max() > high + 1e-6:
        way = "signed_maps" if low < 0 else "positive_maps"
        raise ValueError(
            f"The map's values run from {values.min():.3g} to {values.max():.3g}, not from {low:g} "
            f"to {high:g}: course_utils.methods.maps.{way} puts evidence on that scale."
        )
    return values


def _same_place(pixels: np.ndarray, values: np.ndarray) -> None:
    if pixels.shape[:2] != values.shape:
        raise ValueError(
            f"The picture is {_shape(pixels[..., 0])} and the map {_shape(values)}: the map "
            "belongs on the photo as the network saw it, classifier.preprocess.show(x[0]). "
            "figures.on_whole_photo puts it back in its place on the whole photo."
        )


def overlay(image, values, strength: float = STRENGTH, line: bool = True) -> np.ndarray:
    """The map laid over the image: the photo turns dark and grey, and evidence glows.

    A thin white line runs around what is above half of the scale; a weak map on another map's scale
    has none.

    Args:
        image: H x W photo, as the network saw it.
        values: H x W in [0, 1]; the larger, the lighter and the more opaque.
        strength: 0 (the photo alone) to 1 (where the map is 1, the map alone).
        line: whether to draw the line.

    Raises:
        ValueError: a strength out of range; a map of another size, or not in [0, 1].

    Returns:
        H x W x 3 floats in [0, 1].
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"The overlay's opacity is {strength:g}, and must be 0 to 1.")
    pixels, values = as_pixels(image), as_map(values, 0, 1).clip(0, 1)
    _same_place(pixels, values)
    grey = pixels.mean(axis=2, keepdims=True)
    dim = _DIM * (grey + _OWN * (pixels - grey))
    faded = pixels + min(1, strength / STRENGTH) * (dim - pixels)
    opacity = strength * (values**_RISE)[..., None]
    drawn = faded + opacity * (FOR(values)[..., :3] - faded)
    if line and strength > 0:
        above = values >= HALF
        drawn[binary_dilation(above) & ~above] = 1
    return drawn


def overlay_colours(strength: float = STRENGTH) -> ListedColormap:
    """What `overlay` makes of 0 to 1 on a mid-grey photo: the colours of an honest colour bar."""
    ground = np.full((1, 256), _GREY)
    return ListedColormap(overlay(ground, np.linspace(0, 1, 256)[None], strength, line=False)[0])


def signed_overlay(image, values) -> np.ndarray:
    """A signed map in [-1, 1] in red and blue, the photo faint and grey beneath: H x W x 3."""
    grey, values = as_pixels(image).mean(axis=2, keepdims=True), as_map(values, -1, 1)
    _same_place(grey, values)
    spread = float(np.ptp(grey))
    faint = (grey - grey.min()) / spread if spread > 0 else np.ones_like(grey)
    return SIGNED((values + 1) / 2)[..., :3] * (0.6 + 0.4 * faint)


def outlined(image, mask, width: int = 2) -> np.ndarray:
    """The image with a white line, black outside, drawn around the mask: seen on any ground.

    Args:
        image: H x W picture.
        mask: H x W, True inside; the line runs just outside it, so that nothing inside is hidden.
        width: of the white line, in pixels.

    Raises:
        ValueError: a mask of another size, or one that does not say True or False.
    """
    pixels, mask = as_pixels(image).copy(), _as_array(mask)
    _same_place(pixels, mask)
    mask = as_mask(mask)
    white = binary_dilation(mask, np.ones((3, 3)), iterations=width)
    black = binary_dilation(white, np.ones((3, 3)))
    pixels[black & ~white], pixels[white & ~mask] = 0, 1
    return pixels


def where(values) -> str:
    """In which ninth of the map its positive values are strongest; "nowhere" if there are none."""
    values = as_map(values)
    if not values.max() > 0:
        return "nowhere"
    if values.min() == values.max():
        return "everywhere alike"
    peaks = np.argwhere(values >= 0.99 * values.max())  # of a plateau, the place nearest its middle
    row, column = peaks[((peaks - peaks.mean(axis=0)) ** 2).sum(axis=1).argmin()]
    vertical = ("upper", "middle", "lower")[int(3 * row / values.shape[0])]
    horizontal = ("left", "centre", "right")[int(3 * column / values.shape[1])]
    return f"{vertical} {horizontal}".replace("middle centre", "centre")


def strongest(values) -> str:
    """`where` as a sentence: "Strongest at the upper left." or "Empty: no positive evidence."."""
    place = where(values)
    if place == "nowhere":
        return "Empty: no positive evidence."
    return "The same everywhere." if place == "everywhere alike" else f"Strongest at the {place}."
