//! TOML to validated settings with precise errors.
