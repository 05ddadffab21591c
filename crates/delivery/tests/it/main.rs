//! The plan at work in a simulated cluster: thousands of random histories, with kills, failures and races at every
//! step, after which nothing may be orphaned and nothing wrongly deleted.

mod chaos;
mod fleet;
mod random;
mod run;
mod world;
