#!/usr/bin/env bash
# Networks for clicks: a training step (2,048 rows, 26 fields of 10,000 words, 13 numbers) beside PyTorch, two threads each;
# then Frappe click-through, learnt on the validation file and scored on the test file, as the shared page agrees: area under
# the curve and log loss.
#   docs/benchmarks/click.sh [JSON]…
# DEV=1 leaves out the steps and scores a fifth held back from the training part, where parameters are chosen.
# Needs the shared data and scorers (SHARED, default ../shared) and a Python with numpy, pandas and pyarrow (PYTHON); for the
# peer also torch.
set -euo pipefail
cd "$(dirname "$0")/../.."
SHARED=${SHARED:-../shared} OUT=$(mktemp -d) PYTHON=${PYTHON:-python3}
trap 'rm -rf "$OUT"' EXIT
cargo build --release --locked --quiet --workspace --example click_bench --example click_rate
bench=${CARGO_TARGET_DIR:-target}/release/examples
export RAYON_NUM_THREADS=2
if [ -z "${DEV:-}" ]; then
  for architecture in fm dnn deep_fm dcn_v2 cnn; do
    echo "$architecture"
    "$bench/click_bench" $architecture
    if "$PYTHON" -c 'import torch' 2>/dev/null; then
      ARCHITECTURE=$architecture "$PYTHON" - <<'P'
import os, resource, statistics, time, torch
from torch import nn
torch.set_num_threads(2)
torch.manual_seed(1)
architecture, rows, fields, words, numbers, width = os.environ['ARCHITECTURE'], 2048, 26, 10_000, 13, 16
whole = fields * width + numbers
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.vectors, self.weights = nn.Embedding(fields * words, width), nn.Embedding(fields * words, 1)
        self.straight, self.last, self.crossed = nn.Linear(numbers, 1), nn.Linear(whole, 1), nn.Linear(whole, 1)
        sizes = [whole, 400, 400]
        layers = [l for a, b in zip(sizes, sizes[1:]) for l in (nn.Linear(a, b), nn.ReLU(), nn.Dropout(.3))]
        self.deep = nn.Sequential(*layers, nn.Linear(400, 1)) if architecture != 'fm' else None
        self.up = nn.ModuleList(nn.Linear(whole, whole) for _ in range(3)) if architecture == 'dcn_v2' else None
        self.filters = nn.ModuleList(nn.Conv1d(width, width, 3) for _ in range(2 if architecture == 'cnn' else 0))
    def forward(self, places, z):
        v = self.vectors(places)
        score = self.weights(places).sum(1) + self.straight(z)
        if architecture in ('fm', 'deep_fm'):
            s = v.sum(1)
            score = score + .5 * (s * s - (v * v).sum(1)).sum(1, keepdim=True)
        for filters in self.filters:
            # A field sees itself and the two before it.
            v = filters(nn.functional.pad(v.transpose(1, 2), (2, 0))).relu().transpose(1, 2)
        if self.deep is not None:
            x0 = x = torch.cat([v.flatten(1), z], 1)
            score = score + self.deep(x0)
            if self.up is not None:
                for up in self.up:
                    x = x0 * up(x) + x
                score = score + self.crossed(x)
        return score
network = Network()
optimiser = torch.optim.AdamW(network.parameters(), 1e-3)
places = torch.randint(words, (rows, fields)) + torch.arange(fields) * words
z, y = torch.rand(rows, numbers) * 2 - 1, (torch.rand(rows, 1) > .75).float()
took = []
for _ in range(40):
    begun = time.perf_counter()
    optimiser.zero_grad()
    nn.functional.binary_cross_entropy_with_logits(network(places, z), y).backward()
    optimiser.step()
    took.append((time.perf_counter() - begun) * 1e3)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f'  PyTorch {torch.__version__}: training step {statistics.median(took[10:]):.1f} ms, {peak:.0f} MiB')
P
    fi
  done
fi
"$PYTHON" - "$SHARED/data/frappe_context_ctr" "$OUT" "${DEV:-}" <<'P'
import sys
import numpy, pandas
folder, out, dev = sys.argv[1:]
train = pandas.read_parquet(f'{folder}/validation.parquet')
test = pandas.read_parquet(f'{folder}/test.parquet') if not dev else None
if dev:
    back = numpy.random.RandomState(100).rand(len(train)) < .2
    train, test = train[~back], train[back]
for name, rows in [('train', train), ('test', test)]:
    rows.to_csv(f'{out}/{name}.tsv', sep='\t', index=False)
P
[ $# -gt 0 ] || set -- '{}' '{"architecture":"deep_fm"}' '{"architecture":"dcn_v2"}' '{"pairs":0}'
for params in "$@"; do
  echo "$params"
  "$bench/click_rate" "$OUT/train.tsv" "$OUT/test.tsv" "$OUT/told.tsv" "$params"
  "$PYTHON" "$SHARED/peers/binary_score.py" "$OUT/told.tsv" | grep -E '^(AUC|logloss)' | tr '\n' ' '
  echo
done
