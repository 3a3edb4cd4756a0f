"""How well scores agree with people: rank and linear correlation, as is customary in the field."""

import warnings

import numpy as np
from scipy.optimize import OptimizeWarning, curve_fit
from scipy.stats import pearsonr, spearmanr


def logistic(x: np.ndarray, top: float, bottom: float, middle: float, width: float) -> np.ndarray:
    """Four parameters, as the Video Quality Experts Group fits before a linear correlation (2003)."""
    return bottom + (top - bottom) / (1 + np.exp(-(x - middle) / np.abs(width)))


def srocc(answers: np.ndarray, opinions: np.ndarray) -> float:
    """Spearman's rank correlation, -1 to 1."""
    return float(spearmanr(answers, opinions).statistic)


def plcc(answers: np.ndarray, opinions: np.ndarray) -> float:
    """Pearson's correlation after the fitted logistic, -1 to 1.

    Raises:
        RuntimeError: no logistic fits.
    """
    x, y = np.asarray(answers, float), np.asarray(opinions, float)
    ends = (y.max(), y.min()) if srocc(x, y) >= 0 else (y.min(), y.max())
    start = [*ends, np.median(x), x.std() / 2 + 1e-9]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)  # on the covariance, which is not used
        fitted, _ = curve_fit(logistic, x, y, p0=start, maxfev=20_000)
    return float(pearsonr(logistic(x, *fitted), y).statistic)


def agreement(answers, opinions, types) -> dict[str, float | dict[str, float]]:
    """SROCC and PLCC over all photos, and the SROCC within each type of distortion."""
    answers, opinions, types = map(np.asarray, (answers, opinions, types))
    within = {str(t): srocc(answers[types == t], opinions[types == t]) for t in np.unique(types)}
    return {
        "srocc": srocc(answers, opinions),
        "plcc": plcc(answers, opinions),
        "within": {t: round(value, 3) for t, value in within.items()},
    }
