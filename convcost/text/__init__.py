"""What people type and read: errors, units, sizes, TOML, columns, tables, exports and results."""
