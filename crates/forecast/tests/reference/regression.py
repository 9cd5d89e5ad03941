"""Reference forecasts of the regressions on features, by numpy and scikit-learn.

The features are written here a second time, by their definitions in `src/features.rs`, on the whole history at once;
the estimators are scikit-learn's. Counted series, so no calendar.

    python regression.py        # writes linear_regression.json, polynomial_regression.json, logistic_regression.json

Made with numpy and scikit-learn (versions are written into the files).
"""
import json
import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import PolynomialFeatures

M, H = 12, 12
LAGS = [1, 2, 3, 12, 13, 24]
WINDOWS = [6, 12, 24, 48]
BENT = [0, 6, 7, 8, 9, 10, 12]  # lag_1, the means, same_phase, sale_share


def row(z):
    """The features of the step after z (values over their scale)."""
    z = np.asarray(z)
    n = len(z)
    f = [z[n - lag] for lag in LAGS]
    f += [z[max(0, n - w):].mean() for w in WINDOWS]
    f.append(np.mean([z[n - k * M] for k in range(1, 5) if k * M <= n]))
    f.append(z[n - 1] - z[n - 1 - M])
    f.append(np.mean(z[-28:] != 0))
    pause = 0
    while pause < n and z[n - 1 - pause] == 0:
        pause += 1
    f.append(pause / (pause + 10))
    f += [float(n % M == p) for p in range(M)]  # stamps begin at 0
    return f


def forecast(y, answer_of):
    y = np.asarray(y, float)
    scale = np.abs(y).mean()
    z = list(y / scale)
    at = range(24, len(z))
    X = np.array([row(z[:t]) for t in at])
    t = np.array([z[i] for i in at])
    noise = np.abs(y[M:] - y[:-M]).mean() / scale
    weight = np.full(len(t), 1 / (0.05**2 + noise**2))
    answer = answer_of(X, t, weight)
    low, high = y.min(), y.max()
    floor = max(low - (high - low), 0) if low >= 0 else low - (high - low)
    out = []
    for _ in range(H):
        v = float(np.clip(answer(np.array([row(z)]))[0] * scale, floor, high + (high - low)))
        out.append(v)
        z.append(v / scale)
    return out


def ridge(X, t, w):
    m = Ridge(alpha=1.0, solver="cholesky").fit(X, t, sample_weight=w)
    return m.predict


def curve(X, t, w):
    p = PolynomialFeatures(2, include_bias=False).fit(X[:, BENT])
    keep = p.powers_.sum(1) > 1
    wide = lambda X: np.hstack([X, p.transform(X[:, BENT])[:, keep]])
    m = Ridge(alpha=1.0, solver="cholesky").fit(wide(X), t, sample_weight=w)
    return lambda X: m.predict(wide(X))


def hurdle(X, t, w):
    sold = t != 0
    size = Ridge(alpha=1.0, solver="cholesky").fit(X[sold], t[sold], sample_weight=w[sold])
    if sold.all():
        return size.predict
    sale = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(X, sold, sample_weight=w)
    return lambda X: sale.predict_proba(X)[:, 1] * size.predict(X)


rng = np.random.default_rng(20)
k = np.arange(120)
season = 100 + 0.3 * k + 20 * np.sin(2 * np.pi * k / 12) + rng.normal(0, 5, 120)
below = season - 120
slow = rng.poisson(3, 120) * (rng.random(120) < 0.4)
series = {"season and trend": season, "below zero": below, "slow": slow}
for model, how, rtol in [("linear_regression", ridge, 1e-8), ("polynomial_regression", curve, 1e-7), ("logistic_regression", hurdle, 1e-4)]:
    cases = []
    for name, y in series.items():
        y = np.round(np.asarray(y, float), 3)
        case = dict(name=name, params={"season_length": M}, freq="1", y=y.tolist(), mean=forecast(y, how), rtol=rtol)
        if rtol > 1e-6:
            case["why"] = "the search for the logistic coefficients ends at a tolerance, and each step feeds the next"
        cases.append(case)
    doc = dict(model=model, library=f"scikit-learn {sklearn.__version__}, numpy {np.__version__}", made_by="regression.py", cases=cases)
    with open(f"{model}.json", "w") as f:
        json.dump(doc, f, indent=1)
