//! Findings in the form of editors and CI: SARIF 2.1.0.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use stepmill_definition::check::describe;
use stepmill_definition::{Mistake, Severity};

use super::Judged;

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The whole log.
pub(super) fn log(all: &[Judged]) -> Value {
    let codes: BTreeSet<&str> = all.iter().flat_map(|j| j.findings.list()).map(|m| m.code).collect();
    let rules: Vec<Value> = codes
        .iter()
        .map(|code| json!({ "id": code, "shortDescription": { "text": describe(code).unwrap_or(code) } }))
        .collect();
    let results: Vec<Value> = all.iter().flat_map(|j| j.findings.list().iter().map(|m| result(j, m, &codes))).collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "stepmill", "semanticVersion": env!("CARGO_PKG_VERSION"), "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(judged: &Judged, finding: &Mistake, codes: &BTreeSet<&str>) -> Value {
    let level = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let text = match finding.help.as_str() {
        "" => finding.message.clone(),
        help => format!("{}: {help}", finding.message),
    };
    let mut place = json!({ "artifactLocation": { "uri": uri(&judged.definition.file) } });
    if let (Some(span), Some(place)) = (finding.span, place.as_object_mut()) {
        place.insert("region".into(), region(&judged.definition.source, span));
    }
    let mut location = json!({ "physicalLocation": place });
    if let (false, Some(location)) = (finding.path.is_empty(), location.as_object_mut()) {
        location.insert("logicalLocations".into(), json!([{ "fullyQualifiedName": finding.path }]));
    }
    json!({
        "ruleId": finding.code,
        "ruleIndex": codes.iter().position(|code| *code == finding.code),
        "level": level,
        "message": { "text": text },
        "locations": [location],
    })
}

/// Lines and columns from 1; the end is the column behind the last character.
fn region(source: &str, (start, length): (usize, usize)) -> Value {
    let (line, column) = place(source, start);
    let (end_line, end_column) = place(source, start + length);
    json!({ "startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column })
}

fn place(source: &str, offset: usize) -> (usize, usize) {
    let before = source.get(..offset).unwrap_or(source);
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
    (line, column)
}

/// A path as a relative URI reference, or as a file URI where it is absolute.
fn uri(file: &Path) -> String {
    let text = file.to_string_lossy();
    let text = text.strip_prefix("./").unwrap_or(&text);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~".contains(&b);
    let encoded: String =
        text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect();
    if file.is_absolute() { format!("file://{encoded}") } else { encoded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_paths_are_those_of_the_standard() {
        assert_eq!(
            region("a: ä\nbc: d\n", (6, 2)),
            json!({ "startLine": 2, "startColumn": 1, "endLine": 2, "endColumn": 3 })
        );
        assert_eq!(uri(Path::new("./flows/my flow.yaml")), "flows/my%20flow.yaml");
        assert_eq!(uri(Path::new("/tmp/ä.yaml")), "file:///tmp/%C3%A4.yaml");
    }
}
