//! `dump`: an object that Python has just pickled becomes a model file.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::convert::source::{Foreign, ReadAt};
use crate::convert::{ConvertError, Limits, read_with_buffers};
use crate::format::OnProgress;
use crate::format::codec::Level;
use crate::format::digest::Digest;
use crate::format::writer::WriteError;
use crate::model::graph::{GraphError, Node};
use crate::model::lower::LowerError;
use crate::model::pack::PackError;
use crate::model::plan::Plan;
use crate::model::terms::NewTerms;
use crate::ops::model_file::{Contents, Failed, Form, Written, write_model};
use crate::store::ahead::Ahead;
use crate::store::fs::{PublishError, StepError, publish, publish_unsynced};

/// A pickle of protocol 5 with its buffers beside it.
pub struct Pickled {
    /// The opcodes.
    pub stream: Box<dyn ReadAt>,
    /// The buffers, in the order in which the pickler gave them out.
    pub buffers: Vec<Box<dyn ReadAt>>,
    /// Big dicts of `str` to int. The pickle has `onecopy._onecopy.Terms(n)` in place of the `n`-th, so that it does not
    /// spell out every term.
    pub terms: Vec<NewTerms>,
}

/// How an object is written.
#[derive(Clone, Debug)]
pub struct DumpOptions {
    /// How much work a small file is worth that is restored before use; `None` for one that is ready to be mapped.
    pub compress: Option<Level>,
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
        DumpOptions { compress: None, sync: true, environment: None, schema: None, user: None }
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

/// An object read from its pickle, to be written with [`Dump::write`].
pub struct Dump {
    foreign: Foreign,
}

impl Dump {
    /// Reads the opcodes. Nothing that they name is imported or called; buffers stay where they are.
    ///
    /// # Errors
    ///
    /// [`DumpError::Read`], [`DumpError::Graph`]
    pub fn read(pickled: Pickled, progress: OnProgress<'_>) -> Result<Self, DumpError> {
        let Pickled { stream, buffers, terms } = pickled;
        let spool = &mut tempfile::tempfile;
        let foreign = read_with_buffers(stream, buffers, terms, &Limits::NONE, spool, progress)
            .map_err(DumpError::Read)?;
        foreign.graph.check(&foreign).map_err(DumpError::Graph)?;
        Ok(Dump { foreign })
    }

    /// The modules that the object names: `sklearn.ensemble._forest`.
    pub fn modules(&self) -> BTreeSet<&str> {
        self.names().map(|(module, _)| module).collect()
    }

    /// The names of a module that the object uses.
    pub fn names_of(&self, module: &str) -> BTreeSet<&str> {
        self.names().filter(|(own, _)| *own == module).map(|(_, qualname)| qualname).collect()
    }

    fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.foreign.graph.nodes.iter().filter_map(|node| match node {
            Node::Name { module, qualname } => Some((module.as_ref(), qualname.as_ref())),
            _ => None,
        })
    }

    /// Writes the object to `path` as a model file, all of it or nothing.
    ///
    /// Equal objects, options and versions give equal bytes, whatever Python's hash seed was.
    ///
    /// # Errors
    ///
    /// [`DumpError`]; nothing is left at `path` that was not there before.
    pub fn write(
        self,
        path: &Path,
        options: &DumpOptions,
        progress: OnProgress<'_>,
    ) -> Result<DumpReport, DumpError> {
        let sections =
            [("environment", &options.environment), ("schema", &options.schema), ("user", &options.user)];
        let sections =
            sections.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))).collect();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let form = options.compress.map_or(Form::Hot, |level| Form::Archive(level, folder));
        let contents = Contents { source: "dump", sections, form, progress };
        let write = |file: &mut File| {
            let written = write_model(&mut Ahead::new(file, options.sync), self.foreign, &contents);
            written.map_err(|failed| match failed {
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
        let Written { model, plan, arrays, bytes, digest } = written;
        Ok(DumpReport { model, plan, arrays, bytes, digest })
    }
}
