"""How the tests read an assignment: its notebooks, its parts, and a learner's namespace."""

import ast
import json
import multiprocessing
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import timm  # noqa: F401 (not used here, but once for all forks)
import torch
from IPython.core.interactiveshell import InteractiveShell
from notebook_run import CELL_SECONDS

import course_checks as checks
from course_checks.part import Part
from course_utils.explorers import contrast  # noqa: F401

ROOT = Path(__file__).resolve().parent.parent


class Assignment:
    """One assignment's two notebooks and its parts."""

    def __init__(self, name: str):
        self.name = name
        self.source = ROOT / "solutions" / name / f"{name}.ipynb"
        self.released = ROOT / "exercises" / name / f"{name}.ipynb"

    def is_written(self) -> bool:
        """Whether the solution, the checks and the wrong submissions are all there."""
        needs = (ROOT / "course_checks", ROOT / "tests" / "wrong_submissions")
        modules = [folder / f"{self.name}.py" for folder in needs]
        return self.source.exists() and all(module.exists() for module in modules)

    @property
    def parts(self) -> tuple[Part, ...]:
        return checks.parts(self.name)

    @property
    def wrong(self) -> tuple:
        module: ModuleType = import_module(f"wrong_submissions.{self.name}")
        return module.WRONG

    def cells(self, path: Path | None = None) -> list[dict]:
        """The cells of the source (or of another notebook), their text as one string."""
        cells = json.loads((path or self.source).read_text(encoding="utf-8"))["cells"]
        return [cell | {"source": "".join(cell["source"])} for cell in cells]

    def code(self, path: Path) -> list[str]:
        """The code cells' texts."""
        return [cell["source"] for cell in self.cells(path) if cell["cell_type"] == "code"]

    def cell(self, grade_id: str, path: Path | None = None) -> dict:
        found = [cell for cell in self.cells(path) if graded(cell).get("grade_id") == grade_id]
        assert len(found) == 1, f"{len(found)} cells of {self.name} have the grade_id '{grade_id}'"
        return found[0]


def graded(cell: dict) -> dict:
    """nbgrader's metadata of a cell."""
    return cell["metadata"].get("nbgrader", {})


def is_text(cell: dict) -> bool:
    """Whether this is an answer in words, marked by hand."""
    return cell["cell_type"] == "markdown" and graded(cell).get("solution", False)


def run(cells: Iterable[dict]) -> dict:
    """The names that a learner has after running the set-up cells and all cells of answers.

    A cell that stops does not stop the next ones, just as Run All in the grader.
    """
    names = {"__name__": "__main__"}
    for cell in cells:
        mark = graded(cell)
        is_setup = mark and not mark.get("solution") and not mark.get("grade")
        if cell["cell_type"] == "code" and (is_setup or mark.get("solution")):
            execute(cell["source"], names)
    return names


def execute(source: str, names: dict) -> None:
    """Run a cell's code in a namespace; what it raises, whatever it is, ends this cell only."""
    try:
        exec(compile(source, "<cell>", "exec"), names)
    except Exception as error:
        names.setdefault("__errors__", []).append(error)


def in_a_process_of_its_own(cells: list[str]) -> list[str]:
    """Run All in IPython, in a fork of this process, in which all is imported: how each cell ended.

    A kernel for each notebook would prove no more, and take ten seconds to import it all.
    """
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe(duplex=False)
    process = fork.Process(target=_run_all, args=(cells, there))
    process.start()
    there.close()
    ended = []
    while here.poll(CELL_SECONDS):
        try:
            ended.append(here.recv())
        except EOFError:
            break
    process.kill()
    process.join()
    return ended


def _run_all(cells: list[str], there) -> None:
    torch.set_num_threads(1)  # the other threads did not come along into the fork
    shell = InteractiveShell.instance()
    shell.history_manager.enabled = False
    for cell in cells:
        result = shell.run_cell(cell)
        error = result.error_before_exec or result.error_in_exec
        there.send(type(error).__name__ if error else "no error")


def functions(source: str) -> list[str]:
    """The functions that a cell defines at its top."""
    return [node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
