//! Rows of a CSR matrix, and of either kind of input one after another.
#![forbid(unsafe_code)]

use ndarray::ArrayView2;

use crate::engine::columns::{TreeInput, TreeInputError};

/// A CSR matrix of `float32` whose indices have been checked.
#[derive(Clone, Copy, Debug)]
pub struct Csr<'a> {
    data: &'a [f32],
    indices: &'a [i32],
    indptr: &'a [i32],
    n_columns: usize,
}

impl<'a> Csr<'a> {
    /// The matrix of SciPy's three arrays.
    ///
    /// # Errors
    ///
    /// [`TreeInputError::Csr`] if an index leads out of the arrays or the matrix.
    pub fn new(
        data: &'a [f32],
        indices: &'a [i32],
        indptr: &'a [i32],
        n_columns: usize,
    ) -> Result<Self, TreeInputError> {
        let wrong = |problem| Err(TreeInputError::Csr { problem });
        if indptr.first().is_none_or(|first| *first < 0) || !indptr.is_sorted() {
            return wrong("`indptr` does not ascend from 0 or more");
        }
        let stored = data.len().min(indices.len());
        if indptr.last().is_some_and(|last| *last as usize > stored) {
            return wrong("`indptr` goes beyond `indices` or `data`");
        }
        if indices.iter().any(|index| usize::try_from(*index).is_ok_and(|index| index < n_columns).eq(&false))
        {
            return wrong("an index is not one of its columns");
        }
        Ok(Csr { data, indices, indptr, n_columns })
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.indptr.len() - 1
    }

    /// Number of columns.
    pub fn n_columns(&self) -> usize {
        self.n_columns
    }

    /// The stored elements of a row.
    fn row(&self, row: usize) -> (&'a [i32], &'a [f32]) {
        let range = self.indptr[row] as usize..self.indptr[row + 1] as usize;
        (&self.indices[range.clone()], &self.data[range])
    }
}

/// One row after another.
pub(super) enum Rows<'a> {
    /// A row of a matrix.
    Dense { x: ArrayView2<'a, f32>, row: usize },
    /// A row of a CSR matrix, spread out; zeros elsewhere.
    Spread { x: Csr<'a>, row: Option<usize>, values: Vec<f32> },
}

impl<'a> Rows<'a> {
    pub(super) fn new(x: &TreeInput<'a>) -> Self {
        match *x {
            TreeInput::Dense(x) => Rows::Dense { x, row: 0 },
            TreeInput::Csr(x) => Rows::Spread { x, row: None, values: vec![0.0; x.n_columns] },
        }
    }

    pub(super) fn go_to(&mut self, next: usize) {
        match self {
            Rows::Dense { row, .. } => *row = next,
            Rows::Spread { x, row, values } => {
                let before = row.map_or(&[][..], |row| x.row(row).0);
                before.iter().for_each(|column| values[*column as usize] = 0.0);
                let (indices, data) = x.row(next);
                // Of an index that is there twice the last counts, as in scikit-learn.
                indices.iter().zip(data).for_each(|(column, value)| values[*column as usize] = *value);
                *row = Some(next);
            }
        }
    }

    #[inline(always)]
    pub(super) fn value(&self, column: usize) -> f32 {
        match self {
            Rows::Dense { x, row } => x[[*row, column]],
            Rows::Spread { values, .. } => values[column],
        }
    }

    /// Whether `missing_go_to_left` counts: in CSR input NaN goes right.
    #[inline(always)]
    pub(super) fn may_miss(&self) -> bool {
        matches!(self, Rows::Dense { .. })
    }
}
