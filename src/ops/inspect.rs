//! `inspect`: what is in a model file, as data.
#![forbid(unsafe_code)]

use serde::Serialize;

use crate::engine::methods;
use crate::format::codec::stream::describe;
use crate::format::codec::{Storage, Trial, Trials};
use crate::format::header::VERSION;
use crate::format::table::Segment;
use crate::format::{Order, Role};
use crate::model::Model;
use crate::model::blocks::Place;
use crate::model::graph::{Audit, Graph, GraphError};
use crate::model::lower::type_name;
use crate::model::plan::{Op, Plan};
use crate::ops::versions::UnitsSummary;

/// What is in a model file.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Inspection {
    /// Version of the format: `1.0`.
    pub format: String,
    /// The identity of the content, in hexadecimal.
    pub digest: String,
    /// Length of the file.
    pub len_bytes: u64,
    /// Whether arrays are compressed.
    pub cold: bool,
    /// The saved object; absent if the file holds only arrays.
    pub object: Option<ObjectSummary>,
    /// What is computed natively.
    pub native: Native,
    /// Of an archive of versions: what it shares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub units: Option<UnitsSummary>,
    /// All arrays, in the order of the file.
    pub arrays: Vec<ArraySummary>,
    /// Arrays that prediction reads.
    pub predict: Total,
    /// Arrays that only rebuilding the object reads.
    pub rebuild: Total,
    /// What the file says about itself.
    pub metadata: serde_json::Value,
}

/// The saved object of a file.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ObjectSummary {
    /// Its type, in the words of Python.
    #[serde(rename = "type")]
    pub model: String,
    /// Python values in it.
    pub values: usize,
    /// Bytes of the encoded graph.
    pub len_bytes: usize,
    /// The importable names in it, and how each is used.
    #[serde(flatten)]
    pub audit: Audit,
}

/// What can be computed without Python.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "covered", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Native {
    /// All that the model computes.
    Yes {
        /// `predict`, `predict_proba`, ...
        methods: Vec<String>,
        /// Estimators in the order in which they run.
        estimators: Vec<String>,
        /// Of every estimator that is trees: how they are laid out, and why.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        trees: Vec<String>,
    },
    /// Nothing.
    No {
        /// The estimator that is not covered.
        what: String,
        /// Why.
        why: String,
    },
}

/// One array of a file.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ArraySummary {
    /// Unique in the file.
    pub name: String,
    /// NumPy's spelling.
    pub dtype: String,
    /// Length of each dimension.
    pub shape: Vec<u64>,
    /// `C` or `F`.
    pub order: &'static str,
    /// `predict` or `rebuild`.
    pub role: &'static str,
    /// How it is stored: `raw`, `zstd`, `copy of x`, or what has been done to the first block, `shuffle8 + zstd`.
    pub codec: String,
    /// Bytes in memory.
    pub len_bytes: u64,
    /// Bytes in the file.
    pub stored_bytes: u64,
    /// Bytes in memory for each byte in the file; absent if there are none.
    pub ratio: Option<f64>,
    /// What else was tried, and how well it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A sum over arrays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Total {
    /// How many.
    pub arrays: u64,
    /// Bytes in memory.
    pub len_bytes: u64,
    /// Bytes in the file.
    pub stored_bytes: u64,
}

impl<D: AsRef<[u8]> + Sync> Model<D> {
    /// What is in the file. Reads the graph, not the arrays.
    ///
    /// # Errors
    ///
    /// [`GraphError`] if the graph is damaged.
    pub fn inspect(&self) -> Result<Inspection, GraphError> {
        let arrays: Vec<ArraySummary> =
            self.index().segments().iter().map(|array| self.summary(array)).collect();
        let object = self.graph()?.map(|graph| object(&graph, self.graph_bytes().len()));
        Ok(Inspection {
            format: format!("{}.{}", VERSION.0, self.prologue().minor),
            digest: self.digest().to_string(),
            len_bytes: self.len_bytes(),
            cold: self.is_cold(),
            object,
            native: native(self.plan()),
            units: self.units_summary(),
            predict: total(&arrays, name_of(Role::Predict)),
            rebuild: total(&arrays, name_of(Role::Rebuild)),
            arrays,
            metadata: self.metadata().clone(),
        })
    }
}

impl<D: AsRef<[u8]> + Sync> Model<D> {
    fn summary(&self, array: &Segment) -> ArraySummary {
        let info = &array.info;
        let stored = array.stored_len;
        ArraySummary {
            name: self.index().name(array).to_owned(),
            dtype: info.dtype.to_string(),
            shape: info.shape.clone(),
            order: match info.order {
                Order::C => "C",
                Order::F => "F",
            },
            role: name_of(array.role),
            codec: self.codec(array),
            len_bytes: array.raw_len,
            stored_bytes: stored,
            ratio: (stored > 0).then(|| (array.raw_len as f64 / stored as f64 * 100.0).round() / 100.0),
            why: self.why(array),
        }
    }

    fn codec(&self, array: &Segment) -> String {
        match array.storage {
            Storage::Raw => "raw".to_owned(),
            Storage::Zstd => "zstd".to_owned(),
            Storage::Units => "units".to_owned(),
            Storage::Copy => format!("copy of {}", self.index().name(self.index().holder(array))),
            Storage::Filtered => match self.places(array).next().filter(Place::is_encoded) {
                None => "as it is".to_owned(),
                Some(first) => describe(self.bytes(first.range()), first.decoded_len()),
            },
        }
    }

    fn why(&self, array: &Segment) -> Option<String> {
        if array.storage == Storage::Copy {
            return Some("the same bytes".to_owned());
        }
        let Trials { sample, trials } = &array.trials;
        let (chosen, others) = trials.split_first()?;
        let told = |trial: &Trial| format!("{} {:.2}", trial.way.name(), f64::from(trial.ratio) / 100.0);
        let others: Vec<String> = others.iter().map(told).collect();
        let others = if others.is_empty() { "nothing else".to_owned() } else { others.join(", ") };
        Some(format!("on {sample} bytes: {}; {others}", told(chosen)))
    }
}

fn object(graph: &Graph, len_bytes: usize) -> ObjectSummary {
    let model = type_name(graph, graph.root);
    ObjectSummary { model, values: graph.nodes.len(), len_bytes, audit: graph.audit() }
}

fn native(plan: &Plan) -> Native {
    match plan {
        Plan::Uncovered { what, why, .. } => Native::No { what: what.clone(), why: why.clone() },
        Plan::Native { ops, .. } => Native::Yes {
            methods: methods(plan).into_iter().map(|method| method.name().to_owned()).collect(),
            estimators: ops.iter().map(|op| op.estimator().to_owned()).collect(),
            trees: ops
                .iter()
                .filter_map(|op| match op {
                    Op::Trees(trees) => Some(trees.layout_in_words()),
                    _ => None,
                })
                .collect(),
        },
    }
}

fn name_of(role: Role) -> &'static str {
    match role {
        Role::Predict => "predict",
        Role::Rebuild => "rebuild",
    }
}

fn total(arrays: &[ArraySummary], role: &str) -> Total {
    let mut total = Total::default();
    for array in arrays.iter().filter(|array| array.role == role) {
        total.arrays += 1;
        total.len_bytes += array.len_bytes;
        total.stored_bytes += array.stored_bytes;
    }
    total
}
