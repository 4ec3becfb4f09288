//! Distinct values in ascending order, and for each element the position of its value among them.
#![forbid(unsafe_code)]

use rustc_hash::FxHashMap;

/// What is worth a dictionary: at least this many elements for each distinct value.
const MIN_USES: usize = 2;

/// The distinct values of `bytes`, and positions among them.
pub(super) struct Dictionary {
    pub(super) values: Vec<u8>,
    pub(super) count: usize,
    pub(super) indices: Vec<u8>,
    pub(super) index_width: usize,
}

/// Bytes of elements that can be looked up.
pub(super) fn is_width(width: usize) -> bool {
    matches!(width, 2 | 4 | 8)
}

/// `None` if there are too many distinct values, or an index would not be shorter than its value.
pub(super) fn build(bytes: &[u8], width: usize) -> Option<Dictionary> {
    match width {
        2 => build_of::<2>(bytes),
        4 => build_of::<4>(bytes),
        8 => build_of::<8>(bytes),
        _ => None,
    }
}

fn build_of<const W: usize>(bytes: &[u8]) -> Option<Dictionary> {
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
    let mut first: FxHashMap<u64, u32> = FxHashMap::default();
    let mut values: Vec<u64> = Vec::new();
    let mut seen: Vec<u32> = Vec::with_capacity(elements.len());
    for element in elements {
        let number = number(element);
        let position = *first.entry(number).or_insert_with(|| {
            values.push(number);
            values.len() as u32 - 1
        });
        if values.len() > most {
            return None;
        }
        seen.push(position);
    }
    let count = values.len();
    let index_width = if count <= 1 << 8 {
        1
    } else if count <= 1 << 16 {
        2
    } else {
        4
    };
    if index_width >= W {
        return None;
    }
    let mut order: Vec<u32> = (0..count as u32).collect();
    order.sort_unstable_by_key(|&position| values[position as usize]);
    let mut rank = vec![0u32; count];
    order.iter().zip(0..).for_each(|(&position, sorted)| rank[position as usize] = sorted);
    let values = order.iter().flat_map(|&position| values[position as usize].to_le_bytes()[..W].to_vec());
    let values = values.collect();
    let mut indices = Vec::with_capacity(elements.len() * index_width);
    for position in seen {
        indices.extend_from_slice(&rank[position as usize].to_le_bytes()[..index_width]);
    }
    Some(Dictionary { values, count, indices, index_width })
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
