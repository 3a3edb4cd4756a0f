"""Between "Predict" and the run nothing tells the answer, and there is a place to write it down."""

import ast
import io
import json
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted([*(ROOT / "lectures").glob("*.ipynb"), *(ROOT / "solutions").glob("*/*.ipynb")])
ASKS = re.compile(r"\bPredict\b")
PLACE = re.compile(r"^my_\w+ = ", re.MULTILINE)  # my_prediction = ...  # your words
TELLS = {"caption", "alt"}  # what these arguments say can be read before the cell is run


def cells(path: Path) -> list[dict]:
    read = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in read]


def is_folded(cell: dict) -> bool:
    return bool(cell["metadata"].get("jupyter", {}).get("source_hidden"))


def is_answer_in_words(cell: dict) -> bool:
    return cell["cell_type"] == "markdown" and "nbgrader" in cell["metadata"]


def asks(cell: dict) -> bool:
    instructor = "instructor" in cell["metadata"].get("tags", [])
    return cell["cell_type"] == "markdown" and bool(ASKS.search(cell["source"])) and not instructor


def results(notebook: list[dict], question: int) -> tuple[bool, list[dict]]:
    """Whether there is a place for the prediction, and the cells of code that follow as its result.

    They end at the first text after them: what stands there is read after the run.
    """
    place, found = False, []
    for cell in notebook[question + 1 :]:
        if cell["cell_type"] == "code" and PLACE.search(cell["source"]):
            place = True
        elif is_answer_in_words(cell):
            return True, found
        elif cell["cell_type"] == "code":
            found.append(cell)
        elif found or asks(cell):
            break
    return place, found


def telling(source: str) -> list[str]:
    """What in a visible cell may give the answer away: captions, alt texts, asserts, claims."""
    said = []
    for node in ast.walk(ast.parse(re.sub(r"^\s*[%!].*$", "", source, flags=re.MULTILINE))):
        if isinstance(node, ast.Assert):
            said.append(f"an assert in line {node.lineno}")
        elif isinstance(node, ast.Call):
            said += [
                f"{key.arg}= in line {node.lineno}" for key in node.keywords if key.arg in TELLS
            ]
            if isinstance(node.func, ast.Name) and node.func.id == "claim":
                said.append(f"a claim in line {node.lineno}")
        elif isinstance(node, ast.Assign) and {ast.unparse(t) for t in node.targets} & TELLS:
            said.append(f"a caption or alt text in line {node.lineno}")
    return said + remarks(source)


def remarks(source: str) -> list[str]:
    """Comments beside an assert or a print, where results are told."""
    found = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        line = token.line.strip()
        if token.type == tokenize.COMMENT and line.startswith(("assert", "print")):
            found.append(f"a comment in line {token.start[0]}")
    return found


def faults(notebook: list[dict]) -> list[str]:
    found = []
    for index, cell in enumerate(notebook):
        if not asks(cell):
            continue
        place, after = results(notebook, index)
        if not place:
            found.append(f"{cell['id']}: no place to write the prediction down")
        for result in after:
            if not is_folded(result):
                found += [f"{result['id']}: {words}" for words in telling(result["source"])]
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_prediction_is_spoilt(path):
    assert faults(cells(path)) == []


def test_there_are_predictions_in_every_lecture():
    for path in NOTEBOOKS:
        assert any(map(asks, cells(path))), f"{path.name} asks for no prediction"


def made(*sources: str, folded: bool = False) -> list[dict]:
    """A notebook: a question, then cells of code, and a text that ends them."""
    code = [
        {"cell_type": "code", "id": f"c{n}", "source": source, "metadata": {}}
        for n, source in enumerate(sources)
    ]
    if folded:
        code[-1]["metadata"] = {"jupyter": {"source_hidden": True}}
    question = {"cell_type": "markdown", "id": "q", "source": "**Predict:** red?", "metadata": {}}
    end = {"cell_type": "markdown", "id": "end", "source": "It was blue.", "metadata": {}}
    return [question, *code, end]


PLACED = "my_prediction = ...  # red or blue?"


@pytest.mark.parametrize(
    "source, fault",
    [
        ('draw(x, caption="Blue.")', "caption= in line 1"),
        ('draw(x, alt="All is blue.")', "alt= in line 1"),
        ('caption = "Blue."\ndraw(x, caption)', "a caption or alt text in line 1"),
        ('a = 1\nassert colour == "blue"', "an assert in line 2"),
        ('claim("It is blue.", True, on="1 photo")', "a claim in line 1"),
        ("print(colour)  # blue again", "a comment in line 1"),
    ],
)
def test_what_tells_the_answer_is_found(source, fault):
    assert faults(made(PLACED, source)) == [f"c1: {fault}"]
    assert faults(made(PLACED, "colour = measure()", source)) == [f"c2: {fault}"]
    assert faults(made(PLACED, source, folded=True)) == []


def test_a_prediction_without_a_place_is_found():
    assert faults(made("draw(x)")) == ["q: no place to write the prediction down"]


def test_what_stands_after_the_reading_is_free():
    notebook = made(PLACED, "draw(x)")
    later = {"cell_type": "code", "id": "later", "source": "assert blue", "metadata": {}}
    assert faults([*notebook, later]) == []
