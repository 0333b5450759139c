//! jq's arithmetic on values.
#![expect(clippy::wildcard_enum_match_arm, reason = "JSON has six kinds for good; every other kind is the same error")]

use std::rc::Rc;

use jaq_core::{Error, ValR, ops};

use super::meter::{Held, spend, spend_bulk};
use super::number::Num;
use super::value::{Obj, Val};

/// Work of an operator: what jaq does around it costs more than the operation.
const OPERATOR: u64 = 20;

impl std::ops::Add for Val {
    type Output = ValR<Self>;
    fn add(self, other: Self) -> Self::Output {
        spend(OPERATOR);
        match (self, other) {
            (Self::Null, x) | (x, Self::Null) => Ok(x),
            (Self::Num(x), Self::Num(y)) => Ok(Self::Num(x.add(y))),
            (Self::Str(mut l), Self::Str(r)) => {
                if Rc::strong_count(&l) > 1 {
                    spend_bulk(l.text.len());
                }
                Rc::make_mut(&mut l).push(&r.text);
                Ok(Self::Str(l))
            }
            (Self::Arr(mut l), Self::Arr(r)) => {
                Rc::make_mut(&mut l).extend(r.items.iter().cloned());
                Ok(Self::Arr(l))
            }
            (Self::Obj(mut l), Self::Obj(r)) => {
                let obj = Rc::make_mut(&mut l);
                r.map.iter().for_each(|(k, v)| obj.set(Rc::clone(k), v.clone()));
                Ok(Self::Obj(l))
            }
            (l, r) => Err(Error::math(l, ops::Math::Add, r)),
        }
    }
}

impl std::ops::Sub for Val {
    type Output = ValR<Self>;
    fn sub(self, other: Self) -> Self::Output {
        spend(OPERATOR);
        match (self, other) {
            (Self::Num(x), Self::Num(y)) => Ok(Self::Num(x.sub(y))),
            (Self::Arr(mut l), Self::Arr(r)) => {
                let gone: std::collections::BTreeSet<&Self> = r.items.iter().collect();
                let arr = Rc::make_mut(&mut l);
                arr.items.retain(|x| !gone.contains(x));
                arr.settle();
                Ok(Self::Arr(l))
            }
            (l, r) => Err(Error::math(l, ops::Math::Sub, r)),
        }
    }
}

/// jq's deep merge: objects are merged, everything else of `r` replaces what `l` has.
fn merge(l: &mut Rc<Obj>, r: &Obj) {
    let l = Rc::make_mut(l);
    for (k, v) in &r.map {
        spend(1);
        match (l.map.get_mut(k), v) {
            (Some(Val::Obj(l)), Val::Obj(r)) => merge(l, r),
            (Some(l), v) => *l = v.clone(),
            (None, v) => {
                l.map.insert(Rc::clone(k), v.clone());
            }
        }
    }
    l.settle();
}

impl std::ops::Mul for Val {
    type Output = ValR<Self>;
    fn mul(self, other: Self) -> Self::Output {
        spend(OPERATOR);
        match (self, other) {
            (Self::Num(x), Self::Num(y)) => Ok(Self::Num(x.mul(y))),
            (Self::Str(s), Self::Num(n)) | (Self::Num(n), Self::Str(s)) => {
                if n.order(Num::Int(0)).is_le() {
                    return Ok(Self::Null);
                }
                let n = n.floor().map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX).max(1));
                // counted before it is made: the product may be far more than there is memory
                drop(Held::new(s.text.len().saturating_mul(n)));
                Ok(Self::text(s.text.repeat(n)))
            }
            (Self::Obj(mut l), Self::Obj(r)) => {
                merge(&mut l, &r);
                Ok(Self::Obj(l))
            }
            (l, r) => Err(Error::math(l, ops::Math::Mul, r)),
        }
    }
}

impl std::ops::Div for Val {
    type Output = ValR<Self>;
    fn div(self, other: Self) -> Self::Output {
        spend(OPERATOR);
        match (self, other) {
            (Self::Num(x), Self::Num(y)) => Ok(Self::Num(x.div(y))),
            (Self::Str(l), Self::Str(r)) => {
                spend_bulk(l.text.len());
                let parts: Vec<Self> = if l.text.is_empty() {
                    Vec::new()
                } else if r.text.is_empty() {
                    l.text.chars().map(Self::text).collect()
                } else {
                    l.text.split(r.text.as_str()).map(Self::text).collect()
                };
                Ok(Self::arr(parts))
            }
            (l, r) => Err(Error::math(l, ops::Math::Div, r)),
        }
    }
}

impl std::ops::Rem for Val {
    type Output = ValR<Self>;
    fn rem(self, other: Self) -> Self::Output {
        spend(OPERATOR);
        match (self, other) {
            (Self::Num(x), Self::Num(y)) => match x.rem(y) {
                Some(z) => Ok(Self::Num(z)),
                None => Err(Error::math(Self::Num(x), ops::Math::Rem, Self::Num(y))),
            },
            (l, r) => Err(Error::math(l, ops::Math::Rem, r)),
        }
    }
}

impl std::ops::Neg for Val {
    type Output = ValR<Self>;
    fn neg(self) -> Self::Output {
        match self {
            Self::Num(n) => Ok(Self::Num(n.neg())),
            v => Err(Error::typ(v, "number")),
        }
    }
}
