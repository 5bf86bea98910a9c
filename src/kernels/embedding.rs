//! `shaders/embedding.wgsl`: gathering table rows and fields, and updating the table rows that a batch touches.

use super::{Constants, Kernel, NONE, Place, Workgroups, grid, plain, shader_struct};
use crate::optim::{Formula, Formulas};
use crate::plan::{Field as PlanField, Parameter, Plan, Pooling, pad4};

shader_struct! {
    pub struct Column {
        pub kind: u32,
        pub field: u32,
        pub component: u32,
    }
}

shader_struct! {
    pub struct Field {
        pub column: u32,
        pub dim: u32,
        pub pooling: u32,
    }
}

shader_struct! {
    pub struct Shard {
        pub start: u32,
        pub length: u32,
        pub segments: u32,
        pub segment_end: u32,
        pub optimizer: Constants,
    }
}

/// Rows that are fetched together: a vec4 of each, then the next.
const TOGETHER: u32 = 8;

const DENSE: u32 = 0;
const BAG: u32 = 1;

const SUM: u32 = 0;
const MEAN: u32 = 1;
const WEIGHTED: u32 = 2;
const MAX: u32 = 3;

/// One per column of the input slot, padding included.
pub fn columns(place: Place) -> Vec<Column> {
    let (mut dense, mut bags) = (0, 0);
    let mut columns = Vec::new();
    for field in &place.plan.input.fields {
        match field {
            PlanField::Dense { .. } => {
                columns.push(Column { kind: DENSE, field: dense, component: 0 });
                dense += 1;
            }
            PlanField::Bag { table, .. } => {
                let dim = place.plan.input.tables[*table].dim as u32;
                columns.extend((0..dim).map(|component| Column { kind: BAG, field: bags, component }));
                bags += 1;
            }
        }
    }
    columns.resize(pad4(columns.len()), Column { kind: NONE, field: NONE, component: 0 });
    columns
}

/// One per bag field.
pub fn fields(place: Place) -> Vec<Field> {
    let field = |(column, table, pooling): (usize, usize, Pooling)| Field {
        column: column as u32,
        dim: place.plan.input.tables[table].dim as u32,
        pooling: match pooling {
            Pooling::Sum => SUM,
            Pooling::Mean => MEAN,
            Pooling::Weighted => WEIGHTED,
            Pooling::Max => MAX,
        },
    };
    place.plan.input.bag_fields().into_iter().map(field).collect()
}

/// Values of the shader's override constants, by [`has_max`].
pub fn overrides(has_max: bool) -> [(&'static str, f64); 1] {
    [("has_max", f64::from(u8::from(has_max)))]
}

/// Whether a field is pooled by its largest components.
pub fn has_max(plan: &Plan) -> bool {
    plan.input.bag_fields().iter().any(|(_, _, pooling)| *pooling == Pooling::Max)
}

/// An invocation per vec4 of the input slot.
pub fn forward_workgroups(place: Place, rows: usize, group: u32) -> Workgroups {
    grid(rows * place.stride(place.plan.input_slot) as usize, group)
}

/// vec4s of the widest table's vectors.
pub fn widest(plan: &Plan) -> usize {
    let widest = plan.input.tables.iter().map(|t| t.dim).max();
    pad4(widest.unwrap_or(0)) / 4
}

/// The kernel of a formula over the batch's rows.
pub fn update_kernel(formula: Formula) -> Kernel {
    plain(match formula {
        Formula::Adam => "embedding_adam",
        Formula::Adagrad => "embedding_adagrad",
        Formula::Momentum => "embedding_momentum",
        Formula::Sgd => "embedding_sgd",
        Formula::RowwiseAdagrad => "embedding_rowwise_adagrad",
    })
}

/// The kernel of a formula of [`Formula::DENSE`] over the other rows.
///
/// # Panics
/// If it never moves those: a slip in this crate.
pub fn others_kernel(formula: Formula) -> Kernel {
    plain(match formula {
        Formula::Adam => "embedding_adam_others",
        Formula::Adagrad => "embedding_adagrad_others",
        Formula::Momentum => "embedding_momentum_others",
        Formula::Sgd => "embedding_sgd_others",
        Formula::RowwiseAdagrad => unreachable!("row-wise Adagrad moves the batch's rows"),
    })
}

/// Floats of the compact block of so many table rows, `[segments, widest]` vec4s.
pub fn compact_floats(plan: &Plan, segments: usize) -> usize {
    segments * widest(plan) * 4
}

/// Floats of a batch's rows of tables on the host, with the optimizer's state of each: as many as if all of its segments
/// were of the one with the largest rows.
pub fn host_floats(plan: &Plan, formulas: &Formulas, segments: usize) -> usize {
    let of_row = |(table, p): (usize, &Parameter)| {
        let formula = formulas.tables[table];
        let state = formula.map_or(0, |f| f.state().len() * if f.is_by_row() { 1 } else { p.stride });
        if plan.is_on_host(table) { p.stride + state } else { 0 }
    };
    segments * plan.embedding.parameters.iter().enumerate().map(of_row).max().unwrap_or(0)
}

impl Shard {
    /// An invocation per segment of the batch in the shard and vec4 of the widest table's vectors; of whole groups of segments
    /// that are fetched together.
    pub fn segment_workgroups(&self, plan: &Plan, group: u32) -> Workgroups {
        grid((self.segment_end - self.segments).next_multiple_of(TOGETHER) as usize * widest(plan), group)
    }

    /// An invocation per segment of the batch in the shard.
    pub fn row_workgroups(&self, group: u32) -> Workgroups {
        grid((self.segment_end - self.segments) as usize, group)
    }

    /// An invocation per vec4 of the shard.
    pub fn whole_workgroups(&self, group: u32) -> Workgroups {
        grid(self.length as usize, group)
    }
}
