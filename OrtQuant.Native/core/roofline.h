// What this machine can do at most, measured: the yardstick of every speed claim.
#pragma once

namespace ortq {

struct Roofline {
  double read_gbs;     ///< reading memory that no cache holds, 10^9 bytes per second, all threads together
  int read_streams;    ///< streams that each thread read side by side when it was fastest
  double int8_gops;    ///< unsigned x signed 8-bit multiply-accumulate, two operations each, in 10^9 per second
  double fp32_gflops;  ///< fused multiply-add, two operations each, in 10^9 per second
};

/// Measures with the active instruction set on `threads` threads of its own for about half a second. How many streams
/// read memory fastest differs between machines, so a few are tried and the best counts.
/// Throws Error unless 1 <= threads <= 1024.
Roofline MeasureRoofline(int threads);

}  // namespace ortq
