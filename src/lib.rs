//! Load a trained model once; serve it from every process.
//!
//! A model file is a header plus page-aligned raw array segments. It is mapped read-only, so that all worker
//! processes of a host share one physical copy, and predictions are computed straight from the mapping.
#![deny(unsafe_code)]

mod convert;
mod engine;
mod format;
mod mapping;
mod model;
mod ops;
#[cfg(feature = "serve")]
pub mod serve;
mod store;
