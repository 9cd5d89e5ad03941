"""Transformer decoders of PyTorch over an encoder's answer, with padding hidden: answers and gradients. Writes decoder.json
beside it.

    python decoder.py      (torch 2)
"""
import json
import pathlib

import torch

torch.manual_seed(17)
WIDTH, HEADS, INNER, LENGTHS, READ = 6, 2, 10, [4, 1, 3], [2, 5, 3]
flat = lambda t: [round(float(v), 7) for v in t.detach().flatten()]


def there(lengths):
    return torch.arange(max(lengths))[None, :] < torch.tensor(lengths)[:, None]


cases = []
for before, activation in [(True, 'gelu'), (True, 'relu'), (False, 'gelu'), (False, 'relu')]:
    layer = torch.nn.TransformerDecoderLayer(WIDTH, HEADS, INNER, 0.0, activation, batch_first=True, norm_first=before)
    network = torch.nn.TransformerDecoder(layer, 2, torch.nn.LayerNorm(WIDTH) if before else None)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(torch.randn_like(p) * 0.3)
    x = torch.randn(len(LENGTHS), max(LENGTHS), WIDTH, requires_grad=True)
    memory = torch.randn(len(READ), max(READ), WIDTH, requires_grad=True)
    own, read = there(LENGTHS), there(READ)
    weight = torch.randn_like(x)
    # What is hidden is true in all masks.
    causal = torch.triu(torch.ones(max(LENGTHS), max(LENGTHS), dtype=torch.bool), 1)
    y = network(x, memory, tgt_mask=causal, tgt_key_padding_mask=~own, memory_key_padding_mask=~read)
    (y[own] * weight[own]).sum().backward()
    cases.append({
        'norm_before': before, 'activation': activation, 'lengths': LENGTHS, 'read': READ,
        'x': flat(x[own]), 'memory': flat(memory[read]), 'weight': flat(weight[own]), 'y': flat(y[own]),
        'd_x': flat(x.grad[own]), 'd_memory': flat(memory.grad[read]),
        'weights': {k: flat(v) for k, v in network.named_parameters()},
        'd_weights': {k: flat(v.grad) for k, v in network.named_parameters()},
    })
pathlib.Path(__file__).with_name('decoder.json').write_text(
    json.dumps({'torch': torch.__version__.split('+')[0], 'cases': cases}, separators=(',', ':')))
