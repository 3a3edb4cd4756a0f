"""Make the README's pictures in docs/ with the course's own methods: make pictures

questions.png asks about a photo (by Stefan van der Walt, CC0, from scikit-image) and about a drawn
bird; explorer.png is a strip of the explorer in use, its panels as it draws them.
"""

import io
from pathlib import Path

from PIL import Image

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

DOCS = Path(__file__).resolve().parent.parent / "docs"
WIDTH = 1600  # of a picture, in pixels: twice as wide as GitHub shows it


def answers(network, seen, questions):
    """The answers to a row of questions (method, keyword arguments): maps, sentences, strength."""
    import torch

    given = [method(network)(seen, **classes) for method, classes in questions]
    maps, strength = (torch.cat([getattr(a, k) for a in given], 1) for k in ("maps", "strength"))
    return maps, [a.questions[0][0] for a in given], strength


def of_a_photo():
    """A row of answers about a photo of a cat."""
    network = load_classifier("efficientnet_lite0")
    x = network.preprocess(load_photo("chelsea"))
    asked = [
        (GradCAM, dict(why="tiger cat")),
        (ContrastCAM, dict(why="tiger cat", rather_than="Egyptian cat")),
        (ContrastCAM, dict(why="tiger cat", rather_than="tabby")),
    ]
    maps, titles, _ = answers(network, ForwardPass(network, x[None]), asked)
    return figures.questions([network.preprocess.show(x)], maps, [titles], alt="see README.md")


def of_a_bird():
    """A row of answers about a drawn flamingo."""
    network = load_classifier("birds")
    bird = draw("flamingo", seed=1_000_003)
    asked = [
        (GradCAM, dict(why="flamingo")),
        (ContrastCAM, dict(why="flamingo", rather_than="spoonbill")),
        (CounterfactualCAM, dict(why="spoonbill")),
    ]
    seen = ForwardPass(network, network.preprocess(bird.image)[None])
    maps, titles, _ = answers(network, seen, asked)
    return figures.birds([bird], maps, [titles], alt="see README.md")


def below_each_other(pictures: list[Image.Image]) -> Image.Image:
    """Rows of the same width."""
    rows = [p.resize((WIDTH, round(p.height * WIDTH / p.width))) for p in pictures]
    sheet = Image.new("RGB", (WIDTH, sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet


def opened(picture: bytes) -> Image.Image:
    return Image.open(io.BytesIO(picture)).convert("RGB")


def main():
    DOCS.mkdir(exist_ok=True)
    rows = [opened(of_a_photo().png()), opened(of_a_bird().png())]
    below_each_other(rows).save(DOCS / "questions.png", optimize=True)


if __name__ == "__main__":
    main()
