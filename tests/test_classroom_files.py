"""What the classroom's files promise, as far as a machine without Docker and Kubernetes can
tell.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
CLASSROOM = ROOT / "classroom"
sys.path.insert(0, str(CLASSROOM))
import hand_out  # noqa: E402
import watch_memory  # noqa: E402

# The keys of The Littlest JupyterHub's config.yaml: it ignores others in silence
TLJH = {
    "base_url": None,
    "users": {"admin", "allowed", "banned", "extra_user_groups"},
    "limits": {"memory", "cpu"},
    "http": {"address", "port"},
    "https": {"enabled", "address", "port", "tls", "letsencrypt"},
    "services": {"cull"},
    "user_environment": {"default_app"},
    "traefik_api": None,
}
# The chart's keys that the course sets, with their types (Zero to JupyterHub's schema)
Z2JH = {
    "singleuser.image.name": str,
    "singleuser.image.tag": str,
    "singleuser.cmd": list,
    "singleuser.defaultUrl": str,
    "singleuser.memory.limit": str,
    "singleuser.memory.guarantee": str,
    "singleuser.cpu.limit": (int, float),
    "singleuser.cpu.guarantee": (int, float),
    "singleuser.startTimeout": int,
    "singleuser.extraEnv.OMP_NUM_THREADS": str,
    "singleuser.extraEnv.PYTHONPATH": str,
    "singleuser.lifecycleHooks.postStart.exec.command": list,
    "singleuser.storage.capacity": str,
    "hub.concurrentSpawnLimit": int,
    "hub.activeServerLimit": int,
    "cull.enabled": bool,
    "cull.timeout": int,
    "cull.every": int,
    "scheduling.userScheduler.enabled": bool,
    "scheduling.podPriority.enabled": bool,
    "scheduling.userPlaceholder.enabled": bool,
    "scheduling.userPlaceholder.replicas": int,
    "prePuller.continuous.enabled": bool,
}


def leaves(tree: dict, path: str = "") -> dict:
    found = {}
    for key, value in tree.items():
        here = f"{path}.{key}".strip(".")
        found |= leaves(value, here) if isinstance(value, dict) else {here: value}
    return found


def test_the_littlest_hub_knows_every_key_of_its_file():
    config = yaml.safe_load((CLASSROOM / "tljh.yaml").read_text())
    for section, values in config.items():
        assert section in TLJH and set(values) <= TLJH[section], section
    assert config["limits"] == {"memory": "2G", "cpu": 2}


def test_the_chart_knows_every_key_of_its_values():
    values = leaves(yaml.safe_load((CLASSROOM / "z2jh-values.yaml").read_text()))
    assert set(values) == set(Z2JH)
    assert not [key for key, value in values.items() if not isinstance(value, Z2JH[key])]


@pytest.mark.parametrize("file", ["jupyterhub_config.py", "tljh_course.py", "z2jh-values.yaml"])
def test_all_three_ways_set_the_same_threads_and_memory(file):
    text = (CLASSROOM / file).read_text()
    assert re.search(r'OMP_NUM_THREADS"?: "2"', text)
    assert "2G" in text or file == "tljh_course.py"  # that one's limit stands in tljh.yaml
    assert not re.search(r'"MALLOC', text)


@pytest.mark.parametrize(
    "file",
    ["classroom/jupyterhub_config.py", "classroom/tljh_course.py", "Dockerfile", ".binder/start"],
)
def test_everywhere_jupyterlab_starts_with_the_settings_of_make_lab(file):
    set_there = r'JUPYTER_CONFIG_PATH"?[=:] ?.*tools"?( / "|/)jupyter'
    assert re.search(set_there, (ROOT / file).read_text())


def test_the_image_runs_as_an_ordinary_user_and_tells_whether_it_is_well():
    lines = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"^USER (\S+)", lines, re.MULTILINE)[-1] == "1000"
    assert re.search(r"^FROM python:3\.\d+-slim", lines, re.MULTILINE)
    assert "HEALTHCHECK" in lines and "TORCH=cpu" in lines and "bubblewrap" in lines
    copied = set(re.findall(r"^COPY (\S+) \S+$", lines, re.MULTILINE))
    assert not copied & {"solutions", "tests", "."}  # the image is what learners get
    assert all((ROOT / name).exists() for name in copied)


def test_binder_takes_a_python_that_it_understands_and_the_locked_set():
    binder = yaml.safe_load((ROOT / ".binder" / "environment.yml").read_text())
    python, _, by_pip = binder["dependencies"]
    assert re.fullmatch(r"python=3\.\d+", python)
    assert by_pip["pip"][-2:] == ["-r ../requirements.lock", "-e .."]


def test_the_dev_container_is_that_image():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert container["build"] == {"dockerfile": "../Dockerfile", "context": ".."}
    assert container["remoteUser"] == "learner" and container["forwardPorts"] == [8888]


def test_a_learners_copy_is_made_once_and_never_written_over(tmp_path):
    course, home = tmp_path / "course", tmp_path / "home"
    for name in ("lectures/01.ipynb", "exercises/ex01/ex01.ipynb", "solutions/ex01/ex01.ipynb"):
        (course / name).parent.mkdir(parents=True)
        (course / name).write_text("new")
    (home / "course" / "lectures").mkdir(parents=True)
    (home / "course" / "lectures" / "01.ipynb").write_text("mine")
    code = hand_out.COPY.format(given=hand_out.GIVEN)
    subprocess.run([sys.executable, "-I", "-c", code, course, home], check=True)
    made = {p.relative_to(home).as_posix(): p.read_text() for p in home.rglob("*.ipynb")}
    assert made == {
        "course/lectures/01.ipynb": "mine",
        "course/exercises/ex01/ex01.ipynb": "new",
    }


def test_what_is_closed_to_learners_is_closed(tmp_path):
    for name in ("solutions", "lectures"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o755)  # whatever the umask
    assert hand_out.close_to_learners(tmp_path) == ["solutions"]
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes["solutions"] == 0o700 and modes["lectures"] & 0o005


@pytest.mark.parametrize(("text", "size"), [("2G", 2**31), ("1500m", 1500 * 2**20), ("77", 77)])
def test_sizes_are_read_as_the_hub_reads_them(text, size):
    assert watch_memory.number_of_bytes(text) == size


def test_the_page_names_files_that_are_there():
    text = (CLASSROOM / "README.md").read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert links and all((CLASSROOM / link).exists() for link in links)
