"""A class on a JupyterHub with the shipped configuration: six learners, one machine (`make
test-classroom`).
"""

import os

import psutil
import pytest
import requests
from conftest import LEARNERS, ROOT, first_cells

pytestmark = pytest.mark.timeout(900)  # six learners on two cores, perhaps busy ones
MEGA = 1e6


def test_six_who_come_at_once_run_the_first_cells_of_two_lectures(learners):
    for one in learners:
        for lecture in ("01", "04"):
            for source in first_cells(lecture, 3):
                assert "ERROR" not in (said := one.run(source)), f"{one.name}: {said}"


def test_each_of_them_takes_less_than_900_mb(learners):
    sizes = {one.name: one.memory() / MEGA for one in learners}
    print({name: round(size) for name, size in sizes.items()})
    assert max(sizes.values()) < 900


def test_a_learner_finds_a_copy_of_lectures_and_exercises_and_no_solutions(learners):
    said = learners[0].run("import os; print(sorted(os.listdir(os.path.expanduser('~/course'))))")
    assert said.strip() == "['exercises', 'lectures']"


def test_no_notebook_counts_as_changed_when_it_is_opened(learners):
    """JupyterLab would write the kernel's words into it, were they not there already."""
    one = learners[0]
    url = f"{one.base}/api/contents/course/lectures/06_takeaways.ipynb"
    opened = requests.get(url, headers=one.head, timeout=60).json()["content"]["metadata"]
    assert opened["language_info"]["nbconvert_exporter"] == "python"


def test_a_changed_copy_is_not_handed_out_anew(learners):
    one = learners[0]
    note = "os.path.expanduser('~/course/lectures/README.md')"
    one.run(f"import os; open({note}, 'w').write('mine')")
    from hand_out import COPY, GIVEN

    said = one.run(
        f"import sys; sys.argv = ['', {str(ROOT)!r}, os.path.expanduser('~')]\n"
        + COPY.format(given=GIVEN)
        + f"\nprint(open({note}).read())"
    )
    assert said.strip() == "mine"


@pytest.mark.skipif(os.geteuid() != 0, reason="not tested here: only root can make users")
class TestWalls:
    @pytest.mark.parametrize(
        "path", ["course_utils/__init__.py", "lectures/notation.md", "new.txt"]
    )
    def test_nobody_writes_into_the_course(self, learners, path):
        assert "ERROR PermissionError" in learners[1].run(f"open({str(ROOT / path)!r}, 'a')")

    def test_nobody_reads_the_solutions(self, learners):
        code = f"import os; os.listdir({str(ROOT / 'solutions')!r})"
        assert "ERROR PermissionError" in learners[1].run(code)

    def test_nobody_reads_anothers_home(self, learners):
        code = f"import os; os.listdir('/home/{LEARNERS[0]}')"
        assert "ERROR PermissionError" in learners[1].run(code)


def test_one_that_takes_too_much_memory_is_ended_alone(learners):
    hungry, others = learners[2], learners[3:]
    for one in others:
        one.run("kept = 7")
    assert hungry.run("import torch; taken = [torch.ones(2**28) for _ in range(4)]") == "DIED"
    assert [one.run("print(kept)").strip() for one in others] == ["7"] * len(others)
    assert hungry.hub.process.poll() is None


def test_the_hubs_own_services_run(hub):
    words = [" ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"])]
    assert any("jupyterhub_idle_culler --timeout=3600" in line for line in words)
    assert any("watch_memory.py --limit 1500M" in line for line in words)


def test_no_server_is_handed_a_setting_of_malloc(learners):
    said = learners[0].run("import os; print([k for k in os.environ if k.startswith('MALLOC')])")
    assert said.strip() == "[]"
    assert learners[0].run("import os; print(os.environ['OMP_NUM_THREADS'])").strip() == "2"


def test_an_idle_server_is_ended(hub, learners):
    """The culler that the configuration starts, with a short time in place of an hour."""
    import subprocess
    import sys

    import classroom

    idle = learners[5]
    call = [sys.executable, "-m", "jupyterhub_idle_culler", f"--url={hub.url}/hub/api"]
    call += ["--timeout=1", "--cull-every=1"]
    env = os.environ | {"PYTHONPATH": str(classroom.EXTRAS), "JUPYTERHUB_API_TOKEN": hub.token}
    culler = subprocess.Popen(call, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        hub.wait(lambda: not hub.api("GET", f"/users/{idle.name}").json()["servers"], 60)
    finally:
        culler.kill()
