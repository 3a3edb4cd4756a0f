"""The assessors: scores, patches, and explanations that can be checked by hand."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from course_utils import ForwardPass, load_photo
from course_utils.errors import ImageError, LayerError, WeightsError
from course_utils.networks import course_weights
from course_utils.quality import Assessor, ScaleWarning, distort, load, load_assessor
from course_utils.quality.assessor import as_tensor
from course_utils.quality.network import BASE, QualityNet, weighted_mean
from course_utils.quality.patches import cut, lay_back
from course_utils.quality.reading import PatchScores, beyond, check
from course_utils.quality.wadiqam import BosseNet


@pytest.fixture(scope="module")
def assessor():
    return load_assessor()


@pytest.fixture(scope="module")
def photo():
    return load_photo("chelsea").crop((100, 40, 292, 168))  # 192 x 128


@pytest.fixture(scope="module")
def damaged(photo):
    """Two thirds of the photo, from the left, as noisy JPEG."""
    return distort(photo, "noisy compression", 5, region=(0, 0, 128, 128)).image


def test_a_sessions_default_device_does_not_matter(assessor, photo, damaged):
    def ask():
        explained = (
            assessor.explain(damaged, photo, step=32),
            assessor.explain_globally(damaged, photo),
        )
        return torch.stack([one.evidence for one in explained])

    expected = ask()
    with torch.device("meta"):
        got = ask()
    torch.testing.assert_close(got, expected)


def test_training_mode_changes_no_answer_and_is_left_as_it_was(assessor, photo, damaged):
    def ask():
        local = assessor.local_scores(damaged, photo)
        return [local.scores, local.weights, assessor.explain(damaged, photo, step=32).evidence]

    expected, before = ask(), [b.clone() for b in assessor.network.buffers()]
    assessor.network.train()
    try:
        got = ask()
        assert all(module.training for module in assessor.network.modules())
    finally:
        assessor.network.eval()
    torch.testing.assert_close(got, expected)
    assert all(map(torch.equal, assessor.network.buffers(), before))


# --- patches --------------------------------------------------------------------------------------


def test_patches_cover_a_photo_whose_sides_are_no_multiples():
    patches = cut(torch.rand(3, 70, 100), step=32)
    assert (patches.tops, patches.lefts) == ([0, 32, 38], [0, 32, 64, 68])
    assert patches.pixels.shape == (12, 3, 32, 32)


def test_laid_back_patches_without_overlap_are_the_photo():
    pixels = torch.rand(3, 64, 96)
    patches = cut(pixels)
    assert torch.allclose(lay_back(patches.pixels, patches), pixels)


def test_where_patches_overlap_the_nearer_middle_counts_more():
    """Patches at 0 and 16, worth 0 and 1, in row 0: at pixel 17 the first weighs 32.5 - 17 - 0.5 =
    15
    of its triangle, the second 2; so 2 / 17."""
    patches = cut(torch.zeros(3, 64, 64), step=16)
    values = torch.tensor([left / 16 for _ in patches.tops for left in patches.lefts]).view(
        -1, 1, 1, 1
    )
    laid = lay_back(values, patches)[0]
    assert laid[0, 17].item() == pytest.approx(2 / 17)
    assert laid[0, 0].item() == 0 and laid[0, 63].item() == 2


# --- scores ---------------------------------------------------------------------------------------


def test_a_photo_beside_itself_scores_exactly_one(assessor, photo):
    assert assessor.score(photo, photo) == 1.0


def test_the_score_is_the_weighted_mean_of_its_patches(assessor, photo, damaged):
    local = assessor.local_scores(damaged, photo)
    by_hand = (local.scores * local.weights).sum() / local.weights.sum()
    assert assessor.score(damaged, photo) == pytest.approx(by_hand.item(), abs=1e-6)


def test_undamaged_patches_do_not_hide_the_damaged_ones(assessor, photo, damaged):
    """Two thirds of the photo are damaged; as much as all of it would cost, if it counts by
    area.
    """
    everywhere = distort(photo, "noisy compression", 5).image
    lost, all_lost = (1 - assessor.score(image, photo) for image in (damaged, everywhere))
    assert 0.5 * all_lost < lost < 0.85 * all_lost


def test_the_weighted_mean_by_hand():
    """Scores 0.2 and 0.8 of weights 1 and 3: (0.2 + 2.4) / 4."""
    assert weighted_mean(
        torch.tensor([0.2, 0.8]), torch.tensor([1.0, 3.0])
    ).item() == pytest.approx(0.65)


@pytest.mark.parametrize("reference", [True, False])
def test_local_scores_follow_the_photo_by_one_patch(reference):
    whole = load_photo("coffee").crop((150, 50, 150 + 160, 50 + 128))
    worse = distort(whole, "jpeg", 4).image
    left, right = (0, 0, 128, 128), (32, 0, 160, 128)
    own = load_assessor(reference)
    one, other = (
        own.local_scores(worse.crop(box), whole.crop(box) if reference else None)
        for box in (left, right)
    )
    assert torch.allclose(one.scores[:, 1:], other.scores[:, :-1], atol=1e-5)
    assert torch.allclose(one.weights[:, 1:], other.weights[:, :-1], rtol=1e-4)


@pytest.mark.parametrize("size", [(64, 64), (97, 130)])
def test_any_size_from_64_pixels(assessor, size):
    small = load_photo("coffee").resize(size)
    assert assessor.explain(distort(small, "blur", 3).image, small).evidence.shape == (
        4,
        size[1],
        size[0],
    )


@pytest.mark.parametrize(
    ("distorted", "reference", "words"),
    [
        (Image.new("RGB", (63, 200)), Image.new("RGB", (63, 200)), "63 x 200 .* at least 64 x 64"),
        (
            Image.new("RGB", (80, 64)),
            Image.new("RGB", (64, 80)),
            "80 x 64 pixels, its reference 64 x 80",
        ),
        (Image.new("RGB", (80, 64)), None, "pass the reference photo"),
        ("chelsea", Image.new("RGB", (64, 64)), "The distorted photo .* PIL image, .* not a str"),
        (Image.new("RGB", (64, 64)), -np.ones((64, 64, 3)), "The reference photo .* from -1 to -1"),
    ],
)
def test_wrong_photos_are_named(assessor, distorted, reference, words):
    with pytest.raises(ImageError, match=words):
        assessor.score(distorted, reference)


def test_an_array_a_16_bit_and_a_turned_photo_score_as_the_photo_itself(photo):
    """All pictures come in one way: quality is that of what load_photo gives."""
    alone, grey = load_assessor(reference=False), photo.convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    assert alone.score(np.asarray(photo)) == alone.score(photo)
    assert alone.score(deep) == alone.score(grey)


@pytest.mark.parametrize("asked", [np.linspace(0, 1, 3), torch.linspace(0, 1, 3), (0, 0.5, 1)])
def test_scores_to_ask_about_come_as_a_list_an_array_or_a_tensor(assessor, photo, asked):
    assert assessor.explain(photo, photo, asked).rather_than == (0, 0.5, 1)


def test_one_number_is_one_question(assessor, photo):
    for q in (0.5, np.float32(0.5), torch.tensor(0.5)):
        assert assessor.explain(photo, photo, q).rather_than == (0.5,)


@pytest.mark.parametrize("step", [33, 64, 0, -4, 16.0, None])
def test_a_step_that_would_leave_gaps_is_refused(assessor, photo, step):
    with pytest.raises(ValueError, match=r"step=.*begin every 1 to 32 pixels, a whole number"):
        assessor.explain(photo, photo, step=step)


def test_a_reference_where_none_is_wanted(photo):
    with pytest.raises(ImageError, match="leave the reference out"):
        load_assessor(reference=False).score(photo, photo)


# --- explanations ---------------------------------------------------------------------------------


def slowly(network, distorted, reference, q):
    """One patch, by plain autograd: S(q) = sum_k alpha_k A^k, alpha_k = mean_ij d(q_i - q)^2 /
    dA_k.
    """
    kept = []
    hook = network.get_submodule(network.layer).register_forward_hook(
        lambda module, inputs, output: kept.append(output.requires_grad_())
    )
    score = network(distorted, reference)[0]
    hook.remove()
    (gradient,) = torch.autograd.grad(((score - q) ** 2).sum(), kept[0])
    alpha = gradient.mean(dim=(2, 3), keepdim=True)
    return (alpha * kept[0]).sum(dim=1).detach()


def test_one_patch_is_explained_as_autograd_does_it_slowly(assessor, photo, damaged):
    explained = assessor.explain(damaged, photo, rather_than=[0.75], step=32).evidence[0]
    patches, wanted = cut(as_tensor(damaged)), cut(as_tensor(photo))
    index = patches.grid[1] + 2  # second row, third column
    own, other = patches.pixels[index : index + 1], wanted.pixels[index : index + 1]
    slow = slowly(assessor.network, own, other, 0.75)[0]
    assert torch.allclose(explained[32:64:8, 64:96:8], slow, atol=1e-6)


def test_the_map_of_a_patch_sums_to_its_score_and_the_constant(assessor, photo, damaged):
    patches, wanted = cut(as_tensor(damaged)), cut(as_tensor(photo))
    seen = ForwardPass(
        PatchScores(assessor.network, wanted.pixels), patches.pixels, "network.head.quality"
    )
    sums = seen.evidence(torch.ones(1, 1)).sum(dim=(1, 2, 3))
    assert torch.allclose(sums, seen.logits[:, 0] + BASE, atol=1e-4)


def test_a_constant_that_would_turn_the_signs_is_refused():
    with pytest.raises(ValueError, match="base=-1 must be .* 1000: below 0 the signs"):
        load_assessor(base=-1)


@pytest.mark.parametrize("base", [1e30, float("nan"), "1", None])
def test_a_constant_in_which_the_score_is_lost_is_refused(base):
    with pytest.raises(ValueError, match="must be a number from 0 to 1000"):
        load_assessor(base=base)


def test_weights_whose_sum_is_too_large_make_no_score():
    ones = torch.ones(4)
    with pytest.raises(ImageError, match="NaN or infinity"):
        check(ones, 1e38 * ones)
    check(ones, 1e37 * ones)


def test_the_constant_moves_the_maps_and_no_score(assessor, photo, damaged):
    """At each of 4 x 4 places E = 2 (q_i - q) (S + b / 16): b adds 2 (q_i - q) b / 16."""
    twin = load_assessor(reference=True, base=2)
    own, others = (one.explain(damaged, photo, [0.5], step=32) for one in (assessor, twin))
    assert torch.allclose(own.local.scores, others.local.scores, atol=1e-5)
    patch = own.local.scores[0, 0].item()
    gap = (own.evidence - others.evidence)[0, :32, :32]
    assert torch.allclose(gap, torch.full_like(gap, 2 * (patch - 0.5) * (BASE - 2) / 16), atol=1e-4)


def test_the_score_map_is_each_patch_filled_with_its_score(assessor, photo, damaged):
    scores = assessor.local_scores(damaged, photo).scores
    made = assessor.score_map(damaged, photo, step=32)
    assert made.shape == (photo.height, photo.width)
    assert torch.allclose(made[:64:32, :64:32], scores[:2, :2], atol=1e-6)


def test_the_evidence_is_the_score_map_less_q_up_to_a_factor(assessor, photo, damaged):
    """So the course's lecture says: with the large constant nothing else is left in it."""
    plain = assessor.score_map(damaged, photo)
    for q, evidence in zip((1, 0.5), assessor.explain(damaged, photo, [1, 0.5]).evidence):
        together = torch.stack([evidence.flatten(), (plain - q).flatten()])
        assert torch.corrcoef(together)[0, 1] > 0.98
        assert ((evidence > 0) == (plain > q)).float().mean() > 0.99


def test_no_score_is_worse_than_zero_nor_better_than_one(assessor, photo, damaged):
    """So "why not 1?" has no positive evidence, and "why not 0?" no negative."""
    least, most = assessor.explain(damaged, photo, rather_than=[0, 1]).evidence
    assert least.min() >= 0 and most.max() <= 0


def test_between_two_patches_the_evidence_changes_sign(assessor, photo, damaged):
    local = assessor.local_scores(damaged, photo)
    between = (local.scores.min() + local.scores.max()).item() / 2
    evidence = assessor.explain(damaged, photo, rather_than=[between], step=32).evidence[0]
    signs = evidence[::32, ::32].sign()
    assert torch.equal(signs, (local.scores - between).sign())


def test_all_q_share_one_scale(assessor, photo, damaged):
    explained = assessor.explain(damaged, photo)
    assert explained.signed_maps.abs().max() == 1
    ratio = explained.evidence[0].abs().max() / explained.evidence[2].abs().max()
    assert explained.signed_maps[0].abs().max() / explained.signed_maps[
        2
    ].abs().max() == pytest.approx(ratio.item())


def test_questions_are_sentences(assessor, photo):
    assert assessor.explain(photo, photo, rather_than=[0.75]).questions == [
        "Why 1.00, rather than 0.75?"
    ]


def test_an_undistorted_photo_has_nothing_to_say_against_one(assessor, photo):
    assert (assessor.explain(photo, photo, rather_than=[1]).signed_maps == 0).all()


def test_maps_of_zero_to_one_are_answered_with_the_signed_ones(assessor, photo):
    with pytest.raises(AttributeError, match="have signs: signed_maps"):
        assessor.explain(photo, photo, rather_than=[1]).maps  # noqa: B018


def test_rather_than_its_own_score_is_almost_empty(assessor, photo):
    worse = distort(photo, "correlated noise", 4).image
    s = assessor.score(worse, photo)
    own, best = (
        assessor.explain(worse, photo, rather_than=[s, 1]).signed_maps.abs().mean(dim=(1, 2))
    )
    assert own < 0.2 * best


def test_the_published_way_gives_one_picture_for_all_q_above_the_score(assessor, photo, damaged):
    one, other = assessor.explain_globally(damaged, photo, rather_than=[1, 0.9]).evidence
    assert torch.allclose(one / one.abs().max(), other / other.abs().max(), atol=1e-6)


def test_both_ways_ask_rather_than_the_same_four_scores(assessor, photo, damaged):
    asked = [
        ask(damaged, photo).rather_than for ask in (assessor.explain, assessor.explain_globally)
    ]
    assert asked == [(1, 0.75, 0.5, 0.25)] * 2


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_other_weights_give_other_maps(assessor, photo, seed):
    """On a photo distorted everywhere; beside undistorted patches, any weights would find the
    damage.
    """
    worse = distort(photo, "blur", 5).image
    torch.manual_seed(seed)
    both = assessor, Assessor(QualityNet(True))
    maps = [
        a.explain(worse, photo, rather_than=[a.score(worse, photo)]).evidence.flatten()
        for a in both
    ]
    assert torch.corrcoef(torch.stack(maps))[0, 1].abs() < 0.5


@pytest.mark.parametrize("wrong", [[], [1.2], [-0.1, 0.5], "high", [float("nan")]])
def test_scores_outside_0_to_1_are_refused(assessor, photo, wrong):
    with pytest.raises(ValueError, match="between 0 and 1"):
        assessor.explain(photo, photo, rather_than=wrong)


# --- the networks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", [True, False])
def test_bosse_has_the_papers_shapes(reference):
    network = BosseNet(reference)
    assert network.extractor(torch.rand(2, 3, 32, 32)).shape == (2, 512, 1, 1)
    assert network.score[0].in_features == (1536 if reference else 512)
    assert sum(isinstance(m, torch.nn.Conv2d) for m in network.modules()) == 10


def test_bosse_can_be_asked_the_same_questions(photo, damaged):
    torch.manual_seed(0)
    explained = Assessor(BosseNet(True, widths=(8, 8, 8, 8, 16))).explain(damaged, photo, step=32)
    assert explained.evidence.shape == (4, 128, 192) and explained.evidence.abs().sum() > 0


# --- anybody's network ----------------------------------------------------------------------------


class Own(torch.nn.Module):
    """The mean of a patch's red, on whatever scale and in whatever form `answer` makes of it."""

    def __init__(self, answer=lambda red: red):
        super().__init__()
        self.colour = torch.nn.Conv2d(3, 1, 4, stride=4, bias=False)
        torch.nn.init.zeros_(self.colour.weight)
        torch.nn.init.constant_(self.colour.weight[:, 0], 1 / 16)
        self.answer = answer

    def forward(self, pixels):
        return self.answer(self.colour(pixels).flatten(1).mean(dim=1))


@pytest.fixture(scope="module")
def two():
    """Four patches; the left ones 0.2 of red, the right ones 0.6."""
    photo = np.full((64, 64, 3), 51, np.uint8)
    photo[:, 32:] = 153
    return photo


RATINGS = torch.arange(1.0, 11.0)
FORMS = {  # what a network makes of the red, and how it is to be read
    "N": (lambda r: r, {}),
    "N x 1": (lambda r: r[:, None], {}),
    "a pair": (lambda r: (r[:, None], torch.ones_like(r)), {}),
    "0 to 100": (lambda r: 100 * r, {"scale": (0, 100)}),
    "1 to 5": (lambda r: 1 + 4 * r, {"scale": (1, 5)}),
    "100 to 0": (lambda r: 100 - 100 * r, {"scale": (100, 0)}),
    "a dict": (lambda r: {"score": r, "x": 0}, {"output": lambda y: y["score"]}),
    "shares of ten ratings": (  # 1 + 9 r in the mean
        lambda r: torch.stack([1 - r, *[0 * r] * 8, r], dim=1),
        {"scale": (1, 10), "output": lambda y: y @ torch.arange(1, 11).to(y)},
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_network_of_ones_own_is_read_whatever_it_returns(form, two):
    answer, how = FORMS[form]
    own = Assessor(Own(answer), **how)
    assert own.score(two) == pytest.approx(0.4, abs=1e-5)
    assert own.local_scores(two).scores[0].tolist() == pytest.approx([0.2, 0.6], abs=1e-5)
    assert own.score_map(two)[[5, 5], [5, 60]].tolist() == pytest.approx([0.2, 0.6], abs=1e-5)
    # S_i(q) = 2 (q_i - q) q_i / 64 at each of 8 x 8 places: red is the only channel
    found = own.explain(two, rather_than=[0.5, 1], step=32).evidence[:, [5, 5], [5, 60]]
    by_hand = [[2 * (q_i - q) * q_i / 64 for q_i in (0.2, 0.6)] for q in (0.5, 1)]
    torch.testing.assert_close(found, torch.as_tensor(by_hand), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_network_in_other_numbers_is_scored_as_it_is(dtype, two):
    own = Assessor(Own().to(dtype))
    assert own.score(two) == pytest.approx(0.4, abs=0.01)
    explained = own.explain(two)
    assert explained.evidence.dtype == explained.local.scores.dtype == torch.float32


def test_a_network_in_training_mode_is_left_in_it(two):
    network = Own().train()
    Assessor(network).explain(two, step=32)
    assert network.training


def test_a_grid_that_does_not_divide_a_patch_is_laid_back_whole(two):
    network = Own()
    network.colour = torch.nn.Conv2d(3, 4, 5, stride=5)  # 6 x 6 places in 32 x 32 pixels
    assert Assessor(network).explain(two).evidence.shape == (4, 64, 64)


def test_a_network_that_reads_more_pixels_is_wrapped_as_the_sentence_says(two):
    class Large(Own):
        def forward(self, pixels):
            assert pixels.shape[-1] == 224, "Input height doesn't match model (224)."
            return super().forward(pixels)

    with pytest.raises(ImageError, match=r"32 x 32.*match model.*nn\.Upsample\(size=224\)"):
        Assessor(Large()).explain(two)
    wrapped = Assessor(torch.nn.Sequential(torch.nn.Upsample(size=224), Large()))
    assert wrapped.score(two) == pytest.approx(0.4, abs=1e-5)
    assert wrapped.explain(two, step=32).evidence.shape == (4, 64, 64)


def test_a_network_that_compares_and_is_not_in_parts_is_called_with_both(two):
    class Compares(Own):
        reference = True

        def forward(self, pixels, wanted):
            return 1 - (self.colour(pixels).flatten(1).mean(1) - wanted[:, 0].mean((1, 2))).abs()

    own = Assessor(Compares())
    assert own.score(two, np.full_like(two, 0)) == pytest.approx(0.6, abs=1e-5)
    assert own.explain(two, np.full_like(two, 0)).evidence.abs().max() > 0
    Compares.reference = False  # forgotten
    with pytest.raises(ImageError, match=r"missing 1 .*network\.reference = True"):
        own.score(two)


@pytest.mark.parametrize("form", FORMS)
def test_of_scores_on_the_scale_that_was_said_nobody_is_warned(form, two, recwarn):
    answer, how = FORMS[form]
    Assessor(Own(answer), **how).explain(two)
    assert not [one for one in recwarn if one.category is ScaleWarning]


@pytest.mark.parametrize(
    "scale, scores, words",
    [
        ((1, 5), [2.0, 3.0], r"gives patches 9 to 13, but scale=\(1, 5\) says that 1 is the worst"),
        ((100, 0), [-1.0, -0.5], r"150 to 200, but scale=\(100, 0\) says that 100 is the worst"),
        ((0, 1), [1.2, 1.4], "gives patches 1.2 to 1.4, but 0 is the worst score and 1 the best"),
    ],
)
def test_scores_beyond_a_scale_are_told_in_the_networks_own_numbers(scale, scores, words):
    assert re.search(words, beyond(torch.tensor(scores), sum(scores) / 2, scale))


@pytest.mark.parametrize("mean, fits", [(-0.26, 0), (-0.25, 1), (1.25, 1), (1.26, 0)])
def test_scores_may_leave_the_scale_by_a_quarter_of_it(mean, fits):
    assert (beyond(torch.tensor([mean]), mean, (0, 1)) == "") == bool(fits)


@pytest.mark.parametrize(
    "answer, how, words",
    [
        (lambda r: 100 * r, {}, r"gives patches 20 to 60, but 0 is the worst .*scale=\(1, 5\)"),
        (lambda r: 1 + 4 * r, {}, "gives patches 1.8 to 3.4, but 0 is the worst score and 1 the"),
        (lambda r: 100 * r, {"scale": (1, 5)}, r"scale=\(1, 5\) says that 1 is the worst score"),
    ],
)
def test_scores_on_another_scale_are_not_cut_off_in_silence(answer, how, words, two):
    for ask in (Assessor.score, Assessor.explain, Assessor.score_map):
        with pytest.warns(ScaleWarning, match=words):
            ask(Assessor(Own(answer), **how), two)


@pytest.mark.parametrize(
    "answer, error, words",
    [
        (
            lambda r: torch.stack([1 - r, *[0 * r] * 8, r], dim=1),
            TypeError,
            r"4 x 10: one score .*ratings 1 to 10 their mean, scale=\(1, 10\).*lambda y: y @ torch",
        ),
        (lambda r: r[:, None] * RATINGS, TypeError, r"lambda y: y\.softmax\(1\) @ torch"),
        (lambda r: {"score": r}, TypeError, r"gave a dict: one score .*lambda y: y\['score'\]"),
        (lambda r: (r, r[:, None] * RATINGS), TypeError, "4 x 10: one weight for each"),
        (lambda r: r.mean(), TypeError, "gave a single number: one score"),
        (lambda r: (r, r - 0.5), ValueError, r"run from -0\.3 to 0\.1.*output=lambda y: y\[0\]"),
        (lambda r: (r, 0 * r), ValueError, "run from 0 to 0, and must be positive"),
        (lambda r: r / 0, ImageError, "holds NaN or infinity"),
    ],
)
def test_what_is_no_score_of_each_patch_is_answered_in_words(answer, error, words, two):
    for ask in (Assessor.score, Assessor.explain, Assessor.why):
        with pytest.raises(error, match=words):
            ask(Assessor(Own(answer)), two)


@pytest.mark.parametrize("scale", [(1, 1), 5, (0, float("inf")), "0 to 5", (1, 2, 3)])
def test_a_scale_is_two_different_numbers(scale):
    with pytest.raises(ValueError, match="score of the worst photo, of the best"):
        Assessor(Own(), scale=scale)


def test_what_reads_the_answer_is_a_function():
    with pytest.raises(TypeError, match="output= is a function, such as lambda y: .*not a str"):
        Assessor(Own(), output="score")


def test_an_assessor_is_made_of_a_network_with_a_layer_it_has(assessor, two):
    with pytest.raises(TypeError, match="of a network, not of an Assessor. It is one already"):
        Assessor(assessor)
    network = Own()
    network.layer = "color"
    with pytest.raises(LayerError, match="Own has no layer 'color'. Did you mean 'colour'"):
        Assessor(network).explain(two)


# --- the shipped weights --------------------------------------------------------------------------


@pytest.mark.parametrize("name", load.FILES.values())
def test_damaged_weights_are_refused(monkeypatch, name):
    real = course_weights._data
    monkeypatch.setattr(
        course_weights,
        "_data",
        lambda f, of: real(f, of) + (b"x" if f.endswith("tensors") else b""),
    )
    with pytest.raises(WeightsError, match="damaged"):
        course_weights.weights("quality", name)


def test_missing_weights_are_told_how_to_be_made(monkeypatch, tmp_path):
    monkeypatch.setattr(course_weights.resources, "files", lambda package: tmp_path)
    with pytest.raises(WeightsError, match="missing .* make train-quality"):
        load_assessor()


@pytest.mark.parametrize("name", load.FILES.values())
def test_weights_are_under_three_megabytes(name):
    assert len(course_weights.weights("quality", name)) < 3_000_000


def test_people_agree_with_the_assessor_more_than_with_any_measure_beside_it():
    card = load.card()["quality_reference"]
    beside = {name: card[name]["srocc"] for name in ("PSNR", "SSIM", "MS-SSIM")}
    assert card["this assessor"]["srocc"] > max(beside.values()) + 0.05


def test_without_a_reference_it_agrees_better_than_psnr_with_one():
    card = load.card()
    alone = card["quality_no_reference"]["this assessor"]["srocc"]
    assert alone >= 0.85 and alone > card["quality_reference"]["PSNR"]["srocc"]


def test_why_not_one_points_at_the_damage_in_nine_cases_of_ten():
    assert load.card()["quality_reference"]["localisation"]["5"]["at least 0.8 inside"] >= 0.9


def test_the_shipped_weights_give_the_cards_figures_on_made_cases(assessor):
    from measure_quality import shares

    for case, recorded in enumerate(
        load.card()["quality_reference"]["localisation"]["5"]["first cases"]
    ):
        inside = shares(assessor, case, 5).inside
        assert inside == pytest.approx(recorded, abs=0.01)


def test_what_distort_made_is_scored_as_its_picture(assessor, photo):
    made = distort(photo, "blur", 3)
    assert assessor.score(made, photo) == assessor.score(made.image, photo)


class _Pair(torch.nn.Module):
    """Patches -> scores and weights, both of one tiny layer; it notes how many come at once."""

    layer = "places"

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.places, self.read = torch.nn.Conv2d(3, 4, 8, stride=8), torch.nn.Linear(4, 2)
        self.most = 0

    def forward(self, patches):
        self.most = max(self.most, len(patches))
        q, w = self.read(self.places(patches).relu().mean(dim=(2, 3))).T
        return q.sigmoid(), torch.nn.functional.softplus(w)


def test_why_this_score_is_grad_cam_of_all_patches_side_by_side(photo, monkeypatch):
    monkeypatch.setattr("course_utils.quality.assessor.BATCH", 5)
    network = _Pair().eval()
    found = Assessor(network).why(photo)[0]
    patches = cut(as_tensor(photo))
    a = network.places(patches.pixels).detach().requires_grad_()
    q, w = network.read(a.relu().mean(dim=(2, 3))).T
    (gradient,) = torch.autograd.grad(
        weighted_mean(q.sigmoid(), torch.nn.functional.softplus(w)), a
    )
    evidence = (gradient.mean(dim=(0, 2, 3), keepdim=True) * a.detach()).sum(dim=1, keepdim=True)
    expected = lay_back(evidence, patches)[0]
    torch.testing.assert_close(found / expected.abs().max(), expected / expected.abs().max())


def test_a_large_photo_is_explained_a_few_patches_at_a_time(photo, monkeypatch):
    monkeypatch.setattr("course_utils.quality.assessor.BATCH", 5)
    network = _Pair().eval()
    Assessor(network).why(photo)
    assert network.most == 5
