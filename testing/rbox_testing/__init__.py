"""What the tests and benchmarks of several packages share; in no wheel."""
