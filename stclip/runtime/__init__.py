"""The machine around the stages: device, GPUs, processes, provenance."""
