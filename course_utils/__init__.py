"""Targeted visual explanations of neural networks: the helper package of the course.

>>> from course_utils import load_classifier, load_photo, GradCAM, CounterfactualCAM, ContrastCAM
"""

from .cams import ContrastCAM, CounterfactualCAM, Explanation, GradCAM
from .classifiers import load_classifier
from .engine import ForwardPass
from .layers import layer_names
from .photos import load_photo

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
__version__ = "1.0.0"
