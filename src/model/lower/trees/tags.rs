//! What depends on the scikit-learn version that saved a tree.
#![forbid(unsafe_code)]

use crate::model::graph::{Graph, NodeId};

/// `_sklearn_version`: major, minor, patch. Unknown counts as the oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(u32, u32, u32);

impl Version {
    pub(super) fn read(graph: &Graph, estimator: NodeId) -> Self {
        let text = graph.attr(estimator, "_sklearn_version").and_then(|version| graph.as_str(version));
        Version::parse(text.unwrap_or(""))
    }

    /// Leading digits of up to three parts: `1.5.dev0` is 1.5.0.
    fn parse(text: &str) -> Self {
        let number = |part: &str| {
            let digits = part.find(|c: char| !c.is_ascii_digit()).map_or(part, |end| &part[..end]);
            digits.parse().unwrap_or(0)
        };
        let mut parts = text.split('.').map(number);
        let mut next = || parts.next().unwrap_or(0);
        Version(next(), next(), next())
    }

    /// Until 1.4.0 classifiers kept weighted counts in their leaves and divided when predicting; since then
    /// leaves hold the fractions.
    pub(super) fn leaves_are_counts(self) -> bool {
        self < Version(1, 4, 1)
    }
}

/// Whether scikit-learn's `predict` takes NaN: the `allow_nan` tag of the (first) tree, `tree`, of `estimator`.
///
/// Since 1.9 every tree that splits at the best threshold takes NaN, and so does one that splits at random unless
/// it is an `ExtraTree*` with `splitter="best"`. Versions 1.3 to 1.8 leave out `criterion="absolute_error"`;
/// forests came with 1.4 and random splits with 1.6. A model saved by such a version keeps its rule.
pub(super) fn nan_allowed(graph: &Graph, estimator: NodeId, tree: NodeId, version: Version) -> bool {
    let text = |name| graph.attr(tree, name).and_then(|value| graph.as_str(value)).unwrap_or("");
    let forest = estimator != tree;
    let extra = graph.class_of(tree).is_some_and(|(_, name)| name.starts_with("ExtraTree"));
    let random = text("splitter") == "random";
    if version >= Version(1, 9, 0) {
        return !extra || random;
    }
    let since = match (extra, forest) {
        (true, _) => Version(1, 6, 0),
        (false, true) => Version(1, 4, 0),
        (false, false) => Version(1, 3, 0),
    };
    let criterion = text("criterion") != "absolute_error" && text("criterion") != "mae";
    version >= since && criterion && random == extra
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_their_numbers() {
        assert_eq!(Version(1, 9, 1), Version::parse("1.9.1"));
        assert_eq!(Version(0, 24, 2), Version::parse("0.24.2"));
        assert_eq!(Version(1, 5, 0), Version::parse("1.5.dev0"));
        assert_eq!(Version(0, 20, 0), Version::parse("0.20rc1"));
        assert_eq!(Version(0, 0, 0), Version::parse(""));
        assert!(Version::parse("1.3.2").leaves_are_counts());
        assert!(!Version::parse("1.10.0").leaves_are_counts());
    }
}
