"""Set-up: on a fresh machine, on hostile ground, and what it says where it cannot go on."""

import http.server
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest
import set_up
import torch_build

ROOT = Path(__file__).resolve().parent.parent

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
        wheel.writestr("course_utils.py", "")
        info = "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1\\n"
        tags = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
        wheel.writestr("tiny-1.dist-info/METADATA", info)
        wheel.writestr("tiny-1.dist-info/WHEEL", tags)
        wheel.writestr("tiny-1.dist-info/RECORD", "")
    return name
"""


class Course:
    """A course that is set up in seconds, offline: an empty lock, a package without content."""

    def __init__(self, folder: Path):
        (folder / "tools").mkdir(parents=True)
        for name in ("set_up.py", "torch_build.py"):
            shutil.copy(ROOT / "tools" / name, folder / "tools")
        (folder / "pyproject.toml").write_text(TINY_PROJECT)
        (folder / "backend.py").write_text(TINY_BACKEND)
        (folder / "requirements.lock").write_text("# nothing\n")
        self.folder, self.venv = folder, folder / ".venv"
        self.stamp = self.venv / "course-stamp"

    def half_make(self) -> None:
        """What a set-up leaves that was killed on its way."""
        (self.venv / "bin").mkdir(parents=True)
        (self.venv / "bin" / "python").symlink_to(sys.executable)
        (self.venv / "course-made-this").touch()
        (self.venv / "left-over").touch()

    def command(self) -> list[str]:
        return [sys.executable, "tools/set_up.py"]

    def environment(self, **more: str) -> dict[str, str]:
        offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "TORCH": "cuda"}
        return os.environ | offline | more

    def set_up(self, more: dict[str, str] | None = None, **how) -> subprocess.CompletedProcess:
        how |= dict(cwd=self.folder, env=self.environment(**(more or {})), timeout=120)
        return subprocess.run(self.command(), capture_output=True, text=True, **how)

    def start(self, seconds: int, **how) -> subprocess.Popen:
        """A set-up under way: its build takes so many seconds, and has begun."""
        quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        env = self.environment(TINY_SECONDS=str(seconds))
        process = subprocess.Popen(self.command(), cwd=self.folder, env=env, **quiet, **how)
        wait_for((self.folder / "building").exists)
        return process

    def imports_alone(self) -> bool:
        """Whether its Python alone, -I, finds the package."""
        call = [self.venv / "bin" / "python", "-I", "-c", "import course_utils"]
        return subprocess.run(call, cwd="/").returncode == 0


@pytest.fixture
def course(tmp_path):
    return Course(tmp_path / "with space" / "course")


QUICK_VENV = """
import pathlib, pip, subprocess, sys

subprocess.run([sys.executable, "-I", "-m", "venv", "--without-pip", sys.argv[1]], check=True)
(site,) = pathlib.Path(sys.argv[1]).glob("lib/*/site-packages")
for part in pathlib.Path(pip.__file__).parents[1].glob("pip*"):
    (site / part.name).symlink_to(part)
"""


@pytest.fixture
def pip_linked(course):
    """For tests of what comes after: `python -m venv`, which takes seconds to install pip, finds
    this one in the course's folder first.
    """
    (course.folder / "venv.py").write_text(QUICK_VENV)


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


@pytest.mark.usefixtures("pip_linked")
def test_a_failed_install_leaves_nothing_and_says_what_to_do(course):
    (course.folder / "requirements.lock").write_text("no-such-package==1.0\n")
    failed = course.set_up()
    assert failed.returncode != 0 and not course.venv.exists()
    assert "did not finish" in failed.stdout and "run the same command again" in failed.stderr


@pytest.mark.usefixtures("pip_linked")
def test_an_interrupted_install_leaves_nothing(course):
    process = course.start(
        60,
        start_new_session=True,
        # a run in the background is started with Ctrl-C ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
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
    code = (
        f"import sys, runpy; sys.path[:0] = ['tools']; {pretend}; "
        f"runpy.run_path('tools/set_up.py', run_name='__main__')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=course.folder, capture_output=True, text=True
    )
    assert result.returncode == 1 and re.search(sentence, result.stderr)
    assert "Traceback" not in result.stderr and not course.venv.exists()


def wait_for(question, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, "no answer in time"
        time.sleep(0.05)


# --- hostile ground -------------------------------------------------------------------------------


class TestAFolderThatIsSomebodyElses:
    @pytest.fixture(autouse=True)
    def no_handler(self, monkeypatch):
        """A set-up's answer to SIGTERM must not become that of the tests."""
        monkeypatch.setattr(signal, "signal", lambda *_: None)

    def test_a_finished_environment_is_ready_without_writing_anything(self, made, monkeypatch):
        monkeypatch.setattr(set_up, "ROOT", str(made.folder))
        monkeypatch.setattr(set_up, "only_one_at_a_time", lambda: 1 / 0)
        monkeypatch.setattr(sys, "argv", ["set_up.py"])
        monkeypatch.delenv("TORCH", raising=False)
        (made.folder / "pyproject.toml").write_text(TINY_PROJECT)
        made.set_up()
        set_up.main()

    def test_where_nothing_can_be_written_a_sentence_says_who_can_help(self, monkeypatch):
        monkeypatch.setattr(
            set_up, "ROOT", "/dev/null/course"
        )  # no folder for anybody, root or not
        monkeypatch.setattr(sys, "argv", ["set_up.py"])
        with pytest.raises(SystemExit, match="cannot write here(.|\n)*Ask the owner"):
            set_up.main()

    def test_a_python_in_a_home_that_is_closed_is_named(self, course, monkeypatch):
        course.half_make()
        course.stamp.touch()
        monkeypatch.setattr(set_up, "ROOT", str(course.folder))
        closed = str(course.venv / "bin" / "python")

        def stat(path, *more, real=os.stat, **options):
            if str(path) == closed:
                raise PermissionError(13, "Permission denied", closed)
            return real(path, *more, **options)

        monkeypatch.setattr(os, "stat", stat)
        with pytest.raises(
            SystemExit, match="where you may not look(.|\n)*PYTHON=/usr/bin/python3"
        ):
            set_up.Environment().ready()


class TestAVenvThatIsThere:
    def test_one_that_the_course_did_not_make_is_left_alone(self, course):
        course.venv.mkdir()
        (course.venv / "precious").write_text("mine")
        result = course.set_up()
        assert result.returncode == 1 and (course.venv / "precious").read_text() == "mine"
        assert "did not make" in result.stderr and "mv .venv my-venv" in result.stderr

    @pytest.mark.usefixtures("pip_linked")
    def test_a_link_to_another_disk_stays_a_link(self, course):
        other = course.folder.parent / "another disk"
        other.mkdir()
        course.venv.symlink_to(other)
        assert course.set_up().returncode == 0
        assert course.venv.is_symlink() and (other / "course-stamp").exists()
        (course.folder / "requirements.lock").write_text("# another lock\n")
        assert "Emptying .venv" in course.set_up().stdout
        assert course.venv.is_symlink() and course.imports_alone()


def test_settings_that_lead_pip_or_python_elsewhere_do_not_empty_the_environment(course, tmp_path):
    away = str(tmp_path / "away")
    (tmp_path / "modules").mkdir()
    for name in ("course_utils.py", "venv.py"):
        (tmp_path / "modules" / name).write_text("raise SystemExit('a foreign module')")
    lead = {"PIP_TARGET": away, "PIP_PREFIX": away, "PIP_ROOT": away, "PIP_DRY_RUN": "1"}
    lead |= {"PIP_USER": "1", "PIP_REQUIRE_HASHES": "1", "PYTHONWARNINGS": "error"}
    result = course.set_up(lead | {"PYTHONPATH": str(tmp_path / "modules")})
    assert result.returncode == 0, result.stderr
    assert course.imports_alone() and not Path(away).exists()


def test_neither_does_a_pip_conf(course, tmp_path):
    conf = tmp_path / "pip.conf"
    conf.write_text(
        f"[install]\nuser = true\ntarget = {tmp_path / 'away'}\nrequire-hashes = true\n"
    )
    result = course.set_up({"PIP_CONFIG_FILE": str(conf)})
    assert result.returncode == 0, result.stderr
    assert course.imports_alone() and not (tmp_path / "away").exists()


@pytest.mark.usefixtures("pip_linked")
def test_what_cannot_be_imported_is_not_stamped(course):
    (course.folder / "backend.py").write_text(
        TINY_BACKEND.replace('"course_utils.py", ""', '"course_utils.py", "import no_such_module"')
    )
    assert course.set_up().returncode != 0 and not course.stamp.exists()


@pytest.mark.usefixtures("pip_linked")
def test_a_set_up_that_is_killed_alone_is_waited_for_by_the_next(course):
    process = course.start(3)
    process.kill()  # its pip lives on, and holds the lock
    process.wait()
    again = course.set_up()
    assert again.returncode == 0 and "waiting for it" in again.stdout
    assert course.imports_alone()


def test_a_path_that_python_cannot_use_is_refused_in_a_sentence(tmp_path):
    course = Course(tmp_path / f"a{os.pathsep}b")
    result = course.set_up()
    assert result.returncode == 1 and "Move or rename it" in result.stderr


def test_set_up_from_a_folder_of_wheels_needs_no_network(course, tmp_path, network_cut):
    """What classroom/README.md says for a lab without internet."""
    (tmp_path / "wheels").mkdir()
    wheel(tmp_path / "wheels", "2.0")
    (course.folder / "requirements.lock").write_text("torch==2.0\n")
    more = course.environment(PIP_FIND_LINKS=(tmp_path / "wheels").as_uri(), TORCH="")
    call = [*network_cut, *course.command()]
    result = subprocess.run(call, cwd=course.folder, env=more, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert course.imports_alone()


# --- which build of torch -------------------------------------------------------------------------


def wheel(folder: Path, version: str) -> None:
    with zipfile.ZipFile(folder / f"torch-{version}-py3-none-any.whl", "w") as file:
        info = f"torch-{version}.dist-info"
        file.writestr("torch.py", f"version = {version!r}")
        file.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n"
        )
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")


@pytest.fixture
def indexes(tmp_path):
    """A stand-in for PyTorch's index of CPU wheels, and a folder with the ordinary wheel."""
    (tmp_path / "cpu" / "torch").mkdir(parents=True)
    wheel(tmp_path / "cpu" / "torch", "2.0+cpu")
    (tmp_path / "ordinary").mkdir()
    wheel(tmp_path / "ordinary", "2.0")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, directory=str(tmp_path), **options)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/cpu", (tmp_path / "ordinary").as_uri()
        server.shutdown()


@pytest.mark.parametrize(
    ("torch", "reachable", "installed", "said"),
    [
        ("cpu", True, "2.0+cpu", "the CPU build, as TORCH asks"),
        ("cuda", True, "2.0", "6.7 GB of disk, with CUDA"),
        ("cpu", False, "2.0", "cannot be reached"),
    ],
)
@pytest.mark.usefixtures("pip_linked")
def test_the_build_of_torch_that_is_asked_for(course, indexes, torch, reachable, installed, said):
    (course.folder / "requirements.lock").write_text("torch==2.0\n")
    index, links = indexes
    more = {"TORCH": torch, "PIP_FIND_LINKS": links, "PIP_NO_INDEX": "0", "PIP_INDEX_URL": links}
    more["TORCH_CPU_INDEX"] = index if reachable else "http://127.0.0.1:9/cpu"
    result = course.set_up(more)
    assert result.returncode == 0, result.stderr
    assert said in result.stdout
    python = [course.venv / "bin" / "python", "-c", "import torch; print(torch.version)"]
    assert subprocess.run(python, capture_output=True, text=True).stdout.strip() == installed
    assert course.set_up(more).stdout == ""  # ready, and not made again


class TestWhichBuild:
    @pytest.fixture(autouse=True)
    def linux(self, monkeypatch):
        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.delenv("TORCH", raising=False)
        monkeypatch.setattr(torch_build, "has_card", lambda: False)
        monkeypatch.setattr(torch_build, "answers", lambda index: True)

    def test_without_a_card_it_is_the_cpu_build(self):
        build, options, words = torch_build.choose()
        assert build == "cpu" and options[0] == "--extra-index-url" and "no NVIDIA card" in words

    def test_with_a_card_it_is_the_ordinary_one(self, monkeypatch):
        monkeypatch.setattr(torch_build, "has_card", lambda: True)
        assert torch_build.choose()[:2] == ("cuda", [])

    def test_another_word_is_refused(self, monkeypatch):
        monkeypatch.setenv("TORCH", "gpu")
        with pytest.raises(SystemExit, match="TORCH is 'gpu'"):
            torch_build.choose()

    def test_elsewhere_the_ordinary_wheel_is_a_cpu_build(self, monkeypatch):
        monkeypatch.setattr(sys, "platform", "darwin")
        assert torch_build.choose()[:2] == ("cpu", [])


# --- make -----------------------------------------------------------------------------------------


def test_an_empty_path_but_python_git_and_make_is_enough_for_make(course, tmp_path):
    """Both commands begin with `make setup`: it needs no other program."""
    shutil.copy(ROOT / "Makefile", course.folder)
    (tmp_path / "bin").mkdir()
    for name in ("make", "git", "sh"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    (tmp_path / "bin" / "python3").symlink_to(sys.executable)
    more = course.environment(PATH=str(tmp_path / "bin"), PYTHONPATH="/nowhere", PYTHONHOME="/no")
    call = [str(tmp_path / "bin" / "make"), "setup"]
    result = subprocess.run(call, cwd=course.folder, env=more, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert course.imports_alone()
