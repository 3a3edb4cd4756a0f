"""Pictures of image quality: patches' scores and weights, answers to "why s, rather than q?",
levels.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from ..errors import a_kind_of
from ..figures import Picture
from ..figures.overlays import SIGNED, as_pixels, outlined, signed_overlay, where
from ..figures.panels import (
    axes,
    bar,
    check_columns,
    defaults,
    most_lines,
    own_bar,
    panel,
    same_length,
)
from .assessor import LocalScores, QualityExplanation
from .distort import picture_of

WORDS = ("pulls the\nscore down", "as good as q", "holds\nit up")  # blue, white, red


@defaults()
def contrasts(
    photo, explanation: QualityExplanation, caption: str = "", mask=None, columns: int = 3,
    titles: Sequence[str] | None = None,
) -> Picture:  # fmt: skip
    """A photo, and the answers to all K questions on one scale: red holds the score up, blue pulls
    it down.

    Args:
        photo: the distorted photo, H x W.
        explanation: of that photo, by an assessor.
        mask: H x W, True where the photo is known to be distorted: outlined in every panel.
        titles: K titles instead of the questions.
    """
    if not isinstance(explanation, QualityExplanation):
        kind = a_kind_of(explanation)
        raise TypeError(f"A photo and an Assessor's answer about it are drawn, not {kind}.")
    photo = picture_of(photo)
    maps, titles = explanation.signed_maps, list(titles or explanation.questions)
    same_length(maps=maps, titles=titles)
    shown = [as_pixels(photo), *(signed_overlay(photo, values) for values in maps)]
    if mask is not None:
        shown = [outlined(pixels, mask) for pixels in shown]
    height, width = shown[0].shape[:2]
    headed = [f"Scored {explanation.score:.2f}", *titles]
    lines, aspect = most_lines(headed), height / width
    figure, drawn = axes(len(shown), columns, lines=lines, aspect=aspect, first_large=True)
    for axis, pixels, title in zip(drawn, shown, headed):
        panel(axis, pixels, title)
    bar(figure, drawn, SIGNED, WORDS)
    said = " ".join(f"{title} {strongest_in_words(values)}" for title, values in zip(titles, maps))
    known = " The region known to be distorted is outlined." if mask is not None else ""
    return Picture(
        figure, f"The distorted photo, and signed maps on one scale.{known} {said}", caption
    )


def strongest_in_words(values) -> str:
    """Where a signed map, H x W in [-1, 1], is strongest, and how much of it is which sign."""
    values = np.asarray(values)
    below, above = (float((sign * values > 0.02).mean()) for sign in (-1, 1))
    if not below and not above:
        return "Nothing speaks either way."
    told = (
        [f"{below:.0%} of it pulls the score down, most at the {where(-values)}"] if below else []
    )
    told += [f"{above:.0%} holds it up, most at the {where(values)}"] if above else []
    return ("; ".join(told) + ".").replace("at the everywhere alike", "everywhere alike")


@defaults()
def patches(photo, local: LocalScores, caption: str = "") -> Picture:
    """The photo, its patches' scores q_i and their weights w_i, each a grid on its own scale."""
    local, photo = getattr(local, "local", local), picture_of(photo)
    if not isinstance(local, LocalScores):
        kind = a_kind_of(local)
        raise TypeError(f"A photo and an Assessor's local_scores of it are drawn, not {kind}.")
    height, width = as_pixels(photo).shape[:2]
    figure, drawn = axes(3, 3, bar=True, aspect=height / width)
    q, weights = local.scores.clamp(0, 1).numpy(), local.weights.numpy()
    relative = weights / weights.mean()
    panel(drawn[0], as_pixels(photo), "The photo")
    panel(drawn[1], q, "Scores of the patches", cmap="viridis", aspect="auto")
    panel(drawn[2], relative, "Weights, in times their mean", cmap="viridis", aspect="auto")
    for axis, values in zip(drawn[1:], (q, relative)):
        axis.set_box_aspect(height / width)  # a patch at the edge overlaps its neighbour
        own_bar(figure, axis, float(values.min()), float(values.max()))
    alt = (
        f"A photo, and two grids of {q.shape[0]} x {q.shape[1]} patches. The lowest score lies at "
        f"the {where(1 - q)}, the highest at the {where(q)}; the largest weight at the "
        f"{where(relative)}."
    ).replace("at the everywhere alike", "everywhere alike")
    return Picture(figure, alt, caption)


@defaults()
def over_levels(
    scores: Mapping[str, Sequence[float]],
    caption: str = "",
    ylabel: str = "score",
    columns: int = 5,
) -> Picture:
    """One small chart for each kind of distortion: values in [0, 1] at the levels 1 to n."""
    if not isinstance(scores, Mapping):
        raise TypeError(f"scores is a dict from kind to its values, not {a_kind_of(scores)}.")
    if not scores:
        raise ValueError("There is nothing to show: scores is empty.")
    scores = {kind: np.asarray(values, float).reshape(-1) for kind, values in scores.items()}
    every = np.concatenate([*scores.values()])
    if (every < -0.03).any() or (every > 1.03).any():  # the ends of the charts: the rest is unseen
        raise ValueError(
            f"The values run from {np.nanmin(every):.3g} to {np.nanmax(every):.3g}, and the charts "
            "from 0 to 1: put them on that scale first, (value - worst) / (best - worst)."
        )
    check_columns(columns)
    columns = columns or 5
    rows = -(-len(scores) // columns)
    figure = Figure(figsize=(9.5, 1.75 * rows + 0.3), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axis in axes[len(scores) :]:
        axis.set_axis_off()
    said = []
    for axis, (kind, values) in zip(axes, scores.items()):
        levels = range(1, len(values) + 1)
        axis.plot(levels, values, "o-", color="#2166ac", markersize=4)
        axis.set_title(kind, fontsize=10)
        axis.set(ylim=(-0.03, 1.03), xticks=list(levels))
        axis.grid(color="#e0e0e0", linewidth=0.6)
        said.append(f"{kind}: " + ", ".join(f"{value:.2f}" for value in values))
    figure.supxlabel("level", fontsize=10)
    figure.supylabel(ylabel, fontsize=10)
    return Picture(
        figure, f"Charts of the {ylabel} over the levels. " + "; ".join(said) + ".", caption
    )
