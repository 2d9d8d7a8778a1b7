"""The control plane under /_standin: how tests and benchmarks steer the stand-in."""
