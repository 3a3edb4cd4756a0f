"""Targeted visual explanations of neural networks: the helper package of the course.

>>> from course_utils import load_classifier, load_photo, GradCAM, CounterfactualCAM, ContrastCAM
"""

from .methods.cams import ContrastCAM, CounterfactualCAM, Explanation, GradCAM
from .methods.forward_pass import ForwardPass
from .methods.layers import layer_names
from .networks.classifiers import load_classifier
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
__version__ = "2.0.0"


def __getattr__(name: str):
    if name == "checks":  # where it was in version 1
        raise ImportError("The checks moved: write `import course_checks as checks`.")
    raise AttributeError(f"module 'course_utils' has no attribute '{name}'")
