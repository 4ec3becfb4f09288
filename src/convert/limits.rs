//! How much a foreign file may ask for.
#![forbid(unsafe_code)]

use crate::convert::error::Problem;

/// How much work and memory a foreign file may ask of a converter.
///
/// Every limit counts the whole file. What goes beyond is refused with an error that names the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pickle opcodes executed.
    pub opcodes: u64,
    /// Containers inside containers.
    pub depth: u32,
    /// Objects remembered for later reference by a pickle.
    pub memo_entries: u64,
    /// Bytes held in memory: strings, numbers, containers, short arrays.
    pub held_bytes: u64,
    /// Bytes after decompression, and, counted for themselves, bytes of all arrays.
    pub decoded_bytes: u64,
}

impl Limits {
    /// For what this process pickled itself. Depth still ends where a writer of the graph would.
    pub(crate) const NONE: Limits = Limits {
        opcodes: u64::MAX,
        depth: 10_000,
        memo_entries: u64::MAX,
        held_bytes: u64::MAX,
        decoded_bytes: u64::MAX,
    };

    /// The usual limits for a source of `len_bytes` bytes: 2^30 opcodes, 10,000 levels, 2^27 memo entries, 4 GiB held in
    /// memory, and 1 GiB + 256 times the source decoded.
    pub fn for_source(len_bytes: u64) -> Self {
        Limits {
            opcodes: 1 << 30,
            depth: 10_000,
            memo_entries: 1 << 27,
            held_bytes: 4 << 30,
            decoded_bytes: len_bytes.saturating_mul(256).saturating_add(1 << 30),
        }
    }
}

/// What is left of the [`Limits`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    limits: Limits,
    opcodes: u64,
    memo: u64,
    held: u64,
    array_bytes: u64,
}

impl Budget {
    pub(crate) fn new(limits: Limits) -> Self {
        Budget { limits, opcodes: 0, memo: 0, held: 0, array_bytes: 0 }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn opcode(&mut self) -> Result<(), Problem> {
        spend(&mut self.opcodes, 1, self.limits.opcodes, "opcodes")
    }

    pub(crate) fn memo(&mut self) -> Result<(), Problem> {
        spend(&mut self.memo, 1, self.limits.memo_entries, "memo_entries")
    }

    pub(crate) fn hold(&mut self, bytes: u64) -> Result<(), Problem> {
        spend(&mut self.held, bytes, self.limits.held_bytes, "held_bytes")
    }

    pub(crate) fn array_bytes(&mut self, bytes: u64) -> Result<(), Problem> {
        spend(&mut self.array_bytes, bytes, self.limits.decoded_bytes, "decoded_bytes")
    }
}

fn spend(spent: &mut u64, amount: u64, limit: u64, name: &'static str) -> Result<(), Problem> {
    let total = spent.saturating_add(amount);
    if total > limit {
        return Err(Problem::Limit { name, limit, asked: total });
    }
    *spent = total;
    Ok(())
}
