"""How long a class takes: hand-ins of twelve kinds, many copies of each, graded in one run.

    python tools/measure_grading.py [ex01_questions] [--students 300] [--jobs 2]

`make grade` itself prints the time and the most memory that it held at one time.
"""

import argparse
import copy
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def above(line: str) -> Callable[[dict], dict]:
    """The notebook with a line above every cell of the learner's."""

    def made(notebook: dict) -> dict:
        for cell in notebook["cells"]:
            mark = cell["metadata"].get("nbgrader", {})
            if cell["cell_type"] == "code" and mark.get("solution"):
                cell["source"] = line + "\n" + "".join(cell["source"])
        return notebook

    return made


def instead(code: str) -> Callable[[dict], dict]:
    """The notebook with this in place of every answer."""

    def made(notebook: dict) -> dict:
        for cell in notebook["cells"]:
            if cell["metadata"].get("nbgrader", {}).get("solution"):
                cell["source"] = code
        return notebook

    return made


def half(notebook: dict) -> dict:
    """Its first half only."""
    return notebook | {"cells": notebook["cells"][: len(notebook["cells"]) // 2]}


# kind -> what becomes of a right notebook, and the path within the student's folder
KINDS: dict[str, tuple[Callable[[dict], dict | bytes], str]] = {
    "right": (lambda n: n, "{0}/{0}.ipynb"),
    "empty": (instead("raise NotImplementedError()"), "{0}/{0}.ipynb"),
    "half": (half, "{0}/{0}.ipynb"),
    "magics": (above("%matplotlib inline\n!pip list"), "{0}/{0}.ipynb"),
    "timed": (above("%%time"), "{0}/{0}.ipynb"),
    "raises": (above("1 / 0"), "{0}/{0}.ipynb"),
    "syntax": (above("def f(:"), "{0}/{0}.ipynb"),
    "prints": (above("print('x' * 100_000)"), "{0}/{0}.ipynb"),
    "renamed": (lambda n: n, "{0}/my work.ipynb"),
    "elsewhere": (lambda n: n, "{0}.ipynb"),
    "no-json": (lambda n: b"{", "{0}/{0}.ipynb"),
    "nothing": (lambda n: b"%PDF", "{0}/essay.pdf"),
}


def hand_in_class(submitted: Path, students: int, assignment: str, right: dict) -> None:
    """Hand-ins of all kinds in turn, each with a line of its own, so that no two are the same."""
    for number in range(students):
        kind, (change, place) = list(KINDS.items())[number % len(KINDS)]
        made = change(copy.deepcopy(right))
        if isinstance(made, dict):
            note = {"cell_type": "markdown", "metadata": {}, "source": f"student {number}"}
            made = json.dumps(made | {"cells": [*made["cells"], note]}).encode()
        path = submitted / f"{kind}-{number:03d}" / place.format(assignment)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("assignment", nargs="?", default="ex01_questions")
    parser.add_argument("--students", type=int, default=300)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    source = ROOT / "solutions" / options.assignment / f"{options.assignment}.ipynb"
    with tempfile.TemporaryDirectory(prefix="class-") as folder:
        places = {name: Path(folder, name) for name in ("submitted", "grades", "feedback")}
        right = json.loads(source.read_text(encoding="utf-8"))
        hand_in_class(places["submitted"], options.students, options.assignment, right)
        words = [f"--{name}={place}" for name, place in places.items()]
        command = [sys.executable, str(ROOT / "tools" / "grade.py"), options.assignment, *words]
        return subprocess.run([*command, f"--jobs={options.jobs}"]).returncode


if __name__ == "__main__":
    sys.exit(main())
