//! Matrix products of numbers with bounds: most of what a case's reference computes.

use super::bounded::Bounded;
use crate::reference::Product;

/// Values and errors of a matrix, apart: an element's error is computed once, not once for each product that it is in.
struct Parts {
    values: Vec<f64>,
    errors: Vec<f64>,
}

impl Parts {
    fn of(elements: impl Iterator<Item = Bounded>) -> Self {
        let (values, errors) = elements.map(Bounded::value_and_error).unzip();
        Self { values, errors }
    }

    fn row(&self, row: usize, width: usize) -> (&[f64], &[f64]) {
        let own = row * width..(row + 1) * width;
        (&self.values[own.clone()], &self.errors[own])
    }
}

/// Sums of products along a row, in the order in which they come.
struct Sums {
    values: Vec<f64>,
    inherited: Vec<f64>,
    masses: Vec<f64>,
}

impl Sums {
    fn clear(&mut self) {
        [&mut self.values, &mut self.inherited, &mut self.masses].into_iter().for_each(|sums| sums.fill(0.0));
    }

    /// Adds a number's product with each of a row.
    fn add(&mut self, (a, a_error): (f64, f64), (b, b_errors): (&[f64], &[f64])) {
        let sums = self.values.iter_mut().zip(&mut self.inherited).zip(&mut self.masses);
        for (((value, inherited), mass), (&b, &b_error)) in sums.zip(b.iter().zip(b_errors)) {
            let (product, error) = Bounded::product((a, a_error), (b, b_error));
            *value += product;
            *inherited += error;
            *mass += product.abs() + error;
        }
    }
}

/// Computes a product with the very numbers that the definition gives.
///
/// # Safety
/// Every element that the product's sizes and strides reach is valid, and `c` overlaps neither `a` nor `b`.
pub unsafe fn multiply(p: &Product<Bounded>) {
    // SAFETY: as the caller says.
    let at_b = |at: usize| unsafe { *p.b.add(at / p.columns * p.b_stride + at % p.columns) };
    let b = Parts::of((0..p.depth * p.columns).map(at_b));
    let is_known = b.values.iter().all(|value| value.is_finite()) && !b.errors.iter().any(|error| error.is_nan());
    let zeros = || vec![0.0; p.columns];
    let mut sums = Sums { values: zeros(), inherited: zeros(), masses: zeros() };
    for row in 0..p.rows {
        sums.clear();
        for k in 0..p.depth {
            // SAFETY: as the caller says.
            let a = unsafe { *p.a.add(row * p.a_strides.0 + k * p.a_strides.1) }.value_and_error();
            // Nothing comes of a zero, but that it is one number more.
            if a != (0.0, 0.0) || !is_known {
                sums.add(a, b.row(k, p.columns));
            }
        }
        for column in 0..p.columns {
            // SAFETY: as the caller says.
            let c = unsafe { &mut *p.c.add(row * p.c_stride + column) };
            let before = if p.add { *c } else { Bounded::default() };
            *c = before + Bounded::summed(sums.values[column], sums.inherited[column], sums.masses[column], p.depth);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conform::Class;
    use crate::conform::scene::Draw;
    use crate::reference::{Real, plain};

    /// Numbers of all kinds: zeros, sums with errors, and now and then what is not finite.
    fn matrix(draw: &mut Draw, elements: usize) -> Vec<Bounded> {
        let number = |draw: &mut Draw| match draw.one_of(&[0, 1, 2, 3, 4, 5, 6, 7]) {
            0 => Bounded::ZERO,
            1 => Bounded::exact(draw.one_of(&[f32::INFINITY, f32::NAN, 1e38, 0.0])),
            2 => Bounded::exact(draw.number()) / Bounded::exact(3.0),
            3 => [0, 1, 2].map(|_| Bounded::exact(draw.number())).into_iter().sum(),
            _ => Bounded::exact(draw.number()),
        };
        (0..elements).map(|_| number(draw)).collect()
    }

    #[test]
    fn a_product_has_the_numbers_of_its_definition() {
        for (number, class) in [Class::Normal, Class::Tiny, Class::Huge].into_iter().enumerate() {
            let mut draw = Draw::new(number as u64, class);
            let (rows, columns, depth) = (5, 7, 9);
            let (a, b) = (matrix(&mut draw, rows * depth), matrix(&mut draw, depth * columns));
            let before = matrix(&mut draw, rows * columns);
            for add in [false, true] {
                let run = |multiply: unsafe fn(&Product<Bounded>)| {
                    let mut c = before.clone();
                    let (a, a_strides, b, b_stride) = (a.as_ptr(), (depth, 1), b.as_ptr(), columns);
                    let (c_stride, next) = (columns, [std::ptr::from_ref(&[][..]); 2]);
                    let c_pointer = c.as_mut_ptr();
                    let product =
                        Product { rows, columns, depth, a, a_strides, b, b_stride, c: c_pointer, c_stride, add, next };
                    // SAFETY: the matrices have these sizes, and are apart.
                    unsafe { multiply(&product) };
                    c.iter().map(|x| format!("{:?} {x:?}", x.value_and_error())).collect::<Vec<_>>()
                };
                assert_eq!(run(super::multiply), run(plain::<Bounded>));
            }
        }
    }
}
