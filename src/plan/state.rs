//! All that training goes on from, tensor by tensor: the parameters, and what the optimizer keeps beside each.

use super::{Parameter, Plan};

/// A parameter itself, or what the optimizer keeps of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    Value,
    /// Adam's first moment, or the momentum.
    First,
    /// Adam's second moment.
    Second,
}

/// The block that a parameter lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    Dense,
    Embedding,
}

/// A tensor of the state, of its parameter's shape.
#[derive(Clone, Copy, Debug)]
pub struct StateTensor<'a> {
    pub slot: Slot,
    pub block: Block,
    pub parameter: &'a Parameter,
}

impl Slot {
    const ALL: [Self; 3] = [Self::Value, Self::First, Self::Second];

    /// What stands before the parameter's name.
    fn prefix(self) -> &'static str {
        match self {
            Self::Value => "",
            Self::First => "optimizer.first.",
            Self::Second => "optimizer.second.",
        }
    }
}

impl StateTensor<'_> {
    /// The parameter's name; with `optimizer.first.` or `optimizer.second.` before it for the optimizer's part.
    pub fn name(&self) -> String {
        format!("{}{}", self.slot.prefix(), self.parameter.name)
    }
}

impl Plan {
    /// Every tensor of the state: the parameters as [`Plan::parameters`] gives them, then the optimizer's.
    pub fn state(&self) -> impl Iterator<Item = StateTensor<'_>> {
        let tables = self.embedding.parameters.iter().map(|p| (Block::Embedding, p));
        let all = tables.chain(self.dense.parameters.iter().map(|p| (Block::Dense, p)));
        let of = move |slot| all.clone().map(move |(block, parameter)| StateTensor { slot, block, parameter });
        Slot::ALL.into_iter().flat_map(of)
    }

    /// A tensor of the state by its name.
    ///
    /// # Panics
    /// If [`Plan::state`] has none of that name: a slip in this crate.
    pub fn state_tensor(&self, name: &str) -> StateTensor<'_> {
        let slot = Slot::ALL.into_iter().rev().find(|slot| name.starts_with(slot.prefix())).unwrap_or(Slot::Value);
        let bare = &name[slot.prefix().len()..];
        let found = self.state().find(|t| t.slot == slot && t.parameter.name == bare);
        found.unwrap_or_else(|| panic!("{name} is a tensor of the state"))
    }
}
