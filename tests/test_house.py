"""The house: rooms that read like a table of contents, arrows that run one way, one style."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import course_utils
from course_utils.birds import SPECIES
from course_utils.errors import MOVED, WeightsError
from course_utils.networks import birds

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "course_utils"
ROOMS = {path.stem for path in PACKAGE.iterdir() if path.is_dir() or path.suffix == ".py"}
# who may import whom: each from those before it
ORDER = ("errors", "birds", "networks", "photos", "methods", "measures", "figures")
ORDER += ("quality", "explorers", "report", "environment", "__init__")


def test_the_package_reads_like_a_table_of_contents():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == {"birds", "explorers", "figures", "methods", "networks", "quality"}
    assert len(list(PACKAGE.glob("*.py"))) <= 6


def room(parts: tuple[str, ...]) -> str:
    return Path(parts[0]).stem if parts else "__init__"


def imported_rooms(path: Path) -> set[str]:
    """The rooms of the package that a file imports from, wherever in the file it does so."""
    here = path.relative_to(PACKAGE).parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            if node.level:
                base = here[: len(here) - node.level]
                names = (*base, *(node.module or "").split(".")) if node.module else base
            elif (node.module or "").split(".")[0] == "course_utils":
                names = tuple(node.module.split(".")[1:])
            else:
                continue
            targets = [names] if names else [(alias.name,) for alias in node.names]
            rooms = {room(one) for one in targets}
            # `from . import load_photo` is about a name that the package's own front door gives
            found |= {one if one in ROOMS else "__init__" for one in rooms} - {"__init__"}
    return found


def test_imports_run_one_way_and_never_in_a_circle():
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        here = room(path.relative_to(PACKAGE).parts)
        for other in imported_rooms(path) - {here, "data"}:
            assert other in ORDER, f"this test does not know the room {other}"
            if ORDER.index(other) > ORDER.index(here):
                wrong.append(f"{path.relative_to(PACKAGE)} imports {other}")
    assert not wrong


def test_the_drawn_birds_need_no_torch():
    paths = list((PACKAGE / "birds").glob("*.py"))
    assert paths and not [path for path in paths if re.search(r"\btorch\b", path.read_text())]


def test_the_helper_package_does_not_know_its_checks():
    using = [
        path for path in PACKAGE.rglob("*.py") if re.search(r"course_checks\.", path.read_text())
    ]
    assert not using


def test_the_map_of_the_methods_names_every_file_once():
    named = re.findall(r"`(\w+)`", (PACKAGE / "methods" / "__init__.py").read_text())
    there = {path.stem for path in (PACKAGE / "methods").iterdir() if "__" not in path.name}
    assert sorted(named) == sorted(there)


def test_the_two_equations_stand_within_twenty_lines_of_code():
    text = (PACKAGE / "methods" / "forward_pass.py").read_text()
    functions = {n.name: n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)}
    first, second = functions["weights"], functions["evidence"]
    assert "eq. 1" in ast.get_docstring(first) and "eq. 2" in ast.get_docstring(second)
    assert 0 < second.lineno - first.lineno <= 20


@pytest.mark.parametrize("old", MOVED)
def test_the_place_of_a_module_in_version_1_is_answered_with_a_line_that_works(old):
    with pytest.raises(ImportError, match="moved in version 2.0") as caught:
        importlib.import_module(f"course_utils.{old}")
    exec(re.search("`(.*)`", str(caught.value))[1], {})


def test_old_names_after_from_and_deeper_ones_are_answered_too():
    with pytest.raises(ImportError, match="write `import course_checks as checks`"):
        from course_utils import checks  # noqa: F401
    with pytest.raises(ImportError, match="write `import course_checks as checks`"):
        import course_utils.checks.part  # noqa: F401
    with pytest.raises(ImportError, match="^No module named 'course_utils.never_was'"):
        import course_utils.never_was  # noqa: F401


@pytest.mark.parametrize("call", [["ruff", "format", "--check"], ["ruff", "check"], ["mypy"]])
def test_make_lint_is_clean(call):
    command = [sys.executable, "-m", *call] + ["."] * (call[0] == "ruff")
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-1000:]


def test_there_is_one_version():
    newest = re.search(r"^## \[([\d.]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert course_utils.__version__ == newest == citation["version"]
    assert citation["cff-version"] and citation["message"] and citation["authors"]


def test_what_a_newcomer_looks_for_can_be_read():
    for path in [*(ROOT / ".github").rglob("*.yml"), ROOT / ".pre-commit-config.yaml"]:
        assert yaml.safe_load(path.read_text()), path
    assert ".ci/run" in (ROOT / ".github" / "workflows" / "test.yml").read_text()
    listed = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"`make ([a-z-]+)", (ROOT / "CONTRIBUTING.md").read_text())
    assert named and not set(named) - set(listed)
    files = re.findall(
        r"`((?:course_utils|tests|docs)/[\w/.]+\.\w+)`", (ROOT / "CONTRIBUTING.md").read_text()
    )
    assert files and not [name for name in files if not (ROOT / name).exists()]


def test_the_pre_commit_hooks_and_the_lock_use_one_ruff():
    lock = (ROOT / "requirements.lock").read_text()
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert "ruff==" in lock and any(one.startswith("ruff") for one in wanted["test"])


def test_a_thirteenth_species_without_trained_weights_is_a_sentence(monkeypatch):
    more = dict(SPECIES) | {"a new one": dict(SPECIES["egret"])}
    monkeypatch.setattr(birds, "SPECIES", more)
    with pytest.raises(WeightsError, match="know 12 species, the table has 13: make train-birds"):
        birds.load_birds_network()
