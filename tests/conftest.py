"""What all tests share."""

import fcntl
import gc
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import system_programs

# One core a worker, said before torch is imported: the threads of several workers crowd each other
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A machine behind a proxy: what listens on this machine itself is asked directly
for name in ("NO_PROXY", "no_proxy"):
    os.environ[name] = ",".join(filter(None, ["127.0.0.1,localhost", os.environ.get(name)]))

# jsonschema builds a grammar with it, for two seconds, to check addresses that no notebook has
sys.modules.setdefault("rfc3987_syntax", None)

gc.disable()  # until all tests are collected

NOT_TESTED = "not tested here: "
AXE = ".extras/axe/axe_playwright_python/axe.min.js"


def pytest_collection_modifyitems(items):
    """The lectures first: a worker that begins one last lets the others wait for a minute."""
    items.sort(key=lambda item: item.path.name != "test_notebooks.py")


def pytest_collection_finish():
    """What was imported stays: nobody need look through a million objects for garbage again and
    again.
    """
    gc.enable()
    gc.freeze()


@pytest.fixture(scope="session")
def root() -> Path:
    """The course's folder."""
    return Path(__file__).resolve().parent.parent


def needed(program: str) -> str:
    """Where a system program lies. Without it the test is skipped; in CI (CI=true) it fails."""
    trouble = system_programs.trouble_with(program)
    if trouble and os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(trouble)
    if trouble:
        pytest.skip(NOT_TESTED + trouble)
    return system_programs.path_of(program)


def pytest_terminal_summary(terminalreporter):
    """The run says at its end what it could not test, once for each reason."""
    reasons = Counter(
        str(report.longrepr[2]).split(NOT_TESTED)[1]
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple) and NOT_TESTED in str(report.longrepr[2])
    )
    for reason, count in reasons.items():
        terminalreporter.write_line(f"NOT TESTED: {count} tests, {reason}", yellow=True)


LOOPBACK = """
import fcntl, os, socket, struct, sys
with socket.socket() as one:  # a new network has its own loopback, which is down: kernels need it
    fcntl.ioctl(one, 0x8914, struct.pack("16sh", b"lo", 1))
os.execvp(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture(scope="session")
def network_cut() -> list[str]:
    """What stands before a command that is to run with no network but the loopback."""
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    call = ["unshare", "--net", *as_root, sys.executable, "-c", LOOPBACK]
    try:
        subprocess.run([*call, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"{NOT_TESTED}this machine lets nobody cut the network ({error})")
    return call


@pytest.fixture(scope="session")
def bubblewrap() -> str:
    """The program that submissions run in."""
    return needed("bubblewrap")


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """once(name, make): what `make(folder)` returns (JSON's types), made by one of xdist's workers.

    The others wait for it: a long preparation is not made twice.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def made(name: str, make):
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            done = shared / f"{name}.json"
            if not done.exists():
                (shared / name).mkdir()  # fails where the first one failed: it said why
                done.write_text(json.dumps(make(shared / name)))
        return json.loads(done.read_text())

    return made


@pytest.fixture(scope="module")
def chromium():
    """A headless Chromium, driven by Playwright.

    The flags keep it from calling its maker, which a machine without internet answers with errors.
    For one module only: Playwright keeps an event loop running as long as it lives.
    """
    from playwright.sync_api import sync_playwright

    path = needed("chromium")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe(root):
    """What axe-core finds on an open page: (rule, an element) for each violation.

    axe(view, ".panel") looks inside of what that selector finds only.
    """
    script = (root / AXE).read_text(encoding="utf-8")

    def run(view, within="html"):
        view.evaluate(script)
        call = "within => axe.run(within, {resultTypes: ['violations']})"
        found = view.evaluate(call, within)["violations"]
        return [(rule["id"], node["html"][:150]) for rule in found for node in rule["nodes"]]

    return run


@pytest.fixture(autouse=True)
def threads_as_before():
    """A program that a test runs in this process may ask for two threads; the next tests keep
    theirs.
    """
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 0
    yield
    if before:
        torch.set_num_threads(before)
