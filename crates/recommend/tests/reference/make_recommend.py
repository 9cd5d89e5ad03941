#!/usr/bin/env python3
"""Reference values for tests/it/reference.rs, by implicit 0.7.3 (neighbours), scikit-learn 1.9.1 (elastic nets), scipy
1.17.1 (the t test) and numpy 2.4.6 (everything else, from the formulas in the modules' documentation, written as plainly
as can be).

    make_recommend.py > recommend.json
"""
import json
import implicit.nearest_neighbours as near
import numpy as np
import scipy.sparse as sp

rng = np.random.default_rng(7)
n_users, n = 40, 14
rows = []  # user, item, ds, weight
for u in range(n_users):
    length = int(rng.integers(3, 11))
    taste = rng.dirichlet(np.ones(n) * 0.3) * 0.7 + 0.3 / n
    items = rng.choice(n, size=length, replace=False, p=taste / taste.sum())
    for t, i in enumerate(items):
        rows.append((u, int(i), t, float(rng.integers(1, 4))))
X = np.zeros((n_users, n))
for u, i, _, w in rows:
    X[u, i] = w
B = (X > 0).astype(float)
out = {'rows': rows, 'n_users': n_users, 'n_items': n}

# implicit: square matrices of neighbours.
def implicit_square(model, data):
    model.fit(sp.csr_matrix(data), show_progress=False)
    s = model.similarity.toarray()
    np.fill_diagonal(s, 0)
    return s.tolist()

out['cosine'] = implicit_square(near.CosineRecommender(K=n), X)
out['bm25'] = implicit_square(near.BM25Recommender(K=n, K1=1.2, B=0.75), X)

# Jaccard and the asymmetric form, by definition.
meet = B.T @ B
count = B.sum(0)
jaccard = meet / (count[:, None] + count[None] - meet)
squares = (X**2).sum(0)
asymmetric = (X.T @ np.diag((B.sum(1)) ** -0.5) @ X) / (squares[:, None] ** 0.3 * squares[None] ** 0.6 + 2.0)
for name, s in (('jaccard', jaccard), ('asymmetric', asymmetric)):
    np.fill_diagonal(s, 0)
    out[name] = s.tolist()

# RP3beta: alpha 0.8, beta 0.3.
to_user = (X.T / X.sum(0)[:, None]) ** 0.8
to_item = (X / X.sum(1)[:, None]) ** 0.8
rp3 = to_user @ to_item / X.sum(0)[None] ** 0.3
np.fill_diagonal(rp3, 0)
out['rp3beta'] = rp3.tolist()

# User neighbours, cosine, all of them, meeting_power 0.5: scores of every user.
weighed = X / np.sqrt(B.sum(0))[None]
lengths = np.sqrt((X**2).sum(1))
alike = weighed @ X.T / np.outer(lengths, lengths)
np.fill_diagonal(alike, 0)
out['user_knn'] = (alike @ X).tolist()

# EASE^R, lambda 5.
P = np.linalg.inv(X.T @ X + 5 * np.eye(n))
E = P / -np.diag(P)[None]
np.fill_diagonal(E, 0)
out['ease'] = (X @ E).tolist()

# iALS with as many factors as items: the penalised problem is then convex in the products, so that every start ends in
# the same scores. alpha 3, lambda 2, frequency_power 0.5.
f, alpha, lam, power = 16, 3.0, 2.0, 0.5
U, V = rng.normal(size=(n_users, f)), rng.normal(size=(n, f))
def half(R, W, V):
    out = np.zeros((len(R), f))
    for r in range(len(R)):
        seen = R[r] > 0
        c = 1 + alpha * R[r] * seen
        penalty = lam * (seen.sum() + R.shape[1] / (1 + alpha)) ** power
        out[r] = np.linalg.solve((V.T * c) @ V + penalty * np.eye(f), V.T @ (c * seen))
    return out
for _ in range(3000):
    U = half(X, U, V)
    V = half(X.T, V, U)
U = half(X, U, V)
out['ials'] = (U @ V.T).tolist()

# Transitions: window 4, decay 0.8, history 3, history_decay 0.7, shrink 1, target_power 0.3, backward 0.2.
histories = [[i for v, i, _, _ in rows if v == u] for u in range(n_users)]
T = np.zeros((n, n))
for h in histories:
    for p in range(len(h)):
        for q in range(p + 1, min(len(h), p + 5)):
            T[h[p], h[q]] += 0.8 ** (q - p - 1)
            T[h[q], h[p]] += 0.2 * 0.8 ** (q - p - 1)
T = T / (T.sum(1, keepdims=True) + 1) / (np.sqrt(count) + 1)[None] ** 0.3
H = np.zeros((n_users, n))
for u, h in enumerate(histories):
    for back, i in enumerate(h[::-1][:3]):
        H[u, i] = 0.7**back
out['transitions'] = (H @ T).tolist()

# SLIT: window 4, decay 0.8, lambda 3, target_power 0.2, by writing every case down.
S, N = [], []
for h in histories:
    for t in range(len(h) - 1):
        s = np.zeros(n)
        for back in range(min(4, t + 1)):
            s[h[t - back]] += 0.8**back
        S.append(s)
        N.append(np.eye(n)[h[t + 1]])
S, N = np.array(S), np.array(N)
L = np.linalg.solve(S.T @ S + 3 * np.eye(n), S.T @ N) / (count + 1)[None] ** 0.2
H = np.zeros((n_users, n))
for u, h in enumerate(histories):
    for back, i in enumerate(h[::-1][:4]):
        H[u, i] = 0.8**back
out['slit'] = (H @ L).tolist()

# Measures of random lists at 5 and 10, by the definitions.
lists = [rng.choice(n, size=10, replace=False).tolist() for _ in range(n_users)]
held = [sorted(rng.choice(n, size=int(rng.integers(1, 8)), replace=False).tolist()) for _ in range(n_users)]
measures = {}
for k in (5, 10):
    of = {m: [] for m in ('ndcg', 'precision', 'recall', 'hit_rate', 'mrr', 'map')}
    for list_, truth in zip(lists, held):
        hit = np.array([i in truth for i in list_[:k]], float)
        disc = 1 / np.log2(np.arange(2, k + 2))
        of['ndcg'].append((hit * disc).sum() / disc[: min(k, len(truth))].sum())
        of['precision'].append(hit.sum() / k)
        of['recall'].append(hit.sum() / len(truth))
        of['hit_rate'].append(float(hit.any()))
        of['mrr'].append(1 / (1 + hit.argmax()) if hit.any() else 0.0)
        of['map'].append((hit * hit.cumsum() / np.arange(1, k + 1)).sum() / min(k, len(truth)))
    measures[k] = {m: [float(np.mean(v)), float(1.96 * np.std(v) / np.sqrt(n_users))] for m, v in of.items()}
# SLIM: an elastic net with weights not below zero for each item, l1 1.5 and l2 6.
from sklearn.linear_model import ElasticNet
l1, l2 = 1.5, 6.0
W = np.zeros((n, n))
for j in range(n):
    others = [i for i in range(n) if i != j]
    net = ElasticNet(alpha=(l1 + l2) / n_users, l1_ratio=l1 / (l1 + l2), positive=True, fit_intercept=False, tol=1e-14,
                     max_iter=100_000)
    W[others, j] = net.fit(X[:, others], X[:, j]).coef_
out['slim'] = (X @ W).tolist()

# Walks with restart 0.25, popularity_power 0.5, by solving for all of them at once.
start = X / X.sum(1, keepdims=True)
two_steps = (1 - 0.25) ** 2 * (X.T / X.sum(0)[:, None]) @ (X / X.sum(1)[:, None])
out['random_walk'] = (0.25 * start @ np.linalg.inv(np.eye(n) - two_steps) / np.sqrt(X.sum(0))[None]).tolist()

# GF-CF, one direction, alpha 0.3, popularity_power 0.4.
R = X / np.sqrt(np.outer(X.sum(1), X.sum(0)))
lead = np.linalg.svd(R)[2][:1]
D = X.sum(0)
out['graph_filter'] = (X @ (R.T @ R + 0.3 * (D[:, None] ** -0.5) * (lead.T @ lead) * D[None] ** 0.4)).tolist()

# The paired t test.
from scipy import stats
a, b = rng.normal(0.3, 0.2, 30), rng.normal(0.25, 0.2, 30)
b = 0.6 * a + 0.4 * b
told = stats.ttest_rel(a, b)
interval = told.confidence_interval(0.95)
out['paired'] = {'a': a.tolist(), 'b': b.tolist(), 'p_value': float(told.pvalue),
                 'interval': [float(interval.low), float(interval.high)]}
out['lists'], out['held'], out['measures'] = lists, held, measures
short = lambda x: float(f"{x:.9g}") if isinstance(x, float) else [short(v) for v in x] if isinstance(x, (list, tuple)) else {k: short(v) for k, v in x.items()} if isinstance(x, dict) else x
print(json.dumps(short(out)))
