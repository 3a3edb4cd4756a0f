"""Put the photos' network into the page that answers in the browser (`make web`).

ONNX is an open file format for networks; onnxruntime-web (npm) runs it in the page. It has three
outputs: activations A at the target layer, logits, and the class maps S^c = W_c A / (hw)
of all classes, from which the page answers every question.
"""

import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parent.parent
RUNTIME = "onnxruntime-web@1.30.0"
PACKAGES, MODULES = ROOT / ".extras" / "web", ROOT / ".extras" / "web-npm"
FILES = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
MODEL = "classifier.onnx"
FOLDERS = ("network", "runtime")  # of the page's
OUTPUTS = ["activations", "logits", "class_maps"]


class WebError(RuntimeError):
    """The network cannot be put into the page, for a reason that is said in the message."""


class Questioned(nn.Module):
    """A timm network with all that a question needs: A (N x C x h x w), y (N x classes), S^c.

    It holds for a head of a mean over all places and one linear layer; see methods.closed_form.
    """

    def __init__(self, classifier: nn.Module):
        super().__init__()
        self.classifier = classifier

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        activations = self.classifier.forward_features(x)
        logits = self.classifier.forward_head(activations)
        places = activations.flatten(2)
        maps = self.classifier.classifier.weight @ places / places.shape[2]
        return activations, logits, maps.unflatten(2, activations.shape[2:])


def add_network(out: Path, classifier: nn.Module) -> None:
    """Write network/ and runtime/ into the page's folder.

    Weights stay float32. Rounded to float16 they change maps on the scale 0 to 1 by up to 0.03, and
    weak ones by 0.01 at the median, measured on the course's photos.

    Raises:
        WebError: a package is missing.
    """
    (out / "network").mkdir(exist_ok=True)
    export(classifier, out / "network" / MODEL)
    _copy_runtime(out / "runtime")


def recipe(out: Path, preprocess) -> dict:
    """What the page must know: how a photo is prepared, and how much there is to fetch."""
    model, wasm = f"network/{MODEL}", f"runtime/{FILES[2]}"
    return {
        "resize": preprocess.resize,
        "crop": preprocess.crop,
        "mean": preprocess.mean,
        "std": preprocess.std,
        "model": model,
        "modelBytes": (out / model).stat().st_size,
        "runtime": f"runtime/{FILES[0]}",
        "wasm": wasm,
        "wasmBytes": (out / wasm).stat().st_size,
    }


def export(classifier: nn.Module, path: Path) -> None:
    """Write the network as ONNX: input `x`, 1 x 3 x H x W; outputs as in OUTPUTS."""
    sys.path.append(str(PACKAGES))
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise WebError(
            f"The exporter's packages are missing ({error}): run `make web`, which fetches them."
        ) from None
    x = torch.zeros(1, 3, classifier.preprocess.crop, classifier.preprocess.crop)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own parts
        torch.onnx.export(
            Questioned(classifier).eval(), (x,), path, input_names=["x"], output_names=OUTPUTS,
            dynamo=True, external_data=False, verbose=False,
        )  # fmt: skip


def fetch_runtime() -> Path:
    """Where onnxruntime-web lies, fetched from npm if it is not there in that version.

    Raises:
        WebError: there is no npm, or it failed.
    """
    package, version = RUNTIME.split("@")
    folder = MODULES / "node_modules" / package
    about = folder / "package.json"
    if about.is_file() and json.loads(about.read_text())["version"] == version:
        return folder
    npm = shutil.which("npm")
    if npm is None:
        raise WebError("`make web` needs npm, which comes with Node.js: on Debian, apt install npm")
    command = [npm, "install", "--prefix", str(MODULES), "--no-save", "--no-audit", "--no-fund"]
    done = subprocess.run([*command, "--ignore-scripts", RUNTIME], capture_output=True, text=True)
    if done.returncode:
        raise WebError(f"npm could not fetch {RUNTIME}:\n{done.stderr.strip()[-1000:]}")
    return folder


def _copy_runtime(out: Path) -> None:
    folder = fetch_runtime()
    out.mkdir(exist_ok=True)
    for name in FILES:
        shutil.copy(folder / "dist" / name, out)
    shutil.copy(folder / "package.json", out / "onnxruntime-web.json")  # version, maker, licence
