"""How each part of a bird is drawn, in bird coordinates: the bird faces right, y points down, side
1.

Each `draw_...` paints one part with one value of its attribute, and nothing outside it: so
redrawing a bird with one part replaced changes that part's pixels only. Neck values share both ends
(shoulder and head) and bill values share the root, for the same reason.
"""

from dataclasses import dataclass

import numpy as np

from .canvas import closed_curve, curve, ellipse, rotate, stroke

PALETTE = {
    "pink": (0.96, 0.50, 0.58),
    "white": (0.96, 0.95, 0.92),
    "grey": (0.48, 0.55, 0.64),
    "red": (0.84, 0.20, 0.16),
    "black": (0.15, 0.14, 0.16),
    "yellow": (0.97, 0.78, 0.15),
}
_BILL_LENGTH = 0.20


@dataclass(frozen=True)
class Pose:
    """How the bird holds itself: points in bird coordinates, angles in radians. Says nothing of the
    species."""

    body: np.ndarray
    tilt: float
    shoulder: np.ndarray
    head: np.ndarray
    nod: float
    feet: np.ndarray  # 2 x 2
    lifted: bool

    @classmethod
    def random(cls, rng):
        body = np.array([0.38, 0.53 + rng.uniform(-0.02, 0.02)])
        tilt = rng.uniform(-0.16, 0.10)
        shoulder = body + rotate([[0.125, -0.03]], tilt)[0]
        head = np.array([0.62 + rng.uniform(-0.025, 0.03), 0.20 + rng.uniform(-0.03, 0.04)])
        stance = rng.uniform(-0.035, 0.035, 2) + (-0.035, 0.045)
        feet = np.stack([body[0] + stance, 0.90 + np.array([-0.008, 0.008])], 1)
        return cls(body, tilt, shoulder, head, rng.uniform(-0.05, 0.40), feet, rng.random() < 0.3)


def draw_rings(canvas, pose):
    """The rings that a bird's feet leave on the water: scenery, the same for every species."""
    for x, y in pose.feet[pose.lifted :]:
        for radius, tone in ((0.085, (1.0, 1.0, 1.0)), (0.055, (0.05, 0.15, 0.20))):
            canvas.paint([ellipse((x + 0.01, y + 0.008), radius, radius * 0.26)], tone, opacity=0.2)


def draw_legs(canvas, pose, value, tint):
    """Two long legs, one of them sometimes pulled up."""
    colour = np.clip(np.asarray(PALETTE[value]) * tint, 0, 1)
    hips = pose.body + rotate([[-0.045, 0.07], [0.03, 0.075]], pose.tilt)
    for i, (hip, foot) in enumerate(zip(hips, pose.feet)):
        tone = colour * (0.78, 1.0)[i]
        if i == 0 and pose.lifted:
            knee = hip + (0.055, 0.13)
            foot = knee + (-0.085, 0.045)
            toes = [foot + (-0.03, 0.028), foot + (-0.012, 0.035)]
        else:
            knee = (hip + foot) / 2 + (-0.016, -0.015)
            toes = [foot + (0.05, 0.012), foot + (0.022, 0.022), foot + (-0.03, 0.01)]
        limbs = stroke([hip, knee], [0.03, 0.02]) + stroke([knee, foot], 0.019)
        limbs += [ellipse(knee, 0.0165, 0.018, 12)]
        for toe in toes:
            limbs += stroke([foot, toe], [0.018, 0.01])
        canvas.paint(limbs, tone, "legs")


def draw_neck(canvas, pose, value, plumage):
    """The neck from shoulder to head; pale in every species, so that its shape is what tells."""
    a, b = pose.shoulder, pose.head
    up = b - a
    if value == "curved":
        middle = [a + (0.095, -0.035), a + 0.46 * up + (0.03, 0.0), a + 0.74 * up + (-0.085, 0.0)]
        line = curve([a, *middle, b - (0.035, 0.028), b], 10)
        width = [0.088, 0.07, 0.054, 0.046, 0.044, 0.044]
    else:
        line = curve([a, a + 0.5 * up + (0.012, 0.008), b], 16)
        width = [0.088, 0.06, 0.05, 0.046, 0.044]
    if value == "shaggy":
        _shaggy(canvas, line, plumage)
        return
    canvas.paint(stroke(line, np.asarray(width) + 0.016), plumage * 0.62, "neck")
    canvas.paint(stroke(line, width), plumage, "neck")
    canvas.paint(stroke(line - (0.008, 0.0), np.asarray(width) * 0.35), plumage * 1.08, opacity=0.7)


def _shaggy(canvas, line, plumage):
    """A thick neck of hanging feathers, tier over tier, the lowest painted first."""
    canvas.paint(stroke(line, [0.10, 0.06]), plumage * 0.62, "neck")
    tiers = line[np.linspace(3, len(line) - 8, 6).astype(int)]
    for i, middle in enumerate(tiers):
        out = 0.064 - 0.005 * i
        frond = [(-0.6, -0.6), (0.6, -0.6), (1.05, 0.15), (1.2, 0.85), (0.75, 0.55), (0.45, 1.0),
                 (0.05, 0.6), (-0.35, 1.0), (-0.7, 0.55), (-1.2, 0.85), (-1.05, 0.15)]  # fmt: skip
        frond = np.array(frond) * (out, 0.056)
        canvas.paint([middle + frond * 1.17], plumage * 0.60, "neck")
        canvas.paint([middle + frond], plumage * (0.90 + 0.02 * i), "neck", shade=(1.05, 0.92))


def draw_body(canvas, pose, value, tint):
    """Body, tail and folded wing."""
    colour = np.clip(np.asarray(PALETTE[value]) * tint, 0, 1)

    def put(points):
        return pose.body + rotate(points, pose.tilt)

    outline = closed_curve(
        [
            (0.165, 0.0),
            (0.135, -0.06),
            (0.05, -0.092),
            (-0.07, -0.075),
            (-0.17, -0.02),
            (-0.265, 0.05),
            (-0.17, 0.058),
            (-0.06, 0.095),
            (0.06, 0.09),
            (0.135, 0.055),
        ]
    )
    wing = closed_curve([(0.085, -0.025), (0.0, -0.058), (-0.11, -0.025), (-0.235, 0.052),
                         (-0.12, 0.04), (-0.01, 0.052), (0.065, 0.025)])  # fmt: skip
    canvas.paint([put(outline * (1.035, 1.08))], colour * 0.60, "body")
    canvas.paint([put(outline)], colour, "body", shade=(1.10, 0.74))
    canvas.paint([put(wing)], colour * 0.80, shade=(1.08, 0.80))
    lines = [curve([(0.06 - 0.045 * i, -0.012 + 0.01 * i), (-0.02 - 0.055 * i, 0.022 + 0.006 * i),
                    (-0.10 - 0.045 * i, 0.022 + 0.009 * i)], 6) for i in range(3)]  # fmt: skip
    canvas.paint(sum((stroke(put(line), [0.006, 0.011]) for line in lines), []), colour * 0.58)
    canvas.paint([put(ellipse((0.085, -0.045), 0.05, 0.018, angle=0.25))], (1, 1, 1), opacity=0.25)


def draw_head(canvas, pose, plumage):
    """Head and eye: the same in every species."""
    skull = ellipse(pose.head, 0.046, 0.040, angle=pose.nod)
    canvas.paint([ellipse(pose.head, 0.054, 0.048, angle=pose.nod)], plumage * 0.62, "head")
    canvas.paint([skull], plumage, "head", shade=(1.06, 0.86))
    eye = pose.head + rotate([[0.014, -0.010]], pose.nod)[0]
    canvas.paint([ellipse(eye, 0.0135, 0.0135)], (0.98, 0.86, 0.45), "head")
    canvas.paint([ellipse(eye + (0.002, 0.0), 0.0095, 0.0095)], (0.06, 0.05, 0.06), "head")
    canvas.paint([ellipse(eye + (-0.002, -0.004), 0.0035, 0.0035, 8)], (1, 1, 1), "head")


def draw_bill(canvas, pose, value, colour):
    """The bill, rooted in the head."""
    root = pose.head + rotate([[0.034, 0.008]], pose.nod)[0]

    def put(points):
        return root + rotate(np.asarray(points) * _BILL_LENGTH, pose.nod)

    if value == "dagger":
        shapes = [put([(0, -0.17), (0.25, -0.13), (1.1, 0.02), (0.25, 0.15), (0, 0.17)])]
        ridge = [(0.0, 0.0), (0.85, 0.02)]
    elif value == "sickle":
        ridge = curve([(0, 0), (0.38, -0.02), (0.72, 0.13), (0.93, 0.42), (0.98, 0.66)], 8)
        shapes = stroke(put(ridge), np.array([0.27, 0.21, 0.17, 0.13, 0.05]) * _BILL_LENGTH)
    elif value == "spatula":
        ridge = [(0, 0), (0.40, 0.0), (0.75, 0.0)]
        shapes = stroke(put(ridge), np.array([0.27, 0.16, 0.16]) * _BILL_LENGTH)
        shapes += [put(ellipse((0.90, 0.0), 0.24, 0.225))]
    else:
        ridge = curve([(0, 0), (0.30, -0.02), (0.52, 0.13), (0.55, 0.40), (0.46, 0.58)], 8)
        shapes = stroke(put(ridge), np.array([0.32, 0.36, 0.37, 0.26, 0.06]) * _BILL_LENGTH)
    canvas.paint(_grown(shapes), colour * 0.45, "bill")
    canvas.paint(shapes, colour, "bill", shade=(1.10, 0.88))
    if value == "hook":
        tip = stroke(put(ridge[-14:]), np.array([0.30, 0.24, 0.08]) * _BILL_LENGTH)
        canvas.paint(tip, (0.16, 0.13, 0.14))
    elif value == "spatula":
        canvas.paint([put(ellipse((0.93, 0.0), 0.12, 0.10))], colour * 0.72)
    else:
        canvas.paint(stroke(put(ridge), 0.03 * _BILL_LENGTH), colour * 0.5)


def _grown(shapes, margin=0.008):
    """Each outline a little larger: the dark rim."""
    grown = []
    for shape in shapes:
        centre = shape.mean(0)
        away = shape - centre
        length = np.maximum(np.hypot(*away.T)[:, None], 1e-9)
        grown.append(shape + away / length * margin)
    return grown
