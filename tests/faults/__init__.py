"""Breaks the main job on purpose: kills, a full disk, cut downloads, changed bytes, two at once."""
