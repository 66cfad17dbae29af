"""Networks as data: TOML files that become trees of catalogue blocks."""
