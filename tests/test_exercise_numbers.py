"""The numbers in the exercises' texts and model answers are the network's: by a hook and plain
autograd."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from exercise_notebooks import Assignment
from scipy.ndimage import distance_transform_edt, label
from scipy.stats import spearmanr
from tiny_networks import start_at

from course_checks.ex06_exhibits import exhibits
from course_utils import load_classifier, load_photo
from course_utils.quality import distort, load_assessor
from course_utils.quality.assessor import Assessor
from course_utils.quality.network import QualityNet


@pytest.fixture(scope="module")
def network():
    return load_classifier()


@pytest.fixture(scope="module")
def see(network):
    """(photo, box) -> `evidence(J)`, the signed map h x w of J(logits), and the logits."""

    def seen(photo, box=None):
        picture = load_photo(photo)
        x = network.preprocess(picture.crop(box) if box else picture)[None]
        a, y = start_at(network, network.layer, x)

        def evidence(J):
            (gradient,) = torch.autograd.grad(J(y[0]), a, retain_graph=True)
            return (gradient.mean((2, 3), keepdim=True) * a).sum(1)[0].detach()

        return evidence, y[0].detach()

    return seen


def text(exercise: str, cell: str) -> str:
    cells = Assignment(exercise).cells()
    return next(one["source"] for one in cells if one["id"] == cell)


def against(Q):
    """The published loss."""
    return lambda y: F.cross_entropy(y[None], torch.tensor([Q]))


def rho(one, other) -> float:
    return spearmanr(one.flatten(), other.flatten()).statistic


@pytest.mark.parametrize(
    ("photo", "names", "low", "high"),
    [
        ("chelsea", ("tiger cat", "Egyptian cat"), -0.1, 0.1),
        ("rocket", ("missile", "projectile"), 0.4, 0.55),
    ],
)
def test_exercise_1_near_q(network, see, photo, names, low, high):
    said = text("ex01_questions", "choose-note")
    assert "about 0 for the two cats, about 0.5 for missile" in said and "about 0.12" in said
    P, Q = map(network.categories.index, names)
    evidence, y = see(photo)
    assert y.topk(2).indices.tolist() == [P, Q]
    why, contrast = evidence(lambda y: y[P]), evidence(lambda y: y[P] - y[Q])
    assert low < rho(why, contrast) < high
    assert contrast.max() / why.max() == pytest.approx(0.12, abs=0.005)
    assert evidence(against(Q)).max() < 0.1 * why.max()  # "too weak to be read"
    far = y.argmin()
    assert rho(why, evidence(lambda y: y[P] - y[far])) > 0.95


def test_exercise_1_three_cats_share_0_92(network, see):
    assert "share a probability of 0.92" in text("ex01_questions", "top-note")
    p = see("chelsea")[1].softmax(0)
    cats = [network.categories.index(name) for name in ("tiger cat", "Egyptian cat", "tabby")]
    assert p[cats].sum() == pytest.approx(0.92, abs=0.005)


def test_exercise_4_the_dahlia(network, see):
    said = text("ex04_contrast", "maps-note")
    assert "rank correlation 0.96, half of its strength" in said and "0.006" in said
    P, bee, espresso = map(network.categories.index, ("daisy", "bee", "espresso"))
    evidence, _ = see("flower")
    why, near, far = evidence(lambda y: y[P]), evidence(against(bee)), evidence(against(espresso))
    assert near.max() / why.max() == pytest.approx(0.006, abs=0.0005)
    assert far.max() / why.max() == pytest.approx(0.5, abs=0.02)
    assert rho(why, far) == pytest.approx(0.96, abs=0.005)


def test_exercise_4_the_cat(network, see):
    assert "strength 0.097, eight places" in text("ex04_contrast", "which-task")
    assert "for the cat 0.04" in text("ex04_contrast", "which-note")
    P, near, tabby = map(network.categories.index, ("tiger cat", "Egyptian cat", "tabby"))
    evidence, _ = see("chelsea")
    why, S = evidence(lambda y: y[P]), evidence(against(tabby))
    assert S.max() / why.max() == pytest.approx(0.097, abs=0.0005)
    bright = S >= S.max() / 2
    assert bright.sum() == 8 and label(bright.numpy())[1] == 2  # "it lies in two pieces"
    assert evidence(against(near)).max() / why.max() == pytest.approx(0.04, abs=0.005)


def test_exercise_4_the_camera(network, see):
    said = text("ex04_contrast", "ex04-words")
    P, Q = map(network.categories.index, ("binoculars", "tripod"))
    assert see("camera")[1].softmax(0)[Q] == pytest.approx(0.94, abs=0.005)
    evidence, y = see("camera", (180, 0, 512, 332))
    error, truth = evidence(lambda y: y[P] - y[Q]), evidence(lambda y: y[Q] - y[P])
    peak = evidence(lambda y: y[P]).max()
    assert "0.58 of the peak of $S^P$, against 0.34 for the error" in said
    assert truth.max() / peak == pytest.approx(0.58, abs=0.005)
    assert error.max() / peak == pytest.approx(0.34, abs=0.005)
    weaker = evidence(against(P))  # "at the same place, but weaker"
    assert weaker.argmax() == truth.argmax() and weaker.max() < truth.max()
    for box, tripod, binoculars in (
        ((180, 40, 512, 372), 0.83, 0.15),
        ((140, 0, 472, 332), 0.41, 0.36),
    ):
        assert f"{box}" in said and f"tripod {tripod}, binoculars {binoculars}" in said
        p = see("camera", box)[1].softmax(0)
        assert p[[Q, P]].tolist() == pytest.approx([tripod, binoculars], abs=0.005)


# --- the model answers, from what a hook and plain autograd find ----------------------------------


def kept_at(network, layers, x):
    """The outputs of some layers in one pass, and the logits."""
    kept, handles = {}, []
    for layer in layers:

        def hook(_module, _inputs, value, layer=layer):
            kept[layer] = value
            return value.clone()

        handles.append(network.get_submodule(layer).register_forward_hook(hook))
    y = network(x)
    for handle in handles:
        handle.remove()
    return [kept[layer] for layer in layers], y[0]


def enlarged(S, size):
    return F.interpolate(S[None, None], size, mode="bilinear", align_corners=False)[0, 0]


HALVES = [("coffee", "chelsea"), ("camera", "flower"), ("rocket", "motorcycle_left")]
HALVES += [("china", "coffee"), ("chelsea", "rocket")]
CLASSES = {
    "chelsea": "tiger cat", "coffee": "espresso", "camera": "tripod", "rocket": "missile",
    "flower": "daisy", "china": "palace", "motorcycle_left": "moped",
}  # fmt: skip


def test_exercise_2_the_layer_study(network):
    said = text("ex02_gradcam", "ex02-text")
    layers, shares = ["blocks.2", "blocks.6", "bn2"], []
    for pair in HALVES:
        x = torch.cat([network.preprocess(load_photo(n))[:, :, 56:168] for n in pair], 2)[None]
        outputs, y = kept_at(network, layers, x)
        for half, name in zip((slice(0, 112), slice(112, 224)), pair):
            logit = y[network.categories.index(CLASSES[name])]
            row = []
            for A, g in zip(outputs, torch.autograd.grad(logit, outputs, retain_graph=True)):
                S = (g.mean((2, 3), keepdim=True) * A).sum(1)[0].detach().relu()
                drawn = enlarged(S, (224, 224))
                row.append((drawn[:, half].sum() / drawn.sum()).item())
            shares.append(row)
    early, late, last = (torch.tensor(column) for column in zip(*shares))
    assert "At `bn2` the mean share was 0.88 and at `blocks.6` 0.84" in said
    assert last.mean() == pytest.approx(0.88, abs=0.01)
    assert late.mean() == pytest.approx(0.84, abs=0.01)
    assert "even the lowest single question was near 0.8" in said
    assert min(last.min(), late.min()) == pytest.approx(0.8, abs=0.02)
    assert "At `blocks.2` the mean was 0.41" in said and "from 0.13 to 0.59" in said
    assert early.mean() == pytest.approx(0.41, abs=0.01)
    assert [early.min(), early.max()] == pytest.approx([0.13, 0.59], abs=0.01)


def blur(x):
    """A Gaussian of 15 pixels, cut off after 30 on either side."""
    k = torch.exp(-(((torch.arange(61.0) - 30) / 15) ** 2) / 2)
    rows = (k / k.sum()).expand(3, 1, 1, 61)
    columns = rows.transpose(2, 3)
    return F.conv2d(F.conv2d(F.pad(x, [30] * 4, "reflect"), rows, groups=3), columns, groups=3)


def changes(network, x, P=None):
    """Of y_P without what is against P, without where nothing is said, and without what is for P.

    P None: the most probable class with five places or more against it.
    """
    a, y = start_at(network, network.layer, x)
    W = network.classifier.weight.detach()
    S = torch.einsum("ck,kij->cij", W, a[0].detach()) / a[0, 0].numel()
    if P is None:
        P = next(c for c in y[0].argsort(descending=True).tolist() if (S[c] < 0).sum() >= 5)
    (g,) = torch.autograd.grad(y[0, P], a)
    assert torch.allclose((g.mean((2, 3), keepdim=True) * a).sum(1)[0], S[P], atol=1e-5)
    size = x.shape[-2:]
    against, pro = enlarged((-S[P]).relu(), size), enlarged(S[P].relu(), size)
    amount = enlarged(S[P], size).abs()
    share, filled, found = min(0.2, (against > 0).float().mean().item()), blur(x), []
    for region in (against, 1 - amount / amount.max(), pro):
        gone = torch.zeros(region.numel(), dtype=torch.bool)
        gone[region.flatten().topk(int(share * region.numel())).indices] = True
        gone &= region.flatten() > 0
        with torch.no_grad():
            after = network(torch.where(gone.view(size), filled, x))[0, P]
        found.append((after - y[0, P]).item())
    return found


def test_exercise_3_the_deletion_study(network):
    said = text("ex03_counterfactual", "ex03-text")
    x = {name: network.preprocess(load_photo(name))[None] for name in CLASSES}
    ring = [*CLASSES, next(iter(CLASSES))]
    single = torch.tensor([changes(network, one) for one in x.values()])
    assert "raised the logit in 6 of 7 cases, by 0.65 on average" in said
    assert (single[:, 0] > 0).sum() == (single[:, 1] > 0).sum() == 6
    assert "did just the same, also by 0.65" in said and "the logit falls by 1.13" in said
    assert single.mean(0).tolist() == pytest.approx([0.65, 0.65, -1.13], abs=0.02)
    mosaics = []
    for pair in zip(ring, ring[1:]):
        both = torch.cat([x[name] for name in pair], dim=3)
        mosaics += [changes(network, both, network.categories.index(CLASSES[n])) for n in pair]
    mosaics = torch.tensor(mosaics)
    assert "0.38 against 0.04, and it wins in 10 of 14" in said
    assert mosaics[:, :2].mean(0).tolist() == pytest.approx([0.38, 0.04], abs=0.02)
    assert (mosaics[:, 0] > mosaics[:, 1]).sum() == 10
    assert "the control does next to nothing" in text("ex03_counterfactual", "control-note")
    palace = mosaics[2 * ring.index("china")]  # beside the motorcycle, as in the note
    assert palace[0] > 0.7 and abs(palace[1]) < 0.2


def test_exercise_3_little_speaks_against_the_tripod(network, see):
    assert "a single place out of 49 is negative" in text("ex03_counterfactual", "ex03-text")
    evidence, y = see("camera")
    P = network.categories.index("tripod")
    S = evidence(lambda y: y[P])
    assert S.numel() == 49 and (S < 0).sum() == 1 and -S.min() < 0.01 * S.max()
    # "the network's own zero ... is about the evidence of the average class"
    assert evidence(lambda y: y.mean()).abs().max() < 0.02 * S.max()


def test_exercise_5_the_blurred_dahlia():
    """Rings around the flower's heart, above its stem: where is the score above the photo's?"""
    said = text("ex05_image_quality", "ex05-words")
    flower = load_photo("flower").crop((64, 20, 576, 404))
    blurred, assessor = distort(flower, "blur", level=5).image, load_assessor(reference=True)
    q, s = assessor.score_map(blurred, flower), assessor.score(blurred, flower)
    lost = torch.from_numpy(abs(np.array(flower, float) - np.array(blurred, float)).mean(axis=2))
    y, x = torch.meshgrid(torch.arange(384) - 200, torch.arange(512) - 256, indexing="ij")
    r, above = (x**2 + y**2).sqrt(), y < 100
    heart, rim, leaves = r < 40, (r > 115) & (r < 150) & above, (r > 185) & above
    petals = (r > 55) & (r < 95) & (y < -10)
    assert "no patch of it is as good as its reference" in said and q.max() < 0.9
    assert "the leaves around turn red first, and the upper petals with them" in said
    assert min(q[leaves].mean(), q[petals].mean()) > s + 0.07
    assert "The rim of the flower and its heart stay blue the longest" in said
    assert q[rim].mean() < q[heart].mean() < s - 0.07
    assert "little detail to lose. The petals had more" in said
    assert 3 * lost[leaves].mean() < lost[petals].mean()


def test_exercise_5_random_weights_find_a_hidden_fault_too():
    said = text("ex05_image_quality", "ex05-words")
    assert "a good part of it lies beside" in said and "one with random weights, would" in said
    coffee, (left, top) = load_photo("coffee").crop((90, 10, 346, 202)), (142, 99)
    bad = distort(coffee, "blur", level=4, region=(left, top, left + 80, top + 64)).image
    torch.manual_seed(1)
    for one in (load_assessor(reference=True), Assessor(QualityNet(reference=True))):
        pulls = -one.explain(bad, coffee, [1]).evidence[0]
        share = pulls[top : top + 64, left : left + 80].sum() / pulls.sum()
        assert 0.4 < share < 0.75  # the fault is a tenth of the photo
        sums = F.avg_pool2d(pulls[None, None], (64, 80), 1)[0, 0]
        row, column = divmod(sums.argmax().item(), sums.shape[1])
        assert abs(row - top) <= 10 and abs(column - left) <= 10


def test_exercise_6_the_three_exhibits():
    """A is Grad-CAM, C Contrast-CAM; the fake, B, is taken as it is."""
    said = text("ex06_judge", "ex06-words")
    shown = exhibits(seed=5)
    P, Q = map(shown.network.categories.index, ("flamingo", "spoonbill"))

    def maps(network, x):
        a, y = start_at(network, "features", x)
        for J in (y[:, P].sum(), (y[:, P] - y[:, Q]).sum()):
            (g,) = torch.autograd.grad(J, a, retain_graph=True)
            S = (g.mean((2, 3), keepdim=True) * a).sum(1, keepdim=True).detach().relu()
            yield F.interpolate(S, (128, 128), mode="bilinear", align_corners=False)[:, 0]

    learned = dict(zip("AC", maps(shown.network, shown.x)))
    by_chance = []
    for n, one in enumerate(shown.x):
        torch.manual_seed(n)
        by_chance.append(list(maps(type(shown.network)().eval(), one[None])))
    chance = {k: torch.cat([pair[i] for pair in by_chance]) for i, k in enumerate("AC")}
    alike = {k: sum(map(rho, learned[k], chance[k])) / len(shown.x) for k in "AC"}
    assert "the other two fell to 0.08 and 0.15" in said
    assert [alike["A"], alike["C"]] == pytest.approx([0.08, 0.15], abs=0.01)
    fake = shown.maps["B"]["spoonbill"]
    assert "a similarity of 1.00" in said and torch.equal(fake, shown.randomised["B"]["spoonbill"])
    distances = [distance_transform_edt(~mask.numpy()).ravel() for mask in shown.masks["spoonbill"]]
    for one in (fake, learned["A"]):  # "hit in 100 %"; Grad-CAM "points at the bill", whatever Q
        assert all(d[m.argmax()] <= 8 for d, m in zip(distances, one))
    noise = torch.rand(12, 128, 128, generator=torch.Generator().manual_seed(0))
    areas = [
        area_of_margin(shown.network, x, blurred, m, P, Q)
        for maps_ in (fake, noise)
        for x, blurred, m in zip(shown.x, shown.blurred, maps_)
    ]
    assert "its deletion area was small (0.21, against 0.86 for noise)" in said
    small, large = torch.tensor(areas).view(2, 12).mean(1).tolist()
    assert [small, large] == pytest.approx([0.21, 0.86], abs=0.01)


def area_of_margin(network, x, blurred, evidence, P, Q):
    """By trapezoids, while an eighth of the picture goes in eight steps."""
    order, pictures = evidence.flatten().argsort(descending=True, stable=True), []
    for step in range(9):
        gone = torch.zeros(order.numel(), dtype=torch.bool)
        gone[order[: order.numel() * step // 64]] = True
        pictures.append(torch.where(gone.view(evidence.shape), blurred, x))
    with torch.no_grad():
        y = network(torch.stack(pictures))
    margin = y[:, P] - y[:, Q]
    return torch.trapezoid(margin / margin[0], dx=1 / 8).item()
