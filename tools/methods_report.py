"""What measure_methods.py found, as data/methods.json and docs/seventeen.md, with pictures."""

import json
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from model_card import table
from PIL import Image
from scipy.stats import binomtest

from course_utils import load_classifier, load_photo
from course_utils.figures.method_table import answer_pictures
from course_utils.figures.overlays import as_pixels
from course_utils.methods.taxonomy import METHODS

ROOT = Path(__file__).resolve().parent.parent
DATA, PAGE = ROOT / "data" / "methods.json", ROOT / "docs" / "seventeen.md"
PICTURES, POSTER = ROOT / "docs" / "seventeen", ROOT / "docs" / "seventeen.png"
SIDE = 192  # pixels of one picture
TCAV_CHANCE = 0.25  # it chooses among four parts
BEGIN, END = "<!-- figures: written by tools/measure_methods.py -->", "<!-- end of figures -->"


def interval(hits: float, n: int) -> tuple[float, float]:
    """The exact 95 % interval of Clopper and Pearson; shares of hits (ties) are rounded."""
    found = binomtest(round(hits), n).proportion_ci(0.95, "exact")
    return found.low, found.high


def peak_in_words(one: dict | None) -> str:
    """A share of hits with its interval: "92 % (84 to 97)"."""
    if one is None:
        return "-"
    low, high = interval(one["hits"], one["n"])
    return f"{one['hits'] / one['n']:.0%} ({100 * low:.0f} to {100 * high:.0f})".replace("%", " %")


def energy_in_words(one: dict | None) -> str:
    return (
        "-" if one is None or one["energy"] is None else f"{one['energy']:.0%}".replace("%", " %")
    )


def rows_of(found: dict, chance: dict) -> str:
    """The scoreboard of each network as Markdown."""
    text = []
    head = ["method", "birds", "peak: Why P?", "energy", "peak: P, rather than Q?", "energy"]
    head += ["passes", "seconds"]
    for network, entries in found.items():
        rows = []
        for name, entry in entries.items():
            why, contrast = entry.get("why"), entry.get("contrast")
            one = contrast or why
            cost = "{} F, {} B".format(*one["passes"])
            found_words = [f(q) for q in (why, contrast) for f in (peak_in_words, energy_in_words)]
            rows.append([name, one["n"], *found_words, cost, one["seconds"]])
        by_luck = [f"{chance['peak']:.0%} (TCAV {TCAV_CHANCE:.0%})", f"{chance['energy']:.0%}"]
        by_luck = [words.replace("%", " %") for words in by_luck]
        rows.append(["*chance*", "", *by_luck, *by_luck, "", ""])
        text.append(f"### `{network}`\n\n{table(head, rows)}\n")
    return "\n".join(text)


def write(found: dict, chance: dict, photos: dict, costs: dict) -> None:
    """Everything: the record, the page's tables, and the pictures.

    Args:
        found: network -> entry -> question -> figures. chance: peak and energy. photos, costs: as
            of measure_methods_photos.summary and measure_methods_cost.summary.
    """
    record = json.loads(DATA.read_text()) if DATA.exists() else {}
    record |= dict(benchmark="known answers", version=1, pairs=12, chance=chance)
    record |= dict(networks=found, photos=photos, costs=costs)
    DATA.write_text(json.dumps(record, indent=1) + "\n")
    tables = [rows_of(found, chance), rows_of_photos(photos), rows_of_costs(costs)]
    fill_in("\n".join(tables))
    pictures()


def rows_of_photos(photos: dict) -> str:
    """The grid pointing game as Markdown: the mean share in the right quarter."""
    rows = []
    for name, entry in photos.items():
        cells = []
        for question in ("why", "contrast"):
            one = entry.get(question)
            share = "-" if one is None or one["share"] is None else f"{one['share']:.2f}"
            empty = f" ({one['empty']} empty)" if one and one["empty"] else ""
            cells.append(share + empty)
        rows.append([name, max(one["n"] for one in entry.values()), *cells])
    head = ["method", "questions", "Why P?", "P, rather than Q?"]
    rows.append(["*chance*", "", "0.25", "0.25"])
    return f"### Photos: share of the map in the right quarter\n\n{table(head, rows)}\n"


def rows_of_costs(costs: dict) -> str:
    """What one question costs on a photo, as Markdown."""
    rows = []
    for name, one in costs.items():
        memory = "-" if one["memory"] is None else one["memory"]
        rows.append([name, "{} F, {} B".format(*one["passes"]), one["seconds"], memory])
    head = ["method", "passes", "seconds", "memory, MB"]
    return f"### One question about a photo: cost\n\n{table(head, rows)}\n"


def fill_in(tables: str) -> None:
    """Put the tables between the page's marks."""
    before, _, after = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{tables}\n{END}{after.partition(END)[2]}")


def frame() -> tuple:
    """Lecture 1's frame of cup and cat: (network, 1 x 3 x H x W, H x W x 3)."""
    network = load_classifier("efficientnet_lite0")
    cat, cup = (network.preprocess(load_photo(name)) for name in ("chelsea", "coffee"))
    x = torch.cat([cup[:, :, 80:192], cat[:, :, 20:132]], dim=2)[None]
    return network, x, network.preprocess.show(x[0]).numpy()


def picture_of(answer, shown: np.ndarray) -> np.ndarray:
    """One square picture of an answer; a chart of a score."""
    found = answer_pictures(answer, shown)
    if found:
        pixels = found[min(1, len(found) - 1)][0] if answer.maps is None else found[0][0]
    else:
        figure = Figure(figsize=(3, 3), layout="constrained")
        axis = figure.subplots()
        names = list(answer.result)
        axis.barh(names, [size for _, size in answer.result.values()], color="#444")
        axis.set_xlabel("derivative along it")
        axis.invert_yaxis()
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        pixels = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    image = Image.fromarray((as_pixels(pixels) * 255).astype("uint8"))
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def file_name(method: str) -> str:
    return method.lower().replace("++", "-pp").replace(" ", "-").replace(".", "") + ".webp"


def pictures() -> None:
    """docs/seventeen/: each method asked about the tiger cat in the frame; and the poster."""
    network, x, shown = frame()
    PICTURES.mkdir(parents=True, exist_ok=True)
    made = {}
    for method in METHODS:
        q = "espresso" if method.needs_q else None
        answer = method(network, x, why="tiger cat", rather_than=q)
        made[method.name] = picture_of(answer, shown)
        Image.fromarray(made[method.name]).save(PICTURES / file_name(method.name), quality=80)
    poster(made, shown)


def poster(made: dict[str, np.ndarray], shown: np.ndarray) -> None:
    """docs/seventeen.png: all of them on one frame, with names, labels and questions."""
    colours = {"indirect": "#7a5195", "direct": "#2b7a5d", "targeted": "#b3541e"}
    figure = Figure(figsize=(16, 9), facecolor="white")
    room = dict(left=0.012, right=0.995, top=0.885, bottom=0.055, wspace=0.06, hspace=0.34)
    axes = figure.subplots(3, 6, gridspec_kw=room).ravel()
    for axis in axes:
        axis.set_axis_off()
        axis.set_anchor("W")
    figure.suptitle("Seventeen methods, one frame: why tiger cat?", fontsize=20, x=0.012, ha="left")
    axes[0].imshow(shown)
    axes[0].set_title("The frame", fontsize=12, fontweight="bold", loc="left")
    axes[0].text(0, -0.04, "P: tiger cat. Q, if any: espresso", fontsize=9, va="top",
                 transform=axes[0].transAxes)  # fmt: skip
    for axis, method in zip(axes[1:], METHODS):
        axis.imshow(made[method.name])
        colour = colours[method.label]
        axis.set_title(method.name, fontsize=12, fontweight="bold", color=colour, loc="left")
        words = f"{method.label}: {method.question}"
        half = words.rfind(" ", 0, 40) if len(words) > 40 else len(words)
        text = f"{words[:half]}\n{words[half:].strip()}"
        axis.text(0, -0.04, text, fontsize=8.5, va="top", transform=axis.transAxes)
    figure.savefig(POSTER, dpi=120)
    small = Image.open(POSTER).convert("RGB").quantize(256, dither=Image.Dither.FLOYDSTEINBERG)
    small.save(POSTER, optimize=True)


if __name__ == "__main__":
    pictures()
