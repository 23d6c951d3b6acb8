"""The contract of a method, the CLIP below it, and ST-CLIP. Tensors in, tensors out; no I/O."""
