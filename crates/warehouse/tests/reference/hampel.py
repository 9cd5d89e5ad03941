"""Reference values of the Hampel filter: rolling median and median absolute deviation.

pandas 2.x rolling(2 * window + 1, center=True, min_periods=1), which leaves missing values out and shortens windows at
the ends; the deviation is scaled by scipy.stats.norm.ppf(3 / 4). Writes hampel.json beside this file.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm

SCALE = 1 / norm.ppf(0.75)


def case(y, window, threshold):
    s = pd.Series(y, dtype=float)
    rolling = s.rolling(2 * window + 1, center=True, min_periods=1)
    median = rolling.median()
    deviation = SCALE * rolling.apply(lambda w: np.nanmedian(np.abs(w - np.nanmedian(w))), raw=True)
    assert not (deviation == 0).any(), "windows without spread are judged by our own rule"
    found = np.flatnonzero(((s - median).abs() > threshold * deviation).to_numpy())
    plain = lambda v: [None if np.isnan(x) else float(x) for x in v]
    return {
        "window": window,
        "threshold": threshold,
        "y": plain(s),
        "median": plain(median),
        "deviation": plain(deviation),
        "outliers": [int(i) for i in found],
    }


rng = np.random.default_rng(20241111)
walk = 100 + np.cumsum(rng.normal(0, 2, 120))
walk[[17, 60, 61, 118]] += [40, -55, 70, 35]
noise = rng.gamma(2.0, 10.0, 90)
noise[[3, 44, 89]] *= 12
gaps = rng.normal(50, 5, 100)
gaps[[10, 70]] = [150, -20]
gaps[rng.choice(100, 18, replace=False)] = np.nan
gaps[[10, 70]] = [150, -20]
short = np.array([5.0, 6.5, 5.5, 90.0, 4.0, 6.0, 5.2])
out = [case(walk, 5, 4.0), case(noise, 10, 3.0), case(gaps, 7, 6.0), case(short, 50, 3.0)]
Path(__file__).with_suffix(".json").write_text(json.dumps(out))
print("pandas", pd.__version__, "numpy", np.__version__, [len(c["outliers"]) for c in out])
