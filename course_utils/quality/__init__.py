"""Image quality assessment: distortions, an assessor, and why it gave a score rather than another.

>>> from course_utils.quality import distort, load_assessor
>>> assessor = load_assessor(reference=True)
>>> worse = distort(photo, "jpeg", level=5).image
>>> assessor.score(worse, photo)
>>> assessor.explain(worse, photo, rather_than=[1, 0.75, 0.5, 0.25]).signed_maps
"""

from .assessor import Assessor, LocalScores, QualityExplanation
from .distort import LEVELS, Distorted, DistortionWarning, distort
from .distortions import KINDS
from .load import load_assessor
from .reading import ScaleWarning

__all__ = [
    "load_assessor",
    "Assessor",
    "LocalScores",
    "QualityExplanation",
    "ScaleWarning",
    "distort",
    "Distorted",
    "DistortionWarning",
    "KINDS",
    "LEVELS",
]
