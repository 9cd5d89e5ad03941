"""Transformer encoders of PyTorch: answers and gradients. Writes transformer.json beside it.

    python transformer.py      (torch 2)
"""
import json
import pathlib

import torch

torch.manual_seed(12)
WIDTH, HEADS, INNER, LENGTHS = 6, 2, 10, [5, 1, 3]
flat = lambda t: [round(float(v), 7) for v in t.detach().flatten()]
cases = []
for before, causal, activation in [(True, True, 'gelu'), (True, False, 'relu'), (False, False, 'gelu'), (False, True, 'relu')]:
    layer = torch.nn.TransformerEncoderLayer(WIDTH, HEADS, INNER, 0.0, activation, batch_first=True, norm_first=before)
    network = torch.nn.TransformerEncoder(layer, 2, torch.nn.LayerNorm(WIDTH) if before else None, enable_nested_tensor=False)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(torch.randn_like(p) * 0.3)
    longest = max(LENGTHS)
    x = torch.randn(len(LENGTHS), longest, WIDTH, requires_grad=True)
    there = torch.arange(longest)[None, :] < torch.tensor(LENGTHS)[:, None]
    weight = torch.randn(len(LENGTHS), longest, WIDTH)
    # What is hidden is true in both masks.
    mask = torch.triu(torch.ones(longest, longest, dtype=torch.bool), 1) if causal else None
    y = network(x, mask=mask, src_key_padding_mask=~there)
    (y[there] * weight[there]).sum().backward()
    cases.append({
        'norm_before': before, 'causal': causal, 'activation': activation, 'lengths': LENGTHS,
        'x': flat(x[there]), 'weight': flat(weight[there]), 'y': flat(y[there]), 'd_x': flat(x.grad[there]),
        'weights': {k: flat(v) for k, v in network.named_parameters()},
        'd_weights': {k: flat(v.grad) for k, v in network.named_parameters()},
    })
pathlib.Path(__file__).with_name('transformer.json').write_text(
    json.dumps({'torch': torch.__version__.split('+')[0], 'cases': cases}, separators=(',', ':')))
