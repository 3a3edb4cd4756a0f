"""Make the README's pictures in docs/ with the course's own methods: make pictures

questions.webp asks about a photo (by Stefan van der Walt, CC0, from scikit-image) and about a drawn
bird. explorer.webp is a strip of the explorer in use: the same panel, three times, with another Q
chosen each time. Lists, maps and sentences are the panel's own, so no browser is needed.
"""

import base64
import io
import re
from html import unescape
from pathlib import Path

from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from course_utils import (
    ContrastCAM,
    CounterfactualCAM,
    ForwardPass,
    GradCAM,
    figures,
    load_classifier,
    load_photo,
)
from course_utils.birds import draw
from course_utils.explorers.birds import bird_explorer
from course_utils.figures.panels import title_lines

DOCS = Path(__file__).resolve().parent.parent / "docs"
WIDTH = 1600  # of a picture, in pixels: twice as wide as GitHub shows it
COLUMN, GAP, LINE = 388, 16, 36  # pixels of the strip: a state, what lies between two, a line
LISTED = 5  # classes of an open list
CHOSEN, PALE, INK, QUIET = "#1a5fb4", "#f6f7f9", "#1b1f24", "#59636e"


def answers(seen, questions):
    """The answers to a row of questions (method, keyword arguments): maps, sentences, strength."""
    import torch

    given = [method(seen, **classes) for method, classes in questions]
    maps, strength = (torch.cat([getattr(a, k) for a in given], 1) for k in ("maps", "strength"))
    return maps, [a.questions[0][0] for a in given], strength


def about_a_photo():
    """Of a photo of a cat: the picture as the network sees it, and three answers."""
    network = load_classifier("efficientnet_lite0")
    x = network.preprocess(load_photo("chelsea"))
    # the published loss has next to nothing to say here: the network wavers between three cats
    contrast = ContrastCAM(network, loss="logit_difference")
    asked = [
        (GradCAM(network), dict(why="tiger cat")),
        (contrast, dict(why="tiger cat", rather_than="lynx")),
        (contrast, dict(why="tiger cat", rather_than="tabby")),
    ]
    return network.preprocess.show(x), answers(ForwardPass(network, x[None]), asked)


def about_a_bird():
    """The same of a drawn flamingo."""
    network = load_classifier("birds")
    bird = draw("flamingo", seed=1_000_003)
    asked = [
        (GradCAM(network), dict(why="flamingo")),
        (ContrastCAM(network), dict(why="flamingo", rather_than="spoonbill")),
        (CounterfactualCAM(network), dict(why="spoonbill")),
    ]
    seen = ForwardPass(network, network.preprocess(bird.image)[None])
    return bird, answers(seen, asked)


def rows():
    """The first picture's rows. A title tells the strength, so that nobody reads a weak map."""
    for draws, (seen, (maps, titles, strength)) in (
        (figures.questions, about_a_photo()),
        (figures.birds, about_a_bird()),
    ):
        yield draws([seen], maps, [titles], strength=strength, alt="see README.md")


def below_each_other(pictures: list[Image.Image]) -> Image.Image:
    """Rows of the same width."""
    rows = [p.resize((WIDTH, round(p.height * WIDTH / p.width))) for p in pictures]
    sheet = Image.new("RGB", (WIDTH, sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet


def states(bird="stork", asked=("ibis", "marabou", "white spoonbill")):
    """The panel of drawn birds in use: (label, list, map, caption) for one Q after another.

    First of all come the bird and the list of P.
    """
    panel = bird_explorer(bird)
    yield ("Why P", panel.why, *_shown(panel, 0))
    panel.known.value = True
    for name in asked:
        q = panel.rather_than[0]
        q.value = panel.scene.names.index(name)
        yield ("rather than Q", q, *_shown(panel, -1))


def _shown(panel, n: int) -> tuple[Image.Image, str]:
    """The n-th of the panel's pictures with its caption."""
    html = panel.pictures.value
    data = re.findall(r"src='data:image/jpeg;base64,([^']+)'", html)[n]
    caption = re.findall(r"<figcaption[^>]*>([^<]+)<", html)[n]
    return opened(base64.b64decode(data)), unescape(caption)


def strip() -> Image.Image:
    """All states beside one another."""
    columns = [state(*one) for one in states()]
    height = max(column.height for column in columns)
    sheet = Image.new("RGB", (len(columns) * (COLUMN + GAP) - GAP, height), "white")
    for n, column in enumerate(columns):
        sheet.paste(column, (n * (COLUMN + GAP), 0))
    return sheet


def state(label: str, chooser, picture: Image.Image, caption: str) -> Image.Image:
    """An open list, the chosen class marked, above the picture that answers."""
    rows = [[part.strip() for part in text.rsplit("   ", 1)] for text, _ in chooser.options]
    at = chooser.index
    listed = [*range(LISTED)] if at < LISTED else [*range(LISTED - 2), None, at]
    sheet = Image.new("RGB", (COLUMN, (LISTED + 4) * LINE + COLUMN), "white")
    draw, plain, bold = ImageDraw.Draw(sheet), font("DejaVu Sans"), font("DejaVu Sans", "bold")
    draw.text((2, LINE / 2), label, INK, bold, anchor="lm")
    box = (0, LINE, COLUMN - 1, (LISTED + 1) * LINE)
    draw.rounded_rectangle(box, 6, PALE, "#c8ced5", 2)
    for line, row in enumerate(listed, 1):
        middle, colour = (line + 0.5) * LINE, INK
        if row == at:
            draw.rectangle((2, line * LINE + 2, COLUMN - 3, (line + 1) * LINE - 2), CHOSEN)
            colour = "white"
        name, p = ("...", "") if row is None else rows[row]
        draw.text((14, middle), name, colour, plain, anchor="lm")
        draw.text((COLUMN - 14, middle), p, colour, plain, anchor="rm")
    top = (LISTED + 1) * LINE + 12
    sheet.paste(picture.resize((COLUMN, COLUMN), Image.Resampling.LANCZOS), (0, top))
    words = "\n".join(title_lines(caption, 30))
    draw.multiline_text((2, top + COLUMN + 10), words, QUIET, plain, spacing=6)
    return sheet


def font(family: str, weight: str = "normal") -> ImageFont.FreeTypeFont:
    """A font that comes with matplotlib: the same on every machine."""
    wanted = font_manager.FontProperties(family=family, weight=weight)
    return ImageFont.truetype(font_manager.findfont(wanted, fallback_to_default=False), 21)


def opened(picture: bytes) -> Image.Image:
    return Image.open(io.BytesIO(picture)).convert("RGB")


def main():
    DOCS.mkdir(exist_ok=True)
    below_each_other([opened(row.png()) for row in rows()]).save(
        DOCS / "questions.webp", quality=90, method=6
    )
    strip().save(DOCS / "explorer.webp", quality=88, method=6)


if __name__ == "__main__":
    main()
