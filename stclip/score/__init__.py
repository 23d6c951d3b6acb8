"""Weights and boxes in, class probabilities out."""
