//! From figures to pixels.

/// A logarithmic axis. `pixels` may run backwards, as upward axes do.
pub struct Log {
    low: f64,
    high: f64,
    pixels: (f64, f64),
}

impl Log {
    pub fn new(low: f64, high: f64, pixels: (f64, f64)) -> Self {
        Self { low: low.log10(), high: high.log10(), pixels }
    }

    pub fn at(&self, value: f64) -> f64 {
        let t = (value.log10() - self.low) / (self.high - self.low);
        self.pixels.0 + t * (self.pixels.1 - self.pixels.0)
    }

    pub fn low(&self) -> f64 {
        10f64.powf(self.low)
    }

    pub fn high(&self) -> f64 {
        10f64.powf(self.high)
    }

    /// Powers of ten; where they are few, twice and five times these too.
    pub fn ticks(&self) -> Vec<f64> {
        let steps: &[f64] = if self.high - self.low < 3.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let decades = self.low.floor() as i32..=self.high.ceil() as i32;
        let all = decades.flat_map(|d| steps.iter().map(move |s| s * 10f64.powi(d)));
        all.filter(|t| t.log10() >= self.low && t.log10() <= self.high).collect()
    }
}

/// Round steps of an axis from 0 to `high`, at most `most` of them besides 0.
pub fn linear_ticks(high: f64, most: usize) -> Vec<f64> {
    let rough = high / most as f64;
    let decade = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|s| s * decade).into_iter().find(|s| *s >= rough).unwrap_or(high);
    (0..=most).map(|i| i as f64 * step).take_while(|t| *t <= high).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logarithmic_axis_maps_decades_evenly() {
        let axis = Log::new(0.1, 1000.0, (400.0, 0.0));
        for (value, pixel) in [(0.1, 400.0), (1.0, 300.0), (1000.0, 0.0)] {
            assert!((axis.at(value) - pixel).abs() < 1e-9);
        }
        assert_eq!(axis.ticks().len(), 5);
        assert_eq!(Log::new(0.9, 11.0, (0.0, 1.0)).ticks(), [1.0, 2.0, 5.0, 10.0]);
    }

    #[test]
    fn linear_ticks_are_round_and_start_at_zero() {
        assert_eq!(linear_ticks(37.0, 8), [0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0]);
        assert_eq!(linear_ticks(0.037, 4), [0.0, 0.01, 0.02, 0.03]);
    }
}
