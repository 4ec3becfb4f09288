//! LightGBM's text files of models, cut into pieces: `key=value` lines, then a block of such lines for each tree.
//!
//! Nothing is copied. Every number is checked against the bytes that it speaks of, so work and memory stay in
//! proportion to the text.
#![forbid(unsafe_code)]

use crate::model::lower::Refusal;

/// Versions of the format that are read: those of LightGBM 2, 3 and 4.
const VERSIONS: [&str; 3] = ["v2", "v3", "v4"];

/// A model, its trees not yet read.
#[derive(Debug)]
pub(super) struct ModelText<'a> {
    /// Columns of the input.
    pub(super) n_features: u32,
    /// Trees of one iteration, which is the number of raw scores.
    pub(super) columns: u32,
    /// Whether sums are divided by the number of iterations.
    pub(super) average: bool,
    /// The objective and its parameters; empty for one of the user's own.
    pub(super) objective: &'a str,
    /// The lines of each tree, from `Tree=` on.
    pub(super) trees: Vec<&'a str>,
}

/// The lines before the trees.
#[derive(Default)]
struct Header<'a> {
    version: Option<&'a str>,
    num_class: Option<&'a str>,
    num_tree_per_iteration: Option<&'a str>,
    max_feature_idx: Option<&'a str>,
    feature_names: Option<&'a str>,
    objective: Option<&'a str>,
    tree_sizes: Option<&'a str>,
    average_output: bool,
    /// Where the first tree starts.
    len_bytes: usize,
}

impl<'a> ModelText<'a> {
    /// Reads what stands before the trees, and finds them.
    ///
    /// # Errors
    ///
    /// [`Refusal::Uncovered`] if LightGBM would not read it either, or reads it differently.
    pub(super) fn read(text: &'a str) -> Result<Self, Refusal> {
        if text.contains('\0') {
            return Err(Refusal::uncovered("its text holds a NUL"));
        }
        let header = Header::read(text);
        if !header.version.is_some_and(|version| VERSIONS.contains(&version)) {
            let found = header.version.unwrap_or("none");
            return Err(Refusal::uncovered(format!("its text has the version `{found}`, not v2, v3 or v4")));
        }
        let last: u32 = one("max_feature_idx", header.max_feature_idx)?;
        let names = tokens(header.feature_names.unwrap_or_default()).count();
        // A name for each feature also bounds their number by the length of the text.
        if names != last as usize + 1 {
            return Err(Refusal::uncovered(format!("its text has {names} names for {last} + 1 features")));
        }
        let num_class: u32 = one("num_class", header.num_class)?;
        let columns = match header.num_tree_per_iteration {
            Some(_) => one("num_tree_per_iteration", header.num_tree_per_iteration)?,
            None => num_class,
        };
        if columns != num_class || columns == 0 {
            let why = format!("it has {num_class} classes and {columns} trees in an iteration");
            return Err(Refusal::uncovered(why));
        }
        let rest = &text[header.len_bytes..];
        let trees = match header.tree_sizes {
            Some(sizes) => sized(rest, sizes)?,
            None => in_sequence(rest),
        };
        let objective = header.objective.unwrap_or_default();
        Ok(ModelText { n_features: last + 1, columns, average: header.average_output, objective, trees })
    }
}

impl<'a> Header<'a> {
    fn read(text: &'a str) -> Self {
        let mut header = Header::default();
        for line in text.split_inclusive('\n') {
            if line.starts_with("Tree=") {
                break;
            }
            header.len_bytes += line.len();
            let line = end_trimmed(line);
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            let slot = match key {
                "version" => &mut header.version,
                "num_class" => &mut header.num_class,
                "num_tree_per_iteration" => &mut header.num_tree_per_iteration,
                "max_feature_idx" => &mut header.max_feature_idx,
                "feature_names" => &mut header.feature_names,
                "objective" => &mut header.objective,
                "tree_sizes" => &mut header.tree_sizes,
                "average_output" => {
                    header.average_output = true;
                    continue;
                }
                _ => continue,
            };
            *slot = Some(value);
        }
        header
    }
}

/// Blocks of the lengths that `sizes` gives.
fn sized<'a>(text: &'a str, sizes: &str) -> Result<Vec<&'a str>, Refusal> {
    let mut at = 0usize;
    let mut blocks = Vec::new();
    for (index, size) in tokens(sizes).enumerate() {
        let end = size.parse().ok().and_then(|size: usize| at.checked_add(size));
        let block = end.and_then(|end| text.get(at..end)).filter(|block| block.starts_with("Tree="));
        let (Some(end), Some(block)) = (end, block) else {
            return Err(Refusal::uncovered(format!(
                "tree {index} is not where `tree_sizes` says; the text was cut short or edited"
            )));
        };
        blocks.push(block);
        at = end;
    }
    Ok(blocks)
}

/// Blocks that each end at an empty line, as files without `tree_sizes` have them.
fn in_sequence(text: &str) -> Vec<&str> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while rest.starts_with("Tree=") {
        let mut end = 0;
        for line in rest.split_inclusive('\n') {
            end += line.len();
            if end_trimmed(line).is_empty() {
                break;
            }
        }
        let (block, after) = rest.split_at(end);
        blocks.push(block);
        rest = after.trim_start_matches(['\r', '\n']);
    }
    blocks
}

/// A line without its end.
pub(super) fn end_trimmed(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

/// The parts between spaces.
pub(super) fn tokens(value: &str) -> impl Iterator<Item = &str> {
    value.split(' ').filter(|token| !token.is_empty())
}

/// The number that `key` has.
pub(super) fn one<T: std::str::FromStr>(key: &str, value: Option<&str>) -> Result<T, Refusal> {
    let missing = || Refusal::uncovered(format!("`{key}` is missing in its text"));
    let value = value.ok_or_else(missing)?.trim();
    value.parse().map_err(|_| Refusal::uncovered(format!("`{key}` is `{}` in its text", short(value))))
}

/// The `n` numbers that `key` has.
pub(super) fn numbers<T: std::str::FromStr>(
    key: &str,
    value: Option<&str>,
    n: usize,
) -> Result<Vec<T>, Refusal> {
    let value = value.ok_or_else(|| Refusal::uncovered(format!("`{key}` is missing")))?;
    let wrong = |found: usize| Refusal::uncovered(format!("`{key}` has {found} numbers, expected {n}"));
    // A number and a space take two bytes.
    if n > value.len().div_ceil(2) {
        return Err(wrong(tokens(value).count()));
    }
    let mut all = Vec::with_capacity(n);
    for token in tokens(value) {
        let number = token.parse();
        all.push(
            number.map_err(|_| Refusal::uncovered(format!("`{key}` holds `{}`, no number", short(token))))?,
        );
    }
    if all.len() == n { Ok(all) } else { Err(wrong(all.len())) }
}

/// The start of a text, for messages.
pub(super) fn short(text: &str) -> String {
    text.chars().take(40).collect()
}
