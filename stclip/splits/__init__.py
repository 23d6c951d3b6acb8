"""Zero-shot label splits."""
