"""Writes the reference files of the classical methods. Run in this folder:

    python make_references.py

Libraries: statsforecast 2.1.1, statsmodels 0.15.0, scipy 1.17.1, numpy. Series come from formulas with seeded noise.
Where a method is estimated, the other library's own error is minimised again with tight tolerances from several
starts, so that both programs stand at the same optimum and few digits are lost to the stopping rule of either.
"""
import json
import warnings

import numpy as np
import scipy
import statsforecast
import statsmodels
from scipy.optimize import minimize
from statsforecast import models as sf
from statsforecast import theta as sf_theta
from statsforecast._lib import theta as sf_lib
from statsmodels.tsa.holtwinters import ExponentialSmoothing
from statsmodels.tsa.seasonal import STL, seasonal_decompose

warnings.filterwarnings("ignore")
SF = f"statsforecast {statsforecast.__version__}"
SM = f"statsmodels {statsmodels.__version__}"


def monthly(n=96, seed=1):
    """Air traffic: growth, a season that grows with the level, noise."""
    r = np.random.default_rng(seed)
    t = np.arange(n)
    season = np.array([0.9, 0.87, 1.0, 0.98, 0.98, 1.1, 1.22, 1.21, 1.06, 0.92, 0.8, 0.9])
    return np.round((110 + 2.4 * t) * season[t % 12] * np.exp(r.normal(0, 0.03, n)), 1)


def flat(n=60, seed=2):
    """A level that wanders, with noise; no season."""
    r = np.random.default_rng(seed)
    return np.round(200 + np.cumsum(r.normal(0, 2, n)) + r.normal(0, 4, n), 2)


def line(n=50, seed=3):
    """A slope that wanders a little."""
    r = np.random.default_rng(seed)
    return np.round(30 + np.cumsum(1.5 + np.cumsum(r.normal(0, 0.15, n))) + r.normal(0, 1.5, n), 2)


def weekly(n=84, seed=4):
    """Daily sales with a week."""
    r = np.random.default_rng(seed)
    t = np.arange(n)
    return np.round(40 + 0.1 * t + np.array([-6, -8, -3, 0, 4, 14, -1.0])[t % 7] + r.normal(0, 3, n), 1)


def slow(n=80, seed=5, p=0.3):
    """A slow seller."""
    r = np.random.default_rng(seed)
    return np.where(r.random(n) < p, r.poisson(2.5, n) + 1, 0).astype(float)


def lumpy(n=120, seed=6):
    return slow(n, seed, 0.12) * 3


def write(model, library, cases, made_by="make_references.py"):
    doc = {"model": model, "library": library, "made_by": made_by, "cases": cases}
    with open(f"{model}.json", "w") as f:
        json.dump(doc, f, indent=1)
        f.write("\n")


def case(name, y, mean, params=None, sd=None, rtol=1e-9, **more):
    values = [None if np.isnan(v) else float(v) for v in y]
    out = {"name": name, "params": params or {}, "freq": "1", "y": values, "mean": [float(v) for v in mean]}
    if sd is not None:
        out["sd"] = [float(v) for v in sd]
    return {**out, "rtol": rtol, **more}


def predict(model, y, h, sd_level=None):
    """Means, and standard deviations where the model gives normal intervals."""
    fitted = model.fit(y)
    if sd_level is None:
        return fitted.predict(h)["mean"], None
    out = fitted.predict(h, level=[sd_level])
    z = scipy.stats.norm.ppf(0.5 + sd_level / 200)
    return out["mean"], (out[f"hi-{sd_level}"] - out["mean"]) / z


def simple():
    y, w = flat(), weekly()
    mean, sd = predict(sf.Naive(), y, 5, 80)
    write("naive", SF, [case("a wandering level", y, mean, sd=sd)])
    mean, sd = predict(sf.SeasonalNaive(7), w, 16, 80)
    write("seasonal_naive", SF, [case("days of the week", w, mean, {"season_length": 7}, sd=sd)])
    mean, sd = predict(sf.RandomWalkWithDrift(), y, 6, 80)
    # The slope is estimated, which costs a degree of freedom that statsforecast does not count.
    sd = sd * np.sqrt((len(y) - 1) / (len(y) - 2))
    write("drift", SF, [case("a wandering level", y, mean, sd=sd)])
    mean, sd = predict(sf.HistoricAverage(), y, 4, 80)
    write("mean", SF, [case("a wandering level", y, mean, sd=sd)])
    cases = [case(f"window {k}", y, predict(sf.WindowAverage(k), y, 4)[0], {"window": k}) for k in (1, 5, 60)]
    write("moving_average", SF, cases)


def exact(y, alpha, beta=0.0, gamma=0.0, phi=1.0, trend=False, m=1):
    """The squared error and the states before the first observation, solved by least squares: with given weights the
    forecasts are linear in them, so this is the optimum that a search only comes near."""
    k = 1 + trend + (m if m > 1 else 0)

    def run(x):
        level, slope = x[0], x[1] if trend else 0.0
        season, e = list(x[1 + trend :]) if m > 1 else [0.0], []
        for t, v in enumerate(y):
            q, i = level + phi * slope, t % len(season)
            e.append(v - q - season[i])
            level = q + alpha * e[-1]
            slope = phi * slope + alpha * beta * e[-1]
            season[i] += gamma * e[-1]
        return np.array(e)

    zero = run(np.zeros(k))
    x = np.linalg.lstsq(np.stack([zero - run(row) for row in np.eye(k)], 1), zero, rcond=None)[0]
    return (run(x) ** 2).sum(), x


def forecast_at(y, weights, h, trend=False, m=1):
    """statsmodels' forecast at these weights and the solved start, its squared error checked against the solution."""
    sse, x = exact(y, **weights, trend=trend, m=m)
    damped = "phi" in weights
    start = {"initial_level": x[0]}
    given = {"smoothing_level": weights["alpha"]}
    if trend:
        start["initial_trend"], given["smoothing_trend"] = x[1], weights["beta"]
    if m > 1:
        start["initial_seasonal"], given["smoothing_seasonal"] = x[1 + trend :], weights["gamma"]
    if damped:
        given["damping_trend"] = weights["phi"]
    model = ExponentialSmoothing(
        y, trend="add" if trend else None, damped_trend=damped, seasonal="add" if m > 1 else None,
        seasonal_periods=m if m > 1 else None, initialization_method="known", **start,
    )
    fit = model.fit(optimized=False, **given)
    assert abs(fit.sse - sse) < 1e-8 * sse
    return fit.forecast(h)


def best_weights(y, names, trend=False, m=1):
    """The weights of the least squared error, from several starts. Gamma is searched as its share of 1 - alpha."""

    def weights(x):
        w = dict(zip(names, np.clip(x, 1e-4, 0.9999)))
        if "gamma" in w:
            w["gamma"] *= 1 - w["alpha"]
        return w

    best = None
    for first in np.ndindex(*(3,) * len(names)):
        x = np.array([(0.05, 0.4, 0.9)[i] for i in first])
        r = minimize(lambda x: exact(y, **weights(x), trend=trend, m=m)[0], x, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 3000})
        if best is None or r.fun < best.fun:
            best = r
    return weights(best.x), best.fun


def exponential():
    y, l, w, a = flat(), line(), weekly(), monthly()
    better = "both stop their search near the same optimum; statsmodels' own search ends above it"

    cases = [case(f"alpha {al}", y, forecast_at(y, {"alpha": al}, 6), {"alpha": al}) for al in (0.05, 0.3, 1.0)]
    found, sse = best_weights(y, ["alpha"])
    assert sse <= ExponentialSmoothing(y, initialization_method="estimated").fit().sse * (1 + 1e-9)
    cases.append(case("estimated", y, forecast_at(y, found, 6), rtol=1e-5))
    write("ses", SM, cases)

    given = {"alpha": 0.4, "beta": 0.2}
    damped = {**given, "phi": 0.9}
    cases = [
        case("alpha .4 beta .2", l, forecast_at(l, given, 6, True), given),
        case("damped .9", l, forecast_at(l, damped, 6, True), {**damped, "damped": True}),
    ]
    found, sse = best_weights(l, ["alpha", "beta"], True)
    assert sse <= ExponentialSmoothing(l, trend="add", initialization_method="estimated").fit().sse * (1 + 1e-9)
    cases.append(case("estimated", l, forecast_at(l, found, 6, True), rtol=1e-4, why=better))
    write("holt", SM, cases)

    # One step less than a season: statsmodels 0.15 repeats the index of the last step as it was before that step.
    given = {"alpha": 0.3, "beta": 0.1, "gamma": 0.2}
    kind = {"season_length": 7, "season": "additive", "trend": "additive"}
    cases = [case("added, weights given", w, forecast_at(w, given, 6, True, 7), {**kind, **given}, rtol=1e-6)]
    found, sse = best_weights(w, ["alpha", "beta", "gamma"], True, 7)
    # Weights may fall to 0 there and to 0.0001 here, and this series wants none.
    assert sse <= ExponentialSmoothing(w, trend="add", seasonal="add", seasonal_periods=7, initialization_method="estimated").fit().sse * (1 + 1e-3)
    cases.append(case("added, estimated", w, forecast_at(w, found, 6, True, 7), kind, rtol=1e-3, why=better))
    fit = ExponentialSmoothing(a, trend="add", seasonal="mul", seasonal_periods=12, initialization_method="estimated").fit()
    cases.append(case("multiplied, estimated", a, fit.forecast(11), {"season_length": 12, "season": "multiplicative", "trend": "additive"}, rtol=2e-2, why="ours keeps the first season of classical decomposition, statsmodels searches all starting states"))
    write("holt_winters", SM, cases)


def theta():
    cases = []
    for name, y, m in (("air traffic", monthly(), 12), ("a wandering level", flat(), 1), ("a wandering slope", line(), 1), ("short", line(12), 1)):
        for variant in ("STM", "OTM", "DSTM", "DOTM"):
            obj = sf_theta.auto_theta(y, m, model=variant)
            season = None
            z = y
            if obj.get("decompose"):
                season = seasonal_decompose(y, model="multiplicative", period=m).seasonal
                z = y / season
            kind = sf_theta.switch_theta(variant)
            standard = variant in ("STM", "DSTM")
            scale = np.abs(z).max()

            def mse(x):
                th = 2.0 if standard else 1 / (1 - min(max(x[2], 0.0), 1 - 1e-10))
                return sf_lib.pegels_resid(z, kind, x[0] * scale, min(max(x[1], 0.1), 0.99), th, 3)[3] / scale**2

            best = None
            for alpha in (0.15, 0.4, 0.8):
                for omega in (0.0, 0.5, 0.9):
                    x = np.array([z[0] / scale, alpha, omega][: 2 if standard else 3])
                    for _ in range(4):
                        x = minimize(mse, x, method="Nelder-Mead", options={"xatol": 1e-11, "fatol": 1e-16, "maxiter": 4000}).x
                    if best is None or mse(x) < mse(best):
                        best = x
            al = min(max(best[1], 0.1), 0.99)
            th = 2.0 if standard else 1 / (1 - min(max(best[2], 0.0), 1 - 1e-10))
            again = sf_theta.auto_theta(y, m, model=variant, initial_smoothed=best[0] * scale, alpha=al, theta=th)
            assert again["mse"] <= obj["mse"] * (1 + 1e-9), (name, variant)
            mean = sf_theta.forecast_theta(again, 14)["mean"]
            cases.append(case(f"{name}, {variant}", y, mean, {"variant": variant.lower(), "season_length": m}, rtol=1e-5))
    write("theta", SF, cases)


def decompositions():
    w, a = weekly(), monthly()
    # The rest is carried on naively, so that the forecast is the last adjusted value and the season alone.
    cases = []
    for name, y, m, kind in (("air traffic", a, 12, "multiplicative"), ("air traffic added", a, 12, "additive"), ("week", w, 7, "additive")):
        s = seasonal_decompose(y, model=kind, period=m).seasonal
        z = y / s if kind == "multiplicative" else y - s
        ahead = np.array([s[(len(y) + k) % m] for k in range(m)])
        mean = z[-1] * ahead if kind == "multiplicative" else z[-1] + ahead
        cases.append(case(name, y, mean, {"season_length": m, "season": kind, "rest": "naive"}))
    write("classical", SM, cases)

    cases, parts = [], []
    for name, y, m, kw in (
        ("week", w, 7, {}),
        ("week robust", w, 7, {"robust": True}),
        ("air traffic", a, 12, {"seasonal": 13}),
        ("steep", np.append(a, a[-1] * 3), 12, {"seasonal": 35, "robust": True}),
    ):
        fit = STL(y, period=m, **kw).fit()
        parts.append({
            "name": name, "y": y.tolist(), "season_length": m, "season_window": kw.get("seasonal", 7), "robust": kw.get("robust", False),
            "trend": fit.trend.tolist(), "season": fit.seasonal.tolist(), "weights": fit.weights.tolist(),
        })
        if name == "week":
            fit = STL(y, period=m, seasonal=11).fit()
            mean = (y - fit.seasonal)[-1] + fit.seasonal[-m:]
            cases.append(case(name, y, mean, {"season_length": m, "season_window": 11, "rest": "naive"}))
    write("stl", SM, cases)
    with open("stl_parts.json", "w") as f:
        json.dump({"library": SM, "made_by": "make_references.py", "parts": parts}, f, indent=1)
        f.write("\n")


def intermittent():
    y, l = slow(), lumpy()
    both = (("slow", y), ("lumpy", l))
    write("croston", SF, [case(n, v, predict(sf.CrostonClassic(), v, 3)[0]) for n, v in both]
          + [case(n + ", optimised", v, predict(sf.CrostonOptimized(), v, 3)[0], {"optimize": True}, rtol=1e-3, why="statsforecast's search over alpha stops early") for n, v in both])
    write("sba", SF, [case(n, v, predict(sf.CrostonSBA(), v, 3)[0]) for n, v in both])
    write("tsb", SF, [case(n, v, predict(sf.TSB(0.2, 0.05), v, 3)[0], {"alpha_size": 0.2, "alpha_probability": 0.05}) for n, v in both])
    why = "statsforecast's search over alpha stops early"
    write("adida", SF, [case(n, v, predict(sf.ADIDA(), v, 3)[0], rtol=1e-3, why=why) for n, v in both])
    write("imapa", SF, [case(n, v, predict(sf.IMAPA(), v, 3)[0], rtol=1e-3, why=why) for n, v in both])


if __name__ == "__main__":
    simple()
    exponential()
    theta()
    decompositions()
    intermittent()
