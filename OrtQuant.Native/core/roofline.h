// What this machine can do at most, measured: the yardstick of every speed claim.
#pragma once

namespace ortq {

struct Roofline {
  double read_gbs;     ///< reading memory that no cache holds, 10^9 bytes per second, all threads together
  double int8_gops;    ///< unsigned x signed 8-bit multiply-accumulate, two operations each, in 10^9 per second
  double fp32_gflops;  ///< fused multiply-add, two operations each, in 10^9 per second
};

/// Measures with the active instruction set on `threads` threads of its own for about a third of a second.
/// Throws Error unless 1 <= threads <= 1024.
Roofline MeasureRoofline(int threads);

}  // namespace ortq
