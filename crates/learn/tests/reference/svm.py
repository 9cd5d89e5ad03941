"""Makes svm.json: small data and what scikit-learn's libsvm and liblinear learn from them.

Made with scikit-learn; the version is written into the file. Run it here:
    python svm.py
"""
import json, os
import numpy as np, sklearn
from sklearn.calibration import _SigmoidCalibration
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR, NuSVC, NuSVR

g = np.random.default_rng(11)
n, p = 90, 3
x = np.round(g.normal(size=(n, p)) * [1, 2, 0.5] + [0, 1, 0], 4)
score = np.column_stack([x[:, 0], 0.5 * x[:, 1] - 0.5, 1.5 * x[:, 2]]) + 0.6 * g.gumbel(size=(n, 3))
multi = score.argmax(1)
binary = (x[:, 0] + x[:, 1] ** 2 * 0.3 + 0.5 * g.normal(size=n) > 0.8).astype(int)
y = np.round(np.sin(x[:, 0]) * 2 + 0.4 * x[:, 1] + 0.2 * g.normal(size=n), 4)
w = np.round(g.uniform(0.2, 2, n), 3)
new = np.round(g.normal(size=(12, p)), 4)
out = {'versions': {'sklearn': sklearn.__version__}, 'x': x.tolist(), 'new': new.tolist(), 'multi': multi.tolist(),
       'binary': binary.tolist(), 'y': y.tolist(), 'w': w.tolist(), 'cases': []}


def case(name, params, target, weighted, model, label):
    # A tolerance far below the default, so that the comparison sees the optimum and not the last step. With the linear
    # kernel libsvm never ends at 1e-6: the single precision of its kernel rows leaves more.
    # The nu forms divide by a small multiplier and need more digits.
    tol = 1e-5 if params.get('kernel') == 'linear' else 1e-9 if 'nu' in params else 1e-6
    m = model.set_params(tol=tol).fit(x, label, sample_weight=w if weighted else None)
    d = m.decision_function(new) if hasattr(m, 'decision_function') else m.predict(new)
    out['cases'].append({
        'name': name, 'params': params | {'tolerance': tol, 'probability': False}, 'target': target,
        'weighted': weighted, 'support': m.support_.tolist(), 'n_support': np.ravel(m.n_support_).tolist(),
        'dual': m.dual_coef_.tolist(), 'intercept': m.intercept_.tolist(),
        'decision': np.asarray(d).reshape(len(new), -1).tolist(), 'predict': m.predict(new).tolist(),
        'gamma': float(m._gamma)})


o = dict(decision_function_shape='ovo')
case('rbf', {}, 'binary', False, SVC(**o), binary)
case('rbf weighted', {'c': 3.0}, 'binary', True, SVC(C=3, **o), binary)
case('poly', {'kernel': 'poly', 'coef0': 1.0, 'gamma': 0.3, 'c': 0.5}, 'binary', False,
     SVC(kernel='poly', coef0=1, gamma=0.3, C=0.5, **o), binary)
case('sigmoid', {'kernel': 'sigmoid', 'gamma_rule': 'auto', 'c': 0.5}, 'binary', False,
     SVC(kernel='sigmoid', gamma='auto', C=0.5, **o), binary)
case('linear class weights', {'kernel': 'linear', 'class_weight': [1.0, 4.0]}, 'binary', False,
     SVC(kernel='linear', class_weight={1: 4.0}, **o), binary)
case('rbf multi', {'c': 2.0}, 'multi', False, SVC(C=2, **o), multi)
case('rbf multi balanced weighted', {'balanced': True}, 'multi', False, SVC(class_weight='balanced', **o), multi)
case('nu', {'kind': 'nu', 'nu': 0.4}, 'binary', False, NuSVC(nu=0.4, **o), binary)
case('nu multi weighted', {'kind': 'nu', 'nu': 0.3}, 'multi', True, NuSVC(nu=0.3, **o), multi)
case('svr', {'c': 2.0, 'epsilon': 0.2}, 'y', False, SVR(C=2, epsilon=0.2), y)
case('svr weighted', {'c': 2.0, 'epsilon': 0.05, 'kernel': 'poly', 'degree': 2, 'coef0': 1.0}, 'y', True,
     SVR(C=2, epsilon=0.05, kernel='poly', degree=2, coef0=1), y)
case('nu svr', {'kind': 'nu', 'nu': 0.3, 'c': 2.0}, 'y', False, NuSVR(nu=0.3, C=2), y)

# The sigmoid through given decisions.
s = SVC().fit(x, binary).decision_function(x)
c = _SigmoidCalibration().fit(s, binary)
out['sigmoid'] = {'score': s.tolist(), 'a': float(c.a_), 'b': float(c.b_)}
# Probabilities of scikit-learn's own inner folds, whose rows differ from ours: for the shape.
import warnings
warnings.simplefilter('ignore')
out['proba_binary'] = SVC(probability=True, random_state=0).fit(x, binary).predict_proba(new).tolist()
out['proba_multi'] = SVC(probability=True, random_state=0).fit(x, multi).predict_proba(new).tolist()

out['linear'] = []


def linear(name, params, target, weighted, model, label):
    m = model.set_params(tol=1e-10, max_iter=1000000).fit(x, label, sample_weight=w if weighted else None)
    out['linear'].append({'name': name, 'params': params | {'tolerance': 1e-9, 'max_iter': 100000, 'probability': False},
                          'target': target, 'weighted': weighted, 'coef': np.atleast_2d(m.coef_).tolist(),
                          'intercept': np.ravel(m.intercept_).tolist()})


linear('l2', {'c': 0.5}, 'binary', False, LinearSVC(C=0.5, dual=True), binary)
linear('l1 weighted', {'loss': 'l1', 'c': 2.0}, 'binary', True, LinearSVC(loss='hinge', C=2), binary)
linear('l2 multi', {'c': 1.0, 'class_weight': [1.0, 2.0, 0.5]}, 'multi', False,
       LinearSVC(dual=True, class_weight={0: 1, 1: 2, 2: 0.5}), multi)
linear('l2 numbers', {'epsilon': 0.1}, 'y', False, LinearSVR(loss='squared_epsilon_insensitive', epsilon=0.1, dual=True), y)
linear('l1 numbers weighted', {'loss': 'l1', 'epsilon': 0.2}, 'y', True, LinearSVR(epsilon=0.2), y)
linear('no intercept', {'intercept': False}, 'y', False,
       LinearSVR(loss='squared_epsilon_insensitive', epsilon=0.1, dual=True, fit_intercept=False), y)

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'svm.json'), 'w') as f:
    json.dump(out, f, separators=(',', ':'))
