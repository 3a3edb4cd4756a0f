"""The benchmark compares like with like, and its tables say what was measured."""

from dataclasses import replace
from importlib.metadata import version

import benchmark
import benchmark_contenders as contenders
import benchmark_notes as notes
import benchmark_report as report
import pytest
import torch
from benchmark_contenders import (
    CONTENDERS,
    Captum,
    Contender,
    Course,
    CourseByBackward,
    FrozenCaptum,
    FrozenTorchCAM,
    PytorchGradCAM,
    TorchCAM,
)
from benchmark_report import Results
from torch import nn

CLASSES = 20


class TinyNet(nn.Module):
    """One target layer, then an operation in place, then pooling and a linear head."""

    def __init__(self, in_place: bool = False):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.bend = nn.ReLU(inplace=True) if in_place else nn.Identity()
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x):
        return self.head(self.bend(self.conv(x)).mean(dim=(2, 3)))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return benchmark.Network("tiny", TinyNet().eval(), "conv", size=8)


def available(contender):
    if not benchmark.installed(contender):
        pytest.skip(f"{contender.package} is installed by `make benchmark` only")
    return contender


def disagreement(contender, network):
    return contenders.disagreement(
        contender, network.model, network.layer, network.images(), network.ten, network.total
    )


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda c: c.__name__)
def test_every_contender_does_the_same_work(contender, network):
    assert disagreement(available(contender), network) < 1e-4


def test_one_hook_gives_the_definitions_map_as_well(network):
    x = network.images()
    wanted, _ = contenders.reference(network.model, network.layer, x, [3])
    got = contenders.one_hook(network.model, network.layer, x, 3)
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("contender", [Course, CourseByBackward, Captum], ids=lambda c: c.__name__)
def test_also_where_an_in_place_operation_follows_the_layer(contender):
    torch.manual_seed(0)
    network = benchmark.Network("tiny", TinyNet(in_place=True).eval(), "conv", size=8)
    assert disagreement(contender, network) < 1e-4


def test_the_reference_is_the_closed_form_of_a_pooling_and_linear_head(network):
    """alpha_k^c = W_ck / (hw), so S^c = sum_k W_ck A_k / 64 on the 8 x 8 grid."""
    x, model = network.images(), network.model
    gradcam, contrast = contenders.reference(model, "conv", x, network.ten)
    with torch.no_grad():
        table = torch.einsum("ck,khw->chw", model.head.weight, model.conv(x)[0]) / 64
        posterior = torch.einsum("c,chw->hw", model(x)[0].softmax(dim=0), table)
    torch.testing.assert_close(gradcam, table[network.ten])
    torch.testing.assert_close(contrast, posterior - table[network.ten])


class Negated(Course):
    """A contender that answers the opposite question."""

    title = "negated"

    def contrast(self, classes):
        return -super().contrast(classes)


def test_a_contender_that_answers_something_else_stops_the_benchmark(network):
    with pytest.raises(
        SystemExit, match="negated does not do the same work on tiny: .* by 2.0e[+]00"
    ):
        benchmark.check_same_work(network, [Negated], Results("tiny", CLASSES, 8, 0.0))


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda c: c.__name__)
def test_the_network_is_left_as_it_was(contender, network):
    network.model.conv.bias.requires_grad_(False)
    before = [p.requires_grad for p in network.model.parameters()]
    with contenders.at_work(
        available(contender), network.model, "conv", network.images()
    ) as worker:
        worker.gradcam(network.ten)
    assert [p.requires_grad for p in network.model.parameters()] == before
    assert not any(module._forward_hooks for module in network.model.modules())
    assert all(p.grad is None for p in network.model.parameters())


def test_frozen_weights_are_frozen_while_the_contender_works(network):
    with contenders.at_work(FrozenCaptum, network.model, "conv", network.images()):
        assert not any(p.requires_grad for p in network.model.parameters())

    class Before(Course):
        frozen = FrozenTorchCAM.frozen

    with contenders.at_work(Before, network.model, "conv", network.images()):
        trained = [name for name, p in network.model.named_parameters() if p.requires_grad]
    assert trained == ["conv.weight", "conv.bias"]


POOLED = 8 * 4 * 4  # bytes: a trained linear layer keeps 8 images' 4 channels in float32
WEIGHTED = 8 * 4 * 4  # captum's own product, alpha times A, keeps alpha
GATHERED = 8 * CLASSES * 4 + 8 * 8  # captum's gather keeps the logits and 8 class numbers
CONVOLVED = 8 * 3 * 8 * 8 * 4  # the convolution keeps the images, unless its weights are frozen


@pytest.mark.parametrize(
    "contender, expected",
    [
        (Course, POOLED),
        (FrozenCaptum, GATHERED + WEIGHTED),
        (Captum, POOLED + GATHERED + WEIGHTED + CONVOLVED),
    ],
    ids=["Course", "FrozenCaptum", "Captum"],
)
def test_saved_for_backward_counts_every_byte_once_and_no_weight(contender, expected, network):
    assert benchmark.saved_bytes(network, contender) == expected


class Metronome(Contender):
    """Each class takes two seconds on the test's clock, whatever the machine does."""

    title, clock, log, working = "metronome", [0.0], [], set()
    a_pass_per_question = True

    def __init__(self, *network):
        super().__init__(*network)
        self.working.add(self)

    def close(self):
        self.working.remove(self)

    def gradcam(self, classes):
        self.clock[0] += 2.0 * len(classes)
        self.log.append((self.title, len(classes)))
        return torch.zeros(len(classes), 8, 8)

    contrast = gradcam


class Keeper(Metronome):
    """Every class in one pass of five seconds; later questions take a tenth of one."""

    title, a_pass_per_question = "keeper", False

    def every_class(self, total):
        self.clock[0] += 5.0
        self.log.append((self.title, total))

    def keep(self, first):
        self.clock[0] += 7.0

    def further(self, question):
        self.clock[0] += 0.1


@pytest.fixture
def measured(network, monkeypatch):
    """Two contenders over three rounds, with a forward pass of exactly four seconds."""
    monkeypatch.setattr(Metronome, "clock", [0.0])
    monkeypatch.setattr(Metronome, "log", [])
    monkeypatch.setattr(benchmark, "perf_counter", lambda: Metronome.clock[0])
    forward = network.model.forward

    def slow(x):
        assert not Metronome.working  # the plain forward is plain: nobody's hooks are on
        Metronome.clock[0] += 4.0
        return forward(x)

    monkeypatch.setattr(network.model, "forward", slow)
    monkeypatch.setattr(
        benchmark, "check_same_work", lambda n, cs, r: r.difference.update({c: 0.0 for c in cs})
    )
    monkeypatch.setattr(benchmark.psutil, "cpu_percent", lambda interval: 50.0)
    asked = replace(network, peers=(Keeper,))
    monkeypatch.setattr(benchmark, "Course", Metronome)
    monkeypatch.setitem(benchmark.NETWORKS, "tiny", lambda: asked)
    return benchmark.measure("tiny", rounds=3, memory=False)


def test_ratios_are_to_the_plain_forward_and_only_the_work_is_timed(measured):
    """Forward 4 s. Metronome: 2 s a class, of 20. Keeper: 5 s for all, 0.1 s for a further one."""
    ratios = measured.ratios
    assert measured.forward == [4.0, 4.0, 4.0]
    assert ratios[Metronome, "one question"] == pytest.approx([0.5] * 3)
    assert ratios[Metronome, "ten contrasts"] == pytest.approx([5.0] * 3)
    assert ratios[Metronome, "all classes"] == pytest.approx([10.0] * 3)  # ten, times two
    assert ratios[Keeper, "all classes"] == pytest.approx([1.25] * 3)
    assert ratios[Keeper, "second question"] == pytest.approx([0.025] * 3)
    assert ratios[Keeper, "each later one"] == pytest.approx([0.025] * 3)
    assert measured.one_hook == [1.0] * 3  # a forward pass here, and no time of its own


def test_contenders_take_turns_and_begin_in_turn(measured):
    """The ten contrasts and all classes of three rounds: the second round begins with the other."""
    turns = [name for name, count in Metronome.log if count > 1][::2]  # each warms up first
    first, second = ["metronome", "keeper"], ["keeper", "metronome"]
    assert turns == 2 * first + 2 * second + 2 * first


def test_a_busy_machine_is_warned_about(capsys, measured):
    assert measured.busy == 50
    assert "Other programs use 50 % of this machine" in capsys.readouterr().err


def results(ours, theirs, contender=Captum, task="one question"):
    made = Results("tiny", 1000, 8, 12.3, forward=[0.05] * len(ours))
    made.difference, made.one_hook = {Course: 0.0, contender: 0.0}, [1.07] * len(ours)
    made.ratios = {(Course, task): ours, (contender, task): theirs}
    return made


@pytest.mark.parametrize(
    "theirs, cell",
    [
        ([1.2, 1.3, 1.4], "1.30"),  # middle halves 1.0..1.1 and 1.25..1.35: apart
        ([1.0, 1.06, 1.4], "1.06 (tie)"),  # 1.03..1.23 overlaps 1.0..1.1
        ([0.7, 0.95, 1.1], "0.95 (tie)"),  # 0.825..1.025 overlaps from below
        ([0.7, 0.8, 0.9], "0.80 (faster)"),  # 0.75..0.85 lies below
    ],
)
def test_a_difference_within_the_noise_is_called_a_tie(theirs, cell):
    made = results([0.95, 1.05, 1.15], theirs)
    assert report.time_cell(made, Captum, "one question") == cell


def test_what_was_extrapolated_is_marked():
    made = results([1.0, 1.0, 1.0], [700.0, 701.0, 702.0], task="all classes")
    assert report.time_cell(made, Captum, "all classes") == "~701.0"
    assert report.time_cell(made, Course, "all classes") == "1.00"


@pytest.mark.parametrize(
    "ratio, text", [(25.14, "25.1"), (9.996, "10.0"), (1.044, "1.04"), (0.00432, "0.004")]
)
def test_figures_keep_about_three_digits(ratio, text):
    assert report.multiple(ratio) == text


def test_the_table_is_markdown_with_versions():
    made = results([1.0, 1.0, 1.0], [2.0, 2.0, 2.0])
    lines = report.time_table(made, made.contenders).splitlines()
    assert lines[0] == "| times a forward pass | one question |"
    assert lines[1] == "| --- | ---: |"
    assert lines[2] == "| **this course** | 1.00 |"
    assert lines[3] == f"| captum {version('captum')} | 2.00 |"


def test_the_tally_counts_cells():
    made = results([1.0, 1.0, 1.0], [2.0, 2.0, 2.0])
    made.ratios |= {(Course, "ten contrasts"): [1.0] * 3, (Captum, "ten contrasts"): [1.0] * 3}
    assert report.tally([made], (Captum,)) == "ahead in 1, tie in 1, behind in 0"
    assert report.tally([made], (TorchCAM, PytorchGradCAM)) == "ahead in 0, tie in 0, behind in 0"


def test_memory_is_given_in_mib_and_what_was_not_measured_says_so():
    made = results([1.0] * 3, [2.0] * 3)
    made.saved = {Course: 65536, Captum: 655 * 2**20}
    made.peak = {Course: 0, Captum: None}
    lines = report.memory_table(made, made.contenders).splitlines()
    assert lines[2] == "| **this course** | 0.06 | 0.00 |"
    assert lines[3].endswith("| 655 | not measured |")


def test_the_readme_changes_between_its_marks_only(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- benchmark -->\nold\n<!-- /benchmark -->\nafter\n")
    assert report.put_between_marks(readme, "new")
    assert readme.read_text() == "before\n<!-- benchmark -->\nnew\n<!-- /benchmark -->\nafter\n"


@pytest.mark.parametrize("text", ["no marks", "<!-- /benchmark --> wrong way <!-- benchmark -->"])
def test_a_readme_without_marks_is_left_alone(tmp_path, text):
    readme = tmp_path / "README.md"
    readme.write_text(text)
    assert not report.put_between_marks(readme, "new")
    assert readme.read_text() == text


def test_the_readme_shows_the_first_network_only():
    first, second = results([1.0] * 3, [2.0] * 3), results([1.5] * 3, [2.0] * 3)
    second.title = "other"
    text = report.compact([first, second])
    assert "| **this course** | 1.00 |\n| captum" in text and "other |" not in text


def test_what_a_few_classes_stand_for_is_marked():
    made = results([9.0] * 3, [9.5] * 3, TorchCAM, task="all classes")
    made.sampled = True
    assert report.time_cell(made, TorchCAM, "all classes") == "~9.50"
    assert report.time_cell(made, Course, "all classes") == "9.00"


def test_a_sample_of_classes_is_multiplied_but_for_the_course(network):
    few = replace(network, sample=4)
    worker = Keeper(network.model, "conv", network.images())
    call, factor = benchmark.every(worker, few)
    assert len(call()) == 4 and factor == CLASSES / 4
    with contenders.at_work(Course, network.model, "conv", network.images()) as ours:
        call, factor = benchmark.every(ours, few)
        assert len(call()) == CLASSES and factor == 1


class Refusing(Metronome):
    def keep(self, first):
        raise ValueError("not for this layer")


class Wrong(Metronome):
    """The first class comes out right, and each further question wrong."""

    title = "wrong"

    def gradcam(self, classes):
        return -contenders.reference(self.model, "conv", self.x, list(classes))[0]

    further, contrast = lambda self, c: self.gradcam([c]), gradcam


def test_a_library_that_cannot_do_the_work_is_left_out_and_the_page_says_why(network):
    made = results([1.0] * 3, [2.0] * 3)
    made.difference.clear()
    benchmark.check_same_work(network, [Course, Refusing, Wrong], made)
    assert made.contenders == [Course]
    text = report.page([made], 1e-4)
    assert "metronome is left out: it fails with ValueError." in text
    assert "wrong is left out: it gives maps that differ by" in text


def test_figures_above_what_was_wanted_are_named():
    made = results([1.2] * 3, [2.0] * 3)
    made.ratios |= {(Course, "all classes"): [9.0] * 3, (Course, "second question"): [0.03] * 3}
    assert report.targets([made]).endswith(
        "Missed: tiny, one question: 1.20 (wanted 1.10); tiny, all classes: 9.00 (wanted 3.00)."
    )
    made.title = "timm/vit_small"
    assert "all classes: 9.00" not in report.targets([made])


def test_a_slow_network_gets_three_rounds(network, monkeypatch):
    slow = replace(network, seconds=0)
    monkeypatch.setitem(benchmark.NETWORKS, "tiny", lambda: slow)
    assert len(benchmark.measure("tiny", rounds=9, memory=False).forward) == 3
    assert report.rounds([results([1.0] * 3, [1.0] * 3), results([1.0] * 9, [1.0] * 9)]) == "3 to 9"


def test_a_stopped_run_goes_on_and_a_finished_one_starts_anew(tmp_path, monkeypatch, capsys):
    """The second network fails at first; the first is measured once, then again after the end."""
    asked, fails = [], [True]

    def measure(name, rounds, memory):
        asked.append(name)
        if name == "vgg16" and fails:
            fails.clear()
            raise KeyboardInterrupt
        made = results([1.0] * 3, [2.0] * 3)
        made.saved, made.peak, made.title = {Course: 5, Captum: 6}, {Course: None, Captum: 7}, name
        return made

    monkeypatch.setattr(notes, "FOLDER", tmp_path / "notes")
    monkeypatch.setattr(benchmark, "ROOT", tmp_path)
    monkeypatch.setattr(benchmark, "measure", measure)
    monkeypatch.setattr(benchmark, "installed", lambda contender: True)
    words = ["--networks", "swin_t", "vgg16", "--rounds", "9"]
    with pytest.raises(KeyboardInterrupt):
        benchmark.main(words)
    assert notes.kept("swin_t", notes.fingerprint(9)).ratios == results([1.0] * 3, [2.0] * 3).ratios
    assert notes.kept("swin_t", notes.fingerprint(5)) is None  # other rounds
    benchmark.main(words)
    assert "1 of 2: swin_t, noted by the run that was stopped" in capsys.readouterr().err
    benchmark.main(words)
    assert asked == ["swin_t", "vgg16", "vgg16", "swin_t", "vgg16"]
    page = (tmp_path / "docs" / "benchmark.md").read_text()
    assert "## vgg16" in page and "| vgg16 | 1.00 | 1.07 |" in page  # one hook, unchecked


def test_fewer_than_three_rounds_are_refused(capsys):
    with pytest.raises(SystemExit):
        benchmark.arguments(["--rounds", "2"])
    assert "--rounds must be 3 or more" in capsys.readouterr().err


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setattr(benchmark, "installed", lambda contender: contender.package != "torchcam")
    with pytest.raises(SystemExit, match="Not installed: torchcam. `make benchmark` installs"):
        benchmark.main([])


def test_the_page_holds_every_table_and_the_circumstances():
    made = results([1.0, 1.0, 1.0], [2.0, 2.0, 2.0])
    made.saved, made.peak = {Course: 0, Captum: 0}, {Course: 0, Captum: 0}
    made.title = "tiny"
    text = report.page([made], 1e-4)
    tables = report.time_table(made, made.contenders), report.memory_table(made, made.contenders)
    assert all(table in text for table in (*tables, report.spread_table(made)))
    assert "## tiny\n\nA forward pass takes 50.0 ms (50.0 to 50.0)." in text
    assert f"torch {torch.__version__.split('+')[0]}" in text
    assert "3 rounds; other programs used 12 % of the machine." in text
    assert report.tally([made], report.AS_DOCUMENTED) in text
