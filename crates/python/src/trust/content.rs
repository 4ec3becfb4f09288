//! Settings with which an estimator would exhaust the machine or read files when it predicts, seen in the graph.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use onecopy::{Graph, Node, NodeId};

use crate::trust::list::dotted;

/// Most threads or processes that a saved `n_jobs` may ask for.
const MAX_JOBS: i64 = 1024;
/// Most estimators that asking the outermost one about its tags leads to, shared ones counted again.
const MAX_ESTIMATORS: u64 = 1_000_000;

/// Whether no setting in the graph is beyond reason.
pub(super) fn check_settings(graph: &Graph) -> Result<(), String> {
    for node in &graph.nodes {
        let Node::Dict(pairs) = node else { continue };
        for (key, value) in pairs {
            let is_jobs = graph.as_str(*key).is_some_and(|key| key == "n_jobs" || key.ends_with("__n_jobs"));
            if is_jobs && too_many_jobs(graph, *value) {
                return Err(format!("`n_jobs` of an estimator is beyond {MAX_JOBS}"));
            }
        }
    }
    Nesting { graph, weights: HashMap::new() }.check()
}

fn too_many_jobs(graph: &Graph, value: NodeId) -> bool {
    match graph.node(value) {
        Node::BigInt(_) => true,
        Node::Float(jobs) => jobs.abs() > MAX_JOBS as f64,
        _ => graph.as_int(value).is_some_and(|jobs| jobs.unsigned_abs() > MAX_JOBS.unsigned_abs()),
    }
}

/// How many estimators are asked when the outermost one is: a pipeline asks its first and its last step, which may be one.
struct Nesting<'g> {
    graph: &'g Graph,
    /// Of nodes that are done; those on the way count nothing, so that cycles end.
    weights: HashMap<NodeId, u64>,
}

impl Nesting<'_> {
    fn check(&mut self) -> Result<(), String> {
        let graph = self.graph;
        let mut path: Vec<(NodeId, Vec<NodeId>)> = Vec::new();
        for index in 0..graph.nodes.len() {
            let id = NodeId(index as u32);
            if graph.object(id).is_some() && self.is_new(id) {
                path.push((id, self.children(id)));
            }
            while let Some((id, todo)) = path.last_mut() {
                let Some(child) = todo.pop() else {
                    let weight = self.weigh(*id);
                    if weight > MAX_ESTIMATORS {
                        return Err("estimators lie in one another so often that asking them would not end"
                            .to_owned());
                    }
                    self.weights.insert(*id, weight);
                    path.pop();
                    continue;
                };
                if self.is_new(child) {
                    let children = self.children(child);
                    path.push((child, children));
                }
            }
        }
        Ok(())
    }

    fn is_new(&mut self, id: NodeId) -> bool {
        match self.weights.entry(id) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(0);
                true
            }
            std::collections::hash_map::Entry::Occupied(_) => false,
        }
    }

    /// What a container or an estimator holds that may be or hold estimators.
    fn children(&self, id: NodeId) -> Vec<NodeId> {
        let holds = |child: &NodeId| {
            matches!(
                self.graph.node(*child),
                Node::Object(_) | Node::List(_) | Node::Tuple(_) | Node::Dict(_) | Node::ObjectArray { .. }
            )
        };
        match self.graph.node(id) {
            Node::Object(object) if self.is_estimator(id) => object.state.into_iter().collect(),
            Node::Object(_) => Vec::new(),
            node => node.children().filter(holds).collect(),
        }
    }

    fn is_estimator(&self, id: NodeId) -> bool {
        self.graph
            .class_of(id)
            .is_some_and(|(module, name)| module.starts_with("sklearn.") && !name.starts_with('_'))
    }

    fn weigh(&self, id: NodeId) -> u64 {
        let of = |child: &NodeId| self.weights.get(child).copied().unwrap_or(0);
        let inner = self.children(id).iter().map(of).fold(0u64, u64::saturating_add);
        match self.graph.class_of(id) {
            Some(("sklearn.pipeline", "Pipeline")) => inner.saturating_mul(2).saturating_add(1),
            Some(_) => inner.saturating_add(1),
            None => inner,
        }
    }
}

/// Names that read files or call methods of what users give, because of a setting: they need the user's trust.
pub(super) fn risky_settings(graph: &Graph) -> impl Iterator<Item = String> + '_ {
    (0..graph.nodes.len()).filter_map(|index| {
        let id = NodeId(index as u32);
        let (module, qualname) = graph.class_of(id)?;
        let reads = module == "sklearn.feature_extraction.text"
            && matches!(qualname, "CountVectorizer" | "TfidfVectorizer" | "HashingVectorizer")
            && graph.attr(id, "input").is_some_and(|input| graph.as_str(input) != Some("content"));
        reads.then(|| dotted(module, qualname))
    })
}
