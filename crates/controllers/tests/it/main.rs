//! Stories of the controllers on an embedded API server: what a person does, and what must come of it.

mod fakes;
mod kustomizations;
mod sources;
mod world;
