"""One module per data set: archives as published -> frames, Boxes, Clips."""
