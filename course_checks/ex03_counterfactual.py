"""Checks of ex03_counterfactual: negate, prove the two identities, and test the deletion claim."""

from . import ex03_deletion as deletion
from . import ex03_maps as maps
from .part import Part

_PAIRING = (
    "shape mismatch",
    "P holds one class for each image: pair row n of the logits with P[n].",
)

PARTS = (
    Part(
        name="ex03_against",
        visible=-1,
        title="evidence against",
        points=3,
        answer="evidence_against",
        draws=maps.cases_against,
        reference=maps.against,
        mistakes=maps.AGAINST_MISTAKES,
        axes="N, h, w",
    ),
    Part(
        name="ex03_violations",
        title="two identities, measured",
        points=3,
        answer="violations",
        draws=maps.cases_violations,
        reference=maps.violations,
        mistakes=maps.VIOLATION_MISTAKES,
        expects="The first case keeps both identities, two break one of them each, the last "
        "breaks both.",
    ),
    Part(
        name="ex03_rebuild",
        title="from two pictures back to S",
        points=2,
        answer="rebuild_signed",
        draws=maps.cases_rebuild,
        reference=maps.rebuild,
        mistakes=maps.REBUILD_MISTAKES,
        failures=(
            (
                "must match the size",
                "Have the maxima two axes of length 1 for the places: "
                "`largest_for[:, None, None]`?",
            ),
        ),
        axes="N, h, w",
    ),
    Part(
        name="ex03_delete",
        title="delete what the map points at",
        points=3,
        answer="delete_top",
        draws=deletion.cases_delete,
        reference=deletion.delete,
        mistakes=deletion.DELETE_MISTAKES,
        failures=(
            (
                "must match the size",
                "Has the mask an axis of length 1 for the colours: `mask[:, None]`?",
            ),
            ("must be int, not float", "k is a whole number: `int(share * H * W)`."),
        ),
        axes="N, 3, H, W",
    ),
    Part(
        name="ex03_change",
        title="what became of the logit",
        points=2,
        answer="change_of_logit",
        draws=deletion.cases_change,
        reference=deletion.change,
        mistakes=deletion.CHANGE_MISTAKES,
        axes="N",
        tolerance=1e-3,
        failures=(_PAIRING,),
    ),
    Part(
        name="ex03_control",
        title="a control that says nothing",
        points=2,
        answer="says_nothing",
        draws=maps.cases_control,
        reference=maps.control,
        mistakes=maps.CONTROL_MISTAKES,
        axes="N, H, W",
    ),
    Part(
        name="ex03_compare",
        visible=-14,
        title="map against control",
        points=1,
        answer="compare_with_control",
        draws=deletion.cases_compare,
        reference=deletion.compare,
        mistakes=deletion.COMPARE_MISTAKES,
        failures=(
            ("Got: Bool", "Yes and no have no mean before they are numbers: `.float()` first."),
        ),
    ),
)
