"""Person detectors: what they have in common, and one module per way of getting boxes."""
