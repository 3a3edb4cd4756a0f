"""Checks of ex03_counterfactual: negate, prove the two identities, and test the deletion claim."""

from . import ex03_deletion as deletion
from . import ex03_maps as maps
from .part import Part

_PAIRING = (
    "shape mismatch",
    "P holds one class for each image: pair row n of the logits with P[n].",
)

PARTS = (
    Part("ex03_against", "evidence against", 3, "evidence_against", maps.cases_against,
         maps.against, maps.AGAINST_MISTAKES, axes="N, h, w"),
    Part("ex03_violations", "two identities, measured", 3, "violations", maps.cases_violations,
         maps.violations, maps.VIOLATION_MISTAKES,
         expects="The first case keeps both identities, the second breaks one, the third both."),
    Part("ex03_rebuild", "from two pictures back to S", 2, "rebuild_signed", maps.cases_rebuild,
         maps.rebuild, maps.REBUILD_MISTAKES, axes="N, h, w"),
    Part("ex03_delete", "delete what the map points at", 3, "delete_top", deletion.cases_delete,
         deletion.delete, deletion.DELETE_MISTAKES, axes="N, 3, H, W"),
    Part("ex03_change", "what became of the logit", 2, "change_of_logit", deletion.cases_change,
         deletion.change, deletion.CHANGE_MISTAKES, axes="N", tolerance=1e-3, failures=(_PAIRING,)),
    Part("ex03_control", "a control that says nothing", 2, "says_nothing", maps.cases_control,
         maps.control, maps.CONTROL_MISTAKES, axes="N, H, W"),
    Part("ex03_compare", "map against control", 1, "compare_with_control", deletion.cases_compare,
         deletion.compare, deletion.COMPARE_MISTAKES),
)  # fmt: skip
