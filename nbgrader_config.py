"""How nbgrader makes exercises/ from solutions/ (`make exercises`); it is used for nothing else."""

from pathlib import Path

c = get_config()  # noqa: F821  (nbgrader defines it when it reads this file)

c.CourseDirectory.root = str(Path(__file__).resolve().parent)
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "exercises"
c.NbGrader.logfile = ""
c.ClearSolutions.code_stub = {"python": "raise NotImplementedError()"}
c.ClearSolutions.text_stub = "YOUR ANSWER HERE"
