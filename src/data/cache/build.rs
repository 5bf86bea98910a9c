//! Makes a cache: one pass over the sources for vocabularies and statistics, one that encodes and writes.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::super::columns::{Columns, Needs};
use super::super::dataset::Dataset;
use super::super::encode::{Groups, encode};
use super::super::error::DataError;
use super::super::fit::Fit;
use super::super::labels::Tally;
use super::super::schema::Schema;
use super::super::source::{Selection, Source};
use super::super::split::{Files, Parts, Splitter};
use super::super::{needs, what_is_missing};
use super::Asked;
use super::manifest::{MANIFEST, Manifest, Recipe, Shard, Stamp, source_files};
use super::shard;
use crate::checkpoint::write_atomically;
use crate::digest;

/// Rows that are held as columns at a time; no more than those of a shard.
const PIECE: usize = 1 << 16;

/// Makes the cache of `asked` in `folder` with a schema that is not fitted yet.
///
/// # Errors
/// Whatever is wrong with the data, a source that changes meanwhile, or a file that cannot be written.
pub fn build(asked: &Asked, folder: &Path, mut schema: Schema, recipe: Recipe) -> Result<Manifest, DataError> {
    clear(folder)?;
    let stamps: Vec<Stamp> =
        source_files(asked, &schema).iter().map(|file| Stamp::of(file)).collect::<Result<_, _>>()?;
    let rows = if asked.picks_by_ratio() { count(asked, &schema)? } else { 0 };
    let (mut notes, counts) = fit(asked, &mut schema, rows)?;
    let mut written = Written::new(folder, asked.stream.shard_rows);
    let mut tally = Tally::default();
    write(asked, &schema, rows, counts[2], &mut written, &mut tally)?;
    let [train, valid, test] = written.finish()?;
    notes.extend(tally.notes(&schema.tasks));
    notes.extend(what_is_missing(asked.data, valid.is_empty(), test.is_empty()));
    for stamp in &stamps {
        if !stamp.is_untouched()? {
            return Err(DataError::SourceChanged { file: stamp.file().to_owned() });
        }
    }
    let manifest = Manifest { recipe, sources: stamps, schema, notes, train, valid, test };
    manifest.write(folder)?;
    Ok(manifest)
}

/// Removes what an earlier cache, whole or not, left in the folder: the manifest first.
fn clear(folder: &Path) -> Result<(), DataError> {
    let failed = |source| DataError::Io { file: folder.to_owned(), source };
    let manifest = folder.join(MANIFEST);
    if manifest.exists() {
        fs::remove_file(&manifest).map_err(failed)?;
    }
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_ours = name.ends_with(".shard") || (name.starts_with(".polygate-") && name.ends_with(".tmp"));
        if is_ours {
            fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

/// Rows in the train files.
fn count(asked: &Asked, schema: &Schema) -> Result<u64, DataError> {
    if let (Some(config), true) = (&asked.data.synthetic, schema.filter.is_empty()) {
        return Ok(config.rows as u64);
    }
    log::info!("cache: counting the rows, which a split by ratio needs");
    let mut rows = 0;
    let of_train = &asked.sources[..1];
    pieces(asked, schema, Needs::default(), of_train, &mut |_, columns| {
        rows += columns.rows() as u64;
        Ok(())
    })?;
    Ok(rows)
}

/// The first pass: fits the schema to the training rows. What is odd about the data, and how many rows each part has
/// before `valid_of_test`.
fn fit(asked: &Asked, schema: &mut Schema, rows: u64) -> Result<(Vec<String>, [usize; 3]), DataError> {
    let mut splitter = Splitter::new(asked.data, asked.seed, || Ok(rows))?;
    let (mut fit, mut counts) = (Fit::new(schema, asked.keeps_statistics), [0; 3]);
    let mut progress = Progress::new("reading for vocabularies and statistics");
    let of_features = needs(schema, asked.data, false);
    let mut notes = pieces(asked, schema, of_features, asked.sources, &mut |files, columns| {
        let mut parts = Parts::default();
        splitter.add(files, columns, 0..columns.rows(), &mut parts)?;
        fit.add(schema, columns, &parts.train);
        let sizes = [parts.train.len(), parts.valid.len(), parts.test.len()];
        counts.iter_mut().zip(sizes).for_each(|(count, size)| *count += size);
        progress.add(columns.rows());
        Ok(())
    })?;
    if counts[0] == 0 {
        let after = if counts == [0; 3] { "data.filter" } else { "data.split" };
        return Err(DataError::NoTrainingRows { after });
    }
    notes.extend(fit.finish(schema));
    Ok((notes, counts))
}

/// The second pass: encodes all rows.
fn write(
    asked: &Asked,
    schema: &Schema,
    rows: u64,
    test_rows: usize,
    written: &mut Written,
    tally: &mut Tally,
) -> Result<(), DataError> {
    let mut splitter = Splitter::new(asked.data, asked.seed, || Ok(rows))?;
    let marks = splitter.valid_of_test(test_rows);
    let (mut tested, mut groups) = (0, [Groups::default(), Groups::default()]);
    let mut progress = Progress::new("encoding");
    let all = needs(schema, asked.data, true);
    pieces(asked, schema, all, asked.sources, &mut |files, columns| {
        let mut parts = Parts::default();
        splitter.add(files, columns, 0..columns.rows(), &mut parts)?;
        if let Some(marks) = &marks {
            let before = tested;
            tested += parts.test.len();
            parts.validate(&marks[before..tested]);
        }
        let train = encode(schema, columns, &parts.train, true, &[])?;
        tally.add(schema.tasks.len(), &train.labels, &train.masks);
        written.train.push(train)?;
        let judged = [(&parts.valid, &mut written.valid), (&parts.test, &mut written.test)];
        for ((rows, files), groups) in judged.into_iter().zip(&mut groups) {
            let groups = groups.number(schema, columns, rows);
            files.push(Dataset { groups, ..encode(schema, columns, rows, true, &[])? })?;
        }
        progress.add(columns.rows());
        Ok(())
    })?;
    Ok(())
}

/// Hands the rows of sources to `each` a piece at a time, and says what is odd about joins.
fn pieces(
    asked: &Asked,
    schema: &Schema,
    needs: Needs,
    sources: &[Vec<Source>],
    each: &mut dyn FnMut(Files, &Columns) -> Result<(), DataError>,
) -> Result<Vec<String>, DataError> {
    let (mut columns, piece) = (Columns::new(needs), PIECE.min(asked.stream.shard_rows));
    let mut selection = Selection::new(&schema.dialect, &schema.joins, &schema.filter, asked.data_dir, &columns)?;
    for (files, part) in [Files::Train, Files::Valid, Files::Test].into_iter().zip(sources) {
        for source in part {
            selection.read_parts(source, &mut columns, piece, &mut |columns| each(files, columns))?;
        }
    }
    Ok(selection.notes())
}

/// The shards of each part as they are written.
struct Written<'a> {
    train: Shards<'a>,
    valid: Shards<'a>,
    test: Shards<'a>,
}

impl<'a> Written<'a> {
    fn new(folder: &'a Path, shard_rows: usize) -> Self {
        let part = |name| Shards { folder, name, shard_rows, pending: Dataset::default(), done: Vec::new() };
        Self { train: part("train"), valid: part("valid"), test: part("test") }
    }

    fn finish(self) -> Result<[Vec<Shard>; 3], DataError> {
        Ok([self.train.finish()?, self.valid.finish()?, self.test.finish()?])
    }
}

/// The shards of one part.
struct Shards<'a> {
    folder: &'a Path,
    name: &'static str,
    shard_rows: usize,
    /// Rows that do not fill a shard yet.
    pending: Dataset,
    done: Vec<Shard>,
}

impl Shards<'_> {
    fn push(&mut self, rows: Dataset) -> Result<(), DataError> {
        self.pending.append(rows);
        while self.pending.rows >= self.shard_rows {
            let (full, rest) = (0..self.shard_rows as u32, self.shard_rows as u32..self.pending.rows as u32);
            let shard = self.pending.gather(full);
            self.pending = self.pending.gather(rest);
            self.write(&shard)?;
        }
        Ok(())
    }

    /// The last one may be smaller.
    fn finish(mut self) -> Result<Vec<Shard>, DataError> {
        if self.pending.rows > 0 {
            let last = std::mem::take(&mut self.pending);
            self.write(&last)?;
        }
        Ok(self.done)
    }

    fn write(&mut self, rows: &Dataset) -> Result<(), DataError> {
        let file = format!("{}-{:06}.shard", self.name, self.done.len());
        let path = self.folder.join(&file);
        let failed = |source| DataError::Io { file: path.clone(), source };
        let bytes = shard::to_bytes(rows).map_err(|error| failed(std::io::Error::other(error)))?;
        write_atomically(&path, |w| w.write_all(&bytes)).map_err(|error| failed(error.source))?;
        let digest = digest::of(&bytes);
        self.done.push(Shard { file, rows: rows.rows, bytes: bytes.len() as u64, digest });
        Ok(())
    }
}

/// Says now and then how far a pass is.
struct Progress {
    what: &'static str,
    rows: usize,
    said: Instant,
}

impl Progress {
    const EVERY: Duration = Duration::from_secs(15);

    fn new(what: &'static str) -> Self {
        Self { what, rows: 0, said: Instant::now() }
    }

    fn add(&mut self, rows: usize) {
        self.rows += rows;
        if self.said.elapsed() >= Self::EVERY {
            log::info!("cache: {}, {} rows so far", self.what, self.rows);
            self.said = Instant::now();
        }
    }
}
