//! Ensembles that the engine computes as a whole.
#![forbid(unsafe_code)]

use onecopy::{Head, Method, NodeId, Op, Trees};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::model::view;
use crate::run::run;
use crate::source::Source;

/// A member of the plan: an ensemble of the saved object with an operation of the engine.
#[pyclass(frozen, module = "onecopy._onecopy")]
pub(crate) struct Member {
    source: Py<Source>,
    member: u32,
}

impl Member {
    /// The member that is the ensemble at `node` of the graph.
    pub(crate) fn at_node(source: &Bound<'_, Source>, node: NodeId) -> Option<Member> {
        let members = source.get().model().plan().members();
        let member = members.binary_search_by_key(&node.0, |member| member.node).ok()?;
        Some(Member { source: source.clone().unbind(), member: u32::try_from(member).ok()? })
    }
}

#[pymethods]
impl Member {
    /// The answer of `method` for rows that scikit-learn has validated.
    #[pyo3(signature = (method, x, threads = None))]
    fn run<'py>(
        &self,
        py: Python<'py>,
        method: &str,
        x: &Bound<'py, PyAny>,
        threads: Option<usize>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let unknown = || PyValueError::new_err(format!("there is no method {method:?}"));
        let method = Method::from_name(method).ok_or_else(unknown)?;
        run(py, self.source.bind(py), Some(self.member), method, x, threads)
    }

    /// The raw scores of boosted trees before the first tree, as a read-only array; `None` of others.
    #[getter]
    fn start<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let source = self.source.bind(py);
        let plan = source.get().model().plan();
        let op =
            plan.members().get(self.member as usize).and_then(|member| plan.ops().get(member.op as usize));
        match op {
            Some(Op::Trees(Trees { head: Head::Boosted(boosted), .. })) => {
                view(source, boosted.start).map(Some)
            }
            _ => Ok(None),
        }
    }
}
