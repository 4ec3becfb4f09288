//! Opcodes of numbers, texts, bytes and buffers.
#![forbid(unsafe_code)]

use crate::convert::error::{Fault, Problem};
use crate::convert::pickle::machine::{Machine, why_refused};
use crate::convert::pickle::opcode::Opcode;
use crate::convert::pickle::text;
use crate::convert::pickle::values::LONG;
use crate::model::graph::{Blob, Node};

impl Machine<'_> {
    pub(super) fn line(&mut self) -> Result<Vec<u8>, Fault> {
        let mut line = self.window.line(self.values.budget.limits().held_bytes)?;
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(line)
    }

    pub(super) fn int(&mut self, opcode: Opcode) -> Result<(), Fault> {
        let node = match opcode {
            Opcode::BinInt => Node::Int(self.window.i32()?.into()),
            Opcode::BinInt1 => Node::Int(self.window.byte()?.into()),
            Opcode::BinInt2 => Node::Int(self.window.u16()?.into()),
            Opcode::Long1 => {
                let len = u64::from(self.window.byte()?);
                text::int_from_le(&self.window.bytes(len)?)
            }
            Opcode::Long4 => {
                let len = i64::from(self.window.i32()?);
                let len = u64::try_from(len).map_err(|_| Problem::NegativeLength { found: len })?;
                self.values.budget.hold(len)?;
                text::int_from_le(&self.window.bytes(len)?)
            }
            _ => match (opcode, self.line()?.as_slice()) {
                (Opcode::Int, b"00") => Node::Bool(false),
                (Opcode::Int, b"01") => Node::Bool(true),
                (_, line) => text::int_from_decimal(line)?,
            },
        };
        self.push(node)
    }

    pub(super) fn python2_string(&mut self, opcode: Opcode) -> Result<(), Fault> {
        let bytes = match opcode {
            Opcode::String => {
                let line = self.line()?;
                text::quoted_string(&line)?
            }
            Opcode::ShortBinString => {
                let len = u64::from(self.window.byte()?);
                self.window.bytes(len)?
            }
            _ => {
                let len = i64::from(self.window.i32()?);
                let len = u64::try_from(len).map_err(|_| Problem::NegativeLength { found: len })?;
                self.values.budget.hold(len)?;
                self.window.bytes(len)?
            }
        };
        let node = match text::python2_string(bytes) {
            Ok(text) => Node::Str(text),
            Err(bytes) => Node::Bytes(self.values.blob(bytes)?),
        };
        self.push(node)
    }

    pub(super) fn unicode(&mut self, len: u64) -> Result<(), Fault> {
        if len >= LONG {
            let range = self.window.skip(len)?;
            let id = self.values.add_long_text(range)?;
            self.run.stack.push(id);
            return Ok(());
        }
        let bytes = self.window.bytes(len)?;
        self.push(Node::Str(text::utf8(bytes)?))
    }

    pub(super) fn bytes(&mut self, len: u64, node: fn(Blob) -> Node) -> Result<(), Fault> {
        let blob = if len >= LONG {
            let range = self.window.skip(len)?;
            self.values.blob_in_source(range)?
        } else {
            Blob::Inline(self.window.bytes(len)?.into())
        };
        self.push(node(blob))
    }

    /// A buffer becomes what it would be without a `buffer_callback`: a `bytearray`.
    pub(super) fn next_buffer(&mut self) -> Result<(), Fault> {
        let Some(buffers) = self.buffers else {
            return Err(Problem::Refused { why: why_refused(Opcode::NextBuffer) }.into());
        };
        let given = buffers.len();
        let range = buffers.get(self.used_buffers).cloned().ok_or(Problem::NoBuffer { given })?;
        self.used_buffers += 1;
        let blob = self.values.blob_at(range)?;
        self.push(Node::ByteArray(blob))
    }

    /// The buffer just read is `bytes`, not `bytearray`.
    pub(super) fn readonly_buffer(&mut self) -> Result<(), Fault> {
        if self.buffers.is_none() {
            return Err(Problem::Refused { why: why_refused(Opcode::ReadonlyBuffer) }.into());
        }
        let top = self.pop()?;
        match self.values.node(top) {
            Node::Bytes(blob) | Node::ByteArray(blob) => {
                let node = Node::Bytes(blob.clone());
                self.push(node)
            }
            _ => Err(self.operand(top, "a buffer").into()),
        }
    }
}
