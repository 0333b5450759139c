//! Chances that hang on the seed and the request, never on a clock or a counter.

use stepmill_worker_engine::model::ModelRequest;

/// Chances of one try at one request.
pub(super) struct Dice([u8; 32]);

impl Dice {
    pub(super) fn new(seed: u64, request: &ModelRequest, tries: u32) -> Self {
        let mut hash = blake3::Hasher::new();
        hash.update(&seed.to_le_bytes()).update(&tries.to_le_bytes()).update(crate::address::of(request).as_bytes());
        Self(*hash.finalize().as_bytes())
    }

    /// A number for this purpose.
    pub(super) fn roll(&self, what: &str) -> u64 {
        let hash = blake3::keyed_hash(&self.0, what.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hash.as_bytes()[..8]);
        u64::from_le_bytes(first)
    }

    /// Whether a chance between 0 and 1 strikes.
    pub(super) fn strikes(&self, what: &str, chance: f64) -> bool {
        fraction(self.roll(what)) < chance
    }

    /// One of `count`, none of which is `but`.
    pub(super) fn other(&self, what: &str, count: usize, but: Option<usize>) -> Option<usize> {
        let free: Vec<usize> = (0..count).filter(|n| Some(*n) != but).collect();
        let place = self.roll(what) % u64::try_from(free.len().max(1)).ok()?;
        free.get(usize::try_from(place).ok()?).copied()
    }
}

/// 0 to 1, the end left out.
fn fraction(roll: u64) -> f64 {
    (roll >> 11) as f64 / (1_u64 << 53) as f64
}
