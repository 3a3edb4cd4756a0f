"""A map's strength in words: before you read a map, look at its strength."""

from math import isnan

WEAK = 0.1  # of Grad-CAM's peak: below it there is next to nothing to read
LARGE = 1 / WEAK  # times Grad-CAM's peak: above it, Grad-CAM's own map is the weak one


def strength_in_words(strength: float) -> str:
    """A map's strength as a title says it: "strength 0.43", "weak: 4 % of Grad-CAM's peak".

    A large strength praises no map: it says that the evidence for P, its measure, is next to none.
    """
    if isnan(strength):
        return "strength unknown: Grad-CAM's own map is empty"
    if strength == 0:
        return "empty: no positive evidence"
    if strength > LARGE:
        times = f"{strength:.0f}" if strength < 1000 else "over 1000"
        return f"strength {times}: Grad-CAM's own map is weak beside it"
    if strength >= WEAK:
        return f"strength {strength:.2f}"
    if strength < 0.01:
        percent = "less than 1 %"
    elif strength < 0.095:
        percent = f"{100 * strength:.0f} %"
    else:  # 0.098 is weak, and not to be called 10 %
        percent = f"{min(100 * strength, 9.9):.2g} %"
    return f"weak: {percent} of Grad-CAM's peak"


def strength_sentence(strength: float) -> str:
    """The same as a sentence: "Weak: 4 % of Grad-CAM's peak."."""
    words = strength_in_words(strength)
    return f"{words[0].upper()}{words[1:]}."
