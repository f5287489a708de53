"""What a training run gave: learning curves, and joint training against single heads."""
