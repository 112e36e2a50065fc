//! Tests of scanner, decoders and encoders.
