"""Recurrent networks of PyTorch: answers, last states and gradients. Writes recurrent.json beside it.

    python recurrent.py      (torch 2)
"""
import json
import pathlib

import torch

torch.manual_seed(11)
cases = []
for name, kind, arguments in [('plain', torch.nn.RNN, {}), ('gru', torch.nn.GRU, {}), ('lstm', torch.nn.LSTM, {})]:
    for layers, both, lengths in [(1, False, None), (2, True, None), (2, True, [6, 1, 4])]:
        network = kind(3, 5, layers, batch_first=True, bidirectional=both)
        states = layers * (1 + both)
        x = torch.randn(3, 6, 3, requires_grad=True)
        h = torch.randn(states, 3, 5, requires_grad=True)
        c = torch.randn(states, 3, 5, requires_grad=True)
        given = (h, c) if name == 'lstm' else h
        weight = torch.randn(3, 6, 5 * (1 + both))
        packed = x if lengths is None else torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        y, last = network(packed, given)
        if lengths is not None:
            y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=6)
        last_h, last_c = last if name == 'lstm' else (last, None)
        loss = (y * weight).sum() + 0.5 * (last_h ** 2).sum()
        if last_c is not None:
            loss = loss + last_c.sum()
        loss.backward()
        flat = lambda t: [round(float(v), 7) for v in t.detach().flatten()]
        cases.append({
            'recurrence': name, 'layers': layers, 'bidirectional': both, 'lengths': lengths,
            'x': flat(x), 'h': flat(h), 'c': flat(c) if name == 'lstm' else None, 'weight': flat(weight),
            'weights': {k: flat(v) for k, v in network.named_parameters()},
            'y': flat(y), 'last_h': flat(last_h), 'last_c': flat(last_c) if last_c is not None else None,
            'd_x': flat(x.grad), 'd_h': flat(h.grad), 'd_c': flat(c.grad) if name == 'lstm' else None,
            'd_weights': {k: flat(v.grad) for k, v in network.named_parameters()},
        })
pathlib.Path(__file__).with_name('recurrent.json').write_text(
    json.dumps({'torch': torch.__version__.split('+')[0], 'cases': cases}, separators=(',', ':')))
