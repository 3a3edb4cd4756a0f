"""What a process gives up for good before a submission's code runs in it.

The sandbox already keeps files, the network and other processes out of reach, and the watchdog
outside ends what grows too large. These walls make most of that impossible in the first place:
limits that raise in the learner's own cell, and a filter of system calls (Linux on x86-64 and
arm64; elsewhere the sandbox and the watchdog stand alone).
"""

import ctypes
import errno
import platform
import re
import resource
import struct
from pathlib import Path

STACK = 64_000_000  # bytes of the first thread's stack
CLONE_THREAD = 0x10000
_ALLOW, _DENY, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
_ABSENT = 0x00050000 | errno.ENOSYS  # for clone3: the C library then uses clone
_LOAD, _EQUAL, _AT_LEAST, _BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _FIRST_ARGUMENT, _FOURTH_ARGUMENT = (
    0,
    4,
    16,
    40,
)  # where they lie in what the kernel hands to the filter
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2  # prctl's names

# New processes and programs, other processes' memory, mounts and namespaces, sockets, and memory
# that no limit counts.
_BOTH = {
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "pidfd_getfd": 438,
    "io_uring_setup": 425,
}
_BOTH |= {"memfd_secret": 447}
_MMAP = {"x86_64": 9, "aarch64": 222}
_SHARED, _ANONYMOUS = 0x01, 0x20  # together: memory that the limits of a process do not count
_GROWS_DOWN = 0x100  # counted as a stack, not as data
_FILTERED = {
    "x86_64": (0xC000003E, 56, {
        "fork": 57, "vfork": 58, "execve": 59, "execveat": 322, "ptrace": 101,
        "process_vm_readv": 310, "process_vm_writev": 311, "mount": 165, "umount2": 166,
        "pivot_root": 155, "unshare": 272, "setns": 308, "socket": 41, "memfd_create": 319,
        "userfaultfd": 323, "perf_event_open": 298, "bpf": 321, "add_key": 248,
        "request_key": 249, "keyctl": 250, "shmget": 29, "mq_open": 240,
        "msgget": 68, "semget": 64,
        "inotify_init": 253, "inotify_init1": 294, "fanotify_init": 300,
    }),
    "aarch64": (0xC00000B7, 220, {
        "execve": 221, "execveat": 281, "ptrace": 117, "process_vm_readv": 270,
        "process_vm_writev": 271, "mount": 40, "umount2": 39, "pivot_root": 41, "unshare": 97,
        "setns": 268, "socket": 198, "memfd_create": 279, "userfaultfd": 282,
        "perf_event_open": 241, "bpf": 280, "add_key": 217, "request_key": 218, "keyctl": 219,
        "shmget": 194, "mq_open": 180, "msgget": 186, "semget": 190,
        "inotify_init1": 26, "fanotify_init": 262,
    }),
}  # fmt: skip
_CLONE3 = 435


def limit(data_bytes: int, file_bytes: int, cpu_seconds: int) -> None:
    """Limits of the kernel: too much memory raises MemoryError, a too large file OSError."""
    wanted = {
        "RLIMIT_DATA": data_bytes,
        "RLIMIT_FSIZE": file_bytes,
        "RLIMIT_CPU": cpu_seconds,
        "RLIMIT_CORE": 0,
        "RLIMIT_NOFILE": 256,
        "RLIMIT_MSGQUEUE": 0,
        "RLIMIT_SIGPENDING": 1_000,  # timers, too
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_STACK": STACK,
    }
    for name, most in wanted.items():
        if hasattr(resource, name):  # macOS lacks some
            _, hard = resource.getrlimit(getattr(resource, name))
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(getattr(resource, name), (most, most))


def limit_address_space(data_bytes: int) -> None:
    """From now on addresses for the data that is allowed, and as many again; no more.

    Addresses cost memory, too: the kernel's tables of pages, which neither `RLIMIT_DATA` nor a look
    at what a process holds counts. What is mapped already (torch's libraries) does not count here.
    """
    status = Path("/proc/self/status")
    if not status.exists():  # macOS
        return
    mapped = re.search(r"VmSize:\s*(\d+) kB", status.read_text())
    most = int(mapped[1]) * 1024 + 2 * data_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def filter_system_calls() -> bool:
    """Deny new processes, sockets and the like from now on; whether this machine can."""
    if platform.system() != "Linux" or platform.machine() not in _FILTERED:
        return False
    program = _program(*_FILTERED[platform.machine()], _MMAP[platform.machine()])
    code = ctypes.create_string_buffer(b"".join(program))

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        return False
    handed = Program(len(program), ctypes.addressof(code))
    return libc.prctl(_SECCOMP, _FILTER, ctypes.byref(handed), 0, 0) == 0


def _program(arch: int, clone: int, denied: dict[str, int], mmap: int) -> list[bytes]:
    """The filter in the kernel's machine language (classic BPF)."""

    def step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("=HBBI", code, yes, no, value)

    steps = [
        step(_LOAD, _ARCH),
        step(_EQUAL, arch, 1, 0),
        step(_RETURN, _KILL),  # another instruction set has other numbers
        step(_LOAD, _NUMBER),
        step(_AT_LEAST, 0x40000000, 0, 1),
        step(_RETURN, _DENY),
        step(_EQUAL, _CLONE3, 0, 1),
        step(_RETURN, _ABSENT),
    ]
    for number in (*_BOTH.values(), *denied.values()):
        steps += [step(_EQUAL, number, 0, 1), step(_RETURN, _DENY)]
    steps += [
        step(_EQUAL, mmap, 0, 7),
        step(_LOAD, _FOURTH_ARGUMENT),
        step(_BITS, _GROWS_DOWN, 0, 1),
        step(_RETURN, _DENY),
        step(_BITS, _ANONYMOUS, 0, 2),
        step(_BITS, _SHARED, 0, 1),
        step(_RETURN, _DENY),
        step(_RETURN, _ALLOW),
    ]
    return steps + [
        step(_EQUAL, clone, 0, 3),
        step(_LOAD, _FIRST_ARGUMENT),
        step(_BITS, CLONE_THREAD, 1, 0),  # threads are welcome
        step(_RETURN, _DENY),
        step(_RETURN, _ALLOW),
    ]
