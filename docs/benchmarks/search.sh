#!/usr/bin/env bash
# How near the samplers come to the minimum of two functions (Rosenbrock's valley with a whole number; a separable bowl
# in five parameters, one of them logarithmic) within 150 and 50 trials: median of the best values over 20 seeds, beside
# Optuna's TPE with its defaults and Optuna's Gaussian process where its packages are there.
#   docs/benchmarks/search.sh
# Needs a Python with optuna (PYTHON).
set -euo pipefail
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-python3} BIN=${BIN:-target/release/examples/search_bench}
[ -x "$BIN" ] || cargo build --release --locked --workspace --example search_bench
"$BIN" 150 20
"$BIN" 50 20
"$PYTHON" - <<'PY'
import math, statistics, time, optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)

def rosenbrock(t):
    x, y, k = t.suggest_float('x', -4, 4), t.suggest_float('y', -4, 4), t.suggest_int('k', 1, 10)
    return (1 - x) ** 2 + 100 * (y - x * x) ** 2 + (k - 3) ** 2

def separable(t):
    c = (0.3, -0.7, 0.5, -0.2)
    total = sum((t.suggest_float(f'x{i}', -5, 5) - c[i]) ** 2 for i in range(4))
    return total + (math.log10(t.suggest_float('l', 1e-4, 1, log=True)) + 2) ** 2

for f in (rosenbrock, separable):
    start, best = time.time(), {50: [], 150: []}
    for seed in range(20):
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
        study.optimize(f, n_trials=150)
        for n in best:
            best[n].append(min(t.value for t in study.trials[:n]))
    for n, values in best.items():
        print(f'{f.__name__} optuna {optuna.__version__} tpe {n} trials: median best {statistics.median(values):.4f}')
    print(f'{f.__name__} optuna seconds: {time.time() - start:.2f}')
PY
