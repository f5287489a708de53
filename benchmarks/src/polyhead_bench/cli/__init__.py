"""The command `polyhead bench`."""
