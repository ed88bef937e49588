//! Values and messages of the contract, and those of Neo4j. The rule is written at the head of the contract.

mod read;
mod time;
mod write;

pub(super) use self::{
    read::{parameters, properties, wanted},
    write::{node, path, relationship, rows},
};

/// Lists and maps within each other. A message may nest 100 deep, and each of these takes up to three.
const MAX_DEPTH: usize = 30;

/// Integers up to this, either way, are doubles.
const EXACT: i64 = 1 << 53;

/// The key that says of what type a value is.
const TYPE: &str = "@type";
