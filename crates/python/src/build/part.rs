//! Parts of a saved object that are built when someone looks at them.
//!
//! The graph is not kept: a part decodes it again. What a part shares with objects that exist already, a random state for
//! example, is kept by the session of its file, so that it is the same object on both sides.
#![forbid(unsafe_code)]

use std::process;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use onecopy::{Graph, Node, NodeId};
use pyo3::exceptions::PyIndexError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};
use rustc_hash::FxHashMap;

use crate::build::Builder;
use crate::load;
use crate::source::Source;
use crate::tree::Stages;

/// One value that has not been built yet.
#[pyclass(frozen, weakref, module = "onecopy._onecopy")]
pub(crate) struct Part {
    session: Py<Session>,
    node: NodeId,
    value: OnceLock<Py<PyAny>>,
}

/// One `load`: what its parts need to build themselves.
#[pyclass(frozen, module = "onecopy._onecopy")]
pub(crate) struct Session {
    source: Py<Source>,
    trusted: Vec<String>,
    shared: Mutex<Shared>,
    lock: Mutex<BuildLock>,
}

/// A `threading.RLock`, since parts share objects and are built one after the other.
struct BuildLock {
    /// The process that made it: a child may have inherited it locked by a thread that it does not have.
    pid: u32,
    lock: Py<PyAny>,
}

impl BuildLock {
    fn new(py: Python<'_>) -> PyResult<Self> {
        let lock = py.import("threading")?.getattr("RLock")?.call0()?;
        Ok(BuildLock { pid: process::id(), lock: lock.unbind() })
    }
}

#[derive(Default)]
struct Shared {
    /// Objects that exist and that a part will need.
    kept: FxHashMap<NodeId, Py<PyAny>>,
    /// Parts that were not built yet, as long as anyone has them.
    pending: FxHashMap<NodeId, Py<PyWeakrefReference>>,
}

#[pymethods]
impl Part {
    /// The value, built at the first call.
    fn build<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let part = slf.get();
        if let Some(value) = part.value.get() {
            return Ok(value.bind(slf.py()).clone());
        }
        let lock = part.session.get().build_lock(slf.py())?;
        lock.call_method0("acquire")?;
        let built = part.build_locked(slf.py());
        lock.call_method0("release")?;
        built
    }

    /// The first item of the list or array that the part is; the same object that `build` will put there.
    fn first<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let part = slf.get();
        let lock = part.session.get().build_lock(slf.py())?;
        lock.call_method0("acquire")?;
        let built = part.first_locked(slf.py());
        lock.call_method0("release")?;
        built
    }

    /// The trees of an array of estimators as stages of gradient boosting; `None` if it is none.
    fn stages(&self, py: Python<'_>) -> PyResult<Option<Stages>> {
        let source = self.session.get().source.bind(py);
        Stages::at_node(py, source, &load::decode(py, source.get())?, self.node)
    }

    fn __repr__(&self) -> String {
        format!("<part {} of {}>", self.node.0, self.session.get().source.get().path().display())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.session)?;
        match self.value.get() {
            Some(value) => visit.call(value),
            None => Ok(()),
        }
    }
}

impl Part {
    pub(super) fn new(session: &Bound<'_, Session>, node: NodeId) -> Self {
        Part { session: session.clone().unbind(), node, value: OnceLock::new() }
    }

    fn first_locked<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if let Some(value) = self.value.get() {
            let items = value.bind(py).call_method0("ravel").unwrap_or_else(|_| value.bind(py).clone());
            return items.get_item(0);
        }
        let session = self.session.bind(py);
        let graph = load::decode(py, session.get().source.get())?;
        let items = match graph.node(self.node) {
            Node::List(items) | Node::ObjectArray { items, .. } => items.as_slice(),
            _ => &[],
        };
        let first = items.first().ok_or_else(|| PyIndexError::new_err("the part is empty"))?;
        session.get().build(session, &graph, *first)
    }

    fn build_locked<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if let Some(value) = self.value.get() {
            return Ok(value.bind(py).clone());
        }
        let session = self.session.bind(py);
        let graph = load::decode(py, session.get().source.get())?;
        let value = session.get().build(session, &graph, self.node)?;
        Ok(self.value.get_or_init(|| value.unbind()).bind(py).clone())
    }
}

#[pymethods]
impl Session {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Whoever holds the lock uses the objects; the collector may well leave them alone this time.
        match self.shared.try_lock() {
            Ok(shared) => shared.kept.values().try_for_each(|object| visit.call(object)),
            Err(_) => Ok(()),
        }
    }

    fn __clear__(&self) {
        let kept = std::mem::take(&mut self.shared().kept);
        drop(kept);
    }
}

impl Session {
    pub(crate) fn new(source: &Bound<'_, Source>, trusted: Vec<String>) -> PyResult<Self> {
        let lock = Mutex::new(BuildLock::new(source.py())?);
        Ok(Session { source: source.clone().unbind(), trusted, shared: Mutex::default(), lock })
    }

    /// The lock of this process.
    fn build_lock<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let held = || self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = process::id();
        let inherited = held().pid != pid;
        if inherited {
            // Made before the mutex is taken: Python may let another thread run meanwhile.
            let new = BuildLock::new(py)?;
            *held() = new;
        }
        Ok(held().lock.bind(py).clone())
    }

    pub(crate) fn trusted(&self) -> &[String] {
        &self.trusted
    }

    pub(crate) fn source<'py>(&self, py: Python<'py>) -> Bound<'py, Source> {
        self.source.bind(py).clone()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Builds the object at `node`, with what exists of it already.
    pub(crate) fn build<'py>(
        &self,
        slf: &Bound<'py, Self>,
        graph: &Graph,
        node: NodeId,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let mut builder = Builder::new(slf, graph)?;
        {
            let shared = self.shared();
            for (id, object) in &shared.kept {
                builder.keep(*id, object.bind(py).clone());
            }
            for (id, part) in &shared.pending {
                if let Some(part) = part.bind(py).upgrade_as::<Part>()? {
                    builder.parts.insert(*id, part);
                }
            }
        }
        let value = builder.build(node)?;
        builder.parts.remove(&node);
        let kept = needed(graph, &builder);
        let pending =
            builder.parts.iter().map(|(id, part)| Ok((*id, PyWeakrefReference::new(part)?.unbind())));
        let new = Shared { kept, pending: pending.collect::<PyResult<_>>()? };
        let old = std::mem::replace(&mut *self.shared(), new);
        drop(old);
        Ok(value)
    }
}

/// The objects that exist and that building the remaining parts will meet.
fn needed(graph: &Graph, builder: &Builder<'_, '_>) -> FxHashMap<NodeId, Py<PyAny>> {
    let mut found = FxHashMap::default();
    if builder.parts.is_empty() {
        return found;
    }
    let mut seen = vec![false; graph.nodes.len()];
    let mut todo: Vec<NodeId> = builder.parts.keys().copied().collect();
    while let Some(id) = todo.pop() {
        match seen.get_mut(id.0 as usize) {
            Some(seen) if !*seen => *seen = true,
            _ => continue,
        }
        let node = graph.node(id);
        if !has_identity(node) {
            continue;
        }
        match builder.memo.get(id.0 as usize) {
            Some(Some(object)) => _ = found.insert(id, object.clone().unbind()),
            _ => todo.extend(node.children()),
        }
    }
    found
}

/// Whether it matters that two references lead to one object.
fn has_identity(node: &Node) -> bool {
    !matches!(
        node,
        Node::None
            | Node::Bool(_)
            | Node::Int(_)
            | Node::BigInt(_)
            | Node::Float(_)
            | Node::Str(_)
            | Node::Bytes(_)
            | Node::Name { .. }
            | Node::Scalar { .. }
            | Node::Dtype(_)
    )
}
