"""A running hub with the shipped configuration, and learners who work on it."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import nbformat
import psutil
import pytest
import requests
import websocket

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "classroom")]
import classroom  # noqa: E402

LEARNERS = [f"tve-learner{number}" for number in range(1, 7)]
IDLE = 20  # seconds until an idle server or kernel ends, in the test


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def closed_above(path: Path) -> Path | None:
    """The topmost folder on the way to a path that other users may not enter."""
    for folder in reversed(path.parents):
        if not folder.stat().st_mode & 0o001:
            return folder
    return None


def reachable(paths: list[Path]) -> list[str]:
    """Shell lines that let other users reach these paths, in a mount namespace of their own.

    A course for several users stands on the machine's own Python in a folder that all may enter. On
    the machine of a test it often lies in root's home: there a view of the file system is made in
    which the way is open; the machine itself stays as it is.
    """
    lines = []
    for path in paths:
        closed = closed_above(path)
        if closed is not None and str(closed) not in "\n".join(lines):
            inside = [one for one in paths if one.is_relative_to(closed)]
            kept = [(one, f"$keep/{number}") for number, one in enumerate(inside)]
            lines.append("keep=$(mktemp -d)")
            lines += [f'mkdir "{to}"; mount --rbind "{one}" "{to}"' for one, to in kept]
            lines.append(f'mount -t tmpfs -o mode=755 tmpfs "{closed}"')
            lines += [f'mkdir -p "{one}"; mount --rbind "{to}" "{one}"' for one, to in kept]
    return lines


class Hub:
    """The hub's process and its REST API."""

    def __init__(self, folder: Path):
        port, hub_port, proxy_port = free_ports(3)
        self.url, self.password = f"http://127.0.0.1:{port}", secrets.token_hex(8)
        self.token, self.log = secrets.token_hex(16), folder / "hub.log"
        config = folder / "config.py"
        config.write_text(
            f"CONFIG = {str(classroom.CONFIG)!r}\n"
            "load_subconfig(CONFIG)\n"
            "c.JupyterHub.services = [*c.JupyterHub.services,"
            f" {{'name': 'test', 'api_token': {self.token!r}}}]\n"
            "c.JupyterHub.load_roles = [*c.JupyterHub.load_roles, {'name': 'test', 'services': "
            "['test'],"
            " 'scopes': ['admin:users', 'admin:servers', 'tokens', 'access:servers']}]\n"
        )
        env = classroom.environment() | {
            "CLASSROOM_URL": self.url,
            "CLASSROOM_PASSWORD": self.password,
            "CLASSROOM_HUB_PORT": str(hub_port),
            "CLASSROOM_PROXY": f"http://127.0.0.1:{proxy_port}",
            "CLASSROOM_STATE": str(folder / "state"),
            "CLASSROOM_HOMES": str(folder / "homes"),
            "CLASSROOM_IDLE_SECONDS": "3600",
            "CLASSROOM_MEMORY": "1500M",
        }
        call = [sys.executable, "-m", "jupyterhub", f"--config={config}"]
        if os.geteuid() == 0:
            lines = reachable([Path(sys.base_prefix).resolve(), ROOT])
            call = [
                "unshare",
                "--mount",
                "sh",
                "-ec",
                "\n".join([*lines, 'exec "$@"']),
                "sh",
                *call,
            ]
        self.process = subprocess.Popen(
            call, cwd=folder, env=env, stdout=self.log.open("w"), stderr=subprocess.STDOUT
        )
        self.wait(lambda: requests.get(f"{self.url}/hub/health", timeout=5).ok, 120)

    def wait(self, question, seconds: float):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()[-4000:]
            with contextlib.suppress(requests.RequestException, OSError):
                if answer := question():
                    return answer
            time.sleep(0.5)
        raise AssertionError("no answer in time\n" + self.log.read_text()[-4000:])

    def api(self, method: str, path: str, **how) -> requests.Response:
        head = {"Authorization": f"token {self.token}"}
        return requests.request(
            method, f"{self.url}/hub/api{path}", headers=head, timeout=60, **how
        )

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        self.process.kill()


class Learner:
    """One who logs in by the form, starts a server and runs code in a kernel."""

    def __init__(self, hub: Hub, name: str):
        self.hub, self.name = hub, name
        self.base = f"{hub.url}/user/{name}"

    def log_in(self) -> None:
        session = requests.Session()
        session.get(f"{self.hub.url}/hub/login", timeout=30)
        form = {"username": self.name, "password": self.hub.password}
        form["_xsrf"] = session.cookies.get("_xsrf", path="/hub/") or session.cookies.get("_xsrf")
        answer = session.post(f"{self.hub.url}/hub/login?next=/hub/home", data=form, timeout=30)
        assert answer.ok and "/hub/home" in answer.url, answer.url
        self.head = {"Authorization": f"token {self.hub.token}"}

    def ask_for_a_server(self) -> int:
        return self.hub.api("POST", f"/users/{self.name}/server").status_code

    def wait_for_the_server(self) -> None:
        url = f"{self.base}/api/status"
        self.hub.wait(lambda: requests.get(url, headers=self.head, timeout=5).ok, 240)

    def start_kernel(self) -> None:
        made = requests.post(f"{self.base}/api/kernels", headers=self.head, json={}, timeout=120)
        assert made.status_code == 201, made.text
        self.kernel = made.json()["id"]

    def channels(self, seconds: float):
        """A connection to the kernel. One that nobody reads is closed by the server: one a cell."""
        address = f"{self.base.replace('http', 'ws')}/api/kernels/{self.kernel}/channels"
        head = [f"Authorization: token {self.hub.token}"]
        return contextlib.closing(websocket.create_connection(address, seconds, header=head))

    def run(self, code: str, seconds: float = 240) -> str:
        """What a cell prints; "ERROR ..." if it raised, "DIED" if the kernel did."""
        ask = uuid.uuid4().hex
        header = {"msg_id": ask, "username": self.name, "session": ask, "version": "5.3"}
        header |= {"msg_type": "execute_request", "date": "2026-01-01T00:00:00Z"}
        content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
        with self.channels(seconds) as channels:
            channels.send(json.dumps(message | {"channel": "shell", "buffers": []}))
            return self._said(channels, ask)

    def _said(self, channels, ask: str) -> str:
        said = ""
        while True:
            got = json.loads(channels.recv())
            kind, content = got["msg_type"], got["content"]
            if kind == "status" and content["execution_state"] in ("restarting", "dead"):
                return "DIED"
            if got["parent_header"].get("msg_id") != ask:
                continue
            if kind == "stream":
                said += content["text"]
            elif kind == "error":
                said += f"ERROR {content['ename']}: {content['evalue']}"
            elif kind == "status" and content["execution_state"] == "idle":
                return said

    def memory(self) -> int:
        """PSS of the server and all that it started, in bytes."""
        for process in psutil.process_iter(["cmdline", "environ"]):
            environ = process.info["environ"] or {}
            alone = "jupyterhub.singleuser" in (process.info["cmdline"] or ())
            if alone and environ.get("JUPYTERHUB_USER") == self.name:
                family = [process, *process.children(recursive=True)]
                return sum(one.memory_full_info().pss for one in family)
        raise AssertionError(f"no server of {self.name}")


@pytest.fixture(scope="session")
def unix_users():
    """Real users of this machine, made for the test and removed again; as root only."""
    if os.geteuid() != 0:
        yield False
        return
    for name in LEARNERS:
        subprocess.run(["userdel", "-rf", name], capture_output=True)
        subprocess.run(["useradd", "--create-home", "--shell", "/bin/bash", name], check=True)
        Path(f"/home/{name}").chmod(0o700)
    yield True
    for name in LEARNERS:
        subprocess.run(["pkill", "-KILL", "-u", name])
        subprocess.run(["userdel", "-rf", name], capture_output=True)


@pytest.fixture(scope="session")
def hub(tmp_path_factory, unix_users):
    folder = tmp_path_factory.mktemp("hub")
    for part in [folder, *folder.parents]:
        if part.owner() != "root" or str(part) in ("/", "/tmp"):
            break
        part.chmod(0o711)
    modes = {name: (ROOT / name).stat().st_mode for name in ("solutions", "tests", ".git")}
    hub = Hub(folder)
    yield hub
    hub.stop()
    for name, mode in modes.items():
        (ROOT / name).chmod(mode)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def learners(hub):
    """Six learners who come at once, each with a kernel."""
    found = [Learner(hub, name) for name in LEARNERS]
    for one in found:
        one.log_in()
    answers = [one.ask_for_a_server() for one in found]
    assert set(answers) <= {201, 202}, answers
    for one in found:
        one.wait_for_the_server()
        one.start_kernel()
    return found


def first_cells(lecture: str, count: int) -> list[str]:
    path = next((ROOT / "lectures").glob(f"{lecture}*.ipynb"))
    cells = nbformat.read(path, 4).cells
    return [cell.source for cell in cells if cell.cell_type == "code"][:count]
