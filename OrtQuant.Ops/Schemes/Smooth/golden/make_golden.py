#!/usr/bin/env python3
"""Derives the golden files of scheme `smooth` from the words of ../SPEC.md, nibble by nibble and in exact arithmetic.

It shares nothing with the C# encoder or the C++ decoder.

    python3 make_golden.py [FOLDER]        (needs numpy; writes *.golden into FOLDER, default: beside this file)
"""

import pathlib
import sys

import numpy as np


def pack(codes):
    """ "Packed weights": tile n / 16, chunk p / 32, vector, byte and nibble inside the chunk."""
    n_count, k_count = codes.shape
    tiles, chunks = -(-n_count // 16), -(-k_count // 32)
    out = bytearray(tiles * chunks * 256)
    for n in range(n_count):
        for p in range(k_count):
            vector, rest = divmod(p % 32, 8)
            j, nibble = divmod(rest, 2)
            out[((n // 16) * chunks + p // 32) * 256 + 64 * vector + 4 * (n % 16) + j] |= int(codes[n, p]) << (4 * nibble)
    return bytes(out)


def by_tile(scales, dtype):
    """[N, G] -> [T, G, 16], padding 0."""
    n_count, groups = scales.shape
    out = np.zeros((-(-n_count // 16), groups, 16), dtype)
    for n in range(n_count):
        for g in range(groups):
            out[n // 16, g, n % 16] = scales[n, g]
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
    return wrap([str(np.float32(v)).removesuffix(".0") for v in values])


def make(folder, group_size, scale_type, n_count, k_count, seed, activations):
    random = np.random.RandomState(seed)  # the legacy generator: its stream never changes
    size = k_count if group_size == -1 else group_size
    groups = -(-k_count // size)
    codes = random.randint(0, 16, (n_count, k_count))
    # Eleven significant bits, so that both types hold them and products with q - 8 are exact in float32.
    sign = random.randint(0, 2, (n_count, groups)) * 2 - 1
    scales = sign * random.randint(1024, 2048, (n_count, groups)) * np.exp2(random.randint(-20, -12, (n_count, groups)))
    values = [scales[n, p // size] * (codes[n, p] - 8) for n in range(n_count) for p in range(k_count)]
    assert all(float(np.float32(v)) == v for v in values)
    text = ["# Written by make_golden.py from the words of ../SPEC.md", f"group_size: {group_size}"]
    text += [f"{key}: {value}" for key, value in activations.items()]
    text += [
        f"scale_type: {scale_type}",
        f"shape: {n_count} {k_count}",
        f"codes: {wrap([str(c) for c in codes.reshape(-1)])}",
        f"group_scales: {numbers(scales.reshape(-1))}",
        f"group_zero_points: {wrap(['8'] * scales.size)}",
        f"values: {numbers(values)}",
        f"W: {hex_runs(pack(codes))}",
        f"scales: {hex_runs(by_tile(scales, '<f2' if scale_type == 'float16' else '<f4'))}",
    ]
    name = f"{'row' if group_size == -1 else f'g{group_size}'}-{scale_type}-{n_count}x{k_count}"
    (folder / f"{name}.golden").write_text("\n".join(text) + "\n")


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent
    make(folder, 32, "float16", 17, 35, 1, {})
    make(folder, 16, "float32", 3, 65, 2, {"smooth_size": 64, "smooth_scope": "none"})
    make(folder, 128, "float16", 4, 130, 3, {"activation_bits": 8, "smooth_scope": "call"})
    make(folder, -1, "float16", 18, 40, 4, {"smooth_size": 128})


if __name__ == "__main__":
    main()
