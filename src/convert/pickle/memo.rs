//! What a pickle remembers by number.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use crate::model::graph::NodeId;

const EMPTY: u32 = u32::MAX;

/// Memo entries. Numbers that grow one by one, as picklers write them, lie in a vector; others in a map, so that a number
/// near 2^32 costs no more than a small one.
#[derive(Default)]
pub(crate) struct Memo {
    dense: Vec<u32>,
    sparse: HashMap<u64, u32>,
    count: u64,
}

impl Memo {
    pub(crate) fn put(&mut self, index: u64, id: NodeId) {
        let room = self.dense.len() as u64 * 2 + 1024;
        let slot = match usize::try_from(index) {
            Ok(at) if index < room => {
                if at >= self.dense.len() {
                    self.dense.resize(at + 1, EMPTY);
                }
                &mut self.dense[at]
            }
            _ => self.sparse.entry(index).or_insert(EMPTY),
        };
        self.count += u64::from(*slot == EMPTY);
        *slot = id.0;
    }

    /// Puts at the number of entries so far, as MEMOIZE does.
    pub(crate) fn push(&mut self, id: NodeId) {
        self.put(self.count, id);
    }

    pub(crate) fn get(&self, index: u64) -> Option<NodeId> {
        let dense = usize::try_from(index).ok().and_then(|at| self.dense.get(at)).filter(|id| **id != EMPTY);
        dense.or_else(|| self.sparse.get(&index)).map(|id| NodeId(*id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_numbers_cost_no_more_than_near_ones() {
        let mut memo = Memo::default();
        memo.put(u64::from(u32::MAX), NodeId(7));
        memo.push(NodeId(8));
        memo.put(5_000, NodeId(9));
        assert_eq!(Some(NodeId(7)), memo.get(u64::from(u32::MAX)));
        assert_eq!(Some(NodeId(8)), memo.get(1));
        assert_eq!(Some(NodeId(9)), memo.get(5_000));
        assert_eq!(None, memo.get(0));
        assert!(memo.dense.len() < 2_000);
    }

    #[test]
    fn an_entry_put_far_away_stays_reachable_when_the_dense_part_grows_past_it() {
        let mut memo = Memo::default();
        memo.put(1_500, NodeId(1));
        for i in 0..1_400 {
            memo.put(i, NodeId(2));
        }
        memo.put(1_600, NodeId(3));
        assert_eq!(Some(NodeId(1)), memo.get(1_500));
    }
}
