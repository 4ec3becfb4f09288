//! `dump`: an object that Python has just pickled becomes a model file.
#![forbid(unsafe_code)]

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::convert::source::ReadAt;
use crate::convert::{ConvertError, Limits, read_with_buffers};
use crate::format::OnProgress;
use crate::format::codec::Codec;
use crate::format::digest::Digest;
use crate::format::writer::WriteError;
use crate::model::graph::GraphError;
use crate::model::lower::LowerError;
use crate::model::pack::PackError;
use crate::model::plan::Plan;
use crate::ops::model_file::{Contents, Failed, write_model};
use crate::store::fs::{PublishError, StepError, publish, publish_unsynced, unnamed_in};

/// A pickle of protocol 5 with its buffers beside it.
pub struct Pickled {
    /// The opcodes.
    pub stream: Box<dyn ReadAt>,
    /// The buffers, in the order in which the pickler gave them out.
    pub buffers: Vec<Box<dyn ReadAt>>,
}

/// How an object is written.
#[derive(Clone, Debug)]
pub struct DumpOptions {
    /// How arrays are stored.
    pub codec: Codec,
    /// Whether to wait until the file is on disk. Without it a power cut may lose the new file and the old one; a
    /// crash of the process never does.
    pub sync: bool,
    /// The environment that made the model: versions, platform.
    pub environment: Option<Value>,
    /// What the model takes: names and types of columns.
    pub schema: Option<Value>,
    /// What to say about the model; kept under `user` in the metadata.
    pub user: Option<Value>,
}

impl Default for DumpOptions {
    fn default() -> Self {
        DumpOptions { codec: Codec::Raw, sync: true, environment: None, schema: None, user: None }
    }
}

/// What was written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DumpReport {
    /// The type of the object: `sklearn.ensemble._forest.RandomForestClassifier`.
    pub model: String,
    /// What can be computed natively.
    pub plan: Plan,
    /// Arrays in the file.
    pub arrays: u32,
    /// Length of the file.
    pub bytes: u64,
    /// The identity of the content.
    pub digest: Digest,
}

/// An object that could not be written. The path holds what it held before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DumpError {
    /// The pickle holds what cannot be kept.
    #[error("the object cannot be stored")]
    Read(#[source] ConvertError),
    /// The pickle describes an object that cannot be.
    #[error("the object cannot be stored")]
    Graph(#[source] GraphError),
    /// The plan could not be made.
    #[error("the object cannot be stored")]
    Lower(#[source] LowerError),
    /// The arrays could not be stored.
    #[error("cannot write {}", path.display())]
    Pack {
        /// The file.
        path: PathBuf,
        /// Why.
        source: PackError,
    },
    /// The file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: WriteError,
    },
    /// The file cannot be published.
    #[error(transparent)]
    Publish(StepError),
}

/// Writes a pickled object to `path` as a model file. Nothing that the pickle names is imported or called, and
/// buffers are read from where they are.
///
/// Equal objects, options and versions give equal bytes, whatever Python's hash seed was.
///
/// # Errors
///
/// [`DumpError`]; nothing is left at `path` that was not there before.
pub fn dump(
    pickled: Pickled,
    path: &Path,
    options: &DumpOptions,
    progress: OnProgress<'_>,
) -> Result<DumpReport, DumpError> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut refused = None;
    let mut spool = || {
        unnamed_in(dir).map_err(|error| {
            refused = Some(error);
            io::ErrorKind::Other.into()
        })
    };
    let read = read_with_buffers(pickled.stream, pickled.buffers, &Limits::NONE, &mut spool, progress);
    let foreign = match (read, refused) {
        (Ok(foreign), _) => foreign,
        (Err(_), Some(step)) => return Err(DumpError::Publish(step)),
        (Err(source), None) => return Err(DumpError::Read(source)),
    };
    foreign.graph.check(&foreign).map_err(DumpError::Graph)?;
    let sections =
        [("environment", &options.environment), ("schema", &options.schema), ("user", &options.user)];
    let sections = sections.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))).collect();
    let contents = Contents { source: "dump", sections, codec: options.codec, progress };
    let write = |file: &mut std::fs::File| {
        write_model(file, foreign, &contents).map_err(|failed| match failed {
            Failed::Lower(source) => DumpError::Lower(source),
            Failed::Pack(source) => DumpError::Pack { path: path.to_owned(), source },
            Failed::Write(source) => DumpError::Write { path: path.to_owned(), source },
        })
    };
    let published = if options.sync { publish(path, write) } else { publish_unsynced(path, write) };
    let written = published.map_err(|error| match error {
        PublishError::Write(error) => error,
        PublishError::Step(step) => DumpError::Publish(step),
    })?;
    let (model, plan) = (written.model, written.plan);
    Ok(DumpReport { model, plan, arrays: written.arrays, bytes: written.bytes, digest: written.digest })
}
