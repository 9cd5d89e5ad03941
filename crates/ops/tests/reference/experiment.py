"""Makes experiment.json: small experiments and what scipy and statsmodels say of them.

The versions are written into the file. Run it here:
    python experiment.py
"""
import json, warnings
import numpy as np, scipy, statsmodels
from scipy.stats import chisquare, ttest_ind
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import confint_proportions_2indep, power_proportions_2indep, proportions_ztest
import statsmodels.api as sm
warnings.filterwarnings('ignore')

g = np.random.default_rng(5)
out = {'versions': {'scipy': scipy.__version__, 'statsmodels': statsmodels.__version__, 'numpy': np.__version__}}
out['welch'] = []
for n, m, shift in [(40, 60, 0.3), (15, 200, 0.0), (100, 100, 1.0)]:
    a, b = np.round(g.normal(5, 1, n), 6), np.round(g.normal(5 + shift, 2, m), 6)
    t = ttest_ind(b, a, equal_var=False)
    ci = t.confidence_interval(0.95)
    out['welch'].append({'control': a.tolist(), 'arm': b.tolist(), 't': float(t.statistic), 'p': float(t.pvalue),
                         'low': float(ci.low), 'high': float(ci.high)})
out['proportions'] = []
for x, n, y, m in [(40, 1000, 61, 1010), (500, 5000, 510, 4900), (0, 50, 5, 60), (300, 400, 250, 400)]:
    z, p = proportions_ztest([y, x], [m, n])
    low, high = confint_proportions_2indep(y, m, x, n, method='newcomb', compare='diff')
    out['proportions'].append({'x': x, 'n': n, 'y': y, 'm': m, 'z': float(z), 'p': float(p), 'low': float(low), 'high': float(high)})
out['ratio'] = []
for n, lift in [(300, 1.0), (500, 1.15)]:
    shown = g.poisson(6, n) + 1
    clicks = g.binomial(shown, 0.12)
    shown2 = g.poisson(6, n) + 1
    clicks2 = g.binomial(shown2, 0.12 * lift)
    # The delta method is the sandwich of the ratio's estimating equation, clustered by user.
    def ratio(c, s):
        r = c.sum() / s.sum()
        e = c - r * s
        return r, e.var(ddof=1) / len(c) / s.mean() ** 2
    (r1, v1), (r2, v2) = ratio(clicks, shown), ratio(clicks2, shown2)
    # The same by weighted least squares of the rate on the arm with heteroscedastic errors (HC0 times n/(n−1) by arm).
    y = np.concatenate([clicks / shown, clicks2 / shown2]); w = np.concatenate([shown, shown2]).astype(float)
    x = sm.add_constant(np.repeat([0.0, 1.0], n))
    fit = sm.WLS(y, x, weights=w).fit(cov_type='HC0')
    assert abs(fit.bse[1] * np.sqrt(n / (n - 1)) - np.sqrt(v1 + v2)) < 1e-12, (fit.bse[1], np.sqrt(v1 + v2))
    out['ratio'].append({'clicks': clicks.tolist(), 'shown': shown.tolist(), 'clicks2': clicks2.tolist(), 'shown2': shown2.tolist(),
                         'difference': float(fit.params[1]), 'error': float(fit.bse[1] * np.sqrt(n / (n - 1)))})
x1 = np.round(g.gamma(2, 10, 400), 5); y1 = np.round(0.8 * x1 + g.normal(5, 6, 400), 5)
x2 = np.round(g.gamma(2, 10, 380), 5); y2 = np.round(0.8 * x2 + g.normal(6.5, 6, 380), 5)
arm = np.repeat([0.0, 1.0], [400, 380])
fit = sm.OLS(np.concatenate([y1, y2]), np.column_stack([np.ones(780), arm, np.concatenate([x1, x2])])).fit()
out['cuped'] = {'x1': x1.tolist(), 'y1': y1.tolist(), 'x2': x2.tolist(), 'y2': y2.tolist(), 'ancova': float(fit.params[1]),
                'theta': float(fit.params[2])}
out['srm'] = []
for counts, w in [([5000, 5200], [1, 1]), ([900, 2000, 7100], [1, 2, 7])]:
    e = np.array(w) / sum(w) * sum(counts)
    c = chisquare(counts, e)
    out['srm'].append({'counts': counts, 'weights': w, 'statistic': float(c.statistic), 'p': float(c.pvalue)})
out['power_mean'] = [{'effect': d, 'n': n, 'ratio': r, 'power': float(NormalIndPower().power(d, n, 0.05, ratio=r))}
                     for d, n, r in [(0.1, 1000, 1.0), (0.02, 5000, 2.0), (0.5, 30, 0.5)]]
out['power_share'] = [{'base': p, 'diff': d, 'n': n, 'power': float(power_proportions_2indep(d, p, n, ratio=1, alpha=0.05, return_results=False))}
                      for p, d, n in [(0.04, 0.004, 20000), (0.3, 0.05, 500), (0.5, -0.03, 3000)]]
json.dump(out, open('experiment.json', 'w'))
