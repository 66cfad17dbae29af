"""Text that users type and read: errors, units, quantities, sizes, TOML, columns, tables, exports and results."""
