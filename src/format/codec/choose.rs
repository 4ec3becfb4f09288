//! Which recipe suits an array, found by trying some on a sample of it.
#![forbid(unsafe_code)]

use std::io;

use crate::format::codec::columns::{self, Fields};
use crate::format::codec::dictionary::{Distinct, Ordering};
use crate::format::codec::recipe::{Filter, Recipe, Streams};
use crate::format::codec::{Level, Trial, Trials, Way};
use crate::format::dtype::{Dtype, Kind, Plain, Record};
use crate::format::{ArrayInfo, Order};

/// What is not this much smaller is stored as it is.
const MIN_RATIO: f64 = 1.05;
/// A way that is harder to undo must be this much better than the simpler one.
const MIN_GAIN: f64 = 1.01;
/// Records longer than this are not taken apart.
const MAX_RECORD: usize = 4096;
/// Columns more than this share one way.
const MAX_OWN_COLUMNS: usize = 64;

/// A recipe, and what has been tried to find it.
pub(super) struct Choice {
    pub(super) recipe: Recipe,
    pub(super) trials: Trials,
    /// What the recipe makes of the sample, unless it is stored as it is.
    pub(super) stream: Option<Vec<u8>>,
}

/// The bytes of one record, if an array can be taken apart into columns.
pub(super) fn row_len(info: &ArrayInfo) -> usize {
    match &info.dtype {
        Dtype::Record(record) => record.itemsize as usize,
        Dtype::Plain(plain) if info.order == Order::C && info.shape.len() > 1 => {
            let last = info.shape.last().and_then(|&last| usize::try_from(last).ok()).unwrap_or(usize::MAX);
            last.saturating_mul(plain.itemsize as usize)
        }
        Dtype::Plain(plain) => plain.itemsize as usize,
    }
}

/// Tries what may suit the array on a sample, whole rows of it.
pub(super) fn choose(
    info: &ArrayInfo,
    sample: &[u8],
    level: Level,
    streams: &mut Streams,
) -> io::Result<Choice> {
    let mut trying = Trying { streams, level };
    let mut best = Best::new(sample.len());
    let row = row_len(info);
    match &info.dtype {
        Dtype::Record(record) => {
            trying.plain(sample, 1, false, &mut best)?;
            if let Some(groups) = fields(record) {
                let recipe = trying.columns(sample, row, groups)?;
                trying.offer(recipe, Way::Fields, sample, &mut best)?;
            }
        }
        Dtype::Plain(plain) => {
            let width = element(plain);
            trying.plain(sample, width, is_float(plain), &mut best)?;
            trying.dictionary(sample, width, &mut best)?;
            if level != Level::Fast && row > width && row <= MAX_RECORD {
                trying.transposed(sample, width, row, &mut best)?;
            }
            if level != Level::Fast && width == 8 && !is_float(plain) {
                let halves = vec![Fields { width: 2, count: 1 }; 4];
                let recipe = trying.columns(sample, 8, halves)?;
                trying.offer(recipe, Way::Fields, sample, &mut best)?;
            }
        }
    }
    Ok(best.end())
}

fn is_float(plain: &Plain) -> bool {
    matches!(plain.kind, Kind::Float | Kind::Complex)
}

/// Bytes of what a filter takes as one number.
fn element(plain: &Plain) -> usize {
    let itemsize = plain.itemsize as usize;
    match plain.kind {
        Kind::Complex => itemsize / 2,
        Kind::Str => 4,
        Kind::Bytes | Kind::Void => 1,
        _ => itemsize.max(1),
    }
}

/// The columns of a record and the holes between them; `None` if they are too many or too long.
fn fields(record: &Record) -> Option<Vec<Fields>> {
    let mut places: Vec<(usize, usize, usize)> = Vec::new();
    for field in &record.fields {
        let width = element(&field.dtype);
        let len = field.len_bytes()? as usize;
        places.push((field.offset as usize, width, len));
    }
    places.sort_unstable();
    let mut groups = Vec::new();
    let mut end = 0;
    for (offset, width, len) in places.into_iter().filter(|place| place.2 > 0) {
        if offset > end {
            groups.push(Fields { width: 1, count: offset - end });
        }
        groups.push(Fields { width, count: len / width });
        end = offset + len;
    }
    let record = record.itemsize as usize;
    if record > end {
        groups.push(Fields { width: 1, count: record - end });
    }
    (groups.len() < 256 && (1..=MAX_RECORD).contains(&record)).then_some(groups)
}

struct Trying<'a> {
    streams: &'a mut Streams,
    level: Level,
}

impl Trying<'_> {
    fn offer(&mut self, recipe: Recipe, way: Way, sample: &[u8], best: &mut Best) -> io::Result<()> {
        let stream = self.streams.block(&recipe, sample, 0)?;
        best.offer(recipe, way, stream);
        Ok(())
    }

    /// Filters alone.
    fn plain(&mut self, sample: &[u8], width: usize, float: bool, best: &mut Best) -> io::Result<()> {
        let fast = self.level == Level::Fast;
        let mut ways = vec![(Filter::NONE, Way::Zstd)];
        if matches!(width, 2 | 4 | 8) {
            ways.push((Filter::SHUFFLE, Way::Shuffle));
            // Floats that are near each other differ by large integers.
            if !(fast && float) {
                ways.push((Filter::BOTH, Way::DeltaShuffle));
            }
        }
        if !fast && matches!(width, 1 | 2 | 4 | 8) {
            ways.push((Filter::DELTA, Way::Delta));
        }
        for (filter, way) in ways {
            self.offer(Recipe::Filtered { width, filter }, way, sample, best)?;
        }
        Ok(())
    }

    fn dictionary(&mut self, sample: &[u8], width: usize, best: &mut Best) -> io::Result<()> {
        let otherwise = best.filter();
        let Some(found) = Distinct::find(sample, width) else { return Ok(()) };
        let ways: &[(Ordering, &[Filter])] = match self.level {
            Level::Fast => &[(Ordering::Ascending, &[Filter::NONE])],
            _ => &[
                (Ordering::Ascending, &[Filter::NONE, Filter::SHUFFLE, Filter::DELTA]),
                (Ordering::Frequent, &[Filter::NONE, Filter::SHUFFLE]),
            ],
        };
        for &(ordering, filters) in ways {
            let found = found.ordered(ordering);
            for &indices in filters {
                let recipe = Recipe::Dictionary { width, ordering, indices, otherwise };
                let mut stream = Vec::new();
                self.streams.dictionary(&found, width, indices, &mut stream)?;
                best.offer(recipe, Way::Dictionary, Some(stream));
            }
        }
        Ok(())
    }

    /// Rows column by column: all columns in one way, and few of them each in its own.
    fn transposed(&mut self, sample: &[u8], width: usize, row: usize, best: &mut Best) -> io::Result<()> {
        let count = row / width;
        if count > MAX_OWN_COLUMNS {
            let recipe = self.columns(sample, row, vec![Fields { width, count }])?;
            return self.offer(recipe, Way::ColumnMajor, sample, best);
        }
        let recipe = self.columns(sample, row, vec![Fields { width, count: 1 }; count])?;
        self.offer(recipe, Way::ColumnMajor, sample, best)
    }

    /// Each group in the way that suits it best.
    fn columns(&mut self, sample: &[u8], record: usize, groups: Vec<Fields>) -> io::Result<Recipe> {
        let whole = sample.len() / record;
        let mut columns = vec![0; whole * record];
        columns::gather(&sample[..whole * record], record, &groups, &mut columns);
        let mut rest = &columns[..];
        let mut chosen = Vec::new();
        for fields in groups {
            let column;
            (column, rest) = rest.split_at(fields.len() * whole);
            let mut best = Best::new(column.len());
            self.plain(column, fields.width, false, &mut best)?;
            self.dictionary(column, fields.width, &mut best)?;
            chosen.push((fields, best.end().recipe));
        }
        Ok(Recipe::Columns { record, groups: chosen })
    }
}

/// The best way so far, and how good the others were.
struct Best {
    len: usize,
    recipe: Recipe,
    way: Way,
    stored: usize,
    stream: Option<Vec<u8>>,
    tried: Vec<(Way, usize)>,
}

impl Best {
    fn new(len: usize) -> Self {
        Best { len, recipe: Recipe::Stored, way: Way::Stored, stored: len, stream: None, tried: Vec::new() }
    }

    /// `stream` is none if it would not be shorter than the sample.
    fn offer(&mut self, recipe: Recipe, way: Way, stream: Option<Vec<u8>>) {
        let stored = stream.as_ref().map_or(self.len, |stream| stream.len().min(self.len));
        match self.tried.iter_mut().find(|(other, _)| *other == way) {
            Some((_, least)) => *least = stored.min(*least),
            None => self.tried.push((way, stored)),
        }
        let needed = if self.way == Way::Stored { MIN_RATIO } else { MIN_GAIN };
        if (stored as f64) * needed < self.stored as f64 {
            (self.recipe, self.way, self.stored, self.stream) = (recipe, way, stored, stream);
        }
    }

    /// The filter that was best, for blocks that a dictionary does not suit.
    fn filter(&self) -> Filter {
        match self.recipe {
            Recipe::Filtered { filter, .. } => filter,
            _ => Filter::NONE,
        }
    }

    fn end(self) -> Choice {
        let ratio = |stored: usize| {
            let hundredths = (self.len as u64 * 100).checked_div(stored as u64).unwrap_or(100);
            u16::try_from(hundredths).unwrap_or(u16::MAX)
        };
        let mut tried = self.tried;
        if self.way == Way::Stored {
            tried.push((Way::Stored, self.len));
        }
        // The chosen way first, then the others, best first.
        tried.sort_by_key(|&(way, stored)| (way != self.way, stored));
        let trials = tried.iter().map(|&(way, stored)| Trial { way, ratio: ratio(stored) }).collect();
        let trials = Trials { sample: self.len as u32, trials };
        Choice { recipe: self.recipe, trials, stream: self.stream }
    }
}
