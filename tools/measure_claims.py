"""Lecture 4's claims about contrasts, measured on any photos (`make claims PHOTOS=folder`).

The lecture shows them on seven photos. Here the same is counted on as many as you have: for each
claim, on how many photos it holds. The word `course` stands for the seven photos of the course.
With more than one network the counts are printed as the table of docs/claims.md. `--quality` counts
two claims of lecture 5 instead, `--deletion` one of lecture 3.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import measure_deletion_claims
import measure_quality_claims
import numpy as np
import torch
from scipy.ndimage import label
from scipy.stats import rankdata
from torch import Tensor
from tqdm import tqdm

from course_utils import ForwardPass, load_classifier, load_photo
from course_utils.methods.maps import relative_strength
from course_utils.photos import PHOTOS

ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
BANDS = {"p_P >= 0.9": (0.9, 1.01), "0.5 <= p_P < 0.9": (0.5, 0.9), "p_P < 0.5": (0.0, 0.5)}


@dataclass(frozen=True)
class Measured:
    """What lecture 4 measures, for one photo; P is the predicted class and R the runner-up.

    Attributes:
        p: the probability of P.
        far: median rank correlation of the published contrast with Grad-CAM, Q beyond rank 500.
        near: the same at Q = R.
        new: how many of all Q give a rank correlation below 0.7.
        self: rank correlation at Q = P.
        against: negative share of P's evidence.
        opposed: strength of P's Counterfactual-CAM; 0 where that map is empty.
        doubt: p_R exp(H); above 1 the total of the published map at Q = R is negative.
        losses: rank correlation of the two losses' maps at Q = R.
        published, difference: strength of the two losses' maps at Q = R.
        silent: strength of "why not P with 100 %?".
        size: size of a far S^Q (median over Q beyond rank 500), relative to S^P.
        beside: the same, relative to sum_c p_c S^c, from which S^Q is taken away.
        unreadable: how many Q give a map of strength below 0.1 that falls into 3 pieces or more.
        probability: rank correlation of the map of P's probability with the map of its logit.
    """

    p: float
    far: float
    near: float
    new: int
    self: float
    against: float
    opposed: float
    doubt: float
    losses: float
    published: float
    difference: float
    silent: float
    size: float
    beside: float
    unreadable: int
    probability: float


def measure(seen: ForwardPass) -> Measured:
    """All numbers of one photo, from one forward pass of one image."""
    p, maps = seen.probabilities()[0], seen.class_maps()[0]
    order = p.argsort(descending=True)
    P, R, far = order[0], order[1], order[500:]
    first = torch.einsum("c,cij->ij", p, maps)  # the part that does not depend on Q
    contrast = first - maps  # cross-entropy, for every Q
    difference = maps[P] - maps[R]
    rho = rank_correlations(contrast, maps[P])
    asked = torch.cat([contrast, difference[None], -maps[P][None]])
    strength = relative_strength(asked[None], maps[P][None, None])[0]  # of each Q, and of the two
    weak = (strength[:-2] < 0.1).nonzero()[:, 0].tolist()
    size = maps.flatten(1).norm(dim=1)
    return Measured(
        p=p[P].item(),
        far=rho[far].median().item(),
        near=rho[R].item(),
        new=int((rho < 0.7).sum()),
        self=rho[P].item(),
        against=(maps[P].clamp(max=0).abs().sum() / maps[P].abs().sum()).item(),
        opposed=strength[-1].item(),
        doubt=(p[R] * torch.special.entr(p).sum().exp()).item(),
        losses=rank_correlations(contrast[R][None], difference).item(),
        published=strength[R].item(),
        difference=strength[-2].item(),
        silent=strength[P].item(),
        size=(size[far].median() / size[P]).item(),
        beside=(size[far].median() / first.norm()).item(),
        unreadable=sum(pieces(contrast[q]) >= 3 for q in weak),
        probability=rank_correlations(-contrast[P][None], maps[P]).item(),
    )


def rank_correlations(maps: Tensor, reference: Tensor) -> Tensor:
    """Spearman's rho of each of K maps, K x h x w, with one, h x w, over the places: K numbers."""
    ranks = rankdata(torch.cat([reference[None], maps]).flatten(1).numpy(), axis=1)
    ranks = torch.from_numpy(ranks - ranks.mean(axis=1, keepdims=True))
    ranks = torch.nn.functional.normalize(ranks, dim=1)
    return ranks[1:] @ ranks[0]


def pieces(evidence: Tensor) -> int:
    """Into how many separate places a map, h x w, falls at half of its maximum."""
    places = evidence.relu().numpy()
    return label((places > 0.5 * places.max()) & (places > 0))[1]


def table(rows: Sequence[Measured]) -> list[tuple[str, str, str]]:
    """(claim, on how many photos it holds, the numbers behind it) for each claim of lecture 4."""
    values = {name: np.array([getattr(row, name) for row in rows]) for name in vars(rows[0])}
    claims = [
        ("a far Q gives Grad-CAM's order of places (median rho > 0.9)", "far", lambda v: v > 0.9),
        ("fewer than 60 of 1000 Q give something else (rho < 0.7)", "new", lambda v: v < 60),
        ("the runner-up gives another order than Grad-CAM (rho < 0.9)", "near", lambda v: v < 0.9),
        ("the class map of a far Q is small (below 0.3 of P's)", "size", lambda v: v < 0.3),
        ("... and beside sum_c p_c S^c (below 0.3 of it)", "beside", lambda v: v < 0.3),
        ("Q = P turns the order around (rho < -0.3)", "self", lambda v: v < -0.3),
        ("Q = P has little to show (strength < 0.1)", "silent", lambda v: v < 0.1),
        ("less than 5 % of P's evidence is negative", "against", lambda v: v < 0.05),
        ("nothing speaks against P: Counterfactual-CAM is empty", "opposed", lambda v: v == 0),
        ("... or weak (strength < 0.1)", "opposed", lambda v: v < 0.1),
        ("P's probability asks what its logit asks (rho > 0.9)", "probability", lambda v: v > 0.9),
        ("no Q gives a weak map in three pieces or more", "unreadable", lambda v: v == 0),
    ]
    found = [
        (words, holds(test(values[name])), spread(values[name])) for words, name, test in claims
    ]
    for band, (low, high) in BANDS.items():
        inside = (low <= values["p"]) & (values["p"] < high)
        for words, name, test in [
            ("a far Q gives Grad-CAM's order (median rho > 0.9)", "far", lambda v: v > 0.9),
            ("the two losses agree at the runner-up (rho > 0.9)", "losses", lambda v: v > 0.9),
            ("cross_entropy is weak there (strength < 0.1)", "published", lambda v: v < 0.1),
            ("logit_difference is weak there (strength < 0.1)", "difference", lambda v: v < 0.1),
        ]:
            some = values[name][inside]
            found.append((f"{band}: {words}", holds(test(some)), spread(some)))
    for sign, inside in [("<=", values["doubt"] <= 1), (">", values["doubt"] > 1)]:
        some = values["published"][inside]
        words = f"p_R {sign} exp(-H): cross_entropy is weak at the runner-up (strength < 0.1)"
        found.append((words, holds(some < 0.1), spread(some)))
    return found


def holds(true: np.ndarray) -> str:
    """ "55 of 57", or a dash where there is no photo of the kind."""
    return f"{true.sum()} of {true.size}" if true.size else "-"


def spread(values: np.ndarray) -> str:
    """Median and range, such as "0.97 (0.61 to 1.00)"; empty where there is nothing."""
    if not values.size:
        return ""
    middle, low, high = np.median(values), values.min(), values.max()
    form = "{:.0f} ({:.0f} to {:.0f})" if values.dtype.kind == "i" else "{:.2f} ({:.2f} to {:.2f})"
    return form.format(middle, low, high)


def photos_in(place: str) -> list[str | Path]:
    """The pictures of a folder, in order of name; of "course", the names of the course's photos.

    Raises:
        SystemExit: no such folder, or no picture in it.
    """
    if place == "course":
        return list(PHOTOS)
    folder = Path(place).expanduser()
    if not folder.is_dir():
        raise SystemExit(f"There is no folder {folder}: make claims PHOTOS=a-folder-of-photos")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS)
    if not found:
        raise SystemExit(f"No picture in {folder}: looked for {', '.join(sorted(ENDINGS))}.")
    return found


def measure_all(network: torch.nn.Module, photos: Iterable[str | Path]) -> list[Measured]:
    """Each photo measured, with a bar of progress; what cannot be read is named and left out."""
    rows = []
    for photo in tqdm(list(photos), unit="photo", file=sys.stderr):
        try:
            picture = load_photo(photo)
        except (OSError, ValueError) as reason:
            tqdm.write(f"left out: {reason}", file=sys.stderr)
            continue
        rows.append(measure(ForwardPass(network, network.preprocess(picture)[None])))
    if not rows:
        raise SystemExit("None of the photos could be read.")
    return rows


def print_one(name: str, rows: Sequence[Measured]) -> None:
    """The counts of one network, with the numbers behind them."""
    print(f"{name}, {len(rows)} photos; rho is Spearman's rank correlation of two maps.")
    print("Strength is the peak of a map over the peak of Grad-CAM's map of P.\n")
    print(f"{'claim':72s} {'holds on':>10s}  median (least to most)")
    for claim, count, numbers in table(rows):
        print(f"{claim:72s} {count:>10s}  {numbers}")


def markdown(measured: dict[str, list[Measured]]) -> str:
    """The counts of several networks, and of all of them together, as in docs/claims.md."""
    measured = measured | {"together": [row for rows in measured.values() for row in rows]}
    heads = ["claim", *(f"`{name}`" for name in measured if name != "together"), "together"]
    columns = [table(rows) for rows in measured.values()]
    lines = [heads, ["---"] * len(heads)]
    lines += [[rows[0][0], *(count for _, count, _ in rows)] for rows in zip(*columns)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="*", help="folders of photos, or `course` (the default)")
    parser.add_argument(
        "--network", nargs="+", default=["efficientnet_lite0"], help="as for load_classifier"
    )
    parser.add_argument("--quality", action="store_true", help="lecture 5's claims instead")
    parser.add_argument("--deletion", action="store_true", help="a claim of lecture 3 instead")
    options = parser.parse_args()
    photos = [photo for place in options.photos or ["course"] for photo in photos_in(place)]
    if options.quality:
        measure_quality_claims.report(photos)
        return
    try:
        networks = {name: load_classifier(name) for name in options.network}
    except (ValueError, OSError) as reason:
        raise SystemExit(str(reason)) from None
    if options.deletion:
        for network in networks.values():
            measure_deletion_claims.report(network, photos)
        return
    measured = {name: measure_all(network, photos) for name, network in networks.items()}
    if len(measured) > 1:
        print(markdown(measured))
    else:
        print_one(*measured.popitem())


if __name__ == "__main__":
    main()
