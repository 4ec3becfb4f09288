//! Objects: made by a call, then given items, pairs and state, as pickle does.
#![forbid(unsafe_code)]

use onecopy::{Blob, Graph, Make, Node, NodeId, Object};
use pyo3::exceptions::{PyException, PyImportError, PyMemoryError, PyOSError, PyWarning};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::build::class::SetState;
use crate::build::numpy;
use crate::build::{Builder, Frame, Part, Stage, child_of_pairs};
use crate::error::{self, Kind};
use crate::tree::{self, Member};

/// The key under which scikit-learn keeps its version in the state of an estimator.
const VERSION: &str = "_sklearn_version";

impl<'a, 'py> Builder<'a, 'py> {
    /// Does what ends a stage of `frame`; `false` if the object is complete.
    pub(super) fn next_stage(&mut self, frame: &mut Frame<'py>, object: &Object) -> PyResult<bool> {
        let id = frame.node;
        match frame.stage {
            Stage::Make => {
                // A cycle through the arguments has made it in the meantime.
                if self.is_built(id) {
                    return Ok(false);
                }
                self.nest(id, self.graph.items(object.args).unwrap_or_default())?;
                if self.special(object).is_some() {
                    frame.stage = Stage::State;
                    frame.next = 0;
                    return Ok(true);
                }
                if self.is_tree(object) {
                    tree::check_tree(self.py, &self.source, self.graph, id)?;
                }
                let made = self.make(object).map_err(|error| self.cannot(object, error))?;
                self.classes.of(&made)?;
                self.keep(id, made.clone());
                frame.made = Some(made);
                frame.stage = Stage::Items;
            }
            Stage::Items => {
                if !object.items.is_empty() {
                    let filled = self.extend(self.made(frame)?, &object.items);
                    filled.map_err(|error| self.cannot(object, error))?;
                }
                frame.stage = Stage::Pairs;
            }
            Stage::Pairs => {
                if !object.pairs.is_empty() {
                    let filled = self.set_items(self.made(frame)?, &object.pairs);
                    filled.map_err(|error| self.cannot(object, error))?;
                }
                frame.stage = Stage::State;
            }
            Stage::State if frame.made.is_none() => {
                let value = self.call_special(object).map_err(|error| self.cannot(object, error))?;
                self.keep(id, value);
                return Ok(false);
            }
            Stage::State => {
                let made = self.made(frame)?.clone();
                let class = self.classes.of(&made)?;
                if let Some(state) = object.state {
                    self.set_state(&made, class.set_state, state)
                        .map_err(|error| self.cannot(object, error))?;
                }
                if class.lazy.is_some() {
                    self.classes.attach(&made, Member::at_node(&self.source, id))?;
                }
                if let Some(check) = class.check {
                    self.checks.push((check, made));
                }
                return Ok(false);
            }
        }
        frame.next = 0;
        Ok(true)
    }

    /// What the state of an object leads to: a dict that only fills `__dict__` is not made.
    pub(super) fn child_of_state(&self, object: &Object, frame: &Frame<'py>) -> Option<NodeId> {
        let state = object.state?;
        match (self.graph.node(state), self.fills_dict(frame)) {
            (Node::Dict(pairs), true) => {
                let child = child_of_pairs(pairs, frame.next)?;
                let (key, value) = *pairs.get(frame.next / 2)?;
                // In place of a value that is not built now its key, which is.
                let later = child == value && self.is_lazy(frame.made.as_ref()?, key, value);
                Some(if later { key } else { child })
            }
            _ => (frame.next == 0).then_some(state),
        }
    }

    /// Whether an attribute's value is left to be built later.
    fn is_lazy(&self, made: &Bound<'py, PyAny>, key: NodeId, value: NodeId) -> bool {
        let lazy = self.classes.met(made).and_then(|class| class.lazy.as_deref());
        lazy.is_some()
            && lazy == self.graph.as_str(key)
            && matches!(self.graph.node(value), Node::List(_) | Node::ObjectArray { .. })
    }

    /// The value of an attribute, or the part that will build it.
    fn attribute_value(
        &mut self,
        made: &Bound<'py, PyAny>,
        key: NodeId,
        value: NodeId,
    ) -> PyResult<Bound<'py, PyAny>> {
        if self.is_built(value) || !self.is_lazy(made, key, value) {
            return self.value(value);
        }
        if let Some(part) = self.parts.get(&value) {
            return Ok(part.clone().into_any());
        }
        let part = Bound::new(self.py, Part::new(&self.session, value))?;
        self.parts.insert(value, part.clone());
        Ok(part.into_any())
    }

    fn fills_dict(&self, frame: &Frame<'py>) -> bool {
        frame.made.as_ref().is_some_and(|made| self.classes.is_plain(made))
    }

    fn made<'f>(&self, frame: &'f Frame<'py>) -> PyResult<&'f Bound<'py, PyAny>> {
        frame.made.as_ref().ok_or_else(|| self.refuse(frame.node, "was filled before it was made"))
    }

    fn make(&mut self, object: &Object) -> PyResult<Bound<'py, PyAny>> {
        if self.graph.name_at(object.callable).is_none() {
            return Err(self.refuse(object.callable, "is called, but is not the name of a class or function"));
        }
        let args = self.value(object.args)?.cast_into::<PyTuple>()?;
        let kwargs = match object.kwargs {
            Some(kwargs) => Some(self.value(kwargs)?.cast_into::<PyDict>()?),
            None => None,
        };
        let callable = self.value(object.callable)?;
        match object.make {
            Make::Call => callable.call(args, kwargs.as_ref()),
            Make::New => {
                let new = callable.getattr(intern!(self.py, "__new__"))?;
                let mut all = vec![self.classes.to_make(callable)?];
                all.extend(args.iter());
                new.call(PyTuple::new(self.py, all)?, kwargs.as_ref())
            }
        }
    }

    /// What stands in for the callable, if it is one of NumPy's own functions.
    pub(super) fn special(&self, object: &Object) -> Option<&'static str> {
        let (module, qualname) = self.graph.name_at(object.callable)?;
        numpy::special(module, qualname)
    }

    /// The stored bytes that an array is made of, if a call makes it so.
    fn buffer(&self, object: &Object) -> Option<&'a Blob> {
        let graph: &'a Graph = self.graph;
        let buffer = graph.items(object.args)?.first()?;
        match graph.node(*buffer) {
            Node::Bytes(blob) | Node::ByteArray(blob) => {
                (self.special(object) == Some(numpy::FROM_BUFFER)).then_some(blob)
            }
            _ => None,
        }
    }

    /// What the making of an object leads to. Bytes that become an array are not made.
    pub(super) fn child_of_make(&self, object: &Object, next: usize) -> Option<NodeId> {
        if self.buffer(object).is_some() {
            return self.graph.items(object.args)?.get(next + 1).copied();
        }
        [Some(object.callable), Some(object.args), object.kwargs].into_iter().flatten().nth(next)
    }

    fn call_special(&mut self, object: &Object) -> PyResult<Bound<'py, PyAny>> {
        let special = self.special(object).unwrap_or_default();
        if object.kwargs.is_some() || !object.items.is_empty() || !object.pairs.is_empty() {
            return Err(self.refuse(object.callable, "makes no object that is filled"));
        }
        let args = match self.buffer(object) {
            Some(blob) => {
                let mut args = vec![self.arrays.buffer(blob)?];
                args.extend(self.values(
                    self.graph.items(object.args).unwrap_or_default().get(1..).unwrap_or_default(),
                )?);
                PyTuple::new(self.py, args)?
            }
            None => self.value(object.args)?.cast_into::<PyTuple>()?,
        };
        let made = numpy::rebuild(self.py, special)?.call1(args)?;
        if !numpy::is_two_step(special) {
            return Ok(made);
        }
        let state = match object.state {
            Some(state) => self.value(state)?,
            None => self.py.None().into_bound(self.py),
        };
        made.call_method1(intern!(self.py, "finish"), (state,))
    }

    fn extend(&self, made: &Bound<'py, PyAny>, items: &[NodeId]) -> PyResult<()> {
        let values = self.values(items)?;
        if let Some(extend) = made.getattr_opt(intern!(self.py, "extend"))? {
            return extend.call1((values,)).map(drop);
        }
        let append = made.getattr(intern!(self.py, "append"))?;
        values.into_iter().try_for_each(|value| append.call1((value,)).map(drop))
    }

    fn set_items(&self, made: &Bound<'py, PyAny>, pairs: &[(NodeId, NodeId)]) -> PyResult<()> {
        self.guard_keys(pairs)?;
        pairs.iter().try_for_each(|(key, value)| made.set_item(self.value(*key)?, self.value(*value)?))
    }

    fn set_state(&mut self, made: &Bound<'py, PyAny>, how: SetState, state: NodeId) -> PyResult<()> {
        if let (Node::Dict(pairs), true) = (self.graph.node(state), how != SetState::Ask) {
            return self.fill_attributes(made, how, pairs, state);
        }
        let value = self.value(state)?;
        if let Some(check) = self.classes.of(made)?.check_state {
            check.call1((made, &value))?;
        }
        if let Some(set_state) = made.getattr_opt(intern!(self.py, "__setstate__"))? {
            return set_state.call1((value,)).map(drop);
        }
        let (attributes, slots) = match value.cast::<PyTuple>() {
            Ok(pair) if pair.len() == 2 => (pair.get_item(0)?, Some(pair.get_item(1)?)),
            _ => (value, None),
        };
        if attributes.is_truthy()? {
            let target = made.getattr(intern!(self.py, "__dict__"))?.cast_into::<PyDict>()?;
            for (key, value) in attributes.cast_into::<PyDict>()? {
                match key.cast::<PyString>() {
                    Ok(name) => target.set_item(PyString::intern(self.py, name.to_str()?), value)?,
                    Err(_) => target.set_item(key, value)?,
                }
            }
        }
        if let Some(slots) = slots
            && slots.is_truthy()?
        {
            for (name, value) in slots.cast_into::<PyDict>()? {
                made.setattr(name.cast_into::<PyString>()?, value)?;
            }
        }
        Ok(())
    }

    /// Puts the pairs of a state into `__dict__`, without making the dict in between.
    fn fill_attributes(
        &mut self,
        made: &Bound<'py, PyAny>,
        how: SetState,
        pairs: &[(NodeId, NodeId)],
        state: NodeId,
    ) -> PyResult<()> {
        let versioned = how == SetState::Estimator;
        if versioned && !self.is_current(state) {
            let dict = PyDict::new(self.py);
            self.guard_keys(pairs)?;
            for (key, value) in pairs {
                dict.set_item(self.value(*key)?, self.attribute_value(made, *key, *value)?)?;
            }
            return made.call_method1(intern!(self.py, "__setstate__"), (dict,)).map(drop);
        }
        if pairs.is_empty() {
            return Ok(());
        }
        self.guard_keys(pairs)?;
        let target = made.getattr(intern!(self.py, "__dict__"))?.cast_into::<PyDict>()?;
        for (key, value) in pairs {
            let value = self.attribute_value(made, *key, *value)?;
            match self.graph.as_str(*key) {
                Some(VERSION) if versioned => {}
                Some(name) => target.set_item(self.attribute(*key, name), value)?,
                None => target.set_item(self.value(*key)?, value)?,
            }
        }
        Ok(())
    }

    /// Whether the state of an estimator says that it comes from the scikit-learn that is installed.
    fn is_current(&self, state: NodeId) -> bool {
        let version = self.graph.dict_item(state, VERSION).and_then(|version| self.graph.as_str(version));
        version.is_some() && version == self.classes.sklearn_version()
    }

    /// The name of an attribute, the one object that all of Python uses for it.
    fn attribute(&mut self, id: NodeId, name: &str) -> Bound<'py, PyString> {
        let py = self.py;
        self.attributes.entry(id).or_insert_with(|| PyString::intern(py, name)).clone()
    }

    /// What stands for an exception of a constructor or `__setstate__`: the content does not fit the class.
    fn cannot(&self, object: &Object, error: PyErr) -> PyErr {
        let py = self.py;
        let own = error::is_own(py, &error);
        let passes = own
            || !error.is_instance_of::<PyException>(py)
            || error.is_instance_of::<PyImportError>(py)
            || error.is_instance_of::<PyMemoryError>(py)
            || error.is_instance_of::<PyOSError>(py)
            || error.is_instance_of::<PyWarning>(py);
        if passes {
            return error;
        }
        let name = self.graph.name_at(object.callable).map(|(module, name)| format!("{module}.{name}"));
        let what = name.unwrap_or_else(|| "an object".to_owned());
        let new = error::raise(py, Kind::Format, format!("cannot rebuild `{what}`: {error}"));
        new.set_cause(py, Some(error));
        new
    }
}
