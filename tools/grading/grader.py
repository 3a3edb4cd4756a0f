"""Run one submission and mark what it answered."""

import json
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

from course_checks.answers import AnswerError, Failure, Network, from_bytes, to_bytes
from course_checks.part import NOT_ATTEMPTED, Part, Verdict
from course_checks.report import marks, sentence, without_luck

from . import watch
from .assignment import Assignment
from .collect import Submission
from .inside import frames
from .limits import Limits
from .notebook import Notebook, Unreadable, parse, quoted, tidy
from .sandbox import Sandbox

LONGEST = 800  # characters of a message
LONGEST_TEXT = 100_000
MOST_REMARKS = 12
MOST_IDLE = 20
MOST_LEFT_OUT = 3  # cells that end the program
IDLE = "These did nothing here, where there is no screen, no shell and no further package: {}."


class GraderError(RuntimeError):
    """The grader itself failed: nothing is known about the submission."""


@dataclass(frozen=True)
class Grader:
    """Everything that grades a submission beside the submission."""

    assignment: Assignment
    sandbox: Sandbox
    limits: Limits
    seed: int

    def grade(self, submission: Submission) -> dict:
        """Marks, messages and texts of one submission, made of JSON's types.

        Raises:
            GraderError: the sandbox did not come up.
        """
        if submission.content is None:
            return self._nothing(submission, submission.trouble)
        try:
            notebook = parse(submission.content)
        except Unreadable as error:
            return self._nothing(submission, str(error))
        asked = Asked(self, notebook)
        asked.run()
        given, texts = self.assignment.given, self.assignment.texts
        remarks = (*submission.remarks, *notebook.remarks, *asked.remarks())
        return {
            "trouble": "",
            "remarks": [text[:LONGEST] for text in remarks[:MOST_REMARKS]],
            "parts": [asked.marked(number) for number in range(len(self.assignment.parts))],
            "texts": {
                text.name: notebook.words(text.name, text.task, given)[:LONGEST_TEXT]
                for text in texts
            },
        }

    def _nothing(self, submission: Submission, trouble: str) -> dict:
        parts = [
            _marked(part, [Verdict(0.0, "nothing to judge.")], "") for part in self.assignment.parts
        ]
        texts = {text.name: "" for text in self.assignment.texts}
        return {
            "trouble": trouble,
            "remarks": [*submission.remarks],
            "parts": parts,
            "texts": texts,
        }


class Asked:
    """A notebook, what it is asked, and what it answered."""

    def __init__(self, grader: Grader, notebook: Notebook):
        self.grader, self.notebook = grader, notebook
        self.parts = grader.assignment.parts
        self.cases = [part.cases(grader.seed) for part in self.parts]
        self.answers: dict[tuple[int, int], tuple[bytes, bytes]] = {}
        self.missing: set[int] = set()
        self.raised: list[str] = []
        self.idle: list[str] = []  # lines that did nothing
        self.ends: dict[int, str] = {}  # part -> how the program ended while it was asked
        self.left_out: dict[int, str] = {}  # code cell -> how the program ended in it
        self.end = ""

    def run(self) -> None:
        """Ask all parts; where one ends the program, ask the later ones in a new one.

        Where a cell ends it (as `os._exit` does, by which some restart their kernel), begin anew
        without that cell.
        """
        limits, first = self.grader.limits, 0
        while first < len(self.parts):
            run = self._once(limits, first)
            limits = replace(limits, seconds=limits.seconds - run.seconds)
            if self._keep(run, first):
                return
            kind, number, *_ = run.last(frames.CELL, frames.CALL) or (b"", 0)
            again = number in self.left_out or len(self.left_out) == MOST_LEFT_OUT
            if kind == frames.CALL and limits.seconds >= limits.restart:
                part = min(max(number, first), len(self.parts) - 1)
                self.ends[part] = self._how(run)
                first = part + 1
            elif kind == frames.CELL and limits.seconds >= limits.restart and not again:
                self.left_out[number] = self._how(run)
            else:
                self.end = self._how(run)
                return

    def _once(self, limits: Limits, first: int) -> watch.Run:
        pipe, fd = os.pipe()
        sandbox = self.grader.sandbox
        with tempfile.TemporaryDirectory(dir=sandbox.stage.parent) as folder:
            job, scratch = Path(folder) / "job", Path(folder) / "scratch"
            job.mkdir()
            scratch.mkdir()
            self._write_job(job, limits, first)
            command = sandbox.command(job, scratch, fd, limits)
            run = watch.run(command, fd, pipe, sandbox.environment(scratch), scratch, limits)
        if frames.READY not in run.kinds():
            raise GraderError(
                f"the sandbox did not come up ({run.complaint or run.ended or 'it ended'})"
            )
        return run

    def _write_job(self, folder: Path, limits: Limits, first: int) -> None:
        job = {
            "cells": [
                "" if number in self.left_out else code
                for number, code in enumerate(self.notebook.code())
            ],
            "first_cells": self._first_cells(),
            "parts": [
                {
                    "name": p.name,
                    "answer": p.answer,
                    "is_value": p.is_value,
                    "cases": len(cases),
                    "skip": number < first,
                }
                for number, (p, cases) in enumerate(zip(self.parts, self.cases))
            ],
            "cells_seconds": limits.cells_seconds,
            "cell_seconds": limits.cell_seconds,
            "call_seconds": limits.call_seconds,
            "output": limits.output,
            "data_bytes": limits.data,
            "file_bytes": limits.scratch,
            "cpu_seconds": int(limits.seconds) + 60,
        }
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        with (folder / "cases.bin").open("wb") as file:
            for number, cases in enumerate(self.cases):
                for case, inputs in enumerate(cases):
                    frames.write(file.fileno(), frames.ANSWER, number, case, to_bytes(list(inputs)))

    def _keep(self, run: watch.Run, first: int) -> bool:
        """Keep the first answer to each case; whether the run came to its end."""
        for kind, part, case, content in run.frames:
            if kind in (frames.ANSWER, frames.UNFIT) and part >= first:
                self.answers.setdefault((part, case), (kind, content))
            elif kind == frames.MISSING:
                self.missing.add(part)
            elif (
                kind == frames.RAISED
                and first == 0
                and (not self._is_given(part) or content.startswith(b"TimeUp"))
            ):
                said = quoted(content.decode("utf-8", "replace"))
                self.raised.append(f"Code cell {part + 1} stopped with {said}.")
            elif kind == frames.NOTE and len(self.idle) < MOST_IDLE:
                self.idle.append(quoted(content.decode("utf-8", "replace"), 80))
        return bool(run.frames) and run.frames[-1][0] == frames.END

    def _is_given(self, number: int) -> bool:
        """Whether a code cell is the course's own: those that draw need what is withheld."""
        code = self.notebook.code()
        return number < len(code) and tidy(code[number]) in self.grader.assignment.given

    def _first_cells(self) -> int:
        """How many cells of the course's own stand before the first of the learner's."""
        given = self.grader.assignment.given
        return sum(1 for _ in takewhile(given.__contains__, map(tidy, self.notebook.code())))

    def _how(self, run: watch.Run) -> str:
        """How a run ended before its end, as a sentence."""
        why = run.ended or "it ended Python itself"
        kind, number, _, _ = run.last(frames.CELL, frames.CALL) or (b"", 0, 0, b"")
        if kind == frames.CELL:
            return f"the program was ended in code cell {number + 1}: {why}."
        name = self.parts[number].answer if number < len(self.parts) else "a function"
        return f"the program was ended in `{name}`: {why}."

    def remarks(self) -> list[str]:
        ends = [self.end, *self.left_out.values(), *self.ends.values()]
        idle = [IDLE.format(", ".join(dict.fromkeys(self.idle)))] if self.idle else []
        ends = [end[0].upper() + end[1:] for end in ends if end]
        return self._of_another() + ends + list(dict.fromkeys(self.raised)) + idle

    def _of_another(self) -> list[str]:
        """A remark if the cells' names are those of another assignment."""
        own = self.grader.assignment.name[:5]
        found = {cell.name[:5] for cell in self.notebook.cells if re.match(r"ex\d\d_", cell.name)}
        return (
            [f"This looks like the notebook of {min(found)[:4]}."]
            if found and own not in found
            else []
        )

    def marked(self, number: int) -> dict:
        """A part's marks and message."""
        part = self.parts[number]
        verdicts = [self._verdict(number, case) for case in range(len(self.cases[number]))]
        verdicts = without_luck(part, verdicts, self.cases[number])
        return _marked(part, verdicts, "\n\n".join(self.notebook.named(part.name)))

    def _verdict(self, number: int, case: int) -> Verdict:
        part = self.parts[number]
        kind, content = self.answers.get((number, case), (b"", b""))
        if kind == frames.ANSWER:
            return verdict_on(part, content, self.cases[number][case])
        if kind == frames.UNFIT:
            said = quoted(content.decode("utf-8", "replace"))
            return Verdict(0.0, f"this is no answer that can be judged: {said}")
        if number in self.missing:
            return Verdict(0.0, f"your notebook does not define `{part.answer}`.")
        return Verdict(
            0.0,
            f"no answer came: {self.ends.get(number) or self.end or 'it was not given in time.'}",
        )


def verdict_on(part: Part, content: bytes, case: tuple) -> Verdict:
    """The verdict on an answer's untrusted bytes."""
    try:
        answer = from_bytes(content)
        if isinstance(answer, Network):
            raise AnswerError("A network is no answer.")
        if isinstance(answer, Failure):
            answer = _in_its_own_words(answer)
        verdict = part.verdict(answer, case)
    except Exception as error:  # a judge that an odd answer throws off must not stop the batch
        return Verdict(0.0, f"this answer cannot be judged ({type(error).__name__}: {error}).")
    if verdict == NOT_ATTEMPTED:
        return NOT_ATTEMPTED
    return replace(
        verdict,
        share=verdict.share if 0 <= verdict.share <= 1 else 0.0,
        says=_printable(verdict.says),
        names=tuple(map(_printable, verdict.names)),
    )


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)


def _in_its_own_words(failure: Failure) -> Failure:
    """An error with its words as a quotation: they are the student's, or those of forged bytes."""
    plain = failure.error.isidentifier() and failure.error.isprintable()
    name = failure.error if plain and len(failure.error) < 80 else quoted(failure.error, 80)
    return Failure(name, quoted(failure.message) if failure.message else "", failure.line)


def _marked(part: Part, verdicts: Sequence[Verdict], code: str) -> dict:
    return {
        "name": part.name,
        "title": part.title,
        "points": part.points,
        "marks": marks(part, verdicts),
        "message": sentence(part, verdicts)[:LONGEST],
        "code": code[:LONGEST_TEXT],
    }
