//! The sets of categories that the nodes of an ensemble ask for, each once.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use crate::format::ArrayId;
use crate::format::dtype::Dtype;
use crate::model::lower::trees::ensemble::{Ensemble, PlainKind, Test};
use crate::model::lower::{Refusal, Staged};
use crate::model::plan::{Categories, CategoryRule};

/// Makes the categories from the ids of their arrays.
pub(super) type MakeCategories = Box<dyn FnOnce(&[ArrayId]) -> Categories>;

/// Feature, categories that go left, categories that are known.
type Set<'a> = (u32, &'a [u32], &'a [u32]);

/// Distinct sets, and the column of each; those of a feature lie together.
pub(super) struct Sets<'a> {
    columns: BTreeMap<Set<'a>, u32>,
    rule: Option<CategoryRule>,
}

impl<'a> Sets<'a> {
    pub(super) fn of(ensemble: &'a Ensemble) -> Result<Self, Refusal> {
        let mut columns = BTreeMap::new();
        let mut n_words = 0u64;
        for node in ensemble.trees.iter().flat_map(|tree| &tree.nodes) {
            let PlainKind::Split { test: Test::Category { feature, left, known }, .. } = &node.kind else {
                continue;
            };
            let set = (*feature, &**left, &**known);
            if columns.insert(set, 0).is_none() {
                n_words += left.len() as u64;
            }
        }
        if n_words > u64::from(u32::MAX) {
            return Err(Refusal::uncovered("its splits by category name too many categories"));
        }
        for (column, number) in columns.values_mut().zip(ensemble.n_features..) {
            *column = number;
        }
        Ok(Sets { columns, rule: ensemble.rule })
    }

    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    /// The column that is 0 for rows that go left.
    pub(super) fn column(&self, feature: u32, left: &[u32], known: &[u32]) -> u32 {
        self.columns[&(feature, left, known)]
    }

    /// The arrays, and what refers to them; nothing if no tree splits by category.
    pub(super) fn finish(self) -> Option<(Vec<Staged>, MakeCategories)> {
        let rule = self.rule.filter(|_| self.len() > 0)?;
        let mut starts = vec![0u32];
        let (mut features, mut left, mut known) = (vec![], vec![], vec![]);
        for (feature, own_left, own_known) in self.columns.into_keys() {
            features.push(feature);
            left.extend_from_slice(own_left);
            known.extend_from_slice(own_known);
            starts.push(left.len() as u32);
        }
        let with_known = rule == CategoryRule::Histogram;
        let mut arrays =
            vec![words("set_features", &features), words("set_starts", &starts), words("set_left", &left)];
        arrays.extend(with_known.then(|| words("set_known", &known)));
        let categories: MakeCategories = Box::new(move |ids: &[ArrayId]| Categories {
            features: ids[0],
            starts: ids[1],
            left: ids[2],
            known: with_known.then(|| ids[3]),
            rule,
        });
        Some((arrays, categories))
    }
}

fn words(name: &'static str, words: &[u32]) -> Staged {
    Staged::memory(name, Dtype::U32, vec![words.len() as u64], bytemuck::cast_slice(words).to_vec())
}
