"""Claims are checked in words, listed in docs/claims.md, and counted on more photos."""

import json
import re
from dataclasses import replace
from pathlib import Path

import break_claims
import claims_table
import measure_claims
import measure_deletion_claims
import measure_quality_claims
import numpy as np
import pytest
import torch
from claims_table import ClaimError
from skimage.filters import gaussian
from tiny_networks import by_autograd

from course_utils import ContrastCAM, ForwardPass, load_classifier, load_photo
from course_utils.explorers.claims import MEASURED_ON, Claims

ROOT = Path(__file__).resolve().parent.parent
LECTURES = sorted((ROOT / "lectures").glob("*.ipynb"))


def network(name: str) -> torch.nn.Module:
    made = torch.nn.Identity()
    made.name = name
    return made


class TestClaims:
    def test_nan_does_not_hold(self):
        with pytest.raises(AssertionError, match="no longer holds: Grass is green"):
            Claims(network(MEASURED_ON))("Grass is green.", float("nan"), on="7 lawns")

    def test_what_holds_is_said(self, capsys):
        Claims(network(MEASURED_ON))("Grass is green.", True, on="7 lawns")
        assert capsys.readouterr().out == "holds: Grass is green. (7 lawns)\n"

    def test_a_long_claim_has_lines_that_jupyterlab_does_not_break(self, capsys):
        Claims(network(MEASURED_ON))("Grass is green, " * 9, True, on="7 lawns")
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 2 and all(len(line) <= 100 for line in lines)

    def test_what_no_longer_holds_stops_in_words(self):
        with pytest.raises(AssertionError, match=r"Grass is green\. \(measured on 7 lawns\)"):
            Claims(network(MEASURED_ON))("Grass is green.", False, on="7 lawns")

    def test_with_another_network_it_is_a_finding(self, capsys):
        claim = Claims(network("resnet50"))
        claim("Grass is green.", False, on="7 lawns")
        assert "DOES NOT HOLD for resnet50: Grass is green." in capsys.readouterr().out
        assert claim.failed == ["Grass is green."]

    def test_after_a_readers_change_it_is_a_finding_too(self, capsys):
        claim = Claims(network(MEASURED_ON))
        claim.strict = False
        claim("Grass is green.", False, on="7 lawns")
        assert "DOES NOT HOLD after your change: Grass is green." in capsys.readouterr().out


class TestList:
    def test_docs_claims_is_current(self):
        is_now, should = claims_table.current()
        assert is_now == should, "run: python tools/claims_table.py"

    def test_as_many_guards_were_seen_to_fail_as_there_are(self):
        """A new guard: run `python tools/break_claims.py lectures/0...`, then change the page."""
        page = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
        said = int(re.search(r"All (\d+) guards of lectures 1 to 6 were seen to fail", page)[1])
        six = [path for path in LECTURES if path.name.startswith("0")]
        assert said == sum(len(claims_table.claims(path)) for path in six)

    def test_counts_on_more_photos_are_those_of_the_page(self):
        page = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
        cited = [n for path in LECTURES for n in re.findall(r"\b\d+ of 171\b", words(path))]
        assert len(cited) >= 3 and all(count in page for count in cited)

    def made(self, folder: Path, source: str) -> Path:
        cells = [
            {"cell_type": "markdown", "id": "m", "source": "# L\n## 1. Grass\ntext"},
            {"cell_type": "code", "id": "guard", "source": source},
        ]
        path = folder / "01_made.ipynb"
        path.write_text(json.dumps({"cells": cells}))
        return path

    def test_a_claim_is_found_with_its_section_and_what_it_was_measured_on(self, tmp_path):
        path = self.made(tmp_path, 'on = "7 lawns"\nclaim("Grass " "is green.", a > 1, on=on)')
        (found,) = claims_table.claims(path)
        assert vars(found) == {
            "sentence": "Grass is green.",
            "on": "7 lawns",
            "section": "1. Grass",
            "cell": "guard",
        }

    def test_a_sentence_that_is_made_as_the_cell_runs_is_refused(self, tmp_path):
        with pytest.raises(ClaimError, match="01_made.ipynb, cell guard"):
            claims_table.claims(self.made(tmp_path, 'claim(f"Grass is {x}.", True, on="1")'))

    def test_without_saying_on_what_it_is_refused(self, tmp_path):
        with pytest.raises(ClaimError, match="cell guard"):
            claims_table.claims(self.made(tmp_path, 'claim("Grass is green.", True)'))


class TestMakeClaims:
    row = measure_claims.Measured(
        p=0.95, far=0.97, near=0.5, new=4, self=-0.9, against=0.01, opposed=0.0, doubt=0.3,
        losses=0.99, published=0.05, difference=0.5, silent=0.0, size=0.1, beside=0.2,
        unreadable=0, probability=0.95,
    )  # fmt: skip

    def test_it_counts_photos_by_hand(self):
        rows = [
            self.row,
            replace(self.row, far=0.5, p=0.4),
            replace(self.row, far=0.8, opposed=0.05, doubt=2.0),
        ]
        found = {claim: (count, numbers) for claim, count, numbers in measure_claims.table(rows)}
        far = "a far Q gives Grad-CAM's order of places (median rho > 0.9)"
        assert found[far] == ("1 of 3", "0.80 (0.50 to 0.97)")
        empty = "nothing speaks against P: Counterfactual-CAM is empty"
        assert found[empty][0] == "2 of 3" and found["... or weak (strength < 0.1)"][0] == "3 of 3"
        rule = "exp(-H): cross_entropy is weak at the runner-up (strength < 0.1)"
        assert found[f"p_R <= {rule}"][0] == "2 of 2" and found[f"p_R > {rule}"][0] == "1 of 1"
        weak = "cross_entropy is weak there (strength < 0.1)"
        assert found[f"p_P >= 0.9: {weak}"][0] == "2 of 2"
        far = "a far Q gives Grad-CAM's order (median rho > 0.9)"
        assert found[f"p_P >= 0.9: {far}"][0] == "1 of 2"
        assert found[f"p_P < 0.5: {weak}"][0] == "1 of 1"
        assert found[f"0.5 <= p_P < 0.9: {weak}"] == ("-", "")

    def test_one_photo_as_the_methods_have_it(self):
        classifier = load_classifier()
        x = classifier.preprocess(load_photo("chelsea"))[None]
        seen = ForwardPass(classifier, x)
        measured = measure_claims.measure(seen)
        P, R = seen.logits[0].topk(2).indices.tolist()
        asked = [
            ContrastCAM(classifier, loss=loss)(seen, why=P, rather_than=[R, P])
            for loss in ("cross_entropy", "logit_difference")
        ]
        (published, silent), (difference, _) = (answer.strength[0].tolist() for answer in asked)
        assert measured.published == pytest.approx(published, abs=1e-4)
        assert measured.silent == pytest.approx(silent, abs=1e-4)
        assert measured.difference == pytest.approx(difference, abs=1e-4)
        assert measured.p == pytest.approx(0.39, abs=0.01)
        p = classifier(x).detach()[0].softmax(0)
        total = -p[R].log() + (p * p.log()).sum()  # of the published map: -log p_R - H
        assert measured.doubt == pytest.approx(float(torch.exp(-total)), rel=1e-3)
        assert measured.probability == pytest.approx(-measured.self, abs=1e-6)

    def test_what_speaks_against_P_is_the_negative_half_of_its_map(self):
        classifier = load_classifier()
        x = classifier.preprocess(load_photo("china"))[None]
        S = by_autograd(classifier, classifier.layer, x)
        opposed = measure_claims.measure(ForwardPass(classifier, x)).opposed
        assert opposed == pytest.approx(float(-S.min() / S.max()), rel=1e-3)
        assert opposed == pytest.approx(0.087, abs=0.005)

    def test_ranks_by_hand(self):
        maps = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[4.0, 3.0], [2.0, 1.0]]])
        rho = measure_claims.rank_correlations(maps, torch.tensor([[10.0, 20.0], [30.0, 99.0]]))
        assert rho.tolist() == pytest.approx([1, -1])

    def test_pieces_by_hand(self):
        assert measure_claims.pieces(torch.tensor([[9.0, 0, 5], [0, 0, 0], [9, 9, 4]])) == 3

    def test_a_folder_that_is_none_or_empty_is_told(self, tmp_path):
        with pytest.raises(SystemExit, match="There is no folder"):
            measure_claims.photos_in(str(tmp_path / "none"))
        with pytest.raises(SystemExit, match="No picture in"):
            measure_claims.photos_in(str(tmp_path))

    def test_what_cannot_be_read_is_left_out_and_named(self, tmp_path, capsys):
        (tmp_path / "a.jpg").write_text("no picture")
        with pytest.raises(SystemExit, match="None of the photos could be read"):
            measure_claims.measure_all(torch.nn.Identity(), [tmp_path / "a.jpg"])
        assert "left out" in capsys.readouterr().err

    def test_several_networks_make_the_table_of_the_page(self):
        rows = {"a": [self.row, replace(self.row, far=0.5)], "b": [replace(self.row, far=0.2)]}
        lines = measure_claims.markdown(rows).splitlines()
        assert lines[0] == "| claim | `a` | `b` | together |"
        assert lines[2].endswith("(median rho > 0.9) | 1 of 2 | 0 of 1 | 1 of 3 |")

    def test_the_page_has_the_counts_of_the_seven_photos_for_another_network(self):
        """Counts near a threshold may differ by one on another machine."""
        name = "efficientnet_lite2"
        network = load_classifier(name)
        assert network.name == name  # by which `Claims` knows that it is another one
        found = measure_claims.table(measure_claims.measure_all(network, measure_claims.PHOTOS))
        page = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
        seven = page.split("The same table for the seven photos")[1].split("Lecture 4 guards")[0]
        lines = re.findall(r"^\| (.+?) \|(.+) \|$", seven, flags=re.MULTILINE)
        said = {claim: counts.split("|") for claim, counts in lines}
        column = [head.strip() for head in said["claim"]].index(f"`{name}`")
        for claim, count, _ in found:
            wanted = said[claim][column].strip()
            numbers = [re.findall(r"\d+", text) or ["0"] for text in (count, wanted)]
            assert abs(int(numbers[0][0]) - int(numbers[1][0])) <= 1, (claim, count, wanted)


class TestMakeQualityClaims:
    def test_a_smooth_half_and_a_textured_half(self):
        """The score of noise is lower where there is texture, or it is not: a number either way."""
        ways = {
            "inside": lambda bad, good: (torch.tensor(np.array(bad)) != torch.tensor(
                np.array(good))).any(dim=2).float(),
            "even": lambda bad, good: torch.ones(240, 320),
        }  # fmt: skip
        photo = load_photo("coffee").resize(measure_quality_claims.SIZE)
        shares = measure_quality_claims.hidden(photo, 0, ways)
        assert shares["inside"] == pytest.approx(1)
        assert shares["even"] == pytest.approx(144 * 128 / (320 * 240))


class TestMakeDeletionClaims:
    def test_regions_by_hand(self):
        """Of ten places one in five, 2, is marked; where only one is against, one."""
        S = torch.tensor([[-4.0, 3, 2, -1, 0.5, 5, 6, 7, 8, 9]])
        against, neither = measure_deletion_claims.regions(S, (1, 10))
        assert against.nonzero()[:, 1].tolist() == [0, 3]
        assert neither.nonzero()[:, 1].tolist() == [3, 4]
        S[0, 3] = 1
        assert [m.sum().item() for m in measure_deletion_claims.regions(S, (1, 10))] == [1, 1]

    def test_the_rise_of_one_photo_is_that_of_a_deletion_by_hand(self):
        network = load_classifier()
        x = network.preprocess(load_photo("china"))[None]
        seen = ForwardPass(network, x)
        P = measure_deletion_claims.asked_about(seen)
        assert network.categories[P] == "palace"  # as in the lecture's table
        mask = measure_deletion_claims.regions(seen.class_maps()[0, P], seen.size)[0]
        blur = torch.from_numpy(gaussian(x[0].numpy(), sigma=15, channel_axis=0))
        mean = x[0].mean(dim=(1, 2))[:, None, None]
        with torch.inference_mode():
            after = [network(x.where(~mask, filling))[0, P] for filling in (blur, mean)]
        wanted = (sum(after) / 2 - seen.logits[0, P]).item()
        against, neither = measure_deletion_claims.rises(network, x)
        assert against == pytest.approx(wanted, abs=1e-4) and against != neither

    def test_too_few_photos_are_told(self, tmp_path, capsys):
        (tmp_path / "a.jpg").write_text("no picture")
        with pytest.raises(SystemExit, match="Only 0 of the photos"):
            measure_deletion_claims.report(load_classifier(), [tmp_path / "a.jpg"])
        assert "left out" in capsys.readouterr().err


class TestBreaking:
    """Of a cell's guards those are found that no wrong number breaks."""

    def tried(self, source: str, **known) -> dict[str, str | None]:
        known |= {"claim": Claims(network(MEASURED_ON))}
        return {one.sentence: one.failed_with for one in break_claims.try_cell(source, known)}

    def test_the_smallest_change_that_breaks_a_guard_is_told(self):
        found = self.tried('claim("a is large.", a > 0.95, on="1")', a=1.0)
        assert found == {"a is large.": "a: a tenth less"}

    @pytest.mark.parametrize(
        "condition", ["True", "a == a", "a < float('inf')", "len(rows) >= 0", "a > 0 or a <= 0"]
    )
    def test_a_guard_that_cannot_fail_is_found(self, condition):
        source = f'claim("Always.", {condition}, on="1")'
        assert self.tried(source, a=1.0, rows=[1, 2]) == {"Always.": None}

    @pytest.mark.parametrize(
        ("condition", "given"),
        [
            ("max(rows.values()) < 2", {"x": 0.5, "y": 1.0}),
            ("rows[0] < rows[1]", torch.tensor([1.0, 2.0])),
            ('rows == ["fox", "cat"]', ["fox", "cat"]),
            ("sum(rows) >= 2", [True, True, False]),
            ("len(rows) >= 3", {"a", "b", "c"}),
        ],
    )
    def test_values_of_every_kind_are_changed(self, condition, given):
        found = self.tried(f'claim("So.", {condition}, on="1")', rows=given)
        assert found["So."]

    def test_what_the_cell_itself_computes_is_changed_too_and_asserts_do_not_hide_it(self):
        source = 'b = a + 1\nassert b == 2\nclaim("b is 2.", 1.9 < b < 2.1, on="1")'
        assert self.tried(source, a=1.0)["b is 2."]

    def test_a_verdict_is_not_turned_over(self):
        assert self.tried('ok = True\nclaim("Always.", ok, on="1")') == {"Always.": None}


EXERCISES = sorted((ROOT / "solutions").glob("*/*.ipynb"))


@pytest.mark.parametrize("path", EXERCISES, ids=lambda path: path.stem)
def test_an_exercise_says_how_much_each_part_matters_and_what_may_be_skipped(path):
    first = words(path).split("**Before you start.**")[0]
    parts = re.findall(r"^\| \d \| .+? \| (\w+) \| \d+ \| \d+ \|$", first, flags=re.MULTILINE)
    assert len(parts) >= 6 and set(parts) <= {"most", "much", "less"} and "most" in parts
    assert "**Short of time?**" in first


def words(path: Path) -> str:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def anchors(path: Path) -> set[str]:
    """The ids of a page's headings as JupyterLab makes them, and those written as HTML."""
    page = words(path) if path.suffix == ".ipynb" else path.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ +(.+?) *$", page, flags=re.MULTILINE)
    return {h.replace(" ", "-") for h in headings} | set(re.findall(r'id="([^"]+)"', page))


@pytest.mark.parametrize("path", LECTURES, ids=lambda path: path.stem)
def test_links_into_lectures_glossary_and_notation_lead_to_a_heading(path):
    for file, anchor in re.findall(r"\]\(([\w/.]*)#([^\s]+?)\)(?=[\s.,;:|)]|$)", words(path)):
        target = path.parent / file if file else path
        if target.suffix in (".ipynb", ".md"):
            assert anchor in anchors(target), f"{path.name}: no heading {anchor} in {target.name}"


# Words that the course gave a meaning, or that fall from the sky: explained in the glossary
TERMS = ["batch norm", "class map", "cotangent", "perplexity", "pieces", "posterior", "ReLU6"]
TERMS += ["strength", "temperature", "proxy", "margin", "intervention", "control", "mosaic"]


def test_the_glossary_has_the_terms_of_the_course():
    glossary = (ROOT / "lectures" / "glossary.md").read_text(encoding="utf-8")
    entries = re.findall(r"^## (.+)$", glossary, flags=re.MULTILINE)
    assert set(TERMS) <= set(entries)
    assert entries == sorted(entries, key=str.lower), "the glossary is not in order"


def minutes(path: Path) -> int:
    return int(re.search(r"\*\*Time:\*\* about (\d+) minutes", words(path))[1])


@pytest.mark.parametrize("path", LECTURES, ids=lambda path: path.stem)
def test_the_table_of_lectures_tells_the_minutes_of_the_notebook(path):
    page = (ROOT / "lectures" / "README.md").read_text(encoding="utf-8")
    row = re.search(rf"\({path.name}\) \| (\d+)", page)
    assert row and int(row[1]) == minutes(path)


@pytest.mark.parametrize("path", LECTURES, ids=lambda path: path.stem)
def test_reading_leaves_a_tenth_to_two_thirds_of_the_time(path):
    """120 words, 8 lines of visible code, or one prediction a minute, as the page says."""
    needed = 0.0
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source, about = "".join(cell["source"]), cell["metadata"]
        if cell["cell_type"] == "markdown" and "instructor" not in about.get("tags", []):
            needed += len(source.split("## References")[0].split()) / 120
        elif cell["cell_type"] == "code" and not about.get("jupyter", {}).get("source_hidden"):
            lines = sum(bool(line.strip()) for line in source.split("\n"))
            needed += 1 if source.startswith("my_") else lines / 8
    assert 0.1 < 1 - needed / minutes(path) < 0.7


@pytest.mark.parametrize("path", LECTURES[1:], ids=lambda path: path.stem)
def test_a_lecture_says_what_matters_most_and_what_may_be_skipped(path):
    said = words(path)
    assert re.search(r"\*\*(What matters most|Most important)", said)
    assert re.search(r"You may skip|\*\*Short of time\?\*\*", said)


@pytest.mark.parametrize("path", LECTURES[1:], ids=lambda path: path.stem)
def test_code_fits_the_page(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [(c["id"], "".join(c["source"])) for c in cells if c["cell_type"] == "code"]
    assert not [(id, row) for id, source in code for row in source.split("\n") if len(row) > 90]
