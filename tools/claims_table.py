"""Write the list of the lectures' claims, docs/claims.md, from the calls `claim(...)` in the cells.

What stands above the marker in docs/claims.md is written by hand and kept. `--check` changes
nothing and tells whether the list is current.
"""

import argparse
import ast
import json
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "docs" / "claims.md"
MARKER = "<!-- Made by tools/claims_table.py from the lectures; do not edit below this line. -->"


class ClaimError(ValueError):
    """A claim that cannot be listed."""


@dataclass(frozen=True)
class Claim:
    """One call of `claim`: its words, what it was measured on, and the cell that checks it."""

    sentence: str
    on: str
    section: str
    cell: str


def claims(path: Path) -> list[Claim]:
    """The claims of one notebook, in order.

    Raises:
        ClaimError: a sentence or an `on=` that is no text known before the cell is run.
    """
    section, texts, found = "", {}, []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            headings = re.findall(r"^#+ (.+)$", source, flags=re.MULTILINE)
            section = headings[-1] if headings else section
        elif "claim" in source:
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                    texts |= {ast.unparse(target): node.value.value for target in node.targets}
            calls = [node for node in ast.walk(ast.parse(source)) if is_claim(node)]
            for call in sorted(calls, key=lambda call: call.lineno):
                try:
                    said, on = text(call.args[0], texts), text(call.keywords[0].value, texts)
                except (IndexError, ClaimError) as reason:
                    where = f"{path.name}, cell {cell['id']}"
                    raise ClaimError(f"{where}: {ast.unparse(call)[:80]} ({reason})") from None
                found.append(Claim(said, on, section, cell["id"]))
    return found


def title(path: Path) -> str:
    """A notebook's first heading."""
    first = json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"]
    return escaped("".join(first).splitlines()[0].lstrip("# "))


def is_claim(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "claim"
    )


def text(node: ast.expr, texts: dict[str, object]) -> str:
    """A text written in the cell, or the name of one."""
    value = node.value if isinstance(node, ast.Constant) else texts.get(ast.unparse(node))
    if not isinstance(value, str):
        raise ClaimError("give the sentence, and what it was measured on, as plain texts")
    return value


def table() -> str:
    """The list of all lectures, as Markdown."""
    lines = []
    for path in sorted((ROOT / "lectures").glob("*.ipynb")):
        found = claims(path)
        if found:
            lines += [f"\n## Lecture {title(path)}\n"]
            lines += ["| claim | measured on | section | cell |", "|---|---|---|---|"]
            lines += [
                f"| {' | '.join(map(escaped, (c.sentence, c.on, c.section)))} | `{c.cell}` |"
                for c in found
            ]
    return "\n".join(lines) + "\n"


def escaped(words: str) -> str:
    """Words for a cell of a Markdown table: no formulae, no bars that end the cell."""
    return re.sub(r"[$*\\]", "", words).replace("|", r"\|")


def current() -> tuple[str, str]:
    """docs/claims.md as it is, and as it should be."""
    is_now = LIST.read_text(encoding="utf-8")
    return is_now, is_now.split(MARKER)[0] + MARKER + "\n" + table()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing")
    check = parser.parse_args().check
    is_now, should = current()
    if check and is_now != should:
        raise SystemExit("docs/claims.md is not current: python tools/claims_table.py")
    LIST.write_text(should, encoding="utf-8")


if __name__ == "__main__":
    main()
