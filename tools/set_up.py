"""Make the course's Python environment `.venv` from `requirements.lock`, unless it is ready.

    python3 tools/set_up.py                 the environment of the course
    python3 tools/set_up.py benchmark       and tools/requirements-benchmark.txt beside it

A stamp, written last, says what the environment was made from. Without a stamp that fits, whatever
is there was interrupted, belongs to another lock or was moved here, and is made again. This file
runs on the machine's own python3, before anything is installed, so it uses the standard library
only and a syntax that old Pythons read as well.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys

OLDEST = (3, 11)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GIGABYTES = 6.7  # of the finished .venv on Linux, where torch brings CUDA


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a stopped set-up tidies up, too
    extras = sys.argv[1:]
    with only_one_at_a_time():
        venv = Environment()
        if not venv.ready():
            venv.make()
        elif not venv.installed():
            venv.install_course()
        for name in extras:
            if not venv.extra_ready(name):
                venv.make_extra(name)


class Environment:
    def __init__(self):
        self.folder = os.path.join(ROOT, ".venv")
        scripts = "Scripts" if os.name == "nt" else "bin"
        self.python = os.path.join(self.folder, scripts, "python")
        self.stamp = os.path.join(self.folder, "course-stamp")  # the packages of the lock are there
        self.course_stamp = os.path.join(self.folder, "course-stamp-package")  # course_utils, too

    def contents(self):
        """What a finished one's stamp says: made from which lock, where, with which Python."""
        lock = digest("requirements.lock")
        return "\n".join([lock, self.folder, os.path.realpath(self.python)]) + "\n"

    def ready(self):
        return os.path.exists(self.python) and read(self.stamp) == self.contents()

    def installed(self):
        return read(self.course_stamp) == digest("pyproject.toml")

    def make(self):
        check_interpreter()
        remove(self.folder, "an unfinished environment, or one made from another lock")
        say(
            "Making .venv with Python %d.%d (once, some minutes, %s GB)."
            % (sys.version_info[:2] + (GIGABYTES,))
        )
        with undone_on_failure(self.folder):
            run([sys.executable, "-m", "venv", self.folder])
            self.pip("-r", os.path.join(ROOT, "requirements.lock"))
            self.install_course()
            write(self.stamp, self.contents())
        say("The environment is ready.")

    def install_course(self):
        """course_utils itself, editable: what a learner changes in its files is what runs."""
        remove(self.course_stamp)
        say("Installing course_utils.")
        self.pip("--quiet", "--no-deps", "--no-build-isolation", "-e", ROOT)
        run([self.python, "-m", "pip", "check", "--disable-pip-version-check"])
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
            self.pip("--quiet", "--no-deps", "--target", folder, "-r", os.path.join(ROOT, needs))
            write(stamp, digest(needs) + self.contents())

    def pip(self, *arguments):
        run([self.python, "-m", "pip", "install", "--disable-pip-version-check"] + list(arguments))


def check_interpreter():
    """A sentence, not a traceback, for the two things that a machine may lack."""
    if sys.version_info[:2] < OLDEST:
        sys.exit(
            "The course needs Python %d.%d or newer, and %s is Python %d.%d. Install a newer one and name it:\n"
            "    PYTHON=python3.12 make lab"
            % (OLDEST + (sys.executable,) + tuple(sys.version_info[:2]))
        )
    try:
        import ensurepip  # noqa: F401  (Debian and Ubuntu keep it in a package of its own)
        import venv  # noqa: F401
    except ImportError:
        sys.exit(
            "%s cannot make a virtual environment (its module venv or ensurepip is missing). On Debian or Ubuntu:\n"
            "    apt install python3-venv" % sys.executable
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
        shutil.rmtree(self.folder, ignore_errors=True)  # what a child still writes has no stamp
        name = os.path.relpath(self.folder, ROOT)
        say("The set-up did not finish and %s was removed. Free disk: %.1f GB." % (name, free))
        if issubclass(kind, subprocess.CalledProcessError):
            sys.exit(
                "The reason stands above. Once it is mended (network? disk?), run the same command again."
            )
        return False


class only_one_at_a_time:
    """A second `make` waits for the first one's set-up, rather than working in the same folder."""

    def __enter__(self):
        try:
            import fcntl
        except ImportError:  # Windows
            self.file = None
            return
        self.file = open(os.path.join(ROOT, ".setup-lock"), "w")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("Another set-up is under way in this folder; waiting for it.")
            fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *_):
        if self.file:
            self.file.close()


def run(command):
    subprocess.run(command, check=True, cwd=ROOT)


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
        shutil.rmtree(path)


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
