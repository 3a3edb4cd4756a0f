"""What a submission may use while it is graded."""

from dataclasses import dataclass

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Limits:
    """Limits for one submission.

    Attributes:
        start: seconds until Python and torch are up; a busy machine is no fault of the submission.
        seconds: wall time from then on; then it is ended.
        restart: when a part ends the program, the rest is asked in a new one if so many seconds
            are left.
        cells_seconds: for all cells together; then each further one gets one second.
        cell_seconds, call_seconds: for one cell, one call of a function; then it raises.
        memory: bytes of all its processes together; then it is ended.
        data: bytes that one process may fill; then its own code raises MemoryError.
        scratch: bytes of files that it may write.
        files: names of files and folders that it may make; then it is ended.
        tasks: processes and threads together; then it is ended.
        answers: bytes of all its answers together; then no more are read.
        output: characters that one cell may print; then it raises.
        notebook: bytes of the handed-in file.
    """

    start: float = 120
    seconds: float = 300
    restart: float = 15
    cells_seconds: float = 150
    cell_seconds: float = 60
    call_seconds: float = 20
    memory: int = 3_500 * MEGABYTE
    data: int = 2_500 * MEGABYTE
    scratch: int = 64 * MEGABYTE
    files: int = 20_000
    tasks: int = 128
    answers: int = 256 * MEGABYTE
    output: int = 1 * MEGABYTE
    notebook: int = 30 * MEGABYTE
