//! Foreign bytes to a graph. Executes nothing.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io;

mod container;
mod error;
mod joblib;
mod limits;
pub(crate) mod npy;
mod pickle;
pub(crate) mod source;
mod spill;
mod window;

pub use self::error::{ConvertError, NpyProblem, Problem};
pub use self::limits::Limits;

use self::container::Container;
use self::limits::Budget;
use self::source::{Foreign, ReadAt};
use self::spill::{Joined, Spill};
use crate::format::OnProgress;

/// Reads a pickle (protocol 0 to 5), a joblib file (0.10 or newer, compressed or not) or an `.npy` array as plain data.
///
/// Nothing that the file names is imported or called. `spool` gives an unlinked temporary file for bytes that have to
/// be decoded: at most one for decompressed bytes and one for long `bytes` values written as text. `progress` is told
/// how many bytes of how many are read.
///
/// # Errors
///
/// [`ConvertError`]: what is wrong, and where.
pub fn read_foreign(
    source: Box<dyn ReadAt>,
    limits: &Limits,
    spool: &mut dyn FnMut() -> io::Result<File>,
    progress: OnProgress<'_>,
) -> Result<Foreign, ConvertError> {
    let outer = Container::sniff(&*source)?;
    let (source, inner) = match outer {
        Container::Pickle | Container::Npy => (source, outer),
        _ => {
            let decoded: Box<dyn ReadAt> =
                Box::new(container::decompress(&*source, outer, limits, spool, progress)?);
            let inner = Container::sniff(&*decoded)?;
            if !matches!(inner, Container::Pickle | Container::Npy) {
                return Err(ConvertError::NestedCompression { outer: outer.name(), inner: inner.name() });
            }
            (decoded, inner)
        }
    };
    let compression = if outer == inner { String::new() } else { format!(", {}", outer.name()) };
    if inner == Container::Npy {
        let mut foreign = npy::read_npy(source)?;
        foreign.container.push_str(&compression);
        return Ok(foreign);
    }
    let source_len = source.len_bytes();
    let outcome = pickle::read(&*source, Budget::new(*limits), Spill::new(spool, source_len), progress)?;
    let kind =
        if outcome.joblib { "joblib".to_owned() } else { format!("pickle protocol {}", outcome.protocol) };
    let source = match outcome.spilled {
        Some(spilled) => Box::new(Joined { source, source_len, spilled }),
        None => source,
    };
    Ok(Foreign { graph: outcome.graph, arrays: outcome.arrays, source, container: kind + &compression })
}

#[cfg(test)]
mod tests;
