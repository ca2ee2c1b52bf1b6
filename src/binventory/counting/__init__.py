"""Photos to counts, as a warehouse runs it: bundle, trunk, head, calibration, counter. No torch, quick to start."""
