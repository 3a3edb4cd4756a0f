"""Where a submission runs: bubblewrap, with next to nothing in it.

Inside there are: a read-only Python with its packages, the C library, what `stage` wrote, the job,
an empty scratch folder in memory, and a /dev and /proc of its own. There are not: a network, the
course, solutions/, submitted/, grades/, anybody's home, a shell, other processes.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .limits import MEGABYTE, Limits

LIBRARIES = ("/usr/lib", "/usr/lib64", "/usr/lib32", "/usr/libx32", "/lib", "/lib64", "/lib32")
NOBODY = "65534"
STAGE, JOB, SCRATCH = "/course", "/job", "/scratch"
HERE = f"{SCRATCH}/course/exercises/this"  # so deep that `..` leads to where one may write
REFUSAL = """Nothing was graded: submissions run in bubblewrap, and {why}.
{what}
To run the submissions without any wall all the same, with your own rights and files:
make grade … UNSAFE=1"""
INSTALL = """  Debian, Ubuntu: apt install bubblewrap     Fedora: dnf install bubblewrap
macOS and Windows: grade in a Linux container or virtual machine."""
DOCS = 'docs/grading.md, "Where bubblewrap is denied", says it step by step.'
# What denies it, by what a machine says about itself
APPARMOR = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
SWITCHES = {
    "/proc/sys/kernel/unprivileged_userns_clone": "sysctl kernel.unprivileged_userns_clone=1",
    "/proc/sys/user/max_user_namespaces": "sysctl user.max_user_namespaces=15000",
}
IN_UBUNTU = """  This machine's AppArmor denies it to ordinary users, as Ubuntu 24.04 does. As root,
  once: a profile /etc/apparmor.d/bwrap that allows `userns` to /usr/bin/bwrap, then
  systemctl reload apparmor."""
IN_POD = """  This is a pod. Its container needs securityContext: seccompProfile and appArmorProfile
  Unconfined, procMount Unmasked (with hostUsers: false); or grade on a virtual machine."""
IN_CONTAINER = """  This is a container. Start it with --security-opt seccomp=unconfined
  --security-opt apparmor=unconfined --security-opt systempaths=unconfined."""


class NoSandbox(RuntimeError):
    """Bubblewrap is not here, or cannot start."""


@dataclass(frozen=True)
class Sandbox:
    """How to start Python on a job: in bubblewrap, or (unsafe) in an ordinary process."""

    stage: Path
    walled: bool = True

    def command(self, job: Path, scratch: Path, fd: int, limits: Limits) -> list[str]:
        """The command line; `scratch` is used by the unsafe way only."""
        if not self.walled:
            return [sys.executable, "-s", str(self.stage / "runner.py"), str(job), str(fd)]
        inner = [sys.executable, "-s", f"{STAGE}/runner.py", JOB, str(fd)]
        return [*self._walls(job, limits), "--", *inner]

    def environment(self, scratch: Path) -> dict[str, str]:
        """Everything that the process finds in its environment, and in /proc/1/environ."""
        home = SCRATCH if self.walled else str(scratch)
        homes = dict.fromkeys(
            ("HOME", "TMPDIR", "IPYTHONDIR", "MPLCONFIGDIR", "XDG_CACHE_HOME"), home
        )
        plain = {"MPLBACKEND": "agg", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        return homes | plain | {"LANG": "C.UTF-8", "USER": "learner", "PATH": ""}

    def _walls(self, job: Path, limits: Limits) -> list[str]:
        # /tmp comes first: the course itself may lie there
        temporary = _memory("/tmp", limits.scratch)
        walls = [*_base(), *temporary, *_libraries(), *_python(), *_without_answers()]
        walls += ["--ro-bind", str(self.stage), STAGE, "--ro-bind", str(job), JOB]
        walls += [*_memory(SCRATCH, limits.scratch), *_memory("/dev/shm", limits.scratch)]
        return [*walls, "--dir", HERE, "--chdir", HERE, "--remount-ro", "/dev", "--remount-ro", "/"]


def check(sandbox: Sandbox) -> None:
    """Start the sandbox once.

    Raises:
        NoSandbox: with a sentence that says what to do.
    """
    if not sandbox.walled:
        return
    if shutil.which("bwrap") is None:
        raise NoSandbox(REFUSAL.format(why="there is no `bwrap` here", what=INSTALL))
    start = [*_base(), *_libraries(), *_python(), "--", sys.executable, "-S", "-c", "print(6 * 7)"]
    tried = subprocess.run(start, env={}, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if tried.stdout != "42\n":
        said = (tried.stderr.strip() or f"it ended with {tried.returncode}").splitlines()[-1]
        raise NoSandbox(REFUSAL.format(why=f"it cannot start here ({said})", what=remedy()))


def remedy(root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> str:
    """What to do where bubblewrap is denied, for the kind of machine that this one is."""
    found = []
    if _holds(root, APPARMOR) == "1":
        found.append(IN_UBUNTU)
    found += [f"  As root: {do}" for path, do in SWITCHES.items() if _holds(root, path) == "0"]
    if "KUBERNETES_SERVICE_HOST" in environment:
        found.append(IN_POD)
    elif any((root / name).exists() for name in (".dockerenv", "run/.containerenv")):
        found.append(IN_CONTAINER)
    return "\n".join([*(found or [INSTALL]), DOCS])


def _holds(root: Path, path: str) -> str:
    try:
        return (root / path.lstrip("/")).read_text().strip()
    except OSError:
        return ""


@cache
def _base() -> tuple[str, ...]:
    program = shutil.which("bwrap")
    can = subprocess.run([program, "--help"], capture_output=True, text=True).stdout
    nested = ["--disable-userns"] if "--disable-userns" in can else []
    return (
        *(program, "--unshare-all", "--unshare-user", *nested, "--uid", NOBODY, "--gid", NOBODY),
        *("--hostname", "grading", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
        # the first process is the runner itself: another one would stand outside its filter of
        # system calls, with a memory that /proc/1/mem opens
        "--as-pid-1",
        *("--proc", "/proc", *_kernels_settings(), "--dev", "/dev"),
        *("--tmpfs", "/dev/pts", "--remount-ro", "/dev/pts"),  # no terminals
        *(
            "--dev-bind",
            "/dev/null",
            "/dev/zero",
        ),  # mapped, that one is memory which no limit counts
    )


def _kernels_settings() -> list[str]:
    """All of /proc that is not about a process, read-only: root may write there, as nobody, too."""
    found = []
    for entry in sorted(os.scandir("/proc"), key=lambda entry: entry.name):
        if entry.name.isdecimal() or entry.is_symlink():
            continue
        if entry.is_dir() or entry.stat().st_mode & 0o222:
            found += ["--ro-bind-try", entry.path, entry.path]
    return found


@cache
def _libraries() -> tuple[str, ...]:
    """The machine's compiled libraries, and links where it has links."""
    found = []
    for path in map(Path, LIBRARIES):
        if path.is_symlink():
            found += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            found += ["--ro-bind", str(path), str(path)]
    if Path("/etc/ld.so.cache").exists():
        found += ["--ro-bind", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    return tuple(found)


@cache
def _python() -> tuple[str, ...]:
    """This Python: its program, its own library, and the environment that it runs in.

    Raises:
        NoSandbox: the course lies inside what Python needs, so that solutions/ would be seen.
    """
    wanted = {Path(sys.executable), Path(sys.executable).resolve()}
    wanted |= {
        Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")
    }
    wanted |= {path for path in _links(Path(sys.executable)) if path.exists()}
    wanted |= set(Path(sys.base_prefix, "lib").glob("libpython*"))
    config = Path(sys.prefix, "pyvenv.cfg")
    wanted |= {config} if config.exists() else set()
    course = Path(__file__).resolve().parent.parent.parent
    if any(course.is_relative_to(path) for path in wanted):
        raise NoSandbox(REFUSAL.format(why="the course lies within its own Python", what=DOCS))
    paths = sorted(path for path in wanted if not _has_parent_in(path, wanted))
    return tuple(word for path in paths for word in ("--ro-bind", str(path), str(path)))


def _links(path: Path) -> list[Path]:
    """The chain of links from a program to its file: Python finds its library along it."""
    chain = []
    while path.is_symlink():
        path = path.parent / os.readlink(path)
        chain.append(path)
    return chain


def _has_parent_in(path: Path, paths: set[Path]) -> bool:
    return any(parent in paths for parent in path.parents)


@cache
def _without_answers() -> tuple[str, ...]:
    """Empty folders over the packages that answer what the exercises ask.

    One of them is the course itself, where it was installed rather than linked.
    """
    from .stage import ABSENT_PACKAGES

    folder = Path(sysconfig.get_path("purelib"))
    there = [
        folder / name for name in (*ABSENT_PACKAGES, "course_utils") if (folder / name).is_dir()
    ]
    return tuple(
        word
        for path in map(str, there)
        for word in (*_memory(path, MEGABYTE, "0555"), "--remount-ro", path)
    )


def _memory(path: str, size: int, mode: str = "0755") -> list[str]:
    """A folder in memory of at most this size."""
    return ["--perms", mode, "--size", str(size), "--tmpfs", path]
