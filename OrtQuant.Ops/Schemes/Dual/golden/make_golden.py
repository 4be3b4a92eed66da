#!/usr/bin/env python3
"""Derives the golden files of scheme `dual` from the words of ../SPEC.md, nibble by nibble and in exact arithmetic.

It shares nothing with the C# encoder or the C++ decoder.

    python3 make_golden.py [FOLDER]        (needs numpy; writes *.golden into FOLDER, default: beside this file)
"""

import pathlib
import sys
from fractions import Fraction

import numpy as np


def float32(value):
    """A fraction rounded once to float32, to nearest, ties to even (all cases here are far from subnormal)."""
    if value == 0:
        return np.float32(0)
    magnitude, exponent = abs(value), 0
    while magnitude >= 2**24:
        magnitude, exponent = magnitude / 2, exponent + 1
    while magnitude < 2**23:
        magnitude, exponent = magnitude * 2, exponent - 1
    whole, rest = divmod(magnitude, 1)
    whole = int(whole) + (rest > Fraction(1, 2) or (rest == Fraction(1, 2) and int(whole) % 2 == 1))
    result = np.float32(np.ldexp(float(whole), exponent))
    return -result if value < 0 else result


def pack(codes):
    """ "Packed weights": tile n / 16, chunk k / 32, vector, byte and nibble inside the chunk."""
    n_count, k_count = codes.shape
    tiles, chunks = -(-n_count // 16), -(-k_count // 32)
    out = bytearray(tiles * chunks * 256)
    for n in range(n_count):
        for k in range(k_count):
            vector, rest = divmod(k % 32, 8)
            j, nibble = divmod(rest, 2)
            out[((n // 16) * chunks + k // 32) * 256 + 64 * vector + 4 * (n % 16) + j] |= int(codes[n, k]) << (4 * nibble)
    return bytes(out)


def by_tile(values, width):
    """Integers [N, G] -> [T, G, 16] bytes, two's complement; padding 0."""
    n_count, groups = values.shape
    out = bytearray(-(-n_count // 16) * groups * 16)
    for n in range(n_count):
        for g in range(groups):
            out[(n // 16 * groups + g) * 16 + n % 16] = int(values[n, g]) % (1 << width)
    return bytes(out)


def hex_runs(data):
    """Hexadecimal bytes, runs of more than three as XX*n, wrapped; continued lines begin with a space."""
    tokens, i = [], 0
    while i < len(data):
        run = 1
        while i + run < len(data) and data[i + run] == data[i]:
            run += 1
        if run > 3:
            tokens.append(f"{data[i]:02x}*{run}")
            i += run
        else:
            tokens.append(f"{data[i]:02x}")
            i += 1
    return wrap(tokens)


def wrap(tokens, per_line=24):
    lines = [" ".join(tokens[i : i + per_line]) for i in range(0, len(tokens), per_line)]
    return "\n  ".join(lines)


def numbers(values):
    return wrap([str(np.float32(v)).removesuffix(".0") for v in values])


def write(folder, name, group_size, codes, row_scales, scales, zero_points):
    n_count, k_count = codes.shape
    group = np.arange(k_count) // group_size
    values, group_scales, group_zero_points = [], [], []
    row_sums = np.zeros(-(-n_count // 16) * 16, "<i4")
    for n in range(n_count):
        c = Fraction(float(row_scales[n]))
        for k in range(k_count):
            w8 = int(scales[n, group[k]]) * int(codes[n, k]) - int(zero_points[n, group[k]])
            assert -127 <= w8 <= 127
            row_sums[n] += w8
            values.append(float32(c * w8))
        for g in range(scales.shape[1]):
            group_scales.append(float32(c * int(scales[n, g])))
            group_zero_points.append(float32(Fraction(int(zero_points[n, g]), int(scales[n, g]))))
    padded = np.zeros(-(-n_count // 16) * 16, "<f4")
    padded[:n_count] = row_scales
    text = [
        f"# Written by make_golden.py from the words of ../SPEC.md",
        f"group_size: {group_size}",
        f"shape: {n_count} {k_count}",
        f"codes: {wrap([str(c) for c in codes.reshape(-1)])}",
        f"row_scales: {numbers(row_scales)}",
        f"group_scales: {numbers(group_scales)}",
        f"group_zero_points: {numbers(group_zero_points)}",
        f"values: {numbers(values)}",
        f"W: {hex_runs(pack(codes))}",
        f"scales: {hex_runs(padded.tobytes())}",
        f"zero_points: {hex_runs(by_tile(zero_points, 8))}",
        f"group_scales_bytes: {hex_runs(by_tile(scales, 8))}",
        f"row_sums: {hex_runs(row_sums.tobytes())}",
    ]
    (folder / f"{name}.golden").write_text("\n".join(text) + "\n")


def make(folder, group_size, n_count, k_count, seed):
    random = np.random.RandomState(seed)  # the legacy generator: its stream never changes
    groups = -(-k_count // group_size)
    scales = random.randint(1, 17, (n_count, groups))
    zero_points = np.array([[random.randint(15 * s - 127, 128) for s in row] for row in scales])
    codes = random.randint(0, 16, (n_count, k_count))
    row_scales = (random.randint(1, 2**23, n_count) * np.exp2(random.randint(-36, -28, n_count))).astype(np.float32)
    write(folder, f"g{group_size}-{n_count}x{k_count}", group_size, codes, row_scales, scales, zero_points)


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent
    make(folder, 32, 17, 35, 1)
    make(folder, 64, 3, 65, 2)
    make(folder, 128, 4, 130, 3)
    make(folder, 256, 1, 300, 4)


if __name__ == "__main__":
    main()
