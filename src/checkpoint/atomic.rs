//! Files that are either as they were or complete, whatever interrupts the writer.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a file was not written.
#[derive(Debug, Error)]
#[error("cannot write {}", path.display())]
pub struct WriteError {
    pub path: PathBuf,
    pub source: io::Error,
}

/// Has `fill` write a temporary file in the folder of `path`, syncs it and renames it to `path`. Where anything fails,
/// a file that was at `path` before is untouched and no temporary file stays. The new file's permissions follow the
/// umask. A symbolic link stays one: the file it names is replaced. What is neither file nor folder, as `/dev/stdout`,
/// is written in place.
///
/// # Errors
/// That of `fill`, or of the file system, with the path. The folder must exist.
pub fn write_atomically(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), WriteError> {
    replace_or_stream(path, fill).map_err(|source| WriteError { path: path.into(), source })
}

/// Whether [`write_atomically`] can start on `path`: for outputs that come at the end of long work.
///
/// # Errors
/// Where `path` is a folder, or nothing can be created in its own.
pub fn check_writable(path: &Path) -> Result<(), WriteError> {
    let tried = match fs::metadata(path) {
        Ok(target) if target.is_dir() => Err(ErrorKind::IsADirectory.into()),
        Ok(target) if target.is_file() => fs::canonicalize(path).and_then(|path| temporary_beside(&path).map(drop)),
        Ok(_) => OpenOptions::new().write(true).open(path).map(drop),
        Err(e) if e.kind() == ErrorKind::NotFound => temporary_beside(path).map(drop),
        Err(e) => Err(e),
    };
    tried.map_err(|source| WriteError { path: path.into(), source })
}

fn replace_or_stream(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(target) if target.is_dir() => Err(ErrorKind::IsADirectory.into()),
        Ok(target) if target.is_file() => replace(&fs::canonicalize(path)?, fill),
        Ok(_) => fill_buffered(&OpenOptions::new().write(true).open(path)?, fill),
        Err(e) if e.kind() == ErrorKind::NotFound => replace(path, fill),
        Err(e) => Err(e),
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// How the names of temporary files start and end.
const TEMPORARY: (&str, &str) = (".polygate-", ".tmp");

/// Removes the temporary files that writers which were killed have left in a folder.
pub fn remove_leftovers(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(TEMPORARY.0) && name.ends_with(TEMPORARY.1)) {
            // What stays is in nobody's way but that of disk space.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A temporary file in the folder of `path`, gone when dropped.
fn temporary_beside(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY.0).suffix(TEMPORARY.1);
    // Without this the file would be its owner's alone; the system takes the umask off.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder_of(path))
}

fn replace(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let temporary = temporary_beside(path)?;
    fill_buffered(temporary.as_file(), fill)?;
    temporary.as_file().sync_all()?;
    temporary.persist(path)?;
    // Makes the rename itself last. The file is complete either way, and not every file system syncs folders.
    #[cfg(unix)]
    let _ = File::open(folder_of(path)).and_then(|folder| folder.sync_all());
    Ok(())
}

fn fill_buffered(file: &File, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(1 << 18, file);
    fill(&mut writer)?;
    writer.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_in(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_replaced_whole_and_leaves_no_temporary_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        for text in ["long, long first text", "short"] {
            write_atomically(&path, |w| w.write_all(text.as_bytes())).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(names_in(folder.path()), ["rows.csv"]);
    }

    #[test]
    fn a_writer_that_fails_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        fs::write(&path, "old").unwrap();
        let error = write_atomically(&path, |w| {
            w.write_all(b"half of the new")?;
            Err(io::Error::other("no more rows"))
        })
        .unwrap_err();
        assert!(error.to_string().contains("rows.csv") && error.source.to_string().contains("no more rows"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names_in(folder.path()), ["rows.csv"]);
    }

    #[test]
    fn what_a_killed_writer_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        fs::write(&path, "old").unwrap();
        temporary_beside(&path).unwrap().keep().unwrap();
        assert_eq!(names_in(folder.path()).len(), 2);
        remove_leftovers(folder.path());
        assert_eq!(names_in(folder.path()), ["rows.csv"]);
        remove_leftovers(&folder.path().join("no"));
    }

    #[test]
    fn a_missing_folder_or_a_folder_as_the_target_is_an_error_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let missing = write_atomically(&folder.path().join("no/rows.csv"), |_| Ok(())).unwrap_err();
        assert_eq!(missing.source.kind(), ErrorKind::NotFound);
        assert!(missing.to_string().contains("no/rows.csv") || cfg!(windows));
        let occupied = write_atomically(folder.path(), |_| Ok(())).unwrap_err();
        assert_eq!(occupied.source.kind(), ErrorKind::IsADirectory);
        assert!(check_writable(&folder.path().join("no/rows.csv")).is_err() && check_writable(folder.path()).is_err());
        assert!(check_writable(&folder.path().join("rows.csv")).is_ok());
        assert!(names_in(folder.path()).is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn permissions_are_those_of_a_plainly_created_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
        write_atomically(&ours, |_| Ok(())).unwrap();
        File::create(&plain).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link_and_a_device_stays_a_device() {
        use std::os::unix::fs::{FileTypeExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("epoch-3"), folder.path().join("best"));
        fs::write(&file, "old").unwrap();
        symlink("epoch-3", &link).unwrap();
        write_atomically(&link, |w| w.write_all(b"new")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");

        // Through a link in the test's folder: were it replaced, the machine's own device would not be.
        let null = folder.path().join("null");
        symlink("/dev/null", &null).unwrap();
        write_atomically(&null, |w| w.write_all(b"rows")).unwrap();
        assert!(fs::metadata(&null).unwrap().file_type().is_char_device());
    }
}
