//! Integration tests: a module per source module.

mod format;
mod mapping;
mod model;
mod store;
