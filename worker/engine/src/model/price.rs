//! Money, in whole numbers: what tokens cost. Never a float, so that sums are exact in any order.

use serde::{Deserialize, Serialize};

use super::answer::Tokens;

/// Billionths of a US dollar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NanoUsd(pub u64);

impl NanoUsd {
    /// The sum; stays at the largest number rather than begin anew.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Reads dollars as text (`2.50`), with at most nine places after the point.
    #[must_use]
    pub fn from_usd(text: &str) -> Option<Self> {
        const PLACES: usize = 9;
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || part.len() > PLACES || !digits(whole) || !digits(part) {
            return None;
        }
        let whole: u64 = whole.parse().ok()?;
        let part: u64 = format!("{part:0<PLACES$}").parse().ok()?;
        whole.checked_mul(1_000_000_000)?.checked_add(part).map(Self)
    }
}

impl std::fmt::Display for NanoUsd {
    /// Dollars with as many places as are needed, at least two.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let part = format!("{:09}", self.0 % 1_000_000_000);
        let part = part.trim_end_matches('0');
        write!(f, "${}.{part:0<2}", self.0 / 1_000_000_000)
    }
}

/// What a model costs, per million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// Tokens read.
    pub input: NanoUsd,
    /// Tokens read from the service's cache of prefixes.
    pub input_cached: NanoUsd,
    /// Tokens written into that cache.
    pub input_kept: NanoUsd,
    /// Tokens written.
    pub output: NanoUsd,
}

impl Price {
    /// What these tokens cost, rounded up to a billionth of a dollar.
    #[must_use]
    pub fn of(&self, tokens: &Tokens) -> NanoUsd {
        const MILLION: u128 = 1_000_000;
        let kinds = tokens.input_cached.saturating_add(tokens.input_kept);
        let plain = tokens.input.saturating_sub(kinds);
        let sum: u128 = [
            (plain, self.input),
            (tokens.input_cached, self.input_cached),
            (tokens.input_kept, self.input_kept),
            (tokens.output, self.output),
        ]
        .iter()
        .map(|(count, price)| u128::from(*count) * u128::from(price.0))
        .sum();
        NanoUsd(u64::try_from(sum.div_ceil(MILLION)).unwrap_or(u64::MAX))
    }

    /// The most that a call can cost that reads and writes at most so many tokens.
    #[must_use]
    pub fn bound(&self, input: u64, output: u64) -> NanoUsd {
        let dearest = Self { input: self.input.max(self.input_cached).max(self.input_kept), ..*self };
        dearest.of(&Tokens { input, output, ..Tokens::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_and_shown_exactly() {
        for (text, nano, shown) in [
            ("0", 0, "$0.00"),
            ("2.5", 2_500_000_000, "$2.50"),
            ("0.0375", 37_500_000, "$0.0375"),
            ("12.000000001", 12_000_000_001, "$12.000000001"),
        ] {
            assert_eq!(NanoUsd::from_usd(text), Some(NanoUsd(nano)));
            assert_eq!(NanoUsd(nano).to_string(), shown);
        }
        for wrong in ["", ".5", "-1", "1e3", "0.0000000001", "99999999999999"] {
            assert_eq!(NanoUsd::from_usd(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn each_kind_of_token_has_its_price() {
        let usd = |text| NanoUsd::from_usd(text).unwrap();
        let price = Price { input: usd("3"), input_cached: usd("0.3"), input_kept: usd("3.75"), output: usd("15") };
        let tokens = Tokens { input: 1_000, input_cached: 600, input_kept: 300, output: 10, reasoning: 4 };
        assert_eq!(price.of(&tokens), NanoUsd(100 * 3_000 + 600 * 300 + 300 * 3_750 + 10 * 15_000));
        let small = Price { input: usd("0.0375"), ..Price::default() };
        let one = Tokens { input: 1, ..Tokens::default() };
        assert_eq!(small.of(&one), NanoUsd(38), "rounded up, never down to nothing");
        assert_eq!(price.bound(1_000, 10), NanoUsd(1_000 * 3_750 + 10 * 15_000));
        assert!(price.bound(1_000, 10) >= price.of(&tokens));
        let most = Price { output: NanoUsd(u64::MAX), ..Price::default() };
        assert_eq!(most.of(&Tokens { output: u64::MAX, ..Tokens::default() }), NanoUsd(u64::MAX));
    }
}
