//! Quoting foreign texts.

use crate::limit;

/// The beginning of a foreign text, for an error.
pub(crate) fn quote(text: &str) -> String {
    let end = floor_char_boundary(text, limit::QUOTE_BYTES_MAX);
    if end < text.len() { format!("{}…", &text[..end]) } else { text.to_owned() }
}

/// `str::floor_char_boundary` is newer than our compiler floor.
pub(crate) fn floor_char_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0)
}
