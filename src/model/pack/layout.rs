//! Which arrays of the source are stored together, and in what form.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};

use crate::format::dtype::{Dtype, Field, Plain};
use crate::format::{ArrayId, ArrayInfo, Order};
use crate::model::array::ArraySource;
use crate::model::graph::check::MAX_PADDING;
use crate::model::pack::walk::{Seen, Walk};

/// Arrays alike are stacked if there are as many.
const MIN_STACK: usize = 8;
/// Records of more fields are stored as they are.
const MAX_FIELDS: usize = 64;

/// All arrays of the source in groups.
pub(super) struct Layout {
    /// In the order in which the walk met the first member.
    pub(super) groups: Vec<Group>,
    /// Where each array of the source is.
    pub(super) places: HashMap<ArrayId, Place>,
}

/// Where an array of the source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Index of its group.
    pub(super) group: usize,
    /// Rows of the group before it.
    pub(super) base: u64,
}

/// Arrays that are stored end to end; often just one.
pub(super) struct Group {
    /// Name in the file.
    pub(super) name: String,
    /// The stack, as the source would have it.
    pub(super) info: ArrayInfo,
    /// In order of rows.
    pub(super) members: Vec<Member>,
    /// How it is stored.
    pub(super) form: Form,
    /// The records that may hold the denominators of this group's values.
    pub(super) sibling: Option<Sibling>,
}

/// One array of a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    /// Its number in the source.
    pub(super) array: ArrayId,
    /// Length of its first dimension.
    pub(super) rows: u64,
}

/// How a group is stored.
pub(super) enum Form {
    /// It is in the file already.
    Stored(ArrayId),
    /// As it is.
    Plain,
    /// One array per field.
    Columns(Vec<Column>),
    /// As numerators of this type; divided by a column of the sibling or not.
    Quotients {
        /// Type of the numerators.
        dtype: Plain,
        /// Whether there are denominators.
        divided: bool,
    },
}

/// One field of records.
pub(super) struct Column {
    /// The field.
    pub(super) field: Field,
    /// The type in which it is stored.
    pub(super) stored: Plain,
}

/// Records whose rows are those of another group, member by member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sibling {
    /// Index of the group of records.
    pub(super) group: usize,
    /// Index of the field `weighted_n_node_samples`.
    pub(super) field: usize,
}

impl Group {
    /// Bytes of one element of the first dimension.
    pub(super) fn row_bytes(&self) -> u64 {
        self.info
            .shape
            .iter()
            .skip(1)
            .fold(u64::from(self.info.dtype.itemsize()), |bytes, len| bytes.saturating_mul(*len))
    }

    /// Whether these are rows of `f64`.
    fn may_be_quotients(&self) -> bool {
        self.info.dtype == Dtype::F64 && self.info.order == Order::C && !self.info.shape.is_empty()
    }
}

impl Layout {
    /// The groups, and the names that they take.
    pub(super) fn new(
        walk: &Walk,
        arrays: &dyn ArraySource,
        stored: &HashMap<ArrayId, ArrayId>,
    ) -> (Self, Names) {
        let mut names = Names::default();
        for seen in walk.arrays.iter().filter(|seen| stored.contains_key(&seen.array)) {
            names.reserve(&seen.name);
        }
        let mut groups: Vec<Group> = Vec::new();
        let mut places = HashMap::new();
        let nodes: HashSet<ArrayId> = walk.siblings.values().copied().collect();
        for (name, seen) in alike(walk, arrays, stored) {
            let Some(first) = seen.first() else { continue };
            let mut info = arrays.info(first.array);
            let mut members = Vec::with_capacity(seen.len());
            let mut rows = 0;
            for one in &seen {
                let own = arrays.info(one.array).shape.first().copied().unwrap_or(1);
                places.insert(one.array, Place { group: groups.len(), base: rows });
                members.push(Member { array: one.array, rows: own });
                rows += own;
            }
            if let Some(len) = info.shape.first_mut() {
                *len = rows;
            }
            let form = match stored.get(&first.array) {
                Some(id) => Form::Stored(*id),
                None if first.whole && (nodes.contains(&first.array) || padding(&info.dtype) > 0) => {
                    columns_of(&info).map_or(Form::Plain, Form::Columns)
                }
                None => Form::Plain,
            };
            let name = match form {
                Form::Stored(_) => name.to_owned(),
                _ => names.unique(name),
            };
            groups.push(Group { name, info, members, form, sibling: None });
        }
        let mut layout = Layout { groups, places };
        layout.find_siblings(walk);
        (layout, names)
    }

    /// Links the values of trees to their nodes.
    fn find_siblings(&mut self, walk: &Walk) {
        for index in 0..self.groups.len() {
            let sibling = self.sibling_of(index, walk);
            if let Some(group) = self.groups.get_mut(index) {
                group.sibling = sibling;
            }
        }
    }

    fn sibling_of(&self, index: usize, walk: &Walk) -> Option<Sibling> {
        let group = self.groups.get(index)?;
        let suits = matches!(group.form, Form::Plain) && group.may_be_quotients();
        let first = group.members.first().filter(|_| suits)?;
        let nodes = self.places.get(walk.siblings.get(&first.array)?)?.group;
        let records = self.groups.get(nodes)?;
        let Form::Columns(columns) = &records.form else { return None };
        let field = weight_field(columns)?;
        let pairs = group.members.iter().zip(&records.members);
        let same = |(values, nodes): (&Member, &Member)| {
            walk.siblings.get(&values.array) == Some(&nodes.array) && values.rows == nodes.rows
        };
        let alike = group.members.len() == records.members.len() && { pairs }.all(same);
        (alike && records.info.shape.len() == 1).then_some(Sibling { group: nodes, field })
    }
}

/// The weights of nodes.
fn weight_field(columns: &[Column]) -> Option<usize> {
    let weight = |column: &Column| {
        column.field.name == "weighted_n_node_samples" && Dtype::Plain(column.field.dtype) == Dtype::F64
    };
    columns.iter().position(|column| weight(column) && column.field.shape.is_empty())
}

/// What arrays of a group have in common.
#[derive(PartialEq, Eq)]
struct Alike<'a> {
    pattern: &'a str,
    dtype: Dtype,
    row: Vec<u64>,
}

/// Of the dtype only the size: its fields have many names, and are nearly always the same.
impl Hash for Alike<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.pattern, self.dtype.itemsize(), &self.row).hash(state);
    }
}

/// Arrays in the groups in which they will be stored, with a name for each group.
fn alike<'a>(
    walk: &'a Walk,
    arrays: &dyn ArraySource,
    stored: &HashMap<ArrayId, ArrayId>,
) -> Vec<(&'a str, Vec<&'a Seen>)> {
    let mut index: HashMap<Alike<'_>, usize> = HashMap::new();
    let mut groups: Vec<Vec<&Seen>> = Vec::new();
    for seen in &walk.arrays {
        let info = arrays.info(seen.array);
        let stackable = seen.whole
            && !stored.contains_key(&seen.array)
            && !info.shape.is_empty()
            && (info.order == Order::C || info.shape.len() == 1);
        if !stackable {
            groups.push(vec![seen]);
            continue;
        }
        let row = info.shape.get(1..).unwrap_or_default().to_vec();
        let key = Alike { pattern: &seen.pattern, dtype: info.dtype, row };
        let group = *index.entry(key).or_insert(groups.len());
        match groups.get_mut(group) {
            Some(group) => group.push(seen),
            None => groups.push(vec![seen]),
        }
    }
    let named = |group: Vec<&'a Seen>| match group.first() {
        Some(first) if group.len() >= MIN_STACK => vec![(first.pattern.as_str(), group)],
        _ => group.into_iter().map(|seen| (seen.name.as_str(), vec![seen])).collect(),
    };
    groups.into_iter().flat_map(named).collect()
}

/// Bytes of a record that belong to no field.
fn padding(dtype: &Dtype) -> u64 {
    let Dtype::Record(record) = dtype else { return 0 };
    u64::from(record.itemsize).saturating_sub(size(&record.fields))
}

fn size(fields: &[Field]) -> u64 {
    fields.iter().filter_map(Field::len_bytes).map(u64::from).sum()
}

/// The fields of a record array that can be taken apart and put together again.
fn columns_of(info: &ArrayInfo) -> Option<Vec<Column>> {
    let Dtype::Record(record) = &info.dtype else { return None };
    info.dtype.validate().ok()?;
    let suits = (1..=MAX_FIELDS).contains(&record.fields.len())
        && u64::from(record.itemsize) <= MAX_PADDING + 2 * size(&record.fields)
        && !info.shape.is_empty()
        && (info.order == Order::C || info.shape.len() == 1);
    let column = |field: &Field| Column { field: field.clone(), stored: field.dtype };
    suits.then(|| record.fields.iter().map(column).collect())
}

/// Names that are taken.
#[derive(Default)]
pub(super) struct Names {
    used: HashMap<String, u32>,
}

impl Names {
    /// Nobody else gets this name.
    fn reserve(&mut self, name: &str) {
        self.used.insert(name.to_owned(), 1);
    }

    /// `wanted`, or `wanted~2` if that is taken. Names under `predict` belong to the plan.
    pub(super) fn unique(&mut self, wanted: &str) -> String {
        let wanted = match wanted.strip_prefix("predict.") {
            Some(rest) => format!("predict~.{rest}"),
            None => wanted.to_owned(),
        };
        let mut name = wanted.clone();
        while self.used.contains_key(&name) {
            let count = self.used.entry(wanted.clone()).or_insert(1);
            *count += 1;
            name = format!("{wanted}~{count}");
        }
        self.used.insert(name.clone(), 1);
        name
    }
}
