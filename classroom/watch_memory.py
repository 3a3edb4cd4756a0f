"""A service of the hub: whoever takes more memory than the limit loses the kernel, and nobody else.

    python watch_memory.py --limit 2G

LocalProcessSpawner sets no limit by itself. Once a second this looks at each learner's server and
all that it has started; above the limit, the largest of its processes is ended: as a rule the
kernel, which JupyterLab then offers to start again. Clusters and systemd set the limit themselves.
"""

import argparse
import time

import psutil

UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def number_of_bytes(text: str) -> int:
    """ "2G" -> 2147483648, as JupyterHub reads it."""
    factor = UNITS.get(text[-1:].upper(), 1)
    return int(float(text.rstrip("".join(UNITS) + "".join(UNITS).lower())) * factor)


def servers() -> list[psutil.Process]:
    """The learners' servers."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if "jupyterhub.singleuser" in (process.info["cmdline"] or ()):
            found.append(process)
    return found


def memory(process: psutil.Process) -> int:
    """Bytes of a process, what it shares with others counted in part; 0 once it is gone."""
    try:
        return process.memory_full_info().pss
    except (psutil.Error, AttributeError):
        return 0


def ended_for_memory(server: psutil.Process, limit: int) -> psutil.Process | None:
    """The largest process of a server that is above the limit, ended; None if it is below."""
    try:
        family = [server, *server.children(recursive=True)]
        if sum(one.memory_info().rss for one in family) <= limit:
            return None  # what is shared counts twice here: an upper bound, and quick to ask
    except psutil.Error:
        return None
    sizes = {one: memory(one) for one in family}
    if sum(sizes.values()) <= limit:
        return None
    largest = max(family[1:] or family, key=sizes.get)
    try:
        largest.kill()
    except psutil.NoSuchProcess:
        return None
    return largest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=number_of_bytes, required=True)
    limit = parser.parse_args().limit
    while True:
        for server in servers():
            if (ended := ended_for_memory(server, limit)) is not None:
                text = f"{ended.pid} of the server {server.pid} was ended: above {limit} bytes"
                print(text, flush=True)
        time.sleep(1)


if __name__ == "__main__":
    main()
