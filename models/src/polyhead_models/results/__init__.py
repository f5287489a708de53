"""What checkpoints reach on their test splits, beside a baseline, as one report."""
