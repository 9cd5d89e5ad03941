#!/usr/bin/env bash
# k-means against scikit-learn (algorithm lloyd, n_init=1, the same starts, 2 threads) in one run: 1,000,000 x 8 with
# 8 centres, the 1,000,000 x 3 RFM points of the shared peers, and 200,000 x 32 with 64 centres. Seconds of the fit
# inside each process (median of REPEATS, default 5), and the CPU of the whole processes.
#   docs/benchmarks/kmeans.sh
# Needs the shared peers (SHARED, default ../shared beside the repository) and a Python with scikit-learn (PYTHON,
# default python3).
set -euo pipefail
cd "$(dirname "$0")/../.."
SHARED=${SHARED:-../shared} PYTHON=${PYTHON:-python3} REPEATS=${REPEATS:-5} THREADS=${THREADS:-2} OUT=$(mktemp -d)
trap 'rm -rf "$OUT"' EXIT
[ -x target/release/examples/kmeans_bench ] || cargo build --release --locked --workspace --example kmeans_bench
"$PYTHON" - "$SHARED" "$OUT" <<'PY'
import sys, numpy as np
from sklearn.cluster import kmeans_plusplus
shared, out = sys.argv[1:]
sys.path.insert(0, f'{shared}/peers')
from rfm_points import make
def write(name, x, k, start_rows):
    np.save(f'{out}/{name}.npy', x)
    starts = kmeans_plusplus(x[:start_rows], k, random_state=1)[0].astype(np.float64)
    x.astype(np.float64).tofile(f'{out}/{name}.f64'); starts.tofile(f'{out}/{name}_starts.f64')
g = np.random.default_rng(3)
def blobs(n, d, k, spread):
    c = g.normal(0, 2, (k, d))
    return c[g.integers(0, k, n)] + spread * g.standard_normal((n, d))
write('blobs8', blobs(1_000_000, 8, 8, 1.5), 8, None)
write('rfm', make(1_000_000), 8, None)
write('blobs32', blobs(200_000, 32, 64, 1.0), 64, 50_000)
PY
cat > "$OUT/peer.py" <<'PY'
import sys, json, time, numpy as np
from sklearn.cluster import KMeans
out, name, repeats = sys.argv[1], sys.argv[2], int(sys.argv[3])
x = np.load(f'{out}/{name}.npy')
starts = np.fromfile(f'{out}/{name}_starts.f64').reshape(-1, x.shape[1])
seconds = []
for _ in range(repeats):
    t = time.perf_counter()
    m = KMeans(len(starts), init=starts.astype(x.dtype), n_init=1, algorithm='lloyd').fit(x)
    seconds.append(round(time.perf_counter() - t, 4))
c = m.cluster_centers_.astype(np.float64)
inertia = sum(((x[i:i + 65536, None, :].astype(np.float64) - c[None]) ** 2).sum(-1).min(1).sum() for i in range(0, len(x), 65536)) if repeats > 1 else 0
print(json.dumps({'fit_s': seconds, 'inertia': float(inertia), 'n_iter': int(m.n_iter_)}))
PY
TIMEFORMAT='%U %S'
for name in blobs8 rfm blobs32; do
  cols=$([ $name = rfm ] && echo 3 || { [ $name = blobs8 ] && echo 8 || echo 32; })
  ours() { target/release/examples/kmeans_bench "$OUT/$name.f64" "$cols" "$OUT/${name}_starts.f64" "$THREADS" "$@"; }
  theirs() { OMP_NUM_THREADS=$THREADS OPENBLAS_NUM_THREADS=$THREADS "$PYTHON" "$OUT/peer.py" "$OUT" $name "$@"; }
  { time ours 1 auto > /dev/null; } 2> "$OUT/cpu_ours"
  { time theirs 1 > /dev/null; } 2> "$OUT/cpu_peer"
  ours "$REPEATS" auto > "$OUT/ours.json"
  theirs "$REPEATS" > "$OUT/peer.json"
  ours "$REPEATS" lloyd > "$OUT/lloyd.json"
  ours "$REPEATS" hamerly > "$OUT/hamerly.json"
  "$PYTHON" - "$OUT" $name <<'PY'
import sys, json, statistics as st
out, name = sys.argv[1:]
r = {k: json.load(open(f'{out}/{k}.json')) for k in ('ours', 'peer', 'lloyd', 'hamerly')}
cpu = {k: sum(map(float, open(f'{out}/cpu_{k}').read().split())) for k in ('ours', 'peer')}
m = {k: st.median(v['fit_s']) for k, v in r.items()}
print(f"{name}: fit {m['ours']:.3f} s, scikit-learn {m['peer']:.3f} s, ratio {m['ours'] / m['peer']:.2f}; "
      f"lloyd {m['lloyd']:.3f} s, hamerly {m['hamerly']:.3f} s; rounds {r['ours']['n_iter']} and {r['peer']['n_iter']}; "
      f"inertia {r['ours']['inertia']:.6f} and {r['peer']['inertia']:.6f}, "
      f"relative difference {r['ours']['inertia'] / r['peer']['inertia'] - 1:.1e}; "
      f"CPU of the process with one fit {cpu['ours']:.2f} s and {cpu['peer']:.2f} s")
PY
done
