//! Parameters to start from, from files.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::checkpoint::{self, CheckpointError, NamedTensor};
use crate::config::{TableConfig, TableError};
use crate::plan::{Parameter, Parameters, Plan};

/// Parameters to start from that cannot be had.
#[derive(Debug, Error)]
pub enum InitialError {
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("[[table]] {table}, init: {} has no tensor {tensor}; it has {found}; name one as init_tensor", file.display())]
    NoTensor { table: String, file: PathBuf, tensor: String, found: String },
    #[error(
        "[[table]] {table}, init: tensor {tensor} of {} has shape {found:?}, and the table is {expected:?}: row 0 for what \
         is unknown or missing, then a row for each text of the training rows' vocabulary, as in schema.json, or for each \
         hash bucket or bucket",
        file.display()
    )]
    Shape { table: String, file: PathBuf, tensor: String, found: Vec<usize>, expected: Vec<usize> },
    #[error("[[table]] {table}, init: tensor {tensor} of {} has {value} in row {row}; write finite numbers", file.display())]
    NotFinite { table: String, file: PathBuf, tensor: String, row: usize, value: f32 },
    #[error("[[table]] {table}, init")]
    File { table: String, source: CheckpointError },
    /// Of all parameters, by `--init`.
    #[error(transparent)]
    All(#[from] CheckpointError),
}

/// Puts the vectors that `tables` name in the place of the drawn ones. Files are relative to `data_dir`.
///
/// # Errors
/// A file that cannot be read, a tensor that is not there, of another shape than the table, or not finite.
pub fn read_tables(
    plan: &Plan,
    tables: &[TableConfig],
    data_dir: &Path,
    parameters: &mut Parameters<f32>,
) -> Result<(), InitialError> {
    for table in tables {
        let Some(init) = &table.init else { continue };
        let (parameter, file) = (&plan.embedding.parameters[table.number(&plan.input)?], data_dir.join(init));
        let failed = |source| InitialError::File { table: table.name.clone(), source };
        let tensors = checkpoint::read(&file).map_err(failed)?;
        let tensor = pick(table, parameter, &file, &tensors)?;
        check_values(table, parameter, &file, tensor)?;
        parameter.pack(&tensor.data, &mut parameters.embedding);
    }
    Ok(())
}

fn pick<'a>(
    table: &TableConfig,
    parameter: &Parameter,
    file: &Path,
    tensors: &'a [NamedTensor],
) -> Result<&'a NamedTensor, InitialError> {
    let wanted = table.init_tensor.as_ref().unwrap_or(&parameter.name);
    let found = tensors.iter().find(|tensor| tensor.name == *wanted);
    let only = || if let ([only], None) = (tensors, &table.init_tensor) { Some(only) } else { None };
    found.or_else(only).ok_or_else(|| InitialError::NoTensor {
        table: table.name.clone(),
        file: file.to_owned(),
        tensor: wanted.clone(),
        found: listed(tensors.iter().map(|tensor| tensor.name.as_str())),
    })
}

fn check_values(
    table: &TableConfig,
    parameter: &Parameter,
    file: &Path,
    tensor: &NamedTensor,
) -> Result<(), InitialError> {
    let (table, file, name) = (table.name.clone(), file.to_owned(), tensor.name.clone());
    if tensor.shape != parameter.shape {
        let (found, expected) = (tensor.shape.clone(), parameter.shape.clone());
        return Err(InitialError::Shape { table, file, tensor: name, found, expected });
    }
    match tensor.data.iter().position(|value| !value.is_finite()) {
        Some(place) => {
            let (row, value) = (place / parameter.cols, tensor.data[place]);
            Err(InitialError::NotFinite { table, file, tensor: name, row, value })
        }
        None => Ok(()),
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 8;
    let names: Vec<&str> = names.collect();
    match names.len() {
        0 => "none".into(),
        count if count > SHOWN => format!("{} and {} more", names[..SHOWN].join(", "), count - SHOWN),
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tempfile::TempDir;

    use super::*;
    use crate::plan::{Field, Input, Pooling, Table, Task, TaskKind};

    /// A plan with the tables `user`, 3 x 2, and `video`, 4 x 3.
    fn plan() -> Plan {
        let table = |name: &str, rows, dim| Table { name: name.into(), rows, dim };
        let bag = |name: &str, table| Field::Bag { name: name.into(), table, pooling: Pooling::Sum };
        let input = Input {
            tables: vec![table("user", 3, 2), table("video", 4, 3)],
            fields: vec![bag("user", 0), bag("video", 1)],
        };
        let task = Task { name: "y".into(), kind: TaskKind::Binary, weight: 1.0 };
        let config = toml::from_str("family = \"mmoe\"").unwrap();
        crate::model::build(&config, vec![task], &[None], input).unwrap()
    }

    fn tensor(name: &str, shape: [usize; 2], first: f32) -> NamedTensor {
        let data = (0..shape[0] * shape[1]).map(|i| first + i as f32).collect();
        NamedTensor { name: name.into(), shape: shape.into(), data }
    }

    fn written(tensors: &[NamedTensor]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        checkpoint::write(&dir.path().join("t.safetensors"), tensors, &BTreeMap::new()).unwrap();
        dir
    }

    fn read(tensors: &[NamedTensor], config: &str) -> Result<Parameters<f32>, String> {
        #[derive(serde::Deserialize)]
        struct Tables {
            table: Vec<TableConfig>,
        }
        let (plan, dir) = (plan(), written(tensors));
        let Tables { table } = toml::from_str(config).unwrap();
        let mut parameters = Parameters::init(&plan, 5);
        read_tables(&plan, &table, dir.path(), &mut parameters).map_err(|error| {
            let error = anyhow::Error::from(error);
            format!("{error:#}").replace(&format!("{}/", dir.path().display()), "")
        })?;
        Ok(parameters)
    }

    const VIDEO: &str = "[[table]]\nname = \"video\"\ninit = \"t.safetensors\"\n";

    #[test]
    fn a_table_starts_from_its_file_and_the_others_as_they_would() {
        let wanted = tensor("any", [4, 3], 7.0);
        let (plan, drawn) = (plan(), Parameters::init(&plan(), 5));
        let named = tensor("embedding.video.weight", [4, 3], 7.0);
        let other = tensor("embedding.user.weight", [3, 2], -7.0);
        for (tensors, more) in [
            (vec![wanted.clone()], ""),
            (vec![named, other.clone()], ""),
            (vec![wanted.clone(), other], "init_tensor = \"any\""),
        ] {
            let parameters = read(&tensors, &format!("{VIDEO}{more}")).unwrap();
            assert_eq!(parameters.get(&plan, "embedding.video.weight").unwrap(), wanted.data);
            assert_eq!(parameters.get(&plan, "embedding.user.weight"), drawn.get(&plan, "embedding.user.weight"));
            assert_eq!(parameters.dense, drawn.dense);
        }
    }

    #[test]
    fn what_does_not_fit_is_told_with_what_would() {
        let (a, b) = (tensor("a", [4, 3], 0.0), tensor("b", [5, 3], 0.0));
        let mut infinite = a.clone();
        infinite.data[7] = f32::INFINITY;
        for (tensors, config, wanted) in [
            (
                vec![b.clone()],
                VIDEO.to_owned(),
                "[[table]] video, init: tensor b of t.safetensors has shape [5, 3], and the table is [4, 3]: row 0 for what",
            ),
            (
                vec![a.clone(), b],
                VIDEO.to_owned(),
                "[[table]] video, init: t.safetensors has no tensor embedding.video.weight; it has a, b",
            ),
            (
                vec![a.clone()],
                format!("{VIDEO}init_tensor = \"c\""),
                "[[table]] video, init: t.safetensors has no tensor c; it has a",
            ),
            (vec![infinite], VIDEO.to_owned(), "[[table]] video, init: tensor a of t.safetensors has inf in row 2"),
            (
                vec![],
                VIDEO.to_owned(),
                "[[table]] video, init: t.safetensors has no tensor embedding.video.weight; it has none",
            ),
            (
                vec![],
                VIDEO.replace("t.safe", "u.safe"),
                "[[table]] video, init: there is no checkpoint at u.safetensors",
            ),
            (
                vec![],
                VIDEO.replace("\"video\"", "\"vidoe\""),
                "[[table]] vidoe: no feature makes such a table; there are user, video",
            ),
        ] {
            let error = read(&tensors, &config).unwrap_err();
            assert!(error.starts_with(wanted), "{error}\ndoes not start with\n{wanted}");
        }
    }
}
