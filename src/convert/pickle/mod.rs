//! Pickles, protocols 0 to 5, read as data: a machine over plain values that imports nothing and calls nothing.
#![forbid(unsafe_code)]

mod finish;
mod machine;
mod memo;
mod numpy;
mod opcode;
pub(crate) mod python;
mod text;
pub(crate) mod values;

pub(crate) use self::machine::{Outcome, Stream, read};
pub(crate) use self::numpy::{fits, holds_objects, itemsize, of_class};
pub(crate) use self::opcode::Opcode;
