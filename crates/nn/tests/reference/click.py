"""Networks for clicks, put together from PyTorch's own layers: scores and gradients. Writes click.json beside it.

    python click.py      (torch 2)
"""
import json
import pathlib

import torch
from torch import nn

torch.manual_seed(31)
WORDS, NUMBERS, WIDTH, HIDDEN, CROSSES, RANK, ROWS = [4, 3, 5], 2, 3, [6, 4], 2, 2, 7
FIELDS, TOTAL = len(WORDS), sum(WORDS)
WHOLE = FIELDS * WIDTH + NUMBERS
flat = lambda t: [round(float(v), 7) for v in t.detach().flatten()]


class Click(nn.Module):
    def __init__(self, architecture, rank):
        super().__init__()
        self.architecture = architecture
        self.vectors, self.weights = nn.Embedding(TOTAL, WIDTH), nn.Embedding(TOTAL, 1)
        self.bias, self.straight = nn.Parameter(torch.zeros(1)), nn.Linear(NUMBERS, 1)
        if architecture == 'cnn':
            self.filters = nn.ModuleList(nn.Conv1d(WIDTH, WIDTH, 3) for _ in range(2))
        if architecture != 'fm':
            sizes = [WHOLE, *HIDDEN]
            self.inner = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))
            self.last = nn.Linear(sizes[-1], 1)
        if architecture == 'dcn_v2':
            self.down = nn.ModuleList(nn.Linear(WHOLE, rank, bias=False) for _ in range(CROSSES if rank else 0))
            self.up = nn.ModuleList(nn.Linear(rank or WHOLE, WHOLE) for _ in range(CROSSES))
            self.crossed = nn.Linear(WHOLE, 1)

    def forward(self, places, z):
        v = self.vectors(places)
        score = self.bias + self.weights(places).sum(1) + self.straight(z)
        if self.architecture in ('fm', 'deep_fm'):
            # Pair by pair, not by the formula of squares.
            for i in range(FIELDS):
                for j in range(i):
                    score = score + (v[:, i] * v[:, j]).sum(1, keepdim=True)
        if self.architecture == 'cnn':
            for f in self.filters:
                # Zeros before the first field.
                v = torch.relu(f(nn.functional.pad(v.transpose(1, 2), (2, 0)))).transpose(1, 2)
        if self.architecture != 'fm':
            x0 = h = x = torch.cat([v.flatten(1), z], 1)
            for layer in self.inner:
                h = torch.relu(layer(h))
            score = score + self.last(h)
            if self.architecture == 'dcn_v2':
                for k, up in enumerate(self.up):
                    x = x0 * up(self.down[k](x) if len(self.down) else x) + x
                score = score + self.crossed(x)
        return score


cases = []
for architecture, rank in [('fm', 0), ('dnn', 0), ('deep_fm', 0), ('dcn_v2', 0), ('dcn_v2', RANK), ('cnn', 0)]:
    network = Click(architecture, rank)
    codes = torch.stack([torch.randint(n, (ROWS,)) for n in WORDS], 1)
    places = codes + torch.tensor([sum(WORDS[:k]) for k in range(FIELDS)])
    z, truth = torch.randn(ROWS, NUMBERS), torch.randint(2, (ROWS, 1)).float()
    score = network(places, z)
    loss = nn.functional.binary_cross_entropy_with_logits(score, truth)
    loss.backward()
    cases.append({
        'architecture': architecture, 'rank': rank, 'codes': codes.flatten().tolist(), 'numbers': flat(z),
        'truth': flat(truth), 'score': flat(score), 'loss': float(loss.detach()),
        'weights': {k: flat(v) for k, v in network.named_parameters()},
        'd_weights': {k: flat(v.grad) for k, v in network.named_parameters()},
    })
pathlib.Path(__file__).with_name('click.json').write_text(
    json.dumps({'torch': torch.__version__.split('+')[0], 'cases': cases}, separators=(',', ':')))
