"""`make exercises`: generate exercises/ from solutions/ with nbgrader.

    python tools/make_exercises.py                 write exercises/
    python tools/make_exercises.py --into FOLDER   write there instead (the tests compare)

nbgrader lives in .extras/grading, behind the environment of the course: what both have is used as
requirements.lock has it. It works in a scratch folder, so that an interrupted run leaves exercises/
as it was, and only what differs is written.
"""

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def sources(solutions: Path) -> list[Path]:
    """The assignments' notebooks, one in each folder.

    Raises:
        SystemExit: a folder holds something else, too: nbgrader would hand it to the learners.
    """
    found = []
    for folder in sorted(path for path in solutions.iterdir() if path.is_dir()):
        files = [path for path in folder.rglob("*") if ".ipynb_checkpoints" not in path.parts]
        notebook = folder / f"{folder.name}.ipynb"
        if files != [notebook]:
            names = ", ".join(sorted(path.name for path in files)) or "nothing"
            sys.exit(f"{folder} must hold {notebook.name} and nothing else; it holds {names}.")
        found.append(notebook)
    return found


def generate(notebooks: list[Path], scratch: Path) -> list[Path]:
    """Learners' versions of these notebooks, made by nbgrader below `scratch`."""
    os.environ |= {"JUPYTER_NO_CONFIG": "1", "JUPYTER_CONFIG_DIR": str(scratch)}  # none but ours
    sys.path.append(str(ROOT / ".extras" / "grading"))
    from nbgrader.apps import GenerateAssignmentApp

    shutil.copy(ROOT / "nbgrader_config.py", scratch)
    made = []
    for notebook in notebooks:
        name = notebook.stem
        (scratch / "solutions" / name).mkdir(parents=True)
        shutil.copyfile(notebook, scratch / "solutions" / name / notebook.name)
        with contextlib.chdir(scratch):
            app = GenerateAssignmentApp()
            app.initialize([name, "--no-db", "--force", "--log-level=ERROR"])
            app.start()
        made.append(scratch / "exercises" / name / notebook.name)
    return made


def publish(made: list[Path], folder: Path) -> list[str]:
    """Put the new notebooks into `folder`; what changed."""
    changed = []
    for notebook in made:
        place = folder / notebook.stem / notebook.name
        text = notebook.read_bytes()
        if not place.exists() or place.read_bytes() != text:
            place.parent.mkdir(parents=True, exist_ok=True)
            part = place.with_suffix(".part")
            part.write_bytes(text)
            part.replace(place)
            changed.append(f"wrote {place.relative_to(folder)}")
    return changed


def tidy(made: list[Path], folder: Path) -> list[str]:
    """Take away exercises without a source; what was removed."""
    changed = []
    for stray in sorted(
        path for path in folder.glob("*/") if path.name not in {m.stem for m in made}
    ):
        if (stray / f"{stray.name}.ipynb").exists():
            shutil.rmtree(stray)
            changed.append(f"removed {stray.name}: it has no source in solutions/")
    return changed


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", type=Path, default=ROOT / "exercises")
    parser.add_argument("--solutions", type=Path, default=ROOT / "solutions")
    options = parser.parse_args(arguments)
    notebooks = sources(options.solutions)
    with tempfile.TemporaryDirectory() as scratch:
        made = generate(notebooks, Path(scratch))
        changed = publish(made, options.into)
    if (
        options.solutions == ROOT / "solutions"
    ):  # all of them, so that what is missing is gone for good
        changed += tidy(made, options.into)
    print("\n".join(changed) or f"{len(notebooks)} exercises are as solutions/ generate them.")


if __name__ == "__main__":
    main()
