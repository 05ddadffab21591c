//! Substitution, ordering, inventory, drift, health and the apply plan.
