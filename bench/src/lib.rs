//! Measures brigade against its peers: every tool in turn, in one run, on the same data, each result checked.
//! The workspace's `cargo xtask bench` builds what is needed and starts the program `bench` of this package.
//!
//! `copy`, `memory`, `cost` and `display` are the benches of the command, `goals` what is wanted of it, `dangers` what it must survive, `library`
//! the bench of the library; the rest serves them all.
#![forbid(unsafe_code)]

pub mod copy;
pub mod dangers;
pub mod goals;
pub mod library;
pub mod memory;

mod ballast;
mod cost;
mod data;
mod display;
mod document;
mod interrupt;
mod kept;
mod machine;
mod place;
mod plot;
mod race;
mod statistics;
mod timing;
mod tools;
mod tree;

pub use interrupt::Interrupted;

/// Why a bench could not go on. Benches are for people, so one line of text is enough.
pub type BenchError = Box<dyn std::error::Error + Send + Sync>;
