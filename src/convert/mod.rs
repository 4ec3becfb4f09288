//! Foreign bytes to a graph. Executes nothing.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io;

mod container;
mod error;
mod joblib;
mod lightgbm;
mod limits;
pub(crate) mod npy;
mod pickle;
pub(crate) mod source;
mod spill;
mod window;
mod xgboost;

pub use self::error::{ConvertError, NpyProblem, Problem, TextProblem};
pub use self::limits::Limits;

use self::container::Container;
use self::limits::Budget;
use self::pickle::{Outcome, Stream};
use self::source::{Foreign, Gathered, ReadAt};
use self::spill::{Joined, Spill};
use crate::format::OnProgress;
use crate::model::terms::NewTerms;

/// Reads a pickle (protocol 0 to 5), a joblib file (0.10 or newer, compressed or not), an `.npy` array, a text of LightGBM
/// or a model file of XGBoost (JSON or UBJSON) as plain data.
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
    let (source, inner) = if outer.is_plain() {
        (source, outer)
    } else {
        let decoded: Box<dyn ReadAt> =
            Box::new(container::decompress(&*source, outer, limits, spool, progress)?);
        let inner = Container::sniff(&*decoded)?;
        if !inner.is_plain() {
            return Err(ConvertError::NestedCompression { outer: outer.name(), inner: inner.name() });
        }
        (decoded, inner)
    };
    let compression = if outer == inner { String::new() } else { format!(", {}", outer.name()) };
    let mut foreign = match inner {
        Container::Npy => npy::read_npy(source)?,
        Container::LightGbm => lightgbm::read(source, inner.name(), Budget::new(*limits))?,
        Container::XgBoost(name) => xgboost::read(source, name),
        _ => {
            let stream = Stream { source: &*source, len: source.len_bytes(), buffers: None };
            let spill = Spill::new(spool, stream.len);
            let outcome = pickle::read(stream, Vec::new(), Budget::new(*limits), spill, progress)?;
            into_foreign(outcome, source)
        }
    };
    foreign.container.push_str(&compression);
    Ok(foreign)
}

/// Reads a pickle of protocol 5 whose big buffers were passed beside it (`buffer_callback`), as plain data.
///
/// `buffers` are in the order in which the pickler gave them out. Their bytes are read from where they are when an
/// array is read, and not before. `onecopy._onecopy.Terms(n)` in the pickle is the dict `terms[n]`. Otherwise as
/// [`read_foreign`].
///
/// # Errors
///
/// [`ConvertError`]: what is wrong, and where.
pub fn read_with_buffers(
    stream: Box<dyn ReadAt>,
    buffers: Vec<Box<dyn ReadAt>>,
    terms: Vec<NewTerms>,
    limits: &Limits,
    spool: &mut dyn FnMut() -> io::Result<File>,
    progress: OnProgress<'_>,
) -> Result<Foreign, ConvertError> {
    let len = stream.len_bytes();
    let too_long = || ConvertError::Read { offset: 0, source: io::ErrorKind::FileTooLarge.into() };
    let source = Gathered::new(stream, buffers).ok_or_else(too_long)?;
    let ranges = source.buffers();
    let spill = Spill::new(spool, source.len_bytes());
    let stream = Stream { source: &source, len, buffers: Some(&ranges) };
    let outcome = pickle::read(stream, terms, Budget::new(*limits), spill, progress)?;
    Ok(into_foreign(outcome, Box::new(source)))
}

fn into_foreign(outcome: Outcome, source: Box<dyn ReadAt>) -> Foreign {
    let container =
        if outcome.joblib { "joblib".to_owned() } else { format!("pickle protocol {}", outcome.protocol) };
    let source = match outcome.spilled {
        Some(spilled) => Box::new(Joined { source_len: source.len_bytes(), source, spilled }),
        None => source,
    };
    Foreign { graph: outcome.graph, arrays: outcome.arrays, source, container }
}

#[cfg(test)]
mod tests;
