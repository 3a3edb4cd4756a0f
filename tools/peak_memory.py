"""How much memory a process held at most."""

import re
from pathlib import Path

import psutil


def resident_peak(process: psutil.Process) -> int:
    """Bytes held at most so far; where the system does not tell, bytes held now."""
    status = Path(f"/proc/{process.pid}/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) * 1024 if found else process.memory_info().rss
