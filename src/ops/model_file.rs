//! A foreign object written as a model file: plan, arrays, graph and metadata.
#![forbid(unsafe_code)]

use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value, json};

use crate::convert::source::Foreign;
use crate::format::codec::{Codec, Level};
use crate::format::digest::Digest;
use crate::format::lanes::{NewArray, Pull};
use crate::format::writer::{Parts, Pieces, WriteError, Writer};
use crate::format::{ArrayId, ArrayInfo, OnProgress, Progress, Role};
use crate::model::array::ArraySink;
use crate::model::graph::Graph;
use crate::model::lower::{LowerError, lower};
use crate::model::pack::{PackError, pack, walk};
use crate::model::plan::Plan;
use crate::ops::describe::describe;
use crate::ops::packing::PackingSink;
use crate::store::ahead::Ahead;

/// What a model file is for.
#[derive(Clone, Copy)]
pub(super) enum Form<'a> {
    /// To be mapped.
    Hot,
    /// To be restored before use. The folder has room for what memory shall not hold meanwhile.
    Archive(Level, &'a Path),
}

/// How a model file is written.
pub(super) struct Contents<'a> {
    /// Where the object comes from, in words.
    pub(super) source: &'a str,
    /// Sections of the metadata besides `onecopy` and `model`.
    pub(super) sections: Vec<(&'static str, &'a Value)>,
    pub(super) form: Form<'a>,
    pub(super) progress: OnProgress<'a>,
}

/// What was written.
pub(super) struct Written {
    pub(super) model: String,
    pub(super) plan: Plan,
    pub(super) arrays: u32,
    pub(super) bytes: u64,
    pub(super) digest: Digest,
}

/// The step that failed.
pub(super) enum Failed {
    Lower(LowerError),
    Pack(PackError),
    Write(WriteError),
}

impl From<WriteError> for Failed {
    fn from(error: WriteError) -> Self {
        Failed::Write(error)
    }
}

/// Writes `foreign`, whose graph has been checked, to an empty file.
pub(super) fn write_model(
    file: &mut Ahead<'_>,
    mut foreign: Foreign,
    contents: &Contents<'_>,
) -> Result<Written, Failed> {
    foreign.graph.sort_sets();
    let mut writer = match contents.form {
        Form::Hot => Writer::new(file, Codec::Raw)?,
        Form::Archive(level, _) => Writer::packing(file, level)?,
    };
    let done = AtomicU64::new(0);
    let graph = std::mem::replace(&mut foreign.graph, Graph::empty());
    let mut packing;
    let sink: &mut dyn ArraySink = match contents.form {
        Form::Hot => &mut writer,
        Form::Archive(_, folder) => {
            packing = PackingSink::new(&mut writer, folder);
            &mut packing
        }
    };
    let mut sink = Counted { sink, done: &done, progress: contents.progress, arrays: 0 };
    let walk = walk(&graph, &foreign);
    let mut lowering = lower(&graph, &foreign, &walk, &mut sink).map_err(Failed::Lower)?;
    let description = describe(&graph, &foreign);
    let model = description.model.clone();
    let mut metadata = Map::new();
    metadata.insert(
        "onecopy".to_owned(),
        json!({ "version": env!("CARGO_PKG_VERSION"), "source": contents.source }),
    );
    metadata.insert("model".to_owned(), json!(description));
    metadata.extend(contents.sections.iter().map(|(name, value)| ((*name).to_owned(), (*value).clone())));
    let metadata = Value::Object(metadata).to_string();
    let graph = pack(graph, &walk, &foreign, &lowering.stored, &mut lowering.plan, &mut sink)
        .map_err(Failed::Pack)?;
    let arrays = sink.arrays;
    let (graph, plan) = (graph.encode(), lowering.plan.encode());
    let parts = Parts { graph: &graph, plan: &plan, metadata: metadata.as_bytes() };
    let (file, digest) = writer.finish(&parts)?;
    let bytes = file.len().map_err(|source| WriteError::Output { offset: 0, source })?;
    (contents.progress)(Progress::publishing(bytes));
    Ok(Written { model, plan: lowering.plan, arrays, bytes, digest })
}

/// Tells how much has been written.
struct Counted<'a> {
    sink: &'a mut dyn ArraySink,
    done: &'a AtomicU64,
    progress: OnProgress<'a>,
    arrays: u32,
}

impl ArraySink for Counted<'_> {
    fn add(&mut self, name: &str, info: &ArrayInfo, role: Role, data: &mut dyn Read) -> io::Result<ArrayId> {
        let mut data = CountedRead { data, done: self.done, progress: self.progress };
        let id = self.sink.add(name, info, role, &mut data)?;
        self.arrays += 1;
        Ok(id)
    }

    fn add_slices(
        &mut self,
        name: &str,
        info: &ArrayInfo,
        role: Role,
        piece: Pieces<'_, '_>,
    ) -> io::Result<ArrayId> {
        let (done, progress) = (self.done, self.progress);
        let counted = AtomicU64::new(0);
        let told = |range: Range<u64>| {
            // Two threads read: what the one that is ahead reads counts.
            let before = counted.fetch_max(range.end, Ordering::Relaxed);
            count(done, progress, range.end.saturating_sub(before));
            piece(range)
        };
        let id = self.sink.add_slices(name, info, role, &told)?;
        self.arrays += 1;
        Ok(id)
    }

    fn add_together(&mut self, arrays: &[NewArray<'_>], pull: &mut Pull<'_>) -> io::Result<Vec<ArrayId>> {
        let (done, progress) = (self.done, self.progress);
        let ids = self.sink.add_together(arrays, &mut || {
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
