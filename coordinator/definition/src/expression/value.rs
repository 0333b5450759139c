//! Values inside an evaluation: JSON values that count their copies, their memory and their nesting, with jq's
//! operators. jaq runs over them; see [`super::meter`].

use std::cmp::Ordering;
use std::rc::Rc;

use indexmap::IndexMap;
use jaq_core::Error;

use super::meter::{DEPTH_MAX, Held, Stop, spend, spend_bulk, stop};
use super::number::Num;

/// A JSON value.
#[derive(Debug)]
pub(super) enum Val {
    Null,
    Bool(bool),
    Num(Num),
    Str(Rc<Text>),
    Arr(Rc<Arr>),
    Obj(Rc<Obj>),
}

#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) text: String,
    held: Held,
}

#[derive(Clone, Debug)]
pub(super) struct Arr {
    pub(super) items: Vec<Val>,
    /// At least the nesting of the items, plus one.
    depth: u16,
    held: Held,
}

pub(super) type Map = IndexMap<Rc<str>, Val>;

#[derive(Clone, Debug)]
pub(super) struct Obj {
    pub(super) map: Map,
    /// At least the nesting of the values, plus one.
    depth: u16,
    held: Held,
}

pub(super) type Fail = Error<Val>;

/// Bytes of an entry of an array and, without its key, of an object.
const ITEM_BYTES: usize = size_of::<Val>();
const ENTRY_BYTES: usize = size_of::<Val>() + 40;

impl Clone for Val {
    fn clone(&self) -> Self {
        spend(1);
        match self {
            Self::Null => Self::Null,
            Self::Bool(b) => Self::Bool(*b),
            Self::Num(n) => Self::Num(*n),
            Self::Str(s) => Self::Str(Rc::clone(s)),
            Self::Arr(a) => Self::Arr(Rc::clone(a)),
            Self::Obj(o) => Self::Obj(Rc::clone(o)),
        }
    }
}

impl Text {
    fn new(text: String) -> Self {
        spend_bulk(text.len());
        let held = Held::new(text.len() + 40);
        Self { text, held }
    }

    pub(super) fn push(&mut self, more: &str) {
        spend_bulk(more.len());
        self.held.resize(self.text.len() + more.len() + 40);
        self.text.push_str(more);
    }
}

impl Arr {
    fn new(items: Vec<Val>) -> Self {
        spend_bulk(items.len());
        let held = Held::new(items.len() * ITEM_BYTES + 40);
        let mut arr = Self { items, depth: 0, held };
        arr.settle();
        arr
    }

    /// Puts one item in the place of another, at the cost of one item.
    pub(super) fn replace(&mut self, i: usize, new: Val) {
        let depth = self.depth.max(new.depth() + 1);
        if let Some(slot) = self.items.get_mut(i) {
            *slot = new;
        }
        self.deepen(depth);
    }

    fn deepen(&mut self, depth: u16) {
        self.depth = if depth > DEPTH_MAX { checked_depth(self.items.iter()) } else { depth };
    }

    /// Adds items at the end, at the cost of these items.
    pub(super) fn extend(&mut self, more: impl Iterator<Item = Val>) {
        let from = self.items.len();
        self.items.extend(more);
        self.held.resize(self.items.len() * ITEM_BYTES + 40);
        let deepest = self.items.iter().skip(from).map(Val::depth).max().map_or(0, |d| d + 1);
        self.deepen(self.depth.max(deepest));
    }

    /// To be called after any other change of `items`.
    pub(super) fn settle(&mut self) {
        self.held.resize(self.items.len() * ITEM_BYTES + 40);
        self.depth = checked_depth(self.items.iter());
    }
}

impl Obj {
    fn new(map: Map) -> Self {
        spend_bulk(map.len());
        let mut obj = Self { map, depth: 0, held: Held::new(0) };
        obj.settle();
        obj
    }

    /// Sets one entry, at the cost of one entry.
    pub(super) fn set(&mut self, key: Rc<str>, new: Val) {
        let depth = self.depth.max(new.depth() + 1);
        let bytes = key.len() + ENTRY_BYTES;
        if self.map.insert(key, new).is_none() {
            self.held.grow(bytes);
        }
        self.depth = if depth > DEPTH_MAX { checked_depth(self.map.values()) } else { depth };
    }

    /// To be called after any other change of `map`.
    pub(super) fn settle(&mut self) {
        self.held.resize(self.map.keys().map(|k| k.len() + ENTRY_BYTES).sum::<usize>() + 80);
        self.depth = checked_depth(self.map.values());
    }
}

/// One more than the deepest of `children`. The children's own numbers are upper bounds; only when these bounds go too
/// far are they counted out.
fn checked_depth<'a>(children: impl Iterator<Item = &'a Val> + Clone) -> u16 {
    let bound = children.clone().map(Val::depth).max().unwrap_or(0) + 1;
    if bound <= DEPTH_MAX {
        return bound;
    }
    let exact = children.map(Val::exact_depth).max().unwrap_or(0) + 1;
    if exact > DEPTH_MAX { stop(Stop::Depth) } else { exact }
}

impl Val {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Str(Rc::new(Text::new(text.into())))
    }

    pub(super) fn arr(items: Vec<Self>) -> Self {
        Self::Arr(Rc::new(Arr::new(items)))
    }

    pub(super) fn obj(map: Map) -> Self {
        Self::Obj(Rc::new(Obj::new(map)))
    }

    pub(super) fn int(i: usize) -> Self {
        Self::Num(Num::Int(i as i128))
    }

    fn depth(&self) -> u16 {
        match self {
            Self::Null | Self::Bool(_) | Self::Num(_) | Self::Str(_) => 0,
            Self::Arr(a) => a.depth,
            Self::Obj(o) => o.depth,
        }
    }

    fn exact_depth(&self) -> u16 {
        spend(1);
        match self {
            Self::Null | Self::Bool(_) | Self::Num(_) | Self::Str(_) => 0,
            Self::Arr(a) => a.items.iter().map(Self::exact_depth).max().unwrap_or(0) + 1,
            Self::Obj(o) => o.map.values().map(Self::exact_depth).max().unwrap_or(0) + 1,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Num(_) => 2,
            Self::Str(_) => 3,
            Self::Arr(_) => 4,
            Self::Obj(_) => 5,
        }
    }

    /// The entry at `index`; none where there is none.
    pub(super) fn entry(&self, index: &Self) -> Result<Option<Self>, Fail> {
        match (self, index) {
            (Self::Null, Self::Null | Self::Num(_) | Self::Str(_) | Self::Arr(_) | Self::Obj(_) | Self::Bool(_)) => {
                Ok(None)
            }
            (Self::Arr(a), Self::Num(n)) => Ok(position(*n, a.items.len()).and_then(|i| a.items.get(i)).cloned()),
            (Self::Arr(a), Self::Arr(b)) => Ok(Some(positions(&a.items, &b.items))),
            (Self::Obj(o), Self::Str(k)) => Ok(o.map.get(k.text.as_str()).cloned()),
            (Self::Str(_) | Self::Arr(_), Self::Obj(o)) => {
                let bounds = o.map.get("start")..o.map.get("end");
                jaq_core::ValT::range(self.clone(), bounds).map(Some)
            }
            (v, i) => Err(Error::index(v.clone(), i.clone())),
        }
    }

    /// jq's `contains`.
    pub(super) fn contains(&self, other: &Self) -> bool {
        spend(1);
        match (self, other) {
            (Self::Str(l), Self::Str(r)) => {
                spend_bulk(l.text.len());
                l.text.contains(&r.text)
            }
            (Self::Arr(l), Self::Arr(r)) => r.items.iter().all(|r| l.items.iter().any(|l| l.contains(r))),
            (Self::Obj(l), Self::Obj(r)) => r.map.iter().all(|(k, r)| l.map.get(k).is_some_and(|l| l.contains(r))),
            (l, r) => l == r,
        }
    }
}

/// Where index `n` (negative: from the end) lies in an array of `len` items.
pub(super) fn position(n: Num, len: usize) -> Option<usize> {
    let i = n.floor()?;
    let i = if i < 0 { i + len as i128 } else { i };
    usize::try_from(i).ok().filter(|i| *i < len)
}

/// Where `part` begins in `all`.
pub(super) fn positions(all: &[Val], part: &[Val]) -> Val {
    if part.is_empty() {
        return Val::arr(Vec::new());
    }
    let found = all.windows(part.len()).enumerate().filter(|(_, w)| *w == part);
    Val::arr(found.map(|(i, _)| Val::int(i)).collect())
}

impl Ord for Val {
    fn cmp(&self, other: &Self) -> Ordering {
        spend(1);
        match (self, other) {
            (Self::Bool(x), Self::Bool(y)) => x.cmp(y),
            (Self::Num(x), Self::Num(y)) => x.order(*y),
            (Self::Str(x), Self::Str(y)) => {
                spend_bulk(x.text.len().min(y.text.len()));
                x.text.cmp(&y.text)
            }
            (Self::Arr(x), Self::Arr(y)) => x.items.cmp(&y.items),
            (Self::Obj(x), Self::Obj(y)) => {
                let (x, y) = (sorted(&x.map), sorted(&y.map));
                let keys = x.iter().map(|e| e.0).cmp(y.iter().map(|e| e.0));
                keys.then_with(|| x.iter().map(|e| e.1).cmp(y.iter().map(|e| e.1)))
            }
            (x, y) => x.rank().cmp(&y.rank()),
        }
    }
}

fn sorted(map: &Map) -> Vec<(&Rc<str>, &Val)> {
    spend_bulk(map.len() * 16);
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by(|l, r| l.0.cmp(r.0));
    entries
}

#[expect(clippy::non_canonical_partial_ord_impl, reason = "jq defines isnan by an order that is not total")]
impl PartialOrd for Val {
    /// As `cmp`, but NaN is smaller than every number, itself included: jq's `isnan` is defined by that.
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Num(x), Self::Num(_)) if x.is_nan() => Some(Ordering::Less),
            (x, y) => Some(x.cmp(y)),
        }
    }
}

impl PartialEq for Val {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Num(x), Self::Num(_)) if x.is_nan() => false,
            (Self::Arr(x), Self::Arr(y)) => x.items == y.items,
            (x, y) => x.cmp(y) == Ordering::Equal,
        }
    }
}

impl Eq for Val {}
