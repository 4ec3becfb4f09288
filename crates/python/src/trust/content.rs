//! Settings with which an estimator would exhaust the machine or read files when it predicts, seen in the graph.
#![forbid(unsafe_code)]

use onecopy::{Graph, Node, NodeId};

use crate::trust::list::dotted;

/// Most threads or processes that a saved `n_jobs` may ask for.
const MAX_JOBS: i64 = 1024;

/// Whether no setting in the graph is beyond reason.
pub(super) fn check_settings(graph: &Graph) -> Result<(), String> {
    for index in 0..graph.nodes.len() {
        let id = NodeId(index as u32);
        if graph.object(id).is_none() {
            continue;
        }
        if let Some(jobs) = graph.attr(id, "n_jobs").map(|jobs| graph.node(jobs)) {
            let within = match jobs {
                Node::None => true,
                _ => as_jobs(graph, jobs).is_none_or(|jobs| jobs.abs() <= MAX_JOBS),
            };
            if !within {
                return Err(format!("`n_jobs` of an estimator is beyond {MAX_JOBS}"));
            }
        }
    }
    Ok(())
}

fn as_jobs(_: &Graph, node: &Node) -> Option<i64> {
    match node {
        Node::Int(jobs) => Some(*jobs),
        Node::BigInt(_) => Some(i64::MAX),
        Node::Float(jobs) => Some(*jobs as i64),
        _ => None,
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
