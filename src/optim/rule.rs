//! What a training step needs to know of optimizers.

use super::{Constants, Formulas, Optimizer, Schedule, TableOptimizer, TableRule};

/// How a step changes the parameters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    /// Of the dense parameters.
    pub optimizer: Optimizer,
    /// Of the embedding tables.
    pub tables: TableRule,
    pub schedule: Schedule,
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

    /// For so many tables.
    pub fn formulas(&self, tables: usize) -> Formulas {
        Formulas { dense: self.optimizer.formula(), tables: vec![self.tables.formula(); tables] }
    }

    /// Whether these are its formulas.
    pub fn fits(&self, formulas: &Formulas) -> bool {
        let table = self.tables.formula();
        formulas.dense == self.optimizer.formula() && formulas.tables.iter().all(|own| *own == table)
    }

    /// What the dense parameters' step, counted from 1, computes with.
    pub fn dense_at(&self, step: u64) -> Constants {
        self.optimizer.at(step, self.schedule.factor(step))
    }

    /// What the tables' step, counted from 1, computes with.
    pub fn tables_at(&self, step: u64) -> Constants {
        self.tables.at(step, self.schedule.factor(step))
    }

    /// The learning rate of the dense parameters in a step counted from 1.
    pub fn learning_rate(&self, step: u64) -> f64 {
        self.optimizer.learning_rate() * self.schedule.factor(step)
    }
}
