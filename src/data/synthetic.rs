//! Synthetic rows: the generator of the MMoE paper (Ma et al., KDD 2018, section 3.2), with categories and users.
//!
//! Task k's weights w_k are unit vectors, any two with cosine `correlation`: rows of the Cholesky factor of the
//! correlation matrix times an orthonormal basis; for two tasks, the paper's w_1 = u_1 and w_2 = p u_1 +
//! sqrt(1 - p^2) u_2. With x ~ N(0, I) and noise ~ N(0, 0.01),
//!
//! y_k = w_k x + sum over i = 1..4 of sin(i w_k x + beta_i) + the effects of the row's categories and user + noise.
//!
//! Each id of a category, and each user, has an effect on every task, N(0, 0.25) and correlated between tasks as the
//! weights are. A class is 1 where y_k is above the median of 10,001 rows of a stream of their own.

use std::f64::consts::TAU;
use std::io::Write;

use csv::ByteRecord;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::error::DataError;
use crate::config::SyntheticConfig;

const SINES: usize = 4;
const NOISE: f64 = 0.1;
const EFFECT: f64 = 0.5;
const MEDIAN_ROWS: usize = 10_001;

/// Makes rows one after another. Two generators of one config make the same rows; fewer `rows` make the first of them.
pub struct Generator {
    config: SyntheticConfig,
    truth: Truth,
    /// y above this is class 1, by task.
    thresholds: Vec<f64>,
    rows: ChaCha8Rng,
    made: usize,
}

/// What the rows hide.
struct Truth {
    /// [tasks, dense]
    weights: Vec<Vec<f64>>,
    phases: [f64; SINES],
    /// [categories, ids, tasks]
    categories: Vec<Vec<Vec<f64>>>,
    /// [users, tasks]
    users: Vec<Vec<f64>>,
    /// The chance of a user up to each, not normalised.
    user_cumulative: Vec<f64>,
}

struct Sample {
    dense: Vec<f32>,
    ids: Vec<usize>,
    user: usize,
    /// [tasks]
    y: Vec<f64>,
}

impl Generator {
    /// # Errors
    /// A config that no data fits: a size of 0, or a correlation that so many tasks cannot have.
    pub fn new(config: &SyntheticConfig) -> Result<Self, DataError> {
        check(config)?;
        let stream = |number| {
            let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
            rng.set_stream(number);
            rng
        };
        let truth = Truth::new(config, &mut stream(0));
        let mut median_rows = stream(2);
        let mut ys = vec![Vec::with_capacity(MEDIAN_ROWS); config.tasks];
        for _ in 0..MEDIAN_ROWS {
            let sample = truth.sample(&mut median_rows);
            ys.iter_mut().zip(sample.y).for_each(|(ys, y)| ys.push(y));
        }
        let thresholds = ys.into_iter().map(|mut ys| {
            ys.sort_unstable_by(f64::total_cmp);
            ys[MEDIAN_ROWS / 2]
        });
        Ok(Self { config: config.clone(), thresholds: thresholds.collect(), truth, rows: stream(1), made: 0 })
    }

    /// x0.., c0.., user, task0..
    pub fn columns(&self) -> Vec<String> {
        let numbered = |prefix: &'static str, count| (0..count).map(move |i| format!("{prefix}{i}"));
        let SyntheticConfig { dense, categories, tasks, .. } = self.config;
        let features = numbered("x", dense).chain(numbered("c", categories));
        features.chain(["user".to_owned()]).chain(numbered("task", tasks)).collect()
    }

    /// Writes the next row and gives the line that it has in `write_csv`'s file; `None` after the last.
    pub fn read(&mut self, record: &mut ByteRecord) -> Option<u64> {
        if self.made == self.config.rows {
            return None;
        }
        self.made += 1;
        let sample = self.truth.sample(&mut self.rows);
        record.clear();
        let mut text = Vec::new();
        let mut push = |value: &dyn std::fmt::Display| {
            text.clear();
            // Writing to memory cannot fail.
            let _ = write!(text, "{value}");
            record.push_field(&text);
        };
        sample.dense.iter().for_each(|x| push(x));
        sample.ids.iter().for_each(|id| push(id));
        push(&sample.user);
        let classes = self.config.tasks - self.config.regression;
        for (task, (y, threshold)) in sample.y.iter().zip(&self.thresholds).enumerate() {
            if task < classes { push(&u8::from(y > threshold)) } else { push(&(*y as f32)) }
        }
        Some(self.made as u64 + 1)
    }
}

/// Writes all rows as CSV with a header.
pub fn write_csv(config: &SyntheticConfig, writer: impl Write) -> Result<(), DataError> {
    let mut generator = Generator::new(config)?;
    let mut writer = csv::Writer::from_writer(writer);
    let failed = |error: csv::Error| match error.into_kind() {
        csv::ErrorKind::Io(error) => DataError::Write(error),
        other => DataError::Write(std::io::Error::other(format!("{other:?}"))),
    };
    writer.write_record(generator.columns()).map_err(failed)?;
    let mut record = ByteRecord::new();
    while generator.read(&mut record).is_some() {
        writer.write_byte_record(&record).map_err(failed)?;
    }
    writer.flush().map_err(DataError::Write)
}

fn check(config: &SyntheticConfig) -> Result<(), DataError> {
    let fail = |key: &str, problem: String| Err(DataError::config(format!("data.synthetic.{key}"), problem));
    let SyntheticConfig { rows, tasks, regression, correlation, dense, categories, category_ids, users, .. } = *config;
    for (key, value) in [("rows", rows), ("tasks", tasks), ("users", users)] {
        if value == 0 {
            return fail(key, "is 0; use at least 1".to_owned());
        }
    }
    if categories > 0 && category_ids == 0 {
        return fail("category_ids", "is 0; use at least 1, or categories = 0".to_owned());
    }
    if dense < tasks {
        return fail("dense", format!("is {dense}; {tasks} tasks need as many dimensions at least"));
    }
    if regression > tasks {
        return fail("regression", format!("is {regression}, of {tasks} tasks"));
    }
    let lowest = if tasks > 1 { -1.0 / (tasks as f64 - 1.0) } else { -1.0 };
    if !(lowest..=1.0).contains(&correlation) {
        return fail("correlation", format!("is {correlation}; {tasks} tasks can have from {lowest:.4} to 1"));
    }
    Ok(())
}

impl Truth {
    fn new(config: &SyntheticConfig, rng: &mut ChaCha8Rng) -> Self {
        let factor = cholesky(config.tasks, config.correlation);
        let basis = orthonormal(config.tasks, config.dense, rng);
        let weight = |row: &Vec<f64>, i: usize| row.iter().zip(&basis).map(|(l, u)| l * u[i]).sum();
        let mut effects = |count| (0..count).map(|_| effect(&factor, rng)).collect::<Vec<_>>();
        let categories = (0..config.categories).map(|_| effects(config.category_ids)).collect();
        let users = effects(config.users);
        let mut total = 0.0;
        let cumulative = (1..=config.users).map(|rank| {
            total += 1.0 / rank as f64;
            total
        });
        Self {
            weights: factor.iter().map(|row| (0..config.dense).map(|i| weight(row, i)).collect()).collect(),
            categories,
            users,
            user_cumulative: cumulative.collect(),
            phases: std::array::from_fn(|_| rng.random_range(0.0..TAU)),
        }
    }

    fn sample(&self, rng: &mut ChaCha8Rng) -> Sample {
        let dense: Vec<f32> = self.weights[0].iter().map(|_| normal(rng) as f32).collect();
        let ids: Vec<usize> =
            self.categories.iter().map(|ids| rng.random_range(0..ids.len() as u64) as usize).collect();
        let total = self.user_cumulative[self.users.len() - 1];
        let at = rng.random_range(0.0..total);
        let user = self.user_cumulative.partition_point(|cumulative| *cumulative <= at).min(self.users.len() - 1);
        let y = self.weights.iter().enumerate().map(|(task, weights)| {
            let wx: f64 = weights.iter().zip(&dense).map(|(w, x)| w * f64::from(*x)).sum();
            let sines = self.phases.iter().enumerate().map(|(i, phase)| ((i + 1) as f64 * wx + phase).sin());
            let effects = ids.iter().zip(&self.categories).map(|(id, effects)| effects[*id][task]);
            wx + sines.sum::<f64>() + effects.sum::<f64>() + self.users[user][task] + NOISE * normal(rng)
        });
        let y = y.collect();
        Sample { dense, ids, user, y }
    }
}

/// Standard normal, by Box and Muller.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (radius, angle): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - radius).ln()).sqrt() * (TAU * angle).cos()
}

/// An effect on each task, N(0, EFFECT^2), correlated by the factor.
fn effect(factor: &[Vec<f64>], rng: &mut ChaCha8Rng) -> Vec<f64> {
    let independent: Vec<f64> = factor.iter().map(|_| normal(rng)).collect();
    let one = |row: &Vec<f64>| EFFECT * row.iter().zip(&independent).map(|(l, g)| l * g).sum::<f64>();
    factor.iter().map(one).collect()
}

/// Orthonormal vectors, by Gram and Schmidt, twice for accuracy.
fn orthonormal(count: usize, dim: usize, rng: &mut ChaCha8Rng) -> Vec<Vec<f64>> {
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(count);
    while basis.len() < count {
        let mut vector: Vec<f64> = (0..dim).map(|_| normal(rng)).collect();
        for other in basis.iter().chain(&basis) {
            let along: f64 = vector.iter().zip(other).map(|(v, o)| v * o).sum();
            vector.iter_mut().zip(other).for_each(|(v, o)| *v -= along * o);
        }
        let norm = vector.iter().map(|v| v * v).sum::<f64>().sqrt();
        // A draw that lies in the span of the others is drawn again.
        if norm > 1e-6 {
            vector.iter_mut().for_each(|v| *v /= norm);
            basis.push(vector);
        }
    }
    basis
}

/// The lower Cholesky factor of the matrix with 1 on the diagonal and `correlation` elsewhere, rank deficient or not.
fn cholesky(size: usize, correlation: f64) -> Vec<Vec<f64>> {
    let mut factor = vec![vec![0.0; size]; size];
    for i in 0..size {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| factor[i][k] * factor[j][k]).sum();
            factor[i][j] = if i == j {
                (1.0 - dot).max(0.0).sqrt()
            } else if factor[j][j] < 1e-7 {
                0.0
            } else {
                (correlation - dot) / factor[j][j]
            };
        }
    }
    factor
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(tasks: usize, correlation: f64) -> SyntheticConfig {
        SyntheticConfig { rows: 3000, tasks, correlation, users: 37, category_ids: 11, seed: 5, ..Default::default() }
    }

    #[test]
    fn any_two_tasks_have_the_cosine_that_is_asked_for() {
        for (tasks, correlation) in [(1, 0.5), (2, -1.0), (2, 0.3), (3, -0.5), (5, 0.0), (4, 1.0), (7, 0.9)] {
            let generator = Generator::new(&config(tasks, correlation)).unwrap();
            for (i, a) in generator.truth.weights.iter().enumerate() {
                for (j, b) in generator.truth.weights.iter().enumerate() {
                    let cosine: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                    let wanted = if i == j { 1.0 } else { correlation };
                    assert!((cosine - wanted).abs() <= 1e-6, "{tasks} tasks, {correlation}: {cosine} is not {wanted}");
                }
            }
        }
    }

    #[test]
    fn a_correlation_that_three_tasks_cannot_have_is_refused() {
        assert!(Generator::new(&config(3, -0.6)).is_err());
        assert!(Generator::new(&config(2, 1.1)).is_err());
        assert!(Generator::new(&config(2, f64::NAN)).is_err());
        assert!(Generator::new(&config(33, 0.5)).is_err());
    }

    fn csv(config: &SyntheticConfig) -> String {
        let mut bytes = Vec::new();
        write_csv(config, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn fewer_rows_are_the_first_of_more_and_a_seed_decides_them() {
        let all = csv(&config(2, 0.5));
        assert!(all.starts_with(&csv(&SyntheticConfig { rows: 17, ..config(2, 0.5) })));
        assert_eq!(all.lines().count(), 3001);
        assert_ne!(all, csv(&SyntheticConfig { seed: 6, ..config(2, 0.5) }));
    }

    #[test]
    fn classes_are_about_even_and_regression_tasks_hold_numbers() {
        let text = csv(&SyntheticConfig { regression: 1, ..config(3, 0.5) });
        let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split(',').collect()).collect();
        let columns = rows[0].len();
        for task in [columns - 3, columns - 2] {
            let positive = rows.iter().filter(|row| row[task] == "1").count();
            assert!((1300..1700).contains(&positive), "{positive} of 3000");
        }
        assert!(rows[0][columns - 1].contains('.'));
    }
}
