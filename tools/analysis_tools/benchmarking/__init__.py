"""What benchmark.py measures with: timing turn about, counting, inputs, the comparisons themselves, and reports."""
