//! What training will hold in memory, and whether there is so much: said before any of it is allocated.

use std::fmt;

use sysinfo::{MemoryRefreshKind, ProcessRefreshKind, ProcessesToUpdate, System};
use thiserror::Error;

use crate::format;

/// What a part of the memory is for, and its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub what: What,
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Tables,
    /// Of the tables: the optimizer's state.
    TableState,
    /// Parameters outside the tables, with their gradients and the optimizer's state.
    Dense,
    /// Values and gradients of all tensors, for the rows of a batch.
    Activations,
    /// Batches, their table rows, and both on their way to the device.
    Batches,
    /// Encoded rows.
    Data,
    /// Predictions and parameters that are read back.
    ReadBack,
    /// Parameters on their way to the device or into a file.
    Copies,
    /// The program, with its kernels where they run on the host, and what it has read beside the data.
    Program,
}

/// What is held in one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    pub parts: Vec<Part>,
    /// Bytes that the place has, where it tells.
    pub room: Option<u64>,
}

/// What a training holds at its peak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// None for the device `cpu`.
    pub adapter: Option<Holding>,
    pub host: Holding,
}

/// A training that takes more memory than there is.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "training takes {} on {place}, which has {}: {} too much. Its largest part is {} of {what}; use {}",
    format::bytes(*.needed), format::bytes(*.room), format::bytes(.needed - .room), format::bytes(*.largest),
    .what.advice(place)
)]
pub struct TooLarge {
    place: &'static str,
    needed: u64,
    room: u64,
    what: What,
    largest: u64,
}

const ADAPTER: &str = "the adapter";
const HOST: &str = "the host";

impl Memory {
    /// # Errors
    /// Where a place has less than it must hold; says by how much, and what to change.
    pub fn check(&self) -> Result<(), TooLarge> {
        self.places().try_for_each(|(place, holding)| holding.check(place))
    }

    fn places(&self) -> impl Iterator<Item = (&'static str, &Holding)> {
        self.adapter.iter().map(|adapter| (ADAPTER, adapter)).chain([(HOST, &self.host)])
    }
}

impl Holding {
    /// Bytes of all parts.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    fn check(&self, place: &'static str) -> Result<(), TooLarge> {
        let largest = self.parts.iter().max_by_key(|part| part.bytes);
        match (self.room, largest) {
            (Some(room), Some(largest)) if self.bytes() > room => {
                let (what, largest) = (largest.what, largest.bytes);
                Err(TooLarge { place, needed: self.bytes(), room, what, largest })
            }
            _ => Ok(()),
        }
    }
}

impl What {
    /// What makes a part smaller.
    fn advice(self, place: &str) -> &'static str {
        match self {
            Self::Tables | Self::TableState if place == ADAPTER => {
                "placement = \"host\" for the [[table]] of large tables, a smaller dim or hash_buckets for their features, a \
                 train.embedding_optimizer of less state, or --device cpu"
            }
            Self::Tables | Self::TableState | Self::Copies => {
                "a smaller dim or hash_buckets for the features of large tables, or a train.embedding_optimizer of less \
                 state"
            }
            Self::Dense => "fewer or narrower experts and towers",
            Self::Activations | Self::Batches | Self::ReadBack => "a smaller train.batch_size",
            Self::Data if place == ADAPTER => "a smaller train.data_on_device_mb",
            Self::Data | Self::Program => "fewer rows or features",
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Tables => "embedding tables",
            Self::TableState => "the tables' optimizer state",
            Self::Dense => "other parameters",
            Self::Activations => "activations and gradients",
            Self::Batches => "batches",
            Self::Data => "data",
            Self::ReadBack => "read-back",
            Self::Copies => "copies of parameters",
            Self::Program => "the program",
        })
    }
}

impl fmt::Display for Holding {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", format::bytes(self.bytes()))?;
        if let Some(room) = self.room {
            write!(f, " of {}", format::bytes(room))?;
        }
        let parts = self.parts.iter().filter(|part| part.bytes > 0);
        let parts = parts.map(|part| format!("{} {}", part.what, format::bytes(part.bytes)));
        write!(f, " ({})", parts.collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let places = self.places().map(|(place, holding)| format!("memory on {place}: {holding}"));
        f.write_str(&places.collect::<Vec<_>>().join("\n"))
    }
}

/// Bytes of memory that this process may use: the machine's, or its container's.
pub fn host_room() -> Option<u64> {
    let mut system = System::new().ok()?;
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    let limit = system.cgroup_limits().map(|limits| limits.total_memory).filter(|&bytes| bytes > 0);
    let total = Some(system.total_memory()).filter(|&bytes| bytes > 0);
    [limit, total].into_iter().flatten().min()
}

/// Bytes of memory that this process has now, where the system tells.
pub fn process_bytes() -> Option<u64> {
    let (pid, mut system) = (sysinfo::get_current_pid().ok()?, System::new().ok()?);
    let memory = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, memory);
    Some(system.process(pid)?.memory())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(room: u64) -> Holding {
        let part = |what, bytes| Part { what, bytes };
        Holding {
            parts: vec![part(What::Tables, 640_000_000), part(What::TableState, 1_280_000_000), part(What::Data, 0)],
            room: Some(room),
        }
    }

    #[test]
    fn memory_is_said_part_by_part() {
        let memory = Memory { adapter: Some(holding(4_000_000_000)), host: Holding::default() };
        assert_eq!(memory.check(), Ok(()));
        assert_eq!(
            memory.to_string(),
            "memory on the adapter: 1.92 GB of 4 GB (embedding tables 640 MB, the tables' optimizer state 1.28 GB)\n\
             memory on the host: 0 B ()"
        );
    }

    #[test]
    fn what_does_not_fit_is_told_with_the_part_to_change() {
        let memory = Memory { adapter: Some(holding(1_500_000_000)), host: Holding::default() };
        assert_eq!(
            memory.check().unwrap_err().to_string(),
            "training takes 1.92 GB on the adapter, which has 1.5 GB: 420 MB too much. Its largest part is 1.28 GB of the \
             tables' optimizer state; use placement = \"host\" for the [[table]] of large tables, a smaller dim or \
             hash_buckets for their features, a train.embedding_optimizer of less state, or --device cpu"
        );
        let memory = Memory { adapter: None, host: holding(1_919_999_999) };
        assert!(memory.check().unwrap_err().to_string().contains("on the host, which has 1.92 GB: 1 B too much"));
    }

    #[test]
    fn the_host_tells_what_it_has() {
        assert!(host_room().is_some_and(|bytes| bytes > 1 << 28));
        let held = vec![1u8; 64 << 20];
        assert!(process_bytes().is_some_and(|bytes| bytes > held.len() as u64));
    }
}
