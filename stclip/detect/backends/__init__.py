"""Detectors of persons or objects: what they share, and one module per way of getting boxes."""
