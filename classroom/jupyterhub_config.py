"""JupyterHub for a classroom: one configuration for the trial (`make classroom`) and for one
server.

    CLASSROOM_PASSWORD     the trial: everybody logs in with this password, under any name
    CLASSROOM_HOMES        where the trial keeps learners' files when it does not run as root

As root the servers run as the machine's own users, who log in with their own passwords (PAM).
Otherwise, for a trial, they all run as you: then nobody is kept from anybody's files.
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from hand_out import close_to_learners, hand_out  # noqa: E402

c = get_config()  # noqa: F821  (JupyterHub defines it when it reads this file)
COURSE = HERE.parent
PYTHON = str(COURSE / ".venv" / "bin" / "python")
EXTRAS = str(COURSE / ".extras" / "classroom")
AS_ROOT = os.geteuid() == 0
IDLE = int(os.environ.get("CLASSROOM_IDLE_SECONDS", 3600))

# --- what a learner gets: measured at work 0.78 GB, at a lecture's end 0.95 GB --------------------
c.Spawner.mem_limit = os.environ.get("CLASSROOM_MEMORY", "2G")
c.Spawner.mem_guarantee = "1G"
c.Spawner.cpu_limit = 2
c.Spawner.environment = {
    "OMP_NUM_THREADS": "2",  # as many as the CPU limit: more would only wait for each other
    "PYTHONPATH": EXTRAS,  # jupyterhub lies beside the course's environment
    "JUPYTER_PREFER_ENV_PATH": "1",  # the course's kernel, not one of the learner's home
    "JUPYTER_CONFIG_PATH": str(COURSE / "tools" / "jupyter"),  # as in `make lab`
}
# No MALLOC_*: on a laptop they save time, on a shared server they cost 117 MB a learner
c.Spawner.env_keep = ["PATH", "LANG", "LC_ALL", "COURSE_PHOTOS", "LD_LIBRARY_PATH"]
c.Spawner.cmd = [PYTHON, "-m", "jupyterhub.singleuser"]
c.Spawner.args = [
    f"--MappingKernelManager.cull_idle_timeout={IDLE}",  # a forgotten kernel holds 0.7 GB
    f"--MappingKernelManager.cull_interval={max(1, IDLE // 10)}",
    "--MappingKernelManager.cull_connected=True",
    "--LabApp.news_url=None",
]
c.Spawner.default_url = "/lab/tree/course/lectures/01_targeted_explanations.ipynb"
c.Spawner.pre_spawn_hook = lambda spawner: hand_out(COURSE, spawner)

# --- a whole class comes at once ------------------------------------------------------------------
c.JupyterHub.concurrent_spawn_limit = 0  # nobody is refused; they start as the machine can
c.JupyterHub.active_server_limit = 0
c.Spawner.start_timeout = 300
c.Spawner.http_timeout = 300

# --- idle servers end, and one that takes too much memory ends alone ------------------------------
CULL = ["-m", "jupyterhub_idle_culler", f"--timeout={IDLE}", f"--cull-every={max(1, IDLE // 10)}"]
WATCH = [str(HERE / "watch_memory.py"), "--limit", str(c.Spawner.mem_limit)]
c.JupyterHub.services = [
    {"name": "cull", "command": [PYTHON, *CULL], "environment": {"PYTHONPATH": EXTRAS}},
    {"name": "memory", "command": [PYTHON, *WATCH]},
]
c.JupyterHub.load_roles = [
    {
        "name": "cull",
        "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
        "services": ["cull"],
    }
]

# --- who may come, and as whom --------------------------------------------------------------------
if AS_ROOT:
    c.JupyterHub.spawner_class = "jupyterhub.spawner.LocalProcessSpawner"
    closed = close_to_learners(COURSE)
    print(f"Closed to learners: {', '.join(closed)}.", flush=True)
else:
    c.JupyterHub.spawner_class = "jupyterhub.spawner.SimpleLocalProcessSpawner"
    homes = os.environ.get("CLASSROOM_HOMES", str(COURSE / ".classroom" / "homes"))
    c.SimpleLocalProcessSpawner.home_dir_template = homes + "/{username}"
    print("A trial: all servers run as you, so nobody is kept from anybody's files.", flush=True)
if password := os.environ.get("CLASSROOM_PASSWORD"):
    c.JupyterHub.authenticator_class = "dummy"
    c.DummyAuthenticator.password = password
c.Authenticator.allow_all = True
c.Authenticator.admin_users = set(filter(None, os.environ.get("CLASSROOM_ADMINS", "").split(",")))

# --- where it runs --------------------------------------------------------------------------------
state = Path(os.environ.get("CLASSROOM_STATE", COURSE / ".classroom"))
state.mkdir(parents=True, exist_ok=True, mode=0o700)
c.JupyterHub.bind_url = os.environ.get("CLASSROOM_URL", "http://127.0.0.1:8000")
c.JupyterHub.hub_port = int(os.environ.get("CLASSROOM_HUB_PORT", 8081))
c.ConfigurableHTTPProxy.api_url = os.environ.get("CLASSROOM_PROXY", "http://127.0.0.1:8001")
c.JupyterHub.db_url = f"sqlite:///{state / 'hub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(state / "cookie_secret")
c.ConfigurableHTTPProxy.pid_file = str(state / "proxy.pid")
proxy = COURSE / ".extras" / "classroom-proxy" / "node_modules" / ".bin" / "configurable-http-proxy"
if proxy.exists():
    c.ConfigurableHTTPProxy.command = [str(proxy)]
