//! Substitution, ordering, inventory, drift, health and the apply plan: what happens to built objects on their way
//! into a cluster, decided as data. Nothing here reads a clock, a file or a network.

pub mod control;
pub mod envsubst;
pub mod health;
pub mod substitute;
