//! The commands as functions; the only crate that prints.
