#!/usr/bin/env bash
# Linear models on generated tables, both sides in one run on the same files: seconds of the fit alone (the best of
# three), their ratio, and the largest difference of coefficients.
#   docs/benchmarks/linear.sh [logistic …]        (default: all)
# Needs a Python with numpy, scikit-learn and statsmodels (PYTHON, default python3).
set -euo pipefail
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-python3} OUT=$(mktemp -d)
trap 'rm -rf "$OUT"' EXIT
BENCH=target/release/examples/linear_bench
[ -x "$BENCH" ] || cargo build --release --locked --workspace --example linear_bench
"$PYTHON" - "$OUT" "$BENCH" "$@" <<'PY'
import sys, subprocess, time, warnings, numpy as np, sklearn, statsmodels, statsmodels.api as sm
from sklearn.linear_model import (HuberRegressor, Lasso, LinearRegression, LogisticRegression, PoissonRegressor, Ridge, RidgeCV)
warnings.filterwarnings('ignore')
out, bench, *only = sys.argv[1:]
g = np.random.default_rng(5)


def table(n, p):
    # Columns lean on each other a little, as real ones do.
    x = g.normal(size=(n, p)); x[:, 1:] += 0.4 * x[:, :-1]
    return x, g.normal(size=p) * (g.random(p) < 0.6)


def write(name, x, y):
    np.ascontiguousarray(x).tofile(f'{out}/{name}.x'); y.astype(float).tofile(f'{out}/{name}.y')


xb, b = table(100_000, 50); yb = (xb @ b * 0.5 + g.logistic(size=len(xb)) > 0).astype(int); write('binary', xb, yb)
xc, b = table(100_000, 50); yc = g.poisson(np.exp(0.5 + xc @ b * 0.1)).astype(float); write('counts', xc, yc)
xr, b = table(100_000, 20); yr = xr @ b + g.standard_t(2, size=len(xr)); write('robust', xr, yr)
xm, b = table(1_000_000, 50); ym = xm @ b + g.normal(size=len(xm)); write('million', xm, ym)
peers = {
    'logistic': lambda: LogisticRegression(C=1.0, tol=1e-8, max_iter=10000).fit(xb, yb).coef_,
    'logistic_l1': lambda: LogisticRegression(C=0.05, l1_ratio=1.0, solver='saga', tol=1e-6, max_iter=1000).fit(xb, yb).coef_,
    'poisson': lambda: PoissonRegressor(alpha=1e-4, solver='newton-cholesky', tol=1e-8).fit(xc, yc).coef_,
    'huber': lambda: HuberRegressor(max_iter=10000, tol=1e-7).fit(xr, yr).coef_,
    'quantile': lambda: np.asarray(sm.QuantReg(yr, sm.add_constant(xr)).fit(q=0.5, max_iter=5000, p_tol=1e-9).params)[1:],
    'ols': lambda: LinearRegression().fit(xm, ym).coef_,
    'ridge': lambda: Ridge(alpha=1.0).fit(xm, ym).coef_,
    'lasso': lambda: Lasso(alpha=0.05, tol=1e-9).fit(xm, ym).coef_,
    'ridge_cv': lambda: RidgeCV(alphas=[0.1, 1.0, 10.0]).fit(xm, ym).coef_,
}
seen = {}
for name, fit in peers.items():
    if only and name not in only: continue
    t = time.perf_counter(); coef = np.ravel(fit()); best = time.perf_counter() - t
    for _ in range(2 if best < 3 else 0):
        t = time.perf_counter(); fit(); best = min(best, time.perf_counter() - t)
    seen[name] = (best, coef)
ours = dict(l.split() for l in subprocess.run([bench, out, *only], check=True, capture_output=True, text=True).stdout.splitlines())
print(f'scikit-learn {sklearn.__version__}, statsmodels {statsmodels.__version__} (quantile)')
for name, (peer, coef) in seen.items():
    mine = np.fromfile(f'{out}/{name}.coef')
    print(f'{name:12} ours {float(ours[name]):8.3f} s  peer {peer:8.3f} s  ratio {float(ours[name]) / peer:6.3f}  '
          f'largest difference of coefficients {np.abs(mine - coef).max():.1e}')
PY
