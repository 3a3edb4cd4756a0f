"""`python -m course_utils.report`: a folder of photos on one page, in parts, interrupted."""

import base64
import csv
import io
import json
import math
import os
import re
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from course_utils import ContrastCAM, load_classifier, load_photo, report
from course_utils.birds import SPECIES, draw
from course_utils.errors import ProbabilitiesWarning
from course_utils.explorers.report import asking, networks, photos
from course_utils.report import main

NETWORKS = '''
import torch
from torch import nn
from course_utils import load_classifier
from course_utils.birds import SPECIES

class Legs(nn.Module):
    """One logit: the evidence of the red-legged species against that of the others."""
    def __init__(self):
        super().__init__()
        birds = load_classifier("birds")
        self.features, self.preprocess = birds.features, birds.preprocess
        self.categories = ["other legs", "red legs"]
        red = torch.tensor([own["legs"] == "red" for own in SPECIES.values()])
        self.head = nn.Linear(64, 1, bias=False)
        rows = birds.head.weight.data
        self.head.weight.data = (rows[red].mean(0) - rows[~red].mean(0))[None]

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))

class Answer:
    def __init__(self, logits):
        self.logits = logits

class Object(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = load_classifier("birds")
        self.categories = self.inner.categories

    def forward(self, x):
        return Answer(self.inner(x))

red_legs, as_object = Legs, Object

def bare():
    """Neither names nor preparation, and in training mode."""
    network = load_classifier("birds").train()
    del network.preprocess, network.categories
    return network

def soft():
    return nn.Sequential(load_classifier("birds"), nn.Softmax(dim=1)).eval()

def text():
    return "no network"

def fails():
    raise KeyError("weights")

def needs(size):
    return bare()

class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = load_classifier("birds")

    def forward(self, x):
        return {"classes": self.inner(x), "input": x}

def wrapped():
    from course_utils.methods.as_classes import AsClasses
    return AsClasses(Named(), output=lambda y: y["classes"])

def as_they_are():
    """Photos of any size, halved twice; one of a few pixels leaves a single place."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).eval()
    network.preprocess = lambda photo: torch.rand(3, photo.height, photo.width)
    return network

class Winner(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = load_classifier("birds")
        self.preprocess = self.inner.preprocess

    def forward(self, x):
        return self.inner(x).argmax(1)

class Mistaken(Winner):
    def forward(self, x):
        return self.inner(x) + "a word"

def in_bytes():
    network = as_they_are()
    network.preprocess = lambda photo: torch.zeros(3, 9, 9, dtype=torch.uint8)
    return network
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Seven birds, one in a subfolder, a broken photo, and a file that is none."""
    made = tmp_path_factory.mktemp("report") / "birds <b>"
    (made / "more").mkdir(parents=True)
    for seed, species in enumerate(list(SPECIES)[:6]):
        draw(species, seed).image.save(made / f"{species}.png")
    draw("ibis", 9).image.save(made / "more" / "ibis.png")
    (made / "cut off.jpg").write_bytes(b"\xff\xd8 this is no photo")
    (made / "notes.txt").write_text("seen in May")
    return made


def test_a_photo_whose_name_is_no_text_is_asked_as_the_others(folder, tmp_path):
    name = os.fsdecode(b"caf\xe9.png")  # as old archives give them
    (tmp_path / name).write_bytes((folder / "more" / "ibis.png").read_bytes())
    report = made(tmp_path, tmp_path / "report.html")
    read = "caf\\udce9.png" if "\udce9" in name else "café.png"  # as a Latin-1 machine reads it
    assert [row["file"] for row in report["table"]] == [read]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(photos, "BATCH", 3)


def made(folder: Path, output: Path, *options: str, network: str = "birds") -> dict:
    """Ask; the report as rows, table, and text."""
    assert main([str(folder), "--network", network, "-o", str(output), *options]) == 0
    return contents(output)


def contents(output: Path) -> dict:
    page = output.read_text(encoding="utf-8")
    rows = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1]
    with output.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    return {"page": page, "rows": json.loads(rows), "table": table}


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("whole") / "report.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(photos, "BATCH", 3)
        assert main([str(folder), "--network", "birds", "-o", str(output)]) == 0
    return output


def test_every_photo_has_a_row_the_least_readable_first(whole):
    found = contents(whole)
    files = {f"{species}.png" for species in list(SPECIES)[:6]} | {"more/ibis.png"}
    assert {row["file"] for row in found["rows"]} == files
    values = [row["readable"] for row in found["rows"]]
    assert values == sorted(values) and values[0] < values[-1]
    assert [row["file"] for row in found["rows"]] == [line["file"] for line in found["table"]]
    assert not whole.with_suffix(".unfinished.jsonl").exists()


def test_the_row_says_what_the_method_says(folder, whole):
    network = load_classifier("birds")
    row = next(r for r in contents(whole)["rows"] if r["file"] == "heron.png")
    x = network.preprocess(load_photo(folder / "heron.png"))[None]
    one = ContrastCAM(network)(x, why=row["why"], rather_than=row["rather_than"])
    p = network(x).softmax(1)[0]
    runner_up = p.argsort(descending=True)[1]
    assert row["predicted"] == "heron" and row["rather_than"] == network.categories[runner_up]
    assert row["strengths"][2] == pytest.approx(one.strength.item(), abs=1e-3)
    assert row["p_rather_than"] == pytest.approx(p[runner_up].item(), abs=1e-3)
    kept = torch.frombuffer(bytearray(base64.b64decode(row["maps"][1])), dtype=torch.uint8)
    wanted = one.evidence[0, 0].clamp(min=0)
    assert row["grid"] == list(wanted.shape)
    assert torch.allclose(kept.view(row["grid"]) / 255, wanted / wanted.max(), atol=0.01)


def test_the_page_opens_without_internet_and_holds_thumbnails_only(folder, whole):
    page = contents(whole)["page"]
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//|@import|fetch\(", page)
    assert "birds <b>" not in page and "birds &lt;b&gt;" in page
    for row in contents(whole)["rows"]:
        with Image.open(io.BytesIO(base64.b64decode(row["thumb"]))) as thumbnail:
            assert thumbnail.format == "WEBP" and max(thumbnail.size) <= photos.THUMBNAIL


def test_a_broken_file_is_named_and_skipped(whole, folder, tmp_path, capsys):
    made(folder, tmp_path / "r.html")
    said = capsys.readouterr()
    assert "skipped cut off.jpg" in said.err and f"{folder.name}: 7 photos, 1 skipped" in said.out
    assert "1 with .txt" in said.err
    page = contents(whole)["page"]
    assert "cut off.jpg" in page and str(folder) not in page


def interrupted(monkeypatch, folder: Path, output: Path, batches: int) -> None:
    """A run that is stopped (Ctrl-C) after some batches."""
    asked, real = [], asking.Asker.__call__

    def stops(self, read):
        if len(asked) == batches:
            raise KeyboardInterrupt
        asked.append(read)
        return real(self, read)

    with monkeypatch.context() as patch:
        patch.setattr(asking.Asker, "__call__", stops)
        assert main([str(folder), "--network", "birds", "-o", str(output)]) == 130


@pytest.mark.parametrize("cut", [0, 40])
def test_an_interrupted_run_goes_on(monkeypatch, folder, whole, tmp_path, capsys, cut):
    output = tmp_path / "report.html"
    interrupted(monkeypatch, folder, output, 2)
    state = output.with_suffix(".unfinished.jsonl")
    assert "the same command goes on" in capsys.readouterr().err and not output.exists()
    state.write_bytes(state.read_bytes()[: -cut or None])  # killed while it wrote
    read = []
    real = photos.read_batch
    monkeypatch.setattr(photos, "read_batch", lambda *a: read.append(a[1].names) or real(*a))
    made(folder, output)
    assert len(read) == (2 if cut else 1)  # of three batches
    assert output.read_bytes() == whole.read_bytes()
    assert output.with_suffix(".csv").read_bytes() == whole.with_suffix(".csv").read_bytes()


def test_other_questions_begin_anew_and_a_changed_photo_is_asked_again(
    monkeypatch, folder, tmp_path, capsys
):
    output = tmp_path / "report.html"
    interrupted(monkeypatch, folder, output, 2)
    found = made(folder, output, "--loss", "logit_difference")
    assert "other questions or another network: begun anew" in capsys.readouterr().out
    assert len(found["rows"]) == 7

    other = tmp_path / "birds"
    other.mkdir()
    for seed in range(4):
        draw("heron", seed).image.save(other / f"{seed}.png")
    interrupted(monkeypatch, other, output, 1)
    draw("flamingo", 0).image.save(other / "0.png")
    rows = {row["file"]: row for row in made(other, output)["rows"]}
    assert rows["0.png"]["predicted"] == "flamingo" and len(rows) == 4


def test_parts_merge_to_the_same_bytes(folder, whole, tmp_path, capsys):
    parts = [tmp_path / f"report.part-{i}-of-2.jsonl" for i in (1, 2)]
    output = tmp_path / "report.html"
    for i in (2, 1):
        command = [str(folder), "--network", "birds", "-o", str(output), "--part", f"{i}/2"]
        assert main(command) == 0
    assert not output.exists()
    assert main(["--merge", *map(str, parts), "-o", str(output)]) == 0
    assert output.read_bytes() == whole.read_bytes()
    assert output.with_suffix(".csv").read_bytes() == whole.with_suffix(".csv").read_bytes()

    assert main(["--merge", str(parts[1]), "-o", str(output)]) == 1
    assert "Part 1 of 2 is missing" in capsys.readouterr().err
    parts[0].write_bytes(parts[0].read_bytes().rsplit(b"\n", 2)[0] + b"\n")
    assert main(["--merge", *map(str, parts), "-o", str(output)]) == 1
    assert "part-1-of-2.jsonl is not finished" in capsys.readouterr().err
    whole_part = parts[1].read_bytes()
    parts[1].write_bytes(whole_part[:-9])  # a copy that broke off
    assert main(["--merge", *map(str, parts[::-1]), "-o", str(output)]) == 1
    assert "part-2-of-2.jsonl is damaged" in capsys.readouterr().err
    lines = whole_part.splitlines(keepends=True)
    parts[1].write_bytes(lines[0] + lines[-1])
    assert main(["--merge", *map(str, parts[::-1]), "-o", str(output)]) == 1
    assert "part-2-of-2.jsonl lacks some of its photos" in capsys.readouterr().err


def test_a_row_that_is_no_row_any_more_is_damage(monkeypatch, folder, tmp_path, capsys):
    output = tmp_path / "report.html"
    interrupted(monkeypatch, folder, output, 2)
    state = output.with_suffix(".unfinished.jsonl")
    state.write_bytes(state.read_bytes().replace(b'"thumb"', b"\xff", 1))
    assert main([str(folder), "--network", "birds", "-o", str(output)]) == 1
    assert "unfinished.jsonl is damaged, as where it was cut off" in capsys.readouterr().err


def test_a_table_that_is_no_reports_is_not_written_over(folder, tmp_path, capsys):
    (tmp_path / "birds.csv").write_text("photo,species\n")
    (tmp_path / "folder.html").mkdir()
    for name, said in [("birds.html", "birds.csv, where the"), ("folder.html", "is a folder")]:
        assert main([str(folder), "--network", "birds", "-o", str(tmp_path / name)]) == 1
        assert said in capsys.readouterr().err
    assert (tmp_path / "birds.csv").read_text() == "photo,species\n"


def test_no_name_in_the_table_is_a_formula(folder, tmp_path):
    (tmp_path / "photos").mkdir()
    names = ["=HYPERLINK(A1).png", " @SUM(A1).png", "-1.png", "ibis=1.png"]
    for name in names:
        (tmp_path / "photos" / name).write_bytes((folder / "more" / "ibis.png").read_bytes())
    found = made(tmp_path / "photos", tmp_path / "report.html")
    cells = {f"'{name}" for name in names[:3]} | {"ibis=1.png"}
    assert {row["file"] for row in found["table"]} == cells
    assert {row["file"] for row in found["rows"]} == set(names)  # on the page they are text
    made(tmp_path / "photos", tmp_path / "report.html")  # its own table is written over


# --- networks of other people ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("own") / "own_networks.py"
    path.write_text(NETWORKS)
    return str(path)


def test_a_network_with_one_logit_answers_for_known_birds(own, tmp_path):
    folder = tmp_path / "legs"
    folder.mkdir()
    for legs in ("red", "black"):
        for seed in range(6):
            draw("stork", seed, legs=legs).image.save(folder / f"{legs} {seed}.png")
    found = made(folder, tmp_path / "r.html", network=f"{own}:red_legs")
    assert len(found["rows"]) == 12
    right = [r["predicted"] == ("red legs" if "red" in r["file"] else "other legs")
             for r in found["rows"]]  # fmt: skip
    assert sum(right) >= 11
    for row in found["rows"]:
        assert {row["why"], row["rather_than"]} == {"red legs", "other legs"}
        assert row["p_why"] + row["p_rather_than"] == pytest.approx(1, abs=1e-3)


def test_modules_are_found_by_name_and_objects_as_outputs_are_read(
    own, folder, whole, tmp_path, monkeypatch
):
    monkeypatch.chdir(Path(own).parent)
    monkeypatch.syspath_prepend(".")
    rows = made(folder, tmp_path / "r.html", network="own_networks:as_object")["rows"]
    assert [(r["file"], r["why"]) for r in rows] == [
        (r["file"], r["why"]) for r in contents(whole)["rows"]
    ]


def test_what_a_network_lacks_is_assumed_aloud(own, folder, tmp_path, capsys):
    page = made(folder, tmp_path / "r.html", network=f"{own}:bare")["page"]
    said = capsys.readouterr().err
    for words in ("no `.preprocess`", "names no classes", "in training mode"):
        assert words in said and words in page
    assert '"predicted":"class ' in page
    assert "softmax, one class a photo" in page and "repeat the command with --sigmoid" in page


def test_a_network_that_ends_in_a_softmax_is_told_so_on_the_page(own, folder, tmp_path):
    with pytest.warns(ProbabilitiesWarning):
        page = made(folder, tmp_path / "r.html", network=f"{own}:soft")["page"]
    assert page.count("ends in a softmax: its output is probabilities, not logits.") == 1


def test_a_warning_stands_on_the_page_whatever_a_thread_does_that_reads_photos(
    own, folder, tmp_path, monkeypatch
):
    """`catch_warnings` in another thread, begun before this one's and ended within it."""
    block, ask = warnings.catch_warnings(), report.Asker.__call__

    def ends_within(self, read):
        block.__exit__(None, None, None)
        monkeypatch.setattr(report.Asker, "__call__", ask)
        return ask(self, read)

    monkeypatch.setattr(report.Asker, "__call__", ends_within)
    with pytest.warns(ProbabilitiesWarning):
        block.__enter__()
        page = made(folder, tmp_path / "r.html", network=f"{own}:soft")["page"]
    assert page.count("ends in a softmax: its output is probabilities, not logits.") == 1


def test_several_classes_at_once_have_probabilities_of_their_own(folder, tmp_path):
    rows = made(folder, tmp_path / "r.html", "--sigmoid", "--why", "heron", "--rather-than", "3")
    assert "sigmoid, each class by itself" in rows["page"]
    row = next(r for r in rows["rows"] if r["file"] == "heron.png")
    network = load_classifier("birds")
    y = network(network.preprocess(load_photo(folder / "heron.png"))[None])[0]
    assert row["rather_than"] == network.categories[3]
    assert row["p_why"] == pytest.approx(y.sigmoid()[5].item(), abs=1e-3)
    egret = next(r for r in rows["rows"] if r["file"] == "egret.png")
    assert "Asked about heron, but the network says egret." in egret["warnings"]


@pytest.mark.parametrize(
    "options, words",
    [
        (["--network", "brids"], "Did you mean 'birds'"),
        (["--network", "{own}:text"], "a report needs an nn.Module"),
        (["--network", "{own}:nothing"], "has no 'nothing'"),
        (["--network", "{own}:fails"], "fails() failed (KeyError: 'weights'; line "),
        (["--network", "{own}:needs"], "needs() failed (TypeError: needs() missing 1 required"),
        (["--network", "{own}:Named"], "let module:function give course_utils.methods.as_classes"),
        (["--network", "{own}:Winner"], "as argmax does, through which no gradient passes"),
        (["--network", "{own}:in_bytes"], "3 x 9 x 9 uint8 of the photo, and must make one"),
        (["--network", "no_such_module:load"], "cannot be imported"),
        (["--network", "birds", "--why", "herron"], "Did you mean 'heron'"),
        (["--network", "birds", "--layer", "feature"], "Did you mean 'features'"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence(own, folder, tmp_path, capsys, options, words):
    options = [one.format(own=own) for one in options]
    assert main([str(folder), "-o", str(tmp_path / "r.html"), *options]) == 1
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said


def test_a_mistake_in_a_networks_code_is_shown_where_it_is(own, folder, tmp_path):
    with pytest.raises(TypeError, match="unsupported operand"):
        main([str(folder), "--network", f"{own}:Mistaken", "-o", str(tmp_path / "r.html")])


def test_a_network_that_returns_more_is_wrapped_as_the_sentence_says(own, folder, whole, tmp_path):
    rows = made(folder, tmp_path / "r.html", network=f"{own}:wrapped")["rows"]
    expected = {row["file"]: row["predicted"] for row in contents(whole)["rows"]}
    assert {row["file"]: row["predicted"] for row in rows} == expected


def test_a_photo_too_small_for_the_layer_is_named_and_keeps_no_other(own, tmp_path):
    for name, size in (("a", (40, 30)), ("b", (1, 1)), ("c", (30, 30))):
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    page = made(tmp_path, tmp_path / "r.html", "--layer", "1", network=f"{own}:as_they_are")
    assert sorted(row["file"] for row in page["rows"]) == ["a.png", "c.png"]
    assert "<code>b.png</code>: '1' gives" in page["page"].replace("&#x27;", "'")


def test_no_folder_no_photo_and_nothing_but_broken_ones_are_sentences(tmp_path, capsys):
    output = str(tmp_path / "r.html")
    assert main([str(tmp_path / "nowhere"), "-o", output]) == 1
    assert "give a folder of photos" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty"), "-o", output]) == 1
    assert "No photo in" in capsys.readouterr().err
    (tmp_path / "empty" / "a.png").write_bytes(b"")
    assert main([str(tmp_path / "empty"), "--network", "birds", "-o", output]) == 1
    assert "None of the photos could be asked" in capsys.readouterr().err


# --- what the numbers mean ------------------------------------------------------------------------


def row_of(**values) -> dict:
    usual = {"why": "P", "rather_than": "Q", "predicted": "P", "p_predicted": 0.9}
    numbers = {"strengths": [1, 0.2, 0.5, 0.5, 0.1], "agreement": 0.8, "against": 0.25}
    return usual | numbers | values


def test_readable_is_strength_times_agreement_times_the_share_for_p():
    assert asking.readable(row_of()) == pytest.approx(0.5 * 0.8 * 0.75)
    assert asking.readable(row_of(agreement=-0.4)) == 0
    assert asking.readable(row_of(strengths=[1, 0, 3.0, 1, 1], agreement=1, against=0)) == 1


@pytest.mark.parametrize(
    "values, words",
    [
        ({"strengths": [1, 0, 0.04, 0, 0]}, "The contrast is weak: 4 % of Grad-CAM's peak."),
        ({"strengths": [1, 0, 0.0, 0, 0]}, "The contrast is empty: no positive evidence."),
        ({"strengths": [1, 0, 0.0, 0, 0], "agreement": 0.0}, "The contrast is empty: no positive"),
        ({"strengths": [1, 0, None, 0, 0]}, "The contrast's strength is unknown"),
        ({"strengths": [1, 0, 37.2, 0, 0]}, "The contrast has strength 37: Grad-CAM's own map is"),
        ({"agreement": 0.1}, "The two losses disagree (rank correlation 0.10)"),
        ({"against": 0.6}, "60 % of the evidence speaks against P."),
        ({"p_predicted": 0.3}, "The network is unsure: P has 30 %."),
        ({"p_predicted": 0.001}, "The network is unsure: P has less than 1 %."),
        ({"rather_than": "P", "agreement": 0.1}, "P and Q are both P"),
    ],
)
def test_warnings_are_words(values, words):
    assert asking.warnings_of(row_of()) == []
    (said,) = asking.warnings_of(row_of(**values))
    assert said.startswith(words)


def test_a_strength_next_to_nothing_is_not_called_empty():
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1, 0]])[..., None, None])
        network[0].bias.zero_()
    x = torch.zeros(1, 3, 4, 4)
    x[0, 0, :, :2], x[0, 1, :, 2:] = 24, 2  # logits 12 and 1
    (row,) = asking.Asker(network, asking.Questions()).ask(x)
    # "why not P with 100 %?" has the evidence (1 - p) (S^other - S^P), 2 on the right; S^P is 24
    assert row["strengths"][4] == pytest.approx(2 / 24 / (1 + math.exp(11)), rel=1e-3)
    said = asking.warnings_of(row_of(strengths=[1, 0, row["strengths"][4], 0, 0]))
    assert said == ["The contrast is weak: less than 1 % of Grad-CAM's peak."]


def test_the_digest_knows_weights_and_not_addresses():
    one, two = networks.load("birds"), networks.load("birds")
    one.preprocess, two.preprocess = (lambda photo: photo for _ in range(2))
    before = one.digest()
    assert before == two.digest() != networks.load("birds").digest()
    with torch.no_grad():
        one.network.head.weight[0, 0] += 1e-3
    assert one.digest() != before


def test_the_digest_knows_what_a_function_of_ones_own_does(tmp_path):
    """A report that was stopped to mend the preparation went on with answers of before."""
    path, digests = tmp_path / "mine.py", []
    for mean in (0.4, 0.5, 0.5):
        path.write_text(MINE.format(mean))
        sys.modules.pop("_report_mine", None)
        digests.append(networks.load(f"{path}:load").digest())
    assert digests[0] != digests[1] == digests[2]


MINE = """
import torch

def load():
    network = torch.nn.Sequential(torch.nn.Flatten())
    network.preprocess = lambda photo: torch.zeros(3, 2, 2) - {}
    return network
"""


def test_ranks_correlate_as_worked_out_by_hand():
    a = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    assert asking.rank_correlation(a, a * 7).item() == pytest.approx(1)
    assert asking.rank_correlation(a, -a).item() == pytest.approx(-1)
    swapped = torch.tensor([[[1.0, 2.0], [4.0, 3.0]]])  # 1 - 6 * 2 / (4 * 15)
    assert asking.rank_correlation(a, swapped).item() == pytest.approx(0.8)
    assert asking.rank_correlation(a, torch.ones_like(a)).item() == 0


# --- in a browser ---------------------------------------------------------------------------------


@pytest.fixture
def view(chromium, whole):
    page, faults = chromium.new_page(), []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("requestfailed", lambda request: faults.append(request.url))
    page.on("request", lambda r: None if r.url[:5] in ("file:", "data:") else faults.append(r.url))
    page.goto(whole.as_uri())
    page.locator("#rows tr").first.wait_for()
    yield page
    page.close()
    assert not faults


def column(view, number: int) -> list[str]:
    return view.locator(f"#rows tr td:nth-child({number})").all_inner_texts()


def test_headings_sort_by_mouse_and_by_keyboard(view, whole):
    strengths = [row["strengths"][2] for row in contents(whole)["rows"]]
    view.get_by_role("button", name="Strength").click()
    first = [float(text.split(":")[0]) for text in column(view, 6)]
    assert first == pytest.approx(sorted(strengths), abs=0.006)
    view.keyboard.press("Enter")  # the focus stays
    assert [float(text.split(":")[0]) for text in column(view, 6)] == first[::-1]
    assert view.locator("th[aria-sort=descending]").get_attribute("data-sort") == "strength"
    view.keyboard.press("Shift+Tab")  # to "Confidence"
    view.keyboard.press("Space")
    assert view.locator("th[aria-sort]").get_attribute("data-sort") == "confidence"


def test_filters_by_class_confidence_and_strength(view, whole):
    rows = contents(whole)["rows"]
    view.get_by_label("Class predicted").select_option("ibis")
    assert column(view, 2) == ["ibis"] * sum(r["predicted"] == "ibis" for r in rows)
    assert f"1 of {len(rows)} photos" in view.get_by_role("status").inner_text()
    view.get_by_role("button", name="Show all").click()
    view.wait_for_function(f"document.querySelectorAll('#rows tr').length === {len(rows)}")
    middle = sorted(r["strengths"][2] for r in rows)[3]
    view.get_by_label("Strength from").fill(str(middle))
    assert view.locator("#rows tr").count() == 4
    view.get_by_role("button", name="Show all").click()
    view.get_by_label("Confidence from (%)").fill("101")
    assert "None of the 7 photos fits" in view.get_by_role("status").inner_text()


def test_pictures_have_words_and_maps_are_drawn(view):
    for picture in view.locator("#rows img").all():
        assert "the network says" in picture.get_attribute("alt")
    for canvas in view.locator("#rows canvas").all():
        assert re.match(r"Why .+\? Map: .+\.", canvas.get_attribute("aria-label"))
    drawn = """() => [...document.querySelectorAll('#rows canvas')].every(c => {
        const pixels = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        return c.width > 100 && new Set(pixels).size > 50; })"""
    view.wait_for_function(drawn)


def test_axe_finds_nothing(view, axe):
    assert axe(view) == []


def test_thousands_of_rows_are_drawn_a_page_at_a_time(chromium, whole, tmp_path):
    found = contents(whole)
    row = json.dumps(found["rows"][0]).replace("<", "\\u003c")
    many = ",".join([row] * 10_000)
    big = tmp_path / "big.html"
    data = re.compile(r'(id="data">\[).*?(\]</script>)', re.DOTALL)
    big.write_text(data.sub(lambda m: m[1] + many + m[2], found["page"]))
    view = chromium.new_page()
    view.goto(big.as_uri())
    view.get_by_text("Page 1 of 200").wait_for()
    view.get_by_role("button", name="Next").click()
    view.get_by_text("Page 2 of 200").wait_for()
    assert view.locator("#rows tr").count() == 50
    view.close()


def test_the_course_stands_for_its_own_photos():
    with report.folder_of("course") as folder:
        assert (folder / "chelsea.png").is_file() and len(list(folder.iterdir())) == 7
    assert not folder.exists()


# --- on a cluster ---------------------------------------------------------------------------------

ROOT = Path(__file__).resolve().parent.parent
EXTRA = ROOT / ".extras" / "cluster"


@pytest.fixture
def scheduler(tmp_path):
    """A scheduler of Dask and one worker, on this machine; its address."""
    if not (EXTRA / "distributed").is_dir():
        pytest.fail("no Dask here: run `python3 tools/set_up.py cluster`, as `make test` does")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    paths = os.pathsep.join([str(ROOT / "tools"), str(EXTRA)])
    env = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    env["DASK_TEMPORARY_DIRECTORY"] = str(tmp_path)  # killed, it tidies nothing up

    def started(program: str, *options: str) -> subprocess.Popen:
        command = [sys.executable, "-m", f"distributed.cli.{program}", *options, "--no-dashboard"]
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, env=env, cwd=tmp_path, stdout=quiet, stderr=quiet)

    place = ("--host", "127.0.0.1", "--port", address.split(":")[1])
    worker = (f"tcp://{address}", "--nthreads", "1", "--no-nanny", "--memory-limit", "0")
    running = [started("dask_scheduler", *place), started("dask_worker", *worker)]
    yield f"tcp://{address}"
    for process in running:
        process.kill()
        process.wait()


def test_a_cluster_gives_the_same_bytes(scheduler, folder, whole, tmp_path, capsys):
    output = tmp_path / "there" / "report.html"
    made(folder, output, "--cluster", scheduler)
    assert output.read_bytes() == whole.read_bytes()


def test_a_worker_with_another_network_refuses(folder):
    task = report.Task("birds", ".", "another digest", {}, str(folder), ("key", ("heron.png",)))
    with pytest.raises(ValueError, match="is another network"):
        report.answer(task)
