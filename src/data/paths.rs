//! The data files that a path names: a file, a folder, or a glob pattern.

use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};

use super::error::DataError;

/// What a file of a folder is named like to be data.
const ENDINGS: [&str; 5] = [".csv", ".tsv", ".tab", ".parquet", ".pq"];

/// The files of `path` in `folder`, sorted by name: the file itself, or all data files of a folder, or those files and
/// folders that a pattern (`*`, `?`, `[ab]`, `**`) matches. `key` names the path in errors.
///
/// # Errors
/// A path that is not there, and a folder or pattern without any data file.
pub fn data_files(path: &Path, folder: &Path, key: &str) -> Result<Vec<PathBuf>, DataError> {
    let full = folder.join(path);
    if full.is_dir() {
        return files_of(&full, key);
    }
    let text = path.to_string_lossy();
    if full.exists() || !text.contains(['*', '?', '[']) {
        return Ok(vec![full]);
    }
    let none = |problem: String| DataError::config(key, format!("{}: {problem}", full.display()));
    let folder = Pattern::escape(&folder.to_string_lossy());
    let pattern = Path::new(&folder).join(path);
    let options = MatchOptions { require_literal_leading_dot: true, ..MatchOptions::default() };
    let matches = glob::glob_with(&pattern.to_string_lossy(), options);
    let matches = matches.map_err(|error| none(format!("is no pattern: {error}")))?;
    let mut files = Vec::new();
    for found in matches {
        let found = found.map_err(|error| DataError::Io { file: error.path().into(), source: error.into() })?;
        match found.is_dir() {
            true => files.extend(files_of(&found, key)?),
            false => files.push(found),
        }
    }
    if files.is_empty() {
        return Err(none("matches no file; check the pattern, and the data directory (--data-dir)".into()));
    }
    Ok(files)
}

/// The data files that lie in a folder, sorted by name.
fn files_of(folder: &Path, key: &str) -> Result<Vec<PathBuf>, DataError> {
    let failed = |source| DataError::Io { file: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in folder.read_dir().map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.file_name().is_some_and(|name| is_data(&name.to_string_lossy())) && path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        let problem = format!("{}: the folder holds no .csv, .tsv or .parquet file", folder.display());
        return Err(DataError::config(key, problem));
    }
    files.sort();
    Ok(files)
}

/// Whether a file of a folder is data by its name; writers hide their own files behind a dot or an underscore.
fn is_data(name: &str) -> bool {
    let name = name.to_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    !name.starts_with(['.', '_']) && ENDINGS.iter().any(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_files_are_known_by_their_names() {
        for name in ["a.csv", "A.CSV.gz", "b.tsv", "b.tab.gz", "part-0.snappy.parquet", "c.pq"] {
            assert!(is_data(name), "{name}");
        }
        for name in ["_SUCCESS", "_metadata.parquet", ".part-0.parquet.crc", ".a.csv", "notes.txt", "csv", "a.csv.bak"]
        {
            assert!(!is_data(name), "{name}");
        }
    }
}
