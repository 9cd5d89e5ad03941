"""Convolution of images, batch normalisation and pooling of PyTorch: answers and gradients. Writes convolution.json beside it.

    python convolution.py      (torch 2)
"""
import json
import pathlib

import torch
from torch import nn

torch.manual_seed(41)
flat = lambda t: [round(float(v), 7) for v in t.detach().flatten()]


def told(layer, x):
    """The answer to x, and the gradients of the sum of the answer times a weight of chance."""
    x.grad = None
    y = layer(x)
    weight = torch.randn_like(y)
    (y * weight).sum().backward()
    case = {'dims': list(x.shape), 'x': flat(x), 'told': list(y.shape), 'y': flat(y), 'weight': flat(weight), 'd_x': flat(x.grad)}
    case['d_weights'] = {k: flat(v.grad) for k, v in layer.named_parameters()} if isinstance(layer, nn.Module) else {}
    return case


convolutions = []
for dims, output, kernel, stride, padding, dilation, groups, bias in [
    ((3, 2, 5, 4), 3, (3, 3), (1, 1), (1, 1), (1, 1), 1, True),
    ((2, 4, 7, 6), 6, (3, 2), (2, 3), (0, 1), (1, 2), 2, True),
    ((2, 3, 1, 1), 5, (1, 1), (1, 1), (0, 0), (1, 1), 1, False),
    ((2, 3, 6, 5), 3, (3, 3), (1, 2), (2, 1), (2, 1), 3, True),
    ((1, 2, 9, 8), 2, (2, 2), (4, 3), (0, 0), (1, 1), 1, False),
    ((2, 4, 3, 4), 4, (1, 1), (1, 1), (0, 0), (1, 1), 2, True),
    ((1, 1, 2, 2), 2, (3, 3), (5, 5), (3, 3), (1, 1), 1, True),
]:
    layer = nn.Conv2d(dims[1], output, kernel, stride, padding, dilation, groups, bias)
    case = told(layer, torch.randn(dims, requires_grad=True))
    convolutions.append(case | {
        'output': output, 'kernel': kernel, 'stride': stride, 'padding': padding, 'dilation': dilation, 'groups': groups,
        'weights': {k: flat(v) for k, v in layer.named_parameters()},
    })

norms = []
for dims in [(5, 3), (4, 2, 3), (3, 2, 5, 6)]:
    layer = (nn.BatchNorm1d if len(dims) < 4 else nn.BatchNorm2d)(dims[1], momentum=0.3)
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(torch.randn_like(p) * 0.5)
    weights = {k: flat(v) for k, v in layer.named_parameters()}
    x = (torch.randn(dims) * 2 + 1).requires_grad_()
    layer.train()
    training = told(layer, x)
    running = [flat(layer.running_mean), flat(layer.running_var)]
    layer.zero_grad()
    layer.eval()
    norms.append({'weights': weights, 'training': training, 'running': running, 'predicting': told(layer, x)})

pools = []
for take, of in [('largest', nn.functional.max_pool2d), ('mean', nn.functional.avg_pool2d)]:
    for dims, size, stride, padding in [
        ((2, 3, 4, 6), (2, 2), (2, 2), (0, 0)),
        ((1, 2, 5, 7), (2, 2), (2, 2), (0, 0)),
        ((2, 1, 7, 5), (3, 2), (2, 1), (1, 1)),
        ((1, 2, 9, 9), (2, 3), (4, 5), (1, 0)),
        ((2, 2, 1, 1), (1, 1), (1, 1), (0, 0)),
    ]:
        case = told(lambda x: of(x, size, stride, padding), torch.randn(dims, requires_grad=True))
        pools.append(case | {'take': take, 'size': size, 'stride': stride, 'padding': padding})

pathlib.Path(__file__).with_name('convolution.json').write_text(json.dumps(
    {'torch': torch.__version__.split('+')[0], 'convolutions': convolutions, 'norms': norms, 'pools': pools},
    separators=(',', ':')))
