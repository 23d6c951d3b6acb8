"""stclip: the benchmark suite for zero-shot spatio-temporal action detection."""

__version__ = "0.1.0"
