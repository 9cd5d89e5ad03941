"""Makes linear_models.json: small data and what other implementations learn from them.

Made with scikit-learn 1.x, statsmodels and scipy; the versions are written into the file. Run it here:
    python linear_models.py
"""
import json, os
import numpy as np, scipy, sklearn, statsmodels, statsmodels.api as sm
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize_scalar
from sklearn.calibration import _SigmoidCalibration
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import (ElasticNet, HuberRegressor, Lasso, LogisticRegression, QuantileRegressor, Ridge)
from sklearn.preprocessing import PolynomialFeatures

g = np.random.default_rng(7)
n = 120
a = g.normal(size=n)
x = np.column_stack([a, g.exponential(5, n), g.poisson(2, n).astype(float), 100 + 0.9 * a + 0.3 * g.normal(size=n)])
w = np.round(g.uniform(0.2, 3, n), 3)
x = np.round(x, 6)
y = np.round(1.5 + 2 * x[:, 0] - 0.3 * x[:, 1] + 0.8 * x[:, 2] + 0.1 * x[:, 3] + g.standard_t(2.5, n), 6)
score = np.column_stack([0.8 * a, 0.2 * x[:, 1] - 1, 0.4 * x[:, 2] - 0.5 * a]) + g.gumbel(size=(n, 3))
multi = score.argmax(1)
binary = (a + 0.1 * x[:, 1] + g.logistic(size=n) > 0.5).astype(int)
out = {'versions': {'sklearn': sklearn.__version__, 'statsmodels': statsmodels.__version__, 'scipy': scipy.__version__},
       'x': x.tolist(), 'y': y.tolist(), 'w': w.tolist(), 'multi': multi.tolist(), 'binary': binary.tolist()}

fit = sm.WLS(y, sm.add_constant(x), weights=w).fit()
out['ols'] = {'coef': fit.params.tolist(), 'std_error': fit.bse.tolist(), 't': fit.tvalues.tolist(),
              'p': fit.pvalues.tolist(), 'r_squared': fit.rsquared}


def line(m):
    return {'coef': np.ravel(m.coef_).tolist(), 'intercept': float(np.ravel(m.intercept_)[0])}


out['ridge'] = line(Ridge(alpha=2.5, solver='svd').fit(x, y, sample_weight=w))
out['quantile'] = {str(q): line(QuantileRegressor(quantile=q, alpha=0, solver='highs').fit(x, y, sample_weight=w))
                   for q in (0.1, 0.5, 0.9)}
# Uncentred, the reference's search stops early; centring changes neither loss nor penalty.
h = HuberRegressor(epsilon=1.35, alpha=1e-4, max_iter=100000, tol=1e-10).fit(x - x.mean(0), y - 15, sample_weight=w)
out['huber'] = line(h) | {'scale': float(h.scale_)}
out['lasso'] = line(Lasso(alpha=0.3, tol=1e-14, max_iter=1000000).fit(x, y, sample_weight=w))
out['elastic_net'] = line(ElasticNet(alpha=0.5, l1_ratio=0.4, tol=1e-14, max_iter=1000000).fit(x, y, sample_weight=w))


def logistic(label, c):
    # Centring changes neither loss nor penalty and lets the reference reach its digits.
    m = x.mean(0)
    s = LogisticRegression(C=c, solver='newton-cg', tol=1e-12, max_iter=100000).fit(x - m, label, sample_weight=w)
    return {'coef': s.coef_.tolist(), 'intercept': (s.intercept_ - s.coef_ @ m).tolist(),
            'proba': s.predict_proba(x - m)[:5].tolist()}


out['logistic_binary'] = logistic(binary, 0.5)
out['logistic_multi'] = logistic(multi, 2.0)
free = logistic(multi, np.inf)
for key in ('coef', 'intercept'):
    free[key] = (np.array(free[key]) - np.array(free[key]).mean(0)).tolist()
out['logistic_free'] = free
out['polynomial'] = PolynomialFeatures(3, include_bias=False).fit_transform(x[:3, :3]).tolist()

s = np.round(np.array(out['x'])[:, 0], 1)
iso = IsotonicRegression(out_of_bounds='clip').fit(s, binary, sample_weight=w)
grid = np.linspace(-3, 3, 25)
out['isotonic'] = {'score': s.tolist(), 'grid': grid.tolist(), 'value': iso.predict(grid).tolist()}
pl = _SigmoidCalibration().fit(s, binary)
out['platt'] = {'a': float(pl.a_), 'b': float(pl.b_)}
p = np.exp(2.2 * score - 2.2 * score.max(1, keepdims=True) + 0.5 * g.normal(size=score.shape))
p = np.maximum(p / p.sum(1, keepdims=True), 1e-9)
p /= p.sum(1, keepdims=True)
label = np.array([g.choice(3, p=np.exp(r) / np.exp(r).sum()) for r in score])


def loss(t):
    z = np.log(p) / t
    return -(z[np.arange(n), label] - np.log(np.exp(z).sum(1))).mean()


out['temperature'] = {'proba': p.tolist(), 'label': label.tolist(),
                      'value': float(minimize_scalar(loss, bounds=(0.05, 20), method='bounded', options={'xatol': 1e-10}).x)}

# A natural cubic spline through random heights at the knots, prolonged straight: it lies in the span of our basis.
sx = np.sort(g.gamma(2, 10, 200))
knots = np.quantile(sx, np.linspace(0.05, 0.95, 5))
cs = CubicSpline(knots, g.normal(size=5), bc_type='natural')


def straight(v):
    inside = np.clip(v, knots[0], knots[-1])
    return cs(inside) + cs(inside, 1) * (v - inside)


far = np.array([-500.0, -3.0, 200.0, 5000.0])
out['spline'] = {'x': sx.tolist(), 'y': straight(sx).tolist(), 'knots': knots.tolist(), 'far': far.tolist(),
                 'far_y': straight(far).tolist()}
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'linear_models.json')
json.dump(out, open(path, 'w'), separators=(',', ':'))
print(out['versions'])
