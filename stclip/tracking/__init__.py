"""Runs and dashboards of Weights & Biases."""
