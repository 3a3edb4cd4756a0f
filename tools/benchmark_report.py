"""The tables that `make benchmark` writes."""

import platform
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles

import torch
from benchmark_contenders import AS_DOCUMENTED, FROZEN, Contender, Course, label

MIB = 2**20
MARKS = "<!-- benchmark -->", "<!-- /benchmark -->"

INTRODUCTION = """\
# What an explanation costs

Times are multiples of a plain forward pass of one image under `torch.inference_mode()`; 1.00 is a
forward pass and nothing else. Each is the median of {rounds} rounds, fewer where one takes long. In
every round every library takes its turn at every task, once to warm up and once timed, each turn
next to a forward pass of its own. Where the middle halves of two libraries' rounds overlap, the
difference is within the noise and the table says *tie*: always with this course, in the first row.

- **One question**: a Grad-CAM map of one class. **Ten contrasts**: Contrast-CAM (cross-entropy)
  against ten Q. **All classes**: a Grad-CAM map of every class. **Second question**, **each later
  one**: a new class after the first question about the same image; what the library can keep, it
  has kept.
- All maps agree with Grad-CAM's definition to {tolerance} of their largest value; that is checked
  before anything is timed. They are compared as each library hands them over: at the layer's
  resolution, but grad-cam always enlarges them to the image's.
- ~ marks a few classes measured and multiplied: ten where each class is a forward pass of its own,
  otherwise 32.
- Where the layer holds tokens (vit_b_16, vit_small) or has its channels last (swin_t) the course is
  measured alone. captum reads no such layer; torchcam and grad-cam do where one hands them a
  function that makes a grid of it (`reshape_transform`). The course finds the grid by itself.
- *Closed form off*: what the course costs where the head is more than pooling and one linear layer.
- *Weights frozen by hand*: with `requires_grad_(False)` on the whole network (captum) or on all but
  the target layer (the other two, which fail when everything is frozen), so that PyTorch keeps and
  differentiates only what comes after the layer. The course does so by itself.
- *One hook, unchecked*: one question by the least that PyTorch needs for it: a hook that starts the
  graph at the layer, one backward pass, Grad-CAM's equations 1 and 2. It trusts network, layer and
  numbers blindly. What the course costs beyond it goes into evaluation mode for every layer, locks,
  finite numbers, weights that must not change, names, sentences.
- On Linux the process keeps the memory it has freed (glibc's mallopt), so that no library's time
  depends on whose turn came before. That favours those which store a graph of the whole network.
- **Saved for backward**: what autograd keeps for one question about {batch} images, weights not
  counted. **Peak**: by how much that question lifts the process's peak memory above a plain
  forward's.
"""


@dataclass
class Results:
    """What was measured on one network.

    Attributes:
        title, total: the network, and how many classes it knows.
        batch: images in the memory figures.
        busy: per cent of the machine that other programs used just before.
        forward: seconds of a plain forward, one number a round.
        one_hook: one question by the least that PyTorch needs, unchecked, as ratios a round.
        ratios: (contender, task) -> time / the round's plain forward, one number a round.
        saved, peak: contender -> bytes for a batch (None where it cannot be measured).
        difference: contender -> how far its maps are from the definition's.
        sampled: whether a few classes stand for all, with the other libraries.
        left_out: the libraries that do not do the same work -> what they do.
    """

    title: str
    total: int
    batch: int
    busy: float
    forward: list[float] = field(default_factory=list)
    one_hook: list[float] = field(default_factory=list)
    ratios: dict[tuple[type[Contender], str], list[float]] = field(default_factory=dict)
    saved: dict[type[Contender], int] = field(default_factory=dict)
    peak: dict[type[Contender], int | None] = field(default_factory=dict)
    difference: dict[type[Contender], float] = field(default_factory=dict)
    sampled: bool = False
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def contenders(self) -> list[type[Contender]]:
        """In the order of the tables, whoever began."""
        return list(self.difference)

    @property
    def tasks(self) -> list[str]:
        return list(dict.fromkeys(task for _, task in self.ratios))


def middle_half(values: list[float]) -> tuple[float, float]:
    """The lower and the upper quartile."""
    low, _, high = quantiles(values, n=4, method="inclusive")
    return low, high


def verdict(ours: list[float], theirs: list[float]) -> str:
    """How this course stands to another library: "ahead", "tie" or "behind"."""
    (low, high), (their_low, their_high) = middle_half(ours), middle_half(theirs)
    if high < their_low:
        return "ahead"
    return "behind" if their_high < low else "tie"


def multiple(ratio: float) -> str:
    """About three figures: 25.1, 1.04, 0.004."""
    return (
        f"{ratio:.1f}" if ratio >= 9.995 else f"{ratio:.2f}" if ratio >= 0.0995 else f"{ratio:.3f}"
    )


def table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown, numbers to the right."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def extrapolated(results: Results, contender: type[Contender], task: str) -> bool:
    few = results.sampled and not issubclass(contender, Course)
    return task == "all classes" and (contender.a_pass_per_question or few)


def time_cell(results: Results, contender: type[Contender], task: str) -> str:
    ratios = results.ratios[contender, task]
    cell = "~" * extrapolated(results, contender, task) + multiple(median(ratios))
    if not issubclass(contender, Course):
        standing = verdict(results.ratios[Course, task], ratios)
        cell += {"ahead": "", "tie": " (tie)", "behind": " (faster)"}[standing]
    return cell


def time_table(results: Results, contenders: list[type[Contender]]) -> str:
    head = [f"all {results.total} classes" if t == "all classes" else t for t in results.tasks]
    rows = [[label(c)] + [time_cell(results, c, t) for t in results.tasks] for c in contenders]
    return table(["times a forward pass", *head], rows)


def memory_table(results: Results, contenders: list[type[Contender]]) -> str:
    def mib(count: int | None) -> str:
        if count is None:
            return "not measured"
        return f"{count / MIB:.2f}" if count < MIB else f"{count / MIB:.0f}"

    rows = [[label(c), mib(results.saved[c]), mib(results.peak[c])] for c in contenders]
    return table(
        [f"MiB, {results.batch} images", "saved for backward", "peak above a forward"], rows
    )


def spread_table(results: Results) -> str:
    def cell(contender: type[Contender], task: str) -> str:
        return " to ".join(map(multiple, middle_half(results.ratios[contender, task])))

    rows = [[label(c)] + [cell(c, t) for t in results.tasks] for c in results.contenders]
    return table(["middle half of the rounds", *results.tasks], rows)


def tally(measured: list[Results], others: tuple[type[Contender], ...]) -> str:
    """In how many cells of the tables the course is ahead of these, ties, or is behind."""
    count = {"ahead": 0, "tie": 0, "behind": 0}
    for results in measured:
        for contender, task in results.ratios:
            if contender in others:
                ours = results.ratios[Course, task]
                count[verdict(ours, results.ratios[contender, task])] += 1
    return "ahead in {ahead}, tie in {tie}, behind in {behind}".format(**count)


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    info = Path("/proc/cpuinfo")
    names = (
        [line for line in info.read_text().splitlines() if "model name" in line]
        if info.exists()
        else []
    )
    return names[0].split(":")[1].strip() if names else platform.processor() or platform.machine()


def circumstances(measured: list[Results]) -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "timm"))
    return (
        f"Measured by `make benchmark` on {date.today():%d %B %Y}: {processor()}, "
        f"{torch.get_num_threads()} threads, {platform.system()}, "
        f"Python {platform.python_version()}, {packages}; {rounds(measured)} rounds; other "
        f"programs used {max(r.busy for r in measured):.0f} % of the machine."
    )


def rounds(measured: list[Results]) -> str:
    """How many rounds there were: "9", "3 to 9"."""
    counts = [len(r.forward) for r in measured]
    return " to ".join(map(str, sorted({min(counts), max(counts)})))


# what the course is to cost, in forward passes; all classes with VGG or a ViT up to 12
WANTED = {"one question": 1.1, "ten contrasts": 1.25, "all classes": 3.0,
          "second question": 0.03, "each later one": 0.03}  # fmt: skip


def targets(measured: list[Results]) -> str:
    """Which figures of this course are above what was wanted, in a sentence."""
    missed = []
    for results in measured:
        for task in results.tasks:
            large = task == "all classes" and results.title.split("/")[-1].startswith(
                ("vgg", "vit")
            )
            limit, found = 12.0 if large else WANTED[task], median(results.ratios[Course, task])
            if found > limit and multiple(found) != multiple(limit):
                network = results.title.split(" ")[0]
                missed.append(f"{network}, {task}: {multiple(found)} (wanted {multiple(limit)})")
    wanted = (
        "Wanted: one question at most 1.1, ten contrasts 1.25, a further question 0.03, all "
        "classes 3 (VGG and vision transformers: 12)."
    )
    return f"{wanted} Missed: {'; '.join(missed) or 'none'}."


def page(measured: list[Results], tolerance: float) -> str:
    """docs/benchmark.md: every table."""
    parts = [
        INTRODUCTION.format(
            rounds=rounds(measured), tolerance=f"{tolerance:g}", batch=measured[0].batch
        ),
        circumstances(measured),
        f"This course against the libraries as documented: {tally(measured, AS_DOCUMENTED)}; "
        f"against the same libraries with weights frozen by hand: {tally(measured, FROZEN)}.",
    ]
    parts += (
        ["## Every network", families_table(measured), targets(measured)]
        if len(measured) > 1
        else []
    )
    for results in measured:
        parts += [
            f"## {results.title}",
            forward_line(results),
            time_table(results, results.contenders),
        ]
        parts += [f"{title} is left out: it {what}." for title, what in results.left_out.items()]
        parts += [memory_table(results, results.contenders)] if results.saved else []
        parts += [spread_table(results)]
    return "\n\n".join(parts) + "\n"


def forward_line(results: Results) -> str:
    low, high = middle_half(results.forward)
    return (
        f"A forward pass takes {median(results.forward) * 1e3:.1f} ms "
        f"({low * 1e3:.1f} to {high * 1e3:.1f})."
    )


KEY = (
    "*(tie)*: the middle halves of the rounds overlap, so the difference is within the noise. "
    "*(faster)*: faster than this course. *~*: a few classes measured and multiplied."
)


def families_table(measured: list[Results]) -> str:
    """This course on every network, one a line."""
    tasks = measured[0].tasks
    rows = [
        [r.title, *(time_cell(r, Course, t) for t in tasks), multiple(median(r.one_hook))]
        for r in measured
    ]
    return table(["this course, times a forward pass", *tasks, "one hook, unchecked"], rows)


def compact(measured: list[Results]) -> str:
    """For the README: one table, the libraries on the first network."""
    first = measured[0]
    few = [Course, *(c for c in first.contenders if c in AS_DOCUMENTED)]
    where = " More networks, memory, and what was measured: [docs/benchmark.md](docs/benchmark.md)."
    return "\n\n".join(
        [
            f"{first.title}. {forward_line(first)}",
            time_table(first, few),
            KEY,
            circumstances(measured) + where,
        ]
    )


def put_between_marks(path: Path, text: str) -> bool:
    """Replace what stands between the two marks of a file; False where it has none."""
    begin, end = MARKS
    content = path.read_text(encoding="utf-8") if path.exists() else ""
    if begin not in content or end not in content.split(begin, 1)[1]:
        return False
    before, rest = content.split(begin, 1)
    after = rest.split(end, 1)[1]
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
    return True
