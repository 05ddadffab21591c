//! Substitution, ordering, inventory, drift, health and the apply plan: what happens to built objects on their way
//! into a cluster, decided as data. Nothing here reads a clock, a file or a network.

pub mod changes;
pub mod control;
pub mod drift;
pub mod envsubst;
pub mod expr;
pub mod health;
pub mod history;
pub mod ignore;
pub mod inventory;
pub mod normalise;
pub mod ownership;
pub mod plan;
pub mod stage;
pub mod substitute;
