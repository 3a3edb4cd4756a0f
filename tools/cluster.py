"""Work on several machines by Dask.distributed: hand out tasks, take back what each one gave.

Dask lies beside the course's environment, in .extras/cluster (tools/requirements-cluster.txt). A
task is a function of a module and plain data. The scheduler reads tasks, too, so such a module
imports torch within its function, not at its top.

    for name, given, wrong in cluster.run("tcp://host:8786", work, tasks): ...

What listens at the scheduler's port runs whatever is sent there: see docs/grading.md on TLS and
tunnels.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

EXTRA = Path(__file__).resolve().parent.parent / ".extras" / "cluster"
# until a scheduler must have answered, and a worker must be there
SECONDS = float(os.environ.get("COURSE_CLUSTER_SECONDS", 30))
TRIES = 4  # of a task whose worker died: it may be the task that kills them
NO_DASK = (
    """Dask is not here: `python3 tools/set_up.py cluster` installs it beside the environment."""
)


class NoCluster(RuntimeError):
    """There is no cluster to work on: a sentence that says why."""


def client(address: str):
    """A client of the scheduler at `address`.

    TLS is used for an address "tls://...", with the files that COURSE_TLS_CA, COURSE_TLS_CERT and
    COURSE_TLS_KEY name.

    Raises:
        NoCluster: no Dask here, or nobody answers.
    """
    sys.path.append(str(EXTRA))  # behind the environment: what both have is used as locked
    try:
        from distributed import Client
        from distributed.security import Security
    except ImportError:
        raise NoCluster(NO_DASK) from None
    security = None
    if address.startswith("tls://"):
        ca, cert, key = (os.environ.get(f"COURSE_TLS_{one}") for one in ("CA", "CERT", "KEY"))
        security = Security(
            tls_ca_file=ca, tls_client_cert=cert, tls_client_key=key, require_encryption=True
        )
    try:
        return Client(address, security=security, timeout=SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise NoCluster(
            f"No scheduler answers at {address} ({error}). Start one with `make scheduler`, and "
            "`make worker CLUSTER=...` on each machine."
        ) from None


def run(
    address: str, work: Callable, tasks: Mapping[str, tuple]
) -> Iterator[tuple[str, object, str]]:
    """Do `work(*task)` for each task on the cluster; (name, what it gave, what went wrong or "").

    A task whose worker dies is done by another one. Results come as they are ready.

    Raises:
        NoCluster: see `client`; or no worker is there, or the scheduler goes away.
    """
    connected = client(address)
    try:
        yield from _gathered(connected, work, tasks)
    finally:
        connected.close(timeout=5)


def _gathered(connected, work: Callable, tasks: Mapping[str, tuple]):
    from distributed import as_completed
    from distributed.scheduler import KilledWorker

    if not connected.scheduler_info(n_workers=-1)["workers"]:
        print(f"No worker is there yet: waiting for one ({SECONDS:g} s).", file=sys.stderr)
        try:
            connected.wait_for_workers(1, timeout=SECONDS)
        except TimeoutError:
            raise NoCluster("The scheduler has no worker: `make worker CLUSTER=...`.") from None
    tries = dict.fromkeys(tasks, 1)
    named = {connected.submit(work, *task, pure=False): name for name, task in tasks.items()}
    ready = as_completed(list(named), loop=connected.loop, raise_errors=False)
    for future in ready:
        name = named.pop(future)
        if future.status == "finished":
            yield name, future.result(), ""
            continue
        error = future.exception() if future.status == "error" else None
        again = error is None or isinstance(error, KilledWorker)
        if again and tries[name] < TRIES:
            tries[name] += 1
            new = connected.submit(work, *tasks[name], pure=False)
            named[new] = name
            ready.add(new)
            continue
        yield name, None, f"{type(error).__name__}: {error}" if error else "it was lost"
