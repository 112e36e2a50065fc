//! When a cached answer may be used: pure.
