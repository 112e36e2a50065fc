//! SCRAM against an independent client.
