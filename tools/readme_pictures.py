"""Make the README's picture in docs/ with the course's own methods and its own birds, so that no
photo of anyone else's is part of the repository: python tools/readme_pictures.py"""

from pathlib import Path

import torch

from course_utils import (
    ContrastCAM,
    CounterfactualCAM,
    ForwardPass,
    GradCAM,
    figures,
    load_classifier,
)
from course_utils.birds import draw

DOCS = Path(__file__).resolve().parent.parent / "docs"


def answers(network, bird, questions):
    """The answers to a row of questions (method, keyword arguments) about a bird: maps,
    sentences.
    """
    seen = ForwardPass(network, network.preprocess(bird.image)[None])
    given = [method(network)(seen, **classes) for method, classes in questions]
    return torch.cat([a.maps for a in given], dim=1), [a.questions[0][0] for a in given]


def main():
    DOCS.mkdir(exist_ok=True)
    network = load_classifier("birds")
    birds = [draw("flamingo", seed=1_000_003), draw("spoonbill", seed=1_000_006)]
    rows = [
        answers(
            network,
            birds[0],
            [
                (GradCAM, dict(why="flamingo")),
                (ContrastCAM, dict(why="flamingo", rather_than="spoonbill")),
                (ContrastCAM, dict(why="flamingo", rather_than="Andean flamingo")),
            ],
        ),
        answers(
            network,
            birds[1],
            [
                (GradCAM, dict(why="spoonbill")),
                (CounterfactualCAM, dict(why="flamingo")),
                (ContrastCAM, dict(why="spoonbill", rather_than="white spoonbill")),
            ],
        ),
    ]
    maps, titles = zip(*rows)
    figures.birds(birds, torch.cat(maps), titles, alt="see README.md").save(DOCS / "questions.png")


if __name__ == "__main__":
    main()
