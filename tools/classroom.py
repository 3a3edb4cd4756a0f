"""A JupyterHub on this machine, with the configuration that a classroom uses (`make classroom`).

python tools/classroom.py             start it, for a trial
python tools/classroom.py --prepare   only fetch its proxy, which comes from npm
"""

import argparse
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ROOT / ".extras" / "classroom"
PROXY = ROOT / ".extras" / "classroom-proxy"
PROXY_VERSION = "5.3.0"
CONFIG = ROOT / "classroom" / "jupyterhub_config.py"


def proxy() -> Path:
    """The hub's proxy, fetched once.

    Raises:
        SystemExit: there is no npm, or it could not fetch it.
    """
    program = PROXY / "node_modules" / ".bin" / "configurable-http-proxy"
    if program.exists():
        return program
    if (npm := shutil.which("npm")) is None:
        sys.exit("JupyterHub's proxy comes from npm, which is not here (Debian: apt install npm).")
    print("Fetching the hub's proxy from npm.", flush=True)
    quiet = ["--silent", "--no-fund", "--no-audit"]
    wanted = f"configurable-http-proxy@{PROXY_VERSION}"
    if subprocess.call([npm, "install", *quiet, "--prefix", str(PROXY), wanted]):
        sys.exit("npm could not fetch configurable-http-proxy (network?). Run this again.")
    return program


def environment() -> dict[str, str]:
    """What the hub runs in: jupyterhub beside the course's environment; a password for the
    trial.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    kept["PYTHONPATH"] = str(EXTRAS)
    kept.setdefault("CLASSROOM_PASSWORD", secrets.token_urlsafe(6))
    return kept


def command(*more: str) -> list[str]:
    return [sys.executable, "-m", "jupyterhub", f"--config={CONFIG}", *more]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prepare", action="store_true")
    options, more = parser.parse_known_args()
    proxy()
    if options.prepare:
        return
    env = environment()
    users = "a user of this machine" if os.geteuid() == 0 else "any name"
    address = env.get("CLASSROOM_URL", "http://127.0.0.1:8000")
    print(f"A trial hub: {address}. Log in as {users}, password {env['CLASSROOM_PASSWORD']}.")
    print("Ctrl-C stops it. For real use, and for more machines: classroom/README.md", flush=True)
    os.execve(sys.executable, command(*more), env)


if __name__ == "__main__":
    main()
