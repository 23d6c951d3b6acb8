"""The frozen CLIP's features of frames and boxes, encoded once for all methods that read them."""
