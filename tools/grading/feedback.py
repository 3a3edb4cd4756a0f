"""Pages for people: one for each student, and one with all texts for whoever marks by hand.

All that comes from a submission is escaped, and the page's policy forbids scripts and everything
from elsewhere, so that a page can be opened and given away whatever was handed in.
"""

import re
from html import escape as _escape

from .assignment import Assignment
from .by_hand import ByHand
from .table import automatic_marks

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto;
  padding: 0 1rem; color: #1b1b1b; }
h1 { font-size: 1.5rem; margin-bottom: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .3rem }
.sum { color: #555; margin-top: .2rem } .marks { float: right; font-weight: 600 }
.part { border-top: 1px solid #ccc; padding-bottom: 1rem }
.full .marks { color: #17692b } .none .marks { color: #a32020 }
pre, blockquote { background: #f4f4f2; padding: .7rem .9rem; margin: .5rem 0; border-radius: 4px;
  white-space: pre-wrap; overflow-wrap: anywhere; font-size: .9rem }
blockquote { font-family: inherit } pre { font-family: ui-monospace, monospace; overflow-x: auto }
code { font-family: ui-monospace, monospace; font-size: .92em }
.note { background: #fff6dc; padding: .6rem .9rem; border-radius: 4px }
summary { cursor: pointer; color: #444 }
"""


def page(title: str, body: str) -> str:
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f'<meta name="viewport" content="width=device-width">\n'
        f"<title>{text(title)}</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def text(words: str) -> str:
    """Untrusted words as HTML: escaped, without characters that turn or hide text."""
    plain = "".join(c for c in words if c.isprintable() or c in "\n\t")
    return _escape(plain, quote=True)


def prose(words: str) -> str:
    """The same, and what stands between backticks set as code."""
    return re.sub("`([^`\n]+)`", r"<code>\1</code>", text(words))


def of_student(grade: dict, assignment: Assignment, by_hand: ByHand) -> str:
    """A student's page: marks, messages, code, and the texts with what they were given."""
    automatic, hand = automatic_marks(grade), by_hand.of(grade, assignment)
    most = assignment.points
    if hand is None:
        total = f"{automatic:g} points so far; the answers in words are still being read"
    else:
        total = f"{round(automatic + hand, 2):g} of {most:g} points"
    body = [
        f"<h1>{text(assignment.name)}: {text(grade['student'])}</h1>",
        f'<p class="sum">{total}</p>',
    ]
    notes = [grade["trouble"], *grade["remarks"]]
    body += [f'<p class="note">{prose(note[:1].upper() + note[1:])}</p>' for note in notes if note]
    body += [_part(part) for part in grade["parts"]]
    for one in assignment.texts:
        mark = by_hand.mark(grade, one.name)
        given = f"{mark:g} of {one.points:g}" if mark is not None else f"of {one.points:g}"
        answer = grade["texts"].get(one.name) or "(no answer)"
        body.append(
            _section(
                given, mark, one.points, "in your words", f"<blockquote>{text(answer)}</blockquote>"
            )
        )
    comment = by_hand.comments.get(grade["key"])
    body += (
        [f'<h2>From your instructor</h2><p class="note">{prose(comment)}</p>'] if comment else []
    )
    return page(f"{assignment.name}: {grade['student']}", "\n".join(body))


def _part(part: dict) -> str:
    given = f"{part['marks']:g} of {part['points']:g}"
    code = text(part["code"] or "(no cell of this name)")
    details = f"<details><summary>your code</summary><pre>{code}</pre></details>"
    inner = f"<p>{prose(part['message'])}</p>{details}"
    return _section(given, part["marks"], part["points"], part["title"], inner)


def _section(given: str, marks: float | None, points: float, title: str, inner: str) -> str:
    kind = "full" if marks == points else "none" if marks == 0 else "some"
    return (
        f'<section class="part {kind}">'
        f'<h2><span class="marks">{text(given)}</span>{prose(title)}</h2>\n'
        f"{inner}</section>"
    )


def all_texts(grades: list[dict], assignment: Assignment, by_hand: ByHand) -> str:
    """All answers in words, question by question, beside rubric and model answer."""
    body = [f"<h1>{text(assignment.name)}: answers in words</h1>"]
    body.append(
        f'<p class="sum">Marks go into {text(assignment.name)}_by_hand.csv; '
        "then run make grade again.</p>"
    )
    for one in assignment.texts:
        body.append(
            f"<h2>{text(one.name)} ({one.points:g} points)</h2>"
            f"<blockquote>{prose(one.task)}</blockquote>"
        )
        body.append(
            "<details><summary>model answer</summary>"
            f"<blockquote>{prose(one.model)}</blockquote></details>"
        )
        for grade in grades:
            mark = by_hand.mark(grade, one.name)
            given = "no mark yet" if mark is None else f"{mark:g} of {one.points:g}"
            answer = text(grade["texts"].get(one.name) or "(no answer)")
            title = f"{grade['student']} [{grade['key']}]"
            body.append(
                _section(given, mark, one.points, title, f"<blockquote>{answer}</blockquote>")
            )
    return page(f"{assignment.name}: answers in words", "\n".join(body))
