//! Opcodes of names, and of objects that would be made by calling them.
#![forbid(unsafe_code)]

use crate::convert::error::{Fault, Problem};
use crate::convert::joblib;
use crate::convert::pickle::machine::{Machine, STAND_IN};
use crate::convert::pickle::{numpy, python, text};
use crate::model::graph::{Make, Node, NodeId};

impl Machine<'_> {
    pub(super) fn name_line(&mut self) -> Result<Box<str>, Fault> {
        let line = self.line()?;
        Ok(text::utf8(line)?)
    }

    pub(super) fn global(&mut self) -> Result<(), Fault> {
        let module = self.name_line()?;
        let qualname = self.name_line()?;
        self.push(Node::Name { module, qualname })
    }

    pub(super) fn stack_global(&mut self) -> Result<(), Fault> {
        let (qualname, module) = (self.pop()?, self.pop()?);
        match (self.values.str_at(module), self.values.str_at(qualname)) {
            (Some(module), Some(qualname)) => {
                let node = Node::Name { module: module.into(), qualname: qualname.into() };
                self.push(node)
            }
            (None, _) => Err(self.operand(module, "a str that names a module").into()),
            _ => Err(self.operand(qualname, "a str that names a class or function").into()),
        }
    }

    pub(super) fn inst(&mut self) -> Result<(), Fault> {
        let module = self.name_line()?;
        let qualname = self.name_line()?;
        let args = self.marked()?;
        let class = self.values.add(Node::Name { module, qualname })?;
        self.instantiate(class, args)
    }

    pub(super) fn obj(&mut self) -> Result<(), Fault> {
        let mut items = self.marked()?.into_iter();
        let class = items.next().ok_or(Problem::StackUnderflow)?;
        self.callable(class)?;
        self.instantiate(class, items.collect())
    }

    /// As INST and OBJ: without arguments, `__init__` is not called.
    pub(super) fn instantiate(&mut self, class: NodeId, args: Vec<NodeId>) -> Result<(), Fault> {
        let make = if args.is_empty() { Make::New } else { Make::Call };
        let args = self.values.add(Node::Tuple(args))?;
        self.push(python::object(make, class, args))
    }

    pub(super) fn callable(&self, id: NodeId) -> Result<(), Problem> {
        match self.values.node(id) {
            Node::Name { .. } | Node::Object(_) => Ok(()),
            _ => Err(self.operand(id, "a name to call")),
        }
    }

    pub(super) fn args(&self, id: NodeId) -> Result<Vec<NodeId>, Problem> {
        let args = self.values.tuple_at(id).ok_or_else(|| self.operand(id, "a tuple of arguments"))?;
        // Idioms have few arguments; what has more is no idiom and needs no copy.
        Ok(args.get(..8.min(args.len())).unwrap_or(args).to_vec())
    }

    pub(super) fn new_obj(&mut self, with_kwargs: bool) -> Result<(), Fault> {
        let kwargs = if with_kwargs { Some(self.pop()?) } else { None };
        let (args, class) = (self.pop()?, self.pop()?);
        self.callable(class)?;
        self.args(args)?;
        let mut node = python::object(Make::New, class, args);
        if let (Some(kwargs), Node::Object(object)) = (kwargs, &mut node) {
            self.check_kwargs(kwargs)?;
            object.kwargs = Some(kwargs);
        }
        self.push(node)
    }

    pub(super) fn check_kwargs(&self, id: NodeId) -> Result<(), Problem> {
        match self.values.node(id) {
            Node::Dict(pairs) if pairs.iter().all(|(key, _)| self.values.str_at(*key).is_some()) => Ok(()),
            _ => Err(self.operand(id, "a dict with str keys")),
        }
    }

    pub(super) fn reduce(&mut self) -> Result<(), Fault> {
        let (args_id, callable) = (self.pop()?, self.pop()?);
        self.callable(callable)?;
        let args = self.args(args_id)?;
        let name = self.values.name_at(callable).map(|(module, name)| (module.to_owned(), name.to_owned()));
        if let Some((module, qualname)) = &name {
            let name = (module.as_str(), qualname.as_str());
            if name == STAND_IN && self.buffers.is_some() {
                return self.terms(&args);
            }
            if let Some(node) = numpy::call(&mut self.values, name, &args)? {
                return self.push(node);
            }
            if let Some(node) = python::call(&mut self.values, name, &args)? {
                return self.push(node);
            }
        }
        self.push(python::object(Make::Call, callable, args_id))
    }

    pub(super) fn terms(&mut self, args: &[NodeId]) -> Result<(), Fault> {
        let number = args.first().and_then(|id| usize::try_from(self.values.int_at(*id)?).ok());
        let new = number.filter(|_| args.len() == 1).and_then(|number| self.terms.get_mut(number)?.take());
        let expected = "the number of a dict passed beside the pickle, once";
        let new = new.ok_or(Problem::Operand { expected, found: "something else" })?;
        let node = self.values.terms_node(new)?;
        self.push(node)
    }

    pub(super) fn build(&mut self) -> Result<(), Fault> {
        let state = self.pop()?;
        let target = self.top()?;
        let Node::Object(object) = self.values.node(target) else {
            return Err(self.operand(target, "an object").into());
        };
        if object.state.is_some() {
            return Err(Problem::ObjectOrder { what: "a state", after: "a state" }.into());
        }
        if object.items.is_empty() && object.pairs.is_empty() {
            let object = object.clone();
            if let Some(node) = numpy::build(&mut self.values, &object, state)? {
                self.values.replace(target, node);
                return Ok(());
            }
            if self.outer.is_none() && joblib::is_wrapper(&self.values, &object)? {
                return self.joblib_array(state);
            }
            joblib::refuse_companion(&self.values, &object, state)?;
        }
        if let Some(Node::Object(object)) = self.values.node_mut(target) {
            object.state = Some(state);
        }
        Ok(())
    }

    /// A wrapper lies on the stack; its array's bytes, or the pickle of its objects, follow in the stream.
    pub(super) fn joblib_array(&mut self, state: NodeId) -> Result<(), Fault> {
        self.joblib = true;
        let wrapper = joblib::Wrapper::from_state(&self.values, state)?;
        if self.run.frame_end.is_some_and(|end| end != self.window.offset()) {
            return Err(
                Problem::Frame { len: 0, why: "goes on where the bytes of an array should be" }.into()
            );
        }
        self.run.frame_end = None;
        self.pop()?;
        if wrapper.holds_objects {
            self.outer = Some(Box::new(std::mem::take(&mut self.run)));
            return Ok(());
        }
        let node = wrapper.read_raw(&mut self.window, &mut self.values)?;
        self.push(node)
    }
}
