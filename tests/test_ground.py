"""The ground: set-up, package, lock file, make targets, and what the repository keeps to."""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import urllib.request
from importlib.metadata import packages_distributions
from pathlib import Path

import lab
import pytest
import set_up
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = dict(
    re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
)
EXTRAS = {
    name: list(map(Requirement, wanted))
    for name, wanted in PROJECT["project"]["optional-dependencies"].items()
}
DIRECT = list(map(Requirement, PROJECT["project"]["dependencies"]))

# --- set-up ---------------------------------------------------------------------------------------

TINY_PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "tiny"
version = "1"
"""
TINY_BACKEND = """
import os, pathlib, time, zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    pathlib.Path("building").touch()
    time.sleep(float(os.environ.get("TINY_SECONDS", "0")))
    name = "tiny-1-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        wheel.writestr("tiny.py", "")
        wheel.writestr("tiny-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1\\n")
        wheel.writestr("tiny-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("tiny-1.dist-info/RECORD", "")
    return name
"""


class Course:
    """A course that is set up in seconds, offline: an empty lock, a package without content."""

    def __init__(self, folder: Path):
        (folder / "tools").mkdir(parents=True)
        shutil.copy(ROOT / "tools" / "set_up.py", folder / "tools")
        (folder / "pyproject.toml").write_text(TINY_PROJECT)
        (folder / "backend.py").write_text(TINY_BACKEND)
        (folder / "requirements.lock").write_text("# nothing\n")
        self.folder, self.venv = folder, folder / ".venv"
        self.stamp = self.venv / "course-stamp"

    def half_make(self) -> None:
        """What a set-up leaves that was killed on its way."""
        (self.venv / "bin").mkdir(parents=True)
        (self.venv / "bin" / "python").symlink_to(sys.executable)
        (self.venv / "left-over").touch()

    def command(self) -> list[str]:
        return [sys.executable, "tools/set_up.py"]

    def environment(self, **more: str) -> dict[str, str]:
        return os.environ | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""} | more

    def set_up(self) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.command(),
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=120,
        )


@pytest.fixture
def course(tmp_path):
    return Course(tmp_path / "with space" / "course")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A course set up where a killed set-up had left a half-made environment."""
    course = Course(tmp_path_factory.mktemp("made in") / "a course")
    course.half_make()
    course.first = course.set_up()
    return course


def test_set_up_makes_the_environment_also_where_the_path_has_a_space(made):
    assert made.first.returncode == 0
    python = [str(made.venv / "bin" / "python"), "-c", "import tiny"]
    assert subprocess.run(python, cwd="/").returncode == 0


def test_what_a_killed_set_up_left_is_not_taken_for_good(made):
    assert made.stamp.exists() and not (made.venv / "left-over").exists()


def test_a_second_set_up_does_nothing(made):
    before = made.stamp.stat().st_mtime_ns
    second = made.set_up()
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert made.stamp.stat().st_mtime_ns == before


def test_a_changed_pyproject_installs_the_package_only(made):
    (made.folder / "pyproject.toml").write_text(TINY_PROJECT + "# changed\n")
    output = made.set_up().stdout
    assert "Installing course_utils" in output and "Making .venv" not in output


@pytest.mark.parametrize("change", ["lock", "place", "python", "stamp"])
def test_an_environment_made_from_something_else_is_not_ready(course, monkeypatch, change):
    monkeypatch.setattr(set_up, "ROOT", str(course.folder))
    course.half_make()
    set_up.write(str(course.stamp), set_up.Environment().contents())
    assert set_up.Environment().ready()
    if change == "lock":
        (course.folder / "requirements.lock").write_text("# changed\n")
    elif change == "place":
        course.folder.rename(course.folder.with_name("moved"))
        monkeypatch.setattr(set_up, "ROOT", str(course.folder.with_name("moved")))
    elif change == "python":
        (course.venv / "bin" / "python").unlink()
    else:
        course.stamp.unlink()
    assert not set_up.Environment().ready()


def test_a_failed_install_leaves_nothing_and_says_what_to_do(course):
    (course.folder / "requirements.lock").write_text("no-such-package==1.0\n")
    failed = course.set_up()
    assert failed.returncode != 0 and not course.venv.exists()
    assert "did not finish" in failed.stdout and "run the same command again" in failed.stderr


def test_an_interrupted_install_leaves_nothing(course):
    process = subprocess.Popen(
        course.command(),
        cwd=course.folder,
        env=course.environment(TINY_SECONDS="60"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_for((course.folder / "building").exists)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
    assert process.wait(timeout=30) != 0 and not course.venv.exists()


@pytest.mark.parametrize(
    ("pretend", "sentence"),
    [
        (
            "sys.version_info = (3, 10, 2, 'final', 0)",
            "needs Python 3.11 or newer, and .* is Python 3.10",
        ),
        ("sys.modules['ensurepip'] = None", "apt install python3-venv"),
    ],
)
def test_a_python_that_cannot_do_it_is_told_in_a_sentence(course, pretend, sentence):
    code = f"import sys, runpy; {pretend}; runpy.run_path('tools/set_up.py', run_name='__main__')"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=course.folder, capture_output=True, text=True
    )
    assert result.returncode == 1 and re.search(sentence, result.stderr)
    assert "Traceback" not in result.stderr and not course.venv.exists()


# --- package, lock and environment.yml ------------------------------------------------------------


def locked(requirement: Requirement) -> bool:
    found = {canonicalize_name(name): version for name, version in LOCK.items()}
    version = found.get(canonicalize_name(requirement.name))
    return version is not None and requirement.specifier.contains(version)


@pytest.mark.parametrize("requirement", DIRECT + EXTRAS["test"], ids=str)
def test_every_direct_dependency_is_locked_within_its_range(requirement):
    assert locked(requirement)


def test_the_lock_names_one_exact_version_a_line_and_none_of_torchs_own_cuda_packages():
    lines = [
        line for line in (ROOT / "requirements.lock").read_text().splitlines() if line[:1] != "#"
    ]
    assert len(lines) == len(LOCK) > 100
    assert not [name for name in LOCK if re.match(r"nvidia-|cuda-|triton", name)]


def test_this_environment_is_the_locked_one():
    from importlib.metadata import version

    assert {name: version(name) for name in LOCK} == LOCK


def test_the_benchmarked_libraries_are_those_of_the_extra():
    wanted = (ROOT / "tools" / "requirements-benchmark.txt").read_text()
    pins = dict(re.findall(r"^([\w-]+)==(\S+)$", wanted, re.MULTILINE)) | LOCK
    assert {one.name: str(one.specifier) for one in EXTRAS["benchmark"]} == {
        one.name: f"=={pins[one.name]}" for one in EXTRAS["benchmark"]
    }


def test_environment_yml_brings_python_pip_and_the_package_from_conda_forge_only():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert conda["channels"] == ["conda-forge", "nodefaults"]
    python, pip, by_pip = conda["dependencies"]
    assert pip.startswith("pip>=") and by_pip == {"pip": ["-e ."]}
    assert SpecifierSet(python.removeprefix("python")) == SpecifierSet(
        PROJECT["project"]["requires-python"]
    )
    assert conda["name"] == PROJECT["project"]["name"]


def imported_modules(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize(
    ("folder", "allowed"),
    [("course_utils", DIRECT), ("course_checks", DIRECT), ("tests", DIRECT + EXTRAS["test"])],
)
def test_what_is_imported_is_declared(folder, allowed):
    paths = list((ROOT / folder).rglob("*.py"))
    own = {path.stem for path in [*paths, *(ROOT / "tools").rglob("*.py")]}
    own |= {"course_utils", "course_checks"}
    own |= {path.parent.name for path in paths}
    own |= {path.parent.name for path in (ROOT / "tools").rglob("__init__.py")}
    modules = set().union(*map(imported_modules, paths)) - own - set(sys.stdlib_module_names)
    declared = {canonicalize_name(one.name) for one in allowed}
    installed = packages_distributions()
    owners = {module: set(map(canonicalize_name, installed[module])) for module in modules}
    assert not {module for module, names in owners.items() if not names & declared}


def test_every_package_folder_is_listed_so_that_a_wheel_holds_it():
    packages = (ROOT / "course_utils", ROOT / "course_checks")
    folders = {
        path.parent.relative_to(ROOT)
        for package in packages
        for path in package.rglob("__init__.py")
    }
    listed = set(PROJECT["tool"]["setuptools"]["packages"]) - {"course_utils.data"}
    assert {".".join(folder.parts) for folder in folders} == listed


def test_data_are_found_from_any_folder():
    code = "from importlib.resources import files; print((files('course_utils.data') / 'README.md').read_text())"
    result = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True)
    assert result.stdout.startswith("# Data of the course")


def test_a_built_wheel_holds_the_code_and_the_data(tmp_path):
    for name in ("course_utils", "course_checks", "data"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "LICENSE-text"):
        shutil.copy(ROOT / name, tmp_path)
    build = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    subprocess.run([*build, "--target", tmp_path / "there", "."], cwd=tmp_path, check=True)
    shipped = {
        path.relative_to(tmp_path / "there").as_posix()
        for path in (tmp_path / "there").rglob("*.*")
    }
    places = {"course_utils": "course_utils", "course_checks": "course_checks"}
    places["data"] = "course_utils/data"
    for folder, place in places.items():
        for path in (ROOT / folder).rglob("*.*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert f"{place}/{path.relative_to(ROOT / folder).as_posix()}" in shipped


# --- make targets ---------------------------------------------------------------------------------


def test_make_help_lists_every_target_and_is_what_make_does_by_itself():
    text = (ROOT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY:(.*)$", text, re.MULTILINE)[1].split()
    for command in (["make"], ["make", "help"]):
        output = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        assert re.findall(r"^  ([a-z-]+) +\S", output, re.MULTILINE) == targets


@pytest.mark.parametrize(
    ("uid", "display", "expected"),
    [(0, "", {"--allow-root", "--no-browser"}), (1000, ":0", set()), (1000, "", {"--no-browser"})],
)
def test_jupyterlab_is_started_to_suit_user_and_display(monkeypatch, uid, display, expected):
    monkeypatch.setattr("os.geteuid", lambda: uid)
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert {"--allow-root", "--no-browser"} & set(lab.command([])) == expected


def test_make_lab_serves_the_first_lecture_and_prints_the_address(tmp_path):
    first = sorted((ROOT / "lectures").glob("*.ipynb"))[0].name
    environment = os.environ | {
        "DISPLAY": "",
        "WAYLAND_DISPLAY": "",
        "JUPYTER_RUNTIME_DIR": str(tmp_path),
    }
    log = tmp_path / "log"
    with log.open("w") as out:
        start = [sys.executable, ROOT / "tools" / "lab.py", "--port=0"]
        server = subprocess.Popen(
            start, cwd=tmp_path, env=environment, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        address = wait_for(lambda: re.search(r"http://127\.0\.0\.1:\S+token=\w+", log.read_text()))[
            0
        ]
        assert f"/lab/tree/lectures/{first}?" in address
        page = wait_for(lambda: urllib.request.urlopen(address, timeout=10))
        assert page.status == 200 and "JupyterLab" in page.read().decode()
        contents = re.sub(r"/lab/tree/.*\?", f"/api/contents/lectures/{first}?content=0&", address)
        assert urllib.request.urlopen(contents, timeout=10).status == 200
    finally:
        server.terminate()
        server.wait(timeout=20)


def wait_for(question, seconds: float = 60):
    deadline = time.monotonic() + seconds
    while True:
        try:
            if answer := question():
                return answer
        except OSError:
            pass
        assert time.monotonic() < deadline, "no answer in time"
        time.sleep(0.2)


# --- the repository -------------------------------------------------------------------------------


def tracked() -> list[Path]:
    """The files of the repository; of a copy without git, all but what `make` makes."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    result = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True)
    if result.returncode == 0:
        return [
            ROOT / name for name in result.stdout.split("\0") if name and (ROOT / name).is_file()
        ]
    made = {".venv", ".extras", "_site", "build", "__pycache__", ".hypothesis", ".pytest_cache"}
    return [path for path in ROOT.rglob("*") if path.is_file() and not made & set(path.parts)]


def test_the_ci_runs_make_test():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK) and script.read_text().rstrip().endswith("make test")


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    documented = ast.get_docstring(function) is not None
    doc = function.body[0].end_lineno - function.body[0].lineno + 1 if documented else 0
    return function.end_lineno - function.lineno + 1 - doc


def test_a_function_has_at_most_forty_lines_of_code():
    long = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for folder in ("course_utils", "course_checks", "tools")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and code_lines(node) > 40
    ]
    assert not long


def test_pictures_and_weights_lie_in_data_or_docs_only():
    binary = re.compile(
        r"\.(jpe?g|png|gif|bmp|tiff?|npz|npy|pt|pth|safetensors|pkl)$", re.IGNORECASE
    )
    stray = [
        path
        for path in map(lambda path: path.relative_to(ROOT), tracked())
        if binary.search(path.name)
    ]
    assert not [str(path) for path in stray if path.parts[0] not in ("data", "docs")]
