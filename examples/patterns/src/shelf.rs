//! A shelf of documents: what is read, searched and filed.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use stepmill_worker::{Context, Failure};

const DOCUMENTS: [(&str, &str); 4] = [
    ("hours", "The shop opens at nine in the morning. It closes at six in the evening."),
    ("returns", "Goods may be returned within thirty days. The money is paid back within a week."),
    ("delivery", "Parcels are sent on the day of the order. Delivery takes two days."),
    ("warranty", "The warranty lasts two years. It does not cover what was dropped."),
];

/// The documents, and the summaries that were filed.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    filed: Arc<Mutex<BTreeMap<String, String>>>,
}

/// A document's name.
#[derive(Debug, Deserialize)]
pub struct Name {
    name: String,
}

/// A document's text.
#[derive(Debug, Serialize)]
pub struct Text {
    text: &'static str,
}

/// Reads a document.
///
/// # Errors
/// [`Failure`] when there is none of this name: another attempt would not find it either.
pub async fn read(_: Shelf, _: Context, name: Name) -> Result<Text, Failure> {
    let found = DOCUMENTS.iter().find(|(known, _)| *known == name.name);
    found
        .map(|(_, text)| Text { text })
        .ok_or_else(|| Failure::terminal(format!("there is no document `{}`", name.name)))
}

/// A summary to be filed.
#[derive(Debug, Deserialize)]
pub struct Summary {
    name: String,
    summary: String,
}

/// Files a summary; filing it again changes nothing.
///
/// # Errors
/// None so far.
pub async fn file(shelf: Shelf, _: Context, summary: Summary) -> Result<(), Failure> {
    shelf.filed.lock().insert(summary.name, summary.summary);
    Ok(())
}

/// What is looked for.
#[derive(Debug, Deserialize)]
pub struct Question {
    question: String,
    count: usize,
}

/// What was found, best first.
#[derive(Debug, Serialize)]
pub struct Found {
    passages: Vec<Passage>,
}

/// A sentence of a document.
#[derive(Debug, Serialize)]
pub struct Passage {
    id: String,
    text: String,
}

/// Finds the sentences that share most words with a question. A real shelf would ask a search engine here.
///
/// # Errors
/// None so far.
pub async fn find(_: Shelf, _: Context, question: Question) -> Result<Found, Failure> {
    let asked = words(&question.question);
    let mut scored: Vec<(usize, Passage)> = Vec::new();
    for (name, text) in DOCUMENTS {
        for (number, sentence) in text.split_inclusive('.').enumerate() {
            let shared = words(sentence).iter().filter(|word| asked.contains(word)).count();
            if shared > 0 {
                scored.push((shared, Passage { id: format!("{name}-{}", number + 1), text: sentence.trim().into() }));
            }
        }
    }
    scored.sort_by(|(a, x), (b, y)| b.cmp(a).then_with(|| x.id.cmp(&y.id)));
    Ok(Found { passages: scored.into_iter().take(question.count).map(|(_, passage)| passage).collect() })
}

/// The words that say something: four letters or more, without a plural's `s`.
fn words(text: &str) -> Vec<String> {
    text.to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.len() > 3)
        .map(|word| word.trim_end_matches('s').to_owned())
        .collect()
}
