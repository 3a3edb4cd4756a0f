"""The seventeen methods of the lecture's taxonomy, in its order, and one way to ask them all.

>>> from course_utils.methods.taxonomy import METHODS
>>> for method in METHODS:
...     answer = method(classifier, x, why="tiger cat", rather_than="espresso")
>>> METHODS["RISE"](classifier, x, why="espresso", masks=400).maps
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor, nn

from ...errors import closest
from ..layers import find_layer
from .asked import Answer, Asked, undisturbed
from .cam import cam
from .causal_cam import causal_cam
from .cem import cem
from .contrast_cam import contrast_cam
from .counterfactual_cam import counterfactual_cam
from .deconvolution import deconvolution
from .goyal import goyal
from .grad_cam import grad_cam
from .grad_cam_pp import grad_cam_pp
from .graph import graph_cnn
from .guided_backprop import guided_backprop
from .inverted import inverted_representations
from .lime import lime
from .passes import Passes, Stopped, counted
from .reasoning import contrastive_reasoning
from .rise import rise
from .smoothgrad import smoothgrad
from .tcav import tcav

__all__ = ["METHODS", "Answer", "Asked", "Method", "Passes", "Stopped", "counted"]


@dataclass(frozen=True)
class Method:
    """One row of the table. Call it to ask.

    Attributes:
        name, label: the label is the lecture's: indirect, direct or targeted.
        question: what it answers.
        needs: of the network (answers, inside, gradients) and beside it (images, labels).
        cost: in passes, F forward and B backward, with the defaults on one image.
        paper, arxiv: where it was published.
        answer: what it gives: "map", "images", "graph", "score", "swaps and a map", ...
        needs_q: whether it is about a Q by itself; the others take one as part of the question.
        asks: whether its answer depends on P at all.
        forward: about how many images go forward, for a progress bar.
        ask: the function in the method's own file.
    """

    name: str
    label: str
    question: str
    needs: str
    cost: str
    paper: str
    arxiv: str
    answer: str
    ask: Callable[..., Answer]
    forward: int = 1
    needs_q: bool = False
    asks: bool = True

    def __call__(
        self, network: nn.Module, x: Tensor, why=None, rather_than=None, layer=None, **options
    ) -> Answer:
        """Ask the method about one image.

        Args:
            network: any network that the course asks: N x 3 x H x W to N x classes.
            x: 1 x 3 x H x W, as the network reads it.
            why: P, by name or number; None for the predicted class.
            rather_than: Q; None for "Why P?" (a method that needs a Q takes the most probable one).
                A method that has no Q of its own is asked about y_P - y_Q, or p_P - p_Q.
            layer: the target layer, by name; None for the last one with places.
            options: see the method's own file.

        The network, and torch's random numbers, are left as they were found.

        Raises:
            ImageError, LayerError, ClassError, ValueError: with a sentence that says what to do,
                also where the method cannot be had of this network.
        """
        find_layer(network, layer)  # what is no network is called so
        with undisturbed(network), warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="captum")
            warnings.filterwarnings("ignore", "Objective did not converge")  # scikit-learn, in LIME
            asked = Asked.about(network, x, why, rather_than, self.needs_q, layer)
            return replace(self.ask(asked, **options), method=self.name)

    def __repr__(self) -> str:
        return f"{self.name} ({self.label}): {self.question}"


class Methods(tuple):
    """The rows in the lecture's order; also by name, as in METHODS["RISE"]."""

    def __getitem__(self, which):
        if not isinstance(which, str):
            return super().__getitem__(which)
        for method in self:
            if method.name.lower() == which.lower():
                return method
        names = [method.name for method in self]
        raise KeyError(f"No method is called {which!r}.{closest(which, names)}")


# fmt: off
METHODS = Methods([
    Method("Deconvolution", "indirect", "What in the image sets this unit off?",
           "inside, gradients", "1 F, 1 B", "Zeiler and Fergus, ECCV 2014", "1311.2901",
           "map", deconvolution),
    Method("Inverted Representations", "indirect", "Which images look alike to this layer?",
           "inside, gradients", "40 F, 40 B a layer, to the layer only: it fits an image",
           "Mahendran and Vedaldi, CVPR 2015", "1412.0035",
           "images", inverted_representations, 121, asks=False),
    Method("Guided-Backprop", "direct", "Which pixels raise P's score?",
           "inside, gradients", "1 F, 1 B", "Springenberg et al., ICLR workshop 2015",
           "1412.6806", "map", guided_backprop),
    Method("SmoothGrad", "direct", "To which pixels is P's score sensitive, noise averaged out?",
           "gradients", "16 F, 16 B", "Smilkov et al., 2017", "1706.03825", "map", smoothgrad, 17),
    Method("LIME", "direct", "Which patches does a simple model need to imitate P's score here?",
           "answers", "100 F", "Ribeiro et al., KDD 2016", "1602.04938", "map", lime, 102),
    Method("CAM", "direct", "Where does the network see P?",
           "inside: a head that pools and multiplies", "1 F", "Zhou et al., CVPR 2016",
           "1512.04150", "map", cam),
    Method("Graph-CNN", "indirect", "Which parts of things have the layers learned?",
           "inside, images", "2 F for each of 48 images, then EM; once per network",
           "Zhang et al., AAAI 2018 (the course's reading)", "1708.01785",
           "graph", graph_cnn, 97, asks=False),
    Method("Grad-CAM", "targeted", "Why P?", "inside, gradients", "1 F, 1 B",
           "Selvaraju et al., ICCV 2017", "1610.02391", "map", grad_cam),
    Method("TCAV", "direct", "Does a concept, such as stripes, matter to P?",
           "inside, gradients, images, labels",
           "1 F for each image of a concept; 1 F, 1 B for each image of P",
           "Kim et al., ICML 2018", "1711.11279", "score", tcav, 67),
    Method("Grad-CAM++", "targeted", "Why P, where P is there more than once?",
           "inside, gradients", "1 F, 1 B", "Chattopadhay et al., WACV 2018", "1710.11063",
           "map", grad_cam_pp),
    Method("RISE", "direct", "Which regions keep P's score up when left visible?",
           "answers", "120 F", "Petsiuk et al., BMVC 2018", "1806.07421", "map", rise, 121),
    Method("Causal-CAM", "targeted", "Why P, once the context shared with Q is removed?",
           "inside, gradients", "1 F, 4 B for one Q", "Prabhushankar and AlRegib, ICIP 2021",
           "2103.12322", "map", causal_cam, needs_q=True),
    Method("Counterfactual-CAM", "targeted", "What if P's evidence were absent?",
           "inside, gradients", "1 F, 1 B", "Selvaraju et al., ICCV 2017", "1610.02391",
           "map", counterfactual_cam),
    Method("Goyal et al.", "targeted",
           "Which region, taken from an image of Q, would make this a Q?",
           "inside, images", "2 F, then the head once for each swap tried",
           "Goyal et al., ICML 2019", "1904.07451", "swaps and a map", goyal, 9, needs_q=True),
    Method("CEM", "targeted", "What must be absent, and what must be there, for P?",
           "gradients", "80 F, 80 B: it fits two images; an autoencoder beforehand, if any",
           "Dhurandhar et al., NeurIPS 2018", "1802.07623", "two images and a map", cem, 82),
    Method("Contrast-CAM", "targeted", "Why P, rather than Q?", "inside, gradients", "1 F, 1 B",
           "Prabhushankar et al., ICIP 2020", "2008.00178", "map", contrast_cam, needs_q=True),
    Method("Contrastive reasoning", "targeted",
           "Why P, rather than Q, for every Q: what to conclude?",
           "inside, gradients, images, labels", "1 F, 1 B for each Q, then a second small network",
           "Prabhushankar and AlRegib, 2021", "2103.12329", "twelve maps and an accuracy",
           contrastive_reasoning, 121, needs_q=True),
])
# fmt: on
