"""Sky, far shore, water and reeds: everything about the picture that the species has no part in."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

_FINE = 2

# sky above, sky at the horizon, far shore, water at the horizon, water in front
_HOURS = (
    (
        (0.36, 0.62, 0.86),
        (0.80, 0.90, 0.94),
        (0.36, 0.52, 0.45),
        (0.52, 0.72, 0.78),
        (0.17, 0.40, 0.50),
    ),
    (
        (0.30, 0.34, 0.58),
        (0.98, 0.74, 0.55),
        (0.30, 0.27, 0.40),
        (0.86, 0.63, 0.55),
        (0.24, 0.28, 0.46),
    ),
    (
        (0.52, 0.68, 0.70),
        (0.90, 0.88, 0.74),
        (0.43, 0.50, 0.36),
        (0.66, 0.72, 0.62),
        (0.29, 0.42, 0.36),
    ),
    (
        (0.45, 0.52, 0.66),
        (0.78, 0.80, 0.86),
        (0.34, 0.40, 0.46),
        (0.56, 0.62, 0.70),
        (0.27, 0.34, 0.43),
    ),
    (
        (0.20, 0.50, 0.60),
        (0.72, 0.88, 0.80),
        (0.22, 0.42, 0.38),
        (0.42, 0.70, 0.66),
        (0.10, 0.36, 0.40),
    ),
)


def draw_scenery(rng, size):
    """A random marsh: size x size x 3 floats in [0, 1], all of it from the generator `rng`."""
    top, low, shore, far, near = (
        np.clip(np.array(c) * rng.uniform(0.92, 1.08) + rng.normal(0, 0.02, 3), 0, 1)
        for c in _HOURS[rng.integers(len(_HOURS))]
    )
    horizon = rng.uniform(0.42, 0.66)
    y = (np.arange(size * _FINE) + 0.5) / (size * _FINE)
    up = np.clip(y / horizon, 0, 1)[:, None]
    down = np.clip((y - horizon) / (1 - horizon), 0, 1)[:, None]
    column = np.where(
        (y < horizon)[:, None], top + (low - top) * up**1.3, far + (near - far) * down**0.7
    )
    image = Image.fromarray((column[:, None] * 255).astype(np.uint8)).resize(
        (size * _FINE, size * _FINE), Image.Resampling.NEAREST
    )
    _soften(image, _sky(rng, low), 0.012)
    draw = ImageDraw.Draw(image)
    _shore(draw, rng, shore, low, horizon)
    _ripples(draw, rng, far, near, horizon)
    _reeds(draw, rng, shore * (0.75, 0.95, 0.6), horizon)
    return np.asarray(image.reduce(_FINE), np.float32) / 255


def _soften(image, marks, blur):
    """Blend soft marks (list of box, colour, opacity), all in the upper half, into the image."""
    if not marks:
        return
    side = image.width
    small = side // 4
    veil = Image.new("RGB", (small, small // 2), (255, 255, 255))
    cover = Image.new("L", (small, small // 2))
    for box, colour, opacity in marks:
        box = [value * small for value in box]
        ImageDraw.Draw(veil).ellipse(box, fill=_rgb(colour))
        ImageDraw.Draw(cover).ellipse(box, fill=int(255 * opacity))
    cover = cover.filter(ImageFilter.GaussianBlur(blur * small))
    upper = (small * 4, small // 2 * 4)
    image.paste(
        veil.resize(upper, Image.Resampling.NEAREST),
        mask=cover.resize(upper, Image.Resampling.BILINEAR),
    )


def _sky(rng, low):
    """Clouds, and now and then a sun."""
    marks = []
    if rng.random() < 0.4:
        x, y, r = rng.uniform(0.1, 0.9), rng.uniform(0.08, 0.35), rng.uniform(0.05, 0.08)
        marks.append(((x - r, y - r, x + r, y + r), (1.0, 0.93, 0.72), 0.85))
    for _ in range(rng.integers(0, 4)):
        x, y, w = rng.uniform(0, 1), rng.uniform(0.05, 0.35), rng.uniform(0.08, 0.16)
        for shift, tall in ((-0.8, 0.16), (0.0, 0.28), (0.7, 0.20)):
            box = (x + w * (shift - 0.8), y - w * tall, x + w * (shift + 0.8), y + w * tall)
            marks.append((box, 0.35 * low + 0.65, 0.75))
    return marks


def _shore(draw, rng, colour, haze, horizon):
    """Two lines of far hills or trees."""
    side = draw.im.size[0]
    x = np.linspace(0, 1, 41)
    for depth, share in ((0.075, 0.5), (0.035, 0.0)):
        waves = sum(
            rng.uniform(0.2, 1) / f * np.sin(2 * np.pi * (f * x + rng.random()))
            for f in (1, 2.3, 5.1, 9.7)
        )
        crest = horizon - depth * (0.7 + 0.4 * waves)
        line = np.stack([x, np.minimum(crest, horizon)], 1) * side
        tone = colour + (haze - colour) * share
        draw.polygon(
            [*map(tuple, line), (side, horizon * side), (0, horizon * side)], fill=_rgb(tone)
        )


def _ripples(draw, rng, far, near, horizon):
    """Short level strokes, longer and wider in front."""
    side = draw.im.size[0]
    for _ in range(rng.integers(18, 36)):
        depth = rng.random() ** 0.8
        x, y = rng.random(), horizon + 0.01 + depth * (0.99 - horizon)
        length = (0.03 + 0.10 * depth) * rng.uniform(0.5, 1.3)
        water = far + (near - far) * depth**0.7
        tone = water + (0.13 if rng.random() < 0.65 else -0.06)
        thick = (0.003 + 0.006 * depth) * side
        points = [(x - length, y), (x, y - thick / side), (x + length, y), (x, y + thick / side)]
        draw.polygon([(px * side, py * side) for px, py in points], fill=_rgb(tone))


def _reeds(draw, rng, colour, horizon):
    """Clumps of reeds behind the bird, some with cattails."""
    side = draw.im.size[0]
    for _ in range(rng.integers(1, 4)):
        centre = rng.choice([rng.uniform(0.0, 0.2), rng.uniform(0.8, 1.0), rng.random()])
        foot = rng.uniform(horizon + 0.05, 0.95)
        for _ in range(rng.integers(4, 9)):
            x = centre + rng.normal(0, 0.04)
            height = rng.uniform(0.18, 0.42) * (0.5 + foot - horizon)
            lean = rng.normal(0, 0.06)
            tone = colour * rng.uniform(0.75, 1.3)
            t = np.linspace(0, 1, 7)[:, None]
            line = np.concatenate([x + lean * t**2, foot - height * t], 1)
            half = np.array([[0.006, 0.0]]) * (1 - 0.85 * t)
            blade = np.concatenate([line - half, (line + half)[::-1]]) * side
            draw.polygon([*map(tuple, blade)], fill=_rgb(tone))
            if rng.random() < 0.3:
                px, py = line[-2] * side
                w, h = 0.009 * side, 0.032 * side
                draw.ellipse((px - w, py - h, px + w, py + h), fill=_rgb((0.36, 0.23, 0.15)))


def _rgb(colour):
    return tuple(int(255 * min(max(float(c), 0.0), 1.0)) for c in colour)
