"""What travels out of the sandbox: pieces of bytes with a header. Used on both sides of the wall.

A frame says what it is (`kind`), which part and case it is about, and holds bytes. Its content is
untrusted: whoever runs in the sandbox can write any frame.
"""

import os
import struct

HEADER = struct.Struct(">cHHI")  # kind, part, case, bytes that follow
READY = b"r"  # the runner is up; the submission's code comes next
CELL = b"c"  # this cell begins (`part` counts the code cells)
RAISED = b"e"  # a cell raised: its text
CALL = b"q"  # the answer to this case is being asked for
ANSWER = b"a"  # course_checks.answers.to_bytes of it
UNFIT = b"u"  # it cannot be an answer: why
MISSING = b"m"  # the notebook defines no such name
NOTE = b"n"  # this line did nothing here
END = b"z"
KINDS = (READY, CELL, RAISED, CALL, ANSWER, UNFIT, MISSING, NOTE, END)


class FrameError(ValueError):
    """The bytes are no frame."""


def write(fd: int, kind: bytes, part: int = 0, case: int = 0, content: bytes = b"") -> None:
    """Send a frame, all of it."""
    rest = memoryview(HEADER.pack(kind, part, case, len(content)) + content)
    while rest:
        rest = rest[os.write(fd, rest) :]


def take(buffer: bytearray, largest: int) -> tuple[bytes, int, int, bytes] | None:
    """The next whole frame (kind, part, case, content), taken from the buffer; None: not yet there.

    Raises:
        FrameError: no known kind, or longer than `largest` bytes.
    """
    if len(buffer) < HEADER.size:
        return None
    kind, part, case, length = HEADER.unpack_from(buffer)
    if kind not in KINDS or length > largest:
        raise FrameError(f"a frame of kind {kind!r} and {length} bytes")
    end = HEADER.size + length
    if len(buffer) < end:
        return None
    content = bytes(buffer[HEADER.size : end])
    del buffer[:end]
    return kind, part, case, content
