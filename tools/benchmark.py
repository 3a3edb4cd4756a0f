"""`make benchmark`: the course's methods beside grad-cam, torchcam and captum doing the same work.

    make benchmark                                  everything; writes docs/benchmark.md
    make benchmark ARGS="--quick"                   a first impression; prints only
    make benchmark ARGS="--networks resnet50 --rounds 5"

Every round does every task with every contender, once to warm up and once timed, each right after
a plain forward pass under inference_mode. A figure is the median over the rounds of (time / the
same round's median forward).
A network whose rounds take long gets fewer of them, 3 at least. Nothing else should run on the
machine meanwhile. On two quiet cores it takes about fourteen minutes. After each network its
figures are noted: a run that was stopped goes on with the next one (--anew: from the start).
"""

import argparse
import ctypes
import gc
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from time import monotonic, perf_counter
from typing import Any

import psutil
import timm
import torch
import torchvision
from benchmark_contenders import (
    CONTENDERS,
    Captum,
    Contender,
    Course,
    TorchCAM,
    at_work,
    disagreement,
    one_hook,
)
from benchmark_notes import fingerprint, forget, keep, kept
from benchmark_report import Results, compact, page, put_between_marks
from peak_memory import resident_peak
from torch import Tensor, nn
from tqdm import tqdm

from course_utils import load_classifier

ROOT = Path(__file__).resolve().parent.parent
THREADS = 2
TOLERANCE = 1e-4  # of the largest value in the maps
BATCH = 8  # images in the memory figures
TEN = 10
BUSY = 10  # per cent of all cores that others use, from which on the reader is warned


@dataclass(frozen=True)
class Network:
    """A network to ask, the layer to ask at, and its title in the tables."""

    title: str
    model: nn.Module
    layer: str
    size: int = 224
    fold: Callable[[Tensor], Tensor] = lambda a: a  # the layer's output as N x C x h x w
    sample: int = 0  # so many classes stand for all where a library has no short way for all
    peers: tuple[type[Contender], ...] = ()  # asked beside the course
    seconds: float = 30  # after so long no further round begins

    def images(self, count: int = 1) -> Tensor:
        """Noise, count x 3 x size x size: neither time nor memory depends on what is seen."""
        generator = torch.Generator().manual_seed(0)
        return torch.randn(count, 3, self.size, self.size, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """What everything is compared with."""
        with torch.inference_mode():
            return self.model(x)

    @cached_property
    def total(self) -> int:
        """How many classes it knows."""
        return self.forward(self.images()).shape[1]

    @cached_property
    def ten(self) -> list[int]:
        """Ten of its classes, spread evenly."""
        return [i * self.total // TEN for i in range(TEN)]


BESIDE_ALL: dict[str, Any] = {"peers": CONTENDERS[1:], "seconds": 140}


def resnet50() -> Network:
    torch.manual_seed(0)
    model = torchvision.models.resnet50().eval()
    return Network("resnet50 (random weights)", model, "layer4", **BESIDE_ALL)


def efficientnet_lite0() -> Network:
    model = load_classifier("efficientnet_lite0")
    return Network("efficientnet_lite0 (trained)", model, str(model.layer), **BESIDE_ALL)


def patches(tokens: Tensor) -> Tensor:
    """The tokens of 14 x 14 patches without the class token, as N x C x 14 x 14."""
    return tokens[:, 1:].unflatten(1, (14, 14)).movedim(-1, 1)


def untrained(name: str, layer: str, **how: Any) -> Callable[[], Network]:
    """A network of torchvision, or of timm where it says so, with random weights."""

    def make() -> Network:
        torch.manual_seed(0)
        library, _, plain = name.rpartition("/")
        create = timm.create_model if library == "timm" else torchvision.models.get_model
        model = create(plain).eval()
        for weight in model.parameters():
            if weight.dim() > 1 and not weight.any():  # torchvision's ViTs: all maps would be empty
                nn.init.normal_(weight, std=0.02)
        return Network(f"{name} (random weights)", model, layer, **how)

    return make


# The first two beside all libraries and with memory, the others beside two. Where a layer holds
# tokens or has its channels last, alone: captum reads none, torchcam wants a function for it.
COMPARED = {"resnet50": resnet50, "efficientnet_lite0": efficientnet_lite0}
CONVOLUTIONS: dict[str, Any] = {"sample": 32, "peers": (TorchCAM, Captum)}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "vgg16": ("features.29", CONVOLUTIONS),
    "densenet121": ("features", CONVOLUTIONS),
    "mobilenet_v3_large": ("features", CONVOLUTIONS),
    "convnext_tiny": ("features", CONVOLUTIONS),
    "vit_b_16": ("encoder.layers.encoder_layer_11.ln_1", {"fold": patches}),
    "swin_t": ("norm", {"fold": lambda a: a.movedim(-1, 1)}),
    "timm/vit_small_patch16_224": ("blocks.11.norm1", {"fold": patches}),
}
NETWORKS = COMPARED | {name: untrained(name, at, **how) for name, (at, how) in FAMILIES.items()}


# A task prepares, untimed, and returns the call to time and by what to multiply its time.
Timed = tuple[Callable[[], object], float]


def one(worker: Contender, network: Network) -> Timed:
    return partial(worker.gradcam, network.ten[:1]), 1


def ten(worker: Contender, network: Network) -> Timed:
    return partial(worker.contrast, network.ten), 1


def every(worker: Contender, network: Network) -> Timed:
    """Where each class is a pass of its own, ten of them stand for all; else what is said so."""
    if worker.a_pass_per_question:
        return partial(worker.gradcam, network.ten), network.total / TEN
    if network.sample and not isinstance(worker, Course):
        return partial(worker.gradcam, range(network.sample)), network.total / network.sample
    return partial(worker.every_class, network.total), 1


def second(worker: Contender, network: Network) -> Timed:
    worker.keep(network.ten[0])
    return partial(worker.further, network.ten[1]), 1


def later(worker: Contender, network: Network) -> Timed:
    """The third question to the tenth, each; the third alone where each is a pass of its own."""
    if worker.a_pass_per_question:
        return partial(worker.further, network.ten[2]), 1
    worker.keep(network.ten[0])
    worker.further(network.ten[1])
    rest = network.ten[2:]
    return lambda: [worker.further(c) for c in rest], 1 / len(rest)


TASKS = {
    "one question": one,
    "ten contrasts": ten,
    "all classes": every,
    "second question": second,
    "each later one": later,
}


def seconds(call: Callable[[], object]) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start


def keep_freed_memory() -> None:
    """Let glibc keep what is freed, up to 2 GiB, rather than give it back to the system.

    Otherwise the libraries that store a graph of the whole network pay for fetching it anew, more
    or less of it according to whose turn came before: up to twice the time, by chance.
    """
    if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt"):
        mmap_threshold, trim_threshold = -3, -1  # their numbers in glibc's malloc.h
        ctypes.CDLL(None).mallopt(mmap_threshold, 32 * 2**20)  # the most that it takes
        ctypes.CDLL(None).mallopt(trim_threshold, 2**31 - 1)


def measure_round(
    network: Network, contenders: Sequence[type[Contender]], results: Results, progress: tqdm
) -> None:
    """Every task of every contender once, each after a plain forward; appended to the results."""
    x, times, plain = network.images(), {}, []
    forward = partial(network.forward, x)
    gc.collect()
    gc.disable()  # as timeit does: a collection would be booked on whoever's turn it is
    try:
        for task, prepare in TASKS.items():
            for contender in contenders:
                forward()
                plain.append(seconds(forward))  # before anyone's hooks are on
                with at_work(contender, network.model, network.layer, x) as worker:
                    for _ in range(2):  # the first warms up: it fetches the memory others gave back
                        call, factor = prepare(worker, network)
                        times[contender, task] = factor * seconds(call)
                progress.update()
        hook = partial(one_hook, network.model, network.layer, x, network.ten[0], network.fold)
        hook()  # warms up
        forward()
        unchecked = seconds(hook)
    finally:
        gc.enable()
    results.forward.append(median(plain))
    results.one_hook.append(unchecked / results.forward[-1])
    for turn, time in times.items():
        results.ratios.setdefault(turn, []).append(time / results.forward[-1])


def saved_bytes(network: Network, contender: type[Contender]) -> int:
    """Bytes that autograd keeps for the backward pass of one question about a batch; no weights."""
    weights = [*network.model.parameters(), *network.model.buffers()]
    own = {t.untyped_storage().data_ptr() for t in weights}
    kept: dict[int, torch.UntypedStorage] = {}  # held, so that no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with at_work(contender, network.model, network.layer, network.images(BATCH)) as worker:
        worker.gradcam(network.ten[:1])  # the first looks at a network of no library
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            worker.gradcam(network.ten[:1])
    return sum(storage.nbytes() for storage in kept.values())


def print_peak(network: Network, contender: type[Contender]) -> None:
    """By how many bytes one question about a batch lifts the peak above a plain forward's."""
    x = network.images(BATCH)
    for _ in range(3):  # the second still lifts it, by how malloc happens to lay things out
        network.forward(x)
    process = psutil.Process()
    before = resident_peak(process)
    with at_work(contender, network.model, network.layer, x) as worker:
        worker.gradcam(network.ten[:1])
    print(resident_peak(process) - before)


def peak_bytes(name: str, contender: type[Contender]) -> int | None:
    """The same, measured in a process of its own; None where the system does not tell."""
    if not Path("/proc/self/status").exists():
        return None
    call = [sys.executable, __file__, "--networks", name, "--peak-of", contender.__name__]
    return int(subprocess.run(call, check=True, capture_output=True, text=True).stdout)


def check_same_work(
    network: Network, contenders: Sequence[type[Contender]], results: Results
) -> None:
    """Leaves a library out, and says so, whose maps are not the definition's; the course stops."""
    for contender in contenders:
        ours = issubclass(contender, Course)
        x, total = network.images(), None if network.sample and not ours else network.total
        try:
            far = disagreement(
                contender, network.model, network.layer, x, network.ten, total, network.fold
            )
        except Exception as error:  # another library's, of any kind
            if ours:
                raise
            results.left_out[contender.title] = f"fails with {type(error).__name__}"
            continue
        if far <= TOLERANCE:
            results.difference[contender] = far
            continue
        if ours:
            sys.exit(
                f"{contender.title} does not do the same work on {network.title}: its maps differ "
                f"by {far:.1e} of their largest value from Grad-CAM's definition."
            )
        results.left_out[contender.title] = f"gives maps that differ by {far:.0%} of their largest"


def measure(name: str, rounds: int, memory: bool) -> Results:
    """Everything about one network."""
    network = NETWORKS[name]()
    busy = psutil.cpu_percent(interval=2)
    results = Results(network.title, network.total, BATCH, busy, sampled=bool(network.sample))
    if results.busy > BUSY:
        print(
            f"Other programs use {results.busy:.0f} % of this machine: expect noise.",
            file=sys.stderr,
        )
    check_same_work(network, (Course, *network.peers), results)  # and warms everything up
    contenders = results.contenders
    start = monotonic()
    with tqdm(total=rounds * len(contenders) * len(TASKS), desc=name, disable=None) as progress:
        for number in range(rounds):
            if number >= 3 and monotonic() - start > network.seconds:
                break
            first = number % len(contenders)  # so that nobody always follows the same one
            order = [*contenders[first:], *contenders[:first]]
            measure_round(network, order, results, progress)
    if memory:
        for contender in tqdm(contenders, desc=f"{name}, memory", disable=None):
            results.saved[contender] = saved_bytes(network, contender)
            results.peak[contender] = peak_bytes(name, contender)
    return results


def installed(contender: type[Contender]) -> bool:
    try:
        return contender.package is None or bool(version(contender.package))
    except PackageNotFoundError:
        return False


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=[*NETWORKS])
    parser.add_argument("--rounds", type=int, default=25, help="at most; at least 3")
    parser.add_argument("--anew", action="store_true", help="forget what a stopped run noted")
    parser.add_argument("--quick", action="store_true", help="3 rounds, no memory, writes nothing")
    parser.add_argument(
        "--peak-of", choices=[c.__name__ for c in CONTENDERS], help=argparse.SUPPRESS
    )
    options = parser.parse_args(words)
    if options.rounds < 3:
        parser.error("--rounds must be 3 or more: quartiles of fewer say nothing")
    return options


def main(words: Sequence[str] | None = None) -> None:
    options = arguments(words)
    torch.set_num_threads(min(THREADS, os.cpu_count() or THREADS))
    if options.peak_of:
        contender = next(c for c in CONTENDERS if c.__name__ == options.peak_of)
        return print_peak(NETWORKS[options.networks[0]](), contender)
    missing = sorted({str(c.package) for c in CONTENDERS if not installed(c)})
    if missing:
        sys.exit(f"Not installed: {', '.join(missing)}. `make benchmark` installs them and starts.")
    keep_freed_memory()
    measured = measure_all(options)
    print(page(measured, TOLERANCE))
    if not options.quick:
        (ROOT / "docs").mkdir(exist_ok=True)
        (ROOT / "docs" / "benchmark.md").write_text(page(measured, TOLERANCE), encoding="utf-8")
        put_between_marks(ROOT / "README.md", compact(measured))
        forget(options.networks)


def measure_all(options: argparse.Namespace) -> list[Results]:
    """Network after network; what a stopped run has noted is taken from there."""
    if options.quick:
        return [measure(name, 3, memory=False) for name in options.networks]
    if options.anew:
        forget(options.networks)
    mark, measured = fingerprint(options.rounds), []
    for number, name in enumerate(options.networks, start=1):
        results = kept(name, mark)
        how = "measuring" if results is None else "noted by the run that was stopped"
        print(f"{number} of {len(options.networks)}: {name}, {how}", file=sys.stderr)
        if results is None:
            results = measure(name, options.rounds, memory=name in COMPARED)
            keep(name, results, mark)
        measured.append(results)
    return measured


if __name__ == "__main__":
    main()
