"""Makes linear_family.json: small data and what scikit-learn and statsmodels learn from them.

The versions are written into the file. Run it here:
    python linear_family.py
"""
import json, os, warnings
import numpy as np, sklearn, statsmodels, statsmodels.api as sm
from scipy.optimize import minimize
from sklearn.linear_model import (LassoCV, LogisticRegression, PoissonRegressor, RidgeCV, TweedieRegressor, enet_path)
from sklearn.model_selection import KFold
warnings.filterwarnings('ignore')

g = np.random.default_rng(11)
n = 150
a = g.normal(size=n)
x = np.round(np.column_stack([a, g.exponential(2, n), 50 + 0.8 * a + 0.6 * g.normal(size=n), g.normal(size=n)]), 6)
w = np.round(g.uniform(0.3, 2.5, n), 3)
eta = 0.3 + 0.4 * x[:, 0] - 0.15 * x[:, 1] + 0.05 * (x[:, 2] - 50)
offset = np.round(g.uniform(-0.5, 0.5, n), 3)
counts = g.poisson(np.exp(eta + offset)).astype(float)
amounts = np.round(g.gamma(2.0, np.exp(eta + offset) / 2.0), 6) + 1e-3
mixed = np.array([round(float(g.gamma(1.5, 1.0, k).sum()), 6) for k in g.poisson(np.exp(eta + offset)).astype(int)])
y = np.round(2 + 1.5 * x[:, 0] - 0.4 * x[:, 1] + g.normal(size=n), 6)
binary = (a + 0.2 * x[:, 1] + 1.2 * g.logistic(size=n) > 1.2).astype(int)
multi = (np.column_stack([a, 0.5 * x[:, 1] - 1, -0.5 * a]) + g.gumbel(size=(n, 3))).argmax(1)
out = {'versions': {'sklearn': sklearn.__version__, 'statsmodels': statsmodels.__version__},
       'x': x.tolist(), 'w': w.tolist(), 'offset': offset.tolist(), 'counts': counts.tolist(), 'amounts': amounts.tolist(),
       'mixed': mixed.tolist(), 'y': y.tolist(), 'binary': binary.tolist(), 'multi': multi.tolist()}
X = sm.add_constant(x)


def glm(target, family):
    f = sm.GLM(target, X, family=family, offset=offset, var_weights=w).fit(tol=1e-14, maxiter=300)
    return {'coef': f.params.tolist(), 'std_error': f.bse.tolist(), 'p': f.pvalues.tolist(), 'deviance': float(f.deviance),
            'null_deviance': float(f.null_deviance), 'scale': float(f.scale)}


log = sm.families.links.Log()
out['poisson'] = glm(counts, sm.families.Poisson(log))
out['gamma'] = glm(amounts, sm.families.Gamma(log))
out['tweedie'] = glm(mixed, sm.families.Tweedie(log, var_power=1.6))
m = x.mean(0)


def line(s):
    return {'coef': np.ravel(s.coef_).tolist(), 'intercept': float(np.ravel(s.intercept_)[0] - np.ravel(s.coef_) @ m)}


out['poisson_l2'] = line(PoissonRegressor(alpha=0.3, tol=1e-12, max_iter=100000).fit(x - m, counts, sample_weight=w))
out['tweedie_l2'] = line(TweedieRegressor(power=1.6, alpha=0.3, link='log', tol=1e-12, max_iter=100000)
                         .fit(x - m, mixed, sample_weight=w))
f = sm.Logit(binary, X).fit(disp=0, tol=1e-14, maxiter=200)
out['logit'] = {'coef': f.params.tolist(), 'std_error': f.bse.tolist(), 'p': f.pvalues.tolist()}
# statsmodels holds class 0 at zero; ours sum to zero over the classes. C carries one over to the other.
f = sm.MNLogit(multi, X).fit(disp=0, tol=1e-14, maxiter=200, method='newton')
k, d = 3, X.shape[1]
C = np.kron(np.vstack([np.zeros(k - 1), np.eye(k - 1)]) - 1.0 / k, np.eye(d))
out['mnlogit'] = {'coef': (C @ f.params.T.ravel()).tolist(),
                  'std_error': np.sqrt(np.diag(C @ np.asarray(f.cov_params()) @ C.T)).tolist()}


def saga(label, c, l1_ratio, weight=None):
    # The intercept of saga takes part in its steps only, so centred and scaled columns serve, with the penalty as is.
    s = LogisticRegression(C=c, solver='saga', l1_ratio=l1_ratio, penalty='elasticnet', tol=1e-13, max_iter=1000000,
                           class_weight=weight).fit(x - m, label)
    b = s.intercept_ - s.coef_ @ m
    if len(b) > 1:
        c0 = s.intercept_ - s.intercept_.mean()
        b = c0 - s.coef_ @ m
    return {'coef': s.coef_.tolist(), 'intercept': b.tolist()}


out['l1_binary'] = saga(binary, 0.1, 1.0)
out['l1_multi'] = saga(multi, 0.2, 1.0)
out['elastic_binary'] = saga(binary, 0.2, 0.5)
out['elastic_multi'] = saga(multi, 0.2, 0.5)
s = LogisticRegression(C=1.0, class_weight='balanced', solver='newton-cg', tol=1e-12, max_iter=100000).fit(x - m, binary)
out['balanced'] = line(s)
alphas = [10.0 ** e for e in range(-3, 5)]
xc, yc = x - m, y - y.mean()
r = RidgeCV(alphas=alphas, store_cv_results=True).fit(x, y)
out['ridge_cv'] = {'alphas': alphas, 'alpha': float(r.alpha_), 'coef': r.coef_.tolist(),
                   'errors': r.cv_results_.reshape(n, -1).mean(0).tolist()}
grid, coefs, _ = enet_path(xc, yc, l1_ratio=1.0, n_alphas=12, tol=1e-14, max_iter=1000000)
out['lasso_path'] = {'alphas': grid.tolist(), 'coef': coefs.T.tolist()}
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'linear_family.json')
json.dump(out, open(path, 'w'), separators=(',', ':'))
print(out['versions'], os.path.getsize(path))
