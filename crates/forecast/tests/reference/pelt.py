"""Change points of made-up series by ruptures, for tests/it/trend.rs.

    python pelt.py > pelt.json        (numpy 2.4, ruptures 1.1.10)

Each case: values, min_size, penalty, and the starts of the segments after the first one.
"""
import json
import numpy as np
import ruptures as rpt

rng = np.random.default_rng(11)
cases = []
for n, changes in [(60, [20, 44]), (120, [50]), (200, [30, 90, 95, 160]), (80, []), (150, [75, 110])]:
    level = np.zeros(n)
    for c in changes:
        level[c:] += rng.normal(0, 3)
    x = np.round(level + rng.normal(0, 1, n), 3)
    for min_size, penalty in [(2, 4.0), (4, 12.0), (7, 30.0)]:
        found = rpt.Pelt(model="l2", min_size=min_size, jump=1).fit(x).predict(pen=penalty)
        cases.append({"x": x.tolist(), "min_size": min_size, "penalty": penalty, "starts": found[:-1]})
print(json.dumps(cases))
