//! What the builder needs to know about a class, asked once per class.
//!
//! An attribute that holds a whole ensemble is not what pickle would make of it: it is left to be built later.
#![forbid(unsafe_code)]

use std::rc::Rc;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};
use rustc_hash::FxHashMap;

use crate::source::Mode;
use crate::tree::Member;

/// How an instance takes its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SetState {
    /// There is no `__setstate__`.
    Dict,
    /// scikit-learn's, which compares versions and then fills the `__dict__`.
    Estimator,
    /// `__setstate__`, if the instance has one.
    Ask,
}

/// One class.
#[derive(Clone)]
pub(super) struct Class<'py> {
    pub(super) set_state: SetState,
    /// Looks at a state before an instance gets it.
    pub(super) check_state: Option<Bound<'py, PyAny>>,
    /// Looks at the content of a complete instance.
    pub(super) check: Option<Bound<'py, PyAny>>,
    /// The attribute that is left as a [`Part`](crate::build::Part).
    pub(super) lazy: Option<Rc<str>>,
}

/// The classes met so far, by address; the instances keep them alive.
pub(super) struct Classes<'py> {
    known: FxHashMap<usize, (Bound<'py, PyType>, Class<'py>)>,
    /// `STATES` and `check_of` of `onecopy._checks`.
    states: Bound<'py, PyDict>,
    check_of: Bound<'py, PyAny>,
    /// `onecopy._mapped`, unless everything shall be ordinary.
    mapped: Option<Bound<'py, PyModule>>,
    /// `sklearn.base.BaseEstimator` and the version, once scikit-learn is imported.
    estimator: Option<(Bound<'py, PyAny>, String)>,
}

impl<'py> Classes<'py> {
    pub(super) fn new(py: Python<'py>, mode: Mode) -> PyResult<Self> {
        let module = py.import("onecopy._checks")?;
        let mapped = match mode {
            Mode::Copy => None,
            Mode::Read | Mode::CopyOnWrite => Some(py.import("onecopy._mapped")?),
        };
        Ok(Classes {
            mapped,
            known: FxHashMap::default(),
            states: module.getattr("STATES")?.cast_into()?,
            check_of: module.getattr("check_of")?,
            estimator: None,
        })
    }

    /// The version of the scikit-learn that is installed.
    pub(super) fn sklearn_version(&self) -> Option<&str> {
        self.estimator.as_ref().map(|(_, version)| version.as_str())
    }

    pub(super) fn of(&mut self, object: &Bound<'py, PyAny>) -> PyResult<Class<'py>> {
        let class = object.get_type();
        let address = class.as_ptr() as usize;
        if let Some((_, known)) = self.known.get(&address) {
            return Ok(known.clone());
        }
        let name = (class.module()?, class.qualname()?);
        let check_state = self.states.get_item(&name)?;
        let check = self.check_of.call1((&class,))?;
        let check = (!check.is_none()).then_some(check);
        let set_state = if check_state.is_some() { SetState::Ask } else { self.set_state(&class)? };
        let lazy = self.lazy(&class)?;
        let new = Class { set_state, check_state, check, lazy };
        self.known.insert(address, (class, new.clone()));
        Ok(new)
    }

    /// The class to make an instance of: for an ensemble the one whose big attribute is built when someone looks.
    pub(super) fn to_make(&self, class: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let Some(mapped) = &self.mapped else { return Ok(class) };
        match class.cast::<PyType>() {
            Ok(known) if self.lazy(known)?.is_some() => mapped.call_method1("mapped_class", (class,)),
            _ => Ok(class),
        }
    }

    /// Tells a mapped ensemble what computes it.
    pub(super) fn attach(&self, made: &Bound<'py, PyAny>, member: Option<Member>) -> PyResult<()> {
        let Some(mapped) = &self.mapped else { return Ok(()) };
        mapped.call_method1("attach", (made, member)).map(drop)
    }

    fn lazy(&self, class: &Bound<'py, PyType>) -> PyResult<Option<Rc<str>>> {
        let Some(mapped) = &self.mapped else { return Ok(None) };
        let name: Option<String> =
            mapped.call_method1("lazy_attribute", (class.module()?, class.qualname()?, class))?.extract()?;
        Ok(name.map(Rc::from))
    }

    /// What is known of the class of `object`, which has been met.
    pub(super) fn met(&self, object: &Bound<'py, PyAny>) -> Option<&Class<'py>> {
        let address = object.get_type().as_ptr() as usize;
        self.known.get(&address).map(|(_, class)| class)
    }

    /// Whether instances of the class of `object`, which has been met, take a dict as their attributes.
    pub(super) fn is_plain(&self, object: &Bound<'py, PyAny>) -> bool {
        self.met(object).is_some_and(|class| class.set_state != SetState::Ask)
    }

    fn set_state(&mut self, class: &Bound<'py, PyType>) -> PyResult<SetState> {
        let py = class.py();
        let (set_state, get_attr) = (intern!(py, "__setstate__"), intern!(py, "__getattr__"));
        let plain = py.get_type::<PyAny>().getattr("__getattribute__")?;
        if class.hasattr(get_attr)? || !class.getattr("__getattribute__")?.is(&plain) {
            return Ok(SetState::Ask);
        }
        if !class.hasattr(set_state)? {
            return Ok(SetState::Dict);
        }
        if !self.is_estimators(class)? {
            return Ok(SetState::Ask);
        }
        // It compares versions in scikit-learn's own classes only.
        let own_class = class.module()?.to_str()?.starts_with("sklearn.");
        Ok(if own_class { SetState::Estimator } else { SetState::Dict })
    }

    /// Whether `__setstate__` of the class is that of `BaseEstimator`, with none behind it.
    fn is_estimators(&mut self, class: &Bound<'py, PyType>) -> PyResult<bool> {
        let py = class.py();
        if self.estimator.is_none() {
            let modules = py.import("sys")?.getattr("modules")?;
            if !modules.contains("sklearn.base")? {
                return Ok(false);
            }
            let base = py.import("sklearn.base")?.getattr("BaseEstimator")?;
            let version = py.import("sklearn")?.getattr("__version__")?.extract()?;
            self.estimator = Some((base, version));
        }
        let Some((base, _)) = &self.estimator else { return Ok(false) };
        let mut with = Vec::new();
        for class in class.getattr("__mro__")?.cast_into::<PyTuple>()? {
            if class.getattr("__dict__")?.contains(intern!(py, "__setstate__"))? {
                with.push(class);
            }
        }
        Ok(matches!(with.as_slice(), [only] if only.is(base)))
    }
}
