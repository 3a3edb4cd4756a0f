"""Programs that are no Python packages and that some tests need: bubblewrap and Chromium.

    python3 tools/system_programs.py        install what is missing, where that asks nobody anything

As root with a known package manager they are installed (SYSTEM=no forbids it). Elsewhere nothing is
done but said: the tests that need them are skipped with a reason, and the run names at its end what
was not tested. In CI (CI=true) a missing program is a failure of those tests. Standard library
only.
"""

import os
import shutil
import subprocess
import sys

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PROGRAMS = {"bubblewrap": ("bwrap",), "chromium": CHROMIUM}
PURPOSE = {
    "bubblewrap": "the sandbox of `make grade`",
    "chromium": "a browser for pages and widgets",
}
# Each brings both under these names: what it runs first, how it installs, what makes it ask nothing
MANAGERS = {
    "apt-get": (["update", "-qq"], ["install"], ["-y", "-qq", "--no-install-recommends"]),
    "dnf": ([], ["install"], ["-y", "-q"]),
    "zypper": ([], ["install"], ["--no-confirm"]),
    "apk": ([], ["add"], ["-q"]),
    "pacman": ([], ["-Sy"], ["--noconfirm", "--needed"]),
}


def path_of(program):
    """Where a program lies; None if it is not here."""
    return next(filter(None, map(shutil.which, PROGRAMS[program])), None)


def trouble_with(program):
    """Why tests cannot use a program here, in one line that says how to get it; "" if they can."""
    path = path_of(program)
    if path is None:
        return "no %s here, %s: %s" % (program, PURPOSE[program], how_to_get(program))
    if program == "bubblewrap":
        call = [path, "--ro-bind", "/", "/", "--unshare-all", "--dev", "/dev", "--proc", "/proc"]
        try:
            tried = subprocess.run(call + ["true"], capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired) as error:
            return "bubblewrap does not start here (%s)" % error
        if tried.returncode:
            why = " ".join(tried.stderr.split()) or "no reason given"
            return "this machine forbids bubblewrap (%s): see docs/grading.md" % why
    return ""


def how_to_get(program):
    """The command that installs it here."""
    if sys.platform != "linux":
        return "it runs on Linux only" if program == "bubblewrap" else "install Chromium or Chrome"
    manager = next(filter(shutil.which, MANAGERS), "apt-get")
    return " ".join(["sudo", manager] + MANAGERS[manager][1] + [program])


def install(missing):
    """Install them where that asks nobody anything; a sentence that says what was done or not."""
    names = " and ".join(missing)
    if os.environ.get("SYSTEM", "").lower() in ("no", "0", "false"):
        return "SYSTEM=no: %s not installed; the tests that need it are skipped." % names
    manager = next(filter(shutil.which, MANAGERS), None)
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or manager is None:
        ways = "; ".join(map(how_to_get, missing))
        return "Not here: %s. The tests that need it are skipped. To get it: %s" % (names, ways)
    print("Installing %s with %s (SYSTEM=no forbids it)." % (names, manager), flush=True)
    first, verb, silent = MANAGERS[manager]
    quiet = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    for arguments in filter(None, (first, verb + silent + list(missing))):
        call = subprocess.run(
            [manager] + arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=quiet
        )
        if call.returncode:
            return "%s could not install %s; the tests that need it are skipped." % (manager, names)
    return "Installed %s." % names


def main():
    missing = [name for name in PROGRAMS if path_of(name) is None]
    if missing:
        print(install(missing), flush=True)


if __name__ == "__main__":
    main()
