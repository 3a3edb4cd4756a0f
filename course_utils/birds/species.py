"""Who is who: the species, their four attributes, and what tells any two of them apart.

The idea of a drawn world whose classes are known sets of parts is that of FunnyBirds (Hesse,
Schaub-Meyer and Roth, ICCV 2023, arXiv:2308.06248). Here it serves the contrast question: the
answer to "why P, rather than Q?" is, by construction, the set of parts in which P and Q differ.

Every colour, neck, bill and pair of legs belongs to at least two species, so no single part gives a
species away. Names are borrowed from real birds; the table is not a field guide.
"""

from types import MappingProxyType

from ..errors import closest

PARTS = ("body", "neck", "bill", "legs")

VALUES = MappingProxyType(
    {
        "body": ("pink", "white", "grey"),
        "neck": ("curved", "straight", "shaggy"),
        "bill": ("hook", "spatula", "dagger", "sickle"),
        "legs": ("red", "black", "yellow"),
    }
)

_TABLE = {
    "flamingo": ("pink", "curved", "hook", "red"),
    "Andean flamingo": ("pink", "curved", "hook", "yellow"),
    "spoonbill": ("pink", "curved", "spatula", "red"),
    "white spoonbill": ("white", "curved", "spatula", "black"),
    "egret": ("white", "curved", "dagger", "black"),
    "heron": ("grey", "curved", "dagger", "yellow"),
    "crane": ("grey", "straight", "dagger", "black"),
    "stork": ("white", "straight", "dagger", "red"),
    "ibis": ("white", "straight", "sickle", "red"),
    "scarlet ibis": ("pink", "straight", "sickle", "red"),
    "marabou": ("white", "shaggy", "dagger", "red"),
    "shoebill": ("grey", "shaggy", "hook", "black"),
}

SPECIES = MappingProxyType(
    {name: MappingProxyType(dict(zip(PARTS, values))) for name, values in _TABLE.items()}
)


def attributes(species):
    """The four attributes of a species: a dict from part to value. ValueError names an unknown
    species."""
    if species not in SPECIES:
        raise ValueError(
            f"There is no species {species!r} among the drawn birds.{closest(species, SPECIES)}"
        )
    return dict(SPECIES[species])


def differences(P, Q):
    """The parts in which species P and Q differ, in the order of PARTS: the true answer to "why P,
    rather than Q?".

    `differences("flamingo", "spoonbill")` is `("bill",)`. Symmetric in P and Q; empty when they are
    the same.
    """
    p, q = attributes(P), attributes(Q)
    return tuple(part for part in PARTS if p[part] != q[part])


def nearest_species(parts):
    """The species that share most of these parts, in the order of SPECIES: who a bird might be.

    parts: dict from part to value. A part that is None or absent speaks for nobody. A flamingo
    whose bill cannot be seen is a flamingo or a spoonbill; a whole bird of a known kind is that one
    species.
    """
    shared = {
        name: sum(own[part] == value for part, value in parts.items())  # a None is nobody's
        for name, own in SPECIES.items()
    }
    return tuple(name for name, count in shared.items() if count == max(shared.values()))


def check_parts(parts):
    """Raise ValueError, in a sentence, unless every key is a part and every value is one of its
    values or None."""
    for part, value in parts.items():
        if part not in PARTS:
            raise ValueError(
                f"A bird has no part {part!r}; its parts are "
                f"{', '.join(PARTS)}.{closest(part, PARTS)}"
            )
        if value is not None and value not in VALUES[part]:
            raise ValueError(
                f"{part}={value!r} cannot be drawn; choose {', '.join(VALUES[part])}, or None to "
                f"leave it out.{closest(value, VALUES[part])}"
            )
