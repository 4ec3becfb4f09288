//! A big `dict` of `str` to int that is looked up where it is stored.
//!
//! Four arrays: the UTF-8 of all terms, where each term ends, the values, and the slots of a hash table with open
//! addressing. A file is opened without reading them, so nothing is taken for granted here: a lookup looks at no more than
//! [`MAX_PROBES`] slots, and a term that is not where its slot says is not there.
#![forbid(unsafe_code)]

use std::ops::Range;

use bytemuck::Pod;

use crate::format::ArrayId;
use crate::model::Model;
use crate::model::array::ArrayError;
use crate::model::graph::Terms;

/// Slots that a lookup visits at most.
pub(crate) const MAX_PROBES: usize = 128;
/// Hash tables are tried in this many sizes, with one seed each.
const ATTEMPTS: u32 = 4;

/// Where the terms of a file are. Holds no bytes: [`TermsPlace::terms`] lends those of the file.
#[derive(Clone, Debug)]
pub struct TermsPlace {
    text: Range<usize>,
    ends: Range<usize>,
    values: Range<usize>,
    slots: Range<usize>,
    seed: u64,
}

/// The terms of a file with their values, in insertion order.
#[derive(Clone, Copy, Debug)]
pub struct TermsRef<'a> {
    text: &'a [u8],
    ends: &'a [u32],
    values: &'a [i64],
    slots: &'a [u64],
    seed: u64,
}

impl<D: AsRef<[u8]>> Model<D> {
    /// Finds the arrays of a [`Node::Terms`](crate::Node::Terms) of this file's graph.
    ///
    /// # Errors
    ///
    /// [`ArrayError::Compressed`], and what else an array of another type gives.
    pub fn terms(&self, terms: &Terms) -> Result<TermsPlace, ArrayError> {
        Ok(TermsPlace {
            text: self.place::<u8>(terms.text)?,
            ends: self.place::<u32>(terms.ends)?,
            values: self.place::<i64>(terms.values)?,
            slots: self.place::<u64>(terms.slots)?,
            seed: terms.seed,
        })
    }

    fn place<T: crate::format::dtype::Element>(&self, id: ArrayId) -> Result<Range<usize>, ArrayError> {
        let array = self.array_at(id)?;
        let len = size_of_val(array.values::<T>()?);
        let start = usize::try_from(array.offset()).unwrap_or(usize::MAX);
        Ok(start..start.saturating_add(len))
    }
}

impl TermsPlace {
    /// The terms; `file` are the bytes of the file that they were found in.
    pub fn terms<'a>(&self, file: &'a [u8]) -> TermsRef<'a> {
        TermsRef {
            text: file.get(self.text.clone()).unwrap_or_default(),
            ends: cast(file, &self.ends),
            values: cast(file, &self.values),
            slots: cast(file, &self.slots),
            seed: self.seed,
        }
    }
}

fn cast<'a, T: Pod>(file: &'a [u8], range: &Range<usize>) -> &'a [T] {
    file.get(range.clone()).and_then(|bytes| bytemuck::try_cast_slice(bytes).ok()).unwrap_or_default()
}

impl<'a> TermsRef<'a> {
    /// Number of terms.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The value of a term.
    pub fn get(&self, term: &str) -> Option<i64> {
        let hash = hash(term.as_bytes(), self.seed);
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        for _ in 0..MAX_PROBES {
            let slot = *self.slots.get(at)?;
            if slot == 0 {
                return None;
            }
            if slot >> 32 == hash >> 32 {
                let index = (slot as u32).wrapping_sub(1) as usize;
                if self.bytes(index) == Some(term.as_bytes()) {
                    return self.values.get(index).copied();
                }
            }
            at = (at + 1) & mask;
        }
        None
    }

    /// The term at a position, unless the file is damaged there.
    pub fn term(&self, index: usize) -> Option<&'a str> {
        std::str::from_utf8(self.bytes(index)?).ok()
    }

    /// The value at a position.
    pub fn value(&self, index: usize) -> Option<i64> {
        self.values.get(index).copied()
    }

    fn bytes(&self, index: usize) -> Option<&'a [u8]> {
        let end = *self.ends.get(index)? as usize;
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)? as usize,
            None => 0,
        };
        self.text.get(start..end)
    }
}

/// Dicts with fewer terms are built in no time, and stay dicts.
pub(crate) const MIN_TERMS: usize = 1024;

/// The terms of a dict with their values, gathered one by one in its order.
#[derive(Debug, Default)]
pub struct TermsBuilder {
    text: Vec<u8>,
    ends: Vec<u32>,
    values: Vec<i64>,
}

impl TermsBuilder {
    /// Of at least so many terms.
    pub const MIN_TERMS: usize = MIN_TERMS;

    /// Room for `count` terms.
    pub fn with_capacity(count: usize) -> Self {
        TermsBuilder {
            text: Vec::with_capacity(count.saturating_mul(8)),
            ends: Vec::with_capacity(count),
            values: Vec::with_capacity(count),
        }
    }

    /// Adds a term; `None` if the terms are more bytes than 32 bits can count.
    pub fn push(&mut self, term: &str, value: i64) -> Option<()> {
        self.text.extend_from_slice(term.as_bytes());
        self.ends.push(u32::try_from(self.text.len()).ok()?);
        self.values.push(value);
        Some(())
    }

    /// Makes the hash table. `numpy` says that the values are `numpy.int64`, not `int`.
    ///
    /// `None` if there are few terms, if one is there twice, or if too many collide: such a dict stays a dict.
    pub fn finish(self, numpy: bool) -> Option<NewTerms> {
        if self.ends.len() < MIN_TERMS { None } else { self.hashed(numpy) }
    }

    fn hashed(self, numpy: bool) -> Option<NewTerms> {
        let TermsBuilder { text, ends, values } = self;
        let least = ends.len().checked_mul(2)?.max(2).checked_next_power_of_two()?;
        (0..ATTEMPTS)
            .find_map(|attempt| {
                let seed = u64::from(attempt);
                let slots = slots(&text, &ends, seed, least.checked_shl(attempt)?).ok()?;
                Some((seed, slots))
            })
            .and_then(|(seed, slots)| Some(NewTerms { text, ends, values, slots: slots?, seed, numpy }))
    }
}

/// Terms on their way to a file.
#[derive(Debug)]
pub struct NewTerms {
    pub(crate) text: Vec<u8>,
    pub(crate) ends: Vec<u32>,
    pub(crate) values: Vec<i64>,
    pub(crate) slots: Vec<u64>,
    pub(crate) seed: u64,
    /// Whether the values are `numpy.int64`.
    pub(crate) numpy: bool,
}

impl NewTerms {
    /// The arrays of these pairs; `None` if a term is there twice, or if there are too many or too many that collide.
    pub(crate) fn new<'a>(pairs: impl Iterator<Item = (&'a str, i64)>, numpy: bool) -> Option<Self> {
        let mut builder = TermsBuilder::default();
        for (term, value) in pairs {
            builder.push(term, value)?;
        }
        builder.hashed(numpy)
    }
}

/// More than [`MAX_PROBES`] terms have their place in a row.
struct Crowded;

/// The hash table; `None` if a term is there twice.
fn slots(text: &[u8], ends: &[u32], seed: u64, len: usize) -> Result<Option<Vec<u64>>, Crowded> {
    let mut slots = vec![0u64; len];
    let term = |index: usize| {
        let start = index.checked_sub(1).map_or(0, |before| ends[before] as usize);
        &text[start..ends[index] as usize]
    };
    for index in 0..ends.len() {
        let (bytes, mut probes) = (term(index), 0);
        let hash = hash(bytes, seed);
        let mut at = hash as usize & (len - 1);
        while slots[at] != 0 {
            if slots[at] >> 32 == hash >> 32 && term(slots[at] as u32 as usize - 1) == bytes {
                return Ok(None);
            }
            probes += 1;
            if probes == MAX_PROBES {
                return Err(Crowded);
            }
            at = (at + 1) & (len - 1);
        }
        slots[at] = hash >> 32 << 32 | (index as u64 + 1);
    }
    Ok(Some(slots))
}

/// The hash of `docs/format.md`.
#[inline]
fn hash(bytes: &[u8], seed: u64) -> u64 {
    const MULTIPLY: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = (seed ^ bytes.len() as u64).wrapping_mul(MULTIPLY);
    let mut mix = |word: u64| {
        hash = (hash ^ word).wrapping_mul(MULTIPLY);
        hash ^= hash >> 29;
    };
    let (words, rest) = bytes.as_chunks::<8>();
    words.iter().for_each(|word| mix(u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(u64::from_le_bytes(last));
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(MULTIPLY);
    hash ^ hash >> 29
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(terms: &NewTerms) -> TermsRef<'_> {
        let NewTerms { text, ends, values, slots, seed, .. } = terms;
        TermsRef { text, ends, values, slots, seed: *seed }
    }

    #[test]
    fn every_term_is_found_and_no_other() {
        let words: Vec<String> = (0..50_000).map(|i| format!("w\u{f6}rter {i}")).collect();
        let new = NewTerms::new(words.iter().zip(0..).map(|(word, i)| (word.as_str(), -i)), false).unwrap();
        let terms = view(&new);
        assert_eq!((terms.len(), terms.seed), (50_000, 0));
        for (i, word) in words.iter().enumerate() {
            assert_eq!(terms.get(word), Some(-(i as i64)));
            assert_eq!((terms.term(i), terms.value(i)), (Some(word.as_str()), Some(-(i as i64))));
            assert_eq!(terms.get(&word[..word.len() - 1]).is_some(), i > 9 || word.len() == 1);
        }
        assert_eq!(terms.get(""), None);
        assert_eq!(terms.term(50_000), None);
    }

    #[test]
    fn a_term_that_is_there_twice_is_no_vocabulary() {
        assert!(NewTerms::new([("a", 1), ("b", 2), ("a", 3)].into_iter(), false).is_none());
        assert!(NewTerms::new([("", 1), ("a", 2)].into_iter(), false).is_some());
    }

    #[test]
    fn damaged_arrays_lose_terms_and_nothing_else() {
        let words: Vec<String> = (0..2000).map(|i| format!("term{i}")).collect();
        let new = NewTerms::new(words.iter().zip(0..).map(|(word, i)| (word.as_str(), i)), false).unwrap();
        let full = vec![u64::MAX; 4096];
        let beyond = vec![u32::MAX; 2000];
        let cases = [
            TermsRef { slots: &full, ..view(&new) },
            TermsRef { ends: &beyond, ..view(&new) },
            TermsRef { ends: &new.ends[..7], ..view(&new) },
            TermsRef { values: &[], ..view(&new) },
            TermsRef { slots: &[], ..view(&new) },
            TermsRef { text: &[0xff; 20_000], ..view(&new) },
        ];
        for terms in cases {
            let found = words.iter().filter(|word| terms.get(word).is_some()).count();
            assert!(found < 8, "{found}");
            (0..2001).for_each(|index| _ = terms.term(index));
        }
    }
}
