//! Tests of the machine through its public face: stories to read, every short history of a small
//! world, and seeded simulations of a large and unkind one.

mod scenario;
