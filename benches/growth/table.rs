//! `benches/results/growth.csv`.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::Axis;
use super::common::Measured;

/// A measured point.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    pub device: String,
    pub axis: String,
    pub value: usize,
    /// Median of single steps, each waited for.
    pub step_ms: f64,
    pub samples_per_s: f64,
    pub steps: usize,
    pub parameters: usize,
    /// Seconds since 1970.
    pub time: u64,
}

impl Row {
    pub fn new(device: &str, axis: Axis, value: usize, m: &Measured) -> Self {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
        Self {
            device: device.into(),
            axis: axis.name().into(),
            value,
            step_ms: (m.step_ms_median * 1e4).round() / 1e4,
            samples_per_s: m.samples_per_s.round(),
            steps: m.step_ms.len(),
            parameters: m.parameters,
            time,
        }
    }
}

pub fn read(path: &Path) -> anyhow::Result<Vec<Row>> {
    Ok(csv::Reader::from_path(path)?.deserialize().collect::<Result<_, _>>()?)
}

/// Puts rows in the place of those of the same device and axis.
pub fn replace(path: &Path, rows: Vec<Row>) -> anyhow::Result<()> {
    let mut all = if path.exists() { read(path)? } else { Vec::new() };
    all.retain(|old| !rows.iter().any(|new| (&new.device, &new.axis) == (&old.device, &old.axis)));
    all.extend(rows);
    let mut writer = csv::Writer::from_path(path)?;
    for row in all {
        writer.serialize(row)?;
    }
    Ok(writer.flush()?)
}

/// The exponent b of `step_ms = a * value^b`, by least squares on logarithms over the upper half of the range.
pub fn exponent(points: &[(f64, f64)]) -> f64 {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return f64::NAN };
    let middle = (first.0 * last.0).sqrt() * (1.0 - 1e-9);
    let logs: Vec<(f64, f64)> = points.iter().filter(|p| p.0 >= middle).map(|p| (p.0.ln(), p.1.ln())).collect();
    let n = logs.len() as f64;
    let (x, y) = (logs.iter().map(|p| p.0).sum::<f64>() / n, logs.iter().map(|p| p.1).sum::<f64>() / n);
    let covariance: f64 = logs.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    covariance / logs.iter().map(|p| (p.0 - x).powi(2)).sum::<f64>()
}
