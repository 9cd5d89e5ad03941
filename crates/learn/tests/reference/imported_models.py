"""Small models of LightGBM and XGBoost with their own predictions and contributions, for the tests of `import` and SHAP.

Written to imported_models.json; each case holds the model as its library saves it. Run with
    python imported_models.py
Made with lightgbm 4.7.0, xgboost 3.2.0, numpy 2.4.6 (the versions are written into the file).
"""
import itertools
import json
import pathlib
import re

import lightgbm as lgb
import numpy as np
import xgboost as xgb

rng = np.random.default_rng(7)
N, P, SHOW = 400, 5, 7
X = rng.normal(size=(N, P)).round(3)
X[:, 3] = rng.integers(0, 40, N)  # categories, more than one word of bits
X[:, 4] = np.where(rng.random(N) < 0.6, 0, X[:, 4])  # sparse
effect = rng.normal(size=40)
z = 1.5 * X[:, 0] + effect[X[:, 3].astype(int)] + X[:, 1] * (X[:, 4] != 0)
X[rng.random((N, P)) < 0.08] = np.nan
NEW = X[:SHOW].copy()
NEW[0, 3] = 77  # not seen
NEW[1] = np.nan
y = {
    "real": z + 0.2 * rng.normal(size=N),
    "positive": np.exp(0.4 * z) + 0.01,
    "count": rng.poisson(np.exp(0.3 * z)).astype(float),
    "binary": (z > 0.3).astype(float),
    "share": 1 / (1 + np.exp(-z)),
    "class": np.digitize(z, [-0.7, 0.7]).astype(float),
    "grade": np.clip(np.digitize(z, [-1, 0, 1]), 0, 3).astype(float),
}
groups = [20] * (N // 20)


def rows(a):
    return [[None if np.isnan(v) else float(v) for v in row] for row in np.atleast_2d(a)]


def flat(a):
    return [float(f"{v:.13g}") for v in np.asarray(a, dtype=float).ravel()]


def of_lightgbm(name, target, rounds=4, cat=(3,), keep=True, **params):
    params = dict(num_leaves=7 if keep else 5, learning_rate=0.3, verbose=-1, num_threads=1, seed=1, min_data_in_leaf=8,
                  min_data_per_group=4, cat_smooth=2, max_cat_to_onehot=2, deterministic=True) | params
    ranking = params["objective"] in ("lambdarank", "rank_xendcg")
    data = lgb.Dataset(X, y[target], categorical_feature=list(cat), group=groups if ranking else None,
                       feature_name=["price", "stock", "age", "brand", "promo"])
    model = lgb.train(params, data, rounds)
    text = model.model_to_string()
    text = text[: text.index("end of trees") + len("end of trees")] + "\n"
    # LightGBM takes a forest's mean only on the way to the answer; its raw scores and contributions are sums.
    part = rounds if params.get("boosting") == "rf" else 1
    case = {"name": name, "library": "lightgbm", "model": text, "predict": flat(model.predict(NEW)),
            "raw": flat(model.predict(NEW, raw_score=True) / part)}
    if params.get("linear_tree"):
        case = {"name": name, "library": "lightgbm", "model": text}
    elif keep:
        case["contributions"] = flat(model.predict(NEW, pred_contrib=True) / part)
    return case


def of_xgboost(name, target, rounds=4, category=True, keep=True, **params):
    params = dict(max_depth=3 if keep else 2, eta=0.4, nthread=1, seed=1, tree_method="hist", max_cat_to_onehot=1) | params
    types = ["q", "q", "q", "c" if category else "q", "q"]
    kw = dict(feature_types=types, enable_categorical=True)
    ranking = params["objective"].startswith("rank:")
    train = xgb.DMatrix(X, y[target], **kw) if not ranking else xgb.DMatrix(X, y[target], qid=np.repeat(range(N // 20), 20), **kw)
    if params["objective"] == "survival:aft":
        train = xgb.DMatrix(X, **kw)
        train.set_float_info("label_lower_bound", y[target])
        train.set_float_info("label_upper_bound", y[target])
    model = xgb.train(params, train, rounds)
    new = xgb.DMatrix(NEW, **kw)
    text = model.save_raw("json").decode()
    raw = model.predict(new, output_margin=True)
    predict = model.predict(new)
    if params["objective"] == "multi:softmax":
        e = np.exp(raw - raw.max(axis=1, keepdims=True))
        predict = e / e.sum(axis=1, keepdims=True)
    case = {"name": name, "library": "xgboost", "model": text, "predict": flat(predict), "raw": flat(raw)}
    if keep:
        case["contributions"] = flat(model.predict(new, pred_contribs=True))
    if name == "xgboost_interactions":
        case["interactions"] = flat(model.predict(new, pred_interactions=True))
    return case


def brute(trees, row, p):
    """Shapley values by all subsets; `trees` are nested dicts of LightGBM's dump_model."""
    def value(node, known):
        if "leaf_value" in node:
            return node["leaf_value"]
        j = node["split_feature"]
        left, right = node["left_child"], node["right_child"]
        count = lambda c: c.get("internal_count", c.get("leaf_count"))
        if j in known:
            return value(left if row[j] <= node["threshold"] else right, known)
        return (count(left) * value(left, known) + count(right) * value(right, known)) / node["internal_count"]

    total = lambda known: sum(value(t, known) for t in trees)
    from math import factorial
    phi = []
    for j in range(p):
        others = [i for i in range(p) if i != j]
        phi.append(sum(factorial(len(s)) * factorial(p - len(s) - 1) / factorial(p) * (total({*s, j}) - total({*s}))
                       for k in range(p) for s in itertools.combinations(others, k)))
    return phi + [total(set())]


def all_subsets():
    x = rng.normal(size=(300, 5))
    t = x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2]) + x[:, 3]
    model = lgb.train(dict(objective="regression", num_leaves=24, verbose=-1, num_threads=1, min_data_in_leaf=3,
                           learning_rate=0.5), lgb.Dataset(x, t), 2)
    text = model.model_to_string()
    text = text[: text.index("end of trees") + len("end of trees")] + "\n"
    trees = [t["tree_structure"] for t in model.dump_model()["tree_info"]]
    return {"x": rows(x[:4]), "model": text, "contributions": flat([brute(trees, r, 5) for r in x[:4]])}


cases = [
    of_lightgbm("lightgbm_regression", "real", objective="regression"),
    of_lightgbm("lightgbm_regression_sqrt", "positive", objective="regression", reg_sqrt=True, keep=False, rounds=2),
    of_lightgbm("lightgbm_l1", "real", objective="regression_l1", rounds=2, keep=False),
    of_lightgbm("lightgbm_quantile", "real", objective="quantile", alpha=0.7, rounds=2, keep=False),
    of_lightgbm("lightgbm_binary", "binary", objective="binary", sigmoid=0.7),
    of_lightgbm("lightgbm_multiclass", "class", objective="multiclass", num_class=3, rounds=3),
    of_lightgbm("lightgbm_multiclassova", "class", objective="multiclassova", num_class=3, sigmoid=1.3, rounds=2, keep=False),
    of_lightgbm("lightgbm_poisson", "count", objective="poisson", rounds=2, keep=False),
    of_lightgbm("lightgbm_tweedie", "positive", objective="tweedie", rounds=2, keep=False),
    of_lightgbm("lightgbm_gamma", "positive", objective="gamma", rounds=2, keep=False),
    of_lightgbm("lightgbm_cross_entropy", "share", objective="cross_entropy", rounds=2, keep=False),
    of_lightgbm("lightgbm_cross_entropy_lambda", "share", objective="cross_entropy_lambda", rounds=2, keep=False),
    of_lightgbm("lightgbm_lambdarank", "grade", objective="lambdarank", rounds=3, keep=False),
    of_lightgbm("lightgbm_forest", "binary", objective="binary", boosting="rf", bagging_freq=1, bagging_fraction=0.6),
    of_lightgbm("lightgbm_forest_classes", "class", objective="multiclass", num_class=3, boosting="rf", bagging_freq=1, bagging_fraction=0.6, rounds=2, keep=False),
    of_lightgbm("lightgbm_dart", "real", objective="regression", boosting="dart", drop_rate=0.5, skip_drop=0.0, keep=False),
    of_lightgbm("lightgbm_zero_as_missing", "real", objective="regression", zero_as_missing=True),
    of_lightgbm("lightgbm_no_missing", "real", objective="regression", use_missing=False, keep=False),
    of_lightgbm("lightgbm_stump", "real", objective="regression", min_data_in_leaf=300, rounds=2),
    of_lightgbm("lightgbm_linear", "real", objective="regression", linear_tree=True, rounds=1, cat=(), keep=False),
    of_xgboost("xgboost_regression", "real", objective="reg:squarederror"),
    of_xgboost("xgboost_interactions", "real", objective="reg:squarederror", rounds=2, category=False),
    of_xgboost("xgboost_binary", "binary", objective="binary:logistic"),
    of_xgboost("xgboost_logitraw", "binary", objective="binary:logitraw", rounds=2, keep=False),
    of_xgboost("xgboost_hinge", "binary", objective="binary:hinge", rounds=2, keep=False),
    of_xgboost("xgboost_base_score", "binary", objective="binary:logistic", base_score=0.2, rounds=2, keep=False),
    of_xgboost("xgboost_share", "share", objective="reg:logistic", rounds=2, keep=False),
    of_xgboost("xgboost_softprob", "class", objective="multi:softprob", num_class=3, rounds=2),
    of_xgboost("xgboost_softmax", "class", objective="multi:softmax", num_class=3, rounds=2, keep=False),
    of_xgboost("xgboost_poisson", "count", objective="count:poisson", rounds=2, keep=False),
    of_xgboost("xgboost_gamma", "positive", objective="reg:gamma", rounds=2, keep=False),
    of_xgboost("xgboost_tweedie", "positive", objective="reg:tweedie", rounds=2, keep=False),
    of_xgboost("xgboost_squaredlog", "positive", objective="reg:squaredlogerror", rounds=2, keep=False),
    of_xgboost("xgboost_huber", "real", objective="reg:pseudohubererror", rounds=2, keep=False),
    of_xgboost("xgboost_absolute", "real", objective="reg:absoluteerror", rounds=2, keep=False),
    of_xgboost("xgboost_quantiles", "real", objective="reg:quantileerror", quantile_alpha=[0.1, 0.9], rounds=2, keep=False),
    of_xgboost("xgboost_cox", "positive", objective="survival:cox", rounds=2, keep=False),
    of_xgboost("xgboost_aft", "positive", objective="survival:aft", rounds=2, keep=False),
    of_xgboost("xgboost_ndcg", "grade", objective="rank:ndcg", rounds=2, keep=False),
    of_xgboost("xgboost_dart", "real", objective="reg:squarederror", booster="dart", rate_drop=0.5),
    of_xgboost("xgboost_forest", "real", objective="reg:squarederror", num_parallel_tree=3, subsample=0.6, eta=1.0, rounds=1, keep=False),
]
# What the reader does not look at is left out, to keep the file small.
UNREAD = r'"(base_weights|parents|split_unused)":\[[^\]]*\],?'
for case in cases:
    if case["library"] == "xgboost":
        case["model"] = re.sub(UNREAD, "", case["model"])
out = {
    "made_with": {"lightgbm": lgb.__version__, "xgboost": xgb.__version__, "numpy": np.__version__},
    "x": rows(NEW),
    "cases": cases,
    "all_subsets": all_subsets(),
}
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(json.dumps(out, separators=(",", ":")) + "\n")
print(path, path.stat().st_size, "bytes")
