"""Reference values for tests/it/clusters.rs, made with scikit-learn 1.9.1, scipy 1.17.1 and numpy 2.4.6.
Run: python clusters.py > clusters.json"""
import json, numpy as np
from scipy.cluster import hierarchy
from sklearn import metrics, mixture
from sklearn.cluster import DBSCAN, HDBSCAN, KMeans, kmeans_plusplus
from sklearn.decomposition import PCA, TruncatedSVD

g = np.random.default_rng(7)
r = lambda a: np.round(np.asarray(a, dtype=float), 12).tolist()

def named(labels):
    """Clusters numbered in the order of the rows; -1 stays."""
    names = {}
    return [-1 if l < 0 else names.setdefault(int(l), len(names)) for l in labels]

centers = np.array([[0, 0, 0], [4, 1, -2], [-3, 4, 1], [1, -4, 3]])
x = np.round(np.vstack([c + s * g.standard_normal((m, 3)) for c, s, m in zip(centers, (.8, 1.2, .6, 1.5), (50, 40, 40, 30))]), 4)
x = x[g.permutation(len(x))]
w = np.round(g.uniform(.2, 3, len(x)), 3)
out = {'x': x.tolist(), 'w': w.tolist(), 'versions': 'scikit-learn 1.9.1, scipy 1.17.1, numpy 2.4.6'}

# k-means from given starts, plain and weighted; a start far away makes an empty cluster.
starts = x[:5]
far = np.vstack([x[:4], [[500.0, 500.0, 500.0]]])
out['kmeans'] = {}
for name, s, weight in (('plain', starts, None), ('weighted', starts, w), ('empty', far, None)):
    m = KMeans(5, init=s, n_init=1, algorithm='lloyd', tol=1e-4).fit(x, sample_weight=weight)
    out['kmeans'][name] = {'starts': s.tolist(), 'centers': r(m.cluster_centers_), 'inertia': float(m.inertia_), 'n_iter': int(m.n_iter_)}

few = x[:40]
out['linkage'] = {}
for method in ('ward', 'average', 'complete', 'single'):
    z = hierarchy.linkage(few, method)
    d = hierarchy.dendrogram(z, no_plot=True)
    height = float(z[-6, 2] + 1e-9)
    out['linkage'][method] = {
        'z': r(z), 'height': height, 'by_height': named(hierarchy.fcluster(z, height, 'distance')),
        'by_number': named(hierarchy.fcluster(z, 5, 'maxclust')), 'leaves': d['leaves'],
        'bars': sorted([round((a[1] + a[2]) / 2, 6), round(h[1], 9)] for a, h in zip(d['icoord'], d['dcoord']))}

m = DBSCAN(eps=1.1, min_samples=6).fit(x)
out['dbscan'] = {'labels': m.labels_.tolist(), 'core': m.core_sample_indices_.tolist()}
m = DBSCAN(eps=1.0, min_samples=6).fit(x, sample_weight=w)
out['dbscan_weighted'] = {'labels': m.labels_.tolist(), 'core': m.core_sample_indices_.tolist()}

# Edges of equal length (there are many, as a row's core distance is the length of several) may be merged in any order,
# which can decide whether a row on the brink is in a small cluster or in none: scikit-learn's own answer for it depends
# on the order of the rows. `settled` are the rows whose answer is the same in 40 orders.
out['hdbscan'] = []
for size, samples, method in ((5, None, 'eom'), (10, 4, 'eom'), (5, 3, 'leaf'), (8, 8, 'leaf')):
    seen = []
    for t in range(40):
        p = g.permutation(len(x)) if t else np.arange(len(x))
        m = HDBSCAN(min_cluster_size=size, min_samples=samples, cluster_selection_method=method, algorithm='brute', copy=True).fit(x[p])
        prob = np.empty(len(x)); prob[p] = m.probabilities_
        seen.append((prob, m))
    settled = np.flatnonzero(np.ptp([s[0] for s in seen], axis=0) < 1e-9)
    m = seen[0][1]
    out['hdbscan'].append({'min_cluster_rows': size, 'min_rows': samples, 'choice': {'eom': 'mass', 'leaf': 'leaf'}[method], 'settled': settled.tolist(),
                           'labels': named(m.labels_[settled]), 'probability': r(m.probabilities_[settled])})

label = KMeans(4, init=x[[0, 3, 5, 9]], n_init=1).fit(x).labels_
out['mixture'] = {'label': label.tolist()}
for kind in ('full', 'tied', 'diag', 'spherical'):
    class FromLabels(mixture.GaussianMixture):
        def _initialize_parameters(self, X, random_state, **_):
            self._initialize(X, np.eye(4)[label])
    m = FromLabels(4, covariance_type=kind, tol=1e-3, reg_covar=1e-6, max_iter=100).fit(x)
    out['mixture'][kind] = {'share': r(m.weights_), 'means': r(m.means_), 'covariance': r(np.ravel(m.covariances_)), 'n_iter': int(m.n_iter_),
                            'bic': float(m.bic(x)), 'aic': float(m.aic(x)), 'score': float(m.score(x)), 'proba': r(m.predict_proba(x[:6]))}

wide = np.round(np.array([5.0, -3, 0, 100, 2, 1]) + g.standard_normal((30, 6)) @ g.standard_normal((6, 6)), 4)
m = PCA(4).fit(wide)
white = PCA(4, whiten=True).fit(wide)
s = TruncatedSVD(3, algorithm='arpack').fit(wide)
out['pca'] = {'x': wide.tolist(), 'components': r(m.components_), 'explained_variance': r(m.explained_variance_),
              'ratio': r(m.explained_variance_ratio_), 'singular_values': r(m.singular_values_), 'transform': r(m.transform(wide[:4])),
              'white': r(white.transform(wide[:4])), 'for_90_percent': int(PCA(.9).fit(wide).n_components_),
              'svd': {'components': r(s.components_), 'singular_values': r(s.singular_values_), 'explained_variance': r(s.explained_variance_),
                      'ratio': r(s.explained_variance_ratio_)}}

other = (label + (g.random(len(x)) < .3) * g.integers(1, 4, len(x))) % 4
out['measures'] = {'label': label.tolist(), 'other': other.tolist(), 'silhouettes': r(metrics.silhouette_samples(x, label)),
                   'silhouette': float(metrics.silhouette_score(x, label)), 'calinski_harabasz': float(metrics.calinski_harabasz_score(x, label)),
                   'davies_bouldin': float(metrics.davies_bouldin_score(x, label)), 'adjusted_rand': float(metrics.adjusted_rand_score(label, other)),
                   'nmi': float(metrics.normalized_mutual_info_score(label, other))}
print(json.dumps(out))
