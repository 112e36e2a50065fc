//! Probes of every endpoint, published as snapshots.
