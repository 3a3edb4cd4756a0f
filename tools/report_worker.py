"""What a worker of a cluster does for `python -m course_utils.report --cluster`.

The scheduler reads tasks, too, so nothing here imports torch before a task runs (see cluster.py).
"""


def work(task: dict):
    """The answers of one batch: see `course_utils.report.answer`."""
    from course_utils.report import Task, answer

    return answer(Task(**task))
