"""The frozen CLIP that every method builds on."""
