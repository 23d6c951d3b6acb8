"""The networks: the frozen CLIP backbone and ST-CLIP's parts. Tensors in, tensors out; no I/O."""
