//! Containers launched for real: they need root, and say so when they are skipped.

mod support;
