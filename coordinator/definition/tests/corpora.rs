//! The standard's own examples: each compiles, or is refused only for what is not supported yet.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail and speak")]

use std::path::PathBuf;

use stepmill_definition::{Mistakes, compile};

fn folder(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("STEPMILL_CORPORA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora"), PathBuf::from);
    let folder = root.join("open-workflow").join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: {} is not there; set STEPMILL_CORPORA", folder.display());
    None
}

fn files(name: &str) -> Vec<(String, String)> {
    let Some(folder) = folder(name) else { return Vec::new() };
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|f| f.unwrap().path())
        .map(|p| (p.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(&p).unwrap()))
        .collect();
    files.sort();
    files
}

fn foreign(mistakes: &Mistakes) -> Vec<String> {
    let wrong = mistakes.list().iter().filter(|m| m.severity == stepmill_definition::Severity::Error);
    wrong.filter(|m| m.code != "unsupported").map(|m| format!("{} at {}: {}", m.code, m.path, m.message)).collect()
}

#[test]
fn every_example_compiles_or_names_what_is_not_supported_yet() {
    let mut compiled = 0;
    let files = files("examples");
    for (name, source) in &files {
        match compile(source) {
            Ok(_) => compiled += 1,
            Err(mistakes) => {
                let foreign = foreign(&mistakes);
                assert!(foreign.is_empty(), "{name}: {foreign:#?}");
                for m in mistakes.list().iter().filter(|m| m.code == "unsupported") {
                    assert!(m.message.starts_with("not supported") && m.span.is_some(), "{name}: {m:?}");
                }
            }
        }
    }
    println!("{compiled} of {} examples compile", files.len());
    assert!(files.is_empty() || compiled >= 24, "only {compiled} compile");
}

#[test]
fn every_invalid_document_is_refused() {
    for (name, source) in files("invalid") {
        assert!(compile(&source).is_err(), "{name} was accepted");
    }
}

#[test]
fn every_workflow_that_we_ship_compiles_without_a_warning() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut seen = 0;
    for example in std::fs::read_dir(root).unwrap() {
        let file = example.unwrap().path().join("workflow.yaml");
        let Ok(source) = std::fs::read_to_string(&file) else { continue };
        let compiled = compile(&source).map_err(|m| m.to_string());
        let warnings = compiled.map(|c| c.warnings);
        assert_eq!(warnings, Ok(Vec::new()), "{}", file.display());
        seen += 1;
    }
    assert!(seen > 0);
}
