"""Persons and objects: detectors, their fine-tuning and how good their boxes are."""
