//! What a training step needs to know of optimizers.

use super::{Constants, Formulas, Optimizer, Schedule, TableOptimizer, TableRule};

/// How a step changes the parameters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    /// Of the dense parameters.
    pub optimizer: Optimizer,
    /// Of the embedding tables that have none of their own.
    pub tables: TableRule,
    /// Tables' own, by number; tables behind the last have none.
    pub own: Vec<Option<TableRule>>,
    pub schedule: Schedule,
    /// The largest norm of all gradients that is let through as it is; none where they are not clipped.
    pub clip_norm: Option<f64>,
    /// What the step's random numbers come of.
    pub seed: u64,
}

impl From<Optimizer> for Rule {
    /// Tables move as the dense parameters do.
    fn from(optimizer: Optimizer) -> Self {
        Self { optimizer, tables: TableRule::Dense(optimizer), ..Self::default() }
    }
}

impl Rule {
    /// With another optimizer for the tables.
    #[must_use]
    pub fn with_tables(self, tables: TableOptimizer) -> Self {
        Self { tables: tables.into(), ..self }
    }

    /// Of a table by its number.
    pub fn table(&self, table: usize) -> TableRule {
        self.own.get(table).copied().flatten().unwrap_or(self.tables)
    }

    /// Whether a table moves at all; else no gradient of it is used.
    pub fn trains(&self, table: usize) -> bool {
        self.table(table).formula().is_some()
    }

    /// Whether rows outside the batch may move in one of so many tables.
    pub fn moves_others(&self, tables: usize) -> bool {
        (0..tables).any(|table| self.table(table).moves_others())
    }

    /// For so many tables.
    pub fn formulas(&self, tables: usize) -> Formulas {
        let tables = (0..tables).map(|table| self.table(table).formula());
        Formulas { dense: self.optimizer.formula(), tables: tables.collect() }
    }

    /// Whether these are its formulas.
    pub fn fits(&self, formulas: &Formulas) -> bool {
        let mut tables = formulas.tables.iter().enumerate();
        formulas.dense == self.optimizer.formula() && tables.all(|(t, own)| *own == self.table(t).formula())
    }

    /// What the dense parameters' step, counted from 1, computes with.
    pub fn dense_at(&self, step: u64) -> Constants {
        self.optimizer.at(step, self.schedule.factor(step))
    }

    /// What a table's step, counted from 1, computes with.
    pub fn table_at(&self, table: usize, step: u64) -> Constants {
        self.table(table).at(step, self.schedule.factor(step))
    }

    /// The learning rate of the dense parameters in a step counted from 1.
    pub fn learning_rate(&self, step: u64) -> f64 {
        self.optimizer.learning_rate() * self.schedule.factor(step)
    }
}
