//! Numbers inside an evaluation: exact integers (128 bits, beyond them a float as in jq) and floats. Results that are
//! whole numbers become integers, so that `6 / 2` is `3`; floats of the input stay as they came.

use std::cmp::Ordering;

/// A number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Num {
    Int(i128),
    Float(f64),
}

/// Up to here every integer has a float of its own.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
/// 2^127.
const I128_BOUND: f64 = 170_141_183_460_469_231_731_687_303_715_884_105_728.0;

impl Num {
    /// The number for the result of a computation.
    pub(super) fn float(x: f64) -> Self {
        let whole = x.fract() == 0.0 && x.abs() <= EXACT_MAX && !(x == 0.0 && x.is_sign_negative());
        if whole { Self::Int(x as i128) } else { Self::Float(x) }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        text.parse().map(Self::Int).or_else(|_| text.parse().map(Self::float)).ok()
    }

    pub(super) fn as_f64(self) -> f64 {
        match self {
            Self::Int(i) => i as f64,
            Self::Float(f) => f,
        }
    }

    /// The integer at or below.
    pub(super) fn floor(self) -> Option<i128> {
        match self {
            Self::Int(i) => Some(i),
            Self::Float(f) => (f.abs() < I128_BOUND).then(|| f.floor() as i128),
        }
    }

    fn both(self, other: Self, exact: fn(i128, i128) -> Option<i128>, close: fn(f64, f64) -> f64) -> Self {
        if let (Self::Int(x), Self::Int(y)) = (self, other)
            && let Some(z) = exact(x, y)
        {
            return Self::Int(z);
        }
        Self::float(close(self.as_f64(), other.as_f64()))
    }

    pub(super) fn add(self, other: Self) -> Self {
        self.both(other, i128::checked_add, |x, y| x + y)
    }

    pub(super) fn sub(self, other: Self) -> Self {
        self.both(other, i128::checked_sub, |x, y| x - y)
    }

    pub(super) fn mul(self, other: Self) -> Self {
        self.both(other, i128::checked_mul, |x, y| x * y)
    }

    pub(super) fn div(self, other: Self) -> Self {
        let exact = |x: i128, y: i128| if x.checked_rem(y)? == 0 { x.checked_div(y) } else { None };
        self.both(other, exact, |x, y| x / y)
    }

    /// None for a division of integers by zero.
    pub(super) fn rem(self, other: Self) -> Option<Self> {
        if let (Self::Int(_), Self::Int(0)) = (self, other) {
            return None;
        }
        Some(self.both(other, i128::checked_rem, |x, y| x % y))
    }

    pub(super) fn neg(self) -> Self {
        match self {
            Self::Int(i) => i.checked_neg().map_or(Self::Float(-(i as f64)), Self::Int),
            Self::Float(f) => Self::Float(-f),
        }
    }

    /// A total order: NaN first, then by value; an integer and a float are compared exactly.
    pub(super) fn order(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Int(x), Self::Int(y)) => x.cmp(&y),
            (Self::Int(x), Self::Float(y)) => int_to_float(x, y),
            (Self::Float(x), Self::Int(y)) => int_to_float(y, x).reverse(),
            (Self::Float(x), Self::Float(y)) => x.partial_cmp(&y).unwrap_or_else(|| y.is_nan().cmp(&x.is_nan())),
        }
    }

    pub(super) fn is_nan(self) -> bool {
        matches!(self, Self::Float(f) if f.is_nan())
    }
}

fn int_to_float(x: i128, y: f64) -> Ordering {
    if y.is_nan() || y < -I128_BOUND {
        return Ordering::Greater;
    }
    if y >= I128_BOUND {
        return Ordering::Less;
    }
    let whole = y.trunc();
    x.cmp(&(whole as i128)).then_with(|| 0.0.partial_cmp(&(y - whole)).unwrap_or(Ordering::Equal))
}
