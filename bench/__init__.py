"""The benchmarks behind every figure that the README and `docs/benchmarks.md` quote."""
