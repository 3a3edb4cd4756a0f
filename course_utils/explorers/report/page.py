"""A report's two files: a page that opens anywhere, without internet, and a table (CSV)."""

import base64
import csv
import json
import os
import re
from contextlib import contextmanager
from html import escape
from pathlib import Path
from urllib.parse import quote

import numpy as np

from ...figures.overlays import _DIM, _OWN, _RISE, FOR, HALF, STRENGTH
from .asking import RUNNER_UP
from .kept import Whole

TEMPLATE = Path(__file__).with_name("page.html")
READ = {
    False: "softmax, one class a photo; for a multi-label network, where a photo may show several, "
    "repeat the command with --sigmoid",
    True: "sigmoid, each class by itself, as a photo may show several; where it shows one only, "
    "repeat the command without --sigmoid",
}
LOSSES = {"cross_entropy": "cross-entropy", "logit_difference": "logit difference"}
COLUMNS = {
    "file": lambda r: r["file"],
    "prediction": lambda r: r["predicted"],
    "p_prediction": lambda r: r["p_predicted"],
    "why": lambda r: r["why"],
    "p_why": lambda r: r["p_why"],
    "rather_than": lambda r: r["rather_than"],
    "p_rather_than": lambda r: r["p_rather_than"],
    "strength": lambda r: r["strengths"][2],
    "readable": lambda r: r["readable"],
    "agreement_of_losses": lambda r: r["agreement"],
    "share_against": lambda r: r["against"],
    "strength_absent": lambda r: r["strengths"][1],
    "strength_other_loss": lambda r: r["strengths"][3],
    "strength_not_all": lambda r: r["strengths"][4],
    "where_why": lambda r: r["where"][0],
    "where_rather_than": lambda r: r["where"][1],
    "warnings": lambda r: " ".join(r["warnings"]),
}


@contextmanager
def _whole(path: Path, **how):
    """A file that is there as a whole, or not at all."""
    half = path.with_name(f".{path.name}.half")
    try:
        with half.open("w", encoding="utf-8", errors="backslashreplace", **how) as file:
            yield file
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)


def write_table(path: Path, rows: Whole) -> None:
    """The CSV: one line for each photo, the weakest first."""
    with _whole(path, newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        table.writerows([_plain(column(row)) for column in COLUMNS.values()] for row in rows)


def _plain(cell):
    """A cell that no spreadsheet takes for a formula: file and class names are anybody's."""
    formula = isinstance(cell, str) and cell.lstrip().startswith(("=", "+", "-", "@"))
    return f"'{cell}" if formula else cell


def is_table(path: Path) -> bool:
    """Whether a file is the table of a report."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline().rstrip("\n") == ",".join(COLUMNS)


def write_page(path: Path, rows: Whole, table: str) -> None:
    """The page: one HTML file with all it needs inside.

    Args:
        table: the CSV's file name, which the page links to.
    """
    before, after = TEMPLATE.read_text(encoding="utf-8").split("{{rows}}")
    about = _about(rows) | {"table": escape(table), "address": quote(table)}
    with _whole(path) as file:
        file.write(_filled(before, about))
        for number, row in enumerate(rows):
            file.write(("," if number else "") + "\n" + _json(row))
        file.write(_filled(after, about))


def _json(value) -> str:
    """JSON that can stand in a script element."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _filled(template: str, about: dict) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: about[found[1]], template)


def _about(rows: Whole) -> dict[str, str]:
    """What the page says of the whole."""
    settings = rows.settings
    asked = settings["questions"]
    layer = next((a for a in rows.abouts if a["layer"]), {"layer": "-", "reason": ""})
    broken = [one for about in rows.abouts for one in about["broken"]]
    said = [*settings["said"], *(one for about in rows.abouts for one in about.get("said", []))]
    why = asked["why"] or "each photo's predicted class"
    q = asked["rather_than"]
    skipped = f"; {len(broken)} could not be asked" if broken else ""
    facts = {
        "Network": settings["network"],
        "Photos": f"{len(rows)} of the folder {settings['folder']}{skipped}",
        "Layer": f"{layer['layer']} ({layer['reason']})",
        "P": why,
        "Q": "the most probable class beside P" if q == RUNNER_UP else q,
        "Loss of the contrast": LOSSES[asked["loss"]],
        "Probabilities": READ[asked["sigmoid"]],
    }
    return {
        "title": escape(f"{settings['folder']}, asked: {settings['network']}"),
        "facts": "".join(f"<dt>{k}</dt><dd>{escape(v)}</dd>" for k, v in facts.items()),
        "said": "".join(f"<li>{escape(one)}</li>" for one in dict.fromkeys(said)),
        "broken": _broken(sorted(broken)),
        "drawing": _json(_drawing()),
    }


def _broken(broken: list) -> str:
    if not broken:
        return ""
    items = "".join(f"<li><code>{escape(n)}</code>: {escape(why)}</li>" for n, why in broken)
    many = f"{len(broken)} files were skipped" if len(broken) > 1 else "One file was skipped"
    return f"<section><h2>{many}</h2><ul id='broken'>{items}</ul></section>"


def _drawing() -> dict:
    """What the page's script needs to lay a map over a photo as `figures.overlay` does."""
    colours = (255 * FOR(np.linspace(0, 1, 256))[:, :3]).round().astype(np.uint8)
    constants = {"strength": STRENGTH, "half": HALF, "dim": _DIM, "own": _OWN, "rise": _RISE}
    return constants | {"colours": base64.b64encode(colours.tobytes()).decode()}
