"""Geometry of boxes: overlap, clipping, filters, tubes linked from them."""
