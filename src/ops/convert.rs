//! `convert`: a file of another tool becomes a model file, without running any of it.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use crate::convert::source::{Foreign, ReadAt};
use crate::convert::{ConvertError, Limits, read_foreign};
use crate::format::codec::Codec;
use crate::format::digest::Digest;
use crate::format::header::MAGIC;
use crate::format::lanes::{NewArray, Pull};
use crate::format::writer::{Parts, WriteError, Writer};
use crate::format::{ArrayId, ArrayInfo, OnProgress, Progress, Role};
use crate::model::array::ArraySink;
use crate::model::graph::{Graph, GraphError};
use crate::model::lower::{LowerError, lower};
use crate::model::pack::{PackError, pack};
use crate::model::plan::Plan;
use crate::ops::describe::describe;
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

/// Writes the object in `src`, a pickle, joblib or `.npy` file, to `dst` as a model file.
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
    let work = Conversion { src, dst, options, progress, source_bytes };
    publish(dst, |file| work.write(file, foreign)).map_err(|error| match error {
        PublishError::Write(error) => error,
        PublishError::Step(step) => ConvertFileError::Publish(step),
    })
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

struct Conversion<'a> {
    src: &'a Path,
    dst: &'a Path,
    options: &'a ConvertOptions,
    progress: OnProgress<'a>,
    source_bytes: u64,
}

impl Conversion<'_> {
    fn write(&self, file: &mut File, mut foreign: Foreign) -> Result<ConvertReport, ConvertFileError> {
        let src = || self.src.to_owned();
        let failed = |source| ConvertFileError::Write { path: self.dst.to_owned(), source };
        let mut writer = Writer::new(file, Codec::Raw).map_err(failed)?;
        let done = AtomicU64::new(0);
        let mut sink = Counted { writer: &mut writer, done: &done, progress: self.progress, arrays: 0 };
        let lowering = lower(&foreign.graph, &foreign, &mut sink)
            .map_err(|source| ConvertFileError::Lower { path: src(), source })?;
        let description = describe(&foreign.graph, &foreign);
        let model = description.model.clone();
        let metadata = json!({
            "onecopy": { "version": env!("CARGO_PKG_VERSION"), "source": foreign.container },
            "model": description,
        });
        let metadata = self.with_user(metadata).to_string();
        let graph = std::mem::replace(&mut foreign.graph, Graph::empty());
        let graph = pack(graph, &foreign, &lowering.stored, &mut sink)
            .map_err(|source| ConvertFileError::Pack { path: src(), source })?;
        let arrays = sink.arrays;
        let (graph, plan) = (graph.encode(), lowering.plan.encode());
        let parts = Parts { graph: &graph, plan: &plan, metadata: metadata.as_bytes() };
        let (file, digest) = writer.finish(&parts).map_err(failed)?;
        let bytes = file.metadata().map_err(|source| failed(WriteError::Output { offset: 0, source }))?.len();
        let source_bytes = self.source_bytes;
        let (container, plan) = (foreign.container, lowering.plan);
        Ok(ConvertReport { container, model, plan, arrays, source_bytes, bytes, digest })
    }

    fn with_user(&self, mut metadata: serde_json::Value) -> serde_json::Value {
        if let (Some(user), Some(metadata)) = (&self.options.metadata, metadata.as_object_mut()) {
            metadata.insert("user".to_owned(), user.clone());
        }
        metadata
    }
}

/// Tells how much has been written.
struct Counted<'a, 'w> {
    writer: &'a mut Writer<&'w mut File>,
    done: &'a AtomicU64,
    progress: OnProgress<'a>,
    arrays: u32,
}

impl ArraySink for Counted<'_, '_> {
    fn add(&mut self, name: &str, info: &ArrayInfo, role: Role, data: &mut dyn Read) -> io::Result<ArrayId> {
        let mut data = CountedRead { data, done: self.done, progress: self.progress };
        let id = self.writer.add(name, info, role, &mut data)?;
        self.arrays += 1;
        Ok(id)
    }

    fn add_together(&mut self, arrays: &[NewArray<'_>], pull: &mut Pull<'_>) -> io::Result<Vec<ArrayId>> {
        let (done, progress) = (self.done, self.progress);
        let ids = self.writer.add_together(arrays, &mut || {
            let parts = pull()?;
            let len = parts.iter().flatten().map(Vec::len).sum::<usize>() as u64;
            count(done, progress, len);
            Ok(parts)
        })?;
        self.arrays += ids.len() as u32;
        Ok(ids)
    }
}

fn count(done: &AtomicU64, progress: OnProgress<'_>, len: u64) {
    let done_bytes = done.fetch_add(len, Ordering::Relaxed) + len;
    progress(Progress { what: "writing", done_bytes, total_bytes: 0 });
}

struct CountedRead<'a> {
    data: &'a mut dyn Read,
    done: &'a AtomicU64,
    progress: OnProgress<'a>,
}

impl Read for CountedRead<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.data.read(buf)?;
        count(self.done, self.progress, len as u64);
        Ok(len)
    }
}
