//! Fixtures of the end-to-end tests: real servers and a real `ringway` beside them.
