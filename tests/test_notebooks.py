"""Every lecture runs from top to bottom under nbval, and is committed as a clean source.

`pytest --nbval-lax` runs once for each notebook, in a process of its own, so that xdist spreads the
notebooks over the cores. It runs a copy in which each cell stands twice, since learners press
Shift-Enter twice. Its report is compared with the file: every code cell ran and passed, none was
skipped in silence.
"""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import nbformat
import pytest
from notebook_run import CELL_SECONDS

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = Path(__file__).resolve().parent / "fixtures"
LECTURES = sorted((ROOT / "lectures").glob("*.ipynb"))
NOTEBOOKS = sorted(
    path
    for folder in ("lectures", "exercises", "solutions")
    for path in (ROOT / folder).rglob("*.ipynb")
)
NOTEBOOKS = [path for path in NOTEBOOKS if ".ipynb_checkpoints" not in path.parts]
NOTEBOOK_SECONDS = 600  # to end what hangs; a lecture takes under two minutes
OTHER = (
    "efficientnet_lite0",
    "efficientnet_lite2",
)  # the first name a learner changes, and to what
WITH_ANOTHER = ("02_gradcam", "04_contrast_cam", "06_takeaways")
# as conftest.py, for the same reason
LEAN_PYTEST = (
    "import sys; sys.modules['rfc3987_syntax'] = None; import pytest; sys.exit(pytest.main())"
)
CELL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@pytest.fixture(scope="module")
def offline(request) -> list[str]:
    """What cuts the network, so that nothing is fetched by a lecture; nothing where none can."""
    try:
        return request.getfixturevalue("network_cut")
    except pytest.skip.Exception:
        return []


def test_the_lectures_run_with_the_network_cut(network_cut):
    """Said here once where this machine cannot: the lectures then ran with a network."""
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)"
    result = subprocess.run([*network_cut, sys.executable, "-c", code], capture_output=True)
    assert b"unreachable" in result.stderr


def name(path: Path) -> str:
    """How a notebook is called in the report."""
    return str(path.relative_to(ROOT))


def code_cells(path: Path) -> int:
    return sum(cell.cell_type == "code" for cell in nbformat.read(path, as_version=4).cells)


def run_under_nbval(path: Path, report: Path, before: list[str] = ()) -> dict[str, int]:
    """Run one notebook as `make test` does; how many of its cells passed, failed, were skipped.

    `before` stands before the command, such as what cuts the network.
    """
    command = [
        *before,
        sys.executable,
        "-c",
        LEAN_PYTEST,
        str(path),
        "--nbval-lax",
        "--nbval-current-env",
    ]
    command += [f"--nbval-cell-timeout={CELL_SECONDS}", f"--junitxml={report}", "--color=no", "-q"]
    command += ["-p", "nbval.plugin", "-p", "no:cacheprovider", "-o", "addopts="]
    lean = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, f"--rootdir={path.parent}"],
        env=os.environ | lean | {"IPYTHONDIR": str(report.parent)},
        cwd=path.parent,
        capture_output=True,
        text=True,
        timeout=NOTEBOOK_SECONDS,
    )
    if not report.exists():
        pytest.fail(f"{path.name} was not run:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    cells = list(ElementTree.parse(report).iter("testcase"))
    bad = [
        cell for cell in cells if cell.find("failure") is not None or cell.find("error") is not None
    ]
    skipped = [cell for cell in cells if cell.find("skipped") is not None]
    return {
        "passed": len(cells) - len(bad) - len(skipped),
        "failed": len(bad),
        "skipped": len(skipped),
        "output": done.stdout[-6000:],
    }


def doubled(path: Path, folder: Path) -> Path:
    """A copy of a notebook in which each code cell is run twice in turn."""
    notebook = nbformat.read(path, as_version=4)
    cells = []
    for cell in notebook.cells:
        again = [nbformat.from_dict(cell | {"id": f"{cell.id[:58]}-again"})]
        cells += [cell, *(again if cell.cell_type == "code" else [])]
    notebook.cells = cells
    copy = folder / path.name
    nbformat.write(notebook, copy)
    return copy


def with_another_network(path: Path, folder: Path) -> Path:
    """A copy of a lecture with another network's name in its set-up cell."""
    notebook = nbformat.read(path, as_version=4)
    (setup,) = (cell for cell in notebook.cells if cell.id == "setup")
    assert setup.source.count(OTHER[0]) == 1, "the set-up cell does not name the network once"
    setup.source = setup.source.replace(*OTHER)
    copy = folder / path.name
    nbformat.write(notebook, copy)
    return copy


def assert_all_pass(path: Path, folder: Path, before: list[str] = ()) -> None:
    result = run_under_nbval(path, folder / "report.xml", before)
    expected = {"passed": code_cells(path), "failed": 0, "skipped": 0}
    assert {key: result[key] for key in expected} == expected, result["output"]


@pytest.mark.timeout(NOTEBOOK_SECONDS + 30)
@pytest.mark.parametrize("path", LECTURES, ids=name)
def test_every_code_cell_runs_twice_in_turn(path, tmp_path, offline):
    assert_all_pass(doubled(path, tmp_path), tmp_path, offline)


@pytest.mark.timeout(NOTEBOOK_SECONDS + 30)
@pytest.mark.parametrize("lecture", WITH_ANOTHER)
def test_a_lecture_runs_with_another_network(lecture, tmp_path):
    """Claims that do not hold for it are told in words; nothing stops."""
    assert_all_pass(
        with_another_network(ROOT / "lectures" / f"{lecture}.ipynb", tmp_path), tmp_path
    )


def test_a_cell_that_cannot_be_run_again_is_found(tmp_path):
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("a = [1]"), nbformat.v4.new_code_cell("a = a.pop(); a")]
    )
    nbformat.write(notebook, tmp_path / "once.ipynb")
    (tmp_path / "twice").mkdir()
    twice = doubled(tmp_path / "once.ipynb", tmp_path / "twice")
    result = run_under_nbval(twice, tmp_path / "report.xml")
    assert (result["passed"], result["failed"]) == (3, 1), result["output"]


def test_there_are_lectures():
    assert LECTURES, "no notebook in lectures/: nothing was tested"


@pytest.mark.parametrize("fixture", ["broken_widget.ipynb", "broken_cell.ipynb"])
def test_a_broken_notebook_fails(fixture, tmp_path):
    result = run_under_nbval(FIXTURES / fixture, tmp_path / "report.xml")
    assert result["failed"] == 1 and "ZeroDivisionError" in result["output"]


def test_a_skipped_cell_is_counted(tmp_path):
    result = run_under_nbval(FIXTURES / "skipped_cell.ipynb", tmp_path / "report.xml")
    assert (result["passed"], result["skipped"]) == (1, 1)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
class TestCommittedClean:
    """A notebook in the repository is a source: what a run adds to it stays out."""

    def test_no_outputs_and_no_counts(self, path):
        code = [
            cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"
        ]
        assert not [cell.id for cell in code if cell.outputs or cell.execution_count is not None]

    def test_kernel_is_python3(self, path):
        assert nbformat.read(path, as_version=4).metadata.kernelspec.name == "python3"

    def test_no_state_of_the_last_session(self, path):
        metadata = nbformat.read(path, as_version=4).metadata
        assert set(metadata) <= {
            "kernelspec",
            "language_info",
            "title",
            "authors",
            "celltoolbar",
            "rise",
        }

    def test_cells_have_ids_of_their_own(self, path):
        notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
        ids = [cell.get("id", "") for cell in notebook.cells]
        assert (notebook.nbformat, notebook.nbformat_minor) >= (4, 5)
        assert len(set(ids)) == len(ids) and all(map(CELL_ID.fullmatch, ids))

    def test_pictures_come_from_the_helpers_that_describe_them(self, path):
        assert not [cell.id for cell in sources(path) if "plt.show(" in cell.source]

    def test_data_are_reached_through_the_package(self, path):
        assert not [
            cell.id
            for cell in sources(path)
            if re.search(r"""["']\.\.?/|["']/(home|tmp|work)/""", cell.source)
        ]

    def test_nothing_is_installed_from_a_cell(self, path):
        assert not [
            cell.id
            for cell in sources(path)
            if re.search(r"^\s*[%!]\s*(pip|conda)", cell.source, re.MULTILINE)
        ]


def sources(path: Path) -> list:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
