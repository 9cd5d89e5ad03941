"""Values of LightGBM for tests/it/boosting.rs. Made with lightgbm 4.7.0 and numpy."""
import json, lightgbm as lgb, numpy as np

r = np.random.RandomState(3)
n = 300
x = np.round(r.standard_normal((n, 4)), 2) + 10
x[:, 3] = r.randint(0, 12, n)
signal = 2 * np.sin(3 * x[:, 0]) + x[:, 1] * (x[:, 2] > 10) + 0.3 * (x[:, 3] % 3)
y = np.round(signal + 0.3 * r.standard_normal(n), 4)
c = (signal + r.standard_normal(n) > np.median(signal)).astype(float)
count = r.poisson(np.exp(0.3 * signal - 2)).astype(float)
out = {"lightgbm": lgb.__version__, "x": x.tolist(), "y": y.tolist(), "c": c.tolist(), "count": count.tolist()}
base = dict(num_leaves=8, min_data_in_leaf=10, min_data_in_bin=1, max_bin=255, learning_rate=0.2, verbose=-1,
            num_threads=1, deterministic=True, lambda_l2=1.0)
for name, target, more in [
    ("squared", y, dict(objective="regression")), ("l1", y, dict(objective="regression", lambda_l1=2.0)),
    ("absolute", y, dict(objective="regression_l1")), ("quantile", y, dict(objective="quantile", alpha=0.8)),
    ("huber", y, dict(objective="huber", alpha=0.5)), ("binary", c, dict(objective="binary")),
    ("poisson", count, dict(objective="poisson")), ("tweedie", count, dict(objective="tweedie")),
    ("monotone", y, dict(objective="regression", monotone_constraints=[1, 0, 0, 0], monotone_constraints_method="basic")),
    ("category", y, dict(objective="regression", min_data_per_group=5, cat_smooth=2.0)),
]:
    cat = [3] if name == "category" else []
    d = lgb.Dataset(x, target, categorical_feature=cat, params=dict(verbose=-1, min_data_in_bin=1))
    # LightGBM guesses a leaf's rows from its hessian, which is only right where all rows have the same one. Where they
    # do not, no smallest leaf is asked for, and few rounds are made, before leaves of one row tie.
    # Gradients of two values make many splits equally good, and LightGBM no longer looks at a column in a leaf whose
    # parent had no split by it, which with monotone columns leaves out good ones: there trees and rounds are few too.
    few = {"binary": (8, 1, 2), "poisson": (8, 1, 2), "tweedie": (8, 1, 2), "absolute": (4, 10, 3), "quantile": (4, 10, 3),
           "monotone": (4, 10, 3)}
    leaves, rows, rounds = few.get(name, (8, 10, 10))
    m = lgb.train(dict(base, **more, num_leaves=leaves, min_data_in_leaf=rows), d, num_boost_round=rounds)
    out[name] = np.round(m.predict(x), 10).tolist()
open(__file__.replace(".py", ".json"), "w").write(json.dumps(out))
