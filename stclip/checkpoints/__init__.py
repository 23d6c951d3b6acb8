"""Official checkpoints: which tensor of the authors' is which of ours."""
