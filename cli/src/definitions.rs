//! Definitions named on the command line: files, and folders that are searched for them.

use std::path::{Path, PathBuf};

use stepmill_definition::looks_like_definition;

use crate::error::{CliError, read_file};
use crate::output::Output;

/// Files of a folder and its folders; a larger one is probably not meant.
const FILES_MAX: usize = 10_000;
/// Folders in which nobody keeps definitions.
const SKIPPED: [&str; 2] = ["target", "node_modules"];

/// A file and its text.
#[derive(Debug)]
pub(crate) struct Definition {
    /// As it was named, or found below a folder that was named.
    pub(crate) file: PathBuf,
    pub(crate) source: String,
}

impl Definition {
    /// The file's name as it is shown.
    pub(crate) fn name(&self) -> String {
        self.file.display().to_string()
    }
}

/// Reads files as they are, and from folders all YAML and JSON files that hold a definition.
pub(crate) fn read(out: Output, named: &[PathBuf]) -> Result<Vec<Definition>, CliError> {
    let mut all = Vec::new();
    for path in named {
        if !path.is_dir() {
            all.push(Definition { file: path.clone(), source: read_file(path)? });
            continue;
        }
        let before = all.len();
        for file in files(path)? {
            let source = read_file(&file)?;
            if looks_like_definition(&source) {
                all.push(Definition { file, source });
            } else {
                out.note(&format!("{}: left out, it has no `document`", file.display()));
            }
        }
        if all.len() == before {
            return Err(CliError::usage(
                format!("there is no definition in {}", path.display()),
                "definitions are files that end in .yaml, .yml or .json and have a `document`",
            ));
        }
    }
    Ok(all)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let cannot = |e: std::io::Error| {
            CliError::usage(format!("cannot read {}: {e}", folder.display()), "check the path and the permissions")
        };
        for entry in std::fs::read_dir(&folder).map_err(cannot)? {
            let entry = entry.map_err(cannot)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // what a link leads to is read where it lies
            let kind = entry.file_type().map_err(cannot)?;
            if kind.is_dir() && !name.starts_with('.') && !SKIPPED.contains(&name.as_str()) {
                open.push(entry.path());
            } else if kind.is_file() && [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end)) {
                found.push(entry.path());
            }
        }
        if found.len() > FILES_MAX {
            let message = format!("there are more than {FILES_MAX} files below {}", folder.display());
            return Err(CliError::usage(message, "name the folder that holds the definitions"));
        }
    }
    found.sort();
    Ok(found)
}
