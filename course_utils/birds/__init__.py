"""Drawn wading birds: a world in which the answer to "why P, rather than Q?" is known.

>>> from course_utils.birds import draw, differences
>>> differences("flamingo", "spoonbill")
('bill',)
>>> draw("flamingo", seed=7, bill="spatula").attributes["bill"]
'spatula'
"""

from .drawing import Bird, draw
from .species import PARTS, SPECIES, VALUES, attributes, differences, nearest_species

__all__ = [
    "Bird",
    "draw",
    "PARTS",
    "SPECIES",
    "VALUES",
    "attributes",
    "differences",
    "nearest_species",
]
