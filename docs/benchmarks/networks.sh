#!/usr/bin/env bash
# A training step and the inference of a two-layer LSTM (batch 64, 56 steps of 16 numbers, 64 units) beside PyTorch, two
# threads each.
#
#   PYTHON=… docs/benchmarks/networks.sh     (an interpreter with torch; without one the peer is left out)
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --release --locked --quiet -p tradewind-nn --example recurrent_bench
bench=${CARGO_TARGET_DIR:-target}/release/examples/recurrent_bench
for kind in lstm gru; do
  echo "$kind"
  RAYON_NUM_THREADS=2 "$bench" $kind
  if "${PYTHON:-python3}" -c 'import torch' 2>/dev/null; then
    KIND=$kind "${PYTHON:-python3}" - <<'PY'
import os, resource, statistics, time, torch
torch.set_num_threads(2)
torch.manual_seed(1)
kind = {'lstm': torch.nn.LSTM, 'gru': torch.nn.GRU}[os.environ['KIND']]
class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.memory, self.head = kind(16, 64, 2, batch_first=True), torch.nn.Linear(64, 1)
    def forward(self, x):
        return self.head(self.memory(x)[0][:, -1])
network = Network()
optimiser = torch.optim.AdamW(network.parameters(), 1e-3)
x, y = torch.rand(64, 56, 16) * 2 - 1, torch.rand(64, 1) * 2 - 1
def step():
    optimiser.zero_grad()
    loss = torch.nn.functional.mse_loss(network(x), y)
    loss.backward()
    optimiser.step()
def median(of, n, skip):
    took = []
    for _ in range(n):
        begun = time.perf_counter()
        of()
        took.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(took[skip:])
print(f'  PyTorch {torch.__version__}: training step {median(step, 80, 20):.2f} ms')
network.eval()
with torch.inference_mode():
    for batch in (1, 64):
        print(f'  PyTorch: inference, batch {batch}: {median(lambda: network(x[:batch]), 200, 50):.3f} ms')
print(f'  PyTorch: peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB')
PY
  fi
done
