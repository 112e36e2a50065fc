//! The binary `ringway`.

fn main() {}
