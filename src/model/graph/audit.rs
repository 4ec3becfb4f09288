//! Which names a graph holds, and how each is used: what `load()` would have to import.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use crate::model::graph::{Graph, Make, Node, NodeId};

/// One importable name in a graph.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct NameUse {
    /// As in the file.
    pub module: String,
    /// Dotted path within the module.
    pub qualname: String,
    /// How often the graph calls it to make an object.
    pub called: u64,
    /// How often the graph makes an instance of it without calling `__init__`.
    pub instances: u64,
    /// How often it is the class of an array.
    pub array_classes: u64,
    /// How often it is used as a value: an argument, an attribute, an item.
    pub values: u64,
}

/// The names of a graph, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Audit {
    /// Each name once.
    pub names: Vec<NameUse>,
    /// Objects made by something that is not a name; `load()` refuses them.
    pub computed_callables: u64,
}

impl Graph {
    /// All names in the graph, whether the root leads to them or not.
    pub fn audit(&self) -> Audit {
        let mut uses: BTreeMap<(&str, &str), NameUse> = BTreeMap::new();
        let mut count = |id: NodeId, add: fn(&mut NameUse)| {
            let Some(name) = self.name_at(id) else { return false };
            let entry = uses.entry(name).or_insert_with(|| NameUse {
                module: name.0.to_owned(),
                qualname: name.1.to_owned(),
                called: 0,
                instances: 0,
                array_classes: 0,
                values: 0,
            });
            add(entry);
            true
        };
        let mut computed_callables = 0;
        for (index, node) in self.nodes.iter().enumerate() {
            match node {
                // So that a name which nothing refers to is listed too.
                Node::Name { .. } => _ = count(NodeId(index as u32), |_| {}),
                Node::Object(object) => {
                    let known = match object.make {
                        Make::Call => count(object.callable, |uses| uses.called += 1),
                        Make::New => count(object.callable, |uses| uses.instances += 1),
                    };
                    computed_callables += u64::from(!known);
                    for child in node.children().skip(1) {
                        count(child, |uses| uses.values += 1);
                    }
                }
                Node::ArrayOfClass { class, .. } => _ = count(*class, |uses| uses.array_classes += 1),
                _ => {
                    for child in node.children() {
                        count(child, |uses| uses.values += 1);
                    }
                }
            }
        }
        if self.name_at(self.root).is_some() {
            count(self.root, |uses| uses.values += 1);
        }
        Audit { names: uses.into_values().collect(), computed_callables }
    }
}

impl Node {
    /// The nodes that this one refers to, in the order of the fields; for objects the callable is first.
    pub fn children(&self) -> impl Iterator<Item = NodeId> + '_ {
        let mut items: &[NodeId] = &[];
        let mut pairs: &[(NodeId, NodeId)] = &[];
        let mut first = [None; 3];
        let mut last = None;
        match self {
            Node::Tuple(list) | Node::List(list) | Node::Set(list) | Node::FrozenSet(list) => items = list,
            Node::ObjectArray { items: list, .. } => items = list,
            Node::Dict(list) => pairs = list,
            Node::ArrayOfClass { class, array } => first = [Some(*class), Some(*array), None],
            Node::Object(object) => {
                first = [Some(object.callable), Some(object.args), object.kwargs];
                items = &object.items;
                pairs = &object.pairs;
                last = object.state;
            }
            _ => {}
        }
        let pairs = pairs.iter().flat_map(|(key, value)| [*key, *value]);
        first.into_iter().flatten().chain(items.iter().copied()).chain(pairs).chain(last)
    }
}
