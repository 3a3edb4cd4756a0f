"""The benchmark "known answers": its birds are frozen, and anybody's method gets a row."""

import json
import sys

import measure_methods as bench
import measure_methods_cost as costs
import methods_report
import numpy as np
import pytest
import torch

from course_utils.birds import differences, draw
from course_utils.methods.taxonomy import METHODS
from course_utils.networks.course_weights import record


@pytest.fixture(scope="module")
def case():
    return next(bench.cases(1))


def test_the_birds_are_frozen(case):
    assert (case.P, case.Q, case.part) == ("flamingo", "Andean flamingo", "legs")
    assert (case.bird.seed, case.other.seed, case.key) == (1_000_000, 2_000_000, "0/0")
    assert np.array_equal(case.bird.image, draw("flamingo", 1_000_000).image)
    assert len(bench.PAIRS) == 12 and all(len(differences(*pair)) == 1 for pair in bench.PAIRS)


def test_a_peak_on_the_part_is_a_hit_and_an_empty_map_a_miss(case):
    mask = case.bird.masks[case.part]
    assert bench.on_part(mask.astype(float), case.bird, case.part) == (1.0, 1.0)
    far = np.zeros(mask.shape)
    row, column = np.argwhere(case.bird.masks["bill"])[0]
    far[row, column] = 1
    assert bench.on_part(far, case.bird, case.part) == (0.0, 0.0)
    assert bench.on_part(np.zeros(mask.shape), case.bird, case.part)[0] == 0.0


def test_chance_is_the_share_of_the_picture_near_the_part(case):
    peak, energy = bench.chance(case)
    mask = case.bird.masks[case.part]
    assert mask.mean() < peak < mask.mean() + 0.2
    assert energy == pytest.approx(mask.sum() / case.bird.outline.sum(), abs=0.02)


def test_tcav_is_right_if_the_differing_part_has_the_largest_derivative(case):
    class Told:
        result = {"body": (1, 0.1), "neck": (1, 0.2), "bill": (0, -3.0), "legs": (1, 0.4)}

    assert bench.largest_concept(Told, case)[0] == 1.0
    Told.result = Told.result | {"neck": (1, 0.5)}
    assert bench.largest_concept(Told, case)[0] == 0.0


def test_twelve_of_twelve_are_at_least_74_percent():
    """Clopper and Pearson, by hand: 0.025^(1/12)."""
    low, high = methods_report.interval(12, 12)
    assert low == pytest.approx(0.025 ** (1 / 12)) and high == 1
    assert methods_report.interval(0, 12) == pytest.approx((0, 1 - low))


def test_a_round_that_was_not_finished_is_left_out():
    """Twelve pairs in round 0, eleven in round 1."""
    known = dict(network="birds", entry="CAM", question="why", hit=1.0)
    rows = [known | dict(case=f"{k}/0") for k in range(12)]
    more = [known | dict(case=f"{k}/1") for k in range(11)]
    assert bench.whole_rounds(rows + more) == rows


OTHERS = """
import torch
from course_utils import ForwardPass

def blank(network, x, why, rather_than):
    return torch.zeros(4, 4)

def margin(network, x, why, rather_than):
    with open({log!r}, "a") as file:
        file.write("asked ")
    names, seen = network.categories, ForwardPass(network, x)
    v = torch.zeros(len(names))
    v[names.index(why)] = 1
    if rather_than:
        v[names.index(rather_than)] = -1
    return seen.evidence(v[None])[0, 0]

def wrong(network, x, why, rather_than):
    return torch.tensor(1.0)
"""


@pytest.fixture
def others(tmp_path, monkeypatch, capsys):
    """Runs the tool with a method from a module of somebody else's; returns what it printed."""
    (tmp_path / "others_methods.py").write_text(OTHERS.format(log=str(tmp_path / "log")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    sys.modules.pop("others_methods", None)
    notes = str(tmp_path / "methods.jsonl")
    known = ["measure_methods.py", "--birds", "1", "--networks", "birds", "--notes", notes]

    def run(name):
        monkeypatch.setattr(sys, "argv", [*known, "--method", name])
        bench.main()
        return capsys.readouterr().out

    yield run
    sys.modules.pop("others_methods", None)


def test_anybodys_method_gets_its_row_and_is_not_asked_again(others, tmp_path):
    row = next(line for line in others("others_methods:margin").splitlines() if "margin" in line)
    notes = (tmp_path / "others_methods.margin.jsonl").read_text().splitlines()
    assert len(notes) == 24 and (tmp_path / "log").read_text().count("asked") == 24
    hits = sum(r["hit"] for r in map(json.loads, notes) if r["question"] == "contrast")
    assert (
        f"{hits / 12:.0%}".replace("%", " %") in row and hits > 10
    )  # it is Grad-CAM of the margin
    others("others_methods:margin")
    assert (tmp_path / "log").read_text().count("asked") == 24


def test_an_empty_map_hits_nothing(others):
    text = others("others_methods:blank")
    assert next(line for line in text.splitlines() if "blank" in line).count("0 % (0 to 26)") == 2


def test_what_is_no_map_or_no_method_is_said(others):
    with pytest.raises(ValueError, match="H x W"):
        others("others_methods:wrong")
    with pytest.raises(SystemExit, match="no attribute 'missing'"):
        others("others_methods:missing")
    with pytest.raises(SystemExit, match="No module named"):
        others("nobodys_module:method")


def test_the_record_has_every_entry_of_every_network():
    found = record("methods")
    assert (found["benchmark"], found["version"]) == ("known answers", bench.VERSION)
    assert list(found["networks"]) == ["birds", "birds_shortcut", "birds_blurry"]
    for entries in found["networks"].values():
        assert list(entries) == [entry.name for entry in bench.entries()]
        for entry in entries.values():
            assert all(0 <= q["hits"] <= q["n"] for q in entry.values())


def test_every_bird_was_asked_about_and_every_method_has_its_cost():
    found = record("methods")
    for entries in found["networks"].values():
        assert {q["n"] for entry in entries.values() for q in entry.values()} == {12 * bench.BIRDS}
    assert list(found["costs"]) == [method.name for method in METHODS]
    assert set(found["photos"]) == {e.name for e in bench.entries() if e.score is None}
    assert all(one["seconds"] > 0 and one["memory"] > 0 for one in found["costs"].values())


def test_the_memory_of_a_question_is_its_peak(monkeypatch):
    """Two hundred million bytes are held for a moment, after one forward pass."""

    class Greedy:
        needs_q = False

        def __call__(self, network, x, why, rather_than):
            network(x)
            bytearray(b"1") * (200 * costs.MB)

    nothing = torch.nn.Flatten(), torch.zeros(1, 3, 2, 2), None
    monkeypatch.setattr("methods_report.frame", lambda: nothing)
    monkeypatch.setattr(costs, "METHODS", {"greedy": Greedy()})
    found = costs.cost("greedy")
    assert found["passes"] == [1, 0] and found["memory"] in (None, *range(195, 230))


def test_the_page_shows_the_record_and_a_picture_of_every_method():
    found = record("methods")
    page = methods_report.PAGE.read_text()
    assert methods_report.rows_of(found["networks"], found["chance"]) in page
    assert methods_report.rows_of_photos(found["photos"]) in page
    assert methods_report.rows_of_costs(found["costs"]) in page
    for method in METHODS:
        file = methods_report.PICTURES / methods_report.file_name(method.name)
        assert f"seventeen/{file.name}" in page and file.stat().st_size < 60_000
    assert methods_report.POSTER.stat().st_size < 1_000_000


def test_contrast_cam_scores_as_grad_cam_of_the_margin(case):
    network = bench.load_birds_network("birds")
    x = network.preprocess(case.bird.image)[None]
    entry = next(entry for entry in bench.entries() if entry.name == "Contrast-CAM")
    row = bench.ask(entry, "contrast", network, x, case)
    margin = METHODS["Grad-CAM"](network, x, why=case.P, rather_than=case.Q).maps[0, 0].numpy()
    hit, energy = bench.on_part(margin, case.bird, case.part)
    assert (row["hit"], row["energy"]) == (hit, pytest.approx(energy, abs=1e-3))
    assert row["passes"] == [1, 0]
