"""requirements.lock, one version of every package: resolved from pyproject.toml, and checked.

    python tools/make_lock.py            resolve anew and write it, then check it (`make lock`)
    python tools/make_lock.py --check    ask whether every entry installs where it is promised

pip resolves without installing, for the oldest Python that the course promises: a package's newest
version may need a newer one. Left out are the CUDA and Triton packages: torch's own Linux wheel
pins those itself, and without them the lock serves macOS, Windows and CPU-only wheels of torch as
well. Packages that other systems need in addition (colorama on Windows, appnope on macOS) are found
by pip there.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

import requests
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
BROUGHT_BY_TORCH = re.compile(r"(nvidia|cuda)-|triton$")
HEADER = """\
# One tested version of every package of the course, tests included: what `make` installs.
# Made by `make lock` from pyproject.toml, for Python {python} and newer; change that file.
# Not listed: the CUDA and Triton packages, which torch's own Linux wheel pins.
"""
PYTHONS = ("3.11.0", "3.12.0", "3.13.0", "3.14.0")
_GLIBC = (5, 12, 17, 24, 26, 27, 28, 31, 34)  # a wheel's tag names the oldest C library it runs on
PLATFORMS = {
    "Linux x86-64": tuple(f"manylinux_2_{n}_x86_64" for n in _GLIBC)
    + ("manylinux1_x86_64", "manylinux2010_x86_64", "manylinux2014_x86_64"),
    "Linux arm64": tuple(f"manylinux_2_{n}_aarch64" for n in _GLIBC) + ("manylinux2014_aarch64",),
    "macOS arm64": tuple(f"macosx_{n}_0_arm64" for n in range(11, 16))
    + tuple(f"macosx_{n}_0_universal2" for n in range(11, 16))
    + tuple(f"macosx_10_{n}_universal2" for n in range(9, 16)),
    "Windows": ("win_amd64",),
}


def pip(*arguments: str) -> subprocess.CompletedProcess:
    """pip install as a dry run, wheels only."""
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    command += ["--dry-run", "--ignore-installed", "--only-binary=:all:", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def aim(python: str, platform: str) -> list[str]:
    """pip's options for another Python on another machine."""
    options = [part for tag in PLATFORMS[platform] for part in ("--platform", tag)]
    return ["--python-version", python, "--target", tempfile.gettempdir(), *options]


def resolve() -> dict[str, str]:
    """The newest versions that pyproject.toml admits together on the oldest Python: name ->
    version.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"], "setuptools>=77"]
    found = pip("--report", "-", *aim(PYTHONS[0], "Linux x86-64"), *wanted)
    if found.returncode:
        sys.exit(found.stderr)
    packages = (entry["metadata"] for entry in json.loads(found.stdout)["install"])
    return {package["name"].lower().replace("_", "-"): package["version"] for package in packages}


def compiled() -> set[str]:
    """Installed packages with compiled code: only their wheels differ from machine to machine."""
    found = set()
    for package in distributions():
        tags = re.findall(r"^Tag: (.*)$", package.read_text("WHEEL") or "", re.MULTILINE)
        if not any(tag.endswith("-none-any") for tag in tags):
            found.add(package.metadata["Name"].lower().replace("_", "-"))
    return found


def entries() -> list[str]:
    return [line for line in LOCK.read_text().splitlines() if line and line[0] != "#"]


def missing(python: str, platform: str, wanted: list[str]) -> str:
    """What pip says against these entries there; "" if all of them install."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(wanted))
        file.flush()
        answer = pip("--no-deps", *aim(python, platform), "-r", file.name)
    lines = answer.stderr.splitlines()
    errors = [line for line in lines if "No matching distribution" in line or "yanked" in line]
    if answer.returncode and not errors:
        said = [line for line in lines if line.startswith("ERROR") and line != "ERROR: Exception:"]
        errors = said or lines[-1:]  # a traceback ends with what it was
    return " ".join(errors)


@cache
def index() -> str:
    """The address of the index that pip asks: its help names it, whoever set it."""
    command = [sys.executable, "-m", "pip", "install", "--help"]
    wide = os.environ | {"COLUMNS": "1000"}
    said = subprocess.run(command, capture_output=True, text=True, env=wide).stdout
    found = re.search(r"--index-url <url>.*\(default (\S+?)/?\)", said)
    return found[1] if found else ""


@cache
def session() -> requests.Session:
    """One connection for all packages."""
    one = requests.Session()
    one.headers["Accept"] = "application/vnd.pypi.simple.v1+json"
    return one


@cache
def wheels(entry: str) -> list[tuple[frozenset[Tag], SpecifierSet]]:
    """Each wheel that the index lists of an entry: its tags and the Pythons that it runs on.

    Empty where the index gives no such list.
    """
    name, _, version = entry.partition("==")
    try:
        files = session().get(f"{index()}/{name}/", timeout=60).json()["files"]
        its_own = [
            file
            for file in files
            if file["filename"].endswith(".whl")
            and file["filename"].split("-")[1] == version
            and not file.get("yanked")
        ]
        return [
            (
                parse_wheel_filename(file["filename"])[3],
                SpecifierSet(file.get("requires-python") or ""),
            )
            for file in its_own
        ]
    except (requests.RequestException, ValueError, LookupError):
        return []


@cache
def tags(python: str, platform: str) -> frozenset[Tag]:
    """What a wheel may be made for to install there."""
    version = tuple(map(int, python.split(".")[:2]))
    name = "cp{}{}".format(*version)
    there = cpython_tags(version, [name], PLATFORMS[platform])
    return frozenset([*there, *compatible_tags(version, name, PLATFORMS[platform])])


def listed(entry: str, python: str, platform: str) -> bool:
    """Whether the index lists a wheel of this entry for there."""
    return any(
        pythons.contains(python) and its & tags(python, platform) for its, pythons in wheels(entry)
    )


def faults(python: str) -> dict[str, str]:
    """Where the lock does not install with this Python: platform -> why.

    Every entry is asked for once with the oldest Python and once with the newest; elsewhere the
    compiled ones, since the rest are the same files. What the index does not list as it should be
    is asked of pip, which has the last word: pip alone would read each list eight times, and fetch
    gigabytes of wheels.
    """
    binary = compiled()
    answers = {}
    for number, platform in enumerate(PLATFORMS):
        all_of_them = number == 0 and python in (PYTHONS[0], PYTHONS[-1])
        wanted = [one for one in entries() if all_of_them or one.split("==")[0] in binary]
        unsettled = [one for one in wanted if not listed(one, python, platform)]
        answers[platform] = missing(python, platform, unsettled) if unsettled else ""
    return {platform: why for platform, why in answers.items() if why}


def check() -> int:
    """Print where the lock does not install; 1 if that is anywhere."""
    bad = 0
    for python in tqdm(PYTHONS, desc="asking pip", leave=False):
        for platform, why in faults(python).items():
            bad = 1
            tqdm.write(f"Python {python}, {platform}: {why}")
    if not bad:
        print(f"Every entry installs: Python {', '.join(PYTHONS)} on {', '.join(PLATFORMS)}.")
    return bad


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only check the lock that is there")
    if not parser.parse_args().check:
        found = resolve()
        names = sorted(name for name in found if not BROUGHT_BY_TORCH.match(name))
        rows = [f"{name}=={found[name]}" for name in names]
        LOCK.write_text(HEADER.format(python=PYTHONS[0]) + "\n".join(rows) + "\n")
        print(f"requirements.lock: {len(rows)} packages")
    return check()


if __name__ == "__main__":
    sys.exit(main())
