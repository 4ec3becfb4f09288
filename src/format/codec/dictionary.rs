//! Distinct values, and for each element the position of its value among them.
#![forbid(unsafe_code)]

use std::cmp::Reverse;

/// What is worth a dictionary: at least this many elements for each distinct value.
const MIN_USES: usize = 2;
/// Entries of the hash table at first.
const MIN_TABLE: usize = 1 << 10;

/// The distinct values of some bytes, and positions among them.
pub(super) struct Dictionary {
    pub(super) values: Vec<u8>,
    pub(super) count: usize,
    pub(super) indices: Vec<u8>,
    pub(super) index_width: usize,
}

/// How the values follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ordering {
    /// Each is more than the one before it, as unsigned integers.
    Ascending,
    /// Those that are used most come first; those that are used about equally often are ascending.
    Frequent,
}

/// Bytes of elements that can be looked up.
pub(super) fn is_width(width: usize) -> bool {
    matches!(width, 2 | 4 | 8)
}

/// The distinct values of some elements as they appear.
pub(super) struct Distinct {
    values: Vec<u64>,
    /// For each element the position of its value in `values`.
    seen: Vec<u32>,
    width: usize,
    index_width: usize,
}

impl Distinct {
    /// `None` if there are too many distinct values, or an index would not be shorter than its value.
    pub(super) fn find(bytes: &[u8], width: usize) -> Option<Self> {
        match width {
            2 => find::<2>(bytes),
            4 => find::<4>(bytes),
            8 => find::<8>(bytes),
            _ => None,
        }
    }

    pub(super) fn ordered(&self, ordering: Ordering) -> Dictionary {
        let mut order: Vec<(u64, u32)> = self.values.iter().copied().zip(0..).collect();
        match ordering {
            Ordering::Ascending => order.sort_unstable(),
            Ordering::Frequent => {
                let mut uses = vec![0u32; order.len()];
                self.seen.iter().for_each(|&at| uses[at as usize] += 1);
                order.sort_unstable_by_key(|&(value, at)| (Reverse(uses[at as usize].max(1).ilog2()), value));
            }
        }
        let mut rank = vec![0u32; order.len()];
        let mut values = Vec::with_capacity(order.len() * self.width);
        for (&(value, at), sorted) in order.iter().zip(0..) {
            rank[at as usize] = sorted;
            values.extend_from_slice(&value.to_le_bytes()[..self.width]);
        }
        let index_width = self.index_width;
        let mut indices = vec![0; self.seen.len() * index_width];
        let ranks = self.seen.iter().map(|&at| rank[at as usize]);
        match index_width {
            1 => indices.iter_mut().zip(ranks).for_each(|(to, rank)| *to = rank as u8),
            2 => {
                let indices = indices.as_chunks_mut::<2>().0;
                indices.iter_mut().zip(ranks).for_each(|(to, rank)| *to = (rank as u16).to_le_bytes());
            }
            _ => {
                let indices = indices.as_chunks_mut::<4>().0;
                indices.iter_mut().zip(ranks).for_each(|(to, rank)| *to = rank.to_le_bytes());
            }
        }
        Dictionary { values, count: order.len(), indices, index_width }
    }
}

fn find<const W: usize>(bytes: &[u8]) -> Option<Distinct> {
    let (elements, rest) = bytes.as_chunks::<W>();
    let most = elements.len() / MIN_USES;
    if !rest.is_empty() || most == 0 {
        return None;
    }
    let number = |element: &[u8; W]| {
        let mut number = [0; 8];
        number[..W].copy_from_slice(element);
        u64::from_le_bytes(number)
    };
    let mut table = Table { slots: vec![0; MIN_TABLE], values: Vec::new() };
    let mut seen: Vec<u32> = Vec::with_capacity(elements.len());
    for element in elements {
        seen.push(table.position(number(element)));
        if table.values.len() > most {
            return None;
        }
    }
    let values = table.values;
    let index_width = match values.len() {
        0..=0x100 => 1,
        0x101..=0x1_0000 => 2,
        _ => 4,
    };
    (index_width < W).then_some(Distinct { values, seen, width: W, index_width })
}

/// A hash table with open addressing.
struct Table {
    /// Positions in `values`, counted from 1; 0 if free. Their number is a power of two.
    slots: Vec<u32>,
    values: Vec<u64>,
}

impl Table {
    fn position(&mut self, value: u64) -> u32 {
        let mask = self.slots.len() - 1;
        let mut at = self.first(value);
        loop {
            match self.slots[at] {
                0 => break,
                found if self.values[found as usize - 1] == value => return found - 1,
                _ => at = (at + 1) & mask,
            }
        }
        self.values.push(value);
        let count = self.values.len() as u32;
        self.slots[at] = count;
        if self.values.len() * 2 > self.slots.len() {
            self.grow();
        }
        count - 1
    }

    fn first(&self, value: u64) -> usize {
        let bits = self.slots.len().trailing_zeros();
        (value.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - bits)) as usize
    }

    fn grow(&mut self) {
        let len = self.slots.len() * 4;
        self.slots.clear();
        self.slots.resize(len, 0);
        for (position, at) in (1..).zip(0..self.values.len()) {
            let mut slot = self.first(self.values[at]);
            while self.slots[slot] != 0 {
                slot = (slot + 1) & (len - 1);
            }
            self.slots[slot] = position;
        }
    }
}

/// Looks `indices` up in `values`; widths have been checked, and the number of indices is that of elements of `out`.
pub(super) fn look_up(
    values: &[u8],
    width: usize,
    indices: &[u8],
    index_width: usize,
    out: &mut [u8],
) -> Result<(), String> {
    match width {
        2 => look_up_in(values.as_chunks::<2>().0, indices, index_width, out.as_chunks_mut().0),
        4 => look_up_in(values.as_chunks::<4>().0, indices, index_width, out.as_chunks_mut().0),
        _ => look_up_in(values.as_chunks::<8>().0, indices, index_width, out.as_chunks_mut().0),
    }
}

fn look_up_in<const W: usize>(
    values: &[[u8; W]],
    indices: &[u8],
    index_width: usize,
    out: &mut [[u8; W]],
) -> Result<(), String> {
    match index_width {
        1 => copy(values, indices.iter().map(|&index| usize::from(index)), out),
        2 => {
            let indices = indices.as_chunks().0.iter();
            copy(values, indices.map(|&index| usize::from(u16::from_le_bytes(index))), out)
        }
        _ => {
            let indices = indices.as_chunks().0.iter();
            copy(values, indices.map(|&index| u32::from_le_bytes(index) as usize), out)
        }
    }
}

fn copy<const W: usize>(
    values: &[[u8; W]],
    indices: impl Iterator<Item = usize> + Clone,
    out: &mut [[u8; W]],
) -> Result<(), String> {
    let largest = indices.clone().max().unwrap_or(0);
    if largest >= values.len() {
        return Err(format!("index {largest} is not in a dictionary of {} values", values.len()));
    }
    out.iter_mut().zip(indices).for_each(|(to, index)| *to = values[index]);
    Ok(())
}
