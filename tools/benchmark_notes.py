"""What `make benchmark` has measured so far, on disk, so that a run that was stopped goes on."""

import json
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

import torch
from benchmark_contenders import CONTENDERS, Contender
from benchmark_report import Results

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".extras" / "benchmark_notes"


def fingerprint(rounds: int) -> str:
    """What the figures depend on: this course's code, the benchmark's, PyTorch, the rounds."""
    files = sorted([*(ROOT / "course_utils").rglob("*.py"), *ROOT.glob("tools/benchmark*.py")])
    digest = sha256(f"{rounds} {torch.__version__} {torch.get_num_threads()}".encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _file(name: str) -> Path:
    return FOLDER / f"{name.replace('/', '-')}.json"


def keep(name: str, results: Results, mark: str) -> None:
    """Note what was measured on one network; whole, or not at all."""
    values = asdict(results) | {
        "ratios": [[c.__name__, task, times] for (c, task), times in results.ratios.items()],
        **{field: _by_name(getattr(results, field)) for field in ("saved", "peak", "difference")},
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    part = _file(name).with_suffix(".part")
    part.write_text(json.dumps({"mark": mark, "results": values}), encoding="utf-8")
    part.replace(_file(name))


def kept(name: str, mark: str) -> Results | None:
    """What an earlier run noted with the same code; None: nothing, or of other code."""
    try:
        notes = json.loads(_file(name).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    if notes["mark"] != mark:
        return None
    values, classes = notes["results"], {c.__name__: c for c in CONTENDERS}
    values["ratios"] = {(classes[c], task): times for c, task, times in values["ratios"]}
    for field in ("saved", "peak", "difference"):
        values[field] = {classes[c]: value for c, value in values[field].items()}
    return Results(**values)


def forget(names: list[str]) -> None:
    """The page is written: the next run measures anew."""
    for name in names:
        _file(name).unlink(missing_ok=True)


def _by_name(values: dict[type[Contender], float]) -> dict[str, float]:
    return {contender.__name__: value for contender, value in values.items()}
