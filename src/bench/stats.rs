//! Mean and standard deviation of repeated measurements.

use serde::{Deserialize, Serialize};

/// A mean, and how far single measurements lie from it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    pub mean: f64,
    /// Of the sample; 0 where there is but one measurement.
    pub stddev: f64,
}

impl Figure {
    /// Of the rates at which `count` things were done in so many seconds each time.
    pub fn of_rates(count: usize, seconds: &[f64]) -> Self {
        let rates = seconds
            .iter()
            // A clock may stand still for what is too short for it.
            .map(|seconds| count as f64 / seconds.max(1e-9))
            .collect::<Vec<_>>();
        Self {
            mean: mean(&rates),
            stddev: stddev(&rates),
        }
    }
}

/// 0 of nothing.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The standard deviation of a sample (divided by n - 1); 0 of fewer than two values.
pub fn stddev(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.;
    }
    let mean = mean(values);
    let squares = values.iter().map(|value| (value - mean).powi(2));
    (squares.sum::<f64>() / (values.len() - 1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_deviation_are_those_of_a_sample() {
        let values = [2., 4., 4., 4., 5., 5., 7., 9.];
        assert_eq!(mean(&values), 5.);
        // The squares add up to 32, over 7.
        assert!((stddev(&values) - 2.138_089_935).abs() < 1e-9);
    }

    #[test]
    fn one_value_does_not_deviate() {
        assert_eq!((mean(&[3.]), stddev(&[3.])), (3., 0.));
        assert_eq!((mean(&[]), stddev(&[])), (0., 0.));
    }

    #[test]
    fn rates_are_averaged_not_times() {
        let figure = Figure::of_rates(100, &[1., 2.]);
        assert_eq!(figure.mean, 75.);
        assert!((figure.stddev - 35.355_339).abs() < 1e-6);
        assert!(Figure::of_rates(1, &[0.]).mean.is_finite());
    }
}
