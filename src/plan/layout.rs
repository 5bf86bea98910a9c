//! Where each parameter lies in a flat block of floats.

use std::ops::Range;

use super::Rows;

/// The next multiple of four.
pub const fn pad4(n: usize) -> usize {
    n.next_multiple_of(4)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ParameterId(pub usize);

/// A matrix (or, with one row, a vector) inside a block. Each row starts at a multiple of four floats; the padding
/// behind a row is zero and stays zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    pub name: String,
    /// As files give it: `[rows, cols]`, or `[cols]` for a bias.
    pub shape: Vec<usize>,
    pub rows: usize,
    pub cols: usize,
    pub stride: usize,
    pub offset: usize,
}

impl Parameter {
    /// Floats that it takes in the block, padding included.
    pub fn len(&self) -> usize {
        self.rows * self.stride
    }

    pub fn is_empty(&self) -> bool {
        self.rows * self.cols == 0
    }

    /// Its rows; those of a vector are its elements.
    pub fn by_rows(&self) -> Rows {
        match self.shape.len() {
            1 => Rows { count: self.cols, cols: 1, stride: 1 },
            _ => Rows { count: self.rows, cols: self.cols, stride: self.stride },
        }
    }

    /// Where some of these lie in the block.
    pub fn floats(&self, rows: Range<usize>) -> Range<usize> {
        let own = self.by_rows().floats(rows);
        self.offset + own.start..self.offset + own.end
    }

    /// Its values in a block, row by row, without padding.
    pub fn unpack<T: Copy>(&self, block: &[T]) -> Vec<T> {
        self.row_ranges().flat_map(|range| block[range].iter().copied()).collect()
    }

    /// Writes values given row by row into the block.
    pub fn pack<T: Copy>(&self, values: &[T], block: &mut [T]) {
        for (range, row) in self.row_ranges().zip(values.chunks(self.cols.max(1))) {
            block[range].copy_from_slice(row);
        }
    }

    fn row_ranges(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (offset, stride, cols) = (self.offset, self.stride, self.cols);
        (0..self.rows).map(move |r| offset + r * stride..offset + r * stride + cols)
    }
}

/// The parameters of a block, one after another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    pub parameters: Vec<Parameter>,
    /// Floats in the block, padding included.
    pub len: usize,
}

impl Layout {
    pub fn push_matrix(&mut self, name: String, rows: usize, cols: usize) -> ParameterId {
        self.push(name, vec![rows, cols], rows, cols)
    }

    pub fn push_vector(&mut self, name: String, len: usize) -> ParameterId {
        self.push(name, vec![len], 1, len)
    }

    pub fn get(&self, id: ParameterId) -> &Parameter {
        &self.parameters[id.0]
    }

    fn push(&mut self, name: String, shape: Vec<usize>, rows: usize, cols: usize) -> ParameterId {
        let parameter = Parameter { name, shape, rows, cols, stride: pad4(cols), offset: self.len };
        self.len += parameter.len();
        self.parameters.push(parameter);
        ParameterId(self.parameters.len() - 1)
    }
}
