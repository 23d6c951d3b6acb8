"""Whether this machine, and what lies on it, is ready for a scale, before the run begins."""
