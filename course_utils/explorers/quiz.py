"""A quiz in which every choice, right or wrong, is explained, with a score at the end."""

from dataclasses import dataclass
from html import escape

import ipywidgets as w

from .panel import names_for_readers


@dataclass(frozen=True)
class QuizQuestion:
    """One question.

    Args:
        text: the question, in words.
        choices: what can be chosen -> why it is right or wrong.
        right: the right choice, one of `choices`.
        look: where the course answers it, as (words, link).

    Raises:
        ValueError: `right` is not among the choices, or there are fewer than two.
    """

    text: str
    choices: dict[str, str]
    right: str
    look: tuple[str, str]

    def __post_init__(self):
        if self.right not in self.choices or len(self.choices) < 2:
            raise ValueError(
                f"'{self.text}' needs two choices or more, and the right one among them."
            )


class Quiz(w.VBox):
    """Questions one below the other; the first choice counts, the explanation follows at once.

    Where no kernel runs (a page, an archive), the choices are listed and the answers folded.

    Attributes:
        score: how many first choices were right.
        answered: how many questions have been answered.
        out: where an unforeseen error in a callback would be shown.
    """

    def __init__(self, questions: list[QuizQuestion]):
        self.questions = questions
        self._first: dict[int, str] = {}
        self.choices = [self._radio(q) for q in questions]
        self.feedback = [w.HTML() for _ in questions]
        self.result, self.out = w.HTML(), w.Output()
        rows = []
        for n, question in enumerate(questions):
            self.choices[n].observe(lambda change, n=n: self._answer(n, change.new), "value")
            heading = w.HTML(f"<b>{n + 1}. {escape(question.text)}</b>")
            rows.append(w.VBox([heading, self.choices[n], self.feedback[n]]))
        self._show_result()
        super().__init__([*rows, self.result, self.out, names_for_readers()])

    def _repr_mimebundle_(self, **options) -> dict:
        bundle = super()._repr_mimebundle_(**options) or {}
        return bundle | {"text/html": still(self.questions)}

    @staticmethod
    def _radio(question: QuizQuestion) -> w.RadioButtons:
        return w.RadioButtons(
            options=list(question.choices),
            value=None,
            layout=w.Layout(width="auto", max_width="60em"),
        )

    @property
    def answered(self) -> int:
        return len(self._first)

    @property
    def score(self) -> int:
        return sum(self.questions[n].right == choice for n, choice in self._first.items())

    def _answer(self, n: int, choice: str | None) -> None:
        with self.out:
            if choice is None:
                return
            self._first.setdefault(n, choice)
            question = self.questions[n]
            verdict = "Right." if choice == question.right else "Not this one."
            words, link = question.look
            self.feedback[n].value = (
                f"<div role='status'><b>{verdict}</b> {escape(question.choices[choice])} "
                f"<a href='{escape(link, quote=True)}'>{escape(words)}</a></div>"
            )
            self._show_result()

    def _show_result(self) -> None:
        total, left = len(self.questions), len(self.questions) - self.answered
        words = (
            f"{left} of {total} questions to go."
            if left
            else f"Your score: {self.score} of {total}."
        )
        if not left:
            missed = [str(n + 1) for n, q in enumerate(self.questions) if self._first[n] != q.right]
            words += (
                f" Read again: question {', '.join(missed)}." if missed else " All of them right."
            )
        self.result.value = f"<div role='status'><b>{words}</b> Your first choice counts.</div>"


def still(questions: list[QuizQuestion]) -> str:
    """The questions with their choices as HTML, each answer folded."""
    return f"<ol class='quiz'>{''.join(map(_still, questions))}</ol>"


def _still(question: QuizQuestion) -> str:
    choices = "".join(f"<li>{escape(choice)}</li>" for choice in question.choices)
    why = "".join(
        f"<li>{'<b>Right.</b>' if choice == question.right else 'Not:'} {escape(choice)} "
        f"{escape(reason)}</li>"
        for choice, reason in question.choices.items()
    )
    words, link = question.look
    look = f"<p><a href='{escape(link, quote=True)}'>{escape(words)}</a></p>"
    return (
        f"<li><p><b>{escape(question.text)}</b></p><ul>{choices}</ul>"
        f"<details><summary>Answer</summary><ul>{why}</ul>{look}</details></li>"
    )
