"""Reference values of trees and forests, written to forest.json beside this file.

Made with scikit-learn and numpy; the versions are written into the file. Run it here: python forest.py
"""
import json
import pathlib

import numpy as np
import sklearn
from sklearn.ensemble import ExtraTreesClassifier, IsolationForest, RandomForestClassifier, RandomForestRegressor
from sklearn.ensemble._iforest import _average_path_length
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

rng = np.random.default_rng(11)
out = {"made_with": {"scikit-learn": sklearn.__version__, "numpy": np.__version__}}

# Whole numbers, so that bins are exact; targets and weights without ties.
n = 160
x = rng.integers(0, 9, (n, 4)).astype(float)
new = rng.integers(0, 9, (80, 4)).astype(float)
y = np.round(np.sin(x[:, 0]) + 0.3 * x[:, 1] + 0.1 * x[:, 2] * (x[:, 3] > 4) + rng.normal(0, 0.3, n), 6)
c = np.digitize(y + rng.normal(0, 0.3, n), np.quantile(y, [0.3, 0.7])).astype(float)
w = np.round(rng.uniform(0.5, 2, n), 6)
holed = x.copy()
holed[rng.random((n, 4)) < 0.15] = np.nan
holed_new = new.copy()
holed_new[rng.random(new.shape) < 0.15] = np.nan
nan_as_null = lambda m: [[None if np.isnan(v) else v for v in row] for row in m.tolist()]
out["data"] = {"x": x.tolist(), "new": new.tolist(), "y": y.tolist(), "c": c.tolist(), "w": w.tolist(),
               "holed": nan_as_null(holed), "holed_new": nan_as_null(holed_new)}


def leaves(tree, node=0):
    """Leaves, where a node of one class is a leaf; by rounding scikit-learn may take its impurity for more than none."""
    if tree.children_left[node] < 0 or np.sum(tree.value[node][0] > 0) == 1 and tree.max_n_classes > 1:
        return 1
    return leaves(tree, tree.children_left[node]) + leaves(tree, tree.children_right[node])


def tree(kind, data, target, params, weighted):
    weight = w if weighted else np.ones(len(target))
    given = dict(params)
    if given.pop("class_weight", None) == "balanced":
        # scikit-learn balances the counts and leaves the weights out; ours balances the weights.
        mass = np.bincount(target.astype(int), weight)
        weight = weight * (mass.sum() / len(mass) / mass)[target.astype(int)]
    model = kind(random_state=0, **given)
    model.fit(data[0], target, sample_weight=weight)
    said = model.predict_proba(data[1]) if hasattr(model, "predict_proba") else model.predict(data[1])[:, None]
    return {"params": params, "weighted": weighted, "predict": np.round(said, 12).tolist(),
            "importance": model.feature_importances_.tolist(), "leaves": leaves(model.tree_)}


R, C = DecisionTreeRegressor, DecisionTreeClassifier
whole, gaps = (x, new), (holed, holed_new)
out["trees"] = {
    "numbers": [
        tree(R, whole, y, {"min_samples_leaf": 6}, False),
        tree(R, whole, y, {"max_depth": 3}, False),
        tree(R, whole, y, {"min_samples_leaf": 5, "min_samples_split": 20}, True),
        tree(R, whole, y, {"max_leaf_nodes": 9, "min_samples_leaf": 3}, False),
        tree(R, whole, y, {"min_impurity_decrease": 0.01}, True),
    ],
    "classes": [
        tree(C, whole, c, {"min_samples_leaf": 6}, True),
        tree(C, whole, c, {"max_depth": 3, "criterion": "entropy"}, True),
        tree(C, whole, c, {"max_leaf_nodes": 8, "min_samples_leaf": 5, "class_weight": "balanced"}, True),
    ],
    "holed": [tree(R, gaps, y, {"min_samples_leaf": 8}, False), tree(R, gaps, y, {"max_depth": 3}, True)],
}

# Whole forests agree only on the whole.
n = 400
x = np.round(rng.normal(size=(n, 5)), 3)
y = np.round(x[:, 0] + np.abs(x[:, 1]) + 0.5 * x[:, 2] * x[:, 3] + rng.normal(0, 0.3, n), 3)
c = (y > np.median(y)).astype(float)
forest = RandomForestRegressor(500, max_features=1 / 3, oob_score=True, random_state=0).fit(x, y)
classes = RandomForestClassifier(500, oob_score=True, random_state=0).fit(x, c)
extra = ExtraTreesClassifier(500, bootstrap=True, oob_score=True, random_state=0).fit(x, c)
out["forest"] = {
    "x": x.tolist(), "y": y.tolist(), "c": c.tolist(),
    "oob_r2": forest.oob_score_, "importance": forest.feature_importances_.tolist(),
    "oob_accuracy": classes.oob_score_, "oob_share": np.round(classes.oob_decision_function_[:, 1], 4).tolist(),
    "extra_oob_accuracy": extra.oob_score_,
}

sizes = [1, 2, 3, 10, 256, 100000]
# The last row lies far out.
isolated = np.vstack([x[:255], [[6.0, -6.0, 6.0, 6.0, -6.0]]])
model = IsolationForest(n_estimators=500, max_samples=256, random_state=0).fit(isolated)
out["isolation"] = {
    "sizes": sizes, "mean_depth": _average_path_length(np.array(sizes)).tolist(), "x_rows": 255,
    "far": isolated[-1].tolist(), "score": np.round(-model.score_samples(isolated), 4).tolist(),
}
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(json.dumps(out, separators=(",", ":")) + "\n")
