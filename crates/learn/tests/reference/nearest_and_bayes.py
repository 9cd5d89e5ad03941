"""Makes nearest_and_bayes.json: naive Bayes and nearest neighbours of scikit-learn on small data.

Made with scikit-learn; the version is written into the file. Run it here:
    python nearest_and_bayes.py
"""
import json, os
import numpy as np, sklearn
from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

g = np.random.default_rng(3)
n, p = 80, 4
label = g.integers(0, 3, n)
counts = g.poisson(1 + 2 * (label[:, None] == np.arange(p))).astype(float)
measures = np.round(g.normal(size=(n, p)) * [1, 2, 0.5, 1] + label[:, None] + [0, 100, 0, 0], 4)
y = np.round(measures[:, 0] ** 2 + g.normal(size=n), 4)
w = np.round(g.uniform(0.2, 2, n), 3)
out = {'versions': {'sklearn': sklearn.__version__}, 'label': label.tolist(), 'counts': counts.tolist(),
       'measures': measures.tolist(), 'y': y.tolist(), 'w': w.tolist(), 'bayes': [], 'nearest': []}


def bayes(form, params, columns, model):
    x = out[columns]
    m = model.fit(x, label, sample_weight=w)
    out['bayes'].append({'form': {form: params}, 'columns': columns,
                         'joint': m.predict_joint_log_proba(x[:9]).tolist(), 'proba': m.predict_proba(x[:9]).tolist()})


bayes('gaussian', {}, 'measures', GaussianNB())
bayes('gaussian', {'var_smoothing': 0.01, 'fit_prior': False}, 'measures', GaussianNB(var_smoothing=0.01, priors=[1 / 3] * 3))
bayes('multinomial', {}, 'counts', MultinomialNB())
bayes('multinomial', {'alpha': 0.2, 'fit_prior': False}, 'counts', MultinomialNB(alpha=0.2, fit_prior=False))
bayes('complement', {}, 'counts', ComplementNB())
bayes('complement', {'alpha': 0.5, 'norm': True}, 'counts', ComplementNB(alpha=0.5, norm=True))
bayes('bernoulli', {'threshold': 1.0, 'alpha': 0.5}, 'counts', BernoulliNB(binarize=1.0, alpha=0.5))

new = np.round(measures[:10] + 0.01 * g.normal(size=(10, p)), 4)
new[3] = measures[5]
out['new'] = new.tolist()
wide, wide_new = np.tile(measures, 5), np.tile(new, 5)
for metric in ('euclidean', 'manhattan', 'cosine'):
    for voice in ('uniform', 'distance'):
        for tiles, x, q in ((1, measures, new), (5, wide, wide_new)):
            o = dict(n_neighbors=4, weights=voice, metric=metric, algorithm='brute')
            c, r = KNeighborsClassifier(**o).fit(x, label), KNeighborsRegressor(**o).fit(x, y)
            d, i = c.kneighbors(q)
            out['nearest'].append({'params': {'k': 4, 'voice': voice, 'metric': metric}, 'tiles': tiles,
                                   'proba': np.round(c.predict_proba(q), 9).tolist(), 'numbers': np.round(r.predict(q), 9).tolist(),
                                   'rows': i.tolist(), 'distance': np.round(d, 9).tolist()})

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'nearest_and_bayes.json'), 'w') as f:
    json.dump(out, f, separators=(',', ':'))
