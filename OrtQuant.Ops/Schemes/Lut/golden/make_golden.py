#!/usr/bin/env python3
"""Derives the golden files of scheme `lut` from the words of ../SPEC.md, bit by bit and in exact arithmetic.

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


def exact(value):
    return Fraction(float(value))


def pack(codes, bits):
    """ "Packed weights": a byte is 8 consecutive k of one plane of one output."""
    n_count, k_count = codes.shape
    tiles, chunks = -(-n_count // 16), -(-k_count // 32)
    out = bytearray(tiles * chunks * 64 * bits)
    for n in range(n_count):
        lane = n % 16
        for k in range(k_count):
            octet = (n // 16) * chunks * 4 + k // 8
            for i in range(bits):
                if i % 2 == 1:
                    byte = 32 * (i // 2) + 2 * lane + 1
                elif i + 1 < bits:
                    byte = 32 * (i // 2) + 2 * lane
                else:
                    byte = 32 * (i // 2) + lane
                out[octet * 16 * bits + byte] |= (int(codes[n, k]) >> i & 1) << (k % 8)
    return bytes(out)


def by_tile(values, dtype):
    """[N, ...] -> [T, ..., 16]; padding 0."""
    n_count = values.shape[0]
    out = np.zeros((-(-n_count // 16), *values.shape[1:], 16), dtype)
    for n in range(n_count):
        out[n // 16, ..., n % 16] = values[n]
    return out.tobytes()


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
    return wrap([str(np.float32(v)).removesuffix(".0") for v in np.asarray(values).reshape(-1)])


def free_value(code, alphas, offset):
    """ "Dequantization", free: rounded after each plane."""
    w = float32(exact(offset))
    for i, alpha in enumerate(alphas):
        w = float32(exact(w) + (exact(alpha) if code >> i & 1 else -exact(alpha)))
    return w


def uniform_value(code, scale, zero_point):
    return float32(exact(scale) * exact(float32(code - exact(zero_point))))


def make(folder, bits, group_size, levels, zero_point, scale_type, n_count, k_count, seed):
    random = np.random.RandomState(seed)  # the legacy generator: its stream never changes
    size = k_count if group_size == -1 else group_size
    groups = -(-k_count // size)
    dtype = {"float16": "<f2", "float32": "<f4"}[scale_type]

    def reals(*shape):
        # One binade where sums of float32 numbers are rounded: the lowest bit of each still counts in some sum.
        if levels == "free" and scale_type == "float32":
            return (random.randint(2**19, 2**20, shape) * np.exp2(-20)).astype(dtype)
        return (random.randint(1, 2**20, shape) * np.exp2(random.randint(-24, -19, shape))).astype(dtype)

    codes = random.randint(0, 1 << bits, (n_count, k_count))
    text = ["# Written by make_golden.py from the words of ../SPEC.md", f"bits: {bits}", f"group_size: {group_size}", f"levels: {levels}"]
    if levels == "uniform":
        text.append(f"zero_point: {zero_point}")
        scales = reals(n_count, groups, 1)
        if zero_point == "integer":
            offsets = random.randint(0, 1 << bits, (n_count, groups)).astype("u1")
        else:
            offsets = (reals(n_count, groups).astype("f8") * (1 << bits) - 1).astype(dtype)
    else:
        scales = reals(n_count, groups, bits)
        offsets = reals(n_count, groups)
        offsets = offsets if scale_type == "float32" else (offsets.astype("f8") * 2 - 1).astype(dtype)
    values = []
    for n in range(n_count):
        for k in range(k_count):
            g = k // size
            code = int(codes[n, k])
            values.append(uniform_value(code, scales[n, g, 0], offsets[n, g]) if levels == "uniform" else free_value(code, scales[n, g], offsets[n, g]))
    names = ("group_scales", "group_zero_points") if levels == "uniform" else ("group_alphas", "group_offsets")
    text += [
        f"scale_type: {scale_type}",
        f"shape: {n_count} {k_count}",
        f"codes: {wrap([str(c) for c in codes.reshape(-1)])}",
        f"{names[0]}: {numbers(scales)}",
        f"{names[1]}: {numbers(offsets)}",
        f"values: {numbers(values)}",
        f"W: {hex_runs(pack(codes, bits))}",
        f"scales: {hex_runs(by_tile(scales, dtype))}",
        f"zero_points: {hex_runs(by_tile(offsets, offsets.dtype))}",
    ]
    name = f"{levels}-{bits}bit-g{group_size if group_size > 0 else 'row'}-{n_count}x{k_count}.golden"
    (folder / name).write_text("\n".join(text) + "\n")


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent
    make(folder, 1, 128, "free", None, "float16", 17, 130, 1)
    make(folder, 2, 32, "free", None, "float32", 3, 70, 2)
    make(folder, 3, 16, "free", None, "float16", 18, 35, 3)
    make(folder, 4, -1, "free", None, "float32", 2, 41, 4)
    make(folder, 2, 64, "uniform", "float", "float16", 4, 129, 5)
    make(folder, 3, 16, "uniform", "integer", "float16", 17, 33, 6)
    make(folder, 4, 32, "uniform", "float", "float32", 2, 50, 7)


if __name__ == "__main__":
    main()
