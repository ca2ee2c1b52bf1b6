"""Data to bundles: features, quick heads, guarantees, metrics, evaluation, export. Torch only where it says so."""
