//! Trees in the compact layout.
#![forbid(unsafe_code)]

use std::cell::Cell;

use bytemuck::Zeroable;
use ndarray::ArrayView2;
use rayon::prelude::*;

use crate::engine::input::Input;
use crate::engine::kernels::compact::{Arrived, Depths, LANES, OneKey, RowKeys, Starts, Steps, prefetch};
use crate::engine::kernels::subtrees::{KeysOfRow, LeavesOfTree, TREES, Walks};
use crate::engine::rows::Number;
use crate::engine::trees::Scores;
use crate::engine::trees::categories::Sets;
use crate::engine::trees::keys::{Compare, Encoder, Keys};
use crate::engine::trees::sinks::{Added, Arrival, Boosts, Copied, Numbers, Sink};
use crate::engine::trees::walk::Nodes;
use crate::engine::{PredictError, Run, pool};
use crate::format::dtype::Element;
use crate::model::plan::compact::{CROWN_LEVELS, Crown, Node, Packing, SHARED};
use crate::model::plan::{Boosted, Categories, Encoding, Float, Head, Subtrees, TreeLayout, Trees};

/// Keys of one block of rows: few enough to stay in the second-level cache beside a tree.
const BLOCK_KEYS: usize = 1 << 16;
/// Most rows of a block.
const BLOCK_ROWS: usize = 2048;
/// Up to this many rows, trees are walked together instead of rows.
const FEW_ROWS: usize = 10;
/// The same, where there are subtrees.
const FEW_ROWS_CUT: usize = 6;
/// Up to this many groups of rows, subtrees are asked for ahead: to more groups they come by themselves, as all look at them.
const FEW_GROUPS: usize = 2;
/// Steps, of about a nanosecond, below which threads do not pay.
const SMALL: usize = 60_000;
/// A tree is fetched ahead if it has at most this many lines for each group of rows.
const LINES_PER_GROUP: usize = 256;
/// Keys that a thread keeps from call to call.
const KEPT: usize = 1 << 18;

/// Calls `$run` with the trees in their node width.
macro_rules! with_nodes {
    ($engine:expr, $trees:expr, $compact:ident => $run:expr) => {{
        let TreeLayout::Compact { nodes, wide, .. } = $trees.layout else { unreachable!("another layout") };
        let words = $engine.values::<u64>("nodes", nodes)?;
        if wide {
            let $compact = Compact::<[u64; 2]>::new($engine, $trees, bytemuck::cast_slice(words), |_| None)?;
            $run
        } else {
            let $compact = Compact::<u64>::new($engine, $trees, words, |packing| steps(words, packing))?;
            $run
        }
    }};
}

/// The walks through subtrees, where there are any.
fn walks<'a>(
    run: Run<'a>,
    cut: &Subtrees,
    n_columns: usize,
    crowns: &'a [Crown],
) -> Result<Option<Walks<'a>>, PredictError> {
    #[cfg(test)]
    if PORTABLE.get() || UNCUT.get() {
        return Ok(None);
    }
    let below = bytemuck::cast_slice(run.values::<u32>("below", cut.below)?);
    let subtrees = bytemuck::cast_slice(run.values::<u32>("subtrees", cut.subtrees)?);
    Ok(Walks::new(n_columns, crowns, below, subtrees, cut.hops))
}

/// The fast steps, where there are any.
fn steps(nodes: &[u64], packing: Packing) -> Option<Steps<'_>> {
    #[cfg(test)]
    if PORTABLE.get() {
        return None;
    }
    Steps::new(nodes, packing)
}

#[cfg(test)]
thread_local! {
    /// Whether calls from this thread do without kernels.
    pub(in crate::engine) static PORTABLE: Cell<bool> = const { Cell::new(false) };
    /// Whether calls from this thread do without subtrees.
    pub(in crate::engine) static UNCUT: Cell<bool> = const { Cell::new(false) };
}

thread_local! {
    /// Memory for keys and leaves, kept from call to call; taken while in use.
    static SCRATCH: Cell<Scratch> = Cell::default();
}

#[derive(Default)]
struct Scratch {
    keys: Keys,
    one: Vec<OneKey>,
    starts: [Vec<Starts>; 2],
    arrivals: Vec<Arrival>,
    rows: Vec<KeysOfRow>,
    leaves: Vec<u32>,
}

/// What the leaves of each row add up to.
pub(super) fn scores(run: Run<'_>, trees: &Trees, x: &Input<'_>) -> Result<Scores, PredictError> {
    with_nodes!(run, trees, compact => match x {
        Input::F32(x) => compact.scores(trees, x),
        Input::F64(x) => compact.scores(trees, x),
    })
}

/// The library's number of the leaf of each row and tree: `[n_rows, n_trees]`.
pub(super) fn apply(run: Run<'_>, trees: &Trees, x: &Input<'_>) -> Result<Vec<i64>, PredictError> {
    let TreeLayout::Compact { origin, shared, .. } = trees.layout else { unreachable!("another layout") };
    let numbers =
        Numbers { origin: run.values::<u32>("origin", origin)?, shared, n_trees: trees.n_trees as usize };
    Ok(with_nodes!(run, trees, compact => match x {
        Input::F32(x) => compact.apply(&numbers, x),
        Input::F64(x) => compact.apply(&numbers, x),
    }))
}

fn sets<'a>(run: Run<'a>, categories: &Categories) -> Result<Sets<'a>, PredictError> {
    Ok(Sets {
        features: run.values("features", categories.features)?,
        starts: run.values("starts", categories.starts)?,
        left: run.values("left", categories.left)?,
        known: categories.known.map_or(Ok(&[][..]), |id| run.values("known", id))?,
        rule: categories.rule,
    })
}

/// Compact trees in the mapping.
struct Compact<'a, N> {
    run: Run<'a>,
    encoder: Encoder<'a>,
    nodes: Nodes<'a, N>,
    steps: Option<Steps<'a>>,
    /// First node of each tree.
    roots: &'a [u64],
    /// Mean and largest depth of each tree; may be empty.
    depths: &'a [[u8; 2]],
    /// The first levels of each tree; may be empty.
    crowns: &'a [Crown],
    /// Below them, if the trees are cut and the processor can use it.
    walks: Option<Walks<'a>>,
}

impl<'a, N: Node> Compact<'a, N> {
    fn new(
        run: Run<'a>,
        trees: &Trees,
        nodes: &'a [N],
        steps: impl FnOnce(Packing) -> Option<Steps<'a>>,
    ) -> Result<Self, PredictError> {
        let TreeLayout::Compact {
            encoding,
            categories,
            zero_missing,
            roots,
            missing,
            depths,
            crowns,
            subtrees,
            ..
        } = trees.layout
        else {
            unreachable!("another layout")
        };
        let missing = missing.map_or(Ok(&[][..]), |id| run.values("missing", id))?;
        let roots = run.values::<u64>("roots", roots)?.split_last().map_or(&[][..], |(_, roots)| roots);
        let depths = depths.map_or(Ok(&[][..]), |id| run.values::<u8>("depths", id))?;
        let crowns = crowns.map_or(Ok(&[][..]), |id| run.values::<u32>("crowns", id))?;
        let encoder = Encoder {
            compare: match encoding {
                Encoding::Keys => Compare::Keys,
                Encoding::Ranks { thresholds, starts } => Compare::Ranks {
                    thresholds: run.values("thresholds", thresholds)?,
                    starts: run.values("starts", starts)?,
                },
            },
            zero_missing: zero_missing.map_or(Ok(&[][..]), |id| run.values("zero_missing", id))?,
            sets: categories.map(|categories| sets(run, &categories)).transpose()?,
        };
        let n_columns = encoder.n_columns(trees.n_features as usize);
        let packing = Packing::new(n_columns as u32);
        let (nodes, depths) = (Nodes { nodes, packing, missing }, depths.as_chunks().0);
        let crowns = bytemuck::cast_slice(crowns);
        let walks = subtrees.map_or(Ok(None), |cut| walks(run, &cut, n_columns, crowns))?;
        Ok(Compact { run, encoder, nodes, steps: steps(packing), roots, depths, crowns, walks })
    }

    fn scores<T: Number>(&self, trees: &Trees, x: &ArrayView2<'_, T>) -> Result<Scores, PredictError> {
        let TreeLayout::Compact { leaves, .. } = trees.layout else { unreachable!("another layout") };
        Ok(match &trees.head {
            Head::Forest(forest) => {
                let (leaves, width) = (self.run.values("leaves", leaves)?, trees.width() as usize);
                let mut out = vec![0.0; x.nrows() * width];
                if forest.average {
                    self.blocks(x, &mut out, &Added { leaves, width });
                    let divisor = match forest.divisor {
                        Some(divisor) => self.run.values::<f64>("divisor", divisor)?[0],
                        None => self.roots.len() as f64,
                    };
                    out.iter_mut().for_each(|sum| *sum /= divisor);
                } else {
                    self.blocks(x, &mut out, &Copied { leaves, width });
                }
                Scores::F64(out)
            }
            Head::Boosted(boosted) => match boosted.sum {
                Float::F32 => Scores::F32(self.sums(self.run.values("leaves", leaves)?, boosted, x)?),
                Float::F64 => Scores::F64(self.sums(self.run.values("leaves", leaves)?, boosted, x)?),
            },
        })
    }

    fn apply<T: Number>(self, numbers: &Numbers<'_>, x: &ArrayView2<'_, T>) -> Vec<i64> {
        let mut out = vec![0i64; x.nrows() * numbers.n_trees];
        // From below a crown, the split before a leaf would not always be seen.
        let crowns = if numbers.shared { &[] } else { self.crowns };
        Compact { crowns, walks: None, ..self }.blocks(x, &mut out, numbers);
        out
    }

    /// Rows of sums, each begun at its `start`.
    fn sums<S: Element + std::ops::AddAssign + Send + Sync, T: Number>(
        &self,
        leaves: &[S],
        boosted: &Boosted,
        x: &ArrayView2<'_, T>,
    ) -> Result<Vec<S>, PredictError> {
        let (columns, parallel) = (boosted.columns as usize, boosted.parallel as usize);
        let mut out = self.run.begun::<S>(boosted.start, x.nrows())?;
        self.blocks(x, &mut out, &Boosts { leaves, columns, parallel });
        Ok(out)
    }

    /// Gives `sink` the leaves of every row and tree, a block of rows at a time.
    fn blocks<T: Number, S: Sink>(&self, x: &ArrayView2<'_, T>, out: &mut [S::Value], sink: &S) {
        let n = x.nrows();
        let most = (BLOCK_KEYS / (self.encoder.n_columns(x.ncols()) + 1)).clamp(LANES, BLOCK_ROWS);
        let threads = if n < 2 * LANES { 1 } else { pool::threads(self.run.options.threads) };
        let alone = threads == 1 || n.saturating_mul(self.steps_per_row()) < SMALL;
        let share = if alone { most } else { n.div_ceil(threads).min(most) };
        let rows = share.next_multiple_of(LANES);
        let block = |(block, out): (usize, &mut [S::Value])| {
            let mut scratch = SCRATCH.take();
            self.block(x, block * rows, out, sink, &mut scratch);
            if scratch.keys.len() + scratch.one.len() <= KEPT {
                SCRATCH.set(scratch);
            }
        };
        let per_block = rows * sink.per_row();
        if alone {
            out.chunks_mut(per_block).enumerate().for_each(block);
        } else {
            pool::run(threads, || out.par_chunks_mut(per_block).enumerate().for_each(block));
        }
    }

    /// About how many steps a row takes.
    fn steps_per_row(&self) -> usize {
        if let Some(walks) = &self.walks {
            return self.roots.len() * (1 + usize::from(walks.hops()));
        }
        match self.depths {
            [] => self.roots.len() * 8,
            depths => depths.iter().map(|[mean, _]| usize::from(*mean) + 1).sum(),
        }
    }

    fn block<T: Number, S: Sink>(
        &self,
        x: &ArrayView2<'_, T>,
        first_row: usize,
        out: &mut [S::Value],
        sink: &S,
        scratch: &mut Scratch,
    ) {
        let n_rows = out.len() / sink.per_row();
        if n_rows <= if self.walks.is_some() { FEW_ROWS_CUT } else { FEW_ROWS } {
            let Scratch { one, arrivals, leaves, .. } = scratch;
            for (row, out) in out.chunks_exact_mut(sink.per_row()).enumerate() {
                let nan = self.encoder.one_row(x, first_row + row, one) && !self.nodes.missing.is_empty();
                match &self.walks {
                    Some(walks) if !nan => self.one_row_cut(walks, one, leaves, arrivals),
                    _ => self.one_row(one, nan, sink, arrivals),
                }
                sink.row(out, arrivals);
            }
            return;
        }
        let Scratch { keys, starts, rows, .. } = scratch;
        keys.encode(self.encoder, x, first_row, n_rows);
        if let Some(walks) = &self.walks {
            keys.by_row(rows);
            return self.cut(walks, keys, rows, out, sink);
        }
        if let Some(steps) = self.steps {
            return self.step(steps, keys, starts, out, sink);
        }
        for (tree, &root) in self.roots.iter().enumerate() {
            for ((keys, nan), out) in keys.groups().zip(out.chunks_mut(LANES * sink.per_row())) {
                sink.rows(out, tree, &self.rows(root, keys, nan, sink));
            }
        }
    }

    /// Rows through some trees after the others, three levels at a time.
    fn cut<S: Sink>(
        &self,
        walks: &Walks<'a>,
        keys: &Keys,
        rows: &[KeysOfRow],
        out: &mut [S::Value],
        sink: &S,
    ) {
        let few = keys.groups().len() <= FEW_GROUPS;
        let mut leaves = [LeavesOfTree::default(); TREES];
        for (first, roots) in (0..).step_by(TREES).zip(self.roots.chunks(TREES)) {
            let leaves = &mut leaves[..roots.len()];
            let groups = keys.groups().zip(rows.as_chunks::<LANES>().0);
            for (((columns, nan), rows), out) in groups.zip(out.chunks_mut(LANES * sink.per_row())) {
                if nan && !self.nodes.missing.is_empty() {
                    for (tree, &root) in (first..).zip(roots) {
                        sink.rows(out, tree, &self.rows(root, columns, nan, sink));
                    }
                    continue;
                }
                let n_rows = out.len() / sink.per_row();
                if few {
                    walks.rows::<true>(first, columns, rows, n_rows, leaves);
                } else {
                    walks.rows::<false>(first, columns, rows, n_rows, leaves);
                }
                sink.trees(out, first, leaves);
            }
        }
    }

    /// One row through all trees, three levels at a time.
    fn one_row_cut(
        &self,
        walks: &Walks<'a>,
        keys: &[OneKey],
        leaves: &mut Vec<u32>,
        arrivals: &mut Vec<Arrival>,
    ) {
        let mut row = KeysOfRow::zeroed();
        row.0.iter_mut().zip(keys).for_each(|(to, [key, _])| *to = *key);
        leaves.resize(self.roots.len(), 0);
        walks.row(&row, leaves);
        arrivals.clear();
        arrivals.extend(leaves.iter().map(|&leaf| Arrival { at: 0, leaf }));
    }

    /// Rows through one tree after the other. `starts` has room for where they begin in it, and in the next one, which is fetched
    /// meanwhile.
    fn step<S: Sink>(
        &self,
        steps: Steps<'a>,
        keys: &Keys,
        starts: &mut [Vec<Starts>; 2],
        out: &mut [S::Value],
        sink: &S,
    ) {
        let n_groups = keys.groups().len();
        for starts in &mut *starts {
            starts.clear();
            starts.resize(n_groups, Starts::FIRST);
        }
        let [here, ahead] = starts;
        for ((keys, _), starts) in keys.groups().zip(&mut *here) {
            self.begin(steps, 0, keys, starts);
        }
        let mut arrived = Arrived::default();
        for (tree, &root) in self.roots.iter().enumerate() {
            let depths = self.below_crown(self.depths(tree));
            let mut share_of = self.next_tree(tree, n_groups);
            let whole = share_of.len() > 0;
            let groups = keys.groups().zip(here.iter().zip(&mut *ahead));
            for (((keys, nan), (here, ahead)), out) in groups.zip(out.chunks_mut(LANES * sink.per_row())) {
                if nan && !self.nodes.missing.is_empty() {
                    sink.rows(out, tree, &self.rows(root, keys, nan, sink));
                    continue;
                }
                self.begin(steps, tree + 1, keys, ahead);
                // Half of its share now, half later: what asks for more lines than can be on their way at once waits for them.
                let share = share_of.next().unwrap_or_default();
                let (now, later) = share.split_at(share.len() / 16 * 8);
                prefetch(now);
                if !whole {
                    steps.prefetch(ahead);
                }
                match sink.shared() {
                    None if S::PLACES => steps.rows::<true>(here, depths, keys, &mut arrived),
                    None => steps.rows::<false>(here, depths, keys, &mut arrived),
                    Some(origin) => {
                        let passed = steps.rows_passing(here, depths, keys, &mut arrived);
                        self.number(origin, &mut arrived, &passed);
                    }
                }
                sink.rows(out, tree, &arrived);
                prefetch(later);
            }
            std::mem::swap(here, ahead);
        }
    }

    /// Where up to 16 rows begin in a tree: below its crown, or else at the root.
    #[inline]
    fn begin(&self, steps: Steps<'a>, tree: usize, keys: &[RowKeys], starts: &mut Starts) {
        let root = self.roots.get(tree).copied().unwrap_or(0);
        match self.crowns.get(tree) {
            Some(crown) => steps.begin_below(crown, root, keys, starts),
            None => *starts = steps.at([root; LANES]),
        }
    }

    /// Depths of walks that begin below a crown, if there are any.
    fn below_crown(&self, depths: Depths) -> Depths {
        if self.crowns.is_empty() {
            return depths;
        }
        let Depths { sure, most } = depths;
        Depths { sure: sure.saturating_sub(CROWN_LEVELS), most: most.saturating_sub(CROWN_LEVELS) }
    }

    /// The nodes of the tree after `tree`, a part for each group of rows; none if fetching them ahead does not pay.
    fn next_tree(&self, tree: usize, n_groups: usize) -> std::slice::Chunks<'a, u64> {
        let start = self.roots.get(tree + 1).map_or(usize::MAX, |&root| root as usize);
        let end = self.roots.get(tree + 2).map_or(self.nodes.nodes.len(), |&root| root as usize);
        let words: &[u64] = bytemuck::cast_slice(self.nodes.nodes.get(start..end).unwrap_or_default());
        let lines = words.len() / 8;
        let words = if lines > 8 && lines <= n_groups * LINES_PER_GROUP { words } else { &[] };
        words.chunks(lines.div_ceil(n_groups).max(1) * 8)
    }

    fn depths(&self, tree: usize) -> Depths {
        match self.depths.get(tree) {
            Some(&[mean, most]) => Depths { sure: mean.into(), most: most.into() },
            None => Depths { sure: 4, most: u32::MAX },
        }
    }

    /// Up to 16 rows from the root to their leaves, on any processor.
    fn rows<S: Sink>(&self, root: u64, keys: &[RowKeys], nan: bool, sink: &S) -> Arrived {
        self.walk([root; LANES], nan, sink, |column, lane| keys[column][lane])
    }

    /// From roots to leaves; `key(column, lane)` is what a lane compares with.
    #[inline]
    fn walk<S: Sink>(
        &self,
        roots: [u64; LANES],
        nan: bool,
        sink: &S,
        key: impl Fn(usize, usize) -> u32,
    ) -> Arrived {
        let mut at = roots.map(|root| root as usize);
        let mut passed = roots;
        let pass = |lane: usize, split: usize| passed[lane] = split as u64;
        if nan && !self.nodes.missing.is_empty() {
            self.nodes.walk::<LANES, true>(&mut at, key, pass);
        } else {
            self.nodes.walk::<LANES, false>(&mut at, key, pass);
        }
        let leaf = at.map(|at| self.nodes.nodes[at].low());
        let mut arrived = Arrived { at: at.map(|at| at as u64), leaf };
        if let Some(origin) = sink.shared() {
            self.number(origin, &mut arrived, &passed);
        }
        arrived
    }

    /// Makes of leaves, given the split before each, nodes that have numbers and what is to be added to those.
    fn number(&self, origin: &[u32], arrived: &mut Arrived, passed: &[u64; LANES]) {
        for ((at, add), &split) in arrived.at.iter_mut().zip(&mut arrived.leaf).zip(passed) {
            *add = 0;
            if origin[*at as usize] == SHARED {
                let left = split + self.nodes.nodes[split as usize].distance(self.nodes.packing) as u64;
                (*at, *add) = (split, 1 + (*at - left) as u32);
            }
        }
    }

    /// One row through all trees, [`LANES`] at a time.
    fn one_row<S: Sink>(&self, keys: &[OneKey], nan: bool, sink: &S, arrivals: &mut Vec<Arrival>) {
        arrivals.clear();
        arrivals.resize(self.roots.len(), Arrival::default());
        let (together, rest) = self.roots.as_chunks::<LANES>();
        let (outs, rest_outs) = arrivals.as_chunks_mut::<LANES>();
        for (chunk, (roots, out)) in together.iter().zip(outs).enumerate() {
            let next = together.get(chunk + 1).map_or(rest, |roots| roots);
            next.iter().for_each(|&root| self.prefetch_node(root));
            fill(out, &self.trees(roots, chunk * LANES, keys, nan, sink));
        }
        if rest.is_empty() {
            return;
        }
        let mut roots = [rest[0]; LANES];
        roots[..rest.len()].copy_from_slice(rest);
        fill(rest_outs, &self.trees(&roots, together.len() * LANES, keys, nan, sink));
    }

    /// One row through the trees with these roots, of which tree `first` is the first.
    #[inline]
    fn trees<S: Sink>(
        &self,
        roots: &[u64; LANES],
        first: usize,
        keys: &[OneKey],
        nan: bool,
        sink: &S,
    ) -> Arrived {
        let nan = nan && !self.nodes.missing.is_empty();
        let Some(steps) = self.steps.filter(|_| !nan) else {
            return self.walk(*roots, nan, sink, |column, _| keys[column][0]);
        };
        let mut arrived = Arrived::default();
        match sink.shared() {
            None if S::PLACES => steps.trees::<true>(roots, self.deepest(first), keys, &mut arrived),
            None => steps.trees::<false>(roots, self.deepest(first), keys, &mut arrived),
            Some(origin) => {
                let passed = steps.trees_passing(roots, self.deepest(first), keys, &mut arrived);
                self.number(origin, &mut arrived, &passed);
            }
        }
        arrived
    }

    fn prefetch_node(&self, at: u64) {
        if let Some(node) = self.nodes.nodes.get(at as usize) {
            prefetch(bytemuck::cast_slice(std::slice::from_ref(node)));
        }
    }

    /// Depths for the trees from `first` on that go together.
    fn deepest(&self, first: usize) -> Depths {
        let end = self.roots.len().min(first + LANES);
        (first..end).map(|tree| self.depths(tree)).fold(Depths { sure: 0, most: 0 }, |a, b| Depths {
            sure: a.sure.max(b.sure),
            most: a.most.max(b.most),
        })
    }
}

fn fill(out: &mut [Arrival], arrived: &Arrived) {
    for (lane, out) in out.iter_mut().enumerate() {
        *out = Arrival { at: arrived.at[lane] as usize, leaf: arrived.leaf[lane] };
    }
}
