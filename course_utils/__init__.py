"""Targeted visual explanations of neural networks: the helper package of the course.

>>> from course_utils import load_classifier, load_photo, GradCAM, CounterfactualCAM, ContrastCAM
"""

from .errors import tell_of_moved_modules, whole_torch

tell_of_moved_modules()
whole_torch()  # before all else that imports it

from .methods.cams import ContrastCAM, CounterfactualCAM, Explanation, GradCAM  # noqa: E402
from .methods.forward_pass import ForwardPass  # noqa: E402
from .methods.layers import layer_names  # noqa: E402
from .networks.classifiers import load_classifier  # noqa: E402
from .photos import load_photo  # noqa: E402

__all__ = [
    "load_classifier",
    "load_photo",
    "layer_names",
    "GradCAM",
    "CounterfactualCAM",
    "ContrastCAM",
    "Explanation",
    "ForwardPass",
]
__version__ = "2.0.0"
