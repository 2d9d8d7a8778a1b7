"""The benchmarks behind the figures in the README and in `docs/benchmarks.md`."""
