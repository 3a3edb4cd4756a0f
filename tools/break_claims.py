"""Was every guard seen to fail? Each claim of the lectures is checked once more with wrong numbers.

A guard that cannot fail guards nothing. So each lecture is run. After a cell with claims, that cell
is run again and again, and each time one of the values that it compares is wrong: a tenth larger,
halved, negative, in another order. A claim that still holds each time is reported.
"""

import argparse
import ast
import contextlib
import copy
import io
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from claims_table import is_claim

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 60  # of processor time, for the claims of one cell
CHANGES: dict[str, Callable[[Any], Any]] = {  # from the smallest to the largest
    "a tenth more": lambda v: v * 1.1,
    "a tenth less": lambda v: v * 0.9,
    "a half more": lambda v: v * 1.5,
    "a half less": lambda v: v * 0.5,
    "three times": lambda v: v * 3,
    "one more": lambda v: v + 1,
    "ten times": lambda v: v * 10,
    "a hundred times": lambda v: v * 100,
    "nothing": lambda v: v * 0,
    "one half": lambda v: v * 0 + 0.5,
    "negative": lambda v: -v,
}
SHAPES = ["another order", "one alone", "nothing for the first", "ten times the first"]


@dataclass
class Tried:
    """One claim: its words, and the smallest change with which it failed (None: with none)."""

    sentence: str
    failed_with: str | None = None


def wrong(value: object, change: str) -> object:
    """The value with all its numbers changed, however deep they lie; words get another ending.

    Raises:
        TypeError: nothing in it can be changed.
    """
    if change in SHAPES:
        return _reshaped(value, change)
    if isinstance(value, (bool, np.bool_)):
        raise TypeError("a verdict is not a number")
    if isinstance(value, (int, float, np.number)):
        return type(value)(CHANGES[change](value))
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return _array(value, change)
    if isinstance(value, str):
        return value + "?"
    if isinstance(value, dict):
        return type(value)({key: _if_possible(one, change) for key, one in value.items()})
    if isinstance(value, (list, tuple, set)):
        return type(value)(_if_possible(one, change) for one in value)
    if is_dataclass(value) and not isinstance(value, type):
        names = [one.name for one in fields(value) if one.init]
        return replace(value, **{n: _if_possible(getattr(value, n), change) for n in names})
    raise TypeError(f"nothing to change in {type(value).__name__}")


def _if_possible(value: object, change: str) -> object:
    if isinstance(value, (bool, np.bool_)):  # one of many
        return not value
    try:
        return wrong(value, change)
    except TypeError:
        return value


def _array(value, change: str):
    if value.dtype in (torch.bool, np.dtype(bool)):
        return ~value
    changed = CHANGES[change](value)
    return changed.to(value.dtype) if isinstance(value, torch.Tensor) else changed


def _reshaped(value: object, change: str) -> object:
    """Many values, in another order or not all of them changed."""
    if not isinstance(value, (dict, list, tuple, set, torch.Tensor, np.ndarray)) or (
        isinstance(value, (torch.Tensor, np.ndarray)) and not value.ndim
    ):
        raise TypeError(f"{type(value).__name__} is not many")
    keys, ones = (list(value), list(value.values())) if isinstance(value, dict) else ([], [*value])
    if change == "another order":
        ones = ones[::-1]
    elif change == "one alone":
        keys, ones = keys[:1], ones[:1]
    elif ones:
        first = "nothing" if change.startswith("nothing") else "ten times"
        ones = [_if_possible(ones[0], first), *ones[1:]]
    if isinstance(value, dict):
        return dict(zip(keys, ones))
    if isinstance(value, torch.Tensor):
        return torch.stack(ones)
    return np.stack(ones) if isinstance(value, np.ndarray) else type(value)(ones)


class Recorder:
    """Stands in for the lecture's `claim`: notes what does not hold, and never stops."""

    def __init__(self, name: str):
        self.name, self.failed, self.held = name, [], {}

    def __call__(self, sentence: str, true: object, on: str) -> None:
        self.held[sentence] = self.held.get(sentence, True) and bool(true)


class Given(ast.NodeTransformer):
    """Hands each value that a cell reads by its name to `_given`, which may change it."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if not isinstance(node.ctx, ast.Load) or node.id == "claim":
            return node
        given = ast.Name("_given", ast.Load())
        return ast.copy_location(ast.Call(given, [ast.Constant(node.id), node], []), node)

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        return ast.copy_location(ast.Pass(), node)  # it would end the cell before its claims


def names_read(tree: ast.Module) -> list[str]:
    """The names that a cell reads; first those that stand in its claims."""
    claims = [node for node in ast.walk(tree) if is_claim(node)]
    read = [node for part in [*claims, tree] for node in ast.walk(part)]
    names = [n.id for n in read if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)]
    return [name for name in dict.fromkeys(names) if name != "claim"]


def run(code, known: dict[str, object], name: str = "", change: str = "") -> dict[str, bool]:
    """Sentence -> whether it holds, for the claims of one cell, as far as it ran.

    Args:
        code: the cell, compiled after `Given` has been through it.
        known: the notebook's names as they stood before the cell.
        name, change: the one that is wrong, and how; by default none.
    """
    recorder = Recorder(known["claim"].name)

    def given(called: str, value: object) -> object:
        if called != name:
            return value
        try:
            return wrong(value, change)
        except TypeError:
            return value

    names = known | {"claim": recorder, "_given": given}
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
        exec(code, names)
    return recorder.held


def try_cell(source: str, known: dict[str, object]) -> list[Tried]:
    """Each claim of a cell, tried with one wrong value after the other."""
    names = [name for name in names_read(ast.parse(source)) if not callable(known.get(name))]
    tree = ast.fix_missing_locations(Given().visit(ast.parse(source)))
    code, start = compile(tree, "<guard>", "exec"), time.process_time()
    tried = {sentence: Tried(sentence) for sentence in run(code, known)}
    for change in [*CHANGES, *SHAPES]:
        for name in names:
            all_failed = all(one.failed_with for one in tried.values())
            if all_failed or time.process_time() - start > SECONDS:
                return list(tried.values())
            for sentence, held in run(code, known, name, change).items():
                if not held and sentence in tried and not tried[sentence].failed_with:
                    tried[sentence].failed_with = f"{name}: {change}"
    return list(tried.values())


def try_notebook(path: Path) -> dict[str, list[Tried]]:
    """Cell -> its claims. The notebook's code is run here, without a kernel, and draws nothing."""
    known, found = {"display": lambda *_: None, "__name__": "__main__"}, {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        source = "".join(cell["source"])
        before = copy.copy(known)
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(source, f"<{cell['id']}>", "exec"), known)
        if "claim(" in source:
            found[cell["id"]] = try_cell(source, before)
            print(f"  {cell['id']}", file=sys.stderr, flush=True)
    return {cell: claims for cell, claims in found.items() if claims}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="lectures (by default all)")
    paths = parser.parse_args().notebooks or sorted((ROOT / "lectures").glob("*.ipynb"))
    total = never = 0
    for path in paths:
        print(path.name, file=sys.stderr, flush=True)
        for cell, claims in try_notebook(path.resolve()).items():
            total += len(claims)
            for one in claims:
                never += not one.failed_with
                word = one.failed_with or "NEVER FAILED"
                print(f"{path.stem[:2]} {cell:28s} {word:32s} {one.sentence}", flush=True)
    print(f"{total - never} of {total} claims were seen to fail.")
    if never:
        raise SystemExit("A claim that no wrong number breaks guards nothing.")


if __name__ == "__main__":
    main()
