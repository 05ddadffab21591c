//! Reading and writing under hostile and random input.

#![expect(clippy::panic, reason = "what fails is shown with the text that it fails for")]

mod fuzz;
mod limits;
