"""Writes ets.json: forecasts of statsmodels' state space exponential smoothing. Run in this folder:

    python make_ets.py

statsmodels' likelihood is maximised from its own fit again with tight tolerances, within the same bounds, so that both
programs stand at the same optimum; the deviation is divided by the degrees of freedom as here (statsmodels divides by
the number of observations).
"""
import json
import sys
import warnings

import numpy as np
import pandas as pd
import statsmodels
from scipy.optimize import minimize
from statsmodels.tsa.exponential_smoothing.ets import ETSModel

from make_references import case, flat, line, monthly, weekly

warnings.filterwarnings("ignore")

FORMS = [
    ("a wandering level", flat(), 1, "ANN"), ("a wandering level", flat(), 1, "MNN"),
    # The additive line stands in holt.json: statsmodels ends in the worse of its two valleys.
    ("a wandering slope", line(), 1, "MAN"),
    ("air traffic", monthly(), 1, "AAdN"), ("air traffic", monthly(), 1, "MAdN"),
    ("week", weekly(), 7, "ANA"), ("week", weekly(), 7, "MAA"),
    ("air traffic", monthly(), 12, "MNM"), ("air traffic", monthly(), 12, "MAM"), ("air traffic", monthly(), 12, "MAdM"),
]
WORDS = {"A": "add", "M": "mul", "N": None}


def best(y, m, form):
    error, trend, season = form[0], form[1:-1], form[-1]
    model = ETSModel(pd.Series(y), error=WORDS[error], trend=WORDS[trend[0]], damped_trend=trend.endswith("d"), seasonal=WORDS[season], seasonal_periods=m if season != "N" else None)
    free = np.array([name not in ("initial_seasonal.0",) for name in model.param_names])
    fit = model.fit(disp=0, maxiter=2000)
    x = np.array(fit.params)
    names = model.param_names
    at = {n: i for i, n in enumerate(names)}

    def inside(x):
        a = x[at["smoothing_level"]]
        ok = 1e-4 <= a <= 0.9999
        if "smoothing_trend" in at:
            ok &= 1e-4 * a <= x[at["smoothing_trend"]] <= 0.9999 * a
        if "smoothing_seasonal" in at:
            ok &= 1e-4 * (1 - a) <= x[at["smoothing_seasonal"]] <= 0.9999 * (1 - a)
        if "damping_trend" in at:
            ok &= 0.8 <= x[at["damping_trend"]] <= 0.98
        return ok

    scale = np.where(np.abs(x) > 1e-3, np.abs(x), 1.0)

    def cost(z):
        full = x.copy()
        full[free] = z * scale[free]
        return -model.loglike(full) if inside(full) else 1e10

    # The surface of a trend has often two valleys: forms with few numbers are begun from calm and lively levels too.
    starts = [x]
    for level, share in ((0.05, 0.9), (0.15, 0.97), (0.4, 0.1), (0.9, 0.3)) if len(x) < 6 else ():
        other = x.copy()
        other[at["smoothing_level"]] = level
        if "smoothing_trend" in at:
            other[at["smoothing_trend"]] = share * level
        starts.append(other)
    z = x[free] / scale[free]
    for start in starts:
        z2 = start[free] / scale[free]
        for _ in range(3):
            z2 = minimize(cost, z2, method="Powell", options={"xtol": 1e-10, "ftol": 1e-14, "maxiter": 20000}).x
        if cost(z2) <= cost(z):
            z = z2
    full = x.copy()
    full[free] = z * scale[free]
    assert cost(z) <= -fit.llf + 1e-9
    return model, full, model.smooth(full)


def main():
    cases = []
    for name, y, m, form in FORMS:
        model, x, fit = best(y, m, form)
        h = 14
        mean = fit.forecast(h).to_numpy()
        k = 2 + 2 * (form[1] != "N") + form[1:-1].endswith("d") + (m if form[-1] != "N" else 0)
        more = {}
        if form[0] == "A":
            sd = np.sqrt(np.asarray(fit.get_prediction(len(y), len(y) + h - 1).forecast_variance)) * np.sqrt(len(y) / (len(y) - k))
            more["sd"] = sd
        params = {"model": form, "season_length": m, "bounds": "usual"}
        cases.append(case(f"{name}, {form}", y, mean, params, rtol=1e-5, rtol_sd=1e-3, **more))
        print(form, fit.llf, dict(zip(model.param_names[:4], np.round(x[:4], 5))), file=sys.stderr)
    doc = {"model": "ets", "library": f"statsmodels {statsmodels.__version__}", "made_by": "make_ets.py", "cases": cases}
    with open("ets.json", "w") as f:
        json.dump(doc, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
