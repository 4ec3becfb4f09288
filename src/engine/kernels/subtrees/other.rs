//! No walks: [`Walks::new`] makes none where the processor has no such instructions.
#![forbid(unsafe_code)]

use crate::engine::kernels::compact::{LANES, RowKeys};
use crate::engine::kernels::subtrees::{KeysOfRow, LeavesOfTree, Walks};

/// There is none.
#[derive(Clone, Copy)]
pub(super) enum Machine {}

impl Machine {
    pub(super) fn here() -> Option<Self> {
        None
    }
}

impl Walks<'_> {
    pub(in crate::engine) fn rows<const FETCH: bool>(
        &self,
        _: usize,
        _: &[RowKeys],
        _: &[KeysOfRow; LANES],
        _: usize,
        _: &mut [LeavesOfTree],
    ) {
        match self.machine {}
    }

    pub(in crate::engine) fn row(&self, _: &KeysOfRow, _: &mut [u32]) {
        match self.machine {}
    }
}
