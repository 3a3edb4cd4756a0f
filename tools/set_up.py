"""Make the course's Python environment `.venv` from `requirements.lock`, unless it is ready.

    python3 tools/set_up.py                 the environment of the course
    python3 tools/set_up.py benchmark       and tools/requirements-benchmark.txt beside it

    TORCH=cpu | cuda                        which build of torch (Linux; else: is there an NVIDIA
    card?)

A mark, written first, says that the course made the folder: nothing else is ever removed. A stamp,
written last, says what the environment was made from. Without a stamp that fits, whatever the mark
stands in was interrupted, belongs to another lock or was moved here, and is made again. This file
runs on the machine's own python3, before anything is installed, so it uses the standard library
only and a syntax that old Pythons read as well.
"""

import ast
import hashlib
import os
import shutil
import signal
import subprocess
import sys

import torch_build

OLDEST = (3, 11)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Settings of pip and Python that would put the packages elsewhere, or none at all
LEADING_AWAY = (
    "target",
    "prefix",
    "root",
    "user",
    "dry-run",
    "require-hashes",
    "no-deps",
    "python",
)
REMOVED = ("PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH", "PYTHONWARNINGS", "PYTHONUSERBASE")
REMOVED += tuple("PIP_" + name.upper().replace("-", "_") for name in LEADING_AWAY)


def main():
    if not sys.flags.ignore_environment and {"PYTHONPATH", "PYTHONHOME"} & set(os.environ):
        # a module there may bear the name of one that is needed here
        call = [sys.executable, "-E", os.path.abspath(__file__)] + sys.argv[1:]
        sys.exit(subprocess.call(call))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a stopped set-up tidies up, too
    extras, venv = sys.argv[1:], Environment()
    if venv.complete(extras):
        return  # and nothing was written: the folder may be read-only, or another user's
    venv.refuse_if_not_ours()
    check_interpreter()
    try:
        with only_one_at_a_time() as lock:
            venv.lock = lock
            venv.make_what_is_missing(extras)
    except OSError as error:
        sys.exit(cannot_write(error))


class Environment:
    def __init__(self):
        self.folder = os.path.join(ROOT, ".venv")
        scripts = "Scripts" if os.name == "nt" else "bin"
        self.python = os.path.join(self.folder, scripts, "python")
        self.mark = os.path.join(self.folder, "course-made-this")
        self.stamp = os.path.join(self.folder, "course-stamp")  # the packages of the lock are there
        self.course_stamp = os.path.join(self.folder, "course-stamp-package")  # course_utils, too
        self.build = os.path.join(self.folder, "course-torch")  # cpu or cuda
        self.lock = None
        self.settings = None  # of pip, once asked for

    def contents(self):
        """What a finished one's stamp says: made from which lock, where, with which Python."""
        lock = digest("requirements.lock")
        return "\n".join([lock, self.folder, os.path.realpath(self.python)]) + "\n"

    def ready(self):
        self.refuse_if_out_of_reach()
        made = os.path.exists(self.python) and read(self.stamp) == self.contents()
        return made and os.environ.get("TORCH") in ("", None, read(self.build))

    def installed(self):
        return read(self.course_stamp) == digest("pyproject.toml")

    def complete(self, extras):
        return self.ready() and self.installed() and all(map(self.extra_ready, extras))

    def refuse_if_out_of_reach(self):
        """A finished environment may stand on a Python that only its maker can reach."""
        if read(self.stamp) is None or not os.path.lexists(self.python):
            return
        try:
            os.stat(self.python)
        except PermissionError:
            sys.exit(
                "The Python of this environment, %s, lies where you may not look "
                "(in somebody's home?).\n"
                "Ask whoever made it to make it again with the machine's own Python:\n"
                "    rm -rf .venv && PYTHON=/usr/bin/python3 make setup" % os.readlink(self.python)
            )
        except OSError:
            return  # that Python is gone: the environment is made again

    def refuse_if_not_ours(self):
        ours = (self.mark, self.stamp, self.course_stamp)  # the stamps: made by version 1
        if not os.path.isdir(self.folder) or any(map(os.path.exists, ours)):
            return
        if os.listdir(self.folder):
            sys.exit(
                "There is a .venv here that the course did not make. Nothing was changed. "
                "Either move it away\n"
                "    mv .venv my-venv\n"
                "and run the same command again, or use it as it is:\n"
                "    .venv/bin/python -m pip install -e . && .venv/bin/python tools/lab.py"
            )

    def make_what_is_missing(self, extras):
        if not self.ready():
            self.make()
        elif not self.installed():
            self.install_course()
        for name in extras:
            if not self.extra_ready(name):
                self.make_extra(name)

    def make(self):
        empty(self.folder, "an unfinished environment, or one made from another lock")
        build, index, words = torch_build.choose()
        say("Making .venv with Python %d.%d (once, some minutes)." % sys.version_info[:2])
        say(words)
        say("pip tells what it fetches. Then it unpacks, and is silent for a minute or several.")
        warn_of_a_python_at_home()
        with undone_on_failure(self.folder):
            os.makedirs(os.path.realpath(self.folder), exist_ok=True)
            write(self.mark, "Made by tools/set_up.py, which may remove this folder.\n")
            self.run([sys.executable, "-m", "venv", os.path.realpath(self.folder)])
            self.pip(*(index + ["-r", os.path.join(ROOT, "requirements.lock")]))
            self.install_course()
            write(self.build, build)
            write(self.stamp, self.contents())
        say("The environment is ready.")

    def install_course(self):
        """course_utils itself, editable: what a learner changes in its files is what runs."""
        remove(self.course_stamp)
        say("Installing course_utils.")
        self.pip("--quiet", "--no-deps", "--no-build-isolation", "-e", ROOT)
        self.run([self.python, "-m", "pip", "check", "--disable-pip-version-check"])
        # -I: by this Python alone, whatever else is on this machine
        self.run([self.python, "-I", "-c", "import course_utils"])
        write(self.course_stamp, digest("pyproject.toml"))

    def extra(self, name):
        folder = os.path.join(ROOT, ".extras", name)
        needs = os.path.join("tools", "requirements-%s.txt" % name)
        return folder, needs, os.path.join(folder, "course-stamp")

    def extra_ready(self, name):
        _, needs, stamp = self.extra(name)
        return read(stamp) == digest(needs) + self.contents()

    def make_extra(self, name):
        """Packages that no learner needs, beside the environment: that stays as locked."""
        folder, needs, stamp = self.extra(name)
        remove(folder, "made from another list")
        say("Installing tools/requirements-%s.txt into .extras/%s." % (name, name))
        with undone_on_failure(folder):
            where = ["--quiet", "--no-deps", "--target", folder]
            self.pip(*(where + ["-r", os.path.join(ROOT, needs)]))
            write(stamp, digest(needs) + self.contents())

    def pip(self, *arguments):
        if self.settings is None:
            self.settings = pip_settings(self.python)
        call = [self.python, "-m", "pip", "install", "--disable-pip-version-check"]
        self.run(call + list(arguments), self.settings)

    def run(self, command, more=None):
        """The child keeps the lock: if only this process is killed, the next set-up waits for
        it.
        """
        keep = {} if self.lock is None else {"pass_fds": (self.lock.fileno(),)}
        own = dict(more or {})
        own.update(own_environment())  # what the user sets for one run goes before a pip.conf
        if more:
            own["PIP_CONFIG_FILE"] = more["PIP_CONFIG_FILE"]  # that file was read already
        subprocess.run(command, check=True, cwd=ROOT, env=own, **keep)


def own_environment():
    """The machine's environment without what would lead pip or Python elsewhere."""
    return {name: value for name, value in os.environ.items() if name not in REMOVED}


def pip_settings(python):
    """What the machine's pip.conf says (indexes, certificates), but for what would lead elsewhere.

    As environment variables, with the file itself left out: no option of pip takes back its
    `target`.
    """
    call = [python, "-m", "pip", "config", "list", "--disable-pip-version-check"]
    listed = subprocess.run(call, stdout=subprocess.PIPE, env=own_environment())
    if listed.returncode:
        say("pip cannot read its configuration, as it says above; it is left out.")
    found = {}
    for line in listed.stdout.decode("utf-8", "replace").splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.partition(".")
        if section in ("global", "install") and key not in LEADING_AWAY:
            found["PIP_" + key.upper().replace("-", "_")] = ast.literal_eval(value)
    found["PIP_CONFIG_FILE"] = os.devnull
    return found


def check_interpreter():
    """A sentence, not a traceback, for the two things that a machine may lack."""
    if sys.version_info[:2] < OLDEST:
        sys.exit(
            "The course needs Python %d.%d or newer, and %s is Python %d.%d. "
            "Install a newer one and name it:\n"
            "    PYTHON=python3.12 make lab"
            % (OLDEST + (sys.executable,) + tuple(sys.version_info[:2]))
        )
    if os.pathsep in ROOT:
        sys.exit(
            "Python makes no environment in a folder whose path holds '%s': %s. Move or rename it."
            % (os.pathsep, ROOT)
        )
    try:
        import ensurepip  # noqa: F401  (Debian and Ubuntu keep it in a package of its own)
        import venv  # noqa: F401
    except ImportError:
        sys.exit(
            "%s cannot make a virtual environment (its module venv or ensurepip is missing). "
            "On Debian or Ubuntu:\n"
            "    apt install python3-venv" % sys.executable
        )


def warn_of_a_python_at_home():
    """An environment stands on the Python that made it; others may not reach one in a home."""
    python, here = os.path.realpath(sys.executable), os.path.realpath(ROOT)
    home = os.path.realpath(os.path.expanduser("~"))
    if python.startswith(home + os.sep) and not here.startswith(home + os.sep):
        say(
            ".venv uses %s, which lies in your home. For you alone that is right.\n"
            "Others may not reach it there: to share .venv, make it with the machine's own Python, "
            "PYTHON=/usr/bin/python3 make setup" % python
        )


def cannot_write(error):
    what = error.filename or ROOT
    return (
        "The set-up cannot write here (%s: %s), and the environment is not finished.\n"
        "Ask the owner of %s to run `make setup` there once; afterwards everybody can use it.\n"
        "Or copy the course to a folder of your own." % (what, error.strerror, ROOT)
    )


class undone_on_failure:
    """Removes the half-made folder when its block fails or is interrupted, and says so."""

    def __init__(self, folder):
        self.folder = folder

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind is None:
            return False
        free = shutil.disk_usage(ROOT).free / 1e9
        empty(self.folder)  # what a child still writes has no stamp
        name = os.path.relpath(self.folder, ROOT)
        say("The set-up did not finish and %s was removed. Free disk: %.1f GB." % (name, free))
        if issubclass(kind, subprocess.CalledProcessError):
            sys.exit(
                "The reason stands above. Once it is mended (network? disk? a pip.conf?), "
                "run the same command again."
            )
        return False


class only_one_at_a_time:
    """A second `make` waits for the first one's set-up, rather than working in the same folder."""

    def __enter__(self):
        try:
            import fcntl
        except ImportError:  # Windows
            self.file = None
            return None
        self.file = open(os.path.join(ROOT, ".setup-lock"), "w")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("Another set-up is under way in this folder; waiting for it.")
            fcntl.flock(self.file, fcntl.LOCK_EX)
        return self.file

    def __exit__(self, *_):
        if self.file:
            self.file.close()


def digest(name):
    with open(os.path.join(ROOT, name), "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return None


def write(path, text):
    with open(path + ".part", "w") as file:
        file.write(text)
    os.replace(path + ".part", path)


def remove(path, why=None):
    if os.path.islink(path) or os.path.isfile(path):
        os.unlink(path)
    elif os.path.isdir(path):
        if why:
            say("Removing %s: %s." % (os.path.relpath(path, ROOT), why))
        shutil.rmtree(path, ignore_errors=why is None)


def empty(folder, why=None):
    """Remove a folder; of a link to a folder on another disk, what lies in it."""
    if not os.path.islink(folder):
        remove(folder, why)
    elif os.path.isdir(folder):
        if why and os.listdir(folder):
            say("Emptying %s: %s." % (os.path.relpath(folder, ROOT), why))
        for name in os.listdir(folder):
            remove(os.path.join(folder, name))


def say(text):
    print(text)
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except subprocess.CalledProcessError as error:
        sys.exit("This command failed: %s" % " ".join(error.cmd))
