//! Load a trained model once; serve it from every process.
//!
//! A model file is a header plus page-aligned raw array segments. It is mapped read-only, so that all worker
//! processes of a host share one physical copy, and predictions are computed straight from the mapping.
#![deny(unsafe_code)]

mod convert;
mod engine;
mod format;
mod mapping;
mod memory;
mod model;
mod ops;
#[cfg(feature = "serve")]
pub mod serve;
mod store;

pub use convert::npy::read_npy_header;
pub use convert::source::{Foreign, ForeignArray, ForeignData, ReadAt};
pub use convert::{ConvertError, Limits, NpyProblem, Problem, TextProblem, read_foreign, read_with_buffers};
pub use engine::columns::{Boosting, Csr, TreeInput, TreeInputError};
pub use engine::{Input, Method, Output, OutputArray, PredictError, RunOptions};
pub use format::codec::{Codec, Level, Storage, UnknownLevel};
pub use format::digest::Digest;
pub use format::dtype::{Dtype, DtypeError, Element, Field, Kind, Plain, Record, TimeUnit};
pub use format::error::FormatError;
pub use format::writer::{Parts, WriteError, Writer};
pub use format::{ArrayId, ArrayInfo, OnProgress, Order, Progress, Role};
pub use mapping::{CopyOnWrite, MapError, Mapping, OpenOptions};
pub use model::aligned::AlignedBytes;
pub use model::array::{ArrayError, ArrayRef};
pub use model::blocks::Damage;
pub use model::graph::{
    ArrayPart, Audit, Blob, Graph, GraphError, Make, NameUse, Node, NodeId, Object, Quotients, Records, Terms,
};
pub use model::lower::LowerError;
pub use model::pack::PackError;
pub use model::plan::{
    Asked, Boosted, BoostedKind, BoostedLink, Categories, CategoryRule, Encoding, Float, Forest, ForestKind,
    Head, LeafNumbers, Link, Member, Op, Plan, PlanError, Recoded, Stacking, StackingMember, Subtrees,
    TreeLayout, Trees, Voting, VotingKind,
};
pub use model::terms::{NewTerms, TermsBuilder, TermsPlace, TermsRef};
pub use model::trees::{
    ArrayBytes, Column, ColumnData, Columns, Floats, Ints, StoredTree, TreeError, TreeView,
};
pub use model::verify::{VerifyError, VerifyOptions, VerifyReport};
pub use model::{Model, OpenError};
pub use ops::convert::{ConvertFileError, ConvertOptions, ConvertReport, convert};
pub use ops::dump::{Dump, DumpError, DumpOptions, DumpReport, Pickled};
pub use ops::hot::{HotError, HotOptions, Share};
pub use ops::inspect::{ArraySummary, Inspection, Native, ObjectSummary, Total};
pub use ops::rewrite::{ArchiveOptions, RewriteError, RewriteReport, archive, restore};
pub use ops::sign::{SignatureError, VerifyKey, sign, signature_path, verify_signed};
pub use ops::user::{FileWriteError, FileWriter};
pub use ops::verify::{VerifyFileError, verify};
pub use ops::versions::{
    PruneReport, Sharing, UnitsSummary, VersionsError, archive_version, folder_of_versions, prune,
};
pub use store::cache::{Cache, CacheEntry, CacheError, Cleared};
pub use store::fs::{PublishError, StepError, publish};

/// Runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
