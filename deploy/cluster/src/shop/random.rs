//! Randomness that is the same on every machine and in every version: the shop's data are part of
//! the demo's documentation.

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The stream that belongs to one row of one table of one seed.
    pub(super) fn for_row(seed: u64, table: u64, row: u64) -> Self {
        let mut start = Self(seed ^ table.wrapping_mul(0xD1B5_4A32_D192_ED03));
        let base = start.next();
        // Once more, so that neighbouring rows don't share a prefix of the sequence.
        let mut own = Self(base ^ row.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        own.next();
        own
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in `0..bound`; the bias is below 2^-40 for the bounds used here. `bound` is not 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Uniform in `low..=high`.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True in so many of a hundred cases.
    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Uniform in `0.0..1.0`.
    pub(super) fn unit(&mut self) -> f64 {
        /// The number of values with 53 bits, all of which a double holds exactly.
        const VALUES: f64 = 9_007_199_254_740_992.0;
        (self.next() >> 11) as f64 / VALUES
    }

    /// One of the choices, all equally likely. `choices` is not empty.
    pub(super) fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        let index = self.below(choices.len() as u64) as usize;
        choices.get(index).copied().unwrap_or_default()
    }

    /// A random (version 4) UUID.
    pub(super) fn uuid(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xFFFF,
            high & 0xFFF,
            low >> 48 & 0x3FFF | 0x8000,
            low & 0xFFFF_FFFF_FFFF,
        )
    }
}

/// Ids `1..=count` of which a few are picked very often: rank r has a share proportional to
/// `1 / (r + offset) ^ exponent` (Zipf-Mandelbrot).
#[derive(Clone, Debug)]
pub(super) struct Popularity {
    /// Sums of the shares up to and including each rank.
    cumulative: Vec<f64>,
    stride: u64,
}

impl Popularity {
    pub(super) fn new(count: u64, exponent: f64, offset: f64) -> Self {
        let mut sum = 0.0;
        let cumulative = (1..=count)
            .map(|rank| {
                sum += (rank as f64 + offset).powf(-exponent);
                sum
            })
            .collect();
        // Coprime to the count, so that the walk of strides visits each id once.
        let stride = [7919, 7907, 7901]
            .into_iter()
            .find(|prime| !count.is_multiple_of(*prime))
            .unwrap_or(1);
        Self { cumulative, stride }
    }

    /// An id. Popular ones are spread over the range, not its first ones.
    pub(super) fn pick(&self, random: &mut Random) -> u64 {
        let total = self.cumulative.last().copied().unwrap_or_default();
        let point = random.unit() * total;
        let rank = self.cumulative.partition_point(|sum| *sum <= point) as u64;
        let count = self.cumulative.len() as u64;
        1 + rank.min(count - 1) * self.stride % count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        // Test vector of SplitMix64 for the seed 1234567.
        let mut random = Random(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn a_few_ids_get_much_and_each_id_is_possible() {
        let popularity = Popularity::new(100, 1.0, 2.0);
        let mut random = Random::for_row(1, 2, 3);
        let mut hits = [0_u32; 101];
        for _ in 0..100_000 {
            hits[popularity.pick(&mut random) as usize] += 1;
        }
        assert_eq!(hits[0], 0);
        assert!(hits[1..].iter().all(|hit| *hit > 0));
        hits.sort_unstable_by(|a, b| b.cmp(a));
        let top: u32 = hits[..10].iter().sum();
        assert!(
            (30_000..70_000).contains(&top),
            "the ten most popular got {top} of 100,000"
        );
    }
}
