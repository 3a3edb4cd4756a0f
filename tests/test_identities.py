"""True statements about the three methods, held against random networks with every kind of head.

The numbers are those of the lectures: an identity named here is shown there on a photo.
"""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tiny_networks import A0, A1, PHOTO, HandNet, RandomNet, random_images

from course_utils import ContrastCAM, CounterfactualCAM, ForwardPass, GradCAM
from course_utils.methods.maps import positive_maps

many = settings(
    max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


SEVERAL = st.integers(1, 3)  # images


@st.composite
def passes(draw, heads=RandomNet.heads, scale=1.0, n=SEVERAL):
    """A kept pass of a random network in float64: 1 to 4 channels, 2 to 6 classes, a small grid."""
    grid = draw(st.integers(2, 5)), draw(st.integers(2, 5))
    seed = draw(st.integers(0, 10**6))
    channels, classes = draw(st.integers(1, 4)), draw(st.integers(2, 6))
    model = RandomNet(draw(st.sampled_from(heads)), channels, classes, grid, seed, scale)
    return ForwardPass(model, random_images(draw(n), grid, seed), "target")


def pick(data, seen):
    """One class for every image, as an N x 1 tensor."""
    classes = st.integers(0, seen.logits.shape[1] - 1)
    return torch.tensor(data.draw(st.lists(classes, min_size=len(seen), max_size=len(seen))))[
        :, None
    ]


def s(seen, c):
    """S^c, asked for as Grad-CAM."""
    return GradCAM(seen.model, "target")(seen, why=c).evidence


def every(seen):
    """S^c of every class, N x classes x h x w."""
    return s(seen, list(range(seen.logits.shape[1])))


def contrast(seen, p, q, loss="cross_entropy"):
    return ContrastCAM(seen.model, "target", loss=loss)(seen, why=p, rather_than=q).evidence


def at(values, c):
    """N x classes at an N x 1 class: N x 1 x 1 x 1, to weigh maps with."""
    return values.gather(1, c)[..., None, None]


def same(got, expected):
    scale = float(expected.abs().max()) + 1
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9 * scale)


# The fact that all else rests on


@many
@given(passes(), st.integers(0, 10**6))
def test_any_question_is_its_cotangents_sum_of_class_maps(seen, seed):
    n, classes = seen.logits.shape
    v = torch.randn(
        n, 3, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    same(seen.evidence(v), torch.einsum("nkc,nchw->nkhw", v, every(seen)))


@many
@given(passes(), st.data())
def test_a_question_is_answered_by_its_derivative(seen, data):
    q = pick(data, seen)
    got = seen.ask(lambda y: y.gather(1, q)[:, 0].sin())
    same(got, at(seen.logits, q).cos() * s(seen, q))


# 1: cross-entropy does not contain P, and tends to S^P - S^Q


@many
@given(passes(), st.data())
def test_1_cross_entropy_does_not_contain_p(seen, data):
    p, other, q = pick(data, seen), pick(data, seen), pick(data, seen)
    same(contrast(seen, p, q), contrast(seen, other, q))


@many
@given(passes(), st.data())
def test_1_cross_entropy_is_the_posteriors_mean_less_s_q(seen, data):
    q = pick(data, seen)
    mean = torch.einsum("nc,nchw->nhw", seen.logits.softmax(1), every(seen))[:, None]
    same(contrast(seen, None, q), mean - s(seen, q))


@many
@given(passes(), st.data())
def test_1_cross_entropy_differs_from_the_logit_difference_by_no_more_than_1_less_p_p(seen, data):
    # sum_c p_c S^c - S^P = sum_(c != P) p_c (S^c - S^P), a sum of weights 1 - p_P
    p, q = pick(data, seen), pick(data, seen)
    gap = contrast(seen, p, q) - contrast(seen, p, q, "logit_difference")
    furthest = (every(seen) - s(seen, p)).abs().amax(dim=1, keepdim=True)
    assert (gap.abs() <= (1 - at(seen.probabilities(), p)) * furthest * (1 + 1e-9) + 1e-12).all()


@many
@given(st.data())
def test_1_cross_entropy_is_the_logit_difference_where_p_p_is_1(data):
    seen = data.draw(passes(scale=1e4))
    p = seen.logits.argmax(dim=1, keepdim=True)
    assume((seen.probabilities().amax(dim=1) == 1).all())
    q = pick(data, seen)
    same(contrast(seen, p, q), contrast(seen, p, q, "logit_difference"))


# 2: the posterior's mean of all contrasts is nothing


@many
@given(passes())
def test_2_contrasts_weighed_by_the_posterior_cancel(seen):
    maps = contrast(seen, 0, list(range(seen.logits.shape[1])))
    mean = torch.einsum("nc,nchw->nhw", seen.probabilities(), maps)
    assert mean.abs().max() <= 1e-12 * (1 + every(seen).abs().max())


# 3: the negated class-contrastive map of Wang and Wang (NeurIPS 2022)


@many
@given(passes(), st.data())
def test_3_cross_entropy_is_the_negated_class_contrastive_map(seen, data):
    q = pick(data, seen)
    others = seen.logits.scatter(1, q, float("-inf")).softmax(dim=1)
    against = torch.einsum("nc,nchw->nhw", others, every(seen))[:, None]
    same(contrast(seen, None, q), -(1 - at(seen.probabilities(), q)) * (s(seen, q) - against))


# 4: Grad-CAM of the probability


@many
@given(passes(), st.data())
def test_4_grad_cam_of_the_probability_is_cross_entropy_times_minus_p_q(seen, data):
    q = pick(data, seen)
    got = seen.ask(lambda y: y.softmax(dim=1).gather(1, q)[:, 0])
    same(got, -at(seen.probabilities(), q) * contrast(seen, None, q))


# 5: pooling and a linear layer: the signed map splits the logit over the places


@many
@given(passes(heads=["gap"]))
def test_5_the_map_of_a_pooled_linear_head_adds_up_to_the_logit_less_its_bias(seen):
    same(every(seen).sum(dim=(2, 3)), seen.logits - seen.model.fc.bias.detach())


def test_5_does_not_hold_for_a_head_with_a_nonlinearity():
    seen = ForwardPass(RandomNet("mlp"), random_images(n=1), "target")
    rest = seen.logits - seen.model.fc.bias.detach()
    assert (every(seen).sum(dim=(2, 3)) - rest).abs().max() > 0.1


# 6: for and against share no place


@many
@given(passes(), st.data())
def test_6_grad_cam_and_counterfactual_cam_share_no_place(seen, data):
    p = pick(data, seen)
    against = CounterfactualCAM(seen.model, "target")(seen, why=p).evidence
    assert not (s(seen, p).relu() * against.relu()).any()


@many
@given(passes(), st.data())
def test_6_grad_cam_less_counterfactual_cam_is_the_signed_map(seen, data):
    p = pick(data, seen)
    against = CounterfactualCAM(seen.model, "target")(seen, why=p).evidence
    same(s(seen, p).relu() - against.relu(), s(seen, p))


@many
@given(passes(), st.data())
def test_6_the_logit_difference_changes_sign_with_its_classes(seen, data):
    p, q = pick(data, seen), pick(data, seen)
    same(contrast(seen, p, q, "logit_difference"), -contrast(seen, q, p, "logit_difference"))


# 7: the scale of the logits


@many
@given(
    st.sampled_from(RandomNet.heads), st.integers(0, 10**6), st.floats(0.01, 100), st.integers(0, 3)
)
def test_7_grad_cam_divided_by_its_maximum_ignores_the_logits_scale(head, seed, scale, c):
    x = random_images(seed=seed)
    once, scaled = (RandomNet(head, seed=seed, scale=t) for t in (1.0, scale))
    maps = [GradCAM(model, "target")(x, why=c).maps for model in (once, scaled)]
    torch.testing.assert_close(maps[0], maps[1], rtol=1e-9, atol=1e-9)


def test_7_cross_entropy_does_not_ignore_it():
    x = random_images(n=1)
    models = [RandomNet("mlp", seed=3, scale=t) for t in (0.1, 10.0)]
    mild, sharp = (ContrastCAM(model, "target")(x, rather_than=1).maps for model in models)
    assert (mild - sharp).abs().max() > 0.1


# 8: Q = P


@many
@given(passes(), st.data())
def test_8_the_logit_difference_of_a_class_with_itself_is_nothing(seen, data):
    p = pick(data, seen)
    assert not contrast(seen, p, p, "logit_difference").any()


@many
@given(passes(), st.data())
def test_8_cross_entropy_of_p_with_itself_asks_why_p_p_is_not_1(seen, data):
    p = pick(data, seen)
    got = seen.ask(lambda y: -y.log_softmax(dim=1).gather(1, p)[:, 0])
    same(contrast(seen, p, p), got)


@many
@given(passes(), st.data())
def test_8_cross_entropy_of_p_with_itself_is_no_larger_than_what_is_missing_to_1(seen, data):
    p = pick(data, seen)
    furthest = (every(seen) - s(seen, p)).abs().amax(dim=1, keepdim=True)
    missing = 1 - at(seen.probabilities(), p)
    assert (contrast(seen, p, p).abs() <= missing * furthest * (1 + 1e-9) + 1e-12).all()


# 9: a far Q


@many
@given(passes(), st.data())
def test_9_the_logit_difference_departs_from_grad_cam_by_s_q(seen, data):
    p, q = pick(data, seen), pick(data, seen)
    same(s(seen, p) - contrast(seen, p, q, "logit_difference"), s(seen, q))


@many
@given(passes(), st.data())
def test_9_cross_entropy_departs_from_grad_cam_by_s_q_and_what_is_missing_to_1(seen, data):
    p, q = pick(data, seen), pick(data, seen)
    furthest = (every(seen) - s(seen, p)).abs().amax(dim=1, keepdim=True)
    allowed = s(seen, q).abs() + (1 - at(seen.probabilities(), p)) * furthest
    assert ((contrast(seen, p, q) - s(seen, p)).abs() <= allowed * (1 + 1e-9) + 1e-12).all()


def test_9_a_q_without_a_map_gives_the_picture_of_grad_cam():
    model = HandNet()
    model.fc.weight.data[0] = 0  # S^0 = 0, while p_2 = 1 to six digits
    model.fc.bias.data[2] = 20
    maps = ContrastCAM(model)(PHOTO, rather_than=0).maps
    torch.testing.assert_close(maps, GradCAM(model)(PHOTO).maps, rtol=1e-5, atol=1e-5)


# Regression: the trap in one scalar score


@many
@given(passes(), st.floats(-3, 3))
def test_squared_error_asks_twice_the_distance_times_the_map(seen, q):
    got = seen.ask(lambda y: F.mse_loss(y[:, 0], torch.full_like(y[:, 0], q), reduction="none"))
    same(got, 2 * (seen.logits[:, :1, None, None] - q) * s(seen, 0))


@many
@given(passes(n=st.just(1)), st.floats(0.01, 2), st.floats(0.01, 2))
def test_every_score_below_the_answer_draws_the_same_picture_as_grad_cam(seen, far, further):
    score = float(seen.logits[0, 0])
    maps = [
        positive_maps(seen.ask(lambda y, d=d: (y[:, 0] - (score - d)) ** 2), seen.size)
        for d in (far, further)
    ]
    expected = GradCAM(seen.model, "target")(seen, why=0).maps
    for got in maps:
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)


@many
@given(passes(n=st.just(1)), st.floats(0.01, 2))
def test_every_score_above_the_answer_draws_the_picture_of_counterfactual_cam(seen, d):
    score = float(seen.logits[0, 0])
    got = positive_maps(seen.ask(lambda y: (y[:, 0] - (score + d)) ** 2), seen.size)
    expected = CounterfactualCAM(seen.model, "target")(seen, why=0).maps
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)


# Invariances that a learner may take for granted


@many
@given(st.sampled_from(RandomNet.heads), st.integers(0, 10**6), st.floats(-9, 9))
def test_a_bias_on_the_logits_does_not_move_grad_cam(head, seed, bias):
    model, x = RandomNet(head, seed=seed), random_images(seed=seed)
    before = GradCAM(model, "target")(x, why=[0, 1, 2, 3]).evidence
    with torch.no_grad():
        model.fc.bias += bias
    same(GradCAM(model, "target")(x, why=[0, 1, 2, 3]).evidence, before)


@many
@given(passes(n=st.just(3)), st.permutations([0, 1, 2]), st.integers(0, 1))
def test_images_answered_in_another_order_give_the_same_maps(seen, order, c):
    x = random_images(3, seen.size)
    first = GradCAM(seen.model, "target")(x, why=c).evidence
    same(GradCAM(seen.model, "target")(x[order], why=c).evidence, first[order])


@pytest.mark.parametrize("c", [0, 1, 2])
def test_a_photo_twice_as_strong_has_twice_the_evidence_in_a_linear_network(c):
    got = GradCAM(HandNet())(2 * PHOTO, why=c).evidence
    torch.testing.assert_close(got, 2 * torch.stack([A0, A1, A0 - 2 * A1])[c][None, None])
