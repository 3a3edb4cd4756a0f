"""A program for the tests: what code in the sandbox can reach, found out from inside, as JSON.

python wall_probe.py FOLDER     FOLDER: where the sandbox may be staged
"""

import json
import sys
from pathlib import Path

CELL = r"""
import ctypes, errno, os, re, resource, stat
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]

def why(call, *arguments):
    "The name of the error of a system call, or 'done'."
    try:
        done = call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return errno.errorcode[ctypes.get_errno()] if done in (-1, None, 2**64 - 1) else "done"

def kernel_files():
    for name in os.listdir("/proc"):
        path = "/proc/" + name
        if name.isdigit() or os.path.islink(path):
            continue
        if os.path.isfile(path):
            yield path
        for at, _, names in os.walk(path):
            yield from (at + "/" + one for one in names)

def opened(path, flags):
    try:
        os.close(os.open(path, flags | os.O_NONBLOCK))
        return True
    except OSError:
        return False

def folders():
    for at, inner, _ in os.walk("/"):
        inner[:] = [one for one in inner if at + one not in ("/proc", "/sys")]
        yield at

def writable(folder):
    try:
        os.chmod(folder, 0o777)
    except OSError:
        pass
    try:
        os.mkdir(folder + "/made-by-the-probe")
    except OSError:
        return False
    os.rmdir(folder + "/made-by-the-probe")
    return True

def pipe_bytes():
    import fcntl
    made, total = [], 0
    try:
        while True:
            made.append(os.pipe())
            try:
                total += fcntl.fcntl(made[-1][0], 1031, 1 << 20)
            except OSError:
                total += fcntl.fcntl(made[-1][0], 1032)
    except OSError:
        pass
    for pair in made:
        os.close(pair[0]); os.close(pair[1])
    return total

def probe():
    links = [os.readlink("/proc/1/fd/" + fd) for fd in os.listdir("/proc/1/fd")
             if os.path.lexists("/proc/1/fd/" + fd)]
    import tempfile
    open("/tmp/a", "w").close()
    return {
        "files of /proc": len(list(kernel_files())),
        "writable in /proc": [path for path in kernel_files() if opened(path, os.O_WRONLY)],
        "processes": [name for name in os.listdir("/proc") if name.isdigit()],
        "me": os.getpid(),
        "pipes of the first process": sum(link.startswith("pipe:") for link in links),
        "its stderr": os.readlink("/proc/1/fd/2"),
        "filtered": re.search(r"Seccomp:\s*(\d)", open("/proc/1/status").read())[1],
        "capabilities": re.search(r"CapEff:\s*(\w+)", open("/proc/1/status").read())[1],
        "fork": why(os.fork),
        "a terabyte of addresses": why(libc.mmap, None, 1 << 40, 1, 0x4022, -1, 0),
        "addresses": resource.getrlimit(resource.RLIMIT_AS)[0],
        "memory that grows down": why(libc.mmap, None, 1 << 20, 3, 0x122, -1, 0),
        "shared memory": why(libc.mmap, None, 1 << 20, 3, 0x21, -1, 0),
        "inotify": why(libc.inotify_init1, 0),
        "terminal": opened("/dev/ptmx", os.O_RDWR),
        "pipes": pipe_bytes(),
        "writable folders": sorted(folder for folder in set(folders()) if writable(folder)),
        "temporary": tempfile.gettempdir() == "/scratch" and os.path.exists("/tmp/a"),
    }
"""
NAMES = r"""
import os
for number in range(10**6):
    os.symlink("y", f"/scratch/{number}")
"""


def main(folder: Path) -> None:
    root = Path(__file__).resolve().parent.parent
    sys.path[:0] = [str(root / "tools"), str(root)]
    from grading import sandbox, stage
    from grading.assignment import Assignment
    from grading.grader import Asked, Grader
    from grading.limits import Limits
    from grading.notebook import parse

    from course_checks.answers import from_bytes
    from course_checks.part import Part

    part = Part("ex99_probe", "probe", 1, "probe", lambda seed: [()], lambda: {})
    place = sandbox.Sandbox(stage.stage(folder / "stage"))
    sandbox.check(place)
    # on a new machine, walking through all folders takes half a minute
    limits = Limits(files=3_000, call_seconds=120)
    grader = Grader(Assignment("ex99", (part,), ()), place, limits, seed=3)

    def asked(code: str) -> Asked:
        cell = {"cell_type": "code", "source": code, "metadata": {}}
        made = Asked(grader, parse(json.dumps({"cells": [cell]}).encode()))
        made.run()
        return made

    probed = asked(CELL)
    found = [from_bytes(content) for _, content in probed.answers.values()]
    print(json.dumps({"found": found and found[0], "remarks": probed.remarks(),
                      "names": asked(NAMES).remarks()}, default=str))  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]))
