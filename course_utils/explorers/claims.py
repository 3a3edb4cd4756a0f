"""A lecture's claims: sentences that are checked each time the lecture runs.

`docs/claims.md` is the list of them, made by tools/claims_table.py from the calls in the notebooks.
"""

from textwrap import fill

from torch import nn

WIDTH = 100  # JupyterLab breaks longer lines inside words
MEASURED_ON = "efficientnet_lite0"  # the network for which the lectures' words were written


class Claims:
    """Checks sentences about one network, and says in words which of them does not hold.

    A lecture's text is about the network that it was written with. There a claim that fails is an
    error. With another network it is a finding, and is printed. So it is after `claim.strict` was
    set to False, where a reader has changed something else.

    Args:
        network: the lecture's classifier, from `load_classifier`.

    >>> claim = Claims(classifier)
    >>> claim("A far Q gives Grad-CAM's order of places.", bool((rho > 0.9).all()), on="7 photos")
    holds: A far Q gives Grad-CAM's order of places. (7 photos)
    """

    def __init__(self, network: nn.Module):
        self.name = getattr(network, "name", type(network).__name__)
        self.failed: list[str] = []
        self.strict = self.name == MEASURED_ON
        if not self.strict:
            print(
                f"The words of this lecture are about {MEASURED_ON}. With {self.name} all cells "
                "run, and each claim that does not hold is named."
            )

    def __call__(self, sentence: str, true: bool, on: str) -> None:
        """Check one claim.

        Args:
            sentence: the claim, in words.
            true: whether it holds here.
            on: what it was measured on, such as "7 photos".

        Raises:
            AssertionError: it does not hold though nothing was changed (`strict`).
        """
        if true and true == true:  # NaN counts as true, and equals nothing
            _print(f"holds: {sentence} ({on})")
        elif self.strict:
            raise AssertionError(f"This claim no longer holds: {sentence} (measured on {on})")
        else:
            self.failed.append(sentence)
            here = "after your change" if self.name == MEASURED_ON else f"for {self.name}"
            _print(f"DOES NOT HOLD {here}: {sentence} ({on})")


def _print(words: str) -> None:
    print(fill(words, WIDTH, subsequent_indent=" " * len("holds: ")))
