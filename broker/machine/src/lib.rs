//! broker/machine
