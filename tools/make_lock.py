"""Write requirements.lock, one version of every package, from pyproject.toml (`make lock`).

pip resolves without installing. Left out are the CUDA and Triton packages: torch's own Linux wheel
pins those itself, and without them the lock serves macOS, Windows and CPU-only wheels of torch as
well. Packages that other systems need in addition (colorama on Windows, appnope on macOS) are found
by pip there.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BROUGHT_BY_TORCH = re.compile(r"(nvidia|cuda)-|triton$")
HEADER = """\
# One tested version of every package of the course, tests included: what `make` installs into .venv.
# Made by `make lock` from pyproject.toml with Python {python} on {platform}; change that file, not this one.
# Not listed: the CUDA and Triton packages, which torch's own Linux wheel pins.
"""


def resolve() -> dict[str, str]:
    """The newest versions that pyproject.toml admits together: name -> version."""
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    command += [
        "--dry-run",
        "--ignore-installed",
        "--report",
        "-",
        f"{ROOT}[test]",
        "setuptools>=77",
    ]
    report = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT)
    packages = (entry["metadata"] for entry in json.loads(report.stdout)["install"])
    return {package["name"].lower().replace("_", "-"): package["version"] for package in packages}


def main() -> None:
    found = resolve()
    found.pop("targeted-visual-explanations")
    rows = [f"{name}=={found[name]}" for name in sorted(found) if not BROUGHT_BY_TORCH.match(name)]
    python = ".".join(map(str, sys.version_info[:2]))
    header = HEADER.format(python=python, platform=sys.platform)
    (ROOT / "requirements.lock").write_text(header + "\n".join(rows) + "\n")
    print(f"requirements.lock: {len(rows)} packages")


if __name__ == "__main__":
    main()
