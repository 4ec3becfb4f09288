//! Answers: owned arrays with NumPy's dtype and shape.
#![forbid(unsafe_code)]

use ndarray::{ArrayViewD, IxDyn};

use crate::format::dtype::{Dtype, Element};
use crate::format::{ArrayInfo, Order};

/// What a method gave: one array, or one per output for `predict_proba` of a multi-output model.
#[derive(Clone, Debug)]
pub struct Output {
    /// In output order.
    pub arrays: Vec<OutputArray>,
}

/// One C-order array.
#[derive(Clone, Debug)]
pub struct OutputArray {
    info: ArrayInfo,
    data: Data,
}

#[derive(Clone, Debug)]
enum Data {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    /// `.1` bytes, in words so that every element type is aligned.
    Bytes(Vec<u64>, usize),
}

impl Output {
    pub(super) fn one(array: OutputArray) -> Self {
        Output { arrays: vec![array] }
    }
}

impl OutputArray {
    pub(super) fn f32(shape: &[usize], data: Vec<f32>) -> Self {
        OutputArray { info: info(Dtype::F32, shape), data: Data::F32(data) }
    }

    pub(super) fn f64(shape: &[usize], data: Vec<f64>) -> Self {
        OutputArray { info: info(Dtype::F64, shape), data: Data::F64(data) }
    }

    pub(super) fn i32(shape: &[usize], data: Vec<i32>) -> Self {
        OutputArray { info: info(Dtype::I32, shape), data: Data::I32(data) }
    }

    pub(super) fn i64(shape: &[usize], data: Vec<i64>) -> Self {
        OutputArray { info: info(Dtype::I64, shape), data: Data::I64(data) }
    }

    /// `labels[index]` for every index.
    pub(super) fn labels(
        shape: &[usize],
        dtype: Dtype,
        picks: impl ExactSizeIterator<Item = (usize, usize)>,
        labels: &[&[u8]],
    ) -> Self {
        let itemsize = dtype.itemsize() as usize;
        let len = picks.len() * itemsize;
        let mut words = vec![0u64; len.div_ceil(8)];
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
        for ((output, index), to) in picks.zip(bytes.chunks_exact_mut(itemsize)) {
            to.copy_from_slice(&labels[output][index * itemsize..][..itemsize]);
        }
        OutputArray { info: info(dtype, shape), data: Data::Bytes(words, len) }
    }

    /// The array of these bytes, whose number is what `info` calls for.
    #[cfg(feature = "serve")]
    pub(crate) fn from_bytes(info: ArrayInfo, from: &[u8]) -> Self {
        let mut words = vec![0u64; from.len().div_ceil(8)];
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
        bytes[..from.len()].copy_from_slice(from);
        OutputArray { info, data: Data::Bytes(words, from.len()) }
    }

    /// Number of elements.
    pub(super) fn len(&self) -> usize {
        self.bytes().len() / (self.info.dtype.itemsize() as usize).max(1)
    }

    /// Dtype, shape and order (always C).
    pub fn info(&self) -> &ArrayInfo {
        &self.info
    }

    /// The bytes, little-endian.
    pub fn bytes(&self) -> &[u8] {
        match &self.data {
            Data::F32(data) => bytemuck::cast_slice(data),
            Data::F64(data) => bytemuck::cast_slice(data),
            Data::I32(data) => bytemuck::cast_slice(data),
            Data::I64(data) => bytemuck::cast_slice(data),
            Data::Bytes(words, len) => &bytemuck::cast_slice(words)[..*len],
        }
    }

    /// The elements in C order; `None` if the dtype is not that of `T`.
    pub fn values<T: Element>(&self) -> Option<&[T]> {
        if self.info.dtype != T::dtype() {
            return None;
        }
        bytemuck::try_cast_slice(self.bytes()).ok()
    }

    /// An array view; `None` if the dtype is not that of `T`.
    pub fn view<T: Element>(&self) -> Option<ArrayViewD<'_, T>> {
        let shape: Vec<usize> =
            self.info.shape.iter().map(|&len| usize::try_from(len)).collect::<Result<_, _>>().ok()?;
        ArrayViewD::from_shape(IxDyn(&shape), self.values()?).ok()
    }
}

fn info(dtype: Dtype, shape: &[usize]) -> ArrayInfo {
    ArrayInfo { dtype, shape: shape.iter().map(|&len| len as u64).collect(), order: Order::C }
}
