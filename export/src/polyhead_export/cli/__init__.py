"""The command `polyhead export`: light to import; torch is loaded only when it runs."""
