//! Inner loops that the compiler does not make as fast as the processor allows. Each has a twin in safe code
//! that gives the same bits and takes over where the processor lacks the instructions.
// Not `forbid`, which would also bind the kernels; the crate denies unsafe code.

pub(super) mod compact;
