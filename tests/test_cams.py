"""What the three methods promise: the right question, its evidence, its sentence, its map."""

import copy
import gc
import io
import pickle
import re
import warnings

import pytest
import torch
from tiny_networks import A0, A1, PHOTO, HandNet, OneLogit, RandomNet, hooks, random_images, state
from torch import nn

from course_utils import ContrastCAM, CounterfactualCAM, Explanation, ForwardPass, GradCAM
from course_utils.errors import ClassError, ImageError, LayerError, ProbabilitiesWarning
from course_utils.methods.as_classes import AsClasses

S0, S1, S2 = A0, A1, A0 - 2 * A1  # the class maps of HandNet on PHOTO; it answers class 2
METHODS = [GradCAM, CounterfactualCAM, ContrastCAM]


def close(got, expected, tolerance=1e-6):
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


def named(model=None):
    model = model or HandNet()
    model.categories = ["tiger cat", "Egyptian cat", "espresso"]
    return model


def undecided():
    """HandNet with biases that make its three logits on PHOTO equal: p = 1/3 each."""
    model = HandNet()
    model.fc.bias.data = -torch.tensor([10.0, -1.0, 12.0])
    return model


# Grad-CAM


def test_grad_cam_of_a_class_is_its_signed_map():
    close(GradCAM(HandNet())(PHOTO, why=1).evidence, torch.tensor([[[[0.0, 1.0], [-2.0, 0.0]]]]))


def test_grad_cam_asks_about_the_predicted_class_by_default():
    close(GradCAM(HandNet())(PHOTO).evidence, torch.tensor([[[[1.0, 0.0], [7.0, 4.0]]]]))


def test_the_predicted_class_is_each_images_own():
    flat = torch.zeros(1, 3, 2, 2)
    flat[:, 2] = -1  # A_0 = 0 and A_1 = 1 everywhere: y = (1, 6, -5), class 1 with S^1 = 1
    got = GradCAM(HandNet())(torch.cat([PHOTO, flat]))
    assert got.questions == [["Why class 2?"], ["Why class 1?"]]
    close(got.evidence, torch.stack([S2, torch.ones(2, 2)])[:, None])


def test_a_list_of_classes_is_asked_of_every_image():
    got = GradCAM(HandNet())(torch.cat([PHOTO, 2 * PHOTO]), why=[2, 0])
    close(got.evidence, torch.stack([torch.stack([S2, S0]), 2 * torch.stack([S2, S0])]))


def test_a_tensor_gives_each_image_its_own_classes():
    got = GradCAM(HandNet())(torch.cat([PHOTO, PHOTO]), why=torch.tensor([[0, 1], [2, 0]]))
    close(got.evidence, torch.stack([torch.stack([S0, S1]), torch.stack([S2, S0])]))


def test_a_class_may_be_asked_for_by_name():
    close(GradCAM(named())(PHOTO, why="Egyptian cat").evidence, S1[None, None])


# Counterfactual-CAM


def test_counterfactual_cam_negates_the_map():
    close(
        CounterfactualCAM(HandNet())(PHOTO, why=1).evidence,
        torch.tensor([[[[0.0, -1.0], [2.0, 0.0]]]]),
    )


def test_counterfactual_cam_asks_about_the_predicted_class_by_default():
    close(CounterfactualCAM(HandNet())(PHOTO).evidence, -S2[None, None])


def test_the_counterfactual_map_lies_where_the_evidence_is_against():
    close(
        CounterfactualCAM(HandNet())(PHOTO, why=1).maps, torch.tensor([[[[0.0, 0.0], [1.0, 0.0]]]])
    )


# Contrast-CAM


def test_cross_entropy_is_the_posteriors_map_less_that_of_q():
    # a third of S^0 + S^1 + S^2 = (2, 3 / 8, 8), less S^0
    expected = torch.tensor([[[[2 / 3 - 1, 1 - 2], [8 / 3 - 3, 8 / 3 - 4]]]])
    close(ContrastCAM(undecided())(PHOTO, why=1, rather_than=0).evidence, expected, 1e-5)


def test_cross_entropy_is_the_default_loss():
    x = random_images(n=1)
    default = ContrastCAM(RandomNet(), "target")(x, rather_than=1).evidence
    named_loss = ContrastCAM(RandomNet(), "target", loss="cross_entropy")(x, rather_than=1).evidence
    assert torch.equal(default, named_loss)


def test_cross_entropy_does_not_depend_on_p():
    explain = ContrastCAM(RandomNet(), "target")
    got = explain(random_images(), why=torch.tensor([[0, 3], [2, 3]]), rather_than=[1, 1]).evidence
    assert torch.equal(got[:, 0], got[:, 1])


def test_logit_difference_is_the_map_of_p_less_that_of_q():
    explain = ContrastCAM(HandNet(), loss="logit_difference")
    close(
        explain(PHOTO, why=2, rather_than=0).evidence, torch.tensor([[[[0.0, -2.0], [4.0, 0.0]]]])
    )


def test_the_loss_can_be_chosen_for_one_question():
    explain = ContrastCAM(HandNet())
    close(explain(PHOTO, 2, 0, loss="logit_difference").evidence, (S2 - S0)[None, None])
    assert explain.loss == "cross_entropy"


def test_p_is_the_predicted_class_by_default():
    got = ContrastCAM(HandNet(), loss="logit_difference")(PHOTO, rather_than=1)
    close(got.evidence, (S2 - S1)[None, None])
    assert got.questions == [["Why class 2, rather than class 1?"]]


def test_one_p_is_contrasted_with_every_q():
    got = ContrastCAM(named(), loss="logit_difference")(
        PHOTO, "tiger cat", ["Egyptian cat", "espresso"]
    )
    close(got.evidence, torch.stack([S0 - S1, S0 - S2])[None])
    assert got.questions == [
        ["Why tiger cat, rather than Egyptian cat?", "Why tiger cat, rather than espresso?"]
    ]


def test_every_p_is_contrasted_with_one_q():
    got = ContrastCAM(HandNet(), loss="logit_difference")(PHOTO, why=[0, 1], rather_than=2)
    close(got.evidence, torch.stack([S0 - S2, S1 - S2])[None])


def test_as_many_p_as_q_are_paired():
    got = ContrastCAM(HandNet(), loss="logit_difference")(PHOTO, why=[0, 1], rather_than=[2, 0])
    close(got.evidence, torch.stack([S0 - S2, S1 - S0])[None])


def test_each_image_can_have_contrasts_of_its_own():
    explain = ContrastCAM(HandNet(), loss="logit_difference")
    got = explain(torch.cat([PHOTO, PHOTO]), why=2, rather_than=torch.tensor([[0], [1]]))
    close(got.evidence, torch.stack([S2 - S0, S2 - S1])[:, None])


def test_p_and_q_of_different_numbers_are_refused():
    with pytest.raises(ClassError, match="2 classes P do not pair with 3 classes Q"):
        ContrastCAM(HandNet())(PHOTO, why=[0, 1], rather_than=[0, 1, 2])


def test_a_missing_q_is_refused():
    with pytest.raises(ClassError, match="Name the contrast class Q: rather_than="):
        ContrastCAM(HandNet())(PHOTO, why=1)


def test_an_unknown_loss_is_refused_at_the_start():
    with pytest.raises(
        ValueError, match="No loss is called 'hinge'.*cross_entropy, logit_difference"
    ):
        ContrastCAM(HandNet(), loss="hinge")


def test_names_that_are_set_later_are_read():
    model = HandNet()
    method = GradCAM(model)
    classes = method(PHOTO).logits.shape[1]
    for names in ([f"bird {i}" for i in range(classes)], [f"cat {i}" for i in range(classes)]):
        model.categories = names
        assert method(PHOTO, why=names[1]).questions == [[f"Why {names[1]}?"]]


@pytest.mark.parametrize("loss", [["cross_entropy"], "", {}])
def test_what_is_no_losses_name_is_not_taken_for_the_default(loss):
    with pytest.raises(ValueError, match="No loss is called"):
        ContrastCAM(HandNet())(PHOTO, rather_than=1, loss=loss)


def test_an_unknown_loss_is_refused_in_a_question_before_the_network_runs():
    model = HandNet()
    with pytest.raises(ValueError, match="No loss is called 'hinge'"):
        ContrastCAM(model)(PHOTO, rather_than=1, loss="hinge")
    assert model.forwards == 0


# Explanations


def test_maps_are_upsampled_to_the_images_and_divided_by_their_maximum():
    class Coarse(HandNet):  # every second pixel: PHOTO enlarged to 4 x 4 is read as PHOTO
        def forward(self, x):
            return super().forward(x[..., ::2, ::2])

    x = PHOTO.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    got = GradCAM(Coarse(), "layer1")(x, why=0)
    # S^0 = 1 2 / 3 4: one step right is + 1, one down + 2; half-pixel centres at 0, 1/4, 3/4, 1
    steps = torch.tensor([0, 0.25, 0.75, 1])
    close(got.maps, ((1 + 2 * steps[:, None] + steps) / 4)[None, None])


def test_maps_are_in_the_images_shape_when_it_is_not_square():
    x = random_images(n=2, size=(6, 9))
    assert GradCAM(RandomNet(), "target")(x, why=[0, 1, 2]).maps.shape == (2, 3, 6, 9)


def test_logits_are_kept_in_the_explanation():
    close(GradCAM(HandNet())(PHOTO).logits, torch.tensor([[11.0, 1.0, 15.0]]))


@pytest.mark.parametrize(
    ("method", "sentence"),
    [
        (GradCAM, "Why espresso?"),
        (CounterfactualCAM, "What if espresso's evidence were absent?"),
    ],
)
def test_questions_are_sentences_with_the_classes_names(method, sentence):
    assert method(named())(PHOTO, why=2).questions == [[sentence]]


def test_questions_hold_a_list_for_each_image():
    questions = GradCAM(named())(
        torch.cat([PHOTO, PHOTO]), why=torch.tensor([[0, 1], [2, 0]])
    ).questions
    assert questions == [
        ["Why tiger cat?", "Why Egyptian cat?"],
        ["Why espresso?", "Why tiger cat?"],
    ]


def test_a_name_with_braces_is_put_into_the_sentence_unchanged():
    model = named()
    model.categories[1] = "{0} cup {x}"
    assert GradCAM(model)(PHOTO, why=1).questions == [["Why {0} cup {x}?"]]


def test_empty_maps_are_named():
    got = ContrastCAM(HandNet(), loss="logit_difference")(PHOTO, why=1, rather_than=[1, 0])
    assert got.empty.tolist() == [[True, True]]  # S^1 - S^1 = 0, and S^1 - S^0 is nowhere positive


def test_a_map_with_a_positive_place_is_not_empty():
    assert GradCAM(HandNet())(PHOTO, why=[0, 1]).empty.tolist() == [[False, False]]


def test_an_empty_map_is_all_zeros():
    assert GradCAM(HandNet())(-PHOTO, why=0).maps.tolist() == [[[[0, 0], [0, 0]]]]


def test_the_explanation_says_its_layer_and_how_strong_each_map_is():
    text = repr(GradCAM(named(), "layer1")(-PHOTO, why=[0, 1]))
    assert text.splitlines() == [
        "Explanation: 1 x 2 questions on a 2 x 2 grid",
        "  at the layer 'layer1' (named by you)",
        "  Why tiger cat?  (empty: no positive evidence)",
        "  Why Egyptian cat?  (strength 1.00)",
    ]


def test_an_explanation_is_not_changed_by_hand():
    with pytest.raises(AttributeError):
        GradCAM(HandNet())(PHOTO).evidence = None


@pytest.mark.parametrize("method", METHODS)
def test_all_methods_answer_with_an_explanation_of_the_images_size(method):
    more = {"rather_than": 1} if method is ContrastCAM else {}
    got = method(RandomNet(), "target")(random_images(size=(5, 7)), **more)
    assert isinstance(got, Explanation) and got.size == (5, 7)


# A kept pass


def test_a_kept_pass_stands_in_for_the_images():
    model = HandNet()
    seen = ForwardPass(model, PHOTO, "layer1")
    model.forwards = 0
    close(GradCAM(model, "layer1")(seen, why=1).evidence, S1[None, None])
    close(CounterfactualCAM(model, "layer1")(seen, why=1).evidence, -S1[None, None])
    close(
        ContrastCAM(model, "layer1", loss="logit_difference")(seen, 0, 1).evidence,
        (S0 - S1)[None, None],
    )
    assert model.forwards == 0


@pytest.mark.parametrize("kept", [False, True])
def test_the_pass_behind_an_explanation_answers_more(kept):
    model = HandNet()
    forward_pass = ForwardPass(model, PHOTO, "layer1") if kept else None
    first = GradCAM(model, "layer1")(forward_pass if kept else PHOTO, keep=not kept)
    model.forwards = 0
    close(
        GradCAM(model, "layer1")(first.forward_pass, why=[0, 1, 2]).evidence,
        torch.stack([S0, S1, S2])[None],
    )
    assert model.forwards == 0


@pytest.mark.parametrize("method", METHODS)
def test_a_kept_explanation_holds_no_graph(method):
    model = RandomNet("mlp")
    before = graphs()
    more = {"rather_than": 1} if method is ContrastCAM else {}
    kept = method(model, "target")(random_images(), **more)
    assert graphs() == before and kept.evidence.grad_fn is None
    with pytest.raises(RuntimeError, match="let its forward pass go.*ForwardPass.*keep=True"):
        _ = kept.forward_pass


def graphs():
    """How many tensors and passes with a graph are alive."""
    gc.collect()
    alive = [o for o in gc.get_objects() if isinstance(o, (torch.Tensor, ForwardPass))]
    return sum(isinstance(o, ForwardPass) or o.grad_fn is not None for o in alive)


def torch_copy(explanation):
    torch.save(explanation, file := io.BytesIO())
    file.seek(0)
    return torch.load(file)


@pytest.mark.parametrize(
    "copied",
    [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy, copy.copy, torch_copy],
    ids=["pickle", "deepcopy", "copy", "torch.save"],
)
def test_an_explanation_can_be_copied_and_saved(copied):
    explanation = GradCAM(named())(PHOTO, why=[0, 1], keep=True)
    explanation.maps  # noqa: B018
    got = copied(explanation)
    assert repr(got) == repr(explanation) and got.size == (2, 2)
    assert torch.equal(got.evidence, explanation.evidence)
    assert torch.equal(got.maps, explanation.maps)
    with pytest.raises(RuntimeError, match="let its forward pass go"):
        _ = got.forward_pass


def test_a_pass_that_is_asked_to_be_kept_notices_changed_weights():
    model = HandNet()
    kept = GradCAM(model)(PHOTO, why=1, keep=True).forward_pass
    GradCAM(model)(kept, why=0)
    with torch.no_grad():
        model.fc.weight.mul_(2)
    with pytest.raises(RuntimeError, match="weights changed after this forward pass"):
        GradCAM(model)(kept, why=0)


@pytest.mark.parametrize("copied", [pickle.dumps, copy.deepcopy, torch_copy])
def test_a_forward_pass_says_that_it_cannot_be_copied(copied):
    with pytest.raises(TypeError, match="holds a graph of the network, which can be neither"):
        copied(ForwardPass(HandNet(), PHOTO))


def test_what_is_done_to_the_evidence_does_not_reach_the_kept_pass():
    model = HandNet()
    forward_pass = ForwardPass(model, PHOTO, "layer1")
    GradCAM(model, "layer1")(forward_pass, why=1).evidence.zero_()
    close(GradCAM(model, "layer1")(forward_pass, why=1).evidence, S1[None, None])


@pytest.mark.parametrize(
    "write",
    [
        lambda seen: seen.activations.sub_(1),
        lambda seen: seen.logits.div_(2),
        lambda seen: seen.class_maps().relu_(),
        lambda seen: GradCAM(seen.model)(seen).logits.zero_(),
    ],
)
@pytest.mark.parametrize("head", ["gap", "inplace"])
def test_what_is_written_into_a_kept_pass_is_noticed(write, head):
    forward_pass = ForwardPass(HandNet(head), PHOTO, "layer1")
    write(forward_pass)
    with pytest.raises(RuntimeError, match=r"were written into.*change copies only: .clone\(\)"):
        ContrastCAM(forward_pass.model)(forward_pass, rather_than=1)


def test_of_many_questions_an_explanation_shows_the_first():
    shown = repr(GradCAM(named())(PHOTO, why=[0] * 50)).splitlines()
    assert len(shown) == 2 + 40 + 1 and shown[-1] == "  and 10 more"
    assert len(repr(GradCAM(named())(PHOTO, why=[0] * 40)).splitlines()) == 2 + 40


def test_a_question_without_a_finite_gradient_is_told_so():
    seen = ForwardPass(HandNet(), PHOTO)
    with pytest.raises(ValueError, match="no finite gradient at this output: dJ/dy holds NaN"):
        seen.ask(lambda y: (y[:, 0] - y[:, 0]).sqrt())


def test_a_pass_of_another_network_is_refused():
    seen = ForwardPass(HandNet(), PHOTO)
    with pytest.raises(ValueError, match="kept at 'layer1' of a HandNet.*Make the two the same"):
        GradCAM(HandNet())(seen)


def test_a_pass_at_another_layer_is_refused():
    model = RandomNet()
    seen = ForwardPass(model, random_images(), "target")
    with pytest.raises(
        ValueError, match="kept at 'target' of a RandomNet; this method asks at 'stem'"
    ):
        GradCAM(model, "stem")(seen)


@pytest.mark.parametrize("name", ["output", "reshape_transform"])
def test_a_pass_that_was_kept_without_the_methods_function_is_refused(name):
    model, how = HandNet(), {name: lambda values: values + 0}
    with pytest.raises(ValueError, match=rf"kept without this method's {name}=.*x, {name}=\.\.\."):
        GradCAM(model, "layer1", **how)(ForwardPass(model, PHOTO, "layer1"))
    seen = ForwardPass(model, PHOTO, "layer1", **how)
    close(GradCAM(model, "layer1", **how)(seen, why=1).evidence, S1[None, None])
    close(GradCAM(model, "layer1")(seen, why=1).evidence, S1[None, None])


def test_a_layer_may_be_given_as_a_module():
    model = RandomNet()
    assert GradCAM(model, model.stem).layer == "stem"


def test_an_unknown_layer_is_refused_before_any_image_is_seen():
    with pytest.raises(LayerError, match="has no layer 'layer2'. Did you mean 'layer1'"):
        GradCAM(HandNet(), "layer2")


def test_reshape_transform_is_used():
    got = GradCAM(HandNet(), reshape_transform=lambda a: a.flip(-1))(PHOTO, why=0)
    close(got.evidence, S0.flip(-1)[None, None])


# Networks that cannot be asked for classes


def test_a_network_that_does_not_answer_n_x_classes_is_refused():
    class Pairs(HandNet):
        def forward(self, x):
            return super().forward(x)[:, None].expand(-1, 2, -1)

    with pytest.raises(ClassError, match="output is 1 x 2 x 3, not N x classes") as error:
        GradCAM(Pairs(), "layer1")(PHOTO)
    line = re.search(r"ForwardPass\(.*sum\(1\)\)", str(error.value))[0]
    names = {"ForwardPass": ForwardPass, "model": Pairs(), "x": PHOTO}
    close(eval(line, names), (S0 + S1 + S2)[None, None])  # the sentence's line works


@pytest.mark.parametrize(
    ("shape", "cure"),
    [((3, 2, 2), lambda y: y.flatten(2).amax(2)), ((1, 1, 3), lambda y: y.flatten(1))],
)
def test_a_dense_answer_is_not_flattened_to_as_many_classes(shape, cure):
    network = AsClasses(nn.Sequential(nn.Flatten(), nn.LazyLinear(shape[0] * shape[1] * shape[2])))
    network.network.append(nn.Unflatten(1, shape))
    words = "flatten(2).amax(2)" if shape[2] == 2 else "flatten(1)"
    with pytest.raises(ClassError, match=rf"not N x classes: .*y\.{re.escape(words)}"):
        network(PHOTO)
    assert AsClasses(network.network, cure)(PHOTO).shape == (1, 3)


def test_a_network_may_answer_n_x_classes_x_1_x_1():
    class Convolutional(HandNet):
        def forward(self, x):
            return super().forward(x)[..., None, None]

    got = ContrastCAM(Convolutional(), "layer1", loss="logit_difference")(PHOTO, 2, [0, 1])
    close(got.evidence, torch.stack([S2 - S0, S2 - S1])[None])
    published = ContrastCAM(Convolutional(), "layer1")(PHOTO, 2, 0).evidence
    close(published, ContrastCAM(HandNet())(PHOTO, 2, 0).evidence)


def test_names_that_are_not_as_many_as_the_classes_are_refused():
    model = HandNet()
    model.categories = ["tiger cat", "espresso"]
    with pytest.raises(
        ClassError, match="categories holds 2 names, but the network answers 3 classes"
    ):
        GradCAM(model)(PHOTO)


@pytest.mark.parametrize(
    ("why", "words"),
    [
        (3, "Class 3 is out of range: this network has classes 0 to 2"),
        ("tigercat", "No class is called 'tigercat'. Did you mean 'tiger cat'"),
        (torch.tensor([[0], [1]]), "2 rows of classes were given for 1 image:"),
    ],
)
def test_an_unknown_class_is_refused_and_the_network_left_as_it_was(why, words):
    model = named().train()
    before = state(model)
    with pytest.raises(ClassError, match=words):
        GradCAM(model)(PHOTO, why=why)
    assert state(model) == before and hooks(model) == 0


def test_any_module_can_be_asked():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    )
    assert GradCAM(model, "1")(torch.rand(2, 3, 8, 6)).maps.shape == (2, 1, 8, 6)


# Labels


@pytest.mark.parametrize("labels", [torch.tensor([1, 0]), torch.tensor([[1], [0]]), [[1], [0]]])
def test_labels_are_one_class_for_each_image(labels):
    x = torch.cat([PHOTO, PHOTO])
    close(GradCAM(HandNet())(x, why=labels).evidence, torch.stack([S1, S0])[:, None])
    got = ContrastCAM(HandNet(), loss="logit_difference")(x, why=labels, rather_than=2)
    close(got.evidence, torch.stack([S1 - S2, S0 - S2])[:, None])


# Strength


def test_grad_cam_is_the_measure_of_strength():
    assert GradCAM(HandNet())(PHOTO, why=[0, 1, 2]).strength.tolist() == [[1, 1, 1]]


def test_strength_of_the_counterfactual_by_hand():
    # S^1 runs from -2 to 1; S^0 is nowhere negative; S^2 = 1 0 / 7 4 likewise
    got = CounterfactualCAM(HandNet())(PHOTO, why=[1, 0, 2])
    assert got.strength.tolist() == [[2, 0, 0]]


def test_strength_of_a_contrast_is_measured_against_its_own_p():
    # S^0 - S^1 = 1 1 / 5 4 of S^0's 4; S^2 - S^1 = 1 -1 / 9 4 of S^2's 7
    explain = ContrastCAM(HandNet(), loss="logit_difference")
    close(explain(PHOTO, why=[0, 2], rather_than=1).strength, torch.tensor([[5 / 4, 9 / 7]]))


def test_every_contrast_of_one_p_is_measured_against_the_same_map():
    # S^2 - S^1 as above, S^2 - S^0 = 0 -2 / 4 0
    explain = ContrastCAM(HandNet(), loss="logit_difference")
    close(explain(PHOTO, why=2, rather_than=[1, 0]).strength, torch.tensor([[9 / 7, 4 / 7]]))


def test_strength_of_the_published_loss_by_hand():
    # a third of S^0 + S^1 + S^2 = 2 3 / 8 8, less S^1 = 0 1 / -2 0: 2/3 0 / 14/3 8/3, of S^2's 7
    got = ContrastCAM(undecided())(PHOTO, why=2, rather_than=1)
    close(got.strength, torch.tensor([[14 / 3 / 7]]), 1e-5)


def test_a_contrast_where_grad_cam_is_empty_has_no_known_strength():
    got = ContrastCAM(HandNet(), loss="logit_difference")(-PHOTO, why=0, rather_than=2)
    assert got.strength.isnan().tolist() == [[True]]  # S^2 - S^0 is positive, -S^0 nowhere
    assert "strength unknown" in repr(got)


def test_a_weak_map_is_said_to_be_weak():
    model = HandNet()
    with torch.no_grad():
        model.fc.weight[1] = model.fc.weight[0] * 0.96
    got = ContrastCAM(model, loss="logit_difference")(PHOTO, why=0, rather_than=1)
    assert "(weak: 4 % of Grad-CAM's peak)" in repr(got)


# One logit: y = 8 mean(A_0) - 4 mean(A_1) + b = 21 + b on PHOTO, S = 2 A_0 - A_1

S = 2 * A0 - A1
SHAPES = pytest.mark.parametrize("shape", [(-1,), (-1, 1), (-1, 1, 1, 1)])


@SHAPES
def test_one_logit_asks_why_yes_or_why_no(shape):
    for bias, question, sign in [(-20.0, "Why yes?", 1), (-22.0, "Why no?", -1)]:
        got = GradCAM(OneLogit(bias, shape))(PHOTO)
        assert got.questions == [[question]]
        close(got.evidence, sign * S[None, None] / 2)


@SHAPES
def test_one_logit_has_the_probabilities_of_no_and_yes(shape):
    p = ForwardPass(OneLogit(-22.0, shape), torch.cat([PHOTO, 2 * PHOTO])).probabilities()
    yes = torch.tensor([-1.0, 20.0]).sigmoid()
    close(p, torch.stack([1 - yes, yes], dim=1))


@SHAPES
def test_the_class_map_of_one_logit_is_its_own(shape):
    close(ForwardPass(OneLogit(0.0, shape), PHOTO).class_maps(), S[None, None])


@SHAPES
def test_why_yes_rather_than_no_is_the_logits_own_map(shape):
    explain = ContrastCAM(OneLogit(0.0, shape), loss="logit_difference")
    close(explain(PHOTO, why="yes", rather_than="no").evidence, S[None, None])
    close(explain(PHOTO, why=0, rather_than=1).evidence, -S[None, None])


@SHAPES
@pytest.mark.parametrize("sigmoid", [False, True])
def test_the_published_loss_of_one_logit_is_the_binary_cross_entropy(shape, sigmoid):
    # dJ/dy of J = -log p_no is p_yes, of J = -log p_yes it is -p_no
    model = OneLogit(-22.0, shape)
    yes = torch.tensor(-1.0).sigmoid()
    got = ContrastCAM(model, sigmoid=sigmoid)(PHOTO, rather_than=[0, 1])
    close(got.evidence, torch.stack([yes * S, (yes - 1) * S])[None])


def test_the_counterfactual_of_a_no_is_the_evidence_for_yes():
    close(CounterfactualCAM(OneLogit(-22.0, (-1, 1)))(PHOTO).evidence, S[None, None] / 2)


@pytest.mark.parametrize(
    "categories, question",
    [(["dog", "cat"], "Why dog, rather than cat?"), (["cat"], "Why not cat, rather than cat?")],
)
def test_one_logit_takes_two_names_or_one(categories, question):
    model = OneLogit(-22.0, (-1, 1))
    model.categories = categories
    assert ContrastCAM(model)(PHOTO, rather_than="cat").questions == [[question]]


def test_names_changed_in_place_are_the_new_ones_everywhere():
    model = HandNet()
    model.categories = ["dog", "cat", "cup"]
    cam = GradCAM(model)
    assert cam(PHOTO, "cup").questions == [["Why cup?"]]
    model.categories[2] = "mug"
    assert cam(PHOTO, "mug").questions == [["Why mug?"]]
    with pytest.raises(ClassError, match="'cup'"):
        cam(PHOTO, "cup")


# Several labels at once


def test_the_published_loss_with_sigmoids_is_the_binary_cross_entropy_of_q():
    model = undecided()  # all three logits are 0
    got = ContrastCAM(model, sigmoid=True)(PHOTO, why=2, rather_than=[0, 1])
    close(got.evidence, -0.5 * torch.stack([S0, S1])[None], 1e-5)


def test_sigmoids_do_not_change_the_logit_difference():
    got = ContrastCAM(HandNet(), loss="logit_difference", sigmoid=True)(PHOTO, 2, 0)
    close(got.evidence, (S2 - S0)[None, None])


@pytest.mark.parametrize("sigmoid", ["no", "False"])
def test_sigmoid_is_true_or_false_and_no_word(sigmoid):
    with pytest.raises(TypeError, match="sigmoid= is True .* or False"):
        ContrastCAM(HandNet(), sigmoid=sigmoid)


def test_one_logit_at_each_place_has_no_softmax():
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Conv2d(2, 1, 1)).eval()
    seen = ForwardPass(network, PHOTO, "0")
    with pytest.raises(ClassError, match=r"a softmax makes 1.*probabilities\(sigmoid=True\)"):
        seen.probabilities()
    close(seen.probabilities(sigmoid=True), network(PHOTO).sigmoid().detach())


def test_probabilities_that_do_not_compete():
    forward_pass = ForwardPass(HandNet(), PHOTO)
    close(forward_pass.probabilities(sigmoid=True), torch.tensor([[11.0, 1.0, 15.0]]).sigmoid())


@pytest.mark.parametrize("loss", ["sigmoid", "binary_cross_entropy", "BCE"])
def test_who_asks_for_a_binary_loss_is_told_of_sigmoid(loss):
    with pytest.raises(ValueError, match="For a multi-label network pass sigmoid=True"):
        ContrastCAM(HandNet(), loss=loss)


# A network that ends in probabilities


class Ends(HandNet):
    """HandNet, and one thing more at its end."""

    def __init__(self, last):
        super().__init__()
        self.last = last

    def forward(self, x):
        return self.last(super().forward(x))


@pytest.mark.parametrize(
    "last, words",
    [
        (
            nn.Softmax(dim=1),
            r"ends in a softmax.*model.last = torch.nn.Identity.*output=torch.log,",
        ),
        (lambda y: y.softmax(1).clone(), "ends in a softmax.*return what comes before the softmax"),
        (lambda y: (y.softmax(1) + (2 * y).softmax(1)) / 2, "ends in a softmax"),
        (nn.Sigmoid(), "ends in a sigmoid.*model.last = torch.nn.Identity.*output=torch.logit[.]"),
        (lambda y: y[:, 1].sigmoid(), "ends in a sigmoid"),
        (lambda y: y[:, 1:2].sigmoid(), "ends in a sigmoid"),
        (lambda y: y.sigmoid().clamp(1e-6, 1 - 1e-6), "ends in a sigmoid"),
        (lambda y: 1 / (1 + torch.exp(-y)), "ends in a sigmoid"),
        (lambda y: y.exp() / (1 + y.exp()), "ends in a sigmoid"),
        (lambda y: (1 + (y / 2).tanh()) / 2, "ends in a sigmoid"),
        (lambda y: nn.functional.logsigmoid(y).exp(), "ends in a sigmoid"),
        (lambda y: torch.cat([y[:, c : c + 1].sigmoid() for c in range(3)], 1), "in a sigmoid"),
        (lambda y: y.T.sigmoid().T, "ends in a sigmoid"),
        (lambda y: torch.cat([(-y[:, :1]).sigmoid(), y[:, :1].sigmoid()], 1), "output=torch.log,"),
        (lambda y: torch.cat([1 - (p := y[:, :1].sigmoid()), p], 1), "output=torch.log,"),
        (lambda y: torch.stack([y.sigmoid(), (2 * y).sigmoid()]).mean(0), "ends in a sigmoid"),
        (lambda y: 0.3 * y.sigmoid() + 0.7 * (2 * y).sigmoid(), "ends in a sigmoid"),
        (lambda y: (y.sigmoid() + (y / 2).sigmoid() + (y / 3).sigmoid()) / 3, "in a sigmoid"),
        (lambda y: 1 - (1 - y.sigmoid()) * (1 - (-y).sigmoid()), "ends in a sigmoid"),
        (lambda y: 1 - torch.exp(-torch.exp(y / 9 - 1)), "ends in a sigmoid"),
        (lambda y: -torch.expm1(-nn.functional.softplus(y)), "ends in a sigmoid"),
        (lambda y: torch.exp(-torch.exp(-y)), "ends in a sigmoid"),
        (torch.special.ndtr, "ends in a sigmoid"),
        (torch.distributions.Normal(0.0, 2.0).cdf, "ends in a sigmoid"),
        (lambda y: torch.erfc(-y) / 2, "ends in a sigmoid"),
        (lambda y: 0.5 + torch.atan(y) / torch.pi, "ends in a sigmoid"),
        (lambda y: 0.5 * y.tanh() + 0.5, "ends in a sigmoid"),
        (lambda y: (nn.functional.softsign(y) + 1) / 2, "ends in a sigmoid"),
        (lambda y: 0.5 * y / (1 + y * y).sqrt() + 0.5, "ends in a sigmoid"),
        (lambda y: (y * (1 + y**2).rsqrt() + 1) / 2, "ends in a sigmoid"),
        (lambda y: (y / 60 + 0.5).clamp(0, 1), "in a clamp: .*A softmax flat.*before the clamp[.]"),
        (lambda y: nn.functional.hardtanh(0.01 * y, 0, 1), "ends in a clamp"),
        (lambda y: 100 * y.softmax(1), "in a softmax: .* in percent.*output=torch.log,"),
        (lambda y: 100 * (y.softmax(1) + (2 * y).softmax(1)) / 2, "in a softmax: .* in percent"),
        (lambda y: y.sigmoid() / 0.01, r"in percent.*output=lambda y: torch.logit\(y / 100\)[.]"),
        (
            nn.Hardsigmoid(),
            r"in a hardsigmoid.*take it off \(model.last = torch.nn.Identity\(\)\)[.]",
        ),
    ],
)
def test_probabilities_in_place_of_logits_are_named_once(last, words):
    model = Ends(last)
    with pytest.warns(ProbabilitiesWarning, match=words) as said:
        GradCAM(model, "layer1")(PHOTO)
        GradCAM(model, "layer1")(PHOTO)
        ForwardPass(model, PHOTO, "layer1").probabilities()
    assert len(said) == 1 and said[0].filename == __file__


def test_a_cure_for_one_tensor_is_offered_to_networks_that_return_one():
    model = Ends(lambda y: {"logits": y.softmax(1)})
    with pytest.warns(ProbabilitiesWarning, match="where the network returns a tensor alone"):
        GradCAM(model, "layer1")(PHOTO)


def test_probabilities_asked_of_a_pass_are_named():
    with pytest.warns(ProbabilitiesWarning) as said:
        ForwardPass(Ends(nn.Softmax(dim=1)), PHOTO, "layer1").probabilities()
    assert said[0].filename == __file__


@pytest.mark.parametrize(
    "last",
    [
        nn.Identity(),
        nn.LogSoftmax(dim=1),  # the softmax of log p is p
        lambda y: y.softmax(1).log(),
        lambda y: y[:, 1:2] / 2,  # one logit between 0 and 1 is no proof
        lambda y: 30 * (y / 30).tanh(),  # capped softly
        lambda y: 100 * (y / 100).tanh(),
        lambda y: 100 * nn.functional.normalize(y),  # cosines, as CLIP scales them
        lambda y: 1 - torch.exp(-y / 99) + y / 99,
        lambda y: y * (1 + (y / 9).erf()) / 99,  # GELU by hand, all between 0 and 1
        lambda y: 5 * y.sigmoid(),  # stars
        lambda y: (y / 60).clamp(torch.zeros(3), torch.full((3,), 5.0)),
        lambda y: 0.5 + y / (y**2).sum(1, keepdim=True).add(1).sqrt() / 2,  # (1 + cosine) / 2
        lambda y: y / (1 + y.abs()),
        lambda y: 4 / (1 + y.exp()) - 2,
        lambda y: torch.cat([y[:, :2].sigmoid(), y[:, 2:]], 1),
        lambda y: y * 0 + torch.tensor([0.2, 0.3, 0.6]),
        lambda y: y * 0 + torch.tensor([-0.2, 0.6, 0.6]),
    ],
)
def test_logits_are_not_taken_for_probabilities(last):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ContrastCAM(Ends(last), "layer1")(PHOTO, rather_than=0)


def test_log_of_a_p_that_is_0_is_told_apart_from_wrong_images():
    """exp(-200) is 0 in float32."""
    model = Ends(lambda y: (400 * y).softmax(1))
    with pytest.raises(ImageError, match="-inf, as log p does .*what comes before its softmax"):
        ContrastCAM(model, "layer1", output=torch.log)(PHOTO, rather_than=0)


def test_the_cures_for_probabilities_are_right():
    """log p gives the contrasts of the logits, logit p of a sigmoid all that the logits give."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        soft = ContrastCAM(Ends(nn.Softmax(dim=1)).double(), "layer1", output=torch.log)
        single = GradCAM(Ends(nn.Sigmoid()).double(), "layer1", output=torch.logit)
        x = PHOTO.double() / 4  # y = 3.5, 1.75, 6: no probability is 1
        for loss in ContrastCAM.losses:
            expected = ContrastCAM(HandNet().double(), loss=loss)(x, rather_than=[0, 1]).evidence
            close(soft(x, rather_than=[0, 1], loss=loss).evidence, expected)
        close(single(x, why=[0, 2]).evidence, torch.stack([S0, S2])[None].double() / 4)


# Those who come from other packages


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda m: GradCAM(m, target_layers=[m.layer1]), "no target_layers=: write layer="),
        (lambda m: ContrastCAM(m, target_layer="layer1"), "no target_layer=: write layer="),
        (lambda m: GradCAM(m)(PHOTO, targets=[1]), "GradCAM has no targets=: write why="),
        (lambda m: GradCAM(m)(class_idx=1, scores=PHOTO), "no class_idx=: write why="),
        (lambda m: GradCAM(m)(whatever=1, targets=[1]), "no targets=: write why="),
        (lambda m: CounterfactualCAM(m)(PHOTO, target=1), "no target=: write why="),
        (lambda m: GradCAM(m)(input_tensor=PHOTO), "no input_tensor=: write x"),
        (lambda m: GradCAM(m, use_cuda=True), "move network and images yourself"),
        (lambda m: GradCAM(m)(PHOTO, whatever=1), "no whatever= here. It takes x, why, keep=."),
        (lambda m: GradCAM(m)(PHOTO, 1, True), "GradCAM takes x, why, keep= here."),
        (lambda m: GradCAM(m)(PHOTO, category=1), "no category=: write why="),
        (
            lambda m: ForwardPass(m, PHOTO, target_layer="layer1"),
            "ForwardPass has no target_layer=",
        ),
        (lambda m: ForwardPass(m, PHOTO, target=1), r"where the question is put: GradCAM\(model\)"),
        (lambda m: GradCAM(m)(PHOTO, rather_than=1), "write ContrastCAM.model..x, rather_than="),
        (lambda m: ContrastCAM(m, rather_than=1), "write ContrastCAM.model..x, rather_than="),
        (lambda m: ContrastCAM(m)(PHOTO, 1, sigmoid=True), "write ContrastCAM.model, sigmoid=True"),
        (lambda m: GradCAM(m, aug_smooth=True), "GradCAM has no aug_smooth=: write nothing"),
        (lambda m: ForwardPass(m, PHOTO, to_grid=lambda a: a), "no to_grid=: write reshape_tr"),
    ],
)
def test_keywords_of_other_packages_are_answered_with_ours(call, words):
    with pytest.raises(TypeError, match=words):
        call(HandNet())


def test_a_list_of_layers_is_refused():
    model = HandNet()
    with pytest.raises(LayerError, match="list of 1 layers was given: a map belongs to one layer"):
        GradCAM(model, [model.layer1])
