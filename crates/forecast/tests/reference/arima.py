"""Writes arima.json, arima_likelihood.json and auto_arima_orders.json. Run in this folder:

    python arima.py

Libraries: statsmodels' SARIMAX (exact diffuse start; differences taken before for the likelihood) and statsforecast's
AutoARIMA, on classical series that come with them.
"""
import json
import warnings

import numpy as np
import statsforecast
import statsmodels
import statsmodels.api as sm
from statsforecast.models import AutoARIMA
from statsforecast.utils import AirPassengers

warnings.filterwarnings("ignore")
air = np.log(np.asarray(AirPassengers, float))
nile = np.asarray(sm.datasets.nile.load_pandas().data["volume"], float)
gdp = np.log(np.asarray(sm.datasets.macrodata.load_pandas().data["realgdp"], float)) * 100
rate = np.asarray(sm.datasets.macrodata.load_pandas().data["unemp"], float)
sunspots = np.sqrt(np.asarray(sm.datasets.sunspots.load_pandas().data["SUNACTIVITY"], float))
air_gaps = air.copy()
air_gaps[[20, 21, 22, 57, 100]] = np.nan
nile_gaps = nile.copy()
nile_gaps[[3, 30, 31, 70]] = np.nan


def params(order, seasonal, constant):
    p, d, q = order
    P, D, Q, m = seasonal
    return {"p": p, "d": d, "q": q, "seasonal_p": P, "seasonal_d": D, "seasonal_q": Q,
            "season_length": max(m, 1), "constant": "yes" if constant else "no"}


def fit(y, order, seasonal, constant, simple):
    # A constant of the differenced series: with one difference a trend of first degree.
    d = order[1] + seasonal[1]
    trend = "c" if constant and (simple or d == 0) else "t" if constant else "n"
    if constant and not simple and d == 1:
        trend = [0, 1]
    model = sm.tsa.SARIMAX(y, order=order, seasonal_order=seasonal, trend="n", exog=column(y, order, seasonal, constant),
                           simple_differencing=simple, use_exact_diffuse=not simple, mle_regression=True)
    start = model.fit(disp=0, method="lbfgs", maxiter=1000)
    return model.fit(start.params, disp=0, method="nm", maxiter=20000, xtol=1e-10, ftol=1e-13), model


def column(y, order, seasonal, constant, future=0):
    if not constant:
        return None
    n = np.arange(len(y) + future, dtype=float)
    x = np.ones(len(n)) if order[1] + seasonal[1] == 0 else n / (seasonal[3] if seasonal[1] else 1)
    return (x if not future else x[len(y):]).reshape(-1, 1)


none = (0, 0, 0, 0)
plan = [("airline", air, (0, 1, 1), (0, 1, 1, 12), False), ("seasonal autoregression", air, (2, 1, 0), (1, 1, 0, 12), False),
        ("level of the Nile", nile, (0, 1, 1), none, False), ("mean of the Nile", nile, (1, 0, 1), none, True),
        ("drift of output", gdp, (1, 1, 0), none, True), ("sunspots", sunspots, (3, 0, 1), none, True),
        ("quarters with drift", gdp, (2, 0, 0), (1, 1, 0, 4), True),
        ("airline with gaps", air_gaps, (0, 1, 1), (0, 1, 1, 12), False), ("Nile with gaps", nile_gaps, (1, 0, 0), none, True)]
cases, likelihoods = [], []
for name, y, order, seasonal, constant in plan:
    gaps = bool(np.isnan(y).any())
    known = np.sum(~np.isnan(y)) - order[1] - seasonal[1] * seasonal[3]
    found, _ = fit(y, order, seasonal, constant, False)
    ahead = found.get_forecast(14, exog=column(y, order, seasonal, constant, 14))
    k = order[0] + order[2] + seasonal[0] + seasonal[2] + int(constant)
    series = [None if np.isnan(v) else float(v) for v in y]
    cases.append({"name": name, "params": params(order, seasonal, constant), "freq": "1", "y": series,
                  "mean": [float(v) for v in ahead.predicted_mean],
                  "sd": [float(v) for v in ahead.se_mean * np.sqrt(known / (known - k))],
                  "rtol": 2e-5 if not gaps else 1e-4, "rtol_sd": 2e-3,
                  "why": "two searches stop at points a little apart; the state's variance at the end is that of the infinite past here"})
    # With gaps the differences must be made inside the model.
    whole = found if gaps else fit(y, order, seasonal, constant, True)[0]
    value = float(whole.llf)
    if gaps:
        # An exact diffuse start counts the constant of the normal density for the observations that start it too.
        value += 0.5 * np.log(2 * np.pi) * (order[1] + seasonal[1] * seasonal[3])
    likelihoods.append({"name": name, "params": params(order, seasonal, constant), "y": series, "log_likelihood": value})
    print(name, found.params, whole.llf)
made = {"library": f"statsmodels {statsmodels.__version__}", "made_by": "arima.py"}
with open("arima.json", "w") as f:
    json.dump({"model": "arima", **made, "cases": cases}, f, indent=1)
with open("arima_likelihood.json", "w") as f:
    json.dump({**made, "likelihoods": likelihoods}, f, indent=1)

orders = []
for name, y, m in [("air", air, 12), ("nile", nile, 1), ("gdp", gdp, 1), ("sunspots", sunspots, 1), ("unemployment", rate, 4)]:
    model = AutoARIMA(season_length=m, approximation=False).fit(y).model_
    p, q, P, Q, m_, d, D = model["arma"]
    orders.append({"name": name, "season_length": m, "y": y.tolist(), "order": [p, d, q], "seasonal": [P, D, Q], "aicc": float(model["aicc"])})
    print(name, orders[-1]["order"], orders[-1]["seasonal"], model["aicc"])
with open("auto_arima_orders.json", "w") as f:
    json.dump({"library": f"statsforecast {statsforecast.__version__}", "made_by": "arima.py", "orders": orders}, f, indent=1)
