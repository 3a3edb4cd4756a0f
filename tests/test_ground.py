"""The ground: set-up, package, lock file, make targets, and what the repository keeps to."""

import ast
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
import urllib.request
from importlib.metadata import packages_distributions
from pathlib import Path
from types import SimpleNamespace

import lab
import make_lock
import pytest
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

    assert {name: version(name).split("+")[0] for name in LOCK} == LOCK  # torch 2.14.1+cpu, too


@pytest.mark.parametrize("python", [make_lock.PYTHONS[0], make_lock.PYTHONS[-1]])
def test_every_entry_of_the_lock_installs_wherever_it_is_promised(python):
    """The oldest Python and the newest, on every platform; `make lock` asks for the others, too."""
    if "No matching distribution" in make_lock.missing(python, "Linux x86-64", ["pip>=23"]):
        pytest.skip("not tested here: no package registry answers")
    found = make_lock.faults(python)
    full = {platform for platform, why in found.items() if "No space left on device" in why}
    assert found.keys() <= full, found
    if full:
        pytest.skip("not tested here: pip unpacks a gigabyte below TMPDIR, and that disk is full")


@pytest.fixture
def lists(monkeypatch):
    """Sets what the index says: lists(file, ...), each a name and what else stands beside it."""

    def says(*files: dict):
        answer = SimpleNamespace(json=lambda: {"files": files})
        asked = SimpleNamespace(get=lambda *_, **__: answer)
        monkeypatch.setattr(make_lock, "session", lambda: asked)
        make_lock.wheels.cache_clear()

    yield says
    make_lock.wheels.cache_clear()


@pytest.mark.parametrize(
    ("file", "python", "platform"),
    [
        ("one-1.0-py3-none-any.whl", "3.14.0", "Windows"),
        ("one-1.0-cp311-cp311-win_amd64.whl", "3.11.0", "Windows"),
        ("one-1.0-cp39-abi3-win_amd64.whl", "3.14.0", "Windows"),
        ("one-1.0-cp314-cp314-macosx_10_15_universal2.whl", "3.14.0", "macOS arm64"),
        ("one-1.0-cp311-cp311-manylinux_2_17_x86_64.whl", "3.11.0", "Linux x86-64"),
    ],
)
def test_a_wheel_that_fits_is_listed(lists, file, python, platform):
    lists({"filename": file, "requires-python": ">=3.11", "yanked": False})
    assert make_lock.listed("one==1.0", python, platform)


@pytest.mark.parametrize(
    ("file", "more"),
    [
        ("one-1.0-cp312-cp312-win_amd64.whl", {}),  # another Python's
        ("one-1.0-cp311-cp311t-win_amd64.whl", {}),  # of the free-threaded one
        ("one-1.0-cp312-abi3-win_amd64.whl", {}),
        ("one-1.0-cp311-cp311-win32.whl", {}),
        ("one-1.0-cp311-cp311-macosx_11_0_arm64.whl", {}),
        ("one-1.0.1-py3-none-any.whl", {}),  # another version's
        ("one-1.0.tar.gz", {}),
        ("one-1.0-py3-none-any.whl", {"requires-python": ">=3.12"}),
        ("one-1.0-py3-none-any.whl", {"yanked": "wrong file"}),
        ("one-1.0-py3-none-any.whl", {"requires-python": "newer"}),
    ],
)
def test_what_does_not_fit_is_left_to_pip(lists, file, more):
    lists({"filename": file} | more)
    assert not make_lock.listed("one==1.0", "3.11.0", "Windows")


def test_of_what_is_not_listed_pip_has_the_last_word(monkeypatch):
    """Numpy is listed but for Windows, scipy but for macOS; only the latter installs by pip."""
    absent = {("numpy==1", "Windows"), ("scipy==1", "macOS arm64")}
    pip = {("numpy==1",): "No matching distribution", ("scipy==1",): ""}
    monkeypatch.setattr(make_lock, "entries", lambda: ["numpy==1", "scipy==1"])
    monkeypatch.setattr(make_lock, "listed", lambda one, python, where: (one, where) not in absent)
    monkeypatch.setattr(make_lock, "missing", lambda python, where, wanted: pip[tuple(wanted)])
    assert make_lock.faults("3.12.0") == {"Windows": "No matching distribution"}


def test_the_index_asked_is_the_one_that_pip_asks(monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/a/simple/")
    assert make_lock.index.__wrapped__() == "http://127.0.0.1:9/a/simple"


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
    assert re.fullmatch(r"python=3\.\d+", python)  # repo2docker reads no other form
    assert SpecifierSet(PROJECT["project"]["requires-python"]).contains(python.split("=")[1])
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
    own |= {path.stem for path in (ROOT / "classroom").glob("*.py")}
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
    code = (
        "from importlib.resources import files; print((files('course_utils.data') / "
        "'README.md').read_text())"
    )
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
        for heading in ("To learn", "To teach", "To change the course", "With options:"):
            assert f"\n\n{heading}\n  " in output


def test_a_folder_of_photos_may_have_a_space_in_its_name():
    call = ["make", "-n", "report", "PHOTOS=My photos", "NETWORK=my nets.py:load"]
    said = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert 'report "My photos" --network "my nets.py:load"' in said


def test_in_a_terminal_of_jupyterlab_python_is_the_courses_own():
    found = shutil.which("python", path=lab.settings()["PATH"])
    assert Path(found).parent == Path(sys.executable).parent


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
        "JUPYTER_CONFIG_DIR": str(tmp_path),  # not what this user has set for every JupyterLab
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
    commands = re.findall(r"^(?:exec )?(make .*)$", script.read_text(), re.MULTILINE)
    assert os.access(script, os.X_OK)
    assert commands == ["make test", "make test-web", "make test-classroom"]


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
