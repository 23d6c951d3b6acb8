"""From prepared frames and boxes to the batches that methods see."""
