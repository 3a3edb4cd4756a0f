"""What a learner on a hub gets: a copy of the lectures and exercises of his own, and no
solutions.
"""

import os
import pwd
import subprocess
import sys
from pathlib import Path

GIVEN = ("lectures", "exercises")
# What learners need not read. The rest of the course is shared, read-only.
CLOSED = ("solutions", ".git", "tests", "submitted", "grades", "feedback", ".classroom")

COPY = """
import pathlib, shutil, sys
source, home = map(pathlib.Path, sys.argv[1:])
for name in {given!r}:
    for file in (source / name).rglob("*"):
        place = home / "course" / name / file.relative_to(source / name)
        if file.is_file() and ".ipynb_checkpoints" not in file.parts and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
"""


def close_to_learners(course: Path) -> list[str]:
    """Take everybody else's right to enter what is not for learners; the names of these folders."""
    closed = []
    for name in CLOSED:
        folder = course / name
        if folder.is_dir():
            folder.chmod(0o700)
            closed.append(name)
    return closed


def hand_out(course: Path, spawner) -> None:
    """Before a server starts: the learner's own copy. A file that is there is never touched.

    It is done as the learner, so that a link in a home leads nowhere that the learner may not go.
    """
    home, user = Path(spawner_home(spawner)), {}
    if os.geteuid() == 0:
        entry = pwd.getpwnam(spawner.user.name)
        user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    else:
        home.mkdir(parents=True, exist_ok=True)
    code = COPY.format(given=GIVEN)
    call = [sys.executable, "-I", "-c", code, str(course), str(home)]
    subprocess.run(call, check=True, cwd="/", **user)


def spawner_home(spawner) -> str:
    if os.geteuid() == 0:
        return pwd.getpwnam(spawner.user.name).pw_dir
    return spawner.home_dir
