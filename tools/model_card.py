"""What data/ keeps of the networks that are trained here: weights, their record, and the card's
tables.
"""

import hashlib
import json
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "data"


def keep(
    family: str, name: str, content: bytes, figures: dict | None = None, data: Path = DATA
) -> None:
    """Write a network's weights, and their sha256 and figures into <family>.json."""
    (data / f"{name}.safetensors").write_bytes(content)
    file = data / f"{family}.json"
    record = json.loads(file.read_text()) if file.exists() else {}
    record[name] = {"sha256": hashlib.sha256(content).hexdigest(), **(figures or {})}
    note(family, record, data)
    print(f"{name}: {len(content) / 1000:.0f} kB, sha256 {record[name]['sha256']}")


def note(family: str, record: dict, data: Path = DATA) -> None:
    """Write <family>.json."""
    (data / f"{family}.json").write_text(json.dumps(record, indent=2) + "\n")


def fill_in(family: str, tool: str, figures: str) -> None:
    """Put the figures into <family>.md, between the marks that name the tool which measured
    them.
    """
    begin, end = f"<!-- figures: written by tools/{tool} -->", "<!-- end of figures -->"
    file = DATA / f"{family}.md"
    before, _, after = file.read_text().partition(begin)
    file.write_text(f"{before}{begin}\n\n{figures}\n{end}{after.partition(end)[2]}")


def table(head: list, rows: list[list]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
