"""Makes prepare.json: small data and what scikit-learn makes of it; the version is written into the file. Run it here:
    python prepare.py
"""
import json
import numpy as np, sklearn
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.preprocessing import OneHotEncoder, PowerTransformer, TargetEncoder

g = np.random.default_rng(5)
n = 40
x = np.round(np.column_stack([g.gamma(1, 4, n), g.normal(3, 2, n), -g.exponential(2, n)]), 4)
holes = x.copy()
holes[g.uniform(size=x.shape) < 0.2] = np.nan
out = {'versions': {'sklearn': sklearn.__version__}, 'x': x.tolist(),
       'holes': [[None if np.isnan(v) else v for v in r] for r in holes]}
for s, name in (('mean', 'mean'), ('median', 'median'), ('most_frequent', 'mode')):
    out[name] = SimpleImputer(strategy=s).fit_transform(np.round(holes)).tolist()
out['nearest'] = KNNImputer(n_neighbors=3).fit_transform(holes).tolist()
p = PowerTransformer(method='yeo-johnson', standardize=True).fit(x)
out['lambdas'], out['power'] = p.lambdas_.tolist(), p.transform(x).tolist()
words = g.choice(['tea', 'rice', 'oil', 'silk'], n, p=[0.5, 0.3, 0.15, 0.05])
out['words'] = words.tolist()
out['one_hot'] = OneHotEncoder(sparse_output=False).fit_transform(words[:, None]).tolist()
y = np.round(g.normal(size=n) + (words == 'tea'), 3)
c = g.integers(0, 3, n)
out['y'], out['c'] = y.tolist(), c.tolist()
out['target'] = TargetEncoder(smooth=4.0, target_type='continuous').fit(words[:, None], y).transform(words[:, None]).ravel().tolist()
out['target_binary'] = TargetEncoder(smooth=4.0, target_type='binary').fit(words[:, None], (c > 0)).transform(words[:, None]).ravel().tolist()
out['target_classes'] = TargetEncoder(smooth=4.0, target_type='multiclass').fit(words[:, None], c).transform(words[:, None]).tolist()
json.dump(out, open('prepare.json', 'w'))
