"""What all tests share."""

import os
import shutil
from pathlib import Path

import pytest

# One core a worker, said before torch is imported: the threads of several workers crowd each other
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def root() -> Path:
    """The course's folder."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def bubblewrap() -> str:
    """The program that submissions run in. It is never skipped: without it nothing would be tested."""
    path = shutil.which("bwrap")
    if path is None:
        pytest.fail("no bubblewrap here, in which submissions run (Debian: apt install bubblewrap)")
    return path


@pytest.fixture(scope="module")
def chromium():
    """A headless Chromium, driven by Playwright; skipped, with a reason, where there is none.

    The flags keep it from calling its maker, which a machine without internet answers with errors.
    For one module only: Playwright keeps an event loop running as long as it lives.
    """
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        pytest.skip("no Chromium here (Debian: apt install chromium)")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()
