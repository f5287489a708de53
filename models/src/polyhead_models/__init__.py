"""Multi-head models: one transformer encoder, many heads, trained together with PyTorch."""
