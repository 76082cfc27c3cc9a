"""Self-contained HTML pages: one file, inline CSS and SVG, no script, no network."""
