//! The command as its users meet it: wording, report, terminal, signals. What the engine copies is tested in its own crate.
#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

mod attributes;
mod changing;
mod company;
mod delete;
mod durability;
mod exposure;
mod faults;
mod fidelity;
mod figures;
mod fullness;
mod hostile;
mod json;
mod lasting;
mod memory;
mod outputs;
mod paperwork;
mod parts;
mod policy;
mod resume;
mod retry;
mod room;
mod safety;
mod sandbox;
mod scale;
mod selection;
mod signals;
mod speed;
mod stall;
mod streams;
mod support;
mod sync;
mod terminal;
mod trace;
mod verify;
mod wording;
