//! The tickets of the demo: JSON lines with `id`, `text` and, where it is known, the right `label`.

use serde::Deserialize;

use crate::error::CliError;

/// Mistakes shown at most; the rest is counted.
const SHOWN_MAX: usize = 20;

/// One ticket. Other fields are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Ticket {
    pub(crate) id: String,
    pub(crate) text: String,
    #[serde(default)]
    pub(crate) label: Option<String>,
}

/// Reads tickets; says about every bad line where it is and what is wrong with it.
pub(crate) fn read(name: &str, text: &str) -> Result<Vec<Ticket>, CliError> {
    let mut tickets = Vec::new();
    let mut mistakes = Vec::new();
    let mut seen = std::collections::BTreeMap::new();
    for (line, number) in text.lines().zip(1usize..).filter(|(line, _)| !line.trim().is_empty()) {
        match parse(line) {
            Ok(ticket) => match seen.insert(ticket.id.clone(), number) {
                None => tickets.push(ticket),
                Some(first) => {
                    mistakes.push(format!("{name}:{number}: the id `{}` was used in line {first} already", ticket.id));
                }
            },
            Err(why) => mistakes.push(format!("{name}:{number}: {why}")),
        }
    }
    if tickets.is_empty() && mistakes.is_empty() {
        mistakes.push(format!("{name}: there is no ticket in it"));
    }
    if mistakes.is_empty() {
        return Ok(tickets);
    }
    let rest = mistakes.len().saturating_sub(SHOWN_MAX);
    mistakes.truncate(SHOWN_MAX);
    if rest > 0 {
        mistakes.push(format!("and {rest} more"));
    }
    let help = "each line is one JSON object: {\"id\": \"t-1\", \"text\": \"…\", \"label\": \"refund\"}; the label may be left \
                out, ids must differ";
    Err(CliError::usage(mistakes.join("\n"), help))
}

fn parse(line: &str) -> Result<Ticket, String> {
    let ticket: Ticket = serde_json::from_str(line).map_err(|e| match e.classify() {
        serde_json::error::Category::Data => without_place(&e),
        serde_json::error::Category::Io | serde_json::error::Category::Syntax | serde_json::error::Category::Eof => {
            format!("this is not JSON: {} (column {})", without_place(&e), e.column())
        }
    })?;
    if ticket.id.trim().is_empty() {
        return Err("`id` is empty".into());
    }
    if ticket.text.trim().is_empty() {
        return Err("`text` is empty".into());
    }
    if ticket.id.len() > stepmill_protocol::limit::IDEMPOTENCY_KEY_BYTES_MAX {
        let max = stepmill_protocol::limit::IDEMPOTENCY_KEY_BYTES_MAX;
        return Err(format!("`id` has {} bytes, {max} are allowed", ticket.id.len()));
    }
    Ok(ticket)
}

// The line is always the first, since each is read alone; the true one stands in front.
fn without_place(e: &serde_json::Error) -> String {
    let text = e.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_fields_and_empty_lines_are_ignored() {
        let text = "{\"id\":\"a\",\"text\":\"x\",\"known\":1}\n\n{\"id\":\"b\",\"text\":\"y\",\"label\":\"refund\"}\n";
        let tickets = read("t", text).unwrap();
        assert_eq!(tickets.len(), 2);
        assert_eq!(tickets[1].label.as_deref(), Some("refund"));
    }

    #[test]
    fn every_bad_line_is_named() {
        let text = "{\"id\":\"a\",\"text\":\"x\"}\n{\"id\":\"a\",\"text\":\"x\"}\n{\"id\":\"c\"}\nnope\n{\"id\":\"\",\"text\":\"x\"}\n";
        let shown = read("t.jsonl", text).unwrap_err().as_json().unwrap()["error"]["title"].to_string();
        for place in ["t.jsonl:2:", "t.jsonl:3:", "t.jsonl:4:", "t.jsonl:5:"] {
            assert!(shown.contains(place), "{place} in {shown}");
        }
        assert!(!shown.contains("t.jsonl:1:"), "{shown}");
    }
}
