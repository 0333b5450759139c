//! Finds files of cases and the definitions that they are about.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use stepmill_definition::{Document, Mistake, Mistakes, Severity};
use stepmill_testing::{Definition, Suite};

use crate::error::{CliError, read_file};

/// How the names of files of cases end.
const ENDINGS: [&str; 3] = [".test.yaml", ".test.yml", ".test.json"];
/// Folders in which nobody keeps cases.
const SKIPPED: [&str; 2] = ["target", "node_modules"];
/// Folders below a folder that was named; a deeper one is probably not meant.
const DEPTH_MAX: usize = 32;

/// A file of cases and its definition.
#[derive(Debug)]
pub(super) struct Tested {
    /// The file, as it is shown.
    pub(super) name: String,
    pub(super) source: String,
    /// The definition's file.
    pub(super) of: String,
    pub(super) definition: Definition,
    pub(super) suite: Suite,
}

/// A file with mistakes.
#[derive(Debug)]
pub(super) struct WrongFile {
    pub(super) name: String,
    pub(super) source: String,
    pub(super) mistakes: Mistakes,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) tested: Vec<Tested>,
    pub(super) wrong: Vec<WrongFile>,
}

/// Reads the files of cases that the paths mean.
pub(super) fn files(paths: &[PathBuf]) -> Result<Files, CliError> {
    let here = [PathBuf::from(".")];
    let paths = if paths.is_empty() { &here } else { paths };
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            below(path, 0, &mut found)?;
        } else if is_cases(path) {
            found.push(path.clone());
        } else {
            found.push(beside(path)?);
        }
    }
    found.sort();
    found.dedup();
    if found.is_empty() {
        let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        let help = "write cases for flow.yaml into flow.test.yaml beside it; docs/testing.md shows how";
        return Err(CliError::usage(format!("there is no *.test.yaml in {}", shown.join(", ")), help));
    }
    let mut files = Files::default();
    let mut definitions = BTreeMap::new();
    for path in found {
        read(&path, &mut definitions, &mut files)?;
    }
    Ok(files)
}

fn is_cases(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    ENDINGS.iter().any(|ending| name.len() > ending.len() && name.ends_with(ending))
}

fn below(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), CliError> {
    let cannot = |e: std::io::Error| {
        CliError::usage(format!("cannot read {}: {e}", folder.display()), "check the path and the permissions")
    };
    for entry in std::fs::read_dir(folder).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        // What a link leads to is read where it lies.
        let kind = entry.file_type().map_err(cannot)?;
        if kind.is_dir() && depth < DEPTH_MAX && !name.starts_with('.') && !SKIPPED.contains(&name.as_str()) {
            below(&path, depth + 1, found)?;
        } else if kind.is_file() && is_cases(&path) {
            found.push(path.strip_prefix("./").unwrap_or(&path).to_owned());
        }
    }
    Ok(())
}

/// The cases beside a definition.
fn beside(path: &Path) -> Result<PathBuf, CliError> {
    let candidates: Vec<PathBuf> = ENDINGS
        .iter()
        .map(|ending| {
            path.with_file_name(format!("{}{ending}", path.file_stem().unwrap_or_default().to_string_lossy()))
        })
        .collect();
    if let Some(found) = candidates.iter().find(|candidate| candidate.is_file()) {
        return Ok(found.clone());
    }
    let message = format!("there are no cases for {}", path.display());
    let wanted = candidates.first().map(|path| path.display().to_string()).unwrap_or_default();
    Err(CliError::usage(message, format!("write them into {wanted}")))
}

/// The definition that a file of cases is about: the one that it names, or the one of its own name.
fn definition_of(path: &Path, suite: &Suite) -> PathBuf {
    if let Some(named) = &suite.definition {
        return path.with_file_name(&named.value);
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(&name);
    let candidates = ["yaml", "yml", "json"].map(|ending| path.with_file_name(format!("{stem}.{ending}")));
    let found = candidates.iter().find(|candidate| candidate.is_file());
    found.unwrap_or(&candidates[0]).clone()
}

type Known = BTreeMap<PathBuf, Option<Definition>>;

fn read(path: &Path, known: &mut Known, files: &mut Files) -> Result<(), CliError> {
    let (name, source) = (path.display().to_string(), read_file(path)?);
    let suite = match Suite::read(&source) {
        Ok(suite) => suite,
        Err(mistakes) => {
            files.wrong.push(WrongFile { name: name.clone(), source, mistakes: mistakes.with_name(&name) });
            return Ok(());
        }
    };
    let file = definition_of(path, &suite);
    let of = file.display().to_string();
    let definition = match known.get(&file) {
        Some(known) => known.clone(),
        None => {
            let text = std::fs::read_to_string(&file).map_err(|e| {
                let help = format!("write `definition: FILE` into {name}, from its folder");
                CliError::usage(format!("cannot read {of}, which {name} is about: {e}"), help)
            })?;
            let compiled = match Definition::compile(&text) {
                Ok(definition) => Some(definition),
                Err(mistakes) => {
                    let mistakes = mistakes.with_name(&of);
                    files.wrong.push(WrongFile { name: of.clone(), source: text, mistakes });
                    None
                }
            };
            known.insert(file, compiled.clone());
            compiled
        }
    };
    let Some(definition) = definition else { return Ok(()) };
    let mut mistakes: Vec<Mistake> = suite.cases.iter().flat_map(|case| definition.check(case)).collect();
    if mistakes.iter().any(|m| m.severity == Severity::Error) {
        // The file's own mocks are looked at with every case.
        mistakes.sort_by(|a, b| (a.span, &a.message).cmp(&(b.span, &b.message)));
        mistakes.dedup();
        let shown = Document::parse(&source).map(|document| document.mistakes(mistakes));
        let (Ok(mistakes) | Err(mistakes)) = shown;
        files.wrong.push(WrongFile { mistakes: mistakes.with_name(&name), name, source });
        return Ok(());
    }
    files.tested.push(Tested { name, source, of, definition, suite });
    Ok(())
}
