#!/usr/bin/env python3
"""Derives the golden files of scheme `mixed` from the words of ../SPEC.md, field by field and in exact arithmetic.

It shares nothing with the C# encoder or the C++ decoder.

    python3 make_golden.py [FOLDER]        (writes *.golden into FOLDER, default: beside this file)
"""

import pathlib
import random
import struct
import sys
from fractions import Fraction


def ceil_div(a, b):
    return -(-a // b)


class Sizes:
    """ "Geometry" and "Size"."""

    def __init__(self, bits, group_size, outliers, n_count, k_count):
        self.group_size, self.outliers = group_size, outliers
        self.tiles, self.vectors = ceil_div(n_count, 16), ceil_div(k_count, 16)
        self.groups = ceil_div(k_count, group_size)
        self.per_block = ceil_div(self.groups, ceil_div(k_count, 256))
        self.blocks = ceil_div(self.groups, self.per_block)
        self.block = self.per_block * group_size
        fixed = 64 * self.vectors + 32 * self.blocks + 16 * self.groups + 48 * self.blocks * outliers
        refined = 0
        while refined < self.groups:
            tile = fixed + ceil_div(self.groups, 8) + 4 * (refined + 1) * group_size
            if tile * 8 > Fraction(str(bits)) * 16 * k_count:
                break
            refined += 1
        self.refined = refined


def float32(value):
    """A fraction rounded once to float32 (exact as a double first: 11 bits of scale times 17 of integer)."""
    return struct.unpack("<f", struct.pack("<f", float(value)))[0]


def pack_pairs(pairs):
    """Two bits of [16][16 k] -> a vector of 64 bytes."""
    out = bytearray(64)
    for lane in range(16):
        for k in range(16):
            out[4 * lane + k // 4] |= pairs[lane][k] << (2 * (k % 4))
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
    return wrap([f"{value:.9g}" for value in values])


def packed_codes(sizes, codes, refined):
    """ "Packed weights": all tiles, upper bits (or the code itself), then lower bits of refined groups."""
    n_count, k_count = len(codes), len(codes[0])
    out = b""
    for tile in range(sizes.tiles):

        def vector(first, field):
            rows = [[0] * 16 for _ in range(16)]
            for lane in range(16):
                for i in range(16):
                    if 16 * tile + lane < n_count and first + i < k_count:
                        rows[lane][i] = field(codes[16 * tile + lane][first + i], first + i)
            return pack_pairs(rows)

        wide = refined[tile]
        for v in range(sizes.vectors):
            out += vector(16 * v, lambda q, k: q >> 2 if wide[k // sizes.group_size] else q)
        for g in range(sizes.groups):
            for v in range(sizes.group_size // 16 if wide[g] else 0):
                out += vector(g * sizes.group_size + 16 * v, lambda q, k: q & 3)
    return out


def write(folder, name, head, sizes, codes, scales, groups, refined, outliers):
    n_count, k_count = len(codes), len(codes[0])
    values, affine_scales, affine_zero_points = [], [], []
    half_bytes = bytearray(sizes.tiles * sizes.blocks * 32)
    group_bytes = bytearray(sizes.tiles * sizes.groups * 16)
    positions = bytearray(sizes.tiles * sizes.blocks * sizes.outliers * 16)
    shorts = bytearray(2 * len(positions))
    for n in range(n_count):
        tile, lane = divmod(n, 16)
        for c in range(sizes.blocks):
            struct.pack_into("<e", half_bytes, 2 * ((tile * sizes.blocks + c) * 16 + lane), scales[n][c])
            for p, (position, value) in enumerate(outliers[n][c]):
                at = ((tile * sizes.blocks + c) * sizes.outliers + p) * 16 + lane
                positions[at] = position
                struct.pack_into("<h", shorts, 2 * at, value)
        for g in range(sizes.groups):
            s, z = groups[n][g]
            group_bytes[(tile * sizes.groups + g) * 16 + lane] = s | z << 4
            step = 1 if refined[tile][g] else 4
            affine_scales.append(float32(Fraction(scales[n][g // sizes.per_block]) * s * step))
            affine_zero_points.append(z / step)
        for k in range(k_count):
            g, c = k // sizes.group_size, k // sizes.block
            s, z = groups[n][g]
            whole = s * (codes[n][k] * (1 if refined[tile][g] else 4) - z)
            whole += sum(value for position, value in outliers[n][c] if c * sizes.block + position == k)
            values.append(float32(Fraction(scales[n][c]) * whole))
    text = [
        "# Written by make_golden.py from the words of ../SPEC.md",
        *head,
        f"shape: {n_count} {k_count}",
        f"refined_groups: {wrap([str(int(wide)) for tile in refined for wide in tile])}",
        f"codes: {wrap([str(q) for row in codes for q in row])}",
        f"block_scales: {numbers([scale for row in scales for scale in row])}",
        f"group_scales: {numbers(affine_scales)}",
        f"group_zero_points: {numbers(affine_zero_points)}",
    ]
    if sizes.outliers:
        triples = [
            f"{n} {c * sizes.block + position} {value}"
            for n in range(n_count)
            for c in range(sizes.blocks)
            for position, value in outliers[n][c]
        ]
        text.append(f"outliers_at: {wrap(' '.join(triples).split(' '))}")
    text += [
        f"values: {numbers(values)}",
        f"W: {hex_runs(packed_codes(sizes, codes, refined))}",
        f"scales: {hex_runs(half_bytes)}",
        f"group_scales_bytes: {hex_runs(group_bytes)}",
    ]
    if sizes.refined:
        maps = b"".join(sum(1 << g for g in range(sizes.groups) if wide[g]).to_bytes(ceil_div(sizes.groups, 8), "little") for wide in refined)
        text.append(f"refined: {hex_runs(maps)}")
    if sizes.outliers:
        text += [f"outlier_positions: {hex_runs(positions)}", f"outlier_values: {hex_runs(shorts)}"]
    (folder / f"{name}.golden").write_text("\n".join(text) + "\n")


def make(folder, bits, group_size, outliers, n_count, k_count, seed):
    pick = random.Random(seed).randrange
    sizes = Sizes(bits, group_size, outliers, n_count, k_count)
    refined = []
    for _ in range(sizes.tiles):
        left, wide = list(range(sizes.groups)), [False] * sizes.groups
        for _ in range(sizes.refined):
            wide[left.pop(pick(len(left)))] = True
        refined.append(wide)
    scales = [[struct.unpack("<e", struct.pack("<H", pick(0x1000, 0x2800)))[0] for _ in range(sizes.blocks)] for _ in range(n_count)]
    groups = [[(pick(1, 16), pick(16)) for _ in range(sizes.groups)] for _ in range(n_count)]
    codes = [[pick(16 if refined[n // 16][k // group_size] else 4) for k in range(k_count)] for n in range(n_count)]
    found = []
    for _ in range(n_count):
        row = []
        for c in range(sizes.blocks):
            places = list(range(min(sizes.block, k_count - c * sizes.block)))
            row.append([(places.pop(pick(len(places))), pick(1, 2000) * (1 - 2 * pick(2))) for _ in range(min(outliers, len(places)))])
        found.append(row)
    head = [f"bits: {bits}", f"group_size: {group_size}", f"outliers: {outliers}"]
    write(folder, f"b{bits}-g{group_size}-o{outliers}-{n_count}x{k_count}", head, sizes, codes, scales, groups, refined, found)


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent
    make(folder, 3.5, 32, 1, 17, 140, 1)
    make(folder, 3.2, 16, 2, 2, 300, 2)
    make(folder, 4.75, 64, 4, 3, 330, 3)
    make(folder, 2, 32, 0, 5, 33, 4)


if __name__ == "__main__":
    main()
