"""Run a command, read its frames, and end it when it uses more than it may."""

import os
import re
import selectors
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from .inside import frames
from .limits import Limits
from .sandbox import JOB, SCRATCH

TICK = 0.1  # seconds between two looks at the processes
STDERR_KEPT = 4_000
CHUNK = 1 << 16
MOST_FRAMES = 10_000


@dataclass
class Run:
    """What came out of a run.

    Attributes:
        frames: (kind, part, case, content), in their order; untrusted.
        ended: why it was ended from outside, a sentence; "" if it ended itself.
        complaint: what it wrote to stderr before it was up.
        seconds: of wall time since it was up.
    """

    frames: list[tuple[bytes, int, int, bytes]] = field(default_factory=list)
    ended: str = ""
    complaint: str = ""
    seconds: float = 0.0

    def kinds(self) -> set[bytes]:
        return {frame[0] for frame in self.frames}

    def last(self, *kinds: bytes) -> tuple[bytes, int, int, bytes] | None:
        return next((frame for frame in reversed(self.frames) if frame[0] in kinds), None)


def run(
    command: list[str], fd: int, pipe: int, environment: dict, folder: Path, limits: Limits
) -> Run:
    """Run `command`, which writes its frames to `fd`, whose other end is `pipe`.

    Args:
        folder: the working directory, outside of the sandbox.

    Returns:
        what it wrote; it and all its children have ended.
    """
    up = None
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=(fd,),
        env=environment,
        cwd=folder,
        start_new_session=True,
    )
    os.close(fd)
    reader = _Reader(pipe, process.stderr.fileno(), limits)
    watched = Watched(process, limits)
    watched.give(limits.start)
    try:
        while not reader.finished():
            reader.read(TICK)
            if up is None and reader.frames:
                up = time.monotonic()
                watched.give(limits.seconds)
            watched.look()
            if reader.wrong or watched.wrong:
                break
    finally:
        watched.kill()
        reader.read(0)
        process.stderr.close()
        os.close(pipe)
    why = watched.wrong or reader.wrong
    return Run(reader.frames, why, reader.complaint(), time.monotonic() - (up or time.monotonic()))


class _Reader:
    """Reads frames and complaints as they come, never more than the limits."""

    def __init__(self, pipe: int, stderr: int, limits: Limits):
        self.pipe, self.limits, self.left = pipe, limits, limits.answers
        self.frames: list = []
        self.wrong = ""
        self._buffer, self._stderr = bytearray(), bytearray()
        self._open = selectors.DefaultSelector()
        for source in (pipe, stderr):
            os.set_blocking(source, False)
            self._open.register(source, selectors.EVENT_READ)

    def finished(self) -> bool:
        """Nobody writes frames any more, or the runner said that there will be none."""
        done = self.frames and self.frames[-1][0] == frames.END
        return bool(done) or self.pipe not in self._open.get_map()

    def read(self, seconds: float) -> None:
        """What has come, waiting for it up to so long."""
        for key, _ in self._open.select(seconds):
            try:
                piece = os.read(key.fd, CHUNK)
            except BlockingIOError:
                continue
            if not piece:
                self._open.unregister(key.fd)
            elif key.fd == self.pipe:
                self._take(piece)
            else:
                self._stderr += piece[: STDERR_KEPT - len(self._stderr)]

    def _take(self, piece: bytes) -> None:
        self.left -= len(piece)
        if self.left < 0 or len(self.frames) > MOST_FRAMES:
            self.wrong = f"its answers fill more than {self.limits.answers / 1e6:.0f} MB"
            return
        self._buffer += piece
        try:
            while not self.wrong and (frame := frames.take(self._buffer, self.limits.answers)):
                self.frames.append(frame)
        except frames.FrameError:
            self.wrong = "it wrote among its answers what is none"

    def complaint(self) -> str:
        return self._stderr.decode("utf-8", "replace").strip()


class Watched:
    """A process and all its children: how much they use, and their end."""

    def __init__(self, process: subprocess.Popen, limits: Limits):
        self.process, self.limits = process, limits
        self.wrong, self._next = "", 0.0

    def give(self, seconds: float) -> None:
        """Let it run so much longer."""
        self.seconds, self.deadline = seconds, time.monotonic() + seconds

    def look(self) -> None:
        """Set `wrong` to a sentence when more is used than may be."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + TICK
        memory, tasks, files = usage(self.process.pid)
        if time.monotonic() > self.deadline:
            self.wrong = f"it ran longer than {self.seconds:.0f} seconds"
        elif memory > self.limits.memory:
            self.wrong = f"it filled more than {self.limits.memory / 1e9:.1f} GB of memory"
        elif files > self.limits.files:
            self.wrong = f"it made more than {self.limits.files} files"
        elif tasks > self.limits.tasks:
            self.wrong = f"it started more than {self.limits.tasks} processes and threads"

    def kill(self) -> None:
        """End it: in bubblewrap, the end of the first process is the end of all."""
        family = _family(self.process.pid)
        for one in reversed(family):
            try:
                one.kill()
            except psutil.NoSuchProcess:
                continue
        self.process.wait()


def usage(pid: int) -> tuple[int, int, int]:
    """What a process and all its descendants use: bytes of memory, tasks, and names of files."""
    memory = tasks = files = 0
    for one in _family(pid):
        try:
            memory += one.memory_info().rss + _page_tables(one.pid)
            tasks += one.num_threads()
            files = max(files, _names(one.pid))
        except psutil.Error:  # it has just ended
            continue
    return memory, tasks, files


def held(pid: int) -> int:
    """Bytes that a process and all its descendants hold; what they share counts once."""
    total = 0
    for one in _family(pid):
        try:
            total += _share(one.pid) or one.memory_info().rss
        except psutil.Error:
            continue
    return total


def _share(pid: int) -> int:
    """A process's memory, its share of what it shares with others; 0 if nobody tells."""
    try:
        found = re.search(r"\nPss:\s*(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text())
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


def _page_tables(pid: int) -> int:
    """Bytes of the kernel's tables of a process's pages."""
    try:
        found = re.search(r"VmPTE:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


def _names(pid: int) -> int:
    """How many files and folders lie in the memory that a process of the sandbox may write to.

    Each costs the kernel a kilobyte that no limit counts. 0 for a process outside of a sandbox.
    """
    total = 0
    for place in (SCRATCH, "/tmp", "/dev/shm"):
        try:
            there = os.statvfs(f"/proc/{pid}/root{place}")
        except OSError:
            return 0
        total += there.f_files - there.f_ffree
    return total if os.path.isdir(f"/proc/{pid}/root{JOB}") else 0


def _family(pid: int) -> list[psutil.Process]:
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
