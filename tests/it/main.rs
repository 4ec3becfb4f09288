//! Integration tests: a module per source module.

mod model;
