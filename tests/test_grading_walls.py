"""Every wall of the sandbox, tried from inside: as root (a container), and as an ordinary user."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from grading import sandbox, watch

PROBE = Path(__file__).with_name("wall_probe.py")
NOBODY = 65534
pytestmark = pytest.mark.timeout(300)


def as_an_ordinary_user(command: list[str]) -> list[str]:
    """The same command without root's rights, by whoever starts it.

    Python may lie in a home that others cannot enter: it is shown in an empty folder in its place.
    """
    if os.getuid() != 0:
        return command
    programs = [Path(sys.executable), *sandbox._links(Path(sys.executable))]
    needed = {Path(sys.base_prefix), *(path.parent.parent for path in programs)}
    behind = {path: one for path in needed for one in path.parents if not one.stat().st_mode & 1}
    shown = [word for one in sorted(set(behind.values())) for word in ("--tmpfs", str(one))]
    between = {up for path, one in behind.items() for up in path.parents if one in up.parents}
    shown += [w for up in sorted(between) for w in ("--perms", "0755", "--dir", str(up))]
    shown += [word for path in sorted(behind) for word in ("--ro-bind", str(path), str(path))]
    outer = ["bwrap", "--bind", "/", "/", "--dev-bind", "/dev", "/dev", "--bind", "/proc", "/proc"]
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return [*outer, "--cap-add", "ALL", *shown, "--", *drop, *command]


@pytest.fixture(scope="module", params=["root", "ordinary user"])
def probed(request, bubblewrap):
    if request.param == "root" and os.getuid() != 0:
        pytest.skip("what root could do is tried by root only: run the tests in a container")
    folder = Path(tempfile.mkdtemp(prefix="walls-"))
    folder.chmod(0o777)
    command = [sys.executable, "-B", str(PROBE), str(folder)]
    if request.param == "ordinary user":
        command = as_an_ordinary_user(command)
    try:
        run = subprocess.run(
            command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    assert said["found"], said
    return said


def test_the_kernels_settings_can_be_read_and_not_written(probed):
    assert probed["found"]["files of /proc"] > 300
    assert probed["found"]["writable in /proc"] == []


def test_there_is_no_other_process_to_write_into(probed):
    found = probed["found"]
    assert found["processes"] == ["1"] and found["me"] == 1
    assert found["filtered"] == "2" and int(found["capabilities"], 16) == 0
    assert found["its stderr"] == "/dev/null"
    assert found["pipes of the first process"] == 1  # where answers go


def test_memory_that_no_limit_counts_is_refused(probed):
    found = probed["found"]
    assert found["a terabyte of addresses"] == "ENOMEM" and found["addresses"] < 2e10
    assert found["memory that grows down"] == found["shared memory"] == "EPERM"
    assert found["fork"] == found["inotify"] == "EPERM" and found["terminal"] is False
    assert found["pipes"] <= 70e6


def test_only_folders_in_bounded_memory_can_be_written_to(probed):
    """The scratch, which is the temporary folder, and what programs take for one unasked."""
    writable = probed["found"]["writable folders"]
    assert {"/dev/shm", "/scratch", "/tmp"} <= set(writable)
    places = ("/scratch", "/tmp")
    assert all(path == "/dev/shm" or path.startswith(places) for path in writable), writable
    assert probed["found"]["temporary"] is True


def test_who_makes_files_without_end_is_ended(probed):
    assert probed["names"] == [
        "The program was ended in code cell 1: it made more than 3000 files."
    ]


def test_tables_of_pages_count_as_memory():
    memory, tasks, files = watch.usage(os.getpid())
    assert watch._page_tables(os.getpid()) > 0 and memory > watch._page_tables(os.getpid())
    assert tasks >= 1 and files == 0


# --- where bubblewrap is denied -----------------------------------------------------------------


def machine(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = folder / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


@pytest.mark.parametrize(
    ("files", "environment", "words"),
    [
        ({sandbox.APPARMOR: "1\n"}, {}, "/etc/apparmor.d/bwrap"),
        ({"/proc/sys/kernel/unprivileged_userns_clone": "0"}, {}, "unprivileged_userns_clone=1"),
        ({"/proc/sys/user/max_user_namespaces": "0"}, {}, "max_user_namespaces=15000"),
        ({}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "procMount Unmasked"),
        ({"/.dockerenv": ""}, {}, "systempaths=unconfined"),
        ({"/run/.containerenv": ""}, {}, "systempaths=unconfined"),
        ({sandbox.APPARMOR: "0\n"}, {}, "apt install bubblewrap"),
    ],
)
def test_a_refusal_says_what_to_do_on_this_kind_of_machine(tmp_path, files, environment, words):
    said = sandbox.remedy(machine(tmp_path, files), environment)
    assert words in said and "Where bubblewrap is denied" in said


def test_the_docs_say_it_too():
    text = (PROBE.parent.parent / "docs" / "grading.md").read_text()
    for words in ("### Where bubblewrap is denied", "/etc/apparmor.d/bwrap", "procMount: Unmasked"):
        assert words in text
