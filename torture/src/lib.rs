//! What the tests of this workspace share. Never part of the product.
#![forbid(unsafe_code)]

pub mod tree;
