"""`make grade`: run submissions where they can do no harm, judge their answers, write the marks.

The path of a submission: `collect` finds it, `notebook` reads it, `sandbox` and `watch` run
`inside/runner.py` on that, `grader` marks the answers that come back, `store` keeps the marks,
`feedback`, `by_hand` and `table` show them. `lms` and `roster` are the ways from and to an LMS,
`remote` the way to other machines; `command` puts all in order.

The submission's code runs in the sandbox only. Out of it come answers as data, which
`course_checks.answers` decodes and `course_checks` judges out here. Everything that
decides about marks (parts, points, hidden cases, right answers) stays outside.
"""
