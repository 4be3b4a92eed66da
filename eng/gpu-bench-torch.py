"""PyTorch's 4-bit product torch.ops.aten._weight_int4pack_mm (tinygemm, bfloat16, group 128) on the shapes of ortquant_cuda_bench,
timed the same way: a graph with one launch per copy of the weights, more copies than L2 holds, the median of its replays.

    python3 eng/gpu-bench-torch.py [RESULT.json]
"""

import json
import statistics
import sys

import torch

SHAPES = [(4096, 4096), (8192, 8192), (11008, 4096), (28672, 8192)]
ROWS = [1, 8, 16, 64]
GROUP = 128


def median_us(launches):
    """Median microseconds of one launch."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        launches[0]()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for launch in launches:
            launch()
    times = []
    for replay in range(18):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        if replay >= 3:
            times.append(begin.elapsed_time(end) * 1000 / len(launches))
    return statistics.median(times)


def main():
    results = []
    l2 = torch.cuda.get_device_properties(0).L2_cache_size
    for n, k in SHAPES:
        bytes_each = n * k // 2 + n * k // GROUP * 4
        copies = max(2, 3 * l2 // bytes_each + 1)
        weights = []
        for _ in range(copies):
            packed = torch.randint(0, 256, (n, k // 2), dtype=torch.uint8, device="cuda")
            weight = torch.ops.aten._convert_weight_to_int4pack(packed, 8)
            scales = torch.rand(k // GROUP, n, 2, dtype=torch.bfloat16, device="cuda") * 0.01
            weights.append((weight, scales))
        for m in ROWS:
            x = torch.randn(m, k, dtype=torch.bfloat16, device="cuda")
            us = median_us(
                [lambda w=w, s=s: torch.ops.aten._weight_int4pack_mm(x, w, GROUP, s) for w, s in weights]
            )
            results.append({"N": n, "K": k, "M": m, "us": us})
            print(f"torch int4pack {n:6d} x {k:<6d} M {m:<5d} {us:9.2f} us", flush=True)
    if len(sys.argv) > 1:
        with open(sys.argv[1], "w", encoding="utf-8") as file:
            json.dump({"torch": torch.__version__, "results": results}, file)


if __name__ == "__main__":
    main()
