#!/usr/bin/env python3
"""Likeness by content as scikit-learn has it: writes content.json beside this file.

    python make_content.py        (numpy, scikit-learn)

TfidfTransformer(sublinear_tf=True, smooth_idf=False) on counts of terms; the scores of a history are the weighted sum of
its items' rows times all rows.
"""

import json
import pathlib

import numpy
import sklearn
from sklearn.feature_extraction.text import TfidfTransformer

rng = numpy.random.default_rng(7)
n_items, n_terms, n_users = 14, 9, 6
counts = rng.poisson(0.6, (n_items, n_terms))
counts[:, 0] = 1 + rng.poisson(1.0, n_items)
features = TfidfTransformer(sublinear_tf=True, smooth_idf=False).fit_transform(counts).toarray()
weights = numpy.where(rng.random((n_users, n_items)) < 0.3, rng.integers(1, 4, (n_users, n_items)), 0)
weights[:, 0] = 1
scores = weights @ features @ features.T
attributes = [[i, t, int(counts[i, t])] for i in range(n_items) for t in range(n_terms) if counts[i, t]]
rows = [[u, i, int(weights[u, i])] for u in range(n_users) for i in range(n_items) if weights[u, i]]
text = {
    "made_by": f"make_content.py, scikit-learn {sklearn.__version__}",
    "attributes": attributes,
    "rows": rows,
    "n_items": n_items,
    "scores": scores.round(7).tolist(),
}
(pathlib.Path(__file__).parent / "content.json").write_text(json.dumps(text) + "\n")
