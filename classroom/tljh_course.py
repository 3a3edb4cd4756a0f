"""For /opt/tljh/config/jupyterhub_config.d/: the course on The Littlest JupyterHub.

The course lies in /srv/targeted-visual-explanations, set up there once as root with the machine's
own Python (`PYTHON=/usr/bin/python3 make setup`) and shared read-only.
"""

import sys
from pathlib import Path

COURSE = Path("/srv/targeted-visual-explanations")
sys.path.insert(0, str(COURSE / "classroom"))
from hand_out import close_to_learners, hand_out  # noqa: E402

c = get_config()  # noqa: F821  (The Littlest JupyterHub defines it)
c.Spawner.environment = {
    "OMP_NUM_THREADS": "2",
    "JUPYTER_PREFER_ENV_PATH": "1",
    "JUPYTER_CONFIG_PATH": str(COURSE / "tools" / "jupyter"),  # as in `make lab`
}
c.Spawner.mem_guarantee = "1G"
c.Spawner.cmd = [str(COURSE / ".venv" / "bin" / "python"), "-m", "jupyterhub.singleuser"]
c.Spawner.environment["PYTHONPATH"] = str(COURSE / ".extras" / "classroom")
c.Spawner.args = [
    "--MappingKernelManager.cull_idle_timeout=3600",
    "--MappingKernelManager.cull_interval=360",
    "--MappingKernelManager.cull_connected=True",
    "--LabApp.news_url=None",
]
c.Spawner.default_url = "/lab/tree/course/lectures/01_targeted_explanations.ipynb"
c.Spawner.start_timeout = c.Spawner.http_timeout = 300
c.JupyterHub.concurrent_spawn_limit = 0
close_to_learners(COURSE)


def _hand_out(spawner):
    hand_out(COURSE, spawner)


c.Spawner.pre_spawn_hook = _hand_out
