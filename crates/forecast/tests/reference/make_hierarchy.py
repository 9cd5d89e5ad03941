"""Reconciled forecasts by the textbook's dense matrices, in numpy alone: S, W and G are written out.

MinT: Wickramasuriya, Athanasopoulos & Hyndman (2019), G = (S' W^-1 S)^-1 S' W^-1; shrinkage by Schäfer & Strimmer (2005)
as in R's hts (residuals not centred). Not below zero: scipy's nnls on the whitened problem. Writes hierarchy.json.
"""
import json, sys
import numpy as np, scipy
from scipy.optimize import nnls

rng = np.random.default_rng(20240607)

def summing(bottom, aggregates):
    s = np.zeros((len(aggregates) + bottom, bottom))
    for i, m in enumerate(aggregates):
        s[i, m] = 1
    s[len(aggregates):] = np.eye(bottom)
    return s

def shrunk(e):
    t, n = e.shape
    cov = e.T @ e / t
    sd = np.sqrt(np.diag(cov))
    xs = e / sd
    v = (1 / (t * (t - 1))) * ((xs ** 2).T @ (xs ** 2) - (1 / t) * (xs.T @ xs) ** 2)
    np.fill_diagonal(v, 0)
    d = (cov / np.outer(sd, sd) - np.eye(n)) ** 2
    lam = min(max(v.sum() / d.sum(), 0), 1)
    return lam * np.diag(np.diag(cov)) + (1 - lam) * cov, lam

def gls(s, w, y):
    wi = np.linalg.inv(w)
    return np.linalg.solve(s.T @ wi @ s, s.T @ wi @ y)

def gls_nonnegative(s, w, y):
    l = np.linalg.inv(np.linalg.cholesky(w))
    return np.array([nnls(l @ s, l @ c)[0] for c in y.T]).T

def top_down(s, y, share):
    return np.outer(share, y[0])

def by_forecasts(tree, y, start):
    """tree: node -> children; start: nodes whose forecasts are shared out."""
    value = {i: y[i].copy() for i in start}
    stack = list(start)
    while stack:
        a = stack.pop()
        if a in tree:
            total = y[tree[a]].sum(0)
            for c in tree[a]:
                value[c] = value[a] * y[c] / total
                stack.append(c)
    return value

def case(name, bottom, levels, tree=None, steps=3, t=40, low=False, loose=False):
    aggregates = [m for _, nodes in levels for m in nodes]
    s = summing(bottom, aggregates)
    n = len(s)
    b = rng.gamma(1.2, 4, (bottom, steps))
    y = s @ b + rng.normal(0, 1, (n, steps)) * (np.sqrt(s.sum(1)) * (6 if low else 2))[:, None]
    common = rng.normal(0, 1, (t, 1))
    e = (rng.normal(0, 1, (t, bottom)) * rng.uniform(.5, 3, bottom) + common * rng.uniform(0, 2, bottom)) @ s.T
    e = e + rng.normal(0, .7, e.shape) * np.sqrt(s.sum(1))
    history = rng.gamma(2, 3, (t, bottom))
    w, lam = shrunk(e)
    weights = {'mint_ols': np.eye(n), 'mint_structure': np.diag(s.sum(1)), 'mint_variance': np.diag((e ** 2).mean(0)), 'mint_shrinkage': w}
    out = {'bottom_up': y[len(aggregates):]}
    out |= {k: gls(s, v, y) for k, v in weights.items()}
    whole = history.sum(1)
    out['top_down_average_proportions'] = top_down(s, y, (history / whole[:, None]).mean(0))
    out['top_down_proportions_of_averages'] = top_down(s, y, history.mean(0) / whole.mean())
    if tree:
        at = len(aggregates)
        v = by_forecasts(tree, y, [0])
        out['top_down_forecast_proportions'] = np.array([v[at + i] for i in range(bottom)])
        first = sum(len(nodes) for _, nodes in levels[:1])
        v = by_forecasts(tree, y, list(range(first, first + len(levels[1][1]))))
        out['middle_out:' + levels[1][0]] = np.array([v[at + i] for i in range(bottom)])
    held = {k: gls_nonnegative(s, v, y) for k, v in weights.items()}
    inner = s @ np.linalg.inv(s.T @ np.linalg.inv(w) @ s) @ s.T
    lists = lambda a: np.asarray(a).tolist()
    return dict(name=name, bottom=bottom, levels=[[l, lists_of(m)] for l, m in levels], base=lists(y), residuals=lists(e.T),
                history=lists(history.T), intensity=lam, bottoms={k: lists(v) for k, v in out.items()},
                nonnegative={k: lists(v) for k, v in held.items()},
                spread=lists(np.sqrt(np.diag(inner) / np.diag(w))))

def lists_of(nodes):
    return [list(map(int, m)) for m in nodes]

nested = [('total', [range(7)]), ('group', [range(0, 3), range(3, 7)]), ('part', [[0], [1, 2], [3, 4], [5, 6]])]
tree = {0: [1, 2], 1: [3, 4], 2: [5, 6], 3: [7], 4: [8, 9], 5: [10, 11], 6: [12, 13]}
crossed = [('total', [range(12)]), ('row', [range(4 * i, 4 * i + 4) for i in range(3)]), ('column', [range(j, 12, 4) for j in range(4)]),
           ('odd', [[0, 5, 7, 10], [1, 2, 3, 11]])]
cases = [case('nested', 7, nested, tree), case('nested and often below zero', 7, nested, None, steps=8, low=True),
         case('crossed', 12, crossed), case('crossed and often below zero', 12, crossed, None, steps=8, low=True),
         case('fewer steps than nodes', 12, crossed, None, t=8)]
with open('hierarchy.json', 'w') as f:
    json.dump(dict(library=f'numpy {np.__version__}, scipy {scipy.__version__}', made_by='make_hierarchy.py', hierarchies=cases), f)
for c in cases:
    print(c['name'], c['intensity'], {k: int((np.array(v) < 0).sum()) for k, v in c['bottoms'].items()}, file=sys.stderr)
