//! From graph to plan: one file per estimator family.
#![forbid(unsafe_code)]
