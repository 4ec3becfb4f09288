//! The stack machine. Opcodes build nodes; whatever would import or call becomes a name or an object.
#![forbid(unsafe_code)]

mod objects;
mod scalars;

use std::ops::Range;

use crate::convert::error::{ConvertError, Fault, Problem};
use crate::convert::limits::Budget;
use crate::convert::pickle::memo::Memo;
use crate::convert::pickle::opcode::Opcode;
use crate::convert::pickle::values::Values;
use crate::convert::pickle::{finish, text};
use crate::convert::source::{ForeignArray, ReadAt};
use crate::convert::spill::Spill;
use crate::convert::window::Window;
use crate::format::{OnProgress, Progress};
use crate::model::graph::{Graph, Node, NodeId};
use crate::model::terms::NewTerms;

/// What a pickle held.
pub(crate) struct Outcome {
    pub(crate) graph: Graph,
    pub(crate) arrays: Vec<ForeignArray>,
    /// What was spilled behind the source.
    pub(crate) spilled: Option<std::fs::File>,
    /// The protocol that PROTO names; 0 if there is none.
    pub(crate) protocol: u8,
    /// Whether raw arrays lie between the opcodes.
    pub(crate) joblib: bool,
}

/// A pickle, and the buffers that were passed beside it.
#[derive(Clone, Copy)]
pub(crate) struct Stream<'a> {
    /// The opcodes, and the buffers behind them.
    pub(crate) source: &'a dyn ReadAt,
    /// Bytes of the opcodes.
    pub(crate) len: u64,
    /// Where the buffers are in `source`; `None` if it is a file, which has none.
    pub(crate) buffers: Option<&'a [Range<u64>]>,
}

/// The class that stands for a big dict passed beside the pickle; its argument is the number of the dict.
const STAND_IN: (&str, &str) = ("onecopy._onecopy", "Terms");

/// Reads the one pickle that `stream` is.
pub(crate) fn read<'a>(
    stream: Stream<'a>,
    terms: Vec<NewTerms>,
    budget: Budget,
    spill: Spill<'a>,
    progress: OnProgress<'_>,
) -> Result<Outcome, ConvertError> {
    let mut machine = Machine {
        window: Window::new(stream.source, stream.len),
        values: Values::new(stream.source, budget, spill),
        buffers: stream.buffers,
        used_buffers: 0,
        terms: terms.into_iter().map(Some).collect(),
        run: Run::default(),
        outer: None,
        joblib: false,
        dropped: None,
    };
    let root = machine.run(progress)?;
    let (offset, count) = (machine.window.offset(), machine.window.remaining());
    if count > 0 {
        return Err(ConvertError::TrailingBytes { offset, count });
    }
    let given = stream.buffers.map_or(0, <[_]>::len);
    if machine.used_buffers < given {
        return Err(ConvertError::UnusedBuffers { used: machine.used_buffers, given });
    }
    let Machine { mut values, run, joblib, .. } = machine;
    let (graph, arrays) = finish::finish(&mut values, root).map_err(|fault| fault.at_end(offset))?;
    Ok(Outcome { graph, arrays, spilled: values.spill.into_file(), protocol: run.protocol, joblib })
}

/// The state of one pickle stream.
#[derive(Default)]
struct Run {
    stack: Vec<NodeId>,
    /// Heights of the stack at the open marks.
    marks: Vec<usize>,
    memo: Memo,
    /// Where the current frame ends.
    frame_end: Option<u64>,
    protocol: u8,
    /// Whether an opcode has been read.
    started: bool,
}

pub(crate) struct Machine<'a> {
    pub(crate) window: Window<'a>,
    pub(crate) values: Values<'a>,
    buffers: Option<&'a [Range<u64>]>,
    used_buffers: usize,
    /// Dicts that were passed beside the pickle, until they are used.
    terms: Vec<Option<NewTerms>>,
    run: Run,
    /// The joblib stream around the pickle of an object array. Those do not nest further.
    outer: Option<Box<Run>>,
    pub(crate) joblib: bool,
    /// The name of a call whose result was just popped.
    dropped: Option<String>,
}

impl Machine<'_> {
    fn run(&mut self, progress: OnProgress<'_>) -> Result<NodeId, ConvertError> {
        let total = self.window.offset() + self.window.remaining();
        let mut count = 0u32;
        loop {
            let offset = self.window.offset();
            count = count.wrapping_add(1);
            if count.is_multiple_of(1 << 16) {
                progress(Progress { what: "reading", done_bytes: offset, total_bytes: total });
            }
            let byte = self.window.byte().map_err(|fault| fault.at(offset, Opcode::Stop))?;
            let Some(opcode) = Opcode::from_byte(byte) else {
                return Err(ConvertError::UnknownOpcode { offset, byte });
            };
            match self.checked_step(offset, opcode).map_err(|fault| fault.at(offset, opcode))? {
                Some(root) if self.outer.is_none() => {
                    progress(Progress { what: "reading", done_bytes: total, total_bytes: total });
                    return Ok(root);
                }
                Some(root) => self.end_nested(root),
                None => {}
            }
        }
    }

    fn checked_step(&mut self, offset: u64, opcode: Opcode) -> Result<Option<NodeId>, Fault> {
        self.values.budget.opcode()?;
        if let Some(callable) = self.dropped.take() {
            match opcode {
                // A pickler pops what it finds to be remembered already, and gets that instead.
                Opcode::Get | Opcode::BinGet | Opcode::LongBinGet => {}
                Opcode::Pop | Opcode::PopMark => self.dropped = Some(callable),
                _ => return Err(Problem::DroppedCall { callable }.into()),
            }
        }
        if self.run.frame_end == Some(offset) {
            self.run.frame_end = None;
        }
        let frame_end = self.run.frame_end;
        let first = !std::mem::replace(&mut self.run.started, true);
        if opcode == Opcode::Proto && !first {
            return Err(Problem::LateProto.into());
        }
        let root = self.step(opcode)?;
        if let Some(end) = frame_end
            && self.window.offset() > end
            && self.run.frame_end.is_some()
        {
            return Err(Problem::Frame { len: end - offset, why: "ends inside this opcode" }.into());
        }
        Ok(root)
    }

    fn step(&mut self, opcode: Opcode) -> Result<Option<NodeId>, Fault> {
        match opcode {
            Opcode::Stop => return self.stop().map(Some),
            Opcode::Proto => self.proto()?,
            Opcode::Frame => self.frame()?,
            Opcode::Mark => self.mark()?,
            Opcode::Pop => self.pop_any()?,
            Opcode::PopMark => self.pop_mark()?,
            Opcode::Dup => self.run.stack.push(self.top()?),
            Opcode::None => self.push(Node::None)?,
            Opcode::NewTrue => self.push(Node::Bool(true))?,
            Opcode::NewFalse => self.push(Node::Bool(false))?,
            Opcode::Int
            | Opcode::Long
            | Opcode::BinInt
            | Opcode::BinInt1
            | Opcode::BinInt2
            | Opcode::Long1
            | Opcode::Long4 => self.int(opcode)?,
            Opcode::Float => {
                let line = self.line()?;
                self.push(Node::Float(text::float_from_text(&line)?))?;
            }
            Opcode::BinFloat => {
                let bits = self.window.u64()?.swap_bytes();
                self.push(Node::Float(f64::from_bits(bits)))?;
            }
            Opcode::String | Opcode::BinString | Opcode::ShortBinString => self.python2_string(opcode)?,
            Opcode::Unicode => {
                let line = self.line()?;
                self.push(Node::Str(text::raw_unicode_escape(&line)?))?;
            }
            Opcode::ShortBinUnicode => {
                let len = u64::from(self.window.byte()?);
                self.unicode(len)?;
            }
            Opcode::BinUnicode => {
                let len = u64::from(self.window.u32()?);
                self.unicode(len)?;
            }
            Opcode::BinUnicode8 => {
                let len = self.window.u64()?;
                self.unicode(len)?;
            }
            Opcode::ShortBinBytes => {
                let len = u64::from(self.window.byte()?);
                self.bytes(len, Node::Bytes)?;
            }
            Opcode::BinBytes => {
                let len = u64::from(self.window.u32()?);
                self.bytes(len, Node::Bytes)?;
            }
            Opcode::BinBytes8 => {
                let len = self.window.u64()?;
                self.bytes(len, Node::Bytes)?;
            }
            Opcode::ByteArray8 => {
                let len = self.window.u64()?;
                self.bytes(len, Node::ByteArray)?;
            }
            Opcode::EmptyTuple => self.push(Node::Tuple(Vec::new()))?,
            Opcode::Tuple1 => self.tuple(1)?,
            Opcode::Tuple2 => self.tuple(2)?,
            Opcode::Tuple3 => self.tuple(3)?,
            Opcode::Tuple => self.container(Node::Tuple)?,
            Opcode::EmptyList => self.push(Node::List(Vec::new()))?,
            Opcode::List => self.container(Node::List)?,
            Opcode::EmptySet => self.push(Node::Set(Vec::new()))?,
            Opcode::FrozenSet => self.container(Node::FrozenSet)?,
            Opcode::EmptyDict => self.push(Node::Dict(Vec::new()))?,
            Opcode::Dict => {
                let pairs = pairs(&self.marked()?)?;
                self.push(Node::Dict(pairs))?;
            }
            Opcode::Append => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            Opcode::Appends => {
                let items = self.marked()?;
                self.append(&items)?;
            }
            Opcode::AddItems => {
                let items = self.marked()?;
                self.add_items(&items)?;
            }
            Opcode::SetItem => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set_items(&[key, value])?;
            }
            Opcode::SetItems => {
                let items = self.marked()?;
                self.set_items(&items)?;
            }
            Opcode::Put | Opcode::BinPut | Opcode::LongBinPut | Opcode::Memoize => self.put(opcode)?,
            Opcode::Get | Opcode::BinGet | Opcode::LongBinGet => self.get(opcode)?,
            Opcode::Global => self.global()?,
            Opcode::StackGlobal => self.stack_global()?,
            Opcode::Inst => self.inst()?,
            Opcode::Obj => self.obj()?,
            Opcode::NewObj => self.new_obj(false)?,
            Opcode::NewObjEx => self.new_obj(true)?,
            Opcode::Reduce => self.reduce()?,
            Opcode::Build => self.build()?,
            Opcode::NextBuffer => self.next_buffer()?,
            Opcode::ReadonlyBuffer => self.readonly_buffer()?,
            Opcode::PersId | Opcode::BinPersId | Opcode::Ext1 | Opcode::Ext2 | Opcode::Ext4 => {
                return Err(Problem::Refused { why: why_refused(opcode) }.into());
            }
        }
        Ok(None)
    }

    // Framing.

    fn proto(&mut self) -> Result<(), Fault> {
        let version = self.window.byte()?;
        if version > 5 {
            return Err(Problem::Protocol { found: version }.into());
        }
        self.run.protocol = version;
        Ok(())
    }

    fn frame(&mut self) -> Result<(), Fault> {
        let len = self.window.u64()?;
        if self.run.frame_end.is_some() {
            return Err(Problem::Frame { len, why: "begins inside another frame" }.into());
        }
        if len > self.window.remaining() {
            return Err(Problem::Frame { len, why: "reaches past the end; the file was cut short" }.into());
        }
        self.run.frame_end = (len > 0).then(|| self.window.offset() + len);
        Ok(())
    }

    fn stop(&mut self) -> Result<NodeId, Fault> {
        let root = self.pop()?;
        match self.run.stack.len() + self.run.marks.len() {
            0 => Ok(root),
            count => Err(Problem::StackLeft { count }.into()),
        }
    }

    // The stack.

    fn push(&mut self, node: Node) -> Result<(), Fault> {
        let id = self.values.add(node)?;
        self.run.stack.push(id);
        Ok(())
    }

    fn floor(&self) -> usize {
        self.run.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<NodeId, Problem> {
        let above = self.run.stack.len() > self.floor();
        self.run.stack.last().copied().filter(|_| above).ok_or(Problem::StackUnderflow)
    }

    fn pop(&mut self) -> Result<NodeId, Problem> {
        let top = self.top()?;
        self.run.stack.pop();
        Ok(top)
    }

    fn mark(&mut self) -> Result<(), Problem> {
        let depth = self.values.budget.limits().depth;
        let asked = self.run.marks.len() as u64 + 1;
        if asked > u64::from(depth) {
            return Err(Problem::Limit { name: "depth", limit: depth.into(), asked });
        }
        self.run.marks.push(self.run.stack.len());
        Ok(())
    }

    /// Everything above the last mark, which goes too.
    fn marked(&mut self) -> Result<Vec<NodeId>, Problem> {
        let mark = self.run.marks.pop().ok_or(Problem::NoMark)?;
        Ok(self.run.stack.split_off(mark.min(self.run.stack.len())))
    }

    fn pop_any(&mut self) -> Result<(), Problem> {
        if self.run.marks.last() == Some(&self.run.stack.len()) {
            self.run.marks.pop();
            return Ok(());
        }
        let id = self.pop()?;
        self.note_dropped(&[id]);
        Ok(())
    }

    fn pop_mark(&mut self) -> Result<(), Problem> {
        let items = self.marked()?;
        self.note_dropped(&items);
        Ok(())
    }

    fn note_dropped(&mut self, ids: &[NodeId]) {
        let callable = ids.iter().find_map(|id| match self.values.node(*id) {
            Node::Object(object) => Some(object.callable),
            _ => None,
        });
        if let Some(callable) = callable {
            self.dropped = Some(match self.values.name_at(callable) {
                Some((module, qualname)) => format!("{module}.{qualname}"),
                None => "an object".to_owned(),
            });
        }
    }

    // Containers.

    fn tuple(&mut self, count: usize) -> Result<(), Fault> {
        let at = self.run.stack.len().checked_sub(count).filter(|at| *at >= self.floor());
        let items = self.run.stack.split_off(at.ok_or(Problem::StackUnderflow)?);
        self.push(Node::Tuple(items))
    }

    fn container(&mut self, node: fn(Vec<NodeId>) -> Node) -> Result<(), Fault> {
        let items = self.marked()?;
        self.push(node(items))
    }

    fn append(&mut self, items: &[NodeId]) -> Result<(), Fault> {
        let target = self.top()?;
        self.values.budget.hold(4 * items.len() as u64)?;
        match self.values.node_mut(target) {
            Some(Node::List(list)) => list.extend_from_slice(items),
            Some(Node::Object(object)) => {
                if object.state.is_some() {
                    return Err(Problem::ObjectOrder { what: "an item", after: "a state" }.into());
                }
                if !object.pairs.is_empty() {
                    return Err(Problem::ObjectOrder { what: "an item", after: "a pair" }.into());
                }
                object.items.extend_from_slice(items);
            }
            _ => return Err(self.operand(target, "a list or an object").into()),
        }
        Ok(())
    }

    fn add_items(&mut self, items: &[NodeId]) -> Result<(), Fault> {
        let target = self.top()?;
        self.values.budget.hold(4 * items.len() as u64)?;
        match self.values.node_mut(target) {
            Some(Node::Set(set)) => set.extend_from_slice(items),
            _ => return Err(self.operand(target, "a set").into()),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[NodeId]) -> Result<(), Fault> {
        let pairs = pairs(items)?;
        let target = self.top()?;
        self.values.budget.hold(8 * pairs.len() as u64)?;
        if let Some(found) = pairs.iter().find_map(|(key, _)| finish::unhashable(self.values.node(*key))) {
            return Err(Problem::Unhashable { found, role: "a key" }.into());
        }
        match self.values.node_mut(target) {
            Some(Node::Dict(dict)) => dict.extend(pairs),
            Some(Node::Object(object)) => {
                if object.state.is_some() {
                    return Err(Problem::ObjectOrder { what: "a pair", after: "a state" }.into());
                }
                object.pairs.extend(pairs);
            }
            _ => return Err(self.operand(target, "a dict or an object").into()),
        }
        Ok(())
    }

    fn operand(&self, id: NodeId, expected: &'static str) -> Problem {
        Problem::Operand { expected, found: self.values.node(id).type_name() }
    }

    // The memo.

    fn put(&mut self, opcode: Opcode) -> Result<(), Fault> {
        let index = match opcode {
            Opcode::BinPut => Some(self.window.byte()?.into()),
            Opcode::LongBinPut => Some(self.window.u32()?.into()),
            Opcode::Put => Some(text::index_from_text(&self.line()?)?),
            _ => None,
        };
        self.values.budget.memo()?;
        let top = self.top()?;
        match index {
            Some(index) => self.run.memo.put(index, top),
            None => self.run.memo.push(top),
        }
        Ok(())
    }

    fn get(&mut self, opcode: Opcode) -> Result<(), Fault> {
        let index = match opcode {
            Opcode::BinGet => self.window.byte()?.into(),
            Opcode::LongBinGet => self.window.u32()?.into(),
            _ => text::index_from_text(&self.line()?)?,
        };
        let id = self.run.memo.get(index).ok_or(Problem::NoMemo { index })?;
        self.run.stack.push(id);
        Ok(())
    }

    fn end_nested(&mut self, root: NodeId) {
        if let Some(outer) = self.outer.take() {
            self.run = *outer;
            self.run.stack.push(root);
        }
    }
}

fn pairs(items: &[NodeId]) -> Result<Vec<(NodeId, NodeId)>, Problem> {
    let (pairs, rest) = items.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Problem::Operand { expected: "a value for every key", found: "a key without a value" });
    }
    Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
}

fn why_refused(opcode: Opcode) -> &'static str {
    match opcode {
        Opcode::PersId | Opcode::BinPersId => "it refers to an object kept outside the file",
        Opcode::Ext1 | Opcode::Ext2 | Opcode::Ext4 => {
            "it refers to the extension registry of the process that wrote the file"
        }
        _ => {
            "it refers to a buffer passed beside the pickle, but none was given; pickle without `buffer_callback`"
        }
    }
}

impl Fault {
    fn at(self, offset: u64, opcode: Opcode) -> ConvertError {
        match self {
            Fault::Read(source) => ConvertError::Read { offset, source },
            Fault::Spool(source) => ConvertError::Spool { source },
            Fault::Problem(problem) => ConvertError::Pickle { offset, opcode: opcode.name(), problem },
        }
    }

    fn at_end(self, offset: u64) -> ConvertError {
        match self {
            Fault::Problem(problem) => ConvertError::Finish { problem },
            other => other.at(offset, Opcode::Stop),
        }
    }
}
