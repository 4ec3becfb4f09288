//! `convert`: a file of another tool becomes a model file, without running any of it.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::convert::source::ReadAt;
use crate::convert::{ConvertError, Limits, read_foreign};
use crate::format::OnProgress;
use crate::format::digest::Digest;
use crate::format::header::MAGIC;
use crate::format::writer::WriteError;
use crate::model::graph::GraphError;
use crate::model::lower::LowerError;
use crate::model::pack::PackError;
use crate::model::plan::Plan;
use crate::ops::model_file::{Contents, Failed, Form, Written, write_model};
use crate::store::ahead::Ahead;
use crate::store::fs::{PublishError, StepError, publish, unnamed_in};

/// How a file is converted.
#[derive(Clone, Debug, Default)]
pub struct ConvertOptions {
    /// What the source may ask for; by default what suits its length.
    pub limits: Option<Limits>,
    /// What to say about the model; kept under `user` in the metadata.
    pub metadata: Option<serde_json::Value>,
}

/// What a conversion did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConvertReport {
    /// What was read, in words: `joblib, zlib`.
    pub container: String,
    /// The type of the saved object: `sklearn.ensemble._forest.RandomForestClassifier`.
    pub model: String,
    /// What can be computed natively.
    pub plan: Plan,
    /// Arrays in the new file.
    pub arrays: u32,
    /// Length of the source.
    pub source_bytes: u64,
    /// Length of the new file.
    pub bytes: u64,
    /// The identity of the content.
    pub digest: Digest,
}

/// A file that could not be converted. The target holds what it held before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertFileError {
    /// The source cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// The source.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The source is a directory, a device or a pipe.
    #[error("cannot convert {}: it is not a file", path.display())]
    NotAFile {
        /// The source.
        path: PathBuf,
    },
    /// Source and target are one file.
    #[error("cannot convert {} onto itself; give another target", path.display())]
    SameFile {
        /// Both.
        path: PathBuf,
    },
    /// The source is what conversion would make of it.
    #[error("{} is a onecopy file already; open it as it is", path.display())]
    Already {
        /// The source.
        path: PathBuf,
    },
    /// The source cannot be read as anything known.
    #[error("cannot convert {}", path.display())]
    Read {
        /// The source.
        path: PathBuf,
        /// What is wrong with it.
        source: ConvertError,
    },
    /// The source describes an object that cannot be.
    #[error("cannot convert {}", path.display())]
    Graph {
        /// The source.
        path: PathBuf,
        /// What is wrong with it.
        source: GraphError,
    },
    /// The plan could not be made.
    #[error("cannot convert {}", path.display())]
    Lower {
        /// The source.
        path: PathBuf,
        /// Why.
        source: LowerError,
    },
    /// The arrays could not be stored.
    #[error("cannot convert {}", path.display())]
    Pack {
        /// The source.
        path: PathBuf,
        /// Why.
        source: PackError,
    },
    /// The target cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The target.
        path: PathBuf,
        /// Why.
        source: WriteError,
    },
    /// The target cannot be published.
    #[error(transparent)]
    Publish(StepError),
}

/// Writes the object in `src`, a pickle, joblib, `.npy` or LightGBM text file, to `dst` as a model file.
///
/// Nothing that `src` names is imported or called. The same source, options and version give the same bytes.
///
/// # Errors
///
/// [`ConvertFileError`]; nothing is left at `dst` that was not there before.
pub fn convert(
    src: &Path,
    dst: &Path,
    options: &ConvertOptions,
    progress: OnProgress<'_>,
) -> Result<ConvertReport, ConvertFileError> {
    let file = open(src, dst)?;
    let source_bytes = file.len_bytes();
    let limits = options.limits.unwrap_or_else(|| Limits::for_source(source_bytes));
    let dir = dst.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut refused = None;
    let mut spool = || {
        unnamed_in(dir).map_err(|error| {
            refused = Some(error);
            io::ErrorKind::Other.into()
        })
    };
    let foreign = match (read_foreign(Box::new(file), &limits, &mut spool, progress), refused) {
        (Ok(foreign), _) => foreign,
        (Err(_), Some(step)) => return Err(ConvertFileError::Publish(step)),
        (Err(source), None) => return Err(ConvertFileError::Read { path: src.to_owned(), source }),
    };
    let graph_error = |source| ConvertFileError::Graph { path: src.to_owned(), source };
    foreign.graph.check(&foreign).map_err(graph_error)?;
    let container = foreign.container.clone();
    let sections = options.metadata.iter().map(|user| ("user", user)).collect();
    let contents = Contents { source: &container, sections, form: Form::Hot, progress };
    let written = publish(dst, |file| {
        write_model(&mut Ahead::new(file, true), foreign, &contents).map_err(|failed| match failed {
            Failed::Lower(source) => ConvertFileError::Lower { path: src.to_owned(), source },
            Failed::Pack(source) => ConvertFileError::Pack { path: src.to_owned(), source },
            Failed::Write(source) => ConvertFileError::Write { path: dst.to_owned(), source },
        })
    });
    let Written { model, plan, arrays, bytes, digest } = written.map_err(|error| match error {
        PublishError::Write(error) => error,
        PublishError::Step(step) => ConvertFileError::Publish(step),
    })?;
    Ok(ConvertReport { container, model, plan, arrays, source_bytes, bytes, digest })
}

/// Opens the source, if it is a file, another one than the target, and not converted already.
fn open(src: &Path, dst: &Path) -> Result<File, ConvertFileError> {
    let path = || src.to_owned();
    let failed = |source| ConvertFileError::Open { path: path(), source };
    // A pipe without a writer would block in `open`.
    if !std::fs::metadata(src).map_err(failed)?.is_file() {
        return Err(ConvertFileError::NotAFile { path: path() });
    }
    let file = File::open(src).map_err(failed)?;
    let own = file.metadata().map_err(failed)?;
    if std::fs::metadata(dst).is_ok_and(|other| (other.dev(), other.ino()) == (own.dev(), own.ino())) {
        return Err(ConvertFileError::SameFile { path: path() });
    }
    let mut start = [0; MAGIC.len()];
    if own.len() >= start.len() as u64 {
        file.read_exact_at(0, &mut start).map_err(failed)?;
    }
    if start == MAGIC {
        return Err(ConvertFileError::Already { path: path() });
    }
    Ok(file)
}
