"""Make the README's picture in docs/ with the course's own methods and its own birds, so that no
photo of anyone else's is part of the repository: python tools/readme_pictures.py"""

from pathlib import Path

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


def panels(network, bird, questions):
    """The bird, then one overlay for each question (method, keyword arguments), with titles."""
    seen = ForwardPass(network, network.preprocess(bird.image)[None])
    picture = network.preprocess.show(network.preprocess(bird.image))
    answers = [method(network)(seen, **classes) for method, classes in questions]
    pictures = [picture, *(figures.overlay(picture, answer.maps[0, 0]) for answer in answers)]
    return pictures, ["", *(answer.questions[0][0] for answer in answers)]


def main():
    DOCS.mkdir(exist_ok=True)
    network = load_classifier("birds")
    rows = [
        panels(
            network,
            draw("flamingo", seed=1_000_003),
            [
                (GradCAM, dict(why="flamingo")),
                (ContrastCAM, dict(why="flamingo", rather_than="spoonbill")),
                (ContrastCAM, dict(why="flamingo", rather_than="Andean flamingo")),
            ],
        ),
        panels(
            network,
            draw("spoonbill", seed=1_000_006),
            [
                (GradCAM, dict(why="spoonbill")),
                (CounterfactualCAM, dict(why="flamingo")),
                (ContrastCAM, dict(why="spoonbill", rather_than="white spoonbill")),
            ],
        ),
    ]
    pictures, titles = (sum(parts, []) for parts in zip(*rows))
    figures.photos(pictures, titles, alt="see README.md", columns=4).save(DOCS / "questions.png")


if __name__ == "__main__":
    main()
