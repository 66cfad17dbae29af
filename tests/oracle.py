"""A convolution in plain loops that really multiplies, and counts each product. Shares no code with the package."""

from itertools import product

import numpy as np


def convolve(x, weight, *, stride, padding, dilation, groups):
    """The sum of products for every output element; a tap on padding is a product with zero.

    x is (N, C, *spatial), weight (O, C / groups, *kernel), padding [(before, after), ...].
    Returns the output and the number of multiplications.
    """
    padded = np.pad(x, [(0, 0), (0, 0), *padding])
    kernel = weight.shape[2:]
    inputs, outputs = weight.shape[1], weight.shape[0] // groups  # channels of one group
    spatial = []
    for n, k, s, d in zip(padded.shape[2:], kernel, stride, dilation, strict=True):
        spatial.append(len(range(0, n - d * (k - 1), s)))  # every position where the last tap still lies inside
    y = np.zeros((x.shape[0], weight.shape[0], *spatial))
    multiplications = 0
    for sample, out_channel in product(range(x.shape[0]), range(weight.shape[0])):
        first = out_channel // outputs * inputs
        for where in product(*map(range, spatial)):
            total = 0.0
            for channel in range(inputs):
                for tap in product(*map(range, kernel)):
                    at = tuple(w * s + t * d for w, s, t, d in zip(where, stride, tap, dilation, strict=True))
                    total += padded[(sample, first + channel, *at)] * weight[(out_channel, channel, *tap)]
                    multiplications += 1
            y[(sample, out_channel, *where)] = total
    return y, multiplications


def convolve_transposed(x, weight, *, stride, padding, dilation, groups, output_padding):
    """Every input element is spread over the kernel's taps; then the padding is cut off.

    x is (N, C, *spatial), weight (C, O / groups, *kernel), padding [(before, after), ...].
    Returns the output and the number of multiplications.
    """
    kernel = weight.shape[2:]
    inputs, outputs = weight.shape[0] // groups, weight.shape[1]  # channels of one group
    spatial = [
        (n - 1) * s + d * (k - 1) + 1 + extra
        for n, k, s, d, extra in zip(x.shape[2:], kernel, stride, dilation, output_padding, strict=True)
    ]
    y = np.zeros((x.shape[0], outputs * groups, *spatial))
    multiplications = 0
    for sample, channel in product(range(x.shape[0]), range(x.shape[1])):
        first = channel // inputs * outputs
        for where in product(*map(range, x.shape[2:])):
            for out_channel in range(outputs):
                for tap in product(*map(range, kernel)):
                    at = tuple(w * s + t * d for w, s, t, d in zip(where, stride, tap, dilation, strict=True))
                    y[(sample, first + out_channel, *at)] += (
                        x[(sample, channel, *where)] * weight[(channel, out_channel, *tap)]
                    )
                    multiplications += 1
    keep = tuple(slice(before, n - after) for n, (before, after) in zip(spatial, padding, strict=True))
    return y[(slice(None), slice(None), *keep)], multiplications
