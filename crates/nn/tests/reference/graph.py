"""Layers over graphs, written out node by node in PyTorch: values and gradients. Writes graph.json beside it.

    python graph.py      (torch 2)
"""
import json
import pathlib

import torch
from torch import nn

torch.manual_seed(17)
NODES, INPUT, OUTPUT, HEADS, WIDTH = 7, 3, 4, 2, 3
# Node 6 is alone; 4 has a neighbour that has no other.
PAIRS = [(0, 1), (0, 2), (1, 2), (2, 3), (3, 4), (0, 5), (3, 5)]
flat = lambda t: [round(float(v), 7) for v in t.detach().flatten()]
adjacency = torch.zeros(NODES, NODES)
for a, b in PAIRS:
    adjacency[a, b] = adjacency[b, a] = 1
with_self = adjacency + torch.eye(NODES)


class Convolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(OUTPUT, INPUT)), nn.Parameter(torch.randn(OUTPUT))

    def forward(self, x):
        degrees = with_self.sum(1)
        normalised = torch.diag(degrees ** -0.5) @ with_self @ torch.diag(degrees ** -0.5)
        return normalised @ x @ self.weight.T + self.bias


class Sage(nn.Module):
    def __init__(self):
        super().__init__()
        self.own = nn.Linear(INPUT, OUTPUT)
        self.heard = nn.Parameter(torch.randn(OUTPUT, INPUT))

    def forward(self, x):
        means = []
        for i in range(NODES):
            of = [x[j] for j in range(NODES) if adjacency[i, j] > 0]
            means.append(torch.stack(of).mean(0) if of else torch.zeros(INPUT))
        return self.own(x) + torch.stack(means) @ self.heard.T


class Attention(nn.Module):
    def __init__(self, second, join, graph):
        super().__init__()
        self.second, self.join, self.graph = second, join, graph
        self.weight = nn.Parameter(torch.randn(HEADS * WIDTH, INPUT))
        if second:
            self.own = nn.Parameter(torch.randn(HEADS * WIDTH, INPUT))
        self.target = nn.Parameter(torch.randn(HEADS, WIDTH))
        if not second:
            self.source = nn.Parameter(torch.randn(HEADS, WIDTH))
        self.bias = nn.Parameter(torch.randn(HEADS * WIDTH if join else WIDTH))

    def forward(self, x):
        heard = (x @ self.weight.T).view(NODES, HEADS, WIDTH)
        rows = []
        for i in range(NODES):
            of = [j for j in range(NODES) if self.graph[i, j] > 0]
            if not of:
                rows.append(torch.zeros(HEADS, WIDTH))
                continue
            if self.second:
                own = (self.own @ x[i]).view(HEADS, WIDTH)
                scores = [(nn.functional.leaky_relu(own + heard[j], 0.2) * self.target).sum(1) for j in of]
            else:
                scores = [nn.functional.leaky_relu((heard[i] * self.target).sum(1)
                                                   + (heard[j] * self.source).sum(1), 0.2) for j in of]
            shares = torch.softmax(torch.stack(scores), 0)
            rows.append((shares[:, :, None] * heard[of]).sum(0))
        told = torch.stack(rows)
        return (told.flatten(1) if self.join else told.mean(1)) + self.bias


cases = []
for name, layer in [
    ('convolution', Convolution()),
    ('sage', Sage()),
    ('attention', Attention(False, True, with_self)),
    ('attention_mean', Attention(False, False, with_self)),
    # Without self loops, so that node 6 attends to nobody.
    ('attention_alone', Attention(False, True, adjacency)),
    ('attention_second', Attention(True, True, with_self)),
]:
    x = torch.randn(NODES, INPUT, requires_grad=True)
    told = layer(x)
    outer = torch.randn_like(told)
    (told * outer).sum().backward()
    cases.append({
        'name': name, 'x': flat(x), 'told': flat(told), 'outer': flat(outer), 'd_x': flat(x.grad),
        'weights': {k: flat(v) for k, v in layer.named_parameters()},
        'd_weights': {k: flat(v.grad) for k, v in layer.named_parameters()},
    })
pathlib.Path(__file__).with_name('graph.json').write_text(
    json.dumps({'torch': torch.__version__.split('+')[0], 'pairs': PAIRS, 'cases': cases}, separators=(',', ':')))
