"""Commands: light to import; torch is loaded only when one runs."""
