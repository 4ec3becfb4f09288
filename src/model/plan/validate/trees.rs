//! Checks tree ensembles.
#![forbid(unsafe_code)]

use crate::format::ArrayId;
use crate::format::dtype::{Dtype, Kind};
use crate::model::plan::compact::{Crown, Node, Packing};
use crate::model::plan::subtrees::{self, COLUMNS, MOST_HOPS, Subtree};
use crate::model::plan::validate::{Check, MAX_COLUMNS};
use crate::model::plan::{
    Boosted, BoostedKind, BoostedLink, Categories, CategoryRule, Encoding, Float, Forest, ForestKind, Head,
    LeafNumbers, PlanError, Subtrees, TreeLayout, Trees,
};

impl Check<'_> {
    pub(super) fn trees(&self, trees: &Trees) -> Result<(), PlanError> {
        self.columns("n_features", trees.n_features)?;
        self.columns("n_trees", trees.n_trees)?;
        if let Some(names) = trees.feature_names {
            let (dtype, n_names) = self.labels(names)?;
            if !matches!(dtype, Dtype::Plain(plain) if plain.kind == Kind::Str) {
                return Err(self.field("feature_names", "texts", n_names));
            }
            self.equal("feature_names", u64::from(trees.n_features), n_names)?;
        }
        match &trees.head {
            Head::Forest(forest) => self.forest(trees, forest)?,
            Head::Boosted(boosted) => self.boosted(trees, boosted)?,
        }
        match trees.layout {
            TreeLayout::Compact {
                encoding,
                categories,
                zero_missing,
                nodes,
                wide,
                roots,
                leaves,
                missing,
                depths,
                crowns,
                subtrees,
                origin,
                // Whatever it says, numbers are only numbers.
                shared: _,
            } => {
                let mut n_columns = u64::from(trees.n_features);
                self.encoding(trees, encoding)?;
                if let Some(categories) = categories {
                    n_columns += self.categories(trees, &categories)?;
                }
                if let Some(zero_missing) = zero_missing {
                    self.array::<u8>("zero_missing", zero_missing, &[u64::from(trees.n_features)])?;
                }
                let n_columns = u32::try_from(n_columns).unwrap_or(u32::MAX);
                self.columns("n_features and sets of categories", n_columns)?;
                let distinct = self.leaves(trees, leaves)?;
                let roots = self.array::<u64>("roots", roots, &[u64::from(trees.n_trees) + 1])?;
                let n_nodes = roots.last().copied().unwrap_or(0);
                if let Some(missing) = missing {
                    self.array::<u64>("missing", missing, &[n_nodes.div_ceil(64)])?;
                }
                if let Some(depths) = depths {
                    self.array::<u8>("depths", depths, &[u64::from(trees.n_trees), 2])?;
                }
                if let Some(crowns) = crowns {
                    let crowns = self.array::<u32>("crowns", crowns, &[u64::from(trees.n_trees), 3, 16])?;
                    self.crowns(bytemuck::cast_slice(crowns), n_columns, roots)?;
                }
                if let Some(subtrees) = subtrees {
                    self.equal("crowns above subtrees", 1, u64::from(crowns.is_some()))?;
                    self.subtrees(&subtrees, u64::from(trees.n_trees), n_columns, distinct)?;
                }
                self.array::<u32>("origin", origin, &[n_nodes])?;
                let check =
                    NodeCheck { op: self.op, packing: Packing::new(n_columns), distinct, narrow: !wide };
                if wide {
                    let words = self.array::<u64>("nodes", nodes, &[n_nodes, 2])?;
                    check.forest::<[u64; 2]>(bytemuck::cast_slice(words), roots)
                } else {
                    check.forest::<u64>(self.array("nodes", nodes, &[n_nodes])?, roots)
                }
            }
            TreeLayout::Lanes { .. } => self.lanes(trees),
        }
    }

    fn forest(&self, trees: &Trees, forest: &Forest) -> Result<(), PlanError> {
        self.columns("n_outputs", forest.n_outputs)?;
        self.columns("max_classes", forest.max_classes)?;
        if !forest.average {
            self.equal("n_trees", 1, u64::from(trees.n_trees))?;
        }
        if let Some(divisor) = forest.divisor {
            self.floats("divisor", divisor, &[1])?;
        }
        if forest.kind == ForestKind::AdaBoost {
            self.equal("n_outputs", 1, u64::from(forest.n_outputs))?;
            self.equal("outputs with classes", 1, forest.classes.len() as u64)?;
            let n_classes = self.labels(forest.classes[0])?.1;
            self.equal("classes", u64::from(forest.max_classes), n_classes)?;
            if n_classes < 2 {
                return Err(self.field("classes", "at least 2", n_classes));
            }
        }
        if trees.width() > u64::from(MAX_COLUMNS) {
            let expected = format!("up to {MAX_COLUMNS}");
            return Err(self.field("n_outputs * max_classes", &expected, trees.width()));
        }
        self.classes(forest)
    }

    fn boosted(&self, trees: &Trees, boosted: &Boosted) -> Result<(), PlanError> {
        self.columns("columns", boosted.columns)?;
        self.columns("parallel", boosted.parallel)?;
        if boosted.apply == LeafNumbers::Stages {
            self.equal("n_trees % columns", 0, u64::from(trees.n_trees % boosted.columns))?;
        }
        let shape = [u64::from(boosted.columns)];
        match boosted.sum {
            Float::F32 => self.array::<f32>("start", boosted.start, &shape).map(|_| ())?,
            Float::F64 => self.array::<f64>("start", boosted.start, &shape).map(|_| ())?,
        }
        if boosted.mean_of.is_some_and(|n| n == 0) {
            return Err(self.field("mean_of", "at least 1", 0));
        }
        if let BoostedLink::Sigmoid(slope) = boosted.link
            && !(slope.is_finite() && slope > 0.0)
        {
            return Err(self.field("sigmoid", "a positive slope", slope.to_bits()));
        }
        let xgboost = matches!(boosted.kind, BoostedKind::XgBoost { .. });
        if boosted.sum == Float::F64 && (boosted.link.is_f32() || xgboost) {
            return Err(self.field("sum", "32 bits, which the link adds in", 64));
        }
        let probable = matches!(boosted.kind, BoostedKind::Classifier { .. } | BoostedKind::LightGbm { .. });
        if probable && boosted.link == BoostedLink::LargestF32 {
            let columns = u64::from(boosted.columns);
            return Err(self.field("columns", "a link that keeps them, for a classifier", columns));
        }
        let classes = match boosted.kind {
            BoostedKind::Regressor => return Ok(()),
            BoostedKind::Isolation { scale } => {
                self.equal("columns", 1, u64::from(boosted.columns))?;
                self.equal("sum of f64", 1, u64::from(boosted.sum == Float::F64))?;
                return self.floats("scale", scale, &[2]);
            }
            BoostedKind::Median { weights } => {
                self.equal("columns", u64::from(trees.n_trees), u64::from(boosted.columns))?;
                return self.floats("weights", weights, &shape);
            }
            BoostedKind::Classifier { classes, .. }
            | BoostedKind::LightGbm { classes }
            | BoostedKind::XgBoost { classes } => classes,
        };
        let n_classes = self.labels(classes)?.1;
        match (boosted.columns, n_classes) {
            (1, 1) if !xgboost => Ok(()),
            (1, 2) => Ok(()),
            (1, _) => self.equal("classes", 2, n_classes),
            (columns, _) => self.equal("classes", u64::from(columns), n_classes),
        }
    }

    /// Rows of the table of leaf values.
    fn leaves(&self, trees: &Trees, leaves: ArrayId) -> Result<u64, PlanError> {
        let distinct = self.info("leaves", leaves)?.shape.first().copied().unwrap_or(0);
        let shape = [distinct, trees.width()];
        match &trees.head {
            Head::Boosted(Boosted { sum: Float::F32, .. }) => {
                self.array::<f32>("leaves", leaves, &shape).map(|_| distinct)
            }
            _ => self.array::<f64>("leaves", leaves, &shape).map(|_| distinct),
        }
    }

    /// Ranks exist for every feature, and thresholds ascend.
    fn encoding(&self, trees: &Trees, encoding: Encoding) -> Result<(), PlanError> {
        let Encoding::Ranks { thresholds, starts } = encoding else { return Ok(()) };
        let starts = self.starts("starts", starts, u64::from(trees.n_features))?;
        let n = starts.last().copied().unwrap_or(0);
        let thresholds = self.array::<f64>("thresholds", thresholds, &[u64::from(n)])?;
        for span in starts.windows(2) {
            let own = &thresholds[span[0] as usize..span[1] as usize];
            if own.iter().any(|value| value.is_nan()) || own.windows(2).any(|pair| pair[0] >= pair[1]) {
                return Err(self.field("thresholds", "ascending for each feature", u64::from(span[0])));
            }
        }
        Ok(())
    }

    /// The number of sets; each is of a feature that there is.
    fn categories(&self, trees: &Trees, categories: &Categories) -> Result<u64, PlanError> {
        let n_sets = self.info("features", categories.features)?.shape.first().copied().unwrap_or(0);
        let features = self.array::<u32>("features", categories.features, &[n_sets])?;
        let wrong = features.iter().find(|&&feature| feature >= trees.n_features);
        if let Some(&feature) = wrong {
            return Err(self.field("features", &format!("below {}", trees.n_features), u64::from(feature)));
        }
        let starts = self.starts("starts", categories.starts, n_sets)?;
        let n_words = u64::from(starts.last().copied().unwrap_or(0));
        self.array::<u32>("left", categories.left, &[n_words])?;
        match (categories.rule, categories.known) {
            (CategoryRule::Histogram, Some(known)) => {
                self.array::<u32>("known", known, &[n_words])?;
            }
            (CategoryRule::LightGbm | CategoryRule::XgBoost, None) => {}
            (_, known) => {
                let found = u64::from(known.is_some());
                return Err(self.field("known", "only under the rule `histogram`, and there", found));
            }
        }
        Ok(n_sets)
    }

    /// Crowns read columns that there are, and lead to nodes of their tree.
    fn crowns(&self, crowns: &[Crown], n_columns: u32, roots: &[u64]) -> Result<(), PlanError> {
        for (span, [_, features, below]) in roots.windows(2).zip(crowns) {
            if let Some(&feature) = features.iter().find(|&&feature| feature > n_columns) {
                return Err(self.field("crowns", &format!("features up to {n_columns}"), u64::from(feature)));
            }
            let len = span[1].saturating_sub(span[0]);
            if let Some(&node) = below.iter().find(|&&node| u64::from(node) >= len) {
                return Err(self.field("crowns", &format!("nodes below {len}"), u64::from(node)));
            }
        }
        Ok(())
    }

    /// Crowns lead to subtrees that there are, and these to others or to leaves. A feature that there is not reads nothing.
    fn subtrees(
        &self,
        found: &Subtrees,
        n_trees: u64,
        n_columns: u32,
        n_leaves: u64,
    ) -> Result<(), PlanError> {
        let Subtrees { below, subtrees, hops } = *found;
        if n_columns as usize > COLUMNS {
            let expected = format!("up to {COLUMNS}, with subtrees");
            return Err(self.field("n_features and sets of categories", &expected, u64::from(n_columns)));
        }
        if !(1..=MOST_HOPS).contains(&hops) {
            return Err(self.field("hops", &format!("1 to {MOST_HOPS}"), u64::from(hops)));
        }
        let n_subtrees = self.info("subtrees", subtrees)?.shape.first().copied().unwrap_or(0);
        let below = self.array::<u32>("below", below, &[n_trees, 16])?;
        if let Some(&at) = below.iter().find(|&&at| u64::from(at) >= n_subtrees) {
            return Err(self.field("below", &format!("subtrees below {n_subtrees}"), u64::from(at)));
        }
        let all: &[Subtree] =
            bytemuck::cast_slice(self.array::<u32>("subtrees", subtrees, &[n_subtrees, 16])?);
        for (subtree, room) in all.iter().zip((0..n_subtrees).rev()) {
            let wrong =
                |&(distance, leaf): &(u32, u32)| u64::from(distance) > room || u64::from(leaf) >= n_leaves;
            if let Some((distance, leaf)) = subtrees::ends(subtree).find(wrong) {
                let (expected, found) = match u64::from(distance) > room {
                    true => (format!("ends up to {room} further"), distance),
                    false => (format!("leaves below {n_leaves}"), leaf),
                };
                return Err(self.field("subtrees", &expected, u64::from(found)));
            }
        }
        Ok(())
    }

    /// `u32 [n + 1]`: from 0, never going back.
    pub(super) fn starts(&self, parameter: &'static str, id: ArrayId, n: u64) -> Result<&[u32], PlanError> {
        let starts = self.array::<u32>(parameter, id, &[n.saturating_add(1)])?;
        let bad = starts.first() != Some(&0) || starts.windows(2).any(|pair| pair[0] > pair[1]);
        let last = u64::from(starts.last().copied().unwrap_or(0));
        if bad { Err(self.field(parameter, "from 0 and never going back", last)) } else { Ok(starts) }
    }

    fn classes(&self, forest: &Forest) -> Result<(), PlanError> {
        if forest.classes.is_empty() {
            return self.equal("max_classes", 1, u64::from(forest.max_classes));
        }
        self.equal("classes", u64::from(forest.n_outputs), forest.classes.len() as u64)?;
        let mut first = None;
        for &id in &forest.classes {
            let (dtype, n_classes) = self.labels(id)?;
            if n_classes > u64::from(forest.max_classes) {
                return Err(self.field("classes", &format!("up to {}", forest.max_classes), n_classes));
            }
            if first.get_or_insert_with(|| dtype.clone()) != &dtype {
                return Err(self.unlike("classes", "one dtype".to_owned(), &self.info("classes", id)?));
            }
        }
        Ok(())
    }
}

/// What the nodes of a forest must keep to.
struct NodeCheck {
    op: usize,
    packing: Packing,
    distinct: u64,
    narrow: bool,
}

impl NodeCheck {
    fn forest<N: Node>(&self, nodes: &[N], roots: &[u64]) -> Result<(), PlanError> {
        let fail = |tree: usize, node: u64, problem| {
            Err(PlanError::Node { op: self.op, tree: tree as u64, node, problem })
        };
        if self.narrow && self.packing.needs_wide(1) {
            return fail(0, 0, "is narrow, but has too many features for that");
        }
        if roots.first() != Some(&0) {
            return fail(0, 0, "is not the root of the first tree");
        }
        for (tree, span) in roots.windows(2).enumerate() {
            let (start, end) = (span[0], span[1]);
            // The last root is the number of nodes, so a failed look-up is a root that goes backwards.
            let nodes = match (usize::try_from(start), usize::try_from(end)) {
                (Ok(start), Ok(end)) if start < end => nodes.get(start..end),
                _ => None,
            };
            let Some(nodes) = nodes else { return fail(tree, start, "is not before the next root") };
            if let Some((at, problem)) = self.first_bad(nodes) {
                return fail(tree, start + at as u64, problem);
            }
        }
        Ok(())
    }

    /// The first node that is neither a leaf nor a split whose children lie after it in the tree.
    fn first_bad<N: Node>(&self, nodes: &[N]) -> Option<(usize, &'static str)> {
        let leaf = self.packing.leaf_feature() as usize;
        let good = |at: usize, node: N| {
            let (distance, feature) = (node.distance(self.packing), node.feature(self.packing));
            let room = nodes.len() - 1 - at;
            let split = (feature < leaf) & (distance < room);
            let end = (feature == leaf) & (u64::from(node.low()) < self.distinct);
            node.is_clean() & ((split & (distance != 0)) | (end & (distance == 0)))
        };
        // No early exit within a chunk: the compiler then checks several nodes at once.
        for (chunk_at, chunk) in nodes.chunks(256).enumerate() {
            let start = chunk_at * 256;
            if chunk.iter().enumerate().fold(true, |all, (i, &node)| all & good(start + i, node)) {
                continue;
            }
            let i = (0..chunk.len()).find(|&i| !good(start + i, chunk[i]))?;
            return Some((start + i, self.describe(nodes.len() - 1 - (start + i), chunk[i])));
        }
        None
    }

    fn describe<N: Node>(&self, room: usize, node: N) -> &'static str {
        let leaf = self.packing.leaf_feature() as usize;
        let (distance, feature) = (node.distance(self.packing), node.feature(self.packing));
        match distance {
            _ if !node.is_clean() => "has bits set that belong to no field",
            0 if feature != leaf => "is a leaf that reads a feature",
            0 => "is a leaf whose value is not in the table",
            _ if distance >= room => "has children outside of its tree",
            _ => "reads a feature that the input does not have",
        }
    }
}
