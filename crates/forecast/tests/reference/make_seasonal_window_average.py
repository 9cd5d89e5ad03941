"""Writes seasonal_window_average.json. Run in this folder:

    python make_seasonal_window_average.py

Library: statsforecast's SeasonalWindowAverage on series from formulas with seeded noise.
"""
import json

import numpy as np
import statsforecast
from statsforecast.models import SeasonalWindowAverage

cases = []
for name, m, window, n, seed in [("days of the week", 7, 3, 60, 1), ("months", 12, 2, 50, 2), ("one season back", 4, 1, 21, 3)]:
    r = np.random.default_rng(seed)
    y = np.round(40 + 10 * np.sin(2 * np.pi * np.arange(n) / m) + r.normal(0, 3, n), 1)
    mean = SeasonalWindowAverage(season_length=m, window_size=window).forecast(y=y, h=2 * m + 3)["mean"]
    cases.append({"name": name, "params": {"season_length": m, "window_seasons": window}, "freq": "1", "y": y.tolist(),
                  "mean": [float(v) for v in mean], "rtol": 1e-6})
doc = {"model": "seasonal_window_average", "library": f"statsforecast {statsforecast.__version__}",
       "made_by": "make_seasonal_window_average.py", "cases": cases}
with open("seasonal_window_average.json", "w") as f:
    json.dump(doc, f, indent=1)
