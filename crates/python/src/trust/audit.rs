//! Every use of every name in a graph, against the list.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use onecopy::{Graph, Make, Node, NodeId, Object};

use crate::trust::list::{Entry, How, dotted, list};

/// What an audit finds.
#[derive(Default)]
pub(super) struct Findings {
    /// Names used in a way that is not on the list, as `trusted=` takes them, with how they are used.
    pub(super) refused: BTreeMap<String, String>,
    /// Uses of the list that the graph makes: module, name, use.
    pub(super) used: BTreeSet<(String, String, &'static str)>,
    keep_used: bool,
}

pub(super) fn findings(graph: &Graph, trusted: &[String], keep_used: bool) -> Findings {
    let findings = Findings { keep_used, ..Findings::default() };
    let mut audit = Audit {
        graph,
        trusted: trusted.iter().map(String::as_str).collect(),
        known: HashMap::new(),
        seen: HashSet::new(),
        findings,
    };
    audit.run();
    audit.findings
}

struct Audit<'g> {
    graph: &'g Graph,
    trusted: HashSet<&'g str>,
    known: HashMap<NodeId, Standing>,
    /// Names that something refers to; the others would be imported for nothing.
    seen: HashSet<NodeId>,
    findings: Findings,
}

#[derive(Clone, Copy)]
enum Standing {
    /// The user said so.
    Trusted,
    Listed(&'static Entry),
    Unknown,
}

impl<'g> Audit<'g> {
    fn run(&mut self) {
        let plain = self.plain_nodes();
        for (index, node) in self.graph.nodes.iter().enumerate() {
            match node {
                Node::Object(object) => self.object(object),
                Node::ArrayOfClass { class, array } => {
                    self.array_class(*class);
                    self.value(*array);
                }
                // Their objects know what may stand in them.
                Node::Tuple(_) if !plain[index] => {}
                Node::Dict(pairs) if !plain[index] => pairs.iter().for_each(|(key, _)| self.value(*key)),
                node => node.children().for_each(|child| self.value(child)),
            }
        }
        self.value(self.graph.root);
        for index in 0..self.graph.nodes.len() {
            let id = NodeId(index as u32);
            let is_name = matches!(self.graph.node(id), Node::Name { .. });
            if is_name && !self.seen.contains(&id) && matches!(self.standing(id), Standing::Unknown) {
                self.refuse(id, "named, and not used".to_owned());
            }
        }
    }

    /// Which nodes are referred to as values, and not only as the arguments or the state of objects.
    fn plain_nodes(&self) -> Vec<bool> {
        let mut plain = vec![false; self.graph.nodes.len()];
        let mut parts = vec![false; self.graph.nodes.len()];
        let mark = |marks: &mut Vec<bool>, id: NodeId| {
            if let Some(slot) = marks.get_mut(id.0 as usize) {
                *slot = true;
            }
        };
        for node in &self.graph.nodes {
            if let Node::Object(object) = node {
                mark(&mut parts, object.args);
                object.state.iter().for_each(|state| mark(&mut parts, *state));
                [Some(object.callable), object.kwargs]
                    .into_iter()
                    .flatten()
                    .for_each(|id| mark(&mut plain, id));
                object.items.iter().for_each(|id| mark(&mut plain, *id));
                object.pairs.iter().for_each(|(key, value)| {
                    mark(&mut plain, *key);
                    mark(&mut plain, *value);
                });
            } else {
                node.children().for_each(|id| mark(&mut plain, id));
            }
        }
        mark(&mut plain, self.graph.root);
        // What nothing refers to is no part of an object either.
        plain.iter().zip(&parts).map(|(plain, part)| *plain || !*part).collect()
    }

    fn standing(&mut self, id: NodeId) -> Standing {
        if let Some(standing) = self.known.get(&id) {
            return *standing;
        }
        let Some((module, qualname)) = self.graph.name_at(id) else { return Standing::Unknown };
        let standing = if self.trusted.contains(format!("{module}.{qualname}").as_str()) {
            Standing::Trusted
        } else {
            list().entry(module, qualname).map_or(Standing::Unknown, Standing::Listed)
        };
        self.known.insert(id, standing);
        standing
    }

    fn value(&mut self, id: NodeId) {
        if matches!(self.graph.node(id), Node::Name { .. }) {
            self.check(id, |how| *how == How::Value, || "used as a value".to_owned());
        }
    }

    fn array_class(&mut self, id: NodeId) {
        match self.graph.node(id) {
            Node::Name { .. } => {
                self.check(id, |how| *how == How::Class, || "the class of an array".to_owned());
            }
            _ => self.refuse_computed(),
        }
    }

    fn object(&mut self, object: &'g Object) {
        let graph = self.graph;
        if !matches!(graph.node(object.callable), Node::Name { .. }) {
            self.refuse_computed();
            return;
        }
        let args = graph.items(object.args).unwrap_or_default();
        let mut permitted = Vec::new();
        if object
            .kwargs
            .is_some_and(|kwargs| !matches!(graph.node(kwargs), Node::Dict(pairs) if pairs.is_empty()))
        {
            self.check(object.callable, |_| false, || "made with keyword arguments".to_owned());
        }
        let made = |how: &How, permitted: &mut Vec<NodeId>| match (how, object.make) {
            (How::Call(pattern), Make::Call) | (How::New(pattern), Make::New) => {
                pattern.fit(graph, args, permitted)
            }
            _ => false,
        };
        self.check(
            object.callable,
            |how| made(how, &mut permitted),
            || {
                let how = if object.make == Make::Call { "called with" } else { "made with" };
                format!("{how} ({})", kinds(graph, args))
            },
        );
        if !object.items.is_empty() {
            self.check(object.callable, |how| *how == How::Items, || "extended".to_owned());
        }
        if !object.pairs.is_empty() {
            self.check(object.callable, |how| *how == How::Pairs, || "given items".to_owned());
        }
        self.seen.extend(permitted.iter().copied());
        args.iter().filter(|item| !permitted.contains(item)).for_each(|item| self.value(*item));
        object.items.iter().for_each(|item| self.value(*item));
        object.pairs.iter().for_each(|(key, value)| [*key, *value].into_iter().for_each(|id| self.value(id)));
        if let Some(state) = object.state {
            self.state(object, state);
        }
    }

    fn state(&mut self, object: &'g Object, state: NodeId) {
        let graph = self.graph;
        let mut permitted = Vec::new();
        let describe = || format!("given the state {}", kind(graph, state));
        match graph.node(state) {
            Node::Dict(pairs) => {
                let text_keys = pairs.iter().all(|(key, _)| matches!(graph.node(*key), Node::Str(_)));
                self.check(object.callable, |how| *how == How::StateDict && text_keys, describe);
                let class = class_name(graph, object);
                for (key, value) in pairs {
                    if matches!(graph.node(*value), Node::Name { .. }) {
                        let place = format!("{class}.{}", graph.as_str(*key).unwrap_or_default());
                        let fits =
                            |how: &How| *how == How::Value || matches!(how, How::At(at) if **at == *place);
                        self.check(*value, fits, || format!("used as {place}"));
                    }
                }
            }
            Node::Tuple(items) => {
                let fits = |how: &How| match how {
                    How::State(pattern) => pattern.fit(graph, items, &mut permitted),
                    _ => false,
                };
                self.check(object.callable, fits, || format!("given the state ({})", kinds(graph, items)));
                self.seen.extend(permitted.iter().copied());
                items.iter().filter(|item| !permitted.contains(item)).for_each(|item| self.value(*item));
                self.same_function(object, items);
            }
            _ => self.check(object.callable, |_| false, describe),
        }
    }

    /// A `functools.partial` gets its function twice; two different ones would make a loop possible.
    fn same_function(&mut self, object: &Object, state: &[NodeId]) {
        let is_partial = self.graph.name_at(object.callable) == Some(("functools", "partial"));
        if is_partial && self.graph.items(object.args).and_then(<[NodeId]>::first) != state.first() {
            self.refuse(object.callable, "given another function than it was made with".to_owned());
        }
    }

    /// Refuses the name at `id` unless one of its uses fits.
    fn check(&mut self, id: NodeId, mut fits: impl FnMut(&How) -> bool, describe: impl Fn() -> String) {
        self.seen.insert(id);
        match self.standing(id) {
            Standing::Trusted => {}
            Standing::Listed(entry) => match entry.uses.iter().find(|listed| fits(&listed.how)) {
                Some(listed) => {
                    if self.findings.keep_used
                        && let Some((module, qualname)) = self.graph.name_at(id)
                    {
                        let (module, qualname) = list().today(module, qualname);
                        self.findings.used.insert((module.to_owned(), qualname.to_owned(), listed.text));
                    }
                }
                None => self.refuse(id, describe()),
            },
            Standing::Unknown => self.refuse(id, describe()),
        }
    }

    fn refuse(&mut self, id: NodeId, how: String) {
        if let Some((module, qualname)) = self.graph.name_at(id) {
            self.findings.refused.insert(format!("{module}.{qualname}"), how);
        }
    }

    fn refuse_computed(&mut self) {
        let what = "<the result of a call>".to_owned();
        self.findings.refused.insert(what, "called, and no name can be given for it".to_owned());
    }
}

/// The class that `object` will be of, as far as the graph says.
fn class_name(graph: &Graph, object: &Object) -> String {
    graph.name_at(object.callable).map(|(module, qualname)| dotted(module, qualname)).unwrap_or_default()
}

/// The kinds of some values, for messages and for writing entries of the list.
fn kinds(graph: &Graph, items: &[NodeId]) -> String {
    items.iter().map(|item| kind(graph, *item)).collect::<Vec<_>>().join(", ")
}

fn kind(graph: &Graph, id: NodeId) -> String {
    match graph.node(id) {
        Node::Name { module, qualname } => format!("{module}.{qualname}"),
        Node::None => "none".to_owned(),
        Node::Tuple(items) if items.len() < 4 => {
            let inner = items.iter().map(|item| short_kind(graph, *item)).collect::<Vec<_>>();
            format!("({})", inner.join(", "))
        }
        _ => short_kind(graph, id),
    }
}

fn short_kind(graph: &Graph, id: NodeId) -> String {
    match graph.node(id) {
        Node::Str(text) if text.len() < 20 => format!("'{}'", text.escape_debug()),
        Node::Int(value) if value.abs() < 100 => value.to_string(),
        Node::None => "none".to_owned(),
        Node::Object(object) => match graph.name_at(object.callable) {
            Some((module, qualname)) => format!("object by {module}.{qualname}"),
            None => "object".to_owned(),
        },
        node => match node {
            Node::Array(_) | Node::Records(_) | Node::Quotients(_) | Node::ObjectArray { .. } => {
                "array".to_owned()
            }
            Node::Int(_) | Node::BigInt(_) => "int".to_owned(),
            Node::Bool(_) => "bool".to_owned(),
            Node::Float(_) => "float".to_owned(),
            Node::Str(_) => "str".to_owned(),
            Node::Bytes(_) => "bytes".to_owned(),
            Node::Tuple(_) => "tuple".to_owned(),
            Node::List(_) => "list".to_owned(),
            Node::Dict(_) | Node::Terms(_) => "dict".to_owned(),
            Node::Dtype(_) => "dtype".to_owned(),
            Node::Scalar { .. } => "scalar".to_owned(),
            _ => "any".to_owned(),
        },
    }
}
