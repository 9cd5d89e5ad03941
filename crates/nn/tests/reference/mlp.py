"""Multilayer perceptrons put together from PyTorch's own layers: scores and gradients. Writes mlp.json beside it.

    python mlp.py      (torch 2)
"""
import json
import pathlib

import torch
from torch import nn

torch.manual_seed(17)
WORDS, NUMBERS, HIDDEN, OUTPUTS, ROWS = [(4, 3), (9, 2)], 3, [6, 5], 2, 8
flat = lambda t: [round(float(v), 7) for v in t.detach().flatten()]


class Layer(nn.Module):
    def __init__(self, a, b, norm):
        super().__init__()
        self.dense = nn.Linear(a, b)
        if norm:
            self.norm = nn.LayerNorm(b)

    def forward(self, x):
        x = self.dense(x)
        return self.norm(x) if hasattr(self, 'norm') else x


class Mlp(nn.Module):
    def __init__(self, activation, norm):
        super().__init__()
        self.vectors = nn.ModuleList(nn.Embedding(n, width) for n, width in WORDS)
        sizes = [NUMBERS + sum(width for _, width in WORDS), *HIDDEN]
        self.layers = nn.ModuleList(Layer(a, b, norm) for a, b in zip(sizes, sizes[1:]))
        self.last = nn.Linear(sizes[-1], OUTPUTS)
        self.activation = {'relu': torch.relu, 'gelu': nn.functional.gelu, 'silu': nn.functional.silu}[activation]

    def forward(self, z, codes):
        x = torch.cat([z, *(v(codes[:, k]) for k, v in enumerate(self.vectors))], 1)
        for layer in self.layers:
            x = self.activation(layer(x))
        return self.last(x)


def ours(name):
    parts = name.split('.')
    return '.'.join(parts[:2]) if parts[0] == 'vectors' else name


cases = []
for activation, norm in [('relu', False), ('relu', True), ('gelu', False), ('silu', True)]:
    net = Mlp(activation, norm)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn_like(p) * 0.6)
    z = torch.randn(ROWS, NUMBERS)
    codes = torch.stack([torch.randint(n, (ROWS,)) for n, _ in WORDS], 1)
    scores = net(z, codes)
    (scores * scores).mean().backward()
    cases.append({
        'activation': activation, 'norm': norm, 'codes': codes.flatten().tolist(), 'numbers': flat(z), 'scores': flat(scores),
        'weights': {ours(n): flat(p) for n, p in net.named_parameters()},
        'd_weights': {ours(n): flat(p.grad) for n, p in net.named_parameters()},
    })
pathlib.Path(__file__).with_suffix('.json').write_text(json.dumps({'torch': torch.__version__, 'cases': cases}) + '\n')
