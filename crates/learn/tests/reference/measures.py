"""Makes measures.json: small data and what scikit-learn says of it; the version is written into the file. Run it here:
    python measures.py
"""
import json
import numpy as np, sklearn
from sklearn import metrics as m
from sklearn.calibration import calibration_curve

g = np.random.default_rng(11)
n = 60
w = np.round(g.uniform(0.2, 3, n), 3)
out = {'versions': {'sklearn': sklearn.__version__}, 'w': w.tolist()}
y = np.round(g.gamma(1.2, 3, n), 3) + 0.01
f = np.round(y * g.uniform(0.5, 1.8, n) + 0.2, 3)
zeros = np.where(g.uniform(size=n) < 0.3, 0.0, y)
kw = [('plain', None), ('weighted', w)]


def regression(w):
    return {
        'rmse': m.root_mean_squared_error(y, f, sample_weight=w), 'mae': m.mean_absolute_error(y, f, sample_weight=w),
        'rmsle': m.root_mean_squared_log_error(y, f, sample_weight=w),
        'mape': m.mean_absolute_percentage_error(y, f, sample_weight=w), 'r2': m.r2_score(y, f, sample_weight=w),
        'explained_variance': m.explained_variance_score(y, f, sample_weight=w),
        'pinball@0.9': m.mean_pinball_loss(y, f, alpha=0.9, sample_weight=w),
        'pinball@0.5': m.mean_pinball_loss(y, f, alpha=0.5, sample_weight=w),
        'gamma': m.mean_gamma_deviance(y, f, sample_weight=w),
        'tweedie@2.7': m.mean_tweedie_deviance(y, f, power=2.7, sample_weight=w),
    } | ({'median_ae': m.median_absolute_error(y, f)} if w is None else {})


def counts(w):
    return {'poisson': m.mean_poisson_deviance(zeros, f, sample_weight=w),
            'tweedie@1.5': m.mean_tweedie_deviance(zeros, f, power=1.5, sample_weight=w),
            'tweedie@1.1': m.mean_tweedie_deviance(zeros, f, power=1.1, sample_weight=w)}


out['regression'] = {'y': y.tolist(), 'f': f.tolist()} | {k: regression(v) for k, v in kw}
out['counts'] = {'y': zeros.tolist(), 'f': f.tolist()} | {k: counts(v) for k, v in kw}


def classes(t, p, w):
    s = p.argmax(1)
    k = p.shape[1]
    a = dict(sample_weight=w, zero_division=0)
    r = {'accuracy': m.accuracy_score(t, s, sample_weight=w),
         'balanced_accuracy': m.balanced_accuracy_score(t, s, sample_weight=w),
         'mcc': m.matthews_corrcoef(t, s, sample_weight=w), 'kappa': m.cohen_kappa_score(t, s, sample_weight=w),
         'log_loss': m.log_loss(t, p, sample_weight=w),
         'brier': m.brier_score_loss(t, p[:, 1] if k == 2 else p, sample_weight=w),
         'confusion': m.confusion_matrix(t, s, sample_weight=w).astype(float).tolist()}
    for e in ('macro', 'micro', 'weighted'):
        r['precision_' + e] = m.precision_score(t, s, average=e, **a)
        r['recall_' + e] = m.recall_score(t, s, average=e, **a)
        r['f1_' + e] = m.f1_score(t, s, average=e, **a)
    if k == 2:
        fpr, tpr, _ = m.roc_curve(t, p[:, 1], sample_weight=w, drop_intermediate=False)
        pr, re, _ = m.precision_recall_curve(t, p[:, 1], sample_weight=w)
        r |= {'precision': m.precision_score(t, s, **a), 'recall': m.recall_score(t, s, **a), 'f1': m.f1_score(t, s, **a),
              'roc_auc': m.roc_auc_score(t, p[:, 1], sample_weight=w),
              'pr_auc': m.average_precision_score(t, p[:, 1], sample_weight=w), 'ks': float((tpr - fpr).max()),
              'fpr': fpr.tolist(), 'tpr': tpr.tolist(), 'pr_precision': pr.tolist(), 'pr_recall': re.tolist()}
    else:
        r |= {'roc_auc': m.roc_auc_score(t, p, sample_weight=w, multi_class='ovr'),
              'pr_auc': m.average_precision_score(np.eye(k)[t], p, sample_weight=w)}
    return r


def made(k):
    t = g.choice(k, n, p=[0.6, 0.4] if k == 2 else [0.5, 0.35, 0.15])
    z = g.normal(size=(n, k)) + 0.9 * np.eye(k)[t]
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    # Rounded, so that some rows have the same score.
    p = np.round(p, 2) if k == 2 else p
    p[:, -1] = 1 - p[:, :-1].sum(1)
    p = np.clip(p, 0, 1)
    return {'y': t.tolist(), 'p': p.tolist()} | {key: classes(t, p, v) for key, v in kw}


out['binary'], out['multiclass'] = made(2), made(3)
t, p = np.array(out['binary']['y']), np.array(out['binary']['p'])[:, 1]
happened, said = calibration_curve(t, p, n_bins=10)
out['calibration'] = {'happened': happened.tolist(), 'said': said.tolist()}
sizes = [7, 1, 20, 32]
grade, score = g.choice(4, n, p=[0.5, 0.25, 0.15, 0.1]).astype(float), np.round(g.normal(size=n), 1)
grade[7] = 2
at = np.cumsum([0] + sizes)
q = [(2 ** grade[a:b] - 1, score[a:b]) for a, b in zip(at[:-1], at[1:])]
one = [1.0 for _ in q]
# ndcg_score refuses queries of one row, whose order is right.
out['ranking'] = {'grade': grade.tolist(), 'score': score.tolist(), 'sizes': sizes} | {
    f'ndcg@{k}': float(np.mean([m.ndcg_score([a], [s], k=k) if len(a) > 1 else 1.0 for a, s in q])) for k in (3, 10, 100)}
untied = score + 1e-6 * np.arange(n)
out['ranking']['untied'] = untied.tolist()
out['ranking']['map@100'] = float(np.mean([m.average_precision_score(a > 0, untied[i:j]) for (a, _), i, j in zip(q, at[:-1], at[1:])]))
json.dump(out, open('measures.json', 'w'))
