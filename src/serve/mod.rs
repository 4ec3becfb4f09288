//! Worker processes that share one mapping.
