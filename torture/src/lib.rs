//! What the tests of this workspace share, and the tools of the campaigns in `src/bin`. Never part of the product.
#![forbid(unsafe_code)]

pub mod acl;
pub mod arguments;
pub mod catalogue;
pub mod crashbox;
pub mod dangers;
pub mod facts;
pub mod faultline;
pub mod fidelity;
pub mod flipper;
pub mod fullness;
pub mod fuse;
pub mod leakcheck;
pub mod mounts;
pub mod processes;
pub mod random;
pub mod red;
pub mod stepkill;
pub mod trace;
pub mod tree;
pub mod treecmp;
pub mod treegen;
pub mod watchdog;
