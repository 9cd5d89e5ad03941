#!/usr/bin/env bash
# A training step and the inference of a two-layer LSTM (batch 64, 56 steps of 16 numbers, 64 units) and of a small network of
# images (64 of 3 channels, 32 by 32), and a step of masked language modelling (4 layers of width 256, 32 texts of 64 tokens),
# beside PyTorch, two threads each.
#
#   PYTHON=… docs/benchmarks/networks.sh     (an interpreter with torch; without one the peer is left out)
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --release --locked --quiet --workspace --examples
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

echo "masked LM"
RAYON_NUM_THREADS=2 "$(dirname "$bench")/transformer_bench"
if "${PYTHON:-python3}" -c 'import torch' 2>/dev/null; then
  "${PYTHON:-python3}" - <<'PY'
import resource, statistics, time, torch
torch.set_num_threads(2)
torch.manual_seed(1)
TEXTS, TOKENS, WIDTH, VOCABULARY = 32, 64, 256, 21128
class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.places = torch.nn.Embedding(VOCABULARY, WIDTH), torch.nn.Embedding(TOKENS, WIDTH)
        self.bias = torch.nn.Parameter(torch.zeros(VOCABULARY))
        layer = torch.nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, 0.1, 'gelu', batch_first=True)
        self.encoder = torch.nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.dropout = torch.nn.Dropout(0.1)
    def forward(self, ids):
        return self.encoder(self.dropout(self.words(ids) + self.places.weight))
network = Network()
optimiser = torch.optim.AdamW(network.parameters(), 1e-3)
ids = torch.randint(0, VOCABULARY, (TEXTS, TOKENS))
masked = torch.rand(TEXTS, TOKENS) < 0.15
def step():
    optimiser.zero_grad()
    told = network(ids)[masked] @ network.words.weight.T + network.bias
    torch.nn.functional.cross_entropy(told, ids[masked]).backward()
    optimiser.step()
took = []
for _ in range(16):
    begun = time.perf_counter()
    step()
    took.append((time.perf_counter() - begun) * 1e3)
print(f'  PyTorch {torch.__version__}: masked-LM step {statistics.median(took[4:]):.1f} ms')
print(f'  PyTorch: peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB')
PY
fi

echo "images"
RAYON_NUM_THREADS=2 "$(dirname "$bench")/image_bench"
if "${PYTHON:-python3}" -c 'import torch' 2>/dev/null; then
  "${PYTHON:-python3}" - <<'PY'
import resource, statistics, time, torch
from torch import nn
torch.set_num_threads(2)
torch.manual_seed(1)
layers = []
for a, b in [(3, 32), (32, 64), (64, 128)]:
    layers += [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2)]
network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))
optimiser = torch.optim.AdamW(network.parameters(), 1e-3)
x, y = torch.rand(64, 3, 32, 32) * 2 - 1, torch.randint(10, (64,))
def step():
    optimiser.zero_grad()
    nn.functional.cross_entropy(network(x), y).backward()
    optimiser.step()
def median(of, n, skip):
    took = []
    for _ in range(n):
        begun = time.perf_counter()
        of()
        took.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(took[skip:])
print(f'  PyTorch {torch.__version__}: training step {median(step, 50, 10):.1f} ms')
network.eval()
with torch.inference_mode():
    for batch in (1, 64):
        print(f'  PyTorch: inference, batch {batch}: {median(lambda: network(x[:batch]), 60, 10):.3f} ms')
print(f'  PyTorch: peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB')
PY
fi
