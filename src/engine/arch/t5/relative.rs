//! T5's relative positions: a learned number per head and bucket of distance is added to attention scores.
//!
//! Paper: Raffel et al. 2020. Reference: `_relative_position_bucket` of transformers. An encoder's buckets are for both
//! directions, a decoder's for the past alone: from distance 8 on, the same distance is in another bucket.

use std::ops::Range;

use candle_core::{Device, Result, Tensor};

/// How distances go into buckets.
#[derive(Debug, Clone, Copy)]
pub struct Buckets {
    pub count: usize,
    /// All distances from here on share one.
    pub max_distance: usize,
    pub bidirectional: bool,
}

impl Buckets {
    /// The bucket of a key's position less the query's.
    fn of(self, distance: isize) -> usize {
        let (count, first, distance) = match self.bidirectional {
            true => {
                let count = self.count / 2;
                let first = if distance > 0 { count } else { 0 };
                (count, first, distance.unsigned_abs())
            }
            false => (self.count, 0, distance.min(0).unsigned_abs()),
        };
        // Half of the buckets are for one distance each, the other half for ranges that grow by a factor.
        let exact = count / 2;
        if distance < exact {
            return first + distance;
        }
        // In f32, as in the reference: where a distance is on a border, rounding decides.
        let octaves = (distance as f32 / exact as f32).ln();
        let all = (self.max_distance as f64 / exact as f64).ln() as f32;
        let range = exact + (octaves / all * (count - exact) as f32) as usize;
        first + range.min(count - 1)
    }
}

/// What each distance adds, for each head.
pub struct RelativeBias {
    /// Per head, for distances from `-reach` to `reach`; what is farther is as far as that.
    heads: Vec<Vec<f32>>,
    reach: isize,
    device: Device,
}

impl RelativeBias {
    /// `table` is `(buckets, heads)`.
    pub fn new(table: &Tensor, buckets: Buckets) -> Result<Self> {
        let reach = buckets.max_distance as isize;
        let device = table.device().clone();
        let table = table.t()?.to_vec2::<f32>()?;
        let by_distance = |head: &Vec<f32>| {
            let distances = -reach..=reach;
            distances.map(|d| head[buckets.of(d)]).collect()
        };
        Ok(Self {
            heads: table.iter().map(by_distance).collect(),
            reach,
            device,
        })
    }

    /// What is added to the scores of queries and keys at these positions, `(heads, queries, keys)`.
    pub fn between(&self, queries: Range<usize>, keys: Range<usize>) -> Result<Tensor> {
        let distance = |query, key| Some(key as isize - query as isize);
        self.at(queries, keys, distance)
    }

    /// The same where `distance` says how far a key is from a query, and whether it is seen at all.
    pub fn at(
        &self,
        queries: Range<usize>,
        keys: Range<usize>,
        distance: impl Fn(usize, usize) -> Option<isize>,
    ) -> Result<Tensor> {
        let shape = (self.heads.len(), queries.len(), keys.len());
        let mut biases = Vec::with_capacity(shape.0 * shape.1 * shape.2);
        for head in &self.heads {
            for query in queries.clone() {
                biases.extend(keys.clone().map(|key| match distance(query, key) {
                    Some(d) => head[(d.clamp(-self.reach, self.reach) + self.reach) as usize],
                    None => f32::NEG_INFINITY,
                }));
            }
        }
        Tensor::from_vec(biases, shape, &self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_of_the_reference() {
        // What `_relative_position_bucket` makes of these with 32 buckets and a largest distance of 128.
        let distances = [
            -300, -128, -127, -64, -32, -31, -16, -12, -9, -8, -7, -1, 0, 1, 7, 8, 12, 16, 32, 64,
            127, 300,
        ];
        let both = [
            15, 15, 15, 14, 12, 11, 10, 9, 8, 8, 7, 1, 0, 17, 23, 24, 25, 26, 28, 30, 31, 31,
        ];
        let past = [
            31, 31, 31, 26, 21, 21, 16, 12, 9, 8, 7, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        for (bidirectional, expected) in [(true, both), (false, past)] {
            let buckets = Buckets {
                count: 32,
                max_distance: 128,
                bidirectional,
            };
            assert_eq!(distances.map(|distance| buckets.of(distance)), expected);
        }
    }

    #[test]
    fn a_bias_is_that_of_the_distance() {
        let table = Tensor::from_vec(
            (0..64).map(|x| x as f32).collect::<Vec<_>>(),
            (32, 2),
            &Device::Cpu,
        );
        let buckets = Buckets {
            count: 32,
            max_distance: 128,
            bidirectional: false,
        };
        let bias = RelativeBias::new(&table.unwrap(), buckets).unwrap();
        let found = bias.between(4..6, 3..6).unwrap().to_vec3::<f32>().unwrap();
        // Buckets 1, 0, 0 and 2, 1, 0; two heads a bucket.
        assert_eq!(found[0], [[2., 0., 0.], [4., 2., 0.]]);
        assert_eq!(found[1], [[3., 1., 1.], [5., 3., 1.]]);
        let near = |query: usize, key: usize| (query == key).then_some(-1);
        let found = bias.at(4..6, 4..6, near).unwrap().to_vec3::<f32>().unwrap();
        let never = f32::NEG_INFINITY;
        assert_eq!(found[0], [[2., never], [never, 2.]]);
    }
}
