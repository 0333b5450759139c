//! Texts of event filters that may be regular expressions.

use std::sync::Arc;

/// Characters that make a text worth trying as a regular expression. A dot alone does not: types and URIs are full of them.
const MARKS: [char; 11] = ['*', '+', '?', '[', ']', '(', ')', '|', '\\', '^', '$'];
/// Bytes of a compiled expression.
const SIZE_MAX: usize = 256 * 1024;

/// A text, and the regular expression that it is. Matching takes time in proportion to the text matched.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: Arc<str>,
    regex: regex::Regex,
}

impl Pattern {
    /// The pattern that a text is; none where it is plain text, or no regular expression (of a sensible size).
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        if !text.contains(MARKS) {
            return None;
        }
        let whole = format!("^(?:{text})$");
        let regex = regex::RegexBuilder::new(&whole).size_limit(SIZE_MAX).build().ok()?;
        Some(Self { text: text.into(), regex })
    }

    /// Whether a text is this one, or matches it as a whole.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        text == &*self.text || self.regex.is_match(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_texts_are_no_patterns() {
        for text in ["com.example.a", "https://example.com/a/b#c", "a-b_c:d", "(", "a(b", "*a"] {
            assert!(Pattern::of(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_pattern_matches_the_whole_text_or_itself() {
        let pattern = Pattern::of(r"com\.example\..*").unwrap();
        assert!(pattern.matches("com.example.a"));
        assert!(!pattern.matches("xcom.example.a") && !pattern.matches("com-example.a"));
        assert!(Pattern::of("https://a.com/x?y=1").unwrap().matches("https://a.com/x?y=1"));
        assert!(!Pattern::of("a|b").unwrap().matches("ab"));
    }
}
