//! Bolt 5 towards Neo4j: values, messages, connections and a pool of these.
//!
//! The crates that there are do not fit: `neo4rs` 0.9 speaks Bolt 4.4, where the times of a zone can mean two moments, loses
//! the order of columns, asks twice for each statement, and leaves a statement running whose caller has gone; others
//! read values with a recursion that a statement can make as deep as it likes. What is needed of Bolt is small.

mod connection;
mod pack;
mod pool;
mod unpack;
mod value;

pub(super) use self::{
    connection::Address,
    pool::{Lease, Pool},
};
pub(crate) use self::{
    connection::{Connection, Failure, Mode, Statement, Summary},
    value::{Duration, Map, Moment, Node, Path, Point, Relationship, Value, Zone},
};
