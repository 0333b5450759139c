//! What jaq asks of the values it runs over: access, slices, updates, conversions.
#![expect(clippy::wildcard_enum_match_arm, reason = "JSON has six kinds for good; every other kind is the same error")]

use std::ops::Range;
use std::rc::Rc;

use jaq_core::box_iter::BoxIter;
use jaq_core::path::Opt;
use jaq_core::{Error, Exn, ValR, ValX};

use super::json;
use super::meter::{spend, spend_bulk};
use super::number::Num;
use super::value::{Fail, Map, Val, position};

fn owned<T: Clone>(rc: Rc<T>) -> T {
    Rc::try_unwrap(rc).unwrap_or_else(|rc| (*rc).clone())
}

/// The part of `len` items that `range` means: its start and its length.
fn cut(range: &Range<Option<&Val>>, len: usize) -> Result<(usize, usize), Fail> {
    let bound = |b: Option<&Val>, default: usize| match b {
        None | Some(Val::Null) => Ok(default),
        Some(Val::Num(n)) => {
            let i = n.floor().unwrap_or(0);
            let i = if i < 0 { i.saturating_add(len as i128) } else { i };
            Ok(usize::try_from(i.max(0)).unwrap_or(len).min(len))
        }
        Some(v) => Err(Error::typ(v.clone(), "integer")),
    };
    let (from, to) = (bound(range.start, 0)?, bound(range.end, len)?);
    Ok((from, to.saturating_sub(from)))
}

/// As [`cut`], in bytes, for a range of characters.
fn cut_text(range: &Range<Option<&Val>>, text: &str) -> Result<(usize, usize), Fail> {
    spend_bulk(text.len());
    let (skip, take) = cut(range, text.chars().count())?;
    let byte = |n: usize| text.char_indices().nth(n).map_or(text.len(), |(i, _)| i);
    let from = byte(skip);
    Ok((from, byte(skip + take) - from))
}

impl jaq_core::ValT for Val {
    fn from_num(n: &str) -> ValR<Self> {
        Num::parse(n).map(Self::Num).ok_or_else(|| Error::str(format_args!("{n} is not a number")))
    }

    fn from_map<I: IntoIterator<Item = (Self, Self)>>(entries: I) -> ValR<Self> {
        let mut map = Map::new();
        for (k, v) in entries {
            spend(1);
            match k {
                Self::Str(k) => map.insert(Rc::from(k.text.as_str()), v),
                k => return Err(Error::str(format_args!("cannot use {k} as the key of an object"))),
            };
        }
        Ok(Self::obj(map))
    }

    fn key_values(self) -> BoxIter<'static, ValR<(Self, Self), Self>> {
        match self {
            Self::Arr(a) => Box::new(owned(a).items.into_iter().enumerate().map(|(i, v)| Ok((Self::int(i), v)))),
            Self::Obj(o) => Box::new(owned(o).map.into_iter().map(|(k, v)| Ok((Self::text(&*k), v)))),
            v => Box::new(std::iter::once(Err(Error::typ(v, "iterable (array or object)")))),
        }
    }

    fn values(self) -> Box<dyn Iterator<Item = ValR<Self>>> {
        match self {
            Self::Arr(a) => Box::new(owned(a).items.into_iter().map(Ok)),
            Self::Obj(o) => Box::new(owned(o).map.into_iter().map(|(_, v)| Ok(v))),
            v => Box::new(std::iter::once(Err(Error::typ(v, "iterable (array or object)")))),
        }
    }

    fn index(self, index: &Self) -> ValR<Self> {
        self.entry(index).map(|v| v.unwrap_or(Self::Null))
    }

    fn range(self, range: Range<Option<&Self>>) -> ValR<Self> {
        match self {
            Self::Null => Ok(Self::Null),
            Self::Str(s) => cut_text(&range, &s.text).map(|(skip, take)| Self::text(&s.text[skip..skip + take])),
            Self::Arr(a) => {
                cut(&range, a.items.len()).map(|(skip, take)| a.items.iter().skip(skip).take(take).cloned().collect())
            }
            v => Err(Error::typ(v, "rangeable (array or string)")),
        }
    }

    fn map_values<'a, I: Iterator<Item = ValX<'a, Self>>>(self, opt: Opt, f: impl Fn(Self) -> I) -> ValX<'a, Self> {
        match self {
            Self::Arr(a) => owned(a).items.into_iter().flat_map(f).collect(),
            Self::Obj(o) => {
                let entries = owned(o).map.into_iter();
                let map =
                    entries.filter_map(|(k, v)| f(v).next().map(|v| Ok((k, v?)))).collect::<Result<_, Exn<_>>>()?;
                Ok(Self::obj(map))
            }
            v => opt.fail(v, |v| Exn::from(Error::typ(v, "iterable (array or object)"))),
        }
    }

    fn map_index<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        index: &Self,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        match (self, index) {
            (v @ (Self::Str(_) | Self::Arr(_)), Self::Obj(o)) => {
                v.map_range(o.map.get("start")..o.map.get("end"), opt, f)
            }
            (Self::Null, Self::Str(_)) => Self::obj(Map::new()).map_index(index, opt, f),
            (Self::Null, Self::Num(_)) => Self::arr(Vec::new()).map_index(index, opt, f),
            (Self::Obj(mut rc), Self::Str(key)) => {
                let obj = Rc::make_mut(&mut rc);
                let old = obj.map.get(key.text.as_str()).cloned().unwrap_or(Self::Null);
                match f(old).next().transpose()? {
                    Some(new) => obj.set(Rc::from(key.text.as_str()), new),
                    None => {
                        drop(obj.map.shift_remove(key.text.as_str()));
                        spend_bulk(obj.map.len() * 32);
                        obj.settle();
                    }
                }
                Ok(Self::Obj(rc))
            }
            (Self::Arr(rc), Self::Num(n)) => map_item(rc, *n, opt, f),
            (v, index) => opt.fail(v, |v| Exn::from(Error::index(v, index.clone()))),
        }
    }

    fn map_range<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        range: Range<Option<&Self>>,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        match self {
            Self::Arr(mut rc) => {
                let (skip, take) = match cut(&range, rc.items.len()) {
                    Ok(part) => part,
                    Err(e) => return opt.fail(Self::Arr(rc), |_| Exn::from(e)),
                };
                let old: Self = rc.items.iter().skip(skip).take(take).cloned().collect();
                let new = match f(old).next().transpose()? {
                    None => Vec::new(),
                    Some(Self::Arr(new)) => owned(new).items,
                    Some(v) => return Err(Exn::from(Error::typ(v, "array"))),
                };
                let arr = Rc::make_mut(&mut rc);
                arr.items.splice(skip..skip + take, new);
                arr.settle();
                Ok(Self::Arr(rc))
            }
            Self::Str(s) => {
                let (skip, take) = match cut_text(&range, &s.text) {
                    Ok(part) => part,
                    Err(e) => return opt.fail(Self::Str(s), |_| Exn::from(e)),
                };
                let new = match f(Self::text(&s.text[skip..skip + take])).next().transpose()? {
                    None => String::new(),
                    Some(Self::Str(new)) => new.text.clone(),
                    Some(v) => return Err(Exn::from(Error::typ(v, "string"))),
                };
                Ok(Self::text([&s.text[..skip], &new, &s.text[skip + take..]].concat()))
            }
            v => opt.fail(v, |v| Exn::from(Error::typ(v, "rangeable (array or string)"))),
        }
    }

    fn as_bool(&self) -> bool {
        !matches!(self, Self::Null | Self::Bool(false))
    }

    fn into_string(self) -> Self {
        match self {
            Self::Str(_) => self,
            v => Self::text(json::write(&v)),
        }
    }
}

/// `n` nulls, counted before they are made.
fn padding(n: usize) -> impl Iterator<Item = Val> {
    spend(n as u64);
    drop(super::meter::Held::new(n.saturating_mul(size_of::<Val>())));
    std::iter::repeat_with(|| Val::Null).take(n)
}

/// Updates one item of an array; an index behind its end extends it, as in jq.
fn map_item<'a, I: Iterator<Item = ValX<'a, Val>>>(
    rc: Rc<super::value::Arr>,
    n: Num,
    opt: Opt,
    f: impl Fn(Val) -> I,
) -> ValX<'a, Val> {
    let len = rc.items.len();
    let Some(i) = position(n, len).or_else(|| n.floor().and_then(|i| usize::try_from(i).ok())) else {
        return opt.fail(Val::Arr(rc), |_| Exn::from(Error::str("index out of bounds")));
    };
    let old = rc.items.get(i).cloned().unwrap_or(Val::Null);
    let new = f(old).next().transpose()?;
    let mut rc = rc;
    let arr = Rc::make_mut(&mut rc);
    match new {
        Some(new) => {
            if i >= len {
                arr.extend(padding(i.saturating_add(1) - len));
            }
            arr.replace(i, new);
        }
        None if i < len => {
            drop(arr.items.remove(i));
            spend_bulk(len * 32);
            arr.settle();
        }
        None => {}
    }
    Ok(Val::Arr(rc))
}

impl jaq_std::ValT for Val {
    fn into_seq<S: FromIterator<Self>>(self) -> Result<S, Self> {
        match self {
            Self::Arr(a) => Ok(owned(a).items.into_iter().collect()),
            v => Err(v),
        }
    }

    fn is_int(&self) -> bool {
        matches!(self, Self::Num(Num::Int(_)))
    }

    fn as_isize(&self) -> Option<isize> {
        match self {
            Self::Num(Num::Int(i)) => isize::try_from(*i).ok(),
            Self::Null | Self::Bool(_) | Self::Num(_) | Self::Str(_) | Self::Arr(_) | Self::Obj(_) => None,
        }
    }

    fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Num(n) => Some(n.as_f64()),
            Self::Null | Self::Bool(_) | Self::Str(_) | Self::Arr(_) | Self::Obj(_) => None,
        }
    }

    fn is_utf8_str(&self) -> bool {
        matches!(self, Self::Str(_))
    }

    fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Str(s) => {
                spend_bulk(s.text.len());
                Some(s.text.as_bytes())
            }
            Self::Null | Self::Bool(_) | Self::Num(_) | Self::Arr(_) | Self::Obj(_) => None,
        }
    }

    fn as_sub_str(&self, sub: &[u8]) -> Self {
        Self::text(String::from_utf8_lossy(sub))
    }

    fn from_utf8_bytes(b: impl AsRef<[u8]> + Send + 'static) -> Self {
        Self::text(String::from_utf8_lossy(b.as_ref()))
    }
}

impl From<bool> for Val {
    fn from(b: bool) -> Self {
        Self::Bool(b)
    }
}

impl From<isize> for Val {
    fn from(i: isize) -> Self {
        Self::Num(Num::Int(i as i128))
    }
}

impl From<usize> for Val {
    fn from(i: usize) -> Self {
        Self::int(i)
    }
}

impl From<f64> for Val {
    fn from(f: f64) -> Self {
        Self::Num(Num::float(f))
    }
}

impl From<String> for Val {
    fn from(s: String) -> Self {
        Self::text(s)
    }
}

impl From<Range<Option<Self>>> for Val {
    fn from(range: Range<Option<Self>>) -> Self {
        let entries = [("start", range.start), ("end", range.end)];
        Self::obj(entries.into_iter().filter_map(|(k, v)| Some((Rc::from(k), v?))).collect())
    }
}

impl FromIterator<Self> for Val {
    fn from_iter<T: IntoIterator<Item = Self>>(iter: T) -> Self {
        /// Items between two looks at the memory limit.
        const LOOK: usize = 1024;
        let mut items = Vec::new();
        let mut held = super::meter::Held::new(0);
        for item in iter {
            spend(1);
            items.push(item);
            if items.len() % LOOK == 0 {
                held.resize(items.len() * size_of::<Self>());
            }
        }
        drop(held);
        Self::arr(items)
    }
}

/// At most a line, for messages.
impl std::fmt::Display for Val {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&json::write_short(self))
    }
}
