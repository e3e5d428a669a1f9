//! Tests of the machine through its public face: stories to read, every short history of a small
//! world, and seeded simulations of a large and unkind one.
#![expect(clippy::unwrap_used, reason = "a test stops where it finds something wrong")]
#![expect(clippy::print_stderr, reason = "a seed that failed is told to whoever runs the test")]
#![expect(clippy::disallowed_methods, reason = "the machine is pure, its tests read files")]

mod custom;
mod custom_by_macro;
mod golden;
mod journal;
mod objects;
mod scenario;
mod simulation;
mod small_world;
mod tidy;
