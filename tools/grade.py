"""`make grade`: grade the hand-ins of one assignment. See docs/grading.md."""

import os
import signal
import sys

INTERRUPTED = """Interrupted while the course was being loaded: nothing was graded or changed.
The same command begins anew.
"""


def _interrupted(*_) -> None:
    """A library that is half loaded may turn an exception into another one: this ends at once."""
    os.write(2, INTERRUPTED.encode())
    os._exit(130)


def main(arguments: list[str] | None = None) -> int:
    """Grade; the exit status: 0, or 1 if something could not be graded."""
    from grading.command import main as graded  # torch comes with it

    return graded(arguments)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, _interrupted)
    signal.signal(signal.SIGTERM, _interrupted)
    from grading import command

    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(command.main())
