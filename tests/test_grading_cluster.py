"""More than one machine: a cluster whose worker dies, and a run in parts, give the same bytes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from grading import command, remote
from grading.store import Store
from tiny_assignment import NAME, POINTS, Class, notebook, untouched

ROOT = Path(__file__).resolve().parent.parent
EXTRA = ROOT / ".extras" / "cluster"
SLOW = "import time\ntime.sleep(4)"
CLASS = {
    "ann": notebook(),
    "ben": notebook(before=SLOW),
    "cyd": "no notebook",
    "dee": untouched(),
    "eve": notebook(before=SLOW + "\n%matplotlib inline"),
}
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def dask():
    if not (EXTRA / "distributed").is_dir():
        pytest.fail("no Dask here: run `python3 tools/set_up.py cluster`, as `make test` does")


def course(folder: Path) -> Class:
    made = Class(folder)
    for student, content in CLASS.items():
        made.hand_in(student, content)
    return made


def made_files(course: Class) -> dict[str, str]:
    """The bytes of what grading made, in hexadecimal, as `once` keeps them."""
    places = [*course.grades.rglob("*"), *course.feedback.rglob("*")]
    files = [path for path in places if path.is_file() and not path.name.startswith(".")]
    return {str(path.relative_to(course.folder)): path.read_bytes().hex() for path in files}


def graded_here(folder: Path) -> dict[str, str]:
    made = course(folder)
    assert made.grade("--seed=5").returncode == 0
    return made_files(made)


@pytest.fixture(scope="module")
def on_one_machine(once, bubblewrap):
    return once("one-machine", graded_here)


class Cluster:
    """A scheduler and two workers of this machine, which know the tiny assignment."""

    def __init__(self, solutions: Path):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        paths = [ROOT / "tools", ROOT / "tests", EXTRA]
        self.env = os.environ | {
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "OMP_NUM_THREADS": "1",
            "TINY_SOLUTIONS": str(solutions),
            "DASK_TEMPORARY_DIRECTORY": str(solutions.parent),  # killed, it tidies nothing up
        }
        port = self.address.rsplit(":", 1)[1]
        self.scheduler = self._start("dask_scheduler", "--port", port, "--host", "127.0.0.1")
        self.workers = [self._worker() for _ in range(2)]

    def _worker(self) -> subprocess.Popen:
        options = ("--nthreads", "1", "--no-nanny", "--preload", "tiny_worker")
        return self._start("dask_worker", self.address, *options, "--memory-limit", "0")

    def _start(self, program: str, *options: str) -> subprocess.Popen:
        command = [sys.executable, "-m", f"distributed.cli.{program}", "--no-dashboard", *options]
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, env=self.env, stdout=quiet, stderr=quiet)

    def stop(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path, dask, bubblewrap):
    made = Cluster(tmp_path / "solutions")
    yield made
    made.stop()


def test_a_killed_worker_loses_nothing_and_the_bytes_are_those_of_one_machine(
    tmp_path, cluster, on_one_machine
):
    made = course(tmp_path)
    run = subprocess.Popen(
        made.command("--seed=5", f"--cluster={cluster.address}"),
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 300
    while not list((made.grades / NAME).glob("*.json")):
        assert run.poll() is None and time.monotonic() < deadline, run.communicate()[0]
        time.sleep(0.1)
    os.kill(cluster.workers[0].pid, signal.SIGKILL)
    said = run.communicate(timeout=300)[0]
    assert run.returncode == 0, said
    assert made_files(made) == on_one_machine


def test_a_worker_with_another_copy_of_the_course_refuses(tmp_path):
    task = remote.Task({}, NAME, 5, {}, "another version", True)
    with pytest.raises(remote.WrongVersion, match="another version than here"):
        remote.grade(task)


def test_without_a_scheduler_there_is_a_sentence(tmp_path, dask):
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    made = course(tmp_path)
    run = made.grade("--seed=5", f"--cluster={address}", COURSE_CLUSTER_SECONDS="1")
    assert run.returncode == 1 and "No scheduler answers" in run.stderr
    assert "Traceback" not in run.stderr


def test_the_scheduler_reads_a_task_without_loading_torch():
    code = "import sys, grading.remote, cluster; sys.exit('torch' in sys.modules)"
    env = os.environ | {"PYTHONPATH": str(ROOT / "tools")}
    assert subprocess.run([sys.executable, "-c", code], env=env).returncode == 0


def test_parts_of_a_run_merge_into_the_same_bytes(tmp_path, on_one_machine):
    made = course(tmp_path)
    options = dict(env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True)
    parts = [
        subprocess.Popen(made.command("--seed=5", f"--part={n}/2", "--jobs=1"), **options)
        for n in (1, 2)
    ]
    said = [part.communicate(timeout=300)[0] for part in parts]
    assert [part.returncode for part in parts] == [0, 0], said
    assert "Part 1 of 2 is done" in said[0] and not (made.grades / f"{NAME}.csv").exists()
    whole = made.grade("--seed=5")
    assert "5 of 5 submissions are graded already" in whole.stdout
    assert made_files(made) == on_one_machine
    assert (
        json.loads((made.grades / NAME / "ann.json").read_text())["parts"][0]["marks"]
        == POINTS["ex99_mean"]
    )


@pytest.mark.parametrize("words", ["0/2", "3/2", "1", "a/b", "1/0"])
def test_a_part_that_is_none_is_refused(words, capsys):
    with pytest.raises(SystemExit):
        command.main([NAME, f"--part={words}"])
    assert "is no part: write i/n" in capsys.readouterr().err


def test_parts_that_begin_together_share_one_secret_seed(tmp_path):
    stores = [Store(tmp_path / "ex") for _ in range(8)]
    assert len({store.seed(None) for store in stores}) == 1
    # one that saw no seed yet, although another one has drawn it meanwhile
    assert Store._drawn(tmp_path / "ex" / "seed.txt") == stores[0].seed(None)
