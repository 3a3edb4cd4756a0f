"""Teaching an assessor: a tiny set ends, goes on where it was, and is split by reference."""

import numpy as np
import pytest
import torch
import train_quality
from PIL import Image

from course_utils.quality.network import QualityNet
from course_utils.quality.training import training, training_data
from course_utils.quality.training.agreement import agreement, plcc, srocc
from course_utils.quality.training.tid2013 import Scored, ScoresError
from course_utils.quality.training.training_data import Lessons, prepare


def tiny_lessons(seed, images=12):
    """Features whose first channel gives the score away."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(images, generator=generator)
    features = torch.randn(images, 4, 206, 4, 4, generator=generator)
    features[:, :, 0] = scores.view(-1, 1, 1, 1) * 4 - 2
    return Lessons([features.half()], torch.ones(images, 4, 4, 4), scores, torch.full((images,), 8))


@pytest.fixture(scope="module")
def tiny():
    return [tiny_lessons(s) for s in range(3)], [tiny_lessons(9)]


def network():
    torch.manual_seed(0)
    return QualityNet(reference=False)


def test_it_learns_what_the_features_tell(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(training.RATES, "head", 2e-2)  # few lessons, so large steps
    learned, _ = training.learn(network(), *tiny, tmp_path / "run", epochs=10)
    assert srocc(training.answers(learned, tiny[1][0]), tiny[1][0].scores) > 0.9


def test_an_interrupted_run_goes_on_to_the_same_end(tiny, tmp_path, monkeypatch):
    whole, _ = training.learn(network(), *tiny, tmp_path / "whole", epochs=4)
    real, calls = training.error, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(training, "error", interrupted)
    with pytest.raises(KeyboardInterrupt):
        training.learn(network(), *tiny, tmp_path / "cut", epochs=4)
    assert (tmp_path / "cut").exists()
    monkeypatch.setattr(training, "error", real)
    resumed, _ = training.learn(network(), *tiny, tmp_path / "cut", epochs=4)
    assert not (tmp_path / "cut").exists()
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_it_stops_when_nothing_gets_better(tiny, tmp_path, monkeypatch):
    epochs = []
    monkeypatch.setattr(training, "error", lambda *_: epochs.append(1) or float(len(epochs)))
    _, kept_at = training.learn(network(), *tiny, tmp_path / "run", epochs=100)
    assert len(epochs) == 1 + training.PATIENCE and kept_at == 1


def test_with_nothing_to_validate_by_it_keeps_the_last(tiny, tmp_path):
    lessons, _ = tiny
    ended, kept_at = training.learn(network(), lessons, [], tmp_path / "run", epochs=3)
    shorter, _ = training.learn(network(), lessons, [], tmp_path / "run", epochs=2)
    assert kept_at == 3
    assert not torch.equal(ended.head.mix, shorter.head.mix)


def test_the_extractor_does_not_change(tiny, tmp_path):
    own = network()
    before = {k: v.clone() for k, v in own.extractor.state_dict().items()}
    training.learn(own, *tiny, tmp_path / "run", epochs=1)
    assert all(torch.equal(v, before[k]) for k, v in own.extractor.state_dict().items())


def test_loss_by_hand():
    """One photo of score 0.5, one patch whose left half is distorted: its places want 0.5 and 1,
    patch and photo 0.75. Answers of 0.75: the undistorted half is 0.25 too low, 0.125 on average
    over all places. Distorted everywhere, photo and patch are 0.25 too high. One photo alone is in
    line with
    nothing: the correlation is 0."""

    class Flat:
        reference = True

        def scores_of_places(self, features):
            return torch.full((1, 4, 4), 0.75), torch.ones(1)

    covered = torch.zeros(1, 1, 4, 4)
    covered[..., :2] = 1
    found = training.loss(Flat(), [torch.zeros(1)], covered, torch.tensor([0.5]))
    assert found.item() == pytest.approx(training.BESIDE * 0.125 + training.CORRELATION)
    found = training.loss(Flat(), [torch.zeros(1)], torch.ones(1, 1, 4, 4), torch.tensor([0.5]))
    assert found.item() == pytest.approx(0.25 + training.LOCAL * 0.25 + training.CORRELATION)


def test_correlation_by_hand():
    """Around their means -1 0 1 and -1 1 0: (1 + 0 + 0) / (sqrt 2 * sqrt 2)."""
    a, b = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0, 6.0, 5.0])
    assert training.correlation(a, b).item() == pytest.approx(0.5)
    assert training.correlation(a, -2 * a).item() == pytest.approx(-1)


def scored(reference, score=0.4):
    rng = np.random.default_rng(reference)
    photo = Image.fromarray(rng.integers(0, 256, (96, 128, 3), np.uint8))
    worse = Image.fromarray(np.asarray(photo) // 2)
    return Scored(reference, 8, 3, score, lambda: (worse, photo))


def test_lessons_are_kept_and_read_again(tmp_path):
    own = QualityNet(reference=True)
    first = prepare(own, [scored(1)], tmp_path)[1]
    own.extractor = None  # a second look would fail
    again = prepare(own, [scored(1)], tmp_path)[1]
    assert torch.equal(first.features[0], again.features[0])


def test_a_reference_teaches_itself_as_one_and_regions_are_covered_in_part(tmp_path):
    made = prepare(QualityNet(reference=True), [scored(1)], tmp_path)[1]
    assert made.scores.tolist() == pytest.approx([1, 0.4, 0.4, 0.4]) and made.types.tolist() == [
        0,
        8,
        8,
        8,
    ]
    shares = made.covered.flatten(1).mean(dim=1)
    assert shares[:3].tolist() == [1, 1, 1] and 0 < shares[3] < 1
    assert (made.features[1][0] == 0).all()  # nothing differs between a reference and itself


def test_references_are_split_never_photos():
    learned, stopping, held = train_quality.split(list(range(1, 17)))
    assert (learned, stopping, held) == ([*range(1, 11)], [11, 12], [13, 14, 15, 16])


def test_too_few_references_are_refused():
    with pytest.raises(ScoresError, match="too few"):
        train_quality.split([1, 2])


def test_the_command_runs_on_a_tiny_tid2013_folder(tmp_path, monkeypatch):
    folder = tmp_path / "tid"
    (folder / "reference_images").mkdir(parents=True)
    (folder / "distorted_images").mkdir()
    lines = []
    for reference in range(1, 5):
        worse, photo = scored(reference).open()
        photo.save(folder / "reference_images" / f"I{reference:02d}.BMP")
        for level in range(1, 6):
            near = Image.blend(photo, worse, level / 5)
            near.save(folder / "distorted_images" / f"i{reference:02d}_08_{level}.bmp")
            lines.append(f"{6 - level} i{reference:02d}_08_{level}.bmp")
    (folder / "mos_with_names.txt").write_text("\n".join(lines))
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(train_quality.os, "cpu_count", lambda: 1)
    monkeypatch.setattr(training_data, "PATCHES", 12)  # as many as these small photos have
    train_quality.main(
        ["--tid2013", str(folder), "--only", "reference", "--epochs", "1"]
        + ["--cache", str(tmp_path / "cache"), "--data", str(tmp_path / "data")]
    )
    assert (tmp_path / "data" / "quality_reference.safetensors").stat().st_size > 10_000
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("words", [[], ["--references", "x"]])
def test_the_command_says_what_it_needs(words, capsys):
    with pytest.raises(SystemExit):
        train_quality.main(words)
    assert (
        "give --tid2013 FOLDER, or --references FOLDER and --scores FILE" in capsys.readouterr().err
    )


def test_correlations_by_hand():
    """Ranks 1 2 3 4 against 1 2 4 3: 1 - 6 (0 + 0 + 1 + 1) / (4 * 15) = 0.8."""
    assert srocc(np.array([1, 2, 3, 4]), np.array([10, 20, 40, 30])) == pytest.approx(0.8)


def test_the_logistic_straightens_a_saturating_measure():
    x = np.linspace(-3, 3, 50)
    assert plcc(x, 1 / (1 + np.exp(-2 * x))) == pytest.approx(1, abs=1e-6)
    assert plcc(-x, 1 / (1 + np.exp(-2 * x))) == pytest.approx(1, abs=1e-6)


def test_agreement_within_each_type():
    found = agreement([1, 2, 3, 6, 5, 4], [1, 2, 3, 4, 5, 6], [1, 1, 1, 8, 8, 8])
    assert found["within"] == {"1": 1.0, "8": -1.0}


@pytest.mark.parametrize(
    ("measure", "answers", "opinions", "words"),
    [
        (plcc, [1, 2, 3], [1, 2, 3], "3 photos are too few .* give 5 or more"),
        (srocc, [1], [1], "1 photos are too few .* give 2 or more"),
        (plcc, [1] * 9, range(9), "The answers are all 1"),
        (srocc, range(9), [2.5] * 9, "The opinions are all 2.5"),
        (plcc, [1, 2, 3, 4, 5, float("nan")], range(6), "Of the answers, 1 are no finite numbers"),
        (srocc, [1, 2], [1, 2, 3], "2 answers, but 3 opinions"),
    ],
)
def test_numbers_without_a_correlation_are_named(measure, answers, opinions, words):
    with pytest.raises(ValueError, match=words):
        measure(answers, opinions)


def test_agreement_says_what_is_missing():
    with pytest.raises(ValueError, match="0 photos are too few"):
        agreement([], [], [])
    with pytest.raises(ValueError, match="5 photos, but 2 types"):
        agreement(range(5), range(5), [1, 8])


def test_a_type_of_one_photo_has_no_correlation_of_its_own():
    found = agreement([1, 2, 3, 5, 4, 6], [1, 2, 3, 4, 5, 6], [1, 1, 1, 1, 1, 8])
    assert np.isnan(found["within"]["8"]) and found["within"]["1"] == pytest.approx(0.9)


def test_answers_may_be_tensors_that_numpy_does_not_read():
    answers = torch.tensor([1.0, 2, 3], requires_grad=True).bfloat16()
    assert srocc(answers, [3, 2, 1]) == pytest.approx(-1)
    with pytest.raises(TypeError, match=r"Of a dict: list\(d\.values\(\)\)"):
        srocc({"a": 1, "b": 2}, [1, 2])
