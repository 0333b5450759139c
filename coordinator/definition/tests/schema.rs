//! Our reading of documents against the standard's JSON Schema: documents that are changed in one place are accepted and
//! refused alike, but for what we say ourselves.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail and speak"
)]

use std::path::PathBuf;

use serde_json::{Value, json};
use stepmill_definition::{Severity, compile};

/// A document with every part of the language that is supported.
const WHOLE: &str = include_str!("whole.yaml");

/// Mistakes that no schema can see: names that lead nowhere, expressions, what is not supported yet.
const OURS: &[&str] = &[
    "unsupported",
    "event-attribute",
    "unknown-reference",
    "unknown-task",
    "duplicate-task",
    "expression-syntax",
    "expression-unknown",
    "expression-forbidden",
    "duration",
    "cron",
    "retry-limit",
    "variable-name",
    "name",
    "schema",
    "recursion",
    "http-method",
    "wrong-value",
    "uri",
    "authentication",
];

fn folder() -> Option<PathBuf> {
    let root = std::env::var_os("STEPMILL_CORPORA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora"), PathBuf::from);
    let folder = root.join("open-workflow");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: {} is not there; set STEPMILL_CORPORA", folder.display());
    None
}

/// YAML by another reader than ours.
fn yaml(source: &str) -> Value {
    serde_saphyr::from_str_with_options(source, serde_saphyr::options! { strict_booleans: true }).unwrap()
}

/// Every way to change one place: remove it, rename it, give it another type.
fn mutants(doc: &Value) -> Vec<(String, Value)> {
    let mut places = Vec::new();
    collect(doc, String::new(), &mut places);
    let mut out = Vec::new();
    for place in places {
        let (parent, key) = place.rsplit_once('/').unwrap();
        let key = key.replace("~1", "/").replace("~0", "~");
        let mut with = |what: &str, change: &dyn Fn(&mut Value)| {
            let mut copy = doc.clone();
            change(copy.pointer_mut(parent).unwrap());
            out.push((format!("{what} {place}"), copy));
        };
        let index = || key.parse::<usize>().unwrap();
        with("remove", &|v| match v {
            Value::Object(map) => drop(map.shift_remove(&key)),
            Value::Array(items) => drop(items.remove(index())),
            _ => {}
        });
        with("rename", &|v| {
            if let Value::Object(map) = v {
                let renamed = map.iter().map(|(k, v)| (if *k == key { format!("{k}x") } else { k.clone() }, v.clone()));
                *map = renamed.collect();
            }
        });
        for other in [json!(null), json!(7), json!("text"), json!(true), json!([]), json!({}), json!({"odd": 1})] {
            with(&format!("{other} at"), &|v| match v {
                Value::Object(map) => drop(map.insert(key.clone(), other.clone())),
                Value::Array(items) => items[index()] = other.clone(),
                _ => {}
            });
        }
    }
    out
}

fn collect(value: &Value, at: String, out: &mut Vec<String>) {
    let mut visit = |key: String, v: &Value| {
        let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        out.push(at.clone());
        collect(v, at, out);
    };
    match value {
        Value::Object(map) => map.iter().for_each(|(k, v)| visit(k.clone(), v)),
        Value::Array(items) => items.iter().enumerate().for_each(|(i, v)| visit(i.to_string(), v)),
        _ => {}
    }
}

/// Where we are stricter than the schema on purpose.
fn stricter(code: &str, path: &str) -> bool {
    let depth = path.matches('/').count();
    match code {
        // a schedule that never comes
        "no-kind" => path == "/schedule",
        // the schema asks for no content of an event that is emitted, and takes anything there
        "missing-key" if path.ends_with("/emit/event") => true,
        // the schema forgets to close these objects
        "unknown-key" => {
            depth == 1
                || path.contains("/emit/event/")
                || path.contains("/errors/")
                || path.ends_with("/errors")
                || path.contains("/correlate/")
                || ["/endpoints/", "/request/"].iter().any(|open| path.contains(open))
                || (path.contains("/with/")
                    && ["/tool/", "/local/", "/publishMessageToSlack/"].iter().any(|mcp| path.contains(mcp)))
        }
        // our own hints live where the schema allows anything
        "wrong-type" => path.contains("/metadata/"),
        // a namespace does not see another one; the schema takes any text for a version here
        "other-namespace" => true,
        "version" => path.ends_with("/run/workflow/version"),
        _ => false,
    }
}

#[test]
fn changed_documents_are_judged_as_the_schema_judges_them() {
    let Some(folder) = folder() else { return };
    let schema = yaml(&std::fs::read_to_string(folder.join("schema/workflow.yaml")).unwrap());
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut sources = vec![WHOLE.to_owned()];
    let shipped = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    for example in std::fs::read_dir(shipped).unwrap() {
        sources.extend(std::fs::read_to_string(example.unwrap().path().join("workflow.yaml")));
    }
    for file in std::fs::read_dir(folder.join("examples")).unwrap() {
        let source = std::fs::read_to_string(file.unwrap().path()).unwrap();
        if compile(&source).is_ok() {
            sources.push(source);
        }
    }
    let (mut accepted, mut refused, mut wrong) = (0, 0, Vec::new());
    for source in &sources {
        let doc = yaml(source);
        assert!(validator.is_valid(&doc), "the schema refuses {source}");
        for (what, mutant) in mutants(&doc) {
            let valid = validator.is_valid(&mutant);
            let name = &doc["document"]["name"];
            match compile(&mutant.to_string()) {
                Ok(_) if valid => accepted += 1,
                Ok(_) => wrong.push(format!("{name}: {what}: the schema refuses it, we accept it")),
                Err(mistakes) if !valid => {
                    let said = mistakes.list().iter().any(|m| m.severity == Severity::Error && m.code != "internal");
                    assert!(said, "{what}: refused without a reason");
                    refused += 1;
                }
                Err(mistakes) => {
                    let foreign: Vec<String> = mistakes
                        .list()
                        .iter()
                        .filter(|m| {
                            m.severity == Severity::Error && !OURS.contains(&m.code) && !stricter(m.code, &m.path)
                        })
                        .map(|m| format!("{} at {}: {}", m.code, m.path, m.message))
                        .collect();
                    if !foreign.is_empty() {
                        wrong.push(format!("{name}: {what}: the schema accepts it, we say {foreign:?}"));
                    }
                }
            }
        }
    }
    println!("{} documents, {accepted} changes accepted by both, {refused} refused by both", sources.len());
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
    assert!(accepted > 500 && refused > 1000);
}
