from .distort import LEVELS, Distorted, DistortionWarning, distort
from .distortions import KINDS
