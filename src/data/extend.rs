//! A schema that goes on from another: what was learned from earlier rows stays, and new texts come behind it.

use super::error::DataError;
use super::schema::{FeatureKind, Schema};
use super::vocab::Encoder;

impl Schema {
    /// Takes over vocabularies and statistics of a run's schema, before this one is fitted to new rows.
    ///
    /// # Errors
    /// The first feature, table or task in which the two differ.
    pub(super) fn extend(&mut self, run: &Self) -> Result<(), DataError> {
        self.check_names(run)?;
        for (table, old) in self.tables.iter_mut().zip(&run.tables) {
            let differs =
                |what: String| Err(DataError::Continued { what: format!("table {}", old.name), differs: what });
            if table.name != old.name {
                return differs(format!("is the table {} here", table.name));
            }
            if table.dim != old.dim {
                return differs(format!("has embedding_dim {} there and {} here", old.dim, table.dim));
            }
            match (&mut table.encoder, &old.encoder) {
                (Encoder::Vocabulary { texts, .. }, Encoder::Vocabulary { texts: known, .. }) => {
                    texts.clone_from(known)
                }
                (new, old) if new == old => {}
                _ => return differs("numbers its rows in another way (hash_buckets, buckets)".into()),
            }
        }
        for (feature, old) in self.features.iter_mut().zip(&run.features) {
            match (&mut feature.kind, &old.kind) {
                (FeatureKind::Number(new), FeatureKind::Number(old)) if new.transform == old.transform => {
                    new.clone_from(old);
                }
                (new, old) if new == old => {}
                _ => {
                    let (what, differs) = (format!("feature {}", old.name), "is read in another way here".into());
                    return Err(DataError::Continued { what, differs });
                }
            }
        }
        Ok(())
    }

    /// Features and tasks, each in the order in which the model has them.
    fn check_names(&self, run: &Self) -> Result<(), DataError> {
        let features = |schema: &Self| schema.features.iter().map(|feature| feature.name.clone()).collect::<Vec<_>>();
        first_difference("feature", &features(self), &features(run))?;
        let tasks = |schema: &Self| schema.task_names().map(str::to_owned).collect::<Vec<_>>();
        first_difference("task", &tasks(self), &tasks(run))?;
        for (task, old) in self.tasks.iter().zip(&run.tasks) {
            if task.kind != old.kind {
                let (what, differs) = (format!("task {}", old.name), "is of another kind here".into());
                return Err(DataError::Continued { what, differs });
            }
        }
        Ok(())
    }
}

fn first_difference(kind: &str, here: &[String], there: &[String]) -> Result<(), DataError> {
    let differs = |what: &str, differs: &str| {
        Err(DataError::Continued { what: format!("{kind} {what}"), differs: differs.into() })
    };
    if let Some(gone) = there.iter().find(|name| !here.contains(name)) {
        return differs(gone, "is not here");
    }
    if let Some(new) = here.iter().find(|name| !there.contains(name)) {
        return differs(new, "is not there");
    }
    match here.iter().zip(there).find(|(here, there)| here != there) {
        Some((_, there)) => differs(there, "has another place in the order here"),
        None => Ok(()),
    }
}
