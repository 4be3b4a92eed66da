#!/usr/bin/env python3
"""Derives the golden files of scheme `group` from the words of ../SPEC.md, bit by bit and in exact arithmetic.

It shares nothing with the C# encoder or the C++ decoder: every bit of every code is placed by the address formulas of the
specification, scales and codes are computed with fractions, and values with one float32 rounding an operation.

    python3 make_golden.py [FOLDER]        (needs numpy; writes *.golden into FOLDER, default: beside this file)
"""

import pathlib
import sys
from fractions import Fraction

import numpy as np


def address(n, k, plane_width, plane_start, chunk_bytes, chunks):
    """Byte index of code (n, k) in a plane, and the first bit inside that byte ("Packed weights")."""
    tile, lane = divmod(n, 16)
    chunk, k_in_chunk = divmod(k, 32)
    fields = 8 // plane_width
    vector, rest = divmod(k_in_chunk, 4 * fields)
    j, field = divmod(rest, fields)
    if plane_width == 1:  # the high bits of 3-bit codes follow the fields of the low plane, whose vectors hold 16 k
        low_vector, rest = divmod(k_in_chunk, 16)
        vector, (j, low_field) = 0, divmod(rest, 4)
        field = 4 * low_vector + low_field
    byte = (tile * chunks + chunk) * chunk_bytes + plane_start + 64 * vector + 4 * lane + j
    return byte, field * plane_width


def pack_codes(codes, bits):
    n_count, k_count = codes.shape
    tiles, chunks, chunk_bytes = -(-n_count // 16), -(-k_count // 32), 64 * bits
    planes = {2: [(0, 2, 0)], 3: [(0, 2, 0), (2, 1, 128)], 4: [(0, 4, 0)], 8: [(0, 8, 0)]}[bits]
    packed = [0] * (tiles * chunks * chunk_bytes)
    for n in range(n_count):
        for k in range(k_count):
            for first_bit, width, start in planes:
                byte, shift = address(n, k, width, start, chunk_bytes, chunks)
                for b in range(width):
                    if int(codes[n, k]) >> (first_bit + b) & 1:
                        packed[byte] |= 1 << (shift + b)
    return bytes(packed)


def pack_floats(values, dtype):
    """[N, G] -> [T, G, 16], padding 0."""
    n_count, groups = values.shape
    out = np.zeros((-(-n_count // 16), groups, 16), dtype)
    for n in range(n_count):
        out[n // 16, :, n % 16] = values[n]
    return out.astype("<" + np.dtype(dtype).str[1:]).tobytes()


def pack_integer_zero_points(values, bits):
    """[N, G] -> [T, ceil(G * zb / 8), 16], padding 0."""
    zb = 4 if bits == 3 else bits
    n_count, groups = values.shape
    size = -(-groups * zb // 8)
    packed = [0] * (-(-n_count // 16) * size * 16)
    for n in range(n_count):
        tile, lane = divmod(n, 16)
        for g in range(groups):
            byte, bit = divmod(g * zb, 8)
            packed[(tile * size + byte) * 16 + lane] |= int(values[n, g]) << bit
    return bytes(packed)


def store(x, dtype):
    """A fraction rounded once to the stored type, as a fraction. Python's int / int is correctly rounded to float64, which
    leaves the second rounding ambiguous only at exact ties: none of the examples is near one (checked)."""
    wide = np.float64(x.numerator / x.denominator)
    near = dtype(wide)
    for neighbour in (np.nextafter(near, dtype(-np.inf)), np.nextafter(near, dtype(np.inf))):
        middle = (Fraction(float(near)) + Fraction(float(neighbour))) / 2
        assert abs(x - middle) > abs(x) * Fraction(1, 10**9), "choose other values: a tie"
    return Fraction(float(near))


def nearest(x):
    """The nearest integer; refuses values so near a tie that float32 arithmetic could answer otherwise."""
    low = x.numerator // x.denominator
    assert abs(x - low - Fraction(1, 2)) > Fraction(1, 10**4), "choose other values: a tie"
    return low + 1 if x - low > Fraction(1, 2) else low


def round_to_nearest(group, bits, zero_point, dtype):
    """Scale, zero point and codes of one group ("Round to nearest"), all exact."""
    top, half = 2**bits - 1, 2 ** (bits - 1)
    w = [Fraction(float(x)) for x in group]
    low, high = min(w), max(w)
    if zero_point == "none":
        extreme = high if high > -low else low
        scale, zp = store(extreme / -half, dtype), Fraction(half)
    else:
        if zero_point == "integer":
            low, high = min(low, 0), max(high, 0)
        else:
            low = min(low, high / 2) if low > 0 else low
            high = max(high, low / 2) if high < 0 else high
        scale = store((high - low) / top, dtype)
        real = -low / scale
        zp = Fraction(min(max(nearest(real), 0), top)) if zero_point == "integer" else store(real, dtype)
    codes = []
    for x in w:
        position = min(max(x / scale + zp, Fraction(0)), Fraction(top))
        codes.append(nearest(position) if position not in (0, top) else int(position))
    return float(scale), float(zp), codes


def hexadecimal(data):
    """Bytes as hex, 16 tokens a line; a run of four or more equal bytes is written XX*count."""
    tokens, i = [], 0
    while i < len(data):
        run = 1
        while i + run < len(data) and data[i + run] == data[i]:
            run += 1
        tokens.append(f"{data[i]:02x}*{run}" if run >= 4 else f"{data[i]:02x}")
        i += run if run >= 4 else 1
    return "".join("\n  " + " ".join(tokens[j:j + 16]) for j in range(0, len(tokens), 16))


def rows(values, form):
    return "".join("\n  " + " ".join(form(x) for x in row) for row in values)


def number(x):
    """The shortest decimal that reads back as the same float32."""
    return np.format_float_positional(np.float32(x), unique=True, trim="-") if 1e-4 < abs(x) < 1e6 or x == 0 else str(np.float32(x))


def example(bits, group_size, zero_point, scale_type, n_count, k_count, seed):
    dtype = {"float16": np.float16, "float32": np.float32}[scale_type]
    random = np.random.default_rng(seed)
    weights = (random.standard_normal((n_count, k_count)) * 0.05 + random.standard_normal((n_count, 1)) * 0.02).astype(np.float16)
    weights = weights.astype(np.float32)
    size = k_count if group_size == -1 else group_size
    groups = -(-k_count // size)
    scales, zero_points = np.zeros((n_count, groups)), np.zeros((n_count, groups))
    codes = np.zeros((n_count, k_count), int)
    for n in range(n_count):
        for g in range(groups):
            part = slice(g * size, min(k_count, (g + 1) * size))
            scales[n, g], zero_points[n, g], codes[n, part] = round_to_nearest(weights[n, part], bits, zero_point, dtype)
    group_of = np.arange(k_count) // size
    values = np.float32(scales)[:, group_of] * (np.float32(codes) - np.float32(zero_points)[:, group_of])

    stored = "" if zero_point == "none" else "\nzero_points:" + hexadecimal(
        pack_integer_zero_points(zero_points, bits) if zero_point == "integer" else pack_floats(zero_points, dtype))
    return (
        f"# Written by make_golden.py, seed {seed}.\nbits: {bits}\ngroup_size: {group_size}\nzero_point: {zero_point}\n"
        f"scale_type: {scale_type}\nshape: {n_count} {k_count}"
        f"\nweights:{rows(weights, number)}\ncodes:{rows(codes, str)}\ngroup_scales:{rows(scales, number)}"
        f"\ngroup_zero_points:{rows(zero_points, number)}\nvalues:{rows(values, number)}"
        f"\nW:{hexadecimal(pack_codes(codes, bits))}\nscales:{hexadecimal(pack_floats(scales, dtype))}{stored}\n")


EXAMPLES = [
    # bits, group_size, zero_point, scale_type, N, K
    (2, 16, "integer", "float16", 17, 40),
    (2, 32, "none", "float16", 3, 32),
    (2, -1, "float", "float32", 5, 33),
    (3, 16, "integer", "float16", 17, 40),
    (3, 32, "none", "float32", 16, 70),
    (3, 16, "float", "float16", 2, 17),
    (4, 16, "integer", "float16", 17, 40),
    (4, 32, "integer", "float32", 18, 65),
    (4, 32, "none", "float16", 1, 32),
    (4, -1, "integer", "float16", 4, 50),
    (4, 64, "float", "float16", 9, 64),
    (8, 32, "integer", "float16", 17, 40),
    (8, 16, "none", "float16", 2, 20),
    (8, -1, "float", "float32", 3, 31),
]


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent
    for bits, group_size, zero_point, scale_type, n_count, k_count in EXAMPLES:
        group = "row" if group_size == -1 else f"g{group_size}"
        name = f"b{bits}-{group}-{zero_point}-{scale_type}-{n_count}x{k_count}.golden"
        for seed in range(1000):
            try:
                text = example(bits, group_size, zero_point, scale_type, n_count, k_count, seed)
                break
            except AssertionError:
                continue
        (folder / name).write_text(text)


if __name__ == "__main__":
    main()
