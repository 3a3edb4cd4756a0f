"""How well scores agree with people: rank and linear correlation, as is customary in the field."""

import warnings
from collections.abc import Sequence

import numpy as np
from scipy.optimize import OptimizeWarning, curve_fit
from scipy.stats import pearsonr, spearmanr

from ...measures import as_floats


def logistic(x: np.ndarray, top: float, bottom: float, middle: float, width: float) -> np.ndarray:
    """Four parameters, as the Video Quality Experts Group fits before a linear correlation
    (2003).
    """
    return bottom + (top - bottom) / (1 + np.exp(-(x - middle) / np.abs(width)))


def srocc(answers: Sequence[float], opinions: Sequence[float]) -> float:
    """Spearman's rank correlation, -1 to 1.

    Raises:
        ValueError: fewer than 2 photos, two lengths, NaN, or numbers that are all the same.
    """
    return float(spearmanr(*_pairs(answers, opinions, 2)).statistic)


def plcc(answers: Sequence[float], opinions: Sequence[float]) -> float:
    """Pearson's correlation after the fitted logistic, -1 to 1.

    Raises:
        ValueError: fewer than 5 photos (the logistic has 4 parameters), two lengths, NaN, or
            numbers that are all the same.
        RuntimeError: no logistic fits.
    """
    x, y = _pairs(answers, opinions, 5)
    ends = (y.max(), y.min()) if srocc(x, y) >= 0 else (y.min(), y.max())
    start = [*ends, np.median(x), x.std() / 2 + 1e-9]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)  # on the covariance, which is not used
        try:
            fitted, _ = curve_fit(logistic, x, y, p0=start, maxfev=20_000)
        except RuntimeError:
            raise RuntimeError(
                f"No logistic fits these {len(x)} answers and opinions: srocc needs none."
            ) from None
    return float(pearsonr(logistic(x, *fitted), y).statistic)


def agreement(answers, opinions, types) -> dict[str, float | dict[str, float]]:
    """SROCC and PLCC over all photos, and the SROCC within each type of distortion.

    Within a type that has one photo only, or answers that are all the same, it is NaN.

    Raises:
        ValueError: as `plcc`, of all photos together, or types of another length.
    """
    answers, opinions = _pairs(answers, opinions, 5)
    types = np.asarray(types)
    if len(types) != len(answers):
        raise ValueError(f"There are {len(answers)} photos, but {len(types)} types.")
    within = {str(t): _within(answers[types == t], opinions[types == t]) for t in np.unique(types)}
    return {
        "srocc": srocc(answers, opinions),
        "plcc": plcc(answers, opinions),
        "within": {t: round(value, 3) for t, value in within.items()},
    }


def _within(answers: np.ndarray, opinions: np.ndarray) -> float:
    varied = len(answers) > 1 and np.ptp(answers) > 0 and np.ptp(opinions) > 0
    return srocc(answers, opinions) if varied else float("nan")


def _pairs(answers, opinions, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Two lists of as many finite numbers, which differ among one another."""
    x, y = (as_floats(values).reshape(-1) for values in (answers, opinions))
    if len(x) != len(y):
        raise ValueError(f"There are {len(x)} answers, but {len(y)} opinions: one of each a photo.")
    if len(x) < least:
        raise ValueError(f"{len(x)} photos are too few for this correlation: give {least} or more.")
    for name, values in (("answers", x), ("opinions", y)):
        bad = int((~np.isfinite(values)).sum())
        if bad:
            raise ValueError(f"Of the {name}, {bad} are no finite numbers (NaN): leave them out.")
        if np.ptp(values) == 0:
            raise ValueError(
                f"The {name} are all {values[0]:g}: a correlation needs numbers that differ."
            )
    return x, y
