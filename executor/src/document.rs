//! A JSON document whose values know where they stand, so that every error can say it.

mod fields;
mod json;
mod node;

pub(crate) use fields::{Fields, Known};
pub(crate) use json::parse;
pub(crate) use node::{Document, Names, Node};
