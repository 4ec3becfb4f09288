//! Every set of instructions against safe code. Small enough for Miri, which also has instructions that this processor may lack:
//! `make miri`.

use super::compact::{LANES, RowKeys};
use super::lanes::{COLUMNS, Depth, Node};
use super::subtrees::{KeysOfRow, LeavesOfTree, TREES, Walks};
use super::*;
use crate::model::plan::compact::Crown;
use crate::model::plan::subtrees::{Subtree, ends};

struct Random(u64);

impl Random {
    fn byte(&mut self) -> i8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 24) as i8
    }

    /// The highest bit says where NaN goes.
    fn column(&mut self, columns: usize, nan: bool) -> i8 {
        let column = self.byte() as u8 as usize % columns;
        (column + usize::from(nan && self.byte() < 0) * COLUMNS / 2) as u8 as i8
    }

    /// Nodes that read columns below `columns`.
    fn nodes<const W: usize>(&mut self, n: usize, columns: usize, nan: bool) -> Vec<Node<W>> {
        let mut nodes = vec![[[0; 32]; W]; n];
        for (at, node) in nodes.iter_mut().enumerate() {
            node[0] = std::array::from_fn(|_| self.column(columns, nan));
            node[1] = std::array::from_fn(|_| self.byte());
            if let Some(first) = node.get_mut(2) {
                *first = std::array::from_fn(|_| (self.byte() as u8 as usize % (at + 1)) as i8);
            }
        }
        nodes
    }
}

fn ask_all(nodes: GroupNodes<'_>, columns: usize, nan: bool, random: &mut Random) {
    let rows: [Row; 3] =
        std::array::from_fn(|_| std::array::from_fn(|_| std::array::from_fn(|_| random.byte())));
    let mut tile: Tile = [[[0; 32]; 2]; COLUMNS];
    tile.as_flattened_mut().as_flattened_mut().iter_mut().for_each(|key| *key = random.byte());
    let answer = |kernels: Kernels| {
        let mut of_rows = [[0; 32]; 3];
        kernels.trees_of_rows(nodes, &rows, columns, nan, &mut of_rows);
        let mut of_tile = [[[0; 32]; 2]; 3];
        kernels.trees_of_tile(nodes, 30, &tile, ROWS, &mut of_tile);
        let mut of_half = [[[0; 32]; 2]; 2];
        kernels.trees_of_tile(nodes, 0, &tile, ROWS / 2, &mut of_half);
        (of_rows, of_tile, of_half)
    };
    let expected = answer(Kernels::Portable);
    assert!(expected.0[0].iter().any(|&leaf| leaf != expected.0[0][0]), "trees end in different leaves");
    for kernels in Kernels::all() {
        assert_eq!(expected, answer(kernels), "{columns} columns, NaN: {nan}");
    }
}

#[test]
fn every_set_of_instructions_finds_the_leaves_that_safe_code_finds() {
    let mut random = Random(7);
    let cases = [(64, false), (128, true), (128, false), (16, false), (32, false), (9, true)];
    let depths = [Depth::D3, Depth::D4, Depth::D5, Depth::D6];
    // Miri takes half a minute for each.
    let (n_cases, n_depths, n_nodes) = if cfg!(miri) { (3, 1, 5) } else { (6, 4, 30) };
    for &(columns, nan) in &cases[..n_cases] {
        for &depth in &depths[..n_depths] {
            let nodes = random.nodes((1 << depth as usize) - 1, columns, nan);
            ask_all(GroupNodes::Heap(depth, &nodes), columns, nan, &mut random);
        }
        let nodes = random.nodes(n_nodes, columns, nan);
        ask_all(GroupNodes::Ranges(&nodes), columns, nan, &mut random);
    }
}

#[test]
fn every_set_of_instructions_ranks_values_as_safe_code_does() {
    let values = [-1.0, 0.0, -0.0, 0.5, 7.0, 7.5, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 5e-324];
    let thresholds = |n: usize| -> [f64; BLOCK] {
        std::array::from_fn(|i| if i < n { i as f64 - 1.0 } else { f64::INFINITY })
    };
    for blocks in [vec![], vec![thresholds(9)], vec![thresholds(2), thresholds(16), thresholds(4)]] {
        let answer = |kernels: Kernels| {
            let (mut right, mut left) = ([0; 11], [0; 11]);
            kernels.keys(&blocks, &values, &mut right, &mut left);
            let single: Vec<[f32; BLOCK]> = blocks.iter().map(|block| block.map(|x| x as f32)).collect();
            let (mut single_right, mut single_left) = ([0; 11], [0; 11]);
            kernels.keys(&single, &values.map(|x| x as f32), &mut single_right, &mut single_left);
            (right, left, single_right, single_left)
        };
        for kernels in Kernels::all() {
            assert_eq!(answer(Kernels::Portable), answer(kernels));
        }
    }
}

/// Where a row goes below a crown: `node` and its children from `2 * node + 1` on.
fn plainly_below([thresholds, features, places]: &Crown, keys: &[RowKeys], lane: usize) -> u32 {
    let mut node = 0;
    while node < 15 {
        let right = keys[features[node] as usize][lane] > thresholds[node];
        node = 2 * node + 1 + usize::from(right);
    }
    places[node - 15]
}

#[test]
#[cfg(target_arch = "x86_64")]
#[cfg_attr(miri, ignore = "assembly")]
fn every_set_of_instructions_finds_the_places_below_a_crown() {
    let mut random = Random(3);
    for columns in [1, 7, 300] {
        let mut word = |below: u32| {
            let word = u32::from_le_bytes(std::array::from_fn(|_| random.byte().cast_unsigned()));
            word.checked_rem(below).unwrap_or(word)
        };
        for round in 0..200 {
            // Equal keys and thresholds are frequent in half of the rounds, the largest ones are always there.
            let range = if round % 2 == 0 { 4 } else { 0 };
            let mut keys: Vec<RowKeys> = (0..columns).map(|_| std::array::from_fn(|_| word(range))).collect();
            keys[0][5] = u32::MAX;
            let mut crown: Crown = [
                std::array::from_fn(|_| word(range)),
                std::array::from_fn(|_| word(columns as u32)),
                std::array::from_fn(|_| word(1 << 20)),
            ];
            crown[0][round % 15] = u32::MAX;
            // The word behind the features means nothing.
            crown[1][15] = u32::MAX;
            let root = u64::from(word(0)) << 20;
            let expected: [u64; 16] =
                std::array::from_fn(|lane| root + u64::from(plainly_below(&crown, &keys, lane)));
            for kernels in Kernels::all() {
                let mut found = [0; 16];
                match kernels {
                    Kernels::Portable => continue,
                    Kernels::Avx2(avx2) => avx2.below_crown(&crown, root, &keys, &mut found),
                    Kernels::Avx512(avx512) => avx512.below_crown(&crown, root, &keys, &mut found),
                }
                assert_eq!(expected, found, "{columns} columns, round {round}");
            }
        }
    }
}

/// The leaf that a row comes to from subtree `at` on.
fn plainly_through(subtrees: &[Subtree], mut at: usize, hops: u8, row: &KeysOfRow) -> u32 {
    let mut leaf = 0;
    for _ in 0..hops {
        let subtree = &subtrees[at];
        let mut split = 0;
        while split < 7 {
            let feature = subtree[8 + split] % 32;
            split = 2 * split + 1 + usize::from(row.0[feature as usize] > subtree[split]);
        }
        let (distance, id) = ends(subtree).nth(split - 7).unwrap();
        (at, leaf) = (at + distance as usize, id);
    }
    leaf
}

#[test]
#[cfg_attr(miri, ignore = "assembly")]
fn walks_through_subtrees_come_to_the_leaves_that_safe_code_comes_to() {
    let mut random = Random(11);
    let mut word = || u32::from_le_bytes(std::array::from_fn(|_| random.byte().cast_unsigned()));
    for round in 0..60u32 {
        let (columns, n_trees, hops) = (1 + word() % 32, 1 + round as usize % TREES, 1 + (round % 3) as u8);
        // Equal keys and thresholds are frequent in half of the rounds.
        let range = if round % 2 == 0 { 4 } else { u32::MAX };
        let n_subtrees = 300;
        let subtrees: Vec<Subtree> = (0..n_subtrees)
            .map(|at| {
                let mut subtree: Subtree = std::array::from_fn(|_| word() % range);
                for end in &mut subtree[8..] {
                    let distance = word() % (n_subtrees - at).min(256);
                    *end = (word() % 64) | (distance << 6) | (word() << 14);
                }
                subtree
            })
            .collect();
        let crowns: Vec<Crown> = (0..n_trees)
            .map(|_| {
                let features = std::array::from_fn(|_| word() % columns);
                [std::array::from_fn(|_| word() % range), features, [0; 16]]
            })
            .collect();
        let below: Vec<[u32; 16]> =
            (0..n_trees).map(|_| std::array::from_fn(|_| word() % n_subtrees)).collect();
        let Some(walks) = Walks::new(columns as usize, &crowns, &below, &subtrees, hops) else { return };
        let mut rows = [KeysOfRow([0; 32]); LANES];
        rows.iter_mut().for_each(|row| row.0[..columns as usize].fill_with(|| word() % range));
        rows[3].0[0] = u32::MAX;
        let mut keys = vec![[0; LANES]; columns as usize + 1];
        for (column, keys) in keys.iter_mut().enumerate().take(columns as usize) {
            *keys = rows.map(|row| row.0[column]);
        }
        let expected: Vec<LeavesOfTree> = (crowns.iter().zip(&below))
            .map(|([thresholds, features, _], below)| {
                let crown = [*thresholds, *features, *below];
                std::array::from_fn(|lane| {
                    let start = plainly_below(&crown, &keys, lane) as usize;
                    plainly_through(&subtrees, start, hops, &rows[lane])
                })
            })
            .collect();
        let mut found = vec![[0; LANES]; n_trees];
        walks.rows::<true>(0, &keys, &rows, LANES, &mut found);
        assert_eq!(expected, found, "round {round}");
        walks.rows::<false>(n_trees - 1, &keys, &rows, 8, &mut found[..1]);
        assert_eq!(expected[n_trees - 1][..8], found[0][..8], "round {round}");
        for (lane, row) in rows.iter().enumerate() {
            let mut leaves = vec![0; n_trees];
            walks.row(row, &mut leaves);
            assert!(expected.iter().map(|leaves| leaves[lane]).eq(leaves), "round {round}");
        }
    }
}

#[test]
fn every_set_of_instructions_adds_leaves_as_safe_code_does() {
    let mut random = Random(5);
    let found: [[Bytes; 2]; 8] =
        std::array::from_fn(|_| std::array::from_fn(|_| std::array::from_fn(|_| random.byte() & 7)));
    let leaves: [[f64; 8]; 8] =
        std::array::from_fn(|_| std::array::from_fn(|_| f64::from(random.byte()) / 7.0 + 1e-9));
    let single = leaves.map(|leaves| leaves.map(|leaf| leaf as f32));
    for n in [1, 8, 13, ROWS] {
        let answer = |kernels: Kernels| {
            let (mut sums, mut single_sums) = (vec![0.1; n], vec![0.1; n]);
            kernels.add_eights(&leaves.each_ref(), &found, &mut sums);
            kernels.add_eights(&single.each_ref(), &found, &mut single_sums);
            (sums, single_sums)
        };
        for kernels in Kernels::all() {
            assert_eq!(answer(Kernels::Portable), answer(kernels), "{n} rows");
        }
    }
}
