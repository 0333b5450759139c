//! Whether a sequence is the expected one, where `...` stands for any number of others.

use std::collections::BTreeSet;

use crate::expect::Item;

/// Where a sequence leaves what is expected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parting {
    /// How many items fit.
    pub(crate) after: usize,
    /// Numbers of the expected items of which one should have come; none where the sequence should have ended.
    pub(crate) wanted: Vec<usize>,
}

/// Holds a sequence against the expected one.
pub(crate) fn follow<E, G>(expected: &[Item<E>], got: &[G], is: impl Fn(&E, &G) -> bool) -> Result<(), Parting> {
    let mut here = BTreeSet::from([0]);
    widen(expected, &mut here);
    for (after, item) in got.iter().enumerate() {
        let mut next = BTreeSet::new();
        for at in &here {
            match expected.get(*at) {
                Some(Item::Rest) => drop(next.insert(*at)),
                Some(Item::One(one)) if is(one, item) => drop(next.insert(at + 1)),
                Some(Item::One(_)) | None => {}
            }
        }
        widen(expected, &mut next);
        if next.is_empty() {
            return Err(Parting { after, wanted: wanted(expected, &here) });
        }
        here = next;
    }
    if here.contains(&expected.len()) {
        Ok(())
    } else {
        Err(Parting { after: got.len(), wanted: wanted(expected, &here) })
    }
}

/// A place before `...` is one after it, too.
fn widen<E>(expected: &[Item<E>], places: &mut BTreeSet<usize>) {
    for at in 0..expected.len() {
        if places.contains(&at) && matches!(expected.get(at), Some(Item::Rest)) {
            places.insert(at + 1);
        }
    }
}

fn wanted<E>(expected: &[Item<E>], here: &BTreeSet<usize>) -> Vec<usize> {
    here.iter().copied().filter(|at| matches!(expected.get(*at), Some(Item::One(_)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(expected: &str, got: &str) -> Result<(), (usize, String)> {
        let items: Vec<Item<char>> =
            expected.chars().map(|c| if c == '.' { Item::Rest } else { Item::One(c) }).collect();
        let got: Vec<char> = got.chars().collect();
        follow(&items, &got, |a, b| a == b).map_err(|parting| {
            let wanted = parting.wanted.iter().map(|n| expected.chars().nth(*n).unwrap()).collect();
            (parting.after, wanted)
        })
    }

    #[test]
    fn the_rest_stands_for_any_number() {
        for (expected, got) in
            [("", ""), ("abc", "abc"), (".", ""), (".", "xyz"), ("a.c", "abbc"), (".a.", "bab"), (".a", "aba")]
        {
            assert_eq!(told(expected, got), Ok(()), "{expected} {got}");
        }
    }

    #[test]
    fn the_place_where_they_part_is_told() {
        assert_eq!(told("abc", "abd"), Err((2, "c".into())));
        assert_eq!(told("ab", "abc"), Err((2, String::new())));
        assert_eq!(told("abc", "ab"), Err((2, "c".into())));
        assert_eq!(told("a.c", "abb"), Err((3, "c".into())));
        assert_eq!(told("a.", "b"), Err((0, "a".into())));
    }
}
