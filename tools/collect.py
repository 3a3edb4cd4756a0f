"""`make collect`: put a class's hand-ins where `make grade` looks. See docs/grading.md.

python tools/collect.py ex02_gradcam submissions.zip [--submitted DIR]
python tools/collect.py ex02_gradcam hub             the homes below /home, or HUB_HOMES
"""

import argparse
import os
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: list[str] | None = None) -> int:
    """Collect; the exit status: 0, or 1 if nothing was taken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("assignment")
    parser.add_argument("source", help="a zip file, a folder, or hub")
    parser.add_argument("--submitted", type=Path, default=ROOT / "submitted")
    options = parser.parse_args(arguments)
    from grading import lms
    from grading.limits import Limits

    import course_checks as checks

    hub = options.source == "hub" and not Path("hub").exists()
    source = Path(os.environ.get("HUB_HOMES", lms.HOMES)) if hub else Path(options.source)
    try:
        checks.parts(options.assignment)
        taken = lms.take(source, options.assignment, options.submitted, Limits().notebook)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    for sentence in taken.said:
        print(sentence, file=sys.stderr)
    many = Counter(taken.changes.values())
    counted = ", ".join(f"{many[state]} {state}" for state in ("new", "changed", "as before"))
    print(
        f"{len(taken.changes)} hand-ins of {options.assignment} in {options.submitted}: {counted}."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
