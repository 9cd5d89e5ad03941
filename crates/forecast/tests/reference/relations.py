"""Cross-correlations, tests of Granger, autoregressions and q-values of made-up series by statsmodels, for
tests/it/relations.rs.

    python relations.py > relations.json        (numpy 2.4, scipy 1.17.1, statsmodels 0.15.0)

Each case: y, x; ccf: correlation of y[t + k] with x[t] for k = 0 to 10, divided by the number of pairs; granger: F, p and
degrees of freedom of `ssr_ftest` for 1 to 4 lags of x added to as many of y; aic: the order that ar_select_order finds for
y among 0 to 8 lags with a constant, all on the same rows.
"""
import json
import warnings

import numpy as np
import statsmodels
from statsmodels.stats.multitest import multipletests
from statsmodels.tsa.ar_model import ar_select_order
from statsmodels.tsa.stattools import ccf, grangercausalitytests

warnings.simplefilter("ignore")
rng = np.random.default_rng(5)


def ar(n, coef):
    e = rng.normal(size=n + 50)
    z = np.zeros(n + 50)
    for t in range(len(coef), n + 50):
        z[t] = sum(c * z[t - 1 - k] for k, c in enumerate(coef)) + e[t]
    return z[50:]


cases = []
for name, n, lag, strength in [("leads by 3", 160, 3, 0.8), ("nothing in common", 90, 0, 0.0), ("leads by 1, weakly", 400, 1, 0.25)]:
    x = ar(n, [0.6, -0.2])
    y = ar(n, [0.5, 0.0, 0.2]) + 1000.0
    if lag:
        y[lag:] += strength * x[:-lag]
    x, y = np.round(x, 4), np.round(y, 4)
    tests = grangercausalitytests(np.column_stack([y, x]), 4)
    cases.append({
        "name": name,
        "y": y.tolist(),
        "x": x.tolist(),
        "ccf": ccf(y, x, adjusted=True, fft=False)[:11].tolist(),
        "granger": [list(map(float, tests[l][0]["ssr_ftest"])) for l in range(1, 5)],
        "aic": len(ar_select_order(y, 8, ic="aic", trend="c").ar_lags or []),
    })
p = np.round(rng.uniform(size=40) ** 3, 6)
q = multipletests(p, method="fdr_bh")[1]
print(json.dumps({
    "library": f"statsmodels {statsmodels.__version__}",
    "made_by": "relations.py",
    "tests": cases,
    "p_values": p.tolist(),
    "q_values": q.tolist(),
}))
