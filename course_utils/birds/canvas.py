"""Antialiased painting that remembers which part of the bird every pixel shows."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

_FINE = 4  # every pixel is drawn as 4 x 4 finer ones, then averaged


class Canvas:
    """A picture, painted from back to front, with each part's share of every pixel.

    Args:
        background: H x W x 3 floats in [0, 1], H = W.
        place: a function from n x 2 bird coordinates to n x 2 image coordinates, both with x to the
            right, y down and the image's side as 1.
        parts: names whose visible pixels are recorded.

    Attributes:
        pixels: H x W x 3 floats in [0, 1], painted so far.
        shares: dict from part to H x W floats in [0, 1]: how much of each pixel shows that part.
    """

    def __init__(self, background, place, parts):
        self.pixels = background.copy()
        self.size = background.shape[0]
        self.place = place
        self.parts = tuple(parts)
        self._shares = np.zeros((len(self.parts), self.size, self.size), np.float32)

    @property
    def shares(self):
        return dict(zip(self.parts, self._shares))

    def paint(self, shapes, colour, part=None, opacity=1.0, shade=None):
        """Fill closed outlines with one colour.

        Args:
            shapes: list of n x 2 arrays in bird coordinates; their union is painted.
            colour: three floats in [0, 1].
            part: whose pixels these become; None leaves the record untouched (decoration).
            opacity: 1 covers what lies beneath.
            shade: (top, bottom) factors of brightness over the height of the shapes.
        """
        outlines = [self.place(shape) * self.size for shape in shapes]
        everything = np.concatenate(outlines)
        low = np.maximum(everything.min(0).astype(int) - 1, 0)
        high = np.minimum(everything.max(0).astype(int) + 2, self.size)
        if (high <= low).any():
            return  # wholly outside the picture
        cover = self._coverage(outlines, low, high) * np.float32(opacity)
        where = (slice(low[1], high[1]), slice(low[0], high[0]))
        tone = np.asarray(colour, np.float32)[None, None]
        if shade is not None:
            tone = tone * np.linspace(*shade, cover.shape[0], dtype=np.float32)[:, None, None]
        beneath = self.pixels[where]
        beneath += cover[..., None] * (np.minimum(tone, 1) - beneath)
        if part is not None:
            shares = self._shares[:, where[0], where[1]]
            shares *= 1 - cover
            shares[self.parts.index(part)] += cover

    @staticmethod
    def _coverage(outlines, low, high):
        width, height = (high - low).tolist()
        fine = Image.new("L", (width * _FINE, height * _FINE))
        draw = ImageDraw.Draw(fine)
        for outline in outlines:
            draw.polygon(((outline - low) * _FINE - 0.5).ravel().tolist(), fill=255)
        return np.asarray(fine.reduce(_FINE), np.float32) / 255


def curve(points, n=16):
    """A smooth line through points (Catmull-Rom): m x 2 -> about (m - 1) * n x 2, ends included."""
    points = np.asarray(points, float)
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    return np.concatenate([_spline(padded, n, len(points) - 1), points[-1:]])


def closed_curve(points, n=8):
    """A smooth closed outline through points: m x 2 -> m * n x 2."""
    points = np.asarray(points, float)
    return _spline(np.concatenate([points[-1:], points, points[:2]]), n, len(points))


def _spline(p, n, pieces):
    t = (np.arange(n) / n)[None, :, None]
    a, b, c, d = (p[i : i + pieces, None] for i in range(4))
    line = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return line.reshape(-1, 2)


def stroke(line, width):
    """The outline of a brush stroke with round ends.

    Args:
        line: n x 2 points of its middle.
        width: full width, one number or several, spread evenly along the line.

    Returns:
        list of outlines for `Canvas.paint`.
    """
    line = np.asarray(line, float)
    width = np.atleast_1d(np.asarray(width, float))
    at = np.arange(len(line)) * ((len(width) - 1) / (len(line) - 1))
    half = np.interp(at, np.arange(len(width)), width)[:, None] / 2
    along = np.empty_like(line)
    along[1:-1] = line[2:] - line[:-2]
    along[0], along[-1] = line[1] - line[0], line[-1] - line[-2]
    along /= np.maximum(np.hypot(along[:, 0], along[:, 1])[:, None], 1e-9)
    side = along[:, ::-1] * (-1, 1) * half
    ends = [_circle(12) * half[i] + line[i] for i in (0, -1)]
    return [np.concatenate([line + side, (line - side)[::-1]]), *ends]


def ellipse(centre, rx, ry, n=24, angle=0.0):
    """The outline of an ellipse: n x 2 points; angle in radians, clockwise on the screen."""
    round_ = _circle(n) * (rx, ry)
    return (rotate(round_, angle) if angle else round_) + centre


@lru_cache
def _circle(n):
    turn = np.arange(n) * (2 * np.pi / n)
    return np.stack([np.cos(turn), np.sin(turn)], 1)


def rotate(points, angle):
    """Points turned about the origin, clockwise on the screen (y points down), angle in radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.asarray(points) @ np.array([[c, s], [-s, c]])
