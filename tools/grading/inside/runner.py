"""Inside the sandbox: run a submission's cells, then ask its functions for their answers.

Nothing in here is trusted once the first cell has run: cells share this process and may change
anything in it. It can only lose marks that way. What leaves are answers, and they are judged
outside; which were asked for, and what they are worth, is known outside, too.

    python runner.py JOB FD      JOB: a folder with job.json and cases.bin; FD: where frames go
"""

import gc
import io
import json
import os
import signal
import sys
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import frames
import shell
import walls

MESSAGE = 300  # characters of an error's text that are passed on
MOST_NOTES = 12
LEAST_SECONDS = 1.0  # what a cell or call gets when the time for all is used up


class TimeUp(BaseException):  # not an Exception: a learner's own `except Exception` lets it pass
    """The cell, or the call, ran longer than it may."""


class OutputUp(Exception):
    """The cell printed more than anyone reads."""


class Output(io.TextIOBase):
    """A place for prints that keeps nothing and raises in the cell that prints endlessly."""

    def __init__(self, most: int):
        self.most, self.left = most, most

    def write(self, text: str) -> int:
        self.left -= len(text)
        if self.left < 0:
            raise OutputUp(f"more than {self.most} characters were printed")
        return len(text)

    def writable(self) -> bool:
        return True


class Notes:
    """Sends each line that did nothing here, once, and not endlessly many."""

    def __init__(self, fd: int):
        self.fd, self.sent = fd, set()

    def __call__(self, line: str) -> None:
        if line not in self.sent and len(self.sent) < MOST_NOTES:
            self.sent.add(line)
            frames.write(self.fd, frames.NOTE, 0, 0, line[:MESSAGE].encode("utf-8", "replace"))


class Clock:
    """Raises TimeUp in the code that runs too long."""

    def __init__(self):
        signal.signal(signal.SIGALRM, self._up)

    @staticmethod
    def _up(*_):
        raise TimeUp("it ran too long")

    def start(self, seconds: float) -> None:
        signal.setitimer(signal.ITIMER_REAL, max(LEAST_SECONDS, seconds))

    def stop(self) -> float:
        """Stop; the seconds that were left."""
        return signal.setitimer(signal.ITIMER_REAL, 0)[0]


def main(folder: Path, fd: int) -> None:
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    walls.limit(job["data_bytes"], job["file_bytes"], job["cpu_seconds"])
    walls.filter_system_calls()
    gc.disable()  # imports make a million objects and no garbage: looking takes a tenth longer
    asked = Asked(folder, job, fd)
    notes = Notes(fd)
    kernel = shell.make(notes)
    shell.nobody_and_no_programs()
    sys.path.append(os.getcwd())  # as in a notebook; behind the course, which nothing shadows
    gc.enable()
    gc.freeze()
    walls.limit_address_space(job["data_bytes"])
    frames.write(fd, frames.READY)
    output = silence(job["output"])
    asked.listen(kernel.user_ns)
    run_cells(kernel, job, fd, output)
    asked.answer(kernel.user_ns)
    frames.write(fd, frames.END)
    os._exit(0)  # what a cell left behind (threads, atexit) has nothing more to say


def silence(most: int) -> Output:
    """Prints go nowhere, also those of compiled code."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    sys.stdout = sys.stderr = output = Output(most)
    return output


def run_cells(kernel, job: dict, fd: int, output: Output) -> None:
    """Run All: a cell that raises does not keep the next ones from running."""
    clock, left = Clock(), job["cells_seconds"]
    for number, source in enumerate(job["cells"]):
        frames.write(fd, frames.CELL, number)
        output.left = output.most
        # the course's own imports take what they take: a busy machine is no fault of the learner
        most = left if number < job["first_cells"] else job["cell_seconds"]
        given = min(most, max(LEAST_SECONDS, left))
        try:
            clock.start(given)
            result = kernel.run(source)
            error = result.error_before_exec or result.error_in_exec
        except BaseException as raised:
            error = raised
        left -= given - clock.stop()
        unfinished = isinstance(error, NotImplementedError) and shell.of_a_cell(error)
        if error is not None and not unfinished:
            frames.write(fd, frames.RAISED, number, 0, described(error))


def described(error: BaseException) -> bytes:
    """An error's class and message as bytes, whatever a learner's class does when asked."""
    try:
        text = f"{type(error).__name__}: {error}"
    except BaseException:
        text = "an error that cannot be printed"
    return text[:MESSAGE].encode("utf-8", "replace")


class Asked:
    """What the submission is asked: for each part a name, and the cases to call it with."""

    def __init__(self, folder: Path, job: dict, fd: int):
        # imported before any cell runs, so that only what a cell does on purpose changes them
        from course_checks import answers, part

        self.answers, self.call = answers, part.call
        self.parts, self.seconds, self.fd = job["parts"], job["call_seconds"], fd
        self.checked: dict[str, tuple] = {}
        self.cases: dict[tuple[int, int], list] = {}
        buffer = bytearray((folder / "cases.bin").read_bytes())
        while (frame := frames.take(buffer, answers.MAX_BYTES)) is not None:
            _, number, case, content = frame
            self.cases[number, case] = answers.from_bytes(content)

    def listen(self, names: dict) -> None:
        """Keep the function that each check is given, and all names as they are at that time.

        A later cell may take the name of a helper, or of `list`: the function that its check
        found right is still right.
        """
        import course_checks

        def told(name, function):
            if callable(function):
                self.checked[name] = function, dict(names)

        course_checks.told = told

    def answer(self, names: dict) -> None:
        """Send an answer to every case, each as soon as it is known."""
        for number, part in enumerate(self.parts):
            if part["skip"]:
                continue
            wanted, checked = names.get(part["answer"]), self.checked.get(part["name"])
            ways = [] if wanted is None else [(wanted, {})]
            if checked is not None:
                # if its check was given another function, that one stands in where this one fails
                again = [checked, (checked[0], {})]
                ways = again if wanted is checked[0] or not callable(wanted) else [*ways, *again]
            if not ways:
                frames.write(self.fd, frames.MISSING, number)
                continue
            called = partial(self._called, ways, names)
            ask = partial(_itself, wanted) if part["is_value"] else called
            left = 1.5 * self.seconds  # endless in one case is endless in all
            for case in range(part["cases"]):
                frames.write(self.fd, frames.CALL, number, case)
                given = min(self.seconds, max(LEAST_SECONDS, left))
                try:
                    left -= given - self._send(number, case, ask, given)
                except (
                    BaseException
                ):  # no answer to this case; the next ones are asked all the same
                    continue

    def _send(self, number: int, case: int, ask, seconds: float) -> float:
        """Answer a case; the seconds that were left."""
        clock = Clock()
        sys.stdout = sys.stderr = Output(1_000_000)
        try:
            clock.start(seconds)
            answer = ask(tuple(self.cases[number, case]))
            content, kind = self.answers.to_bytes(answer), frames.ANSWER
        except self.answers.AnswerError as error:
            content, kind = str(error)[:MESSAGE].encode("utf-8", "replace"), frames.UNFIT
        except BaseException as error:
            name, _, message = described(error).decode().partition(": ")
            content, kind = (
                self.answers.to_bytes(self.answers.Failure(name, message)),
                frames.ANSWER,
            )
        left = clock.stop()
        frames.write(self.fd, kind, number, case, content)
        return left

    def _called(self, ways: list[tuple], names: dict, case: tuple):
        """The first answer of several ways to ask: a function, and the names that it is to find.

        Where all fail, the first failure that is more than an unfinished exercise.
        """
        failures = []
        for function, then in ways:
            if not callable(function):
                raise self.answers.AnswerError(
                    f"this is of type {type(function).__name__}, not a function."
                )
            with instead(names, then) if then else nullcontext():
                answer = self.call(function, case)
            if not isinstance(answer, self.answers.Failure):
                return answer
            failures.append(answer)
        more = (one for one in failures if one.error != NotImplementedError.__name__)
        return next(more, failures[0])


def _itself(value, _case: tuple):
    """Instead of a function's answer to a case."""
    return value


@contextmanager
def instead(names: dict, then: dict):
    """For a while all names are what they were then."""
    now = dict(names)
    names.clear()
    names.update(then)
    try:
        yield
    finally:
        then.clear()
        then.update(names)
        names.clear()
        names.update(now)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
