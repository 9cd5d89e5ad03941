"""Writes dynamic_regression.json: coefficients of regressions with ARMA errors by exact maximum likelihood (statsmodels'
SARIMAX, differenced with the regressors), on real series with a regressor and on simulated ones. Run in this folder:

    python dynamic_regression.py
"""
import json
import warnings

import numpy as np
import statsmodels
import statsmodels.api as sm

warnings.filterwarnings("ignore")
rng = np.random.default_rng(20)
cases = []


def case(name, y, x, order, seasonal=(0, 0, 0, 0)):
    y, x = np.asarray(y, float), np.asarray(x, float)
    # A drift, since ours leaves one to the errors; after two differences there is none.
    trend = "t" if order[1] + seasonal[1] == 1 else "c" if order[1] == 0 else "n"
    fit = sm.tsa.SARIMAX(y, exog=x, order=order, seasonal_order=seasonal, trend=trend).fit(disp=False, maxiter=500)
    at = [fit.param_names.index(f"x{j + 1}") for j in range(x.shape[1])]
    cases.append({"name": name, "y": y.tolist(), "x": x.T.tolist(), "beta": fit.params[at].tolist(),
                  "std_error": fit.bse[at].tolist(), "season_length": max(seasonal[3], 1)})


macro = sm.datasets.macrodata.load_pandas().data
# What people consume beside their income and the rate of interest, in logarithms ×100.
case("consumption", 100 * np.log(macro["realcons"]), np.column_stack([100 * np.log(macro["realdpi"]), macro["tbilrate"]]), (1, 1, 1))
case("unemployment", macro["unemp"], np.column_stack([100 * np.log(macro["realgdp"])]), (2, 1, 0))
co2 = sm.datasets.co2.load_pandas().data["co2"].resample("MS").mean().interpolate().to_numpy()[:240]
pulse = (np.arange(240) % 17 == 5).astype(float)
case("co2 with pulses", co2 + 3 * pulse, np.column_stack([pulse]), (1, 1, 1), (0, 1, 1, 12))
n = 400
e = rng.normal(size=n)
ar = np.zeros(n)
for t in range(1, n):
    ar[t] = 0.7 * ar[t - 1] + e[t]
price = 10 + np.cumsum(rng.normal(size=n)) * 0.2
promo = (rng.random(n) < 0.15).astype(float)
case("simulated, stationary", 50 - 2.5 * price + 6 * promo + ar, np.column_stack([price, promo]), (1, 0, 0))
case("simulated, walk", 50 - 2.5 * price + 6 * promo + np.cumsum(e), np.column_stack([price, promo]), (0, 1, 0))
json.dump({"made_by": f"statsmodels {statsmodels.__version__}", "cases": cases}, open("dynamic_regression.json", "w"))
for c in cases:
    print(c["name"], c["beta"], c["std_error"])
