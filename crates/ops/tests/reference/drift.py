"""Makes drift.json: small samples and how far apart scipy says they lie.

The versions are written into the file. Run it here:
    python drift.py
"""
import json
import numpy as np, scipy
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency, ks_2samp, wasserstein_distance

g = np.random.default_rng(7)
out = {'versions': {'scipy': scipy.__version__, 'numpy': np.__version__}, 'numbers': [], 'counts': []}
pairs = [(g.normal(size=80), g.normal(0.3, 1.2, 120)), (g.lognormal(size=60), g.lognormal(size=60)),
         (g.poisson(3, 150).astype(float), g.poisson(4, 90).astype(float)), (g.normal(size=70), g.normal(4, 1, 50)),
         (np.repeat(2.0, 30), g.normal(2, 0.1, 40))]
for a, b in pairs:
    a, b = np.round(a, 6), np.round(b, 6)
    ks = ks_2samp(a, b, method='exact')
    out['numbers'].append({'a': a.tolist(), 'b': b.tolist(), 'ks': float(ks.statistic), 'ks_p': float(ks.pvalue),
                           'wasserstein': float(wasserstein_distance(a, b))})
for a, b in [([120, 80, 40, 60], [90, 95, 30, 70]), ([500, 300, 200], [5, 3, 2]), ([10, 0, 30, 5], [8, 4, 25, 0]),
             ([1000, 1000], [1010, 990]), (g.multinomial(5000, np.ones(12) / 12).tolist(), g.multinomial(700, np.ones(12) / 12).tolist())]:
    a, b = np.array(a), np.array(b)
    p, q = a / a.sum(), b / b.sum()
    chi = chi2_contingency(np.array([a, b]), correction=False)
    half = 0.5 if (a == 0).any() or (b == 0).any() else 0.0
    p2, q2 = (a + half) / (a + half).sum(), (b + half) / (b + half).sum()
    out['counts'].append({'a': a.tolist(), 'b': b.tolist(), 'psi': float(((q2 - p2) * np.log(q2 / p2)).sum()),
                          'jensen_shannon': float(jensenshannon(p, q, base=2)), 'chi_square': float(chi.statistic),
                          'chi_square_p': float(chi.pvalue)})
json.dump(out, open('drift.json', 'w'))
