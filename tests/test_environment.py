"""The check of the learner's machine: `ok`, or what to do."""

import json
import math
import subprocess
import sys
from collections import namedtuple
from dataclasses import replace

import pytest

from course_utils import environment, load_photo
from course_utils.environment import Trouble
from course_utils.networks import classifiers


def test_this_machine_is_ready(capsys):
    """But for its free disk and memory, which say nothing about the course."""
    checks = {name: check for name, check in environment.CHECKS.items() if name != "room"}
    assert environment.main(checks) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(environment.CHECKS)
    assert all(line.startswith("ok ") for line in lines[:-1])


def test_trouble_is_told_and_the_other_checks_go_on(capsys):
    def broken():
        raise KeyError("unforeseen")

    def missing():
        raise Trouble("install it")

    assert environment.main({"a": broken, "b": missing, "c": lambda: "fine"}) == 1
    out = capsys.readouterr().out
    assert "KeyError: 'unforeseen'" in out and "TO DO  b" in out and "install it" in out
    assert "ok     c" in out and "To do: 2." in out


def test_an_old_python_is_told(monkeypatch):
    monkeypatch.setattr("platform.python_version", lambda: "3.10.9")
    with pytest.raises(Trouble, match=r"this is 3\.10\.9, the course needs >=3\.11"):
        environment.python_version()


def test_a_version_out_of_range_is_told_with_the_command_that_mends_it(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.13.0")
    with pytest.raises(Trouble, match=r"this is 1\.13\.0: pip install 'torch.*>=2"):
        environment.version("torch")


def test_a_local_version_of_torch_counts_as_its_release(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.14.1+cpu")
    assert environment.version("torch") == "2.14.1+cpu"


def test_a_missing_package_is_told(monkeypatch):
    wanted = environment.Requirement("no-such-package>=1")
    monkeypatch.setattr(environment, "requirements", lambda: {"no-such-package": wanted})
    with pytest.raises(Trouble, match="no-such-package: it is not installed"):
        environment.other_packages()


def test_damaged_weights_are_told(monkeypatch):
    entry = replace(classifiers.OFFLINE["efficientnet_lite0"], sha256="0" * 64)
    monkeypatch.setitem(classifiers.OFFLINE, "efficientnet_lite0", entry)
    with pytest.raises(Trouble, match="efficientnet-lite0-57934424.pth is damaged"):
        environment.weights("efficientnet_lite0")


def test_a_network_that_sees_no_cat_is_told(monkeypatch):
    monkeypatch.setattr("course_utils.load_photo", lambda name: load_photo("coffee"))
    with pytest.raises(Trouble, match="the photo of a cat is called 'espresso'"):
        environment.forward_pass()


def test_a_jupyterlab_without_widgets_is_told(monkeypatch):
    monkeypatch.setattr("jupyter_core.paths.jupyter_path", lambda *_: [])
    with pytest.raises(Trouble, match="JupyterLab lacks its widgets"):
        environment.widget()


def test_a_kernel_of_another_python_is_told(monkeypatch, tmp_path):
    folder = tmp_path / "kernels" / "python3"
    folder.mkdir(parents=True)
    spec = {"argv": ["/opt/other/bin/python", "-m", "ipykernel"], "display_name": "x"}
    (folder / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    with pytest.raises(Trouble, match="it runs /opt/other/bin/python"):
        environment.kernel()


def free_disk(monkeypatch, free):
    """Whatever the disk of this machine has."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**12, 10**12 - free, free))


def test_a_full_disk_is_told(monkeypatch):
    free_disk(monkeypatch, 10**8)
    with pytest.raises(Trouble, match="0.1 GB of disk are free"):
        environment.room()


def test_enough_room_is_told(monkeypatch):
    free_disk(monkeypatch, 10**10)
    memory = namedtuple("memory", "available")
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory(4 * 10**9))
    monkeypatch.setattr(environment, "container_memory", lambda: math.inf)
    assert environment.room() == "10 GB of disk and 4 GB of memory are free"


def test_too_little_memory_is_told(monkeypatch):
    free_disk(monkeypatch, 10**10)
    memory = namedtuple("memory", "available")
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory(10**9))
    with pytest.raises(Trouble, match="1.0 GB of memory are free.*close other programs"):
        environment.room()


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({"memory.max": "1000", "memory.current": "300"}, 700),
        ({"memory.max": "max", "memory.current": "300"}, math.inf),
        ({"memory/memory.limit_in_bytes": "900", "memory/memory.usage_in_bytes": "200"}, 700),
        (
            {"memory/memory.limit_in_bytes": str(2**63), "memory/memory.usage_in_bytes": "2"},
            math.inf,
        ),
        ({}, math.inf),
    ],
)
def test_the_memory_that_a_container_leaves_is_read(tmp_path, files, left):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert environment.container_memory(tmp_path) == left


def test_a_containers_limit_counts_also_where_the_machine_has_more(monkeypatch):
    free_disk(monkeypatch, 10**10)
    monkeypatch.setattr(environment, "container_memory", lambda: 1e9)
    with pytest.raises(Trouble, match="1.0 GB of memory are free"):
        environment.room()


def test_an_import_of_torch_that_was_interrupted_is_told_in_a_sentence():
    """Ctrl-C while torch is imported leaves half of it behind, and no second import mends that."""
    code = (
        "import sys, types\n"
        "sys.modules['torch'] = types.ModuleType('torch')  # what is left: a module with nothing "
        "in it\n"
        "import course_utils"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Restart the kernel" in result.stderr.splitlines()[-1]
