"""File formats: one file a family, and a line in `polyhead_models.data.rows.FORMATS`."""
