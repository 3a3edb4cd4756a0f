"""What every figure of the course is made of: panels in rows, their titles, colour bars."""

import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import Any
from unicodedata import bidirectional

import matplotlib
import numpy as np
import torch
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from torch import Tensor

from ..errors import a_kind_of

PANEL = 2.2  # inches; four side by side fill a notebook's width with the text at its own size
COLUMNS = 4
FEW = {1: 1.5, 2: 1.3}  # one or two in all leave room: so many times larger
WIDE = 0.65  # height / width: flatter pictures, such as mosaics, stand in rows of two
THREE_FLAT = 1.4  # three of them in one row: so many times larger than a square panel, not twice
FONT = "DejaVu Sans"  # matplotlib's own
# Fonts with Chinese, Japanese, Korean and other letters, as systems bring them
WIDER = ("Noto Sans", "Noto Emoji", "Source Han Sans", "WenQuanYi", "Microsoft YaHei", "SimHei")
WIDER += ("PingFang", "Hiragino Sans", "Yu Gothic", "Malgun Gothic", "Arial Unicode MS")
LINE = 26  # characters of a title across a panel
PAPER = 0.9  # inches beside the panels, for a colour bar


@contextmanager
def defaults() -> Iterator[None]:
    """Inside, matplotlib draws as it does without a user's matplotlibrc.

    `image.origin: lower` would turn every photo upside down, `text.usetex` ask for LaTeX. A user's
    fonts stay, behind the course's own: class names may be written in letters that this has not.
    """
    families = _families()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["font.family"] = families
        yield


def _families() -> list[str]:
    """The fonts in which a letter is looked for, one after the other; only those that are there."""
    chosen = [*matplotlib.rcParams["font.family"], *matplotlib.rcParams["font.sans-serif"]]
    there = {font.name for font in font_manager.fontManager.ttflist}
    others = [name for name in sorted(there) if name.startswith(WIDER)]
    return list(dict.fromkeys([FONT, *(name for name in chosen if name in there), *others]))


def say_missing(letters: str) -> None:
    """Warn of letters that no font has, which are drawn as boxes."""
    warnings.warn(
        f"No font that is known here has the letters {letters!r}: boxes stand in their place. "
        "Give one that has them, such as Noto Sans CJK, by its file and its name: "
        "matplotlib.font_manager.fontManager.addfont(file); "
        "matplotlib.rcParams['font.family'] = [name].",
        stacklevel=2,
    )


# --- titles ---------------------------------------------------------------------------------------

# Where a title does not break if it can be helped: brackets, a number and what it counts, formulas,
# and the names in the course's questions
_KEPT_TOGETHER = [
    r"\([^()]*\)",
    r"(?:^|(?<=, ))[^,:?()]+ \d[\d.]*(?: %)?(?=,|$)",  # a class and its probability, in a list
    r"[^\s,;:.?]+ [-+]?\d[\d.]*(?: %| dB| px| x \d+)?",
    r"[-+]?\d[\d.]*(?: %| dB| px| times| pixels| x \d+)",
    r"\S+ [-+=<>] \S+(?: [-+=<>] \S+)*",
    r"(?<=^Why )[^,?]+(?=[,?])",
    r"(?<=rather than )[^?,]+(?=[?,]|$)",
    r"(?<=^What if )[^?,]+(?='s? evidence)",
]
_FORMULA = re.compile(
    r"\b[A-Za-z]_\w{1,2}\b(?: ?[-+=] ?(?:[A-Za-z]_\w{1,2}\b|[-+]?\d[\d.]*\d|\d))*"
)


def title_lines(title: str, width: int = LINE) -> list[str]:
    """A title in as few lines as it needs, of nearly equal length.

    No line breaks inside a bracket, a name, a formula, or between a number and its unit, unless the
    piece is longer than a line. A no-break space (U+00A0) keeps any other words together.

    Args:
        width: the most characters of a line.
    """
    words = [word for word in str("" if title is None else title).split(" ") if word]
    text = " ".join(words)
    kept = [match.span() for part in _KEPT_TOGETHER for match in re.finditer(part, text)]
    kept = [(start, end) for start, end in kept if end - start <= width]
    ends = np.cumsum([len(word) + 1 for word in words]) - 1  # of the words: where a space follows
    tied = [any(start < end < stop for start, stop in kept) for end in ends]
    best: list[tuple[float, list[str]]] = [(0.0, [])]  # of the first n words: cost, lines
    for n in range(1, len(words) + 1):
        found = []
        for begin in range(n):
            line = " ".join(words[begin:n])
            broken = 1e6 * (n < len(words) and tied[n - 1])
            over = 1e9 * (len(line) > width and n - begin > 1)
            cost, before = best[begin]
            found.append((cost + over + broken + 1e3 + len(line) ** 2, [*before, line]))
        best.append(min(found, key=lambda one: one[0]))
    return best[-1][1]


def _from_the_left(line: str) -> str:
    """A line that reads from left to right also where a name in Hebrew or Arabic begins it."""
    mark = "\u200e" if any(bidirectional(letter) in ("R", "AL") for letter in line) else ""
    return mark + line


def as_math(text: str) -> str:
    """Formulas such as p_P = 0.27 as mathtext; a dollar sign stays one."""
    return _FORMULA.sub(lambda found: f"${found[0]}$", text.replace("$", r"\$"))


# --- panels ---------------------------------------------------------------------------------------


def axes(
    count: int,
    columns: int | None = None,
    bar: bool = True,
    lines: int = 1,
    aspect: float = 1,
    first_large: bool = False,
) -> tuple[Figure, list[Axes]]:
    """A figure with `count` empty panels in even rows, and room for titles and a colour bar.

    Args:
        columns: at most so many in a row; default 4, and 2 of pictures that are flat (3 of three).
        lines: of the tallest title.
        aspect: height / width of the pictures.
        first_large: with 5 or 7 panels, or 3 of flat pictures, which leave a hole in every grid,
            the first is drawn large and the others in two rows at its right.

    Raises:
        ValueError: `columns` is no whole number from 1.
    """
    check_columns(columns)
    flat = aspect < WIDE and columns is None
    holes = (3, 5, 7) if flat else (5, 7)
    if first_large and count in holes and (columns is None or columns < count):
        return _first_large(count, bar, lines, aspect)
    if flat:
        most, larger = (3, THREE_FLAT) if count == 3 else (2, 2)
    else:
        most, larger = columns or COLUMNS, FEW.get(count, 1)
    rows = -(-count // most)
    columns = min(columns or -(-count // rows), count)
    panel = PANEL * larger
    height = panel * min(aspect, 1.5) + 0.15 + 0.17 * lines
    figure = _figure(panel * columns + PAPER * bar, height * rows)
    found = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in found:
        axis.set_axis_off()
    return figure, list(found[:count])


def check_columns(columns: Any) -> None:
    """Raise a ValueError where `columns` is neither None nor a whole number from 1."""
    if not (columns is None or isinstance(columns, Integral) and columns >= 1):
        raise ValueError(f"columns={columns!r} is the most panels in a row: 1, 2, ...")


def _first_large(count: int, bar: bool, lines: int, aspect: float) -> tuple[Figure, list[Axes]]:
    rows = 2  # at the right of the large one: more would not fit a slide
    beside = (count - 1) // rows
    panel = PANEL * (1.3 if aspect < WIDE else 1)
    height = panel * min(aspect, 1.5) + 0.15 + 0.17 * lines
    figure = _figure((2 + beside) * panel + PAPER * bar, height * rows)
    grid = figure.add_gridspec(rows, 2 + beside)
    found = [figure.add_subplot(grid[:, :2])]
    right = [(row, 2 + column) for row in range(rows) for column in range(beside)]
    found += [figure.add_subplot(grid[place]) for place in right]
    for axis in found:
        axis.set_axis_off()
    return figure, found


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.12)
    return figure


def panel(
    axis: Axes, pixels, title: str = "", width: int = LINE, math: bool = False, **how
) -> None:
    """A picture under its title; `math`: the title is mathtext already."""
    axis.imshow(pixels, **how)
    lines = map(_from_the_left, title_lines(title, width))
    text = title if math else as_math("\n".join(lines))
    axis.set_title(text, fontsize=10)


def note(axis: Axes, words: str) -> None:
    """Words in the middle of a panel, on white."""
    box = {"facecolor": "white", "alpha": 0.85, "edgecolor": "none"}
    axis.text(0.5, 0.5, words, transform=axis.transAxes, ha="center", bbox=box)


def bar(
    figure: Figure, drawn: Sequence[Axes], colours: Colormap | str, words: Sequence[str]
) -> None:
    """A colour bar that speaks in words rather than numbers, as tall as one panel.

    Args:
        words: at equal distances from the lowest to the highest; three of them run from -1 to 1.
    """
    low = -1 if len(words) == 3 else 0
    rows = drawn[0].get_gridspec().nrows
    made = figure.colorbar(
        ScalarMappable(Normalize(low, 1), colours), ax=list(drawn), fraction=0.05, pad=0.02,
        shrink=0.9 / rows, aspect=18, anchor=(0, 0.5), panchor=False,
    )  # fmt: skip
    made.set_ticks(np.linspace(low, 1, len(words)), labels=words)
    made.ax.tick_params(labelsize=9, length=0)
    made.outline.set_visible(False)


def own_bar(figure: Figure, axis: Axes, low: float, high: float, digits: int = 2) -> None:
    """A colour bar of one panel's own scale, its two ends in numbers."""
    if high - low < 1e-6 * max(abs(low), 1):  # one number everywhere: in the middle of its bar
        axis.images[0].set_clim(low - 0.5, low + 0.5)
        low = high = (low + high) / 2
    made = figure.colorbar(axis.images[0], ax=axis, fraction=0.05, pad=0.03, shrink=0.8, aspect=14)
    ends = sorted({low, high})
    made.set_ticks(ends, labels=[f"{end:.{digits}f}" for end in ends])
    made.ax.tick_params(labelsize=9, length=0)
    made.outline.set_visible(False)


def most_lines(titles: Sequence[str], width: int = LINE) -> int:
    """How many lines the tallest title has."""
    return max((len(title_lines(title, width)) for title in titles), default=1)


def same_length(**lists) -> None:
    """Raise ValueError, with all lengths, unless the lists are of one length, and not empty."""
    for name, values in lists.items():
        if isinstance(values, str) or not hasattr(values, "__len__"):
            given = hasattr(values, "maps") and hasattr(values, "questions")
            cure = " Give its .maps and .questions." if given else ""
            cure = " Of one alone: [image]." if name == "images" else cure
            kind = type(values).__name__
            raise TypeError(f"{name} must be a list or a tensor, not {kind}.{cure}")
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            "These must match: " + ", ".join(f"{n} {name}" for name, n in lengths.items())
        )
    if not any(lengths.values()):
        raise ValueError(f"There is nothing to show: {' and '.join(lengths)} are empty.")


def as_stack(maps: Any) -> Tensor:
    """Maps as one tensor on the CPU, also from a list of tensors or of arrays."""
    arrays = isinstance(maps, (list, tuple)) and any(isinstance(one, np.ndarray) for one in maps)
    try:  # of a list of arrays torch would read number by number
        return torch.as_tensor(np.stack(maps) if arrays else maps, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        if not isinstance(maps, (list, tuple)):
            kind = a_kind_of(maps)
            raise TypeError(f"A tensor or an array of numbers is drawn, not {kind}.") from None
    return torch.stack([as_stack(one) for one in maps])


def in_digits(value: float, digits: int) -> str:
    """A number with its sign and so many digits after the point; a tiny one as a power of ten."""
    if digits < 6 or value == 0:
        return f"{value:+.{digits}f}"
    mantissa, exponent = f"{value:+.2e}".split("e")
    return rf"{mantissa} $\cdot\,10^{{{int(exponent)}}}$"


def decimals(values: Sequence[float], digits: int = 3) -> int:
    """After the point, so that the largest of the values shows so many digits; at most 6."""
    largest = max((abs(float(value)) for value in values), default=0.0)
    return min(6, max(0, digits - 1 - math.floor(math.log10(largest)))) if largest > 0 else 0
