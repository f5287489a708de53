"""The decoder of a head that writes: its shape, its layers, and where its weights come from."""
