//! No steps: [`Steps::new`] makes none where the processor has no such instructions.
#![forbid(unsafe_code)]

use crate::engine::kernels::compact::{Arrived, Depths, LANES, OneKey, RowKeys, Starts, Steps};
use crate::model::plan::compact::Crown;

/// There is none.
#[derive(Clone, Copy)]
pub(super) enum Machine {}

impl Machine {
    pub(super) fn here() -> Option<Self> {
        None
    }
}

/// Nothing to ask.
pub(super) fn fetch<const SOON: bool>(_: &[u64], _: usize) {}

impl Steps<'_> {
    pub(in crate::engine) fn begin_below(&self, _: &Crown, _: u64, _: &[RowKeys], _: &mut Starts) {
        match self.machine {}
    }

    pub(in crate::engine) fn rows<const P: bool>(
        &self,
        _: &Starts,
        _: Depths,
        _: &[RowKeys],
        _: &mut Arrived,
    ) {
        match self.machine {}
    }

    pub(in crate::engine) fn rows_passing(
        &self,
        _: &Starts,
        _: Depths,
        _: &[RowKeys],
        _: &mut Arrived,
    ) -> [u64; LANES] {
        match self.machine {}
    }

    pub(in crate::engine) fn trees<const P: bool>(
        &self,
        _: &[u64; LANES],
        _: Depths,
        _: &[OneKey],
        _: &mut Arrived,
    ) {
        match self.machine {}
    }

    pub(in crate::engine) fn trees_passing(
        &self,
        _: &[u64; LANES],
        _: Depths,
        _: &[OneKey],
        _: &mut Arrived,
    ) -> [u64; LANES] {
        match self.machine {}
    }
}
