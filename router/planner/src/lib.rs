//! Facts and a snapshot to a plan; slot hash; ring.
