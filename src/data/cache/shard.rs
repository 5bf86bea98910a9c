//! A shard: rows of a data set in a safetensors file, which NumPy and others open too.
//!
//! | tensor | type and shape | what |
//! | --- | --- | --- |
//! | `dense` | f32 [rows, dense fields] | numbers |
//! | `bag.<field>.ids` | u32 [ids] | table rows of the bag field, row after row |
//! | `bag.<field>.starts` | u32 [rows + 1] | where each row's ids start; absent where every row has one |
//! | `bag.<field>.weights` | f32 [ids] | absent where the ids have none |
//! | `labels`, `masks` | f32 [rows, tasks] | as `Dataset` has them |
//! | `groups` | u32 [rows] | absent for training rows |

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};

use super::super::dataset::{BagColumn, Dataset};

/// A tensor on its way into a file.
struct Column {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// A shard's file.
///
/// # Errors
/// Columns whose lengths do not fit each other.
pub fn to_bytes(dataset: &Dataset) -> Result<Vec<u8>, SafeTensorError> {
    let floats = |name: String, shape: Vec<usize>, values: &[f32]| Column {
        name,
        dtype: Dtype::F32,
        shape,
        bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    };
    let matrix = |name: &str, values: &[f32]| {
        floats(name.into(), vec![dataset.rows, values.len().checked_div(dataset.rows).unwrap_or(0)], values)
    };
    let numbers = |name: String, values: &[u32]| Column {
        name,
        dtype: Dtype::U32,
        shape: vec![values.len()],
        bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    };
    let mut columns = vec![matrix("dense", &dataset.dense)];
    columns.extend([matrix("labels", &dataset.labels), matrix("masks", &dataset.masks)]);
    for (field, bags) in dataset.bags.iter().enumerate() {
        let (BagColumn::One(ids) | BagColumn::Many { ids, .. }) = bags;
        columns.push(numbers(format!("bag.{field}.ids"), ids));
        if let BagColumn::Many { starts, weights, .. } = bags {
            columns.push(numbers(format!("bag.{field}.starts"), starts));
            if !weights.is_empty() {
                columns.push(floats(format!("bag.{field}.weights"), vec![weights.len()], weights));
            }
        }
    }
    columns.extend(dataset.groups.iter().map(|groups| numbers("groups".into(), groups)));
    let views = columns.iter().map(|c| Ok((&c.name, TensorView::new(c.dtype, c.shape.clone(), &c.bytes)?)));
    safetensors::serialize(views.collect::<Result<Vec<_>, SafeTensorError>>()?, None)
}

/// The rows of a shard's file.
///
/// # Errors
/// What is wrong with it.
pub fn from_bytes(bytes: &[u8]) -> Result<Dataset, SafeTensorError> {
    let tensors = SafeTensors::deserialize(bytes)?;
    let bytes_of = |name: &str| tensors.tensor(name).map(|tensor| tensor.data().chunks_exact(4));
    let word = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let numbers = |name: &str| bytes_of(name).map(|words| words.map(word).collect::<Vec<u32>>());
    let floats = |name: &str| bytes_of(name).map(|words| words.map(|w| f32::from_bits(word(w))).collect::<Vec<f32>>());
    let mut bags = Vec::new();
    while let Ok(ids) = numbers(&format!("bag.{}.ids", bags.len())) {
        bags.push(match numbers(&format!("bag.{}.starts", bags.len())) {
            Ok(starts) => {
                let weights = floats(&format!("bag.{}.weights", bags.len())).unwrap_or_default();
                BagColumn::Many { starts, ids, weights }
            }
            Err(_) => BagColumn::One(ids),
        });
    }
    Ok(Dataset {
        rows: tensors.tensor("labels")?.shape().first().copied().unwrap_or(0),
        dense: floats("dense")?,
        bags,
        labels: floats("labels")?,
        masks: floats("masks")?,
        groups: numbers("groups").ok(),
        kept: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Dataset {
        Dataset {
            rows: 3,
            dense: vec![0.5, -0.0, f32::MIN_POSITIVE],
            bags: vec![
                BagColumn::Many { starts: vec![0, 2, 2, 3], ids: vec![7, u32::MAX, 1], weights: Vec::new() },
                BagColumn::One(vec![4, 0, 9]),
                BagColumn::Many { starts: vec![0, 0, 1, 3], ids: vec![7, 2, 1], weights: vec![0.25, -0.0, 3e38] },
            ],
            labels: vec![1.0, 0.0, 0.0, 1.0, 2.5, 0.0],
            masks: vec![1.0, 0.0, 1.0, 1.0, 1.0, 1.0],
            groups: Some(vec![0, 1, 0]),
            kept: Vec::new(),
        }
    }

    #[test]
    fn rows_come_back_as_they_were() {
        let whole = rows();
        let without = Dataset { dense: Vec::new(), bags: Vec::new(), groups: None, ..rows() };
        let no_bags = vec![BagColumn::Many { starts: vec![0], ids: vec![], weights: vec![] }];
        let none = Dataset { bags: no_bags, ..Dataset::default() };
        for dataset in [whole, without, none] {
            assert_eq!(from_bytes(&to_bytes(&dataset).unwrap()).unwrap(), dataset);
        }
    }

    #[test]
    fn a_file_cut_short_is_an_error() {
        let bytes = to_bytes(&rows()).unwrap();
        for length in [0, 7, 40, bytes.len() - 1] {
            assert!(from_bytes(&bytes[..length]).is_err(), "{length} bytes");
        }
    }
}
