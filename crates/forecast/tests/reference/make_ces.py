"""Writes ces.json: forecasts of statsforecast's complex exponential smoothing. Run in this folder:

    python make_ces.py

Its own error is minimised again with tight tolerances from its fit, so that both programs stand at the same optimum.
"""
import json

import numpy as np
import statsforecast
from scipy.optimize import minimize
from statsforecast import ces as sf_ces

from make_references import case, flat, line, monthly, weekly

HIGH = [1.8, 1.9, 1.5, 1.5]
WORDS = {"N": "none", "S": "simple", "P": "partial", "F": "full"}


def at(y, m, kind, x):
    names = ["alpha_0", "alpha_1", "beta_0", "beta_1"][: len(x)]
    return sf_ces.auto_ces(y.copy(), m, model=kind, **dict(zip(names, map(float, x))))


def squares(y, m, kind, x):
    return np.sum(np.asarray(at(y, m, kind, x)["residuals"]) ** 2)


def main():
    cases = []
    for name, y, m, kind in (
        ("a wandering level", flat(), 1, "N"), ("a wandering slope", line(), 1, "N"),
        ("week", weekly(), 7, "P"), ("air traffic", monthly(), 12, "S"), ("air traffic", monthly(), 12, "P"),
        ("air traffic", monthly(), 12, "F"),
    ):
        fit = sf_ces.auto_ces(y.copy(), m, model=kind)
        x = np.array([v for v in fit["par"].values() if not np.isnan(v)])[: {"N": 2, "S": 2, "P": 3, "F": 4}[kind]]
        own = squares(y, m, kind, x)
        low, high = np.full(len(x), 0.01), np.array(HIGH[: len(x)])
        best = x
        z = x
        for _ in range(2):
            z = np.clip(minimize(lambda v: squares(y, m, kind, np.clip(v, low, high)), z, method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-9, "maxiter": 400}).x, low, high)
        if squares(y, m, kind, z) < squares(y, m, kind, best):
            best = z
        assert squares(y, m, kind, best) <= own * (1 + 1e-9)
        found = at(y, m, kind, best)
        mean = sf_ces.forecast_ces(found, 15)["mean"]
        cases.append(case(f"{name}, {WORDS[kind]}", y, mean, {"model": WORDS[kind], "season_length": m}, rtol=1e-4, why="both stop their search near the same optimum"))
        print(name, kind, best, own, squares(y, m, kind, best))
    doc = {"model": "ces", "library": f"statsforecast {statsforecast.__version__}", "made_by": "make_ces.py", "cases": cases}
    with open("ces.json", "w") as f:
        json.dump(doc, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
