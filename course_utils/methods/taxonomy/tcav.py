"""TCAV (Kim et al., Interpretability beyond feature attribution, ICML 2018).

    score = share of images of P with  (dJ/da) . c > 0,   c: normal of a plane that parts the
                                                            concept's images from others, at a layer

Here a is the mean of each channel over the places, so that a concept may lie anywhere; J is y_P, or
y_P - y_Q. captum's `TCAV`, with a logistic fit that does not depend on the images' order.
"""

import tempfile

import torch
from captum.concept import TCAV, Classifier, Concept
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.utils.data import DataLoader

from .asked import Answer, Asked
from .channel_means import ChannelMeans
from .sets import concepts_for, details


class Logistic(Classifier):
    """A plane with one solution; its direction is scaled to length 1."""

    def __init__(self):
        self.model = LogisticRegression(C=1.0, max_iter=500)

    def train_and_eval(self, dataloader, **_options):
        features, labels = (torch.cat(parts) for parts in zip(*dataloader))
        features, labels = (features / features.std()).numpy(), labels.numpy()
        return {"accs": self.model.fit(features, labels).score(features, labels)}

    def weights(self):
        w = torch.from_numpy(self.model.coef_).float()
        return torch.cat([-w, w]) / w.norm()

    def classes(self):
        return self.model.classes_.tolist()


def tcav(asked: Asked, concepts=None, images: Tensor | None = None, each: int = 24) -> Answer:
    """`result`: concept -> (score in [0, 1], mean derivative along it), no map.

    Args:
        concepts: name -> (N x 3 x H x W with it, M x 3 x H x W without it).
        images: images of P; default, the image and five details of it.
        each: so many birds with the concept, and without it, where none are given.
    """
    concepts = concepts or concepts_for(asked, each)
    images = details(asked.x, 6) if images is None else images
    sets: list[list[Concept]] = []
    for name, pair in concepts.items():
        sets.append([])
        for title, these in zip((name, f"not {name}"), pair):
            loader: DataLoader = DataLoader(these, batch_size=4)  # type: ignore[arg-type]
            sets[-1].append(Concept(2 * len(sets) + len(sets[-1]), title, loader))
    with tempfile.TemporaryDirectory() as folder:  # captum keeps activations on disk
        test = TCAV(ChannelMeans(asked), ["means"], classifier=Logistic(), save_path=folder)
        scores = test.interpret(images, sets, target=0)
    result = {}
    for name, found in zip(concepts, scores.values()):
        one = found["means"]
        result[name] = (float(one["sign_count"][0]), float(one["magnitude"][0]))
    said = ", ".join(f"{name}: {score:.2f} ({size:+.2g})" for name, (score, size) in result.items())
    return Answer(asked.sentence, size=asked.seen.size, result=result, said=said + ".")
