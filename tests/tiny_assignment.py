"""A small assignment for the tests of the grader, and how to hand in for it and grade it.

Run as a program it is `make grade` for that assignment: it says which parts there are, which only
trusted code can, and calls the course's own tools/grade.py.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
NAME = "ex99_tiny"
POINTS = {"ex99_mean": 6, "ex99_best": 4, "ex99_cam": 5}
TEXT = "ex99_why"
SETUP = "import torch\nimport course_checks as checks"
RIGHT = {
    "ex99_mean": "def row_means(x):\n    return x.mean(1)",
    "ex99_best": "def best_row(x):\n    return int(x.sum(1).argmax())",
    "ex99_cam": """def cam(network, x, k):
    a = network.features[:4](x).detach().requires_grad_()
    y = network.head(network.flat(network.pool(network.features[4:](a))))
    grad = torch.autograd.grad(y[:, k].sum(), a)[0]
    return (grad.mean((2, 3), keepdim=True) * a).sum(1).detach()""",
}
# Further parts of the first and the third kind, on one case each: places for many attacks
MEANS = {f"ex99_m{n}": f"row_means_{n}" for n in range(9)}
CAMS = {f"ex99_c{n}": f"cam_{n}" for n in range(6)}
ANSWERS = {"ex99_mean": "row_means", "ex99_best": "best_row", "ex99_cam": "cam"}
ANSWERS |= MEANS | CAMS
PLACES = {
    name: RIGHT["ex99_mean"].replace("row_means(", f"{answer}(") for name, answer in MEANS.items()
}
PLACES |= {name: RIGHT["ex99_cam"].replace("cam(", f"{answer}(") for name, answer in CAMS.items()}
UNTOUCHED = {
    name: code.split("\n")[0] + "\n    raise NotImplementedError()" for name, code in RIGHT.items()
}


def parts(places: bool = False) -> tuple:
    """Three parts: a tensor, a number, and Grad-CAM, which the course has ready; and the places."""
    import torch

    from course_checks.networks import Network
    from course_checks.part import Mistake, Part
    from course_utils import GradCAM

    def rows(seed):
        draw = torch.Generator().manual_seed(seed)
        return [(torch.randn(2 + (seed + n) % 3, 4, generator=draw),) for n in range(4)]

    def images(seed):
        draw = torch.Generator().manual_seed(seed)
        return [
            (Network("small", seed + n), torch.randn(1 + n, 3, 32, 40, generator=draw), n)
            for n in range(3)
        ]

    def gradcam(network, x, k):
        return GradCAM(network, "features.3")(x, why=k).evidence[:, 0]

    sums = Mistake("you summed, rather than averaged.", lambda x: x.sum(1), share=0.5)
    more = [
        Part(name, name, 1, a, lambda s: rows(s)[:1], lambda x: x.mean(1))
        for name, a in MEANS.items()
    ]
    more += [
        Part(name, name, 1, answer, lambda s: images(s)[:1], gradcam)
        for name, answer in CAMS.items()
    ]
    return (
        Part("ex99_mean", "means of rows", 6, "row_means", rows, lambda x: x.mean(1), (sums,)),
        Part("ex99_best", "the best row", 4, "best_row", rows, lambda x: int(x.sum(1).argmax())),
        Part("ex99_cam", "Grad-CAM", 5, "cam", images, gradcam),
        *(more if places else []),
    )


def untouched() -> dict:
    """The exercise as it was handed out."""
    return notebook(UNTOUCHED, text="YOUR ANSWER HERE")


def notebook(
    answers: dict[str, str] | None = None,
    before: str | list[str] = "",
    after: str = "",
    text: str = "Because.",
) -> dict:
    """A hand-in: right answers but for those given; `before` and `after` are cells of their own."""
    cells = [_cell("code", SETUP, grade_id="ex99_setup", locked=True)]
    cells += [_cell("code", source) for source in ([before] if isinstance(before, str) else before)]
    for name, code in (RIGHT | (answers or {})).items():
        cells.append(_cell("markdown", f"## {name}"))
        cells.append(_cell("code", code, grade_id=name, solution=True))
        check = f"checks.{name}({ANSWERS[name]})"
        cells.append(
            _cell(
                "code",
                check,
                grade_id=f"{name}_check",
                grade=True,
                locked=True,
                points=POINTS.get(name, 1),
            )
        )
    cells.append(_cell("code", after))
    cells.append(_cell("markdown", "**Why?** Five points for a reason."))
    cells.append(_cell("markdown", text, grade_id=TEXT, grade=True, solution=True, points=5))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def _cell(kind: str, source: str, **mark) -> dict:
    cell = {"cell_type": kind, "source": source.splitlines(keepends=True), "metadata": {}}
    if mark:
        plain = {
            "schema_version": 3,
            "grade": False,
            "solution": False,
            "locked": False,
            "task": False,
        }
        cell["metadata"] = {"nbgrader": plain | mark}
    return cell | ({"outputs": [], "execution_count": None} if kind == "code" else {})


class Class:
    """A class's folders below `folder`, where `make grade` works on the tiny assignment."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.submitted, self.grades, self.feedback = (
            folder / n for n in ("submitted", "grades", "feedback")
        )
        source = folder / "solutions" / NAME / f"{NAME}.ipynb"
        if not source.exists():
            source.parent.mkdir(parents=True)
            model = "### BEGIN SOLUTION\nA mean is fair.\n### END SOLUTION"
            source.write_text(json.dumps(notebook(text=model)))
            self.submitted.mkdir()

    def place(self, student: str) -> Path:
        return self.submitted / student / NAME / f"{NAME}.ipynb"

    def hand_in(self, student: str, content: dict | str | bytes) -> Path:
        """Put a notebook (or any bytes) where a student's hand-in lies."""
        path = self.place(student)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps(content) if isinstance(content, dict) else content
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def command(self, *options: str) -> list[str]:
        folders = [
            f"--{name}={self.folder / name}"
            for name in ("submitted", "grades", "feedback", "solutions")
        ]
        return [sys.executable, __file__, NAME, *folders, "--jobs=2", *options]

    def grade(self, *options: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.command(*options),
            env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=800,
        )

    def grades_of(self, key: str) -> dict:
        return json.loads((self.grades / NAME / f"{key}.json").read_text())

    def marks(self, key: str) -> dict[str, float]:
        return {part["name"]: part["marks"] for part in self.grades_of(key)["parts"]}


def register() -> None:
    """Make the tiny assignment one of the course's, in this process."""
    import course_checks as checks

    checks.ASSIGNMENTS += (NAME,)
    module = ModuleType(f"course_checks.{NAME}")
    module.PARTS = parts(places="TINY_PLACES" in os.environ)
    sys.modules[module.__name__] = module


def main() -> int:
    register()
    sys.path.insert(0, str(ROOT / "tools"))
    if sys.argv[1:2] == ["collect"]:  # `make collect` rather than `make grade`
        import collect

        return collect.main(sys.argv[2:])
    import grade

    return grade.main()


if __name__ == "__main__":
    sys.exit(main())
